/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <limits.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/veth.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "cleanup.h"
#include "link.h"

static void cleanup_mnl(struct mnl_socket **s)
{
	if (*s)
		mnl_socket_close(*s);
}
#define auto_mnl __attribute__((cleanup(cleanup_mnl)))

#define REQUEST_LEN 1024
/* To be followed by attributes. */
static struct nlmsghdr *request(char buf[REQUEST_LEN], __u16 type, __u16 flags, int index)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *info;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nlh->nlmsg_seq = 1;
	info = mnl_nlmsg_put_extra_header(nlh, sizeof(*info));
	info->ifi_index = index;
	return nlh;
}

/* One request, one answer: fn sees the message, if any. */
static int ask(const struct nlmsghdr *nlh, mnl_cb_t fn, void *arg)
{
	auto_mnl struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	char buf[32768];
	ssize_t n;

	if (!nl || mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 || mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
	if (n < 0)
		return -errno;
	return mnl_cb_run(buf, (size_t)n, 1, mnl_socket_get_portid(nl), fn, arg) < 0 ? -errno : 0;
}

/*
 * What there is.
 */
static int info_attr(const struct nlattr *attr, void *data)
{
	struct link_info *info = data;

	switch (mnl_attr_get_type(attr)) {
	case IFLA_MTU:
		info->mtu = mnl_attr_get_u32(attr);
		break;
	case IFLA_LINK:
		info->peer = (int)mnl_attr_get_u32(attr);
		break;
	case IFLA_MASTER:
		info->is_enslaved = true;
		break;
	}
	return MNL_CB_OK;
}

/* IFLA_LINK counts only where it is of the same network namespace. */
static int elsewhere_attr(const struct nlattr *attr, void *data)
{
	if (mnl_attr_get_type(attr) == IFLA_LINK_NETNSID)
		((struct link_info *)data)->peer = 0;
	return MNL_CB_OK;
}

static int info_message(const struct nlmsghdr *nlh, void *data)
{
	const struct ifinfomsg *msg = mnl_nlmsg_get_payload(nlh);
	struct link_info *info = data;

	info->is_up = msg->ifi_flags & IFF_UP;
	info->has_carrier = msg->ifi_flags & IFF_RUNNING;
	info->is_promiscuous = msg->ifi_flags & IFF_PROMISC;
	info->is_loopback = msg->ifi_flags & IFF_LOOPBACK;
	if (mnl_attr_parse(nlh, sizeof(*msg), info_attr, info) < 0 ||
	    mnl_attr_parse(nlh, sizeof(*msg), elsewhere_attr, info) < 0)
		return MNL_CB_ERROR;
	return MNL_CB_OK;
}

int link_get(const struct iface *i, struct link_info *info)
{
	char buf[REQUEST_LEN];

	*info = (struct link_info){ 0 };
	return ask(request(buf, RTM_GETLINK, 0, i->index), info_message, info);
}

/*
 * What is to be.
 */
int link_make_pair(const char *name, const char *peer, unsigned mtu)
{
	char buf[REQUEST_LEN];
	struct nlmsghdr *nlh = request(buf, RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, 0);
	struct nlattr *info, *data, *other;

	mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	mnl_attr_put_u32(nlh, IFLA_MTU, mtu);
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_strz(nlh, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
	other = mnl_attr_nest_start(nlh, VETH_INFO_PEER);
	memset(mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg)), 0, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(nlh, IFLA_IFNAME, peer);
	mnl_attr_put_u32(nlh, IFLA_MTU, mtu);
	mnl_attr_nest_end(nlh, other);
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, info);
	return ask(nlh, NULL, NULL);
}

int link_remove(const struct iface *i)
{
	char buf[REQUEST_LEN];
	int err = ask(request(buf, RTM_DELLINK, NLM_F_ACK, i->index), NULL, NULL);

	return err == -ENODEV ? 0 : err;
}

static int set_flag(const struct iface *i, unsigned flag, bool is_on)
{
	char buf[REQUEST_LEN];
	struct nlmsghdr *nlh = request(buf, RTM_NEWLINK, NLM_F_ACK, i->index);
	struct ifinfomsg *msg = mnl_nlmsg_get_payload(nlh);

	msg->ifi_change = flag;
	msg->ifi_flags = is_on ? flag : 0;
	return ask(nlh, NULL, NULL);
}

