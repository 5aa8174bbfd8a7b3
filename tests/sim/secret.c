/* SPDX-License-Identifier: MIT
 *
 * secret.c - the peers' side of TLS, by OpenSSL's own record layer and state machine: what a peer writes is sealed
 * before it goes up, what comes down is opened before the tap reads it. A record that does not open is a defect of
 * ours.
 *
 * OpenSSL's randomness is the seed's, for both sides, so that a run is still a matter of the seed alone. Keys and the
 * certificate are always the same (Ed25519: its signatures too).
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* the one way to hand it randomness that also its own keys are made of */
#include "ringcast_client.h"
#include "sim.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SEALED_MAX 16384

static struct secret {
	SSL *ssl;
	BIO *in, *out; /* the SSL's */
	uint8_t sealed[SEALED_MAX];
	size_t begin, end;
	bool wrong; /* it did what no peer may, below the plaintext */
	bool asked; /* for new keys, and has not got any since */
} secrets[PEERS_MAX];

static SSL_CTX *clients, *servers;
static uint64_t chance;
static char paths[2][32];

/* ---- randomness ---- */

static int fill(unsigned char *to, int size)
{
	for (int i = 0; i < size; i++) {
		uint64_t z = chance += UINT64_C(0x9E3779B97F4A7C15);
		z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
		to[i] = (unsigned char)(z >> 56 ^ z >> 20);
	}
	return 1;
}

static int is_ready(void)
{
	return 1;
}

/* ---- what all share ---- */

static void save(unsigned which, EVP_PKEY *key, X509 *certificate)
{
	int fd = memfd_create("pem", 0);
	FILE *file = fd >= 0 ? fdopen(dup(fd), "w") : NULL;
	snprintf(paths[which], sizeof paths[which], "/proc/self/fd/%d", fd);
	CHECK(file && (certificate ? PEM_write_X509(file, certificate)
	                           : PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL)) == 1,
	      "no PEM file");
	fclose(file);
}

static void make_all(void)
{
	static const RAND_METHOD method = { .bytes = fill, .pseudorand = fill, .status = is_ready };
	static const uint8_t secret[32] = "a key for the simulator alone..";
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret, sizeof secret);
	X509 *certificate = X509_new();
	CHECK(RAND_set_rand_method(&method) == 1, "its own randomness is not to be replaced");
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
	ASN1_TIME_set_string(X509_getm_notBefore(certificate), "20200101000000Z");
	ASN1_TIME_set_string(X509_getm_notAfter(certificate), "20991231000000Z");
	X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC, (const uint8_t *)"sim", -1,
	                           -1, 0);
	X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
	X509_set_pubkey(certificate, key);
	CHECK(X509_sign(certificate, key, NULL) > 0, "no certificate");
	save(0, NULL, certificate);
	save(1, key, NULL);
	clients = SSL_CTX_new(TLS_client_method());
	servers = SSL_CTX_new(TLS_server_method());
	CHECK(clients && servers && SSL_CTX_use_certificate(servers, certificate) == 1 &&
	          SSL_CTX_use_PrivateKey(servers, key) == 1,
	      "no TLS for peers");
	X509_free(certificate);
	EVP_PKEY_free(key);
}

void secret_reset_all(void)
{
	if (!clients)
		make_all();
	chance = sim.seed;
	for (unsigned i = 0; i < PEERS_MAX; i++) {
		SSL_free(secrets[i].ssl);
		memset(&secrets[i], 0, offsetof(struct secret, sealed));
		secrets[i].begin = secrets[i].end = 0;
		secrets[i].wrong = secrets[i].asked = false;
	}
}

bool secret_serve(void)
{
	struct rc_error error;
	const struct rc_tls_pair pair = { paths[0], paths[1] };
	const struct rc_tls_options options = { .pairs = &pair, .pair_count = 1 };
	const struct rc_tls_client_options client = { .insecure = true };
	int served = rc_server_tls(sim.server, &options, &error);
	if (served == 0)
		served = rc_server_tls_client(sim.server, &client, &error);
	CHECK(served == 0 || sim.struck_here[FAULT_ALLOCATION], "no TLS: %s", error.text);
	return served == 0;
}

/* ---- one peer ---- */

static void put(struct secret *secret, const void *bytes, size_t size)
{
	if (secret->begin == secret->end)
		secret->begin = secret->end = 0;
	CHECK(secret->end + size <= SEALED_MAX, "too much is sealed");
	memcpy(secret->sealed + secret->end, bytes, size);
	secret->end += size;
}

/* OpenSSL's errors. */
static void take_out(struct secret *secret)
{
	uint8_t bytes[2048];
	for (int size; (size = BIO_read(secret->out, bytes, sizeof bytes)) > 0;)
		put(secret, bytes, (size_t)size);
}

static void do_wrong(struct peer *peer, const char *why)
{
	secrets[peer->index].wrong = true;
	peer_excuse(peer, why);
	peer->script_over = true;
	peer->out_begin = peer->out_end = 0;
	sim_met(MET_WRONG_RECORD);
}

static void note(int written, int version, int type, const void *bytes, size_t size, SSL *ssl, void *argument)
{
	struct secret *secret = argument;
	(void)version, (void)ssl;
	if (!written && type == SSL3_RT_HANDSHAKE && size && *(const uint8_t *)bytes == SSL3_MT_KEY_UPDATE)
		secret->asked = false;
}

