/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_ROOT_H
#define L3AF_ROOT_H

/*
 * Contract between a chain's root program and lib/chain.c. All of it is pinned
 * below chain/<netns>/<ifindex>/<hook>/, one file per map, named as below.
 *
 *   slots  PROG_ARRAY of 2 * ROOT_MEMBERS: the members of bank 0, then of bank 1
 *   gen    u64; its lowest bit is the bank that packets use. Only ever changed by one
 *          aligned 8-byte store; the other bank is idle and may be rewritten after a
 *          grace period
 *   bank0, bank1  struct root_bank
 *   stat   one struct root_stat for each possible CPU
 *   desc   ARRAY of struct root_desc, index as in slots; entry ROOT_HEAD is the
 *          struct root_head
 *   root   the program
 *   link   the bpf_link, where the engine has one
 *   member/<program id>  the members' programs, so that a change of order gets them
 *          without the CAP_SYS_ADMIN that access by id needs
 */
#include <linux/types.h>

#define ROOT_MEMBERS 32
#define ROOT_CPUS 1024      /* CPUs beyond share the counters of the first */
#define ROOT_SLOTS (2 * ROOT_MEMBERS)
#define ROOT_HEAD ROOT_SLOTS

/* A verdict's bit in a continue mask and its place in the counters: XDP actions 0..4
 * (XDP_ABORTED..XDP_REDIRECT) use bit = action; TC actions -1..8 (TC_ACT_UNSPEC..TC_ACT_TRAP)
 * bit = action + 1. */
#define ROOT_VERDICTS 15
#define ROOT_OTHER 15       /* counter of verdicts that have no bit; they are final */
#define ROOT_NONE_BIT 31    /* set in the mask of every member: an empty slot continues */

struct root_member {
	__u32 mask;      /* verdicts that continue the chain; 0: end of the chain */
	__u32 stat;      /* index into root_stat.member, stable across flips */
};
struct root_bank {
	struct root_member member[ROOT_MEMBERS];
};

/* Packets by verdict, per member. */
struct root_stat {
	__u64 member[ROOT_SLOTS][ROOT_VERDICTS + 1];
};

struct root_desc {
	char name[16];
	char instance[16];
	__u32 mask;          /* as in root_member */
	__u32 stat;
	__u32 prog_id;
	__u32 flags;         /* ROOT_F_* */
	__u8 tag[8];         /* the kernel's hash of the program */
	__u8 sha256[32];     /* of the object file; zero: adopted */
	__u64 loaded_at;     /* CLOCK_REALTIME, seconds */
	char program[32];    /* its name in the object */
	char object[128];    /* absolute path; "": built in, adopted, or too long */
};
#define ROOT_F_BUILTIN 1
#define ROOT_F_ADOPTED 2

struct root_head {
	__u32 abi;           /* ROOT_ABI */
	__u32 engine;        /* enum engine */
	__u32 mode;          /* enum xdp_mode: as attached */
	__u32 attach_type;   /* expected_attach_type of the root and so of every member */
	__u32 flags;         /* prog_flags likewise: BPF_F_XDP_HAS_FRAGS or 0 */
	__u32 reserved;
	__u64 attached_at;   /* CLOCK_REALTIME, seconds */
	char why[160];       /* why this engine */
	char ifname[16];     /* when it was attached */
	__u64 settled;       /* the gen after whose flip a grace period has passed */
	__u64 changed_us;    /* CLOCK_MONOTONIC after the last flip */
	char pad[32];
};
#define ROOT_ABI 1

_Static_assert(sizeof(struct root_member) == 8, "ABI");
_Static_assert(sizeof(struct root_desc) == 256, "ABI");
_Static_assert(sizeof(struct root_head) == 256, "ABI");
_Static_assert(sizeof(struct root_stat) == 8192, "ABI");

#endif
