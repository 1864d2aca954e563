/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "chainstate.h"
#include "parse.h"

static const char *const xdp_verdicts[] = { "aborted", "drop", "pass", "tx", "redirect" };
static const char *const tc_verdicts[] = { "unspec", "ok", "reclassify", "shot", "pipe", "stolen", "queued",
					   "repeat", "redirect", "trap" };

const char *chain_verdict(enum hook hook, int bit)
{
	int n = hook == HOOK_XDP ? (int)(sizeof(xdp_verdicts) / sizeof(xdp_verdicts[0]))
				 : (int)(sizeof(tc_verdicts) / sizeof(tc_verdicts[0]));

	return bit < 0 || bit >= n ? NULL : hook == HOOK_XDP ? xdp_verdicts[bit] : tc_verdicts[bit];
}

static int verdict_bit(enum hook hook, const char *word, size_t len)
{
	for (int bit = 0; chain_verdict(hook, bit); bit++)
		if (strlen(chain_verdict(hook, bit)) == len && !strncmp(chain_verdict(hook, bit), word, len))
			return bit;
	return -1;
}

int chain_parse_verdicts(const char *s, enum hook hook, __u32 *mask, struct why *why)
{
	size_t used;

	*mask = 0;
	for (const char *word = s;; word += strcspn(word, ",") + 1) {
		int bit = verdict_bit(hook, word, strcspn(word, ","));

		if (bit < 0 || *mask & 1u << bit)
			break;
		*mask |= 1u << bit;
		if (!word[strcspn(word, ",")])
			return 0;
	}
	used = (size_t)snprintf(why->text, sizeof(why->text), "is not a list of different verdicts of hook %s:",
				hook_words[hook]);
	for (int bit = 0; chain_verdict(hook, bit) && used < sizeof(why->text); bit++)
		used += (size_t)snprintf(why->text + used, sizeof(why->text) - used, "%s%s", bit ? "," : " ",
					 chain_verdict(hook, bit));
	return -E_USAGE;
}

static int walk_members(const struct chain *c, struct chain_row *row,
			int (*fn)(const struct chain_row *row, void *arg), void *arg)
{
	int err = 0;

	row->head = &c->view.head;
	for (int i = 0; !err && i < c->view.n; i++) {
		row->position = i + 1;
		row->member = &c->view.member[i];
		root_stat_sum(&c->root, row->member->stat, row->verdicts);
		err = fn(row, arg);
	}
	return c->view.n ? err : fn(row, arg);
}

static int walk_hook(const struct bpffs *b, const struct chain_id *id,
		     int (*fn)(const struct chain_row *row, void *arg), void *arg)
{
	auto_chain struct chain c;
	int err = chain_open(b, BPFFS_READ, id, &c);

	for (int i = 0; !err && i < c.hook.n; i++) {
		struct chain_row row = { .id = *id };

		if (c.exists && c.hook.prog[i].prog_id == c.root_id) {
			err = walk_members(&c, &row, fn, arg);
			continue;
		}
		row.foreign = &c.hook.prog[i];
		err = fn(&row, arg);
	}
	return err == -ENODEV ? 0 : err; /* deleted while we looked */
}

static int walk_iface(const struct bpffs *b, const struct iface *iface, enum hook hook,
		      int (*fn)(const struct chain_row *row, void *arg), void *arg)
{
	struct chain_id id;
	int err = 0;

	for (enum hook h = HOOK_XDP; h < HOOK_COUNT; h++) {
		int one;

		if (hook != HOOK_COUNT && h != hook)
			continue;
		one = chain_id_init(&id, iface, h);
		if (!one)
			one = walk_hook(b, &id, fn, arg);
		err = err ? err : one; /* one that cannot be read hides no other */
	}
	return err;
}

int chain_walk(const struct bpffs *b, const struct iface *iface, enum hook hook,
	       int (*fn)(const struct chain_row *row, void *arg), void *arg)
{
	struct if_nameindex *all;
	int err = 0;

	if (iface)
		return walk_iface(b, iface, hook, fn, arg);
	all = if_nameindex();
	if (!all)
		return fail_errno(-errno, "cannot list the interfaces");
	for (struct if_nameindex *i = all; i->if_index; i++) {
		struct iface iface_i = { .index = (int)i->if_index };
		int one;

		strncpy(iface_i.name, i->if_name, sizeof(iface_i.name) - 1);
		one = walk_iface(b, &iface_i, hook, fn, arg);
		err = err ? err : one;
	}
	if_freenameindex(all);
	return err;
}
