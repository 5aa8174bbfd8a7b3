/* SPDX-License-Identifier: MIT
 *
 * head.h - the first 32 bytes of each message of the load generator, and the book a receiver keeps of a topic's
 * messages. Pure, and inline because it runs once a message: it is the price of the measurement.
 *
 *   "rl" topic (6 hexadecimal digits)  sequence from 0 (8)  scheduled time in ns (16)
 *
 * Text, so that it is valid in both kinds of message, and of fixed width, so that it is read without a loop.
 */
#ifndef LOAD_HEAD_H
#define LOAD_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LOAD_HEAD_SIZE 32
#define LOAD_TOPICS_MAX (1u << 16)

struct load_head {
	uint32_t topic;
	uint32_t sequence;
	uint64_t time_ns;
};

static inline void load_hex(char *out, uint64_t value, unsigned digits)
{
	while (digits) {
		out[--digits] = "0123456789abcdef"[value & 15];
		value >>= 4;
	}
}

static inline void load_head_write(char out[LOAD_HEAD_SIZE], const struct load_head *head)
{
	out[0] = 'r';
	out[1] = 'l';
	load_hex(out + 2, head->topic, 6);
	load_hex(out + 8, head->sequence, 8);
	load_hex(out + 16, head->time_ns, 16);
}

/* Eight digits at once: each byte to its nibble, then neighbours are joined three times. Little endian. */
static inline uint32_t load_unhex(uint64_t digits)
{
	uint64_t letter = digits >> 6 & 0x0101010101010101;
	uint64_t nibbles = __builtin_bswap64((digits & 0x0f0f0f0f0f0f0f0f) + 9 * letter);
	nibbles = (nibbles | nibbles >> 4) & 0x00ff00ff00ff00ff;
	nibbles = (nibbles | nibbles >> 8) & 0x0000ffff0000ffff;
	return (uint32_t)(nibbles | nibbles >> 16);
}

/* Returns false when these bytes are not the head of a message of ours. */
static inline bool load_head_read(const uint8_t *bytes, size_t size, struct load_head *head)
{
	uint64_t words[4];
	if (size < LOAD_HEAD_SIZE)
		return false;
	memcpy(words, bytes, sizeof words);
	if ((words[0] & 0xffff) != ('r' | 'l' << 8))
		return false;
	head->topic = load_unhex((words[0] & ~(uint64_t)0xffff) | 0x3030);
	head->sequence = load_unhex(words[1]);
	head->time_ns = (uint64_t)load_unhex(words[2]) << 32 | load_unhex(words[3]);
	return true;
}

/* What one connection has received of one topic. */
struct load_stream {
	uint32_t topic;
	uint32_t next; /* above the highest sequence received */
	uint64_t seen; /* bit n: sequence next - 1 - n was received */
};

struct load_tally {
	uint64_t lost; /* not received so far; one that comes late is subtracted again */
	uint64_t duplicated;
	uint64_t reordered;
};

/* Books a sequence number. One that comes more than 64 later than it should counts as duplicated. */
static inline void load_stream_take(struct load_stream *stream, uint32_t sequence, struct load_tally *tally)
{
	if (sequence == stream->next) {
		stream->seen = stream->seen << 1 | 1;
		stream->next++;
	} else if (sequence > stream->next) {
		uint32_t gap = sequence - stream->next;
		tally->lost += gap;
		stream->seen = gap < 63 ? stream->seen << (gap + 1) | 1 : 1;
		stream->next = sequence + 1;
	} else {
		uint32_t back = stream->next - 1 - sequence;
		if (back < 64 && !(stream->seen >> back & 1)) {
			stream->seen |= (uint64_t)1 << back;
			tally->reordered++;
			tally->lost--;
		} else {
			tally->duplicated++;
		}
	}
}

#endif
