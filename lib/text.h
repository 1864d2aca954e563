/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_TEXT_H
#define L3AF_TEXT_H

/* Text of foreign origin (interface names, file names, words of the command line) on
 * its way to a terminal or into JSON. */
#include <linux/types.h>
#include <stdio.h>

#define TEXT_INVALID 0xffffffffU /* a byte that is no UTF-8 */

/* The character at s, which is not empty, in *c; returns its length in bytes. */
int text_next(const char *s, __u32 *c);
int text_is_control(__u32 c);
int text_width(const char *s); /* in characters */

/* Control characters and invalid bytes become \xNN. */
void text_put(FILE *f, const char *s);
/* A JSON string with its quotes; invalid bytes become U+FFFD. */
void text_put_json(FILE *f, const char *s);

#endif
