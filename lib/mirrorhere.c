/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "cleanup.h"
#include "mirrortable.h"

/* 1: it is the map of these constants. */
static int here_read(__u32 id, struct mirror_here *here)
{
	auto_fd int map = bpf_map_get_fd_by_id(id);
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info), zero = 0;

	if (map < 0)
		return map == -ENOENT ? 0 : map;
	if (bpf_obj_get_info_by_fd(map, &info, &len))
		return -errno;
	if (strcmp(info.name, ".rodata.place") || info.value_size != sizeof(*here))
		return 0;
	return bpf_map_lookup_elem(map, &zero, here) ? -errno : 1;
}

int mirror_here_of(__u32 prog_id, struct mirror_here *here)
{
	auto_fd int prog = bpf_prog_get_fd_by_id(prog_id);
	struct bpf_prog_info info = { 0 };
	__u32 ids[32], len = sizeof(info);
	int ret = 0;

	if (prog < 0)
		return prog;
	info.nr_map_ids = sizeof(ids) / sizeof(ids[0]);
	info.map_ids = (__u64)(uintptr_t)ids;
	if (bpf_obj_get_info_by_fd(prog, &info, &len))
		return -errno;
	for (__u32 i = 0; !ret && i < info.nr_map_ids && i < sizeof(ids) / sizeof(ids[0]); i++)
		ret = here_read(ids[i], here);
	return ret > 0 ? 0 : ret ? ret : -ENOENT;
}