void secret_begin(struct peer *peer)
{
	static const char plain[] = "GET / HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\r\n";
	struct secret *secret = &secrets[peer->index];
	bool dialled = peer->kind == PEER_SERVER;
	secret->ssl = SSL_new(dialled ? servers : clients);
	secret->in = BIO_new(BIO_s_mem());
	secret->out = BIO_new(BIO_s_mem());
	CHECK(secret->ssl && secret->in && secret->out, "no TLS for a peer");
	SSL_set_bio(secret->ssl, secret->in, secret->out);
	SSL_set_msg_callback(secret->ssl, note);
	SSL_set_msg_callback_arg(secret->ssl, secret);
	if (sim_one_in(4))
		SSL_set_max_proto_version(secret->ssl, TLS1_2_VERSION);
	if (sim_one_in(3))
		SSL_set_block_padding(secret->ssl, sim_between(2, 64));
	if (dialled) {
		SSL_set_accept_state(secret->ssl);
		return;
	}
	SSL_set_connect_state(secret->ssl);
	if (sim_one_in(15)) {
		uint8_t noise[64];
		for (size_t i = 0; i < sizeof noise; i++)
			noise[i] = (uint8_t)sim_random();
		do_wrong(peer, "it does not speak TLS");
		if (sim_one_in(2))
			put(secret, plain, sizeof plain - 1);
		else
			put(secret, noise, sizeof noise);
		return;
	}
	SSL_do_handshake(secret->ssl);
	take_out(secret);
}

bool secret_is_open(const struct peer *peer)
{
	const struct secret *secret = &secrets[peer->index];
	return secret->ssl && SSL_is_init_finished(secret->ssl);
}

bool secret_is_half(const struct peer *peer)
{
	return peer->secure && secrets[peer->index].in && BIO_ctrl_pending(secrets[peer->index].in) > 0;
}

bool secret_waits(const struct peer *peer)
{
	return peer->secure && secrets[peer->index].begin != secrets[peer->index].end;
}

bool secret_rests(const struct peer *peer)
{
	return !peer->secure || (!secret_waits(peer) && !secrets[peer->index].asked);
}

void secret_forget(struct peer *peer)
{
	secrets[peer->index].begin = secrets[peer->index].end = 0;
}

/* ---- up ---- */

size_t secret_seal(struct peer *peer, const uint8_t **bytes)
{
	struct secret *secret = &secrets[peer->index];
	size_t record = sim_one_in(8) ? sim_between(1, 20) : 4000, done;
	if (secret->wrong)
		peer->out_begin = peer->out_end = 0; /* nobody would listen */
	size_t waits = RC_MIN(peer->out_end - peer->out_begin, record);
	if (secret->begin == secret->end && waits && secret_is_open(peer)) {
		CHECK(SSL_write_ex(secret->ssl, peer->out + peer->out_begin, waits, &done) == 1 && done == waits,
		      "peer %u: cannot write", peer->index);
		peer->out_begin += done;
		take_out(secret);
	}
	*bytes = secret->sealed + secret->begin;
	return secret->end - secret->begin;
}

void secret_went(struct peer *peer, size_t size)
{
	secrets[peer->index].begin += size;
}

void secret_act(struct peer *peer)
{
	static const uint8_t garbage[40] = { 23, 3, 3, 0, 35, 1, 2, 3 };
	struct secret *secret = &secrets[peer->index];
	bool old = SSL_version(secret->ssl) == TLS1_2_VERSION;
	if (!secret_is_open(peer) || secret->wrong || SSL_get_shutdown(secret->ssl))
		return;
	switch (sim_below(30)) {
	case 0:
		do_wrong(peer, "a wrong record");
		put(secret, garbage, sizeof garbage);
		break;
	case 1:
		do_wrong(peer, "half a record, and the end");
		put(secret, garbage, sizeof garbage - 3);
		peer->hangs_up = true;
		break;
	case 2:
		do_wrong(peer, "the end of its TLS before a Close");
		SSL_shutdown(secret->ssl);
		break;
	case 3:
		if (!old || peer->kind == PEER_SERVER)
			break;
		do_wrong(peer, "a renegotiation");
		SSL_renegotiate(secret->ssl);
		SSL_do_handshake(secret->ssl);
		break;
	default:
		if (old)
			break;
		sim_met(MET_KEY_UPDATE);
		secret->asked = !sim_one_in(3);
		if (secret->asked && sim.config.kernel_tls) {
			secret->asked = false; /* where the kernel makes the records it is the end */
			peer_excuse(peer, "it wants keys that the kernel may not take");
			SSL_key_update(secret->ssl, SSL_KEY_UPDATE_REQUESTED);
			SSL_do_handshake(secret->ssl);
			break;
		}
		SSL_key_update(secret->ssl, secret->asked ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
		SSL_do_handshake(secret->ssl);
		break;
	}
	take_out(secret);
}

/* ---- down ---- */

void secret_open(struct peer *peer, const uint8_t *bytes, size_t size)
{
	struct secret *secret = &secrets[peer->index];
	uint8_t plain[4096];
	CHECK(BIO_write(secret->in, bytes, (int)size) == (int)size, "no memory for a peer");
	for (;;) {
		ERR_clear_error();
		int result = SSL_read(secret->ssl, plain, sizeof plain);
		if (result > 0) {
			sim_met(MET_RECORD);
			tap_read(peer, plain, (size_t)result);
			continue;
		}
		int error = SSL_get_error(secret->ssl, result);
		if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_ZERO_RETURN)
			break;
		const char *why = ERR_reason_error_string(ERR_peek_error());
		/* A peer that did wrong is told so by an alert, which it may itself be unable to open by then. */
		CHECK(secret->wrong || sim.struck_here[FAULT_ALLOCATION], "peer %u: what it gets is no TLS: %s",
		      peer->index, why ? why : "?");
		peer_excuse(peer, "its TLS is over");
		BIO_reset(secret->in);
		break;
	}
	take_out(secret);
}
