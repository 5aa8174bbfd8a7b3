/* SPDX-License-Identifier: MIT
 *
 * outbox.c - see outbox.h.
 */
#include "outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "packet.h"

struct outbox_call {
	struct outbox_call *next;
	backplane_done *done;
	void *context;
	uint64_t added_ns;
	size_t count, size; /* messages; bytes that they take in a packet */
	uint8_t bytes[];
};

struct outbox_member {
	struct outbox_member *next;
	struct engine_member member;
	size_t size;
	char bytes[];
};

int outbox_init(struct outbox *outbox, size_t size_max)
{
	pthread_condattr_t clock;
	*outbox = (struct outbox){ .size_max = size_max };
	outbox->end = &outbox->first;
	outbox->packets_end = &outbox->packets;
	outbox->members_end = &outbox->members;
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	int code = pthread_cond_init(&outbox->changed, &clock);
	pthread_condattr_destroy(&clock);
	return code ? -code : -pthread_mutex_init(&outbox->lock, NULL);
}

/* ---- adding ---- */

int outbox_add(struct outbox *outbox, const struct backplane_message *messages, size_t count, uint64_t now_ns,
               backplane_done *done, void *context, bool *direct)
{
	size_t size = 0;
	bool alone = false;
	for (size_t i = 0; i < count; i++)
		size += packet_message_size(&messages[i]);
	struct outbox_call *call = malloc(sizeof *call + size);
	if (!call)
		return -ENOMEM;
	*call =
	    (struct outbox_call){ .done = done, .context = context, .added_ns = now_ns, .count = count, .size = size };
	uint8_t *at = call->bytes;
	for (size_t i = 0; i < count; i++)
		at = packet_write_message(at, &messages[i]);
	pthread_mutex_lock(&outbox->lock);
	int code = outbox->closed ? -ECANCELED : outbox->size + sizeof *call + size > outbox->size_max ? -EAGAIN : 0;
	if (!code) {
		outbox->size += sizeof *call + size;
		outbox->count += count;
		*outbox->end = call;
		outbox->end = &call->next;
		outbox->woken = true;
		alone = direct && outbox->resting && outbox->first == call && !outbox->packets && !outbox->members;
		outbox->direct |= alone;
		outbox->resting &= !alone;
	}
	pthread_mutex_unlock(&outbox->lock);
	if (direct)
		*direct = alone;
	/* Not under the lock: who is woken wants it at once. */
	if (!code && !alone)
		pthread_cond_signal(&outbox->changed);
	if (code)
		free(call);
	return code;
}

void outbox_handed(struct outbox *outbox, uint64_t token)
{
	pthread_mutex_lock(&outbox->lock);
	for (struct outbox_packet *packet = outbox->packets; packet; packet = packet->next)
		packet->handed |= packet->token == token;
	outbox->direct = false;
	outbox->woken = true;
	pthread_mutex_unlock(&outbox->lock);
	pthread_cond_broadcast(&outbox->changed);
}

static const void *keep(char **at, const void *bytes, size_t size)
{
	const char *kept = *at;
	if (size)
		memcpy(*at, bytes, size);
	*at += size;
	return kept;
}

int outbox_add_member(struct outbox *outbox, const struct engine_member *member)
{
	size_t size = sizeof(struct outbox_member) + member->room_size + member->name_size + member->value_size;
	struct outbox_member *change = malloc(size);
	if (!change)
		return -ENOMEM;
	*change = (struct outbox_member){ .member = *member, .size = size };
	char *at = change->bytes;
	change->member.room = keep(&at, member->room, member->room_size);
	change->member.name = keep(&at, member->name, member->name_size);
	if (member->value)
		change->member.value = keep(&at, member->value, member->value_size);
	pthread_mutex_lock(&outbox->lock);
	int code = outbox->closed ? -ECANCELED : outbox->size + size > outbox->size_max ? -EAGAIN : 0;
	if (!code) {
		outbox->size += size;
		*outbox->members_end = change;
		outbox->members_end = &change->next;
		outbox->woken = true;
		pthread_cond_signal(&outbox->changed);
	}
	pthread_mutex_unlock(&outbox->lock);
	if (code)
		free(change);
	return code;
}

void outbox_close(struct outbox *outbox)
{
	pthread_mutex_lock(&outbox->lock);
	outbox->closed = true;
	pthread_mutex_unlock(&outbox->lock);
}

bool outbox_is_empty(struct outbox *outbox)
{
	pthread_mutex_lock(&outbox->lock);
	bool empty = !outbox->first && !outbox->packets && !outbox->members;
	pthread_mutex_unlock(&outbox->lock);
	return empty;
}

/* ---- waiting ---- */

void outbox_wake(struct outbox *outbox)
{
	pthread_mutex_lock(&outbox->lock);
	outbox->woken = true;
	pthread_cond_signal(&outbox->changed);
	pthread_mutex_unlock(&outbox->lock);
}

