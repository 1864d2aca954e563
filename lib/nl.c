/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <libmnl/libmnl.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "nl.h"
#include "parse.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

int netns_enter(const char *ns)
{
	char path[4096];
	auto_fd int fd = -1;
	int err;

	if (strchr(ns, '/'))
		snprintf(path, sizeof(path), "%s", ns);
	else if (ns[strspn(ns, "0123456789")] == '\0')
		snprintf(path, sizeof(path), "/proc/%s/ns/net", ns);
	else
		snprintf(path, sizeof(path), "/run/netns/%s", ns);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		err = -errno;
		return fail_errno(err, "network namespace %s: %s", ns, path);
	}
	if (setns(fd, CLONE_NEWNET)) {
		err = -errno;
		return err == -EINVAL ? fail(err, "network namespace %s: %s is not one", ns, path)
				      : fail_errno(err, "network namespace %s", ns);
	}
	return 0;
}

int netns_self(struct netns *ns)
{
	auto_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(ns->id);
	struct stat st;

	if (fd < 0)
		return -errno;
	ns->is_cookie = getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &ns->id, &len) == 0;
	if (ns->is_cookie)
		return 0;
	if (stat("/proc/thread-self/ns/net", &st))
		return -errno;
	ns->id = st.st_ino;
	return 0;
}

int iface_by_name(const char *name, struct iface *i)
{
	memset(i, 0, sizeof(*i));
	if (strlen(name) >= sizeof(i->name))
		return -ENODEV;
	strcpy(i->name, name);
	i->index = (int)if_nametoindex(name);
	return i->index ? 0 : -ENODEV;
}

int iface_by_index(int index, struct iface *i)
{
	memset(i, 0, sizeof(*i));
	i->index = index;
	if (!if_indextoname((unsigned)index, i->name))
		return errno == ENXIO ? -ENODEV : -errno;
	return 0;
}

static int iface_ask(const struct iface *i, unsigned long what, struct ifreq *req)
{
	auto_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	memcpy(req->ifr_name, i->name, sizeof(i->name));
	return ioctl(fd, what, req) ? -errno : 0;
}

int iface_mtu(const struct iface *i, unsigned *mtu)
{
	struct ifreq req = { 0 };
	int err = iface_ask(i, SIOCGIFMTU, &req);

	*mtu = err ? 0 : (unsigned)req.ifr_mtu;
	return err;
}

int iface_is_ethernet(const struct iface *i)
{
	struct ifreq req = { 0 };
	int err = iface_ask(i, SIOCGIFHWADDR, &req);

	return err ? err : req.ifr_hwaddr.sa_family == ARPHRD_ETHER || req.ifr_hwaddr.sa_family == ARPHRD_LOOPBACK;
}

int iface_mac(const struct iface *i, __u8 mac[6])
{
	struct ifreq req = { 0 };
	int err = iface_ask(i, SIOCGIFHWADDR, &req);

	if (err)
		return err;
	memcpy(mac, req.ifr_hwaddr.sa_data, 6);
	return req.ifr_hwaddr.sa_family == ARPHRD_ETHER ? 0 : -EOPNOTSUPP;
}

static bool address_read(const struct sockaddr *sa, bool is_v6, struct addr *a)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
	const struct sockaddr_in *in = (const struct sockaddr_in *)sa;

	if (!sa || sa->sa_family != (is_v6 ? AF_INET6 : AF_INET))
		return false;
	*a = (struct addr){ { [10] = 0xff, [11] = 0xff } };
	if (is_v6)
		memcpy(a->b, &in6->sin6_addr, 16);
	else
		memcpy(a->b + 12, &in->sin_addr, 4);
	return !addr_no_host(a);
}

int iface_address(const struct iface *i, bool is_v6, struct addr *a)
{
	struct ifaddrs *all;
	bool is_there = false;

	if (getifaddrs(&all))
		return -errno;
	for (const struct ifaddrs *at = all; at && !is_there; at = at->ifa_next)
		is_there = !strcmp(at->ifa_name, i->name) && address_read(at->ifa_addr, is_v6, a);
	freeifaddrs(all);
	return is_there;
}

int iface_forwards(const struct iface *i, bool is_v6)
{
	char path[96], yes;
	auto_fd int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv%d/conf/%s/forwarding", is_v6 ? 6 : 4, i->name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, &yes, 1);
	return n < 0 ? -errno : n == 1 && yes != '0';
}

/* False: other hosts cannot send to it. */
static bool addr_of(const struct sockaddr *sa, struct addr *addr)
{
	const struct sockaddr_in *v4 = (const void *)sa;
	const struct sockaddr_in6 *v6 = (const void *)sa;

	if (sa && sa->sa_family == AF_INET) {
		*addr = (struct addr){ { [10] = 0xff, [11] = 0xff } };
		memcpy(addr->b + 12, &v4->sin_addr, 4);
		return addr->b[12] != 127 && (addr->b[12] != 169 || addr->b[13] != 254);
	}
	if (!sa || sa->sa_family != AF_INET6)
		return false;
	memcpy(addr->b, &v6->sin6_addr, 16);
	return !IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) && !IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr);
}

int iface_addrs(int (*fn)(const struct addr *addr, void *arg), void *arg)
{
	struct ifaddrs *all;
	struct addr addr;
	int err = 0;

	if (getifaddrs(&all))
		return -errno;
	for (const struct ifaddrs *a = all; !err && a; a = a->ifa_next)
		if (addr_of(a->ifa_addr, &addr))
			err = fn(&addr, arg);
	freeifaddrs(all);
	return err;
}

struct alias {
	char *text;
	size_t size;
};

