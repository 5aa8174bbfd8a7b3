/* SPDX-License-Identifier: MIT
 *
 * tls_memory.c - what an idle TLS connection costs the heap, and what of it is what: with TLS 1.3, whose records are
 * ours once the handshake is done, and with TLS 1.2, which stays OpenSSL's. OpenSSL's allocations for one server stream
 * are counted by hooks between it and malloc(), by the phase they were made in, and those that are left when the
 * connection is idle are listed by size. What a worker has beside them by slot are struct secure and struct connection.
 *
 *      tls_memory CERTIFICATE KEY
 */
#include "context.h"
#include "secure.h"
#include "stream.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>
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

struct peer {
	SSL *ssl;
	BIO *in, *out;
};

static void begin_peer(struct peer *peer, SSL_CTX *context, int version)
{
	*peer = (struct peer){ SSL_new(context), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()) };
	SSL_set_bio(peer->ssl, peer->in, peer->out);
	SSL_set_max_proto_version(peer->ssl, version);
	SSL_set_connect_state(peer->ssl);
}

/* The server reads what the peer said, and the peer what came of it. */
static void turn(struct end *server, struct peer *peer, enum phase as)
{
	static uint8_t in[65536], plain[RC_TLS_RECORD_MAX];
	int size = BIO_read(peer->out, in, sizeof in);
	size_t got;
	server->wire.in = in;
	server->wire.in_end = in + (size > 0 ? size : 0);
	server->wire.out = server->out;
	server->wire.out_end = server->out + sizeof server->out;
	phase = as;
	if (rc_tls_is_open(server->stream) || rc_tls_handshake(server->stream) == RC_TLS_DONE)
		while (rc_tls_read(server->stream, plain, &got) == RC_TLS_DONE)
			;
	phase = OUTSIDE;
	BIO_write(peer->in, server->out, (int)(server->wire.out - server->out));
	SSL_read(peer->ssl, plain, sizeof plain);
}

static void meet(struct end *server, struct peer *peer, bool count)
{
	for (int i = 0; i < 3; i++) {
		SSL_do_handshake(peer->ssl);
		turn(server, peer, count ? SHAKING : OUTSIDE);
	}
	if (!rc_tls_is_open(server->stream) || !SSL_is_init_finished(peer->ssl)) {
		fprintf(stderr, "the handshake failed\n");
		exit(1);
	}
	/* A message each way, as the opening of a WebSocket. */
	uint8_t words[300] = { 0 };
	SSL_write(peer->ssl, words, sizeof words);
	turn(server, peer, count ? TALKING : OUTSIDE);
	server->wire.out = server->out;
	phase = count ? TALKING : OUTSIDE;
	rc_tls_write(server->stream, words, sizeof words);
	phase = OUTSIDE;
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
	printf("%-24s %6zu B\n", "of OpenSSL", total);
}

/* One stream's account, and the heap of a thousand. */
static void measure(struct rc_tls_context *context, SSL_CTX *clients, int version)
{
	static struct end server;
	static struct peer client;
	size_t by_slot = sizeof(struct secure) + 64, before = 0;
	block_count = 0;
	rc_tls_wire_open(&server.wire);
	for (int i = -1; i < STREAMS; i++) { /* the first pays for what OpenSSL makes once */
		phase = i == 0 ? MAKING : OUTSIDE;
		server.stream = rc_tls_stream_server(context, &server.wire);
		phase = OUTSIDE;
		begin_peer(&client, clients, version);
		meet(&server, &client, i == 0);
		SSL_free(client.ssl);
		if (i == 0) {
			printf("TLS 1.%d\n", version == TLS1_3_VERSION ? 3 : 2);
			print_blocks();
			before = mallinfo2().uordblks;
		}
	}
	struct mallinfo2 now = mallinfo2();
	size_t heap = (now.uordblks - before) / (STREAMS - 1);
	printf("%-24s %6zu B, after %d of them\n", "the heap, of each", heap, STREAMS);
	printf("%-24s %6zu B: struct secure %zu, struct connection 64\n", "by slot", by_slot, sizeof(struct secure));
	printf("%-24s %6zu B\n", "an idle connection", heap + by_slot);
}

int main(int argc, char **argv)
{
	if (argc != 3 || CRYPTO_set_mem_functions(counted_malloc, counted_realloc, counted_free) != 1) {
		fprintf(stderr, "usage: tls_memory CERTIFICATE KEY\n");
		return 2;
	}
	struct rc_error error = { 0 };
	struct rc_tls_pair pair = { argv[1], argv[2] };
	struct rc_tls_options options = { .pairs = &pair, .pair_count = 1 };
	struct rc_tls_tickets *tickets = rc_tls_tickets_new();
	rc_tls_tickets_turn(tickets, 1);
	struct rc_tls_context *context = rc_tls_context_server(&options, tickets, &error);
	if (!context) {
		fprintf(stderr, "%s\n", error.text);
		return 1;
	}
	SSL_CTX *clients = SSL_CTX_new(TLS_client_method());
	measure(context, clients, TLS1_3_VERSION);
	measure(context, clients, TLS1_2_VERSION);
	return 0;
}