static bool has_unsent(const struct outbox *outbox)
{
	const struct outbox_packet *packet = outbox->packets;
	while (packet && packet->appended)
		packet = packet->next;
	return packet;
}

void outbox_wait(struct outbox *outbox, uint64_t until_ns, bool for_calls)
{
	const struct timespec until = { .tv_sec = (time_t)(until_ns / 1000000000),
		                        .tv_nsec = (long)(until_ns % 1000000000) };
	pthread_mutex_lock(&outbox->lock);
	outbox->resting = for_calls;
	while (!outbox->woken && !(for_calls && (outbox->members || has_unsent(outbox) ||
	                                         (outbox->first && outbox->packet_count < OUTBOX_PACKETS_MAX))))
		if (pthread_cond_timedwait(&outbox->changed, &outbox->lock, &until))
			break;
	outbox->resting = false;
	while (outbox->direct)
		pthread_cond_wait(&outbox->changed, &outbox->lock);
	outbox->woken = false;
	pthread_mutex_unlock(&outbox->lock);
}

/* ---- packing ---- */

/* A packet of the first calls that wait, with room for their bytes. */
static struct outbox_packet *make(struct outbox *outbox, uint64_t time_ns)
{
	/* The first one goes in any case. */
	struct outbox_call *last = outbox->first, *call = last->next;
	size_t size = PACKET_HEAD_SIZE + last->size, count = last->count;
	for (; call && count + call->count <= BACKPLANE_MESSAGES_MAX && size + call->size <= OUTBOX_PACKET_SIZE;
	     last = call, call = call->next) {
		size += call->size;
		count += call->count;
	}
	struct outbox_packet *packet = malloc(sizeof *packet + size);
	if (!packet)
		return NULL;
	*packet = (struct outbox_packet){ .calls = outbox->first,
		                          .token = ++outbox->token,
		                          .packed_ns = time_ns,
		                          .count = (uint32_t)count,
		                          .size = size };
	outbox->first = call;
	if (!call)
		outbox->end = &outbox->first;
	last->next = NULL;
	uint8_t *at = packet->bytes + PACKET_HEAD_SIZE;
	for (call = packet->calls; call; call = call->next) {
		memcpy(at, call->bytes, call->size);
		at += call->size;
	}
	*outbox->packets_end = packet;
	outbox->packets_end = &packet->next;
	outbox->packet_count++;
	return packet;
}

static bool make_room(struct outbox_sending *sending, size_t size)
{
	if (size <= sending->room)
		return true;
	uint8_t *bytes = realloc(sending->bytes, size);
	if (!bytes)
		return false;
	sending->bytes = bytes;
	sending->room = size;
	return true;
}

/* Copies, since a packet may be confirmed, and freed, before the engine has answered. */
static int copy_out(const struct outbox *outbox, struct outbox_sending *sending, uint64_t node, uint64_t epoch)
{
	size_t size = 0;
	int count = 0;
	for (struct outbox_packet *packet = outbox->packets; packet && count < OUTBOX_SEND_MAX; packet = packet->next) {
		if (packet->appended)
			continue;
		if (!make_room(sending, size + packet->size))
			return count ? count : -ENOMEM;
		uint8_t *bytes = sending->bytes + size;
		memcpy(bytes, packet->bytes, packet->size);
		packet_write_head(bytes, &(struct packet_head){ .node = node,
		                                                .token = packet->token,
		                                                .epoch = epoch,
		                                                .time_ns = packet->packed_ns,
		                                                .count = packet->count });
		packet->sent = true;
		sending->tokens[count] = packet->token;
		sending->packets[count++] =
		    (struct engine_packet){ .size = packet->size, .epoch = epoch, .handed = packet->handed };
		size += packet->size;
	}
	/* The bytes may have moved while they grew. */
	const uint8_t *at = sending->bytes;
	for (int i = 0; i < count; at += sending->packets[i++].size)
		sending->packets[i].data = at;
	return count;
}

int outbox_pack(struct outbox *outbox, struct outbox_sending *sending, uint64_t node, uint64_t epoch, uint64_t time_ns)
{
	pthread_mutex_lock(&outbox->lock);
	for (unsigned made = 0; outbox->first && made < OUTBOX_SEND_MAX && outbox->packet_count < OUTBOX_PACKETS_MAX;
	     made++)
		if (!make(outbox, time_ns))
			break;
	int count = copy_out(outbox, sending, node, epoch);
	pthread_mutex_unlock(&outbox->lock);
	return count;
}

void outbox_sent(struct outbox *outbox, const struct outbox_sending *sending, size_t count, uint64_t now_ns)
{
	pthread_mutex_lock(&outbox->lock);
	for (struct outbox_packet *packet = outbox->packets; packet; packet = packet->next)
		for (size_t i = 0; i < count; i++)
			if (sending->tokens[i] == packet->token && sending->packets[i].appended) {
				packet->appended = true;
				packet->appended_ns = now_ns;
			}
	pthread_mutex_unlock(&outbox->lock);
}

