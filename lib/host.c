/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <libmnl/libmnl.h>
#include <limits.h>
#include <linux/ethtool.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "cleanup.h"
#include "host.h"

/*
 * Addresses.
 */
static void cleanup_ifaddrs(struct ifaddrs **all)
{
	if (*all)
		freeifaddrs(*all);
}
#define auto_ifaddrs __attribute__((cleanup(cleanup_ifaddrs)))

static bool sockaddr_addr(const struct sockaddr *sa, struct addr *a)
{
	if (sa && sa->sa_family == AF_INET) {
		*a = (struct addr){ .b = { [10] = 0xff, [11] = 0xff } };
		memcpy(a->b + 12, &((const struct sockaddr_in *)sa)->sin_addr, 4);
		return true;
	}
	if (sa && sa->sa_family == AF_INET6) {
		memcpy(a->b, &((const struct sockaddr_in6 *)sa)->sin6_addr, 16);
		return true;
	}
	return false;
}

int host_has_addr(const struct addr *a, struct iface *iface)
{
	auto_ifaddrs struct ifaddrs *all = NULL;
	struct addr has;

	if (getifaddrs(&all))
		return -errno;
	for (const struct ifaddrs *i = all; i; i = i->ifa_next)
		if (sockaddr_addr(i->ifa_addr, &has) && !memcmp(&has, a, sizeof(has)))
			return iface_by_name(i->ifa_name, iface) ? -ENODEV : 1;
	return 0;
}

static bool is_link_local(const struct addr *a)
{
	return addr_is_v4(a) ? a->b[12] == 169 && a->b[13] == 254 : a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

int host_iface_addr(const struct iface *iface, bool is_v4, struct addr *a)
{
	auto_ifaddrs struct ifaddrs *all = NULL;
	struct addr has;

	if (getifaddrs(&all))
		return -errno;
	for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
		if (strcmp(i->ifa_name, iface->name) || !sockaddr_addr(i->ifa_addr, &has) ||
		    addr_is_v4(&has) != is_v4 || is_link_local(&has))
			continue;
		*a = has;
		return 1;
	}
	return 0;
}

/*
 * Routes and neighbours.
 */
static void cleanup_mnl(struct mnl_socket **s)
{
	if (*s)
		mnl_socket_close(*s);
}
#define auto_mnl __attribute__((cleanup(cleanup_mnl)))

static void put_addr(struct nlmsghdr *nlh, __u16 attr, const struct addr *a)
{
	if (addr_is_v4(a))
		mnl_attr_put(nlh, attr, 4, a->b + 12);
	else
		mnl_attr_put(nlh, attr, 16, a->b);
}

static void get_addr(const void *from, size_t len, struct addr *a)
{
	*a = (struct addr){ .b = { [10] = 0xff, [11] = 0xff } };
	if (len == 4 || len == 16)
		memcpy(a->b + 16 - len, from, len);
}

