/* SPDX-License-Identifier: MIT
 *
 * tls_memory.c - what an idle TLS connection costs the heap, and what of it is what. Allocations made for one server
 * stream are counted by hooks between OpenSSL and malloc(), by the phase they were made in, and those that are left
 * when the connection is idle are listed by size. Ours are outside: struct secure and struct connection, by slot.
 *
 *      tls_memory CERTIFICATE KEY
 */
#include "context.h"
#include "secure.h"
#include "stream.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRACKED_MAX 65536
#define STREAMS 1000

enum phase { OUTSIDE, MAKING, SHAKING, TALKING, PHASES };
static const char *const phases[] = { "", "made with the stream", "made in the handshake", "made since" };

struct block {
	void *at;
	size_t size;
	enum phase phase;
};

static struct block blocks[TRACKED_MAX];
static size_t block_count;
static enum phase phase;

static void track(void *at, size_t size)
{
	if (at && phase != OUTSIDE && block_count < TRACKED_MAX)
		blocks[block_count++] = (struct block){ at, size, phase };
}

static void forget(const void *at)
{
	for (size_t i = block_count; at && i-- > 0;) {
		if (blocks[i].at == at) {
			blocks[i] = blocks[--block_count];
			return;
		}
	}
}

static void *counted_malloc(size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	void *at = malloc(size);
	track(at, malloc_usable_size(at) + sizeof(size_t));
	return at;
}

static void *counted_realloc(void *old, size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	forget(old);
	void *at = realloc(old, size);
	track(at, malloc_usable_size(at) + sizeof(size_t));
	return at;
}

static void counted_free(void *at, const char *file, int line)
{
	(void)file;
	(void)line;
	forget(at);
	free(at);
}

struct end {
	struct rc_tls_wire wire;
	struct rc_tls_stream *stream;
	uint8_t out[65536];
};

static void turn(struct end *end, struct end *from, enum phase as)
{
	static uint8_t in[65536], plain[RC_TLS_RECORD_MAX];
	size_t size = from ? (size_t)(from->wire.out - from->out) : 0, got;
	if (from) {
		memcpy(in, from->out, size);
		from->wire.out = from->out;
	}
	end->wire.in = in;
	end->wire.in_end = in + size;
	end->wire.out_end = end->out + sizeof end->out;
	phase = as;
	if (rc_tls_is_open(end->stream) || rc_tls_handshake(end->stream) == RC_TLS_DONE)
		while (rc_tls_read(end->stream, plain, &got) == RC_TLS_DONE)
			;
	phase = OUTSIDE;
}

static void meet(struct end *server, struct end *client, bool count)
{
	client->wire.out = client->out;
	server->wire.out = server->out;
	turn(client, NULL, OUTSIDE);
	for (int i = 0; i < 3; i++) {
		turn(server, client, count ? SHAKING : OUTSIDE);
		turn(client, server, OUTSIDE);
	}
	if (!rc_tls_is_open(server->stream) || !rc_tls_is_open(client->stream)) {
		fprintf(stderr, "the handshake failed\n");
		exit(1);
	}
	/* A message each way, as the opening of a WebSocket. */
	uint8_t words[300] = { 0 };
	rc_tls_write(client->stream, words, sizeof words);
	turn(server, client, count ? TALKING : OUTSIDE);
	phase = count ? TALKING : OUTSIDE;
	rc_tls_write(server->stream, words, sizeof words);
	phase = OUTSIDE;
	turn(client, server, OUTSIDE);
}

/* By phase, the larger first. */
static int larger_first(const void *left, const void *right)
{
	const struct block *a = left, *b = right;
	return a->phase != b->phase ? (int)a->phase - (int)b->phase : a->size < b->size ? 1 : -(a->size > b->size);
}

static void print_blocks(void)
{
	size_t total = 0;
	qsort(blocks, block_count, sizeof *blocks, larger_first);
	for (enum phase which = MAKING; which < PHASES; which++) {
		size_t sum = 0, count = 0, shown = 0;
		for (size_t i = 0; i < block_count; i++)
			if (blocks[i].phase == which) {
				sum += blocks[i].size;
				count++;
			}
		total += sum;
		printf("%-24s %6zu B in %zu blocks:", phases[which], sum, count);
		for (size_t i = 0; i < block_count && shown < 10; i++)
			if (blocks[i].phase == which && ++shown)
				printf(" %zu", blocks[i].size);
		printf("%s\n", count > shown ? " ..." : "");
	}
	printf("%-24s %6zu B: struct secure %zu, struct connection 64\n", "ours, by slot", sizeof(struct secure) + 64,
	       sizeof(struct secure));
	printf("%-24s %6zu B\n", "an idle connection", total + sizeof(struct secure) + 64);
}

int main(int argc, char **argv)
{
	static struct end ends[2];
	if (argc != 3 || CRYPTO_set_mem_functions(counted_malloc, counted_realloc, counted_free) != 1) {
		fprintf(stderr, "usage: tls_memory CERTIFICATE KEY\n");
		return 2;
	}
	struct rc_error error = { 0 };
	struct rc_tls_pair pair = { argv[1], argv[2] };
	struct rc_tls_options options = { .pairs = &pair, .pair_count = 1 };
	struct rc_tls_client_options trusting = { .insecure = true };
	struct rc_tls_tickets *tickets = rc_tls_tickets_new();
	rc_tls_tickets_turn(tickets, 1);
	struct rc_tls_context *context = rc_tls_context_server(&options, tickets, &error);
	struct rc_tls_context *client_context = rc_tls_context_client(&trusting, &error);
	if (!context || !client_context) {
		fprintf(stderr, "%s\n", error.text);
		return 1;
	}
	struct end *server = &ends[0], *client = &ends[1];
	rc_tls_wire_open(&server->wire);
	rc_tls_wire_open(&client->wire);
	size_t before = 0;
	for (int i = -1; i < STREAMS; i++) { /* the first pays for what OpenSSL makes once */
		phase = i == 0 ? MAKING : OUTSIDE;
		server->stream = rc_tls_stream_server(context, &server->wire);
		phase = OUTSIDE;
		client->stream = rc_tls_stream_client(client_context, &client->wire, "localhost");
		meet(server, client, i == 0);
		rc_tls_stream_free(client->stream);
		if (i == 0) {
			print_blocks();
			before = mallinfo2().uordblks;
		}
	}
	struct mallinfo2 now = mallinfo2();
	printf("%-24s %6zu B of heap each, and %zu B free between them\n", "after 1000 of them",
	       (now.uordblks - before) / (STREAMS - 1), now.fordblks / STREAMS);
	return 0;
}
