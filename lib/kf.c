/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <stdio.h>
#include <string.h>

#include "kf.h"

const struct kf *const kf_all[] = { NULL };

const struct kf *kf_find(const char *name)
{
	for (const struct kf *const *kf = kf_all; *kf; kf++)
		if (!strcmp((*kf)->name, name))
			return *kf;
	return NULL;
}

int kf_map(const struct bpffs *b, const char *instance, const char *map)
{
	char path[128];

	snprintf(path, sizeof(path), "kf/%s/%s", instance, map);
	return bpffs_get(b, path);
}
