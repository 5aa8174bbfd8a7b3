/* SPDX-License-Identifier: MIT
 *
 * stalled.h - subscribers that never read: what every fan-out server must survive. Connections by hand, because one of
 * the library always reads.
 */
#ifndef LOAD_STALLED_H
#define LOAD_STALLED_H

#include "lib/stream.h"

struct load_options;

/* Opens as many as the options say to a ws://, wss:// or ws+unix: URL, keeps them in `streams`, and waits until each is
 * answered with 101. Returns 0, or -1 after printing why; then those that are not open have an fd of -1. */
int load_stall(const struct load_options *options, const char *url, struct stream *streams);

#endif
