/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_L2TPRECORD_H
#define L3AF_L2TPRECORD_H

/* What packets need of a session, made of what was configured. No system calls. */
#include "l2tp.h"

/* Keys and elements of the maps received and access. */
struct l2tp_records {
	struct l2tp_rx_key rx_key;
	struct l2tp_rx rx;
	struct l2tp_access tx_key;
	struct l2tp_tx tx;
};
void l2tp_records(const struct l2tp_session *s, struct l2tp_records *r);

/* What it listens at. */
struct l2tp_endpoint l2tp_endpoint_of(const struct l2tp_session *s);

/* The largest frame (l2tp_session.frame) for an underlay of this MTU; below 14: none. */
int l2tp_frame(const struct l2tp_session *s, int underlay_mtu);

#endif
