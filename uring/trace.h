/* SPDX-License-Identifier: MIT
 *
 * trace.h - points where perf, bpftrace or gdb can look in without a rebuild (USDT probes of provider "ringcast";
 * without <sys/sdt.h> they are compiled out). A probe that nobody looks at is one nop. Probes stand where something
 * happens once a batch or seldom, never once a frame. What each says, in order:
 *
 *   tick              completions taken, entries submitted before them       (either ring; the thread is its worker)
 *   fanout            topic (a string), subscribers visited in the round, bytes of the send most of them share
 *   short_send        slot, bytes taken, bytes offered
 *   no_buffers        slot: a receive found no buffer free
 *   overflow          entries ready: completions did not fit the queue, the kernel keeps them aside
 *   slow_consumer     slot, topic (a string), policy (enum rc_policy)
 *   segment_recycled  segments of the log since its start
 *   handshake         slot, HTTP status (101: it is open)
 *   close             slot, close code, whether the peer's Close came first
 */
#ifndef RC_TRACE_H
#define RC_TRACE_H

#if defined(__has_include) && __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define RC_TRACE1(name, a) DTRACE_PROBE1(ringcast, name, a)
#define RC_TRACE2(name, a, b) DTRACE_PROBE2(ringcast, name, a, b)
#define RC_TRACE3(name, a, b, c) DTRACE_PROBE3(ringcast, name, a, b, c)
#else
/* Never evaluated, but compiled: what a probe names must exist. */
#define RC_TRACE1(name, a) ((void)sizeof(a))
#define RC_TRACE2(name, a, b) ((void)sizeof(a), (void)sizeof(b))
#define RC_TRACE3(name, a, b, c) ((void)sizeof(a), (void)sizeof(b), (void)sizeof(c))
#endif

#endif
