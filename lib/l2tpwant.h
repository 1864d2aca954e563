/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_L2TPWANT_H
#define L3AF_L2TPWANT_H

/* From words to a session. These print their errors. */
#include "l2tps.h"

/* Do the words fit each other? encap, is_v6 and is_sublayer: of the session they are for. */
must_use int l2tp_check_words(const char *verb, const struct l2tp_want *want, int encap, bool is_v6, bool is_sublayer);
/* Of add: can it be on this host? */
must_use int l2tp_check_host(const struct l2tp_want *want);
/* Does it leave others what is theirs? i: its index, -1: it is new. */
must_use int l2tp_check_others(const struct l2tps *t, const struct l2tp_session *s, int i, const struct netns *self);

/* All but number and places of a new one. */
void l2tp_session_new(const char *name, const struct l2tp_want *want, struct l2tp_session *s);
/* What is given of it. */
void l2tp_session_change(const struct l2tp_want *want, struct l2tp_session *s);
/* frame and mtu, for the underlay's MTU as it is now. */
must_use int l2tp_session_fit(const struct l2tp_want *want, const struct iface *underlay, struct l2tp_session *s);
/* Is it what add says, settings left aside? */
bool l2tp_is_same(const struct l2tp_want *want, const struct l2tp_session *s);

/* Which change it is: from NULL, it is new. */
void l2tp_note(const struct run *run, const struct l2tp_session *from, const struct l2tp_session *to,
	       const char *underlay);
void l2tp_note_gone(const struct run *run, const struct l2tp_session *s);
/* What will not work, though it is not wrong. */
void l2tp_warn(const struct l2tp_session *s, const struct iface *underlay, const struct iface *dev);

#endif
