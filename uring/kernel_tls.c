/* SPDX-License-Identifier: MIT
 *
 * kernel_tls.c - see kernel_tls.h. It must not know what is sent.
 *
 * Invariant: the kernel has the keys only while nothing that was encrypted with them is still to leave.
 */
#include "kernel_tls.h"

#include "worker.h"

#include <linux/tls.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

void rc_kernel_tls_forget_keys(struct secure *own)
{
	if (own->keys)
		explicit_bzero(own->keys, RC_TLS_KERNEL_KEYS_MAX);
	free(own->keys);
	own->keys = NULL;
}

static void set_option(struct worker *worker, uint32_t slot, int level, int name, const void *value, unsigned size)
{
	uint64_t tag = rc_tag(worker, TAG_OPTION_SET, slot, 0);
	int result = rc_ring_set_option(worker->ring, slot, level, name, value, size, tag);
	if (result == -EINPROGRESS)
		worker->connections[slot].sending = true;
	else
		rc_kernel_tls_option_set(worker, slot, result);
}

static void give_keys(struct worker *worker, uint32_t slot)
{
	struct secure *own = &worker->secure.of_slot[slot];
	own->keys = malloc(RC_TLS_KERNEL_KEYS_MAX);
	size_t size = own->keys ? rc_tls_kernel_keys(own->stream, own->keys) : 0;
	own->kernel = size ? KERNEL_GIVEN : KERNEL_NOT;
	if (size)
		set_option(worker, slot, SOL_TLS, TLS_TX, own->keys, (unsigned)size);
	else
		rc_kernel_tls_forget_keys(own);
}

void rc_kernel_tls_option_set(struct worker *worker, uint32_t slot, int result)
{
	struct secure *own = &worker->secure.of_slot[slot];
	struct connection *conn = &worker->connections[slot];
	if (conn->state == CONNECTION_ENDING)
		return;
	if (own->kernel == KERNEL_ASKED && result == 0) {
		if (own->aside)
			own->kernel = KERNEL_NOT; /* something came aside meanwhile; it goes on without the kernel */
		else
			give_keys(worker, slot);
		return;
	}
	if (result == -ENOENT) {
		worker->secure.kernel_refused = true;
		rc_worker_report(worker, REPORT_KERNEL_TLS,
		                 "worker %u: the kernel makes no TLS records: its module tls or a cipher is missing",
		                 worker->index);
	}
	rc_kernel_tls_forget_keys(own);
	if (result < 0 || own->kernel != KERNEL_GIVEN) {
		own->kernel = KERNEL_NOT;
		return;
	}
	rc_tls_kernel_took(own->stream);
	own->kernel = KERNEL_ON;
	conn->kernel_tls = conn->copies = true;
	rc_count(&worker->stats.tls_kernel, 1);
}

bool rc_kernel_tls_begin(struct worker *worker, uint32_t slot)
{
	struct secure *own = &worker->secure.of_slot[slot];
	uint8_t keys[RC_TLS_KERNEL_KEYS_MAX];
	bool can = rc_tls_kernel_keys(own->stream, keys) > 0;
	explicit_bzero(keys, sizeof keys);
	own->kernel = can ? KERNEL_ASKED : KERNEL_NOT;
	if (can)
		set_option(worker, slot, IPPROTO_TCP, TCP_ULP, "tls", sizeof "tls");
	return worker->connections[slot].sending;
}

bool rc_kernel_tls_send_alert(struct worker *worker, uint32_t slot)
{
	struct secure *own = &worker->secure.of_slot[slot];
	own->sending = (struct rc_range){ own->alert, sizeof own->alert };
	worker->connections[slot].sending = true;
	rc_count(&worker->stats.sends, 1);
	rc_ring_send_alert(worker->ring, slot, &own->sending, rc_tag(worker, TAG_SENT_ALERT, slot, 0));
	return true;
}

void rc_kernel_tls_count(struct worker *worker, uint32_t slot, size_t size)
{
	static const char reason[] = "its keys are used up: connect again";
	struct secure *own = &worker->secure.of_slot[slot];
	own->kernel_size += size + RC_TLS_OVERHEAD_MAX;
	if (own->kernel_size > RC_TLS_KERNEL_SIZE_MAX)
		rc_ending_note(worker, &(struct ending){ .kind = ENDING_CLOSE,
		                                         .slot = slot,
		                                         .code = RC_CLOSE_GOING_AWAY,
		                                         .reason = reason,
		                                         .reason_size = sizeof reason - 1 });
}

bool rc_kernel_tls_sent_alert(struct worker *worker, uint32_t slot, int result)
{
	struct secure *own = &worker->secure.of_slot[slot];
	own->alert_waits = result < (int)sizeof own->alert; /* two bytes leave together or not at all */
	return !own->alert_waits;
}