static int alias_attr(const struct nlattr *attr, void *data)
{
	const struct alias *a = data;

	if (mnl_attr_get_type(attr) == IFLA_IFALIAS)
		snprintf(a->text, a->size, "%s", mnl_attr_get_str(attr));
	return MNL_CB_OK;
}

static int alias_message(const struct nlmsghdr *nlh, void *data)
{
	return mnl_attr_parse(nlh, sizeof(struct ifinfomsg), alias_attr, data) < 0 ? MNL_CB_ERROR : MNL_CB_OK;
}

static int kind_attr(const struct nlattr *attr, void *data)
{
	if (mnl_attr_get_type(attr) == IFLA_INFO_KIND && !strcmp(mnl_attr_get_str(attr), "tun"))
		*(bool *)data = true;
	return MNL_CB_OK;
}

static int info_attr(const struct nlattr *attr, void *data)
{
	if (mnl_attr_get_type(attr) != IFLA_LINKINFO)
		return MNL_CB_OK;
	return mnl_attr_parse_nested(attr, kind_attr, data) < 0 ? MNL_CB_ERROR : MNL_CB_OK;
}

static int kind_message(const struct nlmsghdr *nlh, void *data)
{
	return mnl_attr_parse(nlh, sizeof(struct ifinfomsg), info_attr, data) < 0 ? MNL_CB_ERROR : MNL_CB_OK;
}

static void cleanup_mnl(struct mnl_socket **s)
{
	if (*s)
		mnl_socket_close(*s);
}
#define auto_mnl __attribute__((cleanup(cleanup_mnl)))

/* What the kernel says of a link. */
static int link_ask(const struct iface *i, mnl_cb_t message, void *data)
{
	auto_mnl struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	char buf[32768];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *info;
	ssize_t n;

	if (!nl || mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	nlh->nlmsg_type = RTM_GETLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	nlh->nlmsg_seq = 1;
	info = mnl_nlmsg_put_extra_header(nlh, sizeof(*info));
	info->ifi_index = i->index;
	if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
	if (n < 0)
		return -errno;
	return mnl_cb_run(buf, (size_t)n, 1, mnl_socket_get_portid(nl), message, data) < 0 ? -errno : 0;
}

int iface_alias(const struct iface *i, char *alias, size_t size)
{
	struct alias a = { alias, size };

	*alias = '\0';
	return link_ask(i, alias_message, &a);
}

int iface_is_tap(const struct iface *i)
{
	bool is_tap = false;
	int err = link_ask(i, kind_message, &is_tap);

	return err ? err : is_tap;
}

struct filter_walk {
	int (*fn)(const struct tc_filter *f, void *arg);
	void *arg;
	int err;
};

static int filter_option(const struct nlattr *attr, void *data)
{
	struct tc_filter *f = data;

	if (mnl_attr_get_type(attr) == TCA_BPF_ID)
		f->prog_id = mnl_attr_get_u32(attr);
	else if (mnl_attr_get_type(attr) == TCA_BPF_NAME)
		snprintf(f->name, sizeof(f->name), "%s", mnl_attr_get_str(attr));
	return MNL_CB_OK;
}

struct filter_attrs {
	const struct nlattr *options;
	bool is_bpf;
};

static int filter_attr(const struct nlattr *attr, void *data)
{
	struct filter_attrs *a = data;

	if (mnl_attr_get_type(attr) == TCA_KIND)
		a->is_bpf = !strcmp(mnl_attr_get_str(attr), "bpf");
	else if (mnl_attr_get_type(attr) == TCA_OPTIONS)
		a->options = attr;
	return MNL_CB_OK;
}

static int filter_message(const struct nlmsghdr *nlh, void *data)
{
	const struct tcmsg *tcm = mnl_nlmsg_get_payload(nlh);
	struct filter_walk *w = data;
	struct filter_attrs a = { 0 };
	struct tc_filter f = { .handle = tcm->tcm_handle,
			       .priority = (__u16)(TC_H_MAJ(tcm->tcm_info) >> 16) };

	mnl_attr_parse(nlh, sizeof(*tcm), filter_attr, &a);
	if (!a.is_bpf || !a.options)
		return MNL_CB_OK;
	mnl_attr_parse_nested(a.options, filter_option, &f);
	if (f.prog_id)
		w->err = w->fn(&f, w->arg);
	return w->err ? MNL_CB_ERROR : MNL_CB_OK;
}

int tc_filters(const struct iface *i, bool egress,
	       int (*fn)(const struct tc_filter *f, void *arg), void *arg)
{
	auto_mnl struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	char buf[32768];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct filter_walk w = { fn, arg, 0 };
	struct tcmsg *tcm;
	ssize_t n;
	int ret;

	if (!nl || mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	nlh->nlmsg_type = RTM_GETTFILTER;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = 1;
	tcm = mnl_nlmsg_put_extra_header(nlh, sizeof(*tcm));
	tcm->tcm_family = AF_UNSPEC;
	tcm->tcm_ifindex = i->index;
	tcm->tcm_parent = TC_H_MAKE(TC_H_CLSACT, egress ? TC_H_MIN_EGRESS : TC_H_MIN_INGRESS);
	if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	do {
		n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		if (n < 0)
			return -errno;
		ret = mnl_cb_run(buf, (size_t)n, 1, mnl_socket_get_portid(nl), filter_message, &w);
	} while (ret > MNL_CB_STOP);
	if (w.err)
		return w.err;
	/* without clsact the kernel says EINVAL or ENOENT */
	return ret < 0 && errno != EINVAL && errno != ENOENT ? -errno : 0;
}