/* One question, one answer: fn sees the message. */
static int ask(struct nlmsghdr *nlh, mnl_cb_t fn, void *arg)
{
	auto_mnl struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	char buf[8192];
	ssize_t n;

	if (!nl || mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	nlh->nlmsg_seq = 1;
	if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
	if (n < 0)
		return -errno;
	return mnl_cb_run(buf, (size_t)n, 1, mnl_socket_get_portid(nl), fn, arg) < 0 ? -errno : 0;
}

struct route_answer {
	struct host_route *route;
	int oif;
	bool has_gateway;
};

static int route_attr(const struct nlattr *attr, void *data)
{
	struct route_answer *a = data;
	const struct rtvia *via = mnl_attr_get_payload(attr);

	switch (mnl_attr_get_type(attr)) {
	case RTA_OIF:
		a->oif = (int)mnl_attr_get_u32(attr);
		break;
	case RTA_GATEWAY:
		get_addr(mnl_attr_get_payload(attr), mnl_attr_get_payload_len(attr), &a->route->next);
		break;
	case RTA_PREFSRC:
		get_addr(mnl_attr_get_payload(attr), mnl_attr_get_payload_len(attr), &a->route->source);
		a->route->has_source = true;
		break;
	case RTA_VIA: /* an IPv4 route by an IPv6 gateway */
		get_addr(via->rtvia_addr, mnl_attr_get_payload_len(attr) - sizeof(*via), &a->route->next);
		break;
	}
	return MNL_CB_OK;
}

static int route_message(const struct nlmsghdr *nlh, void *data)
{
	const struct rtmsg *msg = mnl_nlmsg_get_payload(nlh);
	struct route_answer *a = data;

	a->route->type = msg->rtm_type;
	return mnl_attr_parse(nlh, sizeof(*msg), route_attr, a) < 0 ? MNL_CB_ERROR : MNL_CB_OK;
}

static int route_ask(__u16 by, const struct iface *iface, const struct addr *src, const struct addr *dst,
		     struct host_route *r)
{
	struct route_answer a = { .route = r };
	__u8 len = addr_is_v4(dst) ? 32 : 128;
	char buf[256];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct rtmsg *msg;
	int err;

	*r = (struct host_route){ .next = *dst };
	nlh->nlmsg_type = RTM_GETROUTE;
	msg = mnl_nlmsg_put_extra_header(nlh, sizeof(*msg));
	msg->rtm_family = addr_is_v4(dst) ? AF_INET : AF_INET6;
	msg->rtm_dst_len = len;
	put_addr(nlh, RTA_DST, dst);
	if (src) {
		msg->rtm_src_len = len;
		put_addr(nlh, RTA_SRC, src);
	}
	if (iface)
		mnl_attr_put_u32(nlh, by, (__u32)iface->index);
	err = ask(nlh, route_message, &a);
	if (err)
		return err;
	return a.oif ? iface_by_index(a.oif, &r->iface) : -ENETUNREACH;
}

int host_route(const struct addr *src, const struct addr *dst, struct host_route *r)
{
	return route_ask(0, NULL, src, dst, r);
}

int host_route_by(const struct iface *i, const struct addr *dst, struct host_route *r)
{
	return route_ask(RTA_OIF, i, NULL, dst, r);
}

int host_route_forward(const struct iface *i, const struct addr *src, const struct addr *dst, struct host_route *r)
{
	return route_ask(RTA_IIF, i, src, dst, r);
}

struct neighbour_answer {
	__u8 *mac;
	bool is_known;
};

static int neighbour_attr(const struct nlattr *attr, void *data)
{
	struct neighbour_answer *a = data;

	if (mnl_attr_get_type(attr) == NDA_LLADDR && mnl_attr_get_payload_len(attr) == 6)
		memcpy(a->mac, mnl_attr_get_payload(attr), 6);
	return MNL_CB_OK;
}

/* The states in which the kernel sends to it, NUD_VALID of the kernel. */
static int neighbour_message(const struct nlmsghdr *nlh, void *data)
{
	const struct ndmsg *msg = mnl_nlmsg_get_payload(nlh);
	struct neighbour_answer *a = data;

	a->is_known = msg->ndm_state & (NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY);
	return mnl_attr_parse(nlh, sizeof(*msg), neighbour_attr, a) < 0 ? MNL_CB_ERROR : MNL_CB_OK;
}

int host_neighbour(const struct iface *i, const struct addr *addr, __u8 mac[6])
{
	struct neighbour_answer a = { .mac = mac };
	char buf[256];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ndmsg *msg;
	int err;

	nlh->nlmsg_type = RTM_GETNEIGH;
	msg = mnl_nlmsg_put_extra_header(nlh, sizeof(*msg));
	msg->ndm_family = addr_is_v4(addr) ? AF_INET : AF_INET6;
	msg->ndm_ifindex = i->index;
	put_addr(nlh, NDA_DST, addr);
	err = ask(nlh, neighbour_message, &a);
	return err == -ENOENT ? 0 : err ? err : a.is_known;
}

/*
 * Settings.
 */
int host_sysctl(bool is_v4, const char *name, const char *what, int *value)
{
	char path[128], line[32];
	auto_file FILE *f = NULL;
	struct why why;
	__u64 v;

	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%.15s/%s", is_v4 ? "ipv4" : "ipv6", name, what);
	f = fopen(path, "re");
	if (!f || !fgets(line, sizeof(line), f))
		return f ? -EIO : -errno;
	line[strcspn(line, "\n")] = '\0';
	if (parse_u64(line, 0, INT32_MAX, &v, &why))
		return -EIO;
	*value = (int)v;
	return 0;
}

static int ethtool(int fd, const struct iface *i, void *data)
{
	struct ifreq req = { .ifr_data = data };

	memcpy(req.ifr_name, i->name, sizeof(i->name));
	return ioctl(fd, SIOCETHTOOL, &req) ? -errno : 0;
}

/* The number of a feature's name, or -ENOENT. */
static int feature_find(int fd, const struct iface *i, const char *name)
{
	struct { struct ethtool_sset_info head; __u32 count; } set = {
		.head = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ULL << ETH_SS_FEATURES } };
	auto_free struct ethtool_gstrings *strings = NULL;
	int err = ethtool(fd, i, &set);

	if (err)
		return err;
	strings = calloc(1, sizeof(*strings) + (size_t)set.count * ETH_GSTRING_LEN);
	if (!strings)
		return -ENOMEM;
	strings->cmd = ETHTOOL_GSTRINGS;
	strings->string_set = ETH_SS_FEATURES;
	strings->len = set.count;
	err = ethtool(fd, i, strings);
	for (__u32 n = 0; !err && n < strings->len; n++)
		if (!strncmp((const char *)strings->data + n * ETH_GSTRING_LEN, name, ETH_GSTRING_LEN))
			return (int)n;
	return err ? err : -ENOENT;
}

static int feature_is_on(int fd, const struct iface *i, const char *name, bool *is_on)
{
	struct { struct ethtool_gfeatures head; struct ethtool_get_features_block block[8]; } all = {
		.head = { .cmd = ETHTOOL_GFEATURES, .size = 8 } };
	int n = feature_find(fd, i, name), err;

	*is_on = false;
	if (n < 0 || n >= 8 * 32)
		return n == -ENOENT ? 0 : n < 0 ? n : -E2BIG;
	err = ethtool(fd, i, &all);
	if (!err)
		*is_on = all.block[n / 32].active >> n % 32 & 1;
	return err;
}

int host_nic(const struct iface *i, struct host_nic *nic)
{
	struct ethtool_drvinfo driver = { .cmd = ETHTOOL_GDRVINFO };
	auto_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq req = { 0 };
	int err;

	*nic = (struct host_nic){ 0 };
	if (fd < 0)
		return -errno;
	memcpy(req.ifr_name, i->name, sizeof(i->name));
	if (ioctl(fd, SIOCGIFFLAGS, &req))
		return -errno;
	nic->is_up = req.ifr_flags & IFF_RUNNING && req.ifr_flags & IFF_UP;
	if (!ethtool(fd, i, &driver))
		snprintf(nic->driver, sizeof(nic->driver), "%.31s", driver.driver);
	err = feature_is_on(fd, i, "rx-lro", &nic->has_lro);
	return err ? err : feature_is_on(fd, i, "rx-gro-hw", &nic->has_hw_gro);
}
