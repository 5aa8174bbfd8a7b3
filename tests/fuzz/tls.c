/* SPDX-License-Identifier: MIT
 *
 * tls.c - a TLS stream of ours against OpenSSL's own client. A seed that begins with a line of words is what happens, a
 * step a line; any other is what a client sends first, as it stands:
 *
 *      old          TLS 1.2 (first line)
 *      cut N        from here on the wire carries pieces of N bytes
 *      say N        the client says N bytes      hear N   the server does
 *      keys         the client takes new keys    ask      and wants new ones of the server
 *      new          the server takes new keys by itself
 *      pad N        from here on what the client says is padded to a multiple of N bytes
 *      flip N       the byte N of what the client sends next is changed
 *      raw HEX      these bytes come between
 *      bye          the client says that it has said all
 *
 * Until somebody spoils the wire both read what the other said, and nothing else; afterwards the server never reads
 * what was not said, and once it failed stays failed. Randomness is the same each time.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "context.h"
#include "stream.h"

#include "fuzz.h"

#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/mman.h>
#include <unistd.h>

#define TEXT_MAX (1 << 18)
#define STEPS_MAX 64

static struct rc_tls_context *context;
static SSL_CTX *clients;
static uint64_t chance;

static int fill(unsigned char *to, int size)
{
	for (int i = 0; i < size; i++)
		to[i] = (unsigned char)draw(&chance);
	return 1;
}

static int is_ready(void)
{
	return 1;
}

static void save(char path[32], EVP_PKEY *key, X509 *certificate)
{
	int fd = memfd_create("pem", 0);
	FILE *file = fdopen(dup(fd), "w");
	snprintf(path, 32, "/proc/self/fd/%d", fd);
	HOLDS(file && (certificate ? PEM_write_X509(file, certificate)
	                           : PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL)) == 1,
	      "%s", path);
	fclose(file);
}

static void make_contexts(void)
{
	static const RAND_METHOD method = { .bytes = fill, .pseudorand = fill, .status = is_ready };
	static const uint8_t secret[32] = "a key for the fuzzer alone....";
	char paths[2][32];
	struct rc_error error = { 0 };
	const struct rc_tls_pair pair = { paths[0], paths[1] };
	const struct rc_tls_options options = { .pairs = &pair, .pair_count = 1 };
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret, sizeof secret);
	X509 *certificate = X509_new();
	HOLDS(RAND_set_rand_method(&method) == 1, "no randomness of ours");
	ASN1_TIME_set_string(X509_getm_notBefore(certificate), "20200101000000Z");
	ASN1_TIME_set_string(X509_getm_notAfter(certificate), "20991231000000Z");
	X509_set_pubkey(certificate, key);
	HOLDS(X509_sign(certificate, key, NULL) > 0, "no certificate");
	save(paths[0], NULL, certificate);
	save(paths[1], key, NULL);
	context = rc_tls_context_server(&options, rc_tls_tickets_new(), &error);
	clients = SSL_CTX_new(TLS_client_method());
	HOLDS(context && clients, "%s", error.text);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

/* ---- the two and the wire between them ---- */

struct pair {
	SSL *client;
	BIO *in, *out; /* the client's */
	struct rc_tls_wire wire;
	struct rc_tls_stream *stream;
	bool failed, spoiled;
	size_t cut;
	long flip;
	size_t said, heard, server_said, client_heard; /* bytes */
};

static uint8_t text_at(size_t at)
{
	return (uint8_t)(at * 131 ^ at >> 7);
}

static void check_text(const uint8_t *bytes, size_t size, size_t from)
{
	for (size_t i = 0; i < size; i++)
		HOLDS(bytes[i] == text_at(from + i), "byte %zu is another", from + i);
}

/* What the server wrote goes to the client. */
static void carry_down(struct pair *pair, const uint8_t *bytes, size_t size)
{
	static uint8_t plain[20000];
	if (!pair->client)
		return;
	if (size)
		BIO_write(pair->in, bytes, (int)size);
	for (int got; (got = SSL_read(pair->client, plain, sizeof plain)) > 0; pair->client_heard += (size_t)got)
		check_text(plain, (size_t)got, pair->client_heard);
	HOLDS(pair->client_heard <= pair->server_said, "more was heard than said");
}

