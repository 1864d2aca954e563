/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_VMLINUX_H
#define L3AF_VMLINUX_H

/*
 * The few kernel structs that our programs look into. Only the fields used are
 * here; their place is found when the program is loaded (CO-RE).
 */
#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
	unsigned int inum;
};

struct net {
	__u64 net_cookie;
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

/* The part after ___ is ours: linux/in6.h has one of this name too. */
struct in6_addr___kernel {
	union {
		__u32 u6_addr32[4];
	} in6_u;
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr___kernel skc_v6_daddr;
	struct in6_addr___kernel skc_v6_rcv_saddr;
};

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
};

struct tcp_sock;

struct net_device {
	unsigned int flags;
	unsigned long state;
};

struct sk_buff {
	struct net_device *dev;
	unsigned char *head, *data;
	__u16 csum_start, csum_offset;
	__u8 ip_summed:2;
};

struct bpf_iter__tcp {
	struct sock_common *sk_common;
};

#pragma clang attribute pop

#endif
