/* SPDX-License-Identifier: MIT
 *
 * stalled.h - subscribers that never read: what every fan-out server must survive. Plain sockets by hand, because
 * a connection of the library always reads.
 */
#ifndef LOAD_STALLED_H
#define LOAD_STALLED_H

/* Opens `count` of them to a ws:// URL with an IPv4 address or "localhost", keeps their descriptors in `sockets`, and
 * waits until each is answered with 101. Returns 0, or -1 after printing why. */
int load_stall(const char *url, int *sockets, unsigned count);

#endif