static void take_up(struct pair *pair, const uint8_t *bytes, size_t size)
{
	static uint8_t out[1 << 17], plain[RC_TLS_RECORD_MAX];
	uint8_t *copy = exact_copy(bytes, size);
	pair->wire.in = copy;
	pair->wire.in_end = copy + size;
	for (enum rc_tls_result result = RC_TLS_DONE; result == RC_TLS_DONE || result == RC_TLS_FULL;) {
		size_t got = 0;
		pair->wire.out = out;
		pair->wire.out_end = out + sizeof out;
		bool open = rc_tls_is_open(pair->stream);
		result = open ? rc_tls_read(pair->stream, plain, &got) : rc_tls_handshake(pair->stream);
		HOLDS(!pair->failed || result == RC_TLS_FAILED, "it failed, and now gives %d", result);
		pair->failed |= result == RC_TLS_FAILED;
		HOLDS(pair->wire.in >= copy && pair->wire.in <= pair->wire.in_end, "it read beside its bytes");
		if (open && result == RC_TLS_DONE) {
			HOLDS(got && got <= sizeof plain, "%zu bytes", got);
			check_text(plain, got, pair->heard);
			pair->heard += got;
			HOLDS(pair->heard <= pair->said, "%zu bytes came of %zu", pair->heard, pair->said);
		}
		carry_down(pair, out, (size_t)(pair->wire.out - out));
	}
	HOLDS(pair->failed || pair->spoiled || pair->wire.in == pair->wire.in_end || SSL_get_shutdown(pair->client),
	      "bytes are left");
	free(copy);
}

/* What the client wrote goes to the server, until both rest. */
static void carry_up(struct pair *pair)
{
	static uint8_t bytes[1 << 17];
	for (int size; (size = BIO_read(pair->out, bytes, sizeof bytes)) > 0;) {
		if (pair->flip >= 0) {
			bytes[pair->flip % size] ^= (uint8_t)(1 << pair->flip % 8);
			pair->flip = -1;
			pair->spoiled = true;
		}
		for (size_t at = 0; at < (size_t)size; at += pair->cut)
			take_up(pair, bytes + at, at + pair->cut < (size_t)size ? pair->cut : (size_t)size - at);
	}
}

static bool open_pair(struct pair *pair, bool has_client, bool old)
{
	*pair = (struct pair){ .cut = 1 << 17, .flip = -1, .spoiled = !has_client };
	HOLDS(rc_tls_wire_open(&pair->wire) == 0, "no wire");
	pair->stream = rc_tls_stream_server(context, &pair->wire);
	if (!has_client)
		return pair->stream;
	pair->client = SSL_new(clients);
	pair->in = BIO_new(BIO_s_mem());
	pair->out = BIO_new(BIO_s_mem());
	SSL_set_bio(pair->client, pair->in, pair->out);
	if (old)
		SSL_set_max_proto_version(pair->client, TLS1_2_VERSION);
	SSL_set_connect_state(pair->client);
	SSL_do_handshake(pair->client);
	return pair->stream;
}

static void close_pair(struct pair *pair)
{
	SSL_free(pair->client);
	rc_tls_stream_free(pair->stream);
	rc_tls_wire_close(&pair->wire);
}

/* ---- steps ---- */

static void say(struct pair *pair, size_t size)
{
	static uint8_t text[RC_TLS_RECORD_MAX];
	size = size % sizeof text + 1;
	if (!SSL_is_init_finished(pair->client) || SSL_get_shutdown(pair->client) || pair->said + size > TEXT_MAX)
		return;
	for (size_t i = 0; i < size; i++)
		text[i] = text_at(pair->said + i);
	if (SSL_write(pair->client, text, (int)size) == (int)size)
		pair->said += size;
}