int link_set_up(const struct iface *i, bool is_up)
{
	return set_flag(i, IFF_UP, is_up);
}

int link_set_promiscuous(const struct iface *i, bool is_on)
{
	return set_flag(i, IFF_PROMISC, is_on);
}

int link_set_multicast(const struct iface *i, bool is_on)
{
	return set_flag(i, IFF_MULTICAST, is_on);
}

int link_set_mtu(const struct iface *i, unsigned mtu)
{
	char buf[REQUEST_LEN];
	struct nlmsghdr *nlh = request(buf, RTM_NEWLINK, NLM_F_ACK, i->index);

	mnl_attr_put_u32(nlh, IFLA_MTU, mtu);
	return ask(nlh, NULL, NULL);
}

int link_set_no_address(const struct iface *i)
{
	char buf[REQUEST_LEN];
	struct nlmsghdr *nlh = request(buf, RTM_NEWLINK, NLM_F_ACK, i->index);
	struct nlattr *spec = mnl_attr_nest_start(nlh, IFLA_AF_SPEC), *v6 = mnl_attr_nest_start(nlh, AF_INET6);
	int err;

	mnl_attr_put_u8(nlh, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	mnl_attr_nest_end(nlh, v6);
	mnl_attr_nest_end(nlh, spec);
	err = ask(nlh, NULL, NULL);
	return err == -EAFNOSUPPORT ? 0 : err; /* a kernel without IPv6 */
}

/*
 * Offloads.
 */
static int ethtool(int fd, const struct iface *i, void *data)
{
	struct ifreq req = { .ifr_data = data };

	memcpy(req.ifr_name, i->name, sizeof(i->name));
	return ioctl(fd, SIOCETHTOOL, &req) < 0 ? -errno : 0;
}

/* The names of all features, to be freed. */
static int features_read(int fd, const struct iface *i, struct ethtool_gstrings **out)
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
	if (err)
		return err;
	*out = strings;
	strings = NULL;
	return 0;
}

/* Leaves a frame unfinished for the driver: "tx-checksum-ip-generic", "tx-tcp-segmentation",
 * "tx-generic-segmentation", "tx-gso-list". */
static bool is_unfinished(const char *name)
{
	size_t len = strnlen(name, ETH_GSTRING_LEN);
	static const char tail[] = "-segmentation";

	if (!strncmp(name, "tx-checksum-", 12) || !strncmp(name, "tx-gso-", 7))
		return strncmp(name, "tx-gso-partial", 14) && strncmp(name, "tx-gso-robust", 13);
	return !strncmp(name, "tx-", 3) && len >= sizeof(tail) - 1 &&
	       !strncmp(name + len - (sizeof(tail) - 1), tail, sizeof(tail) - 1);
}

#define FEATURE_BLOCKS 8
struct feature_want {
	struct ethtool_sfeatures head;
	struct ethtool_set_features_block block[FEATURE_BLOCKS];
};
struct feature_state {
	struct ethtool_gfeatures head;
	struct ethtool_get_features_block block[FEATURE_BLOCKS];
};

int link_set_whole(const struct iface *i)
{
	struct feature_state now = { .head = { .cmd = ETHTOOL_GFEATURES, .size = FEATURE_BLOCKS } };
	struct feature_want want = { .head = { .cmd = ETHTOOL_SFEATURES } };
	auto_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	auto_free struct ethtool_gstrings *names = NULL;
	int err = fd < 0 ? -errno : features_read(fd, i, &names);

	if (!err)
		err = ethtool(fd, i, &now);
	if (err)
		return err;
	want.head.size = now.head.size;
	for (__u32 n = 0; n < names->len && n / 32 < now.head.size && n / 32 < FEATURE_BLOCKS; n++)
		if (is_unfinished((const char *)names->data + n * ETH_GSTRING_LEN) &&
		    now.block[n / 32].available & ~now.block[n / 32].never_changed & 1U << n % 32)
			want.block[n / 32].valid |= 1U << n % 32;
	return ethtool(fd, i, &want);
}

int link_merges(const struct iface *i)
{
	auto_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ethtool_value gro = { .cmd = ETHTOOL_GGRO };
	int err = fd < 0 ? -errno : ethtool(fd, i, &gro);

	return err == -EOPNOTSUPP ? 0 : err ? err : gro.data != 0;
}