const struct engine_member *outbox_member(struct outbox *outbox)
{
	pthread_mutex_lock(&outbox->lock);
	const struct outbox_member *change = outbox->members;
	pthread_mutex_unlock(&outbox->lock);
	return change ? &change->member : NULL;
}

void outbox_member_written(struct outbox *outbox)
{
	pthread_mutex_lock(&outbox->lock);
	struct outbox_member *change = outbox->members;
	outbox->members = change->next;
	if (!outbox->members)
		outbox->members_end = &outbox->members;
	outbox->size -= change->size;
	pthread_mutex_unlock(&outbox->lock);
	free(change);
}

/* ---- telling ---- */

/* Not under the lock. Returns how many messages they had. */
static size_t tell(struct outbox_call *calls, int code, const struct backplane_number *numbers)
{
	size_t told = 0;
	for (struct outbox_call *call = calls, *next; call; call = next) {
		next = call->next;
		if (call->done)
			call->done(call->context, code, code ? NULL : numbers + told, code ? 0 : call->count);
		told += call->count;
		free(call);
	}
	return told;
}

/* Under the lock: what calls take is given back. */
static void release(struct outbox *outbox, const struct outbox_call *calls)
{
	for (; calls; calls = calls->next) {
		outbox->size -= sizeof *calls + calls->size;
		outbox->count -= calls->count;
	}
}

/* Under the lock: takes the packet at *link out of the line. */
static struct outbox_packet *take_out(struct outbox *outbox, struct outbox_packet **link)
{
	struct outbox_packet *packet = *link;
	*link = packet->next;
	if (!*link)
		outbox->packets_end = link;
	outbox->packet_count--;
	release(outbox, packet->calls);
	pthread_cond_signal(&outbox->changed);
	return packet;
}

static struct outbox_packet *take_token(struct outbox *outbox, uint64_t token)
{
	pthread_mutex_lock(&outbox->lock);
	struct outbox_packet **link = &outbox->packets, *packet = NULL;
	while (*link && (*link)->token != token)
		link = &(*link)->next;
	if (*link)
		packet = take_out(outbox, link);
	pthread_mutex_unlock(&outbox->lock);
	return packet;
}

void outbox_confirm(struct outbox *outbox, uint64_t token, const struct backplane_number *numbers, size_t count)
{
	struct outbox_packet *packet = take_token(outbox, token);
	if (!packet)
		return;
	tell(packet->calls, packet->count == count ? 0 : -ETIMEDOUT, numbers);
	free(packet);
}

void outbox_refuse(struct outbox *outbox, uint64_t token, int code)
{
	struct outbox_packet *packet = take_token(outbox, token);
	if (!packet)
		return;
	tell(packet->calls, code, NULL);
	free(packet);
}

bool outbox_again(struct outbox *outbox, uint64_t before_ns)
{
	bool found = false;
	pthread_mutex_lock(&outbox->lock);
	for (struct outbox_packet *packet = outbox->packets; packet; packet = packet->next)
		if (packet->appended && packet->appended_ns < before_ns) {
			packet->appended = false;
			found = true;
		}
	outbox->woken |= found;
	pthread_cond_signal(&outbox->changed);
	pthread_mutex_unlock(&outbox->lock);
	return found;
}

size_t outbox_expire(struct outbox *outbox, uint64_t before_ns, int unsent)
{
	struct outbox_packet *late = NULL, **late_end = &late;
	struct outbox_call *waiting = NULL, **waiting_end = &waiting;
	size_t told = 0;
	pthread_mutex_lock(&outbox->lock);
	while (outbox->packets && outbox->packets->calls->added_ns < before_ns) {
		*late_end = take_out(outbox, &outbox->packets);
		late_end = &(*late_end)->next;
		*late_end = NULL;
	}
	while (outbox->first && outbox->first->added_ns < before_ns) {
		struct outbox_call *call = outbox->first;
		outbox->first = call->next;
		*waiting_end = call;
		waiting_end = &call->next;
		*waiting_end = NULL;
	}
	if (!outbox->first)
		outbox->end = &outbox->first;
	release(outbox, waiting);
	pthread_mutex_unlock(&outbox->lock);
	for (struct outbox_packet *packet = late, *next; packet; packet = next) {
		next = packet->next;
		told += tell(packet->calls, packet->sent ? -ETIMEDOUT : unsent, NULL);
		free(packet);
	}
	return told + tell(waiting, unsent, NULL);
}

void outbox_free(struct outbox *outbox)
{
	outbox_expire(outbox, UINT64_MAX, -ECANCELED);
	while (outbox->members)
		outbox_member_written(outbox);
	pthread_cond_destroy(&outbox->changed);
	pthread_mutex_destroy(&outbox->lock);
}
