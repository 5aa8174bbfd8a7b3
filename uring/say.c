/* SPDX-License-Identifier: MIT
 *
 * say.c - see say.h. It must not know what else the connection is sent.
 */
#include "say.h"

#include "worker.h"

#include <string.h>

/* A message that goes out as it came in leaves in the block it was gathered in: the header goes before it, and nothing
 * is copied. Returns false when it must be copied. */
static bool adopt_gathered(struct worker *worker, struct rc_outbox *outbox, const uint8_t *header, size_t header_size,
                           const void *data, size_t size, bool *full)
{
	struct rc_session *session = worker->reading;
	if (!session || data != session->gathered + RC_GATHERED_HEADROOM || size != session->gathered_size)
		return false;
	size_t begin = RC_GATHERED_HEADROOM - header_size;
	if (!rc_outbox_adopt(outbox, session->gathered, session->gathered_capacity, begin, RC_GATHERED_HEADROOM + size,
	                     worker->server->config.send_size_max, full))
		return false;
	memcpy(session->gathered + begin, header, header_size);
	session->gathered = NULL;
	session->gathered_size = session->gathered_capacity = 0;
	worker->reading = NULL;
	return true;
}

int rc_say_frame(struct worker *worker, uint32_t slot, uint8_t opcode, const void *data, size_t size)
{
	struct connection *conn = &worker->connections[slot];
	uint8_t header[RC_FRAME_HEADER_MAX];
	size_t compressed = conn->deflate && !(opcode & 8) ? rc_compress_message(worker, conn, data, size) : 0;
	if (compressed) {
		data = worker->compressor.scratch_bytes;
		size = compressed;
	}
	struct rc_frame frame = { .fin = true, .opcode = opcode, .size = size, .masked = conn->client };
	frame.rsv = compressed ? RC_FRAME_RSV1 : 0;
	if (frame.masked)
		frame.mask = rc_worker_random(worker);
	size_t header_size = rc_frame_write(header, &frame);
	/* Control frames are small, bounded in number, and must not be kept back by messages. */
	size_t max = opcode & 8 ? SIZE_MAX : worker->server->config.send_size_max;
	bool full = false;
	struct rc_outbox *outbox = rc_connection_outbox(worker, conn);
	if (outbox && !frame.masked && !compressed &&
	    adopt_gathered(worker, outbox, header, header_size, data, size, &full)) {
		rc_worker_queue(worker, slot);
		return 0;
	}
	uint8_t *at = outbox ? rc_outbox_add(outbox, &worker->pool, header_size + size, max, &full) : NULL;
	if (!at)
		return full ? -ENOBUFS : -ENOMEM;
	memcpy(at, header, header_size);
	if (frame.masked)
		rc_unmask(at + header_size, data, size, frame.mask);
	else if (size)
		memcpy(at + header_size, data, size);
	rc_worker_queue(worker, slot);
	return 0;
}

void rc_say_close(struct worker *worker, uint32_t slot, uint16_t code, const char *reason, size_t reason_size)
{
	struct connection *conn = &worker->connections[slot];
	uint8_t payload[RC_CONTROL_SIZE_MAX];
	if (conn->close_sent)
		return;
	conn->close_sent = true;
	if (!conn->close_code)
		conn->close_code = code;
	size_t size = rc_close_payload(payload, code, reason, reason_size);
	if (rc_say_frame(worker, slot, RC_FRAME_CLOSE, payload, size) < 0)
		rc_ending_cut(worker, slot, code);
}