static void hear(struct pair *pair, size_t size)
{
	static uint8_t text[RC_TLS_RECORD_MAX], out[RC_TLS_RECORD_MAX + RC_TLS_OVERHEAD_MAX];
	size = size % sizeof text + 1;
	if (!rc_tls_is_open(pair->stream) || pair->server_said + size > TEXT_MAX)
		return;
	for (size_t i = 0; i < size; i++)
		text[i] = text_at(pair->server_said + i);
	pair->wire.out = out;
	pair->wire.out_end = out + sizeof out;
	HOLDS(rc_tls_write(pair->stream, text, size) == RC_TLS_DONE, "%zu bytes are not written", size);
	pair->server_said += size;
	carry_down(pair, out, (size_t)(pair->wire.out - out));
}

static void take_keys(struct pair *pair)
{
	static uint8_t out[RC_TLS_OVERHEAD_MAX];
	if (!rc_tls_is_open(pair->stream))
		return;
	pair->wire.out = out;
	pair->wire.out_end = out + sizeof out;
	HOLDS(rc_tls_update_keys(pair->stream), "no new keys");
	carry_down(pair, out, (size_t)(pair->wire.out - out));
}

static void inject(struct pair *pair, const char *hex)
{
	uint8_t bytes[512];
	size_t size = 0;
	unsigned byte;
	int used;
	for (; size < sizeof bytes && sscanf(hex, "%2x%n", &byte, &used) == 1; hex += used)
		bytes[size++] = (uint8_t)byte;
	if (size)
		pair->spoiled = true;
	take_up(pair, bytes, size);
}

static void step(struct pair *pair, const char *word, const char *rest)
{
	size_t number = strtoul(rest, NULL, 10);
	bool finished = SSL_is_init_finished(pair->client) && !SSL_get_shutdown(pair->client);
	if (strcmp(word, "cut") == 0 && number)
		pair->cut = number;
	else if (strcmp(word, "say") == 0)
		say(pair, number);
	else if (strcmp(word, "hear") == 0)
		hear(pair, number);
	else if (strcmp(word, "pad") == 0)
		SSL_set_block_padding(pair->client, number % 4096);
	else if (strcmp(word, "new") == 0)
		take_keys(pair);
	else if (strcmp(word, "flip") == 0)
		pair->flip = (long)(number % 100000);
	else if (strcmp(word, "raw") == 0)
		inject(pair, rest);
	else if (strcmp(word, "bye") == 0 && finished)
		SSL_shutdown(pair->client);
	else if ((strcmp(word, "keys") == 0 || strcmp(word, "ask") == 0) && finished &&
	         SSL_key_update(pair->client,
	                        word[0] == 'a' ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED) == 1)
		SSL_do_handshake(pair->client);
}

static void run_steps(struct pair *pair, char *text)
{
	unsigned steps = 0;
	for (char *line = text, *next; line && steps < STEPS_MAX; line = next, steps++) {
		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		line = trim(line);
		size_t size = strcspn(line, " ");
		char word[16] = { 0 };
		if (size >= sizeof word)
			continue;
		memcpy(word, line, size);
		step(pair, word, line + size + strspn(line + size, " "));
		carry_up(pair);
	}
	HOLDS(pair->spoiled || pair->failed || pair->heard == pair->said, "%zu bytes came of %zu", pair->heard,
	      pair->said);
	HOLDS(pair->spoiled || SSL_get_shutdown(pair->client) || pair->client_heard == pair->server_said,
	      "the client got %zu bytes of %zu", pair->client_heard, pair->server_said);
	HOLDS(pair->spoiled || !pair->failed, "it failed, and nobody spoiled the wire");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pair pair;
	if (!context)
		make_contexts();
	chance = 1;
	bool words = size && data[0] >= 'a' && data[0] <= 'z';
	if (!words) {
		HOLDS(open_pair(&pair, false, false), "no memory");
		take_up(&pair, data, size);
		HOLDS(!pair.heard, "somebody was heard who knows no keys");
		close_pair(&pair);
		return 0;
	}
	char *text = malloc(size + 1);
	memcpy(text, data, size);
	text[size] = 0;
	HOLDS(open_pair(&pair, true, strncmp(text, "old\n", 4) == 0), "no memory");
	if (strncmp(text, "flip", 4) != 0) /* that is for the handshake */
		carry_up(&pair);
	run_steps(&pair, text);
	close_pair(&pair);
	free(text);
	return 0;
}
