/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_IPFIXREAD_H
#define L3AF_IPFIXREAD_H

/* Reading IPFIX files (RFC 5655), as far as going on with one needs it. */
#include <linux/types.h>
#include "err.h"

/*
 * The sequence number of a domain's next message in the file open at fd, 0 where the
 * domain does not occur; *size: octets of the file's whole messages. -ENODATA: the file
 * ends within a message; -EBADMSG: at *size it is no IPFIX; -errno. Prints nothing.
 */
must_use int ipfix_read_sequence(int fd, __u32 domain, __u32 *sequence, __u64 *size);

#endif
