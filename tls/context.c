/* SPDX-License-Identifier: MIT
 *
 * context.c - see context.h. It must not know a connection. Invariant: a context that was returned is complete, so that
 * a reload can simply replace the old one.
 */
#include "context.h"

#include "bounds.h"
#include "check.h"
#include "error.h"
#include "judge.h"
#include "revoked.h"
#include "ringcast_client.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define CIPHERS_12                                                                                                     \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"                     \
	"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define CIPHERS_13 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:P-256:P-384"
#define TICKETS_A_HANDSHAKE 1 /* a WebSocket client opens one connection at a time */

struct ticket_key {
	uint8_t name[16], cipher[32], mac[32];
	bool made;
};

struct rc_tls_tickets {
	pthread_mutex_t lock;
	struct ticket_key now, before;
	_Atomic uint64_t turn_ns; /* 0: at the next look */
};

struct rc_tls_context {
	_Atomic unsigned reference_count;
	SSL_CTX *contexts[RC_TLS_PAIRS_MAX]; /* a pair each */
	unsigned context_count;
	struct rc_tls_tickets *tickets;
	bool verifies;
	struct rc_tls_revoked revoked; /* by its lists; no marks when it has none */
};

/* What OpenSSL refuses by its security level, in this certificate or one of its chain; or null. */
static const char *weakness(unsigned long code)
{
	if (ERR_GET_LIB(code) != ERR_LIB_SSL)
		return NULL;
	switch (ERR_GET_REASON(code)) {
	case SSL_R_EE_KEY_TOO_SMALL:
		return "its key is too small: RSA has 2048 bits at least; make a new key and a certificate for it";
	case SSL_R_CA_KEY_TOO_SMALL:
		return "one in its chain has a key that is too small: have it signed by another authority";
	case SSL_R_CA_MD_TOO_WEAK:
		return "one in its chain is signed with MD5 or SHA-1: have it signed with SHA-256 or better";
	default:
		return NULL;
	}
}

/* What OpenSSL says of a file, and the remedy where its words do not say it. */
static int fail_file(struct rc_error *error, const char *what, const char *path)
{
	unsigned long code = ERR_peek_last_error(), first = ERR_peek_error();
	const char *words = ERR_reason_error_string(code);
	if (ERR_SYSTEM_ERROR(first))
		return rc_fail(error, -ERR_GET_REASON(first), "%s '%s': %s", what, path,
		               strerror(ERR_GET_REASON(first)));
	if (weakness(code))
		return rc_fail(error, -EINVAL, "%s '%s' is weak: %s", what, path, weakness(code));
	if (ERR_GET_REASON(code) == X509_R_KEY_VALUES_MISMATCH && ERR_GET_LIB(code) == ERR_LIB_X509)
		return rc_fail(error, -EINVAL, "%s '%s' is not the key of its certificate", what, path);
	return rc_fail(error, -EINVAL, "%s '%s' cannot be used: %s (a PEM file is expected)", what, path,
	               words ? words : "it is empty");
}

/* ---- tickets ---- */

struct rc_tls_tickets *rc_tls_tickets_new(void)
{
	struct rc_tls_tickets *tickets = calloc(1, sizeof *tickets);
	if (tickets)
		pthread_mutex_init(&tickets->lock, NULL);
	return tickets;
}

void rc_tls_tickets_free(struct rc_tls_tickets *tickets)
{
	if (!tickets)
		return;
	pthread_mutex_destroy(&tickets->lock);
	OPENSSL_cleanse(tickets, sizeof *tickets);
	free(tickets);
}

void rc_tls_tickets_turn(struct rc_tls_tickets *tickets, uint64_t now_ns)
{
	if (now_ns < atomic_load_explicit(&tickets->turn_ns, memory_order_relaxed))
		return;
	struct ticket_key key = { .made = true };
	if (RAND_bytes(key.name, sizeof key.name) != 1 || RAND_priv_bytes(key.cipher, sizeof key.cipher) != 1 ||
	    RAND_priv_bytes(key.mac, sizeof key.mac) != 1)
		return; /* without randomness there is no new key; handshakes go on without tickets */
	pthread_mutex_lock(&tickets->lock);
	if (now_ns >= atomic_load_explicit(&tickets->turn_ns, memory_order_relaxed)) {
		tickets->before = tickets->now;
		tickets->now = key;
		atomic_store_explicit(&tickets->turn_ns, now_ns + RC_TLS_TICKET_TURN_S * UINT64_C(1000000000),
		                      memory_order_relaxed);
	}
	pthread_mutex_unlock(&tickets->lock);
	OPENSSL_cleanse(&key, sizeof key);
}

/* The key that seals now, or the one with this name. Returns 0 without one, 1, or 2 when it is the one before. */
static int find_key(struct rc_tls_tickets *tickets, const uint8_t *name, struct ticket_key *key)
{
	pthread_mutex_lock(&tickets->lock);
	int found = 0;
	if (tickets->now.made && (!name || !memcmp(name, tickets->now.name, sizeof tickets->now.name))) {
		*key = tickets->now;
		found = 1;
	} else if (name && tickets->before.made && !memcmp(name, tickets->before.name, sizeof tickets->before.name)) {
		*key = tickets->before;
		found = 2;
	}
	pthread_mutex_unlock(&tickets->lock);
	return found;
}

/* RFC 5077, section 4: the key's name, AES-256-CBC, HMAC-SHA-256. */
static int use_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                      int seal)
{
	struct ticket_key key;
	int found = find_key(rc_tls_context_of(ssl)->tickets, seal ? NULL : name, &key);
	if (!found)
		return 0;
	if (seal) {
		memcpy(name, key.name, sizeof key.name);
		if (RAND_bytes(iv, EVP_MAX_IV_LENGTH) != 1)
			return -1;
	}
	char digest[] = "SHA256";
	OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.mac, sizeof key.mac),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};
	bool good = EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.cipher, iv, seal) == 1 &&
	            EVP_MAC_CTX_set_params(mac, parameters) == 1;
	OPENSSL_cleanse(&key, sizeof key);
	if (!good)
		return -1;
	/* 2 asks for a new ticket. In TLS 1.3 clients use each once (RFC 8446, appendix C.4). */
	return !seal && SSL_version(ssl) == TLS1_3_VERSION ? 2 : found;
}

/* ---- what a server's contexts have in common ---- */

/* It is asked for nothing but an encrypted key: that is what `context` is told. */
static int no_password(char *to, int size, int writing, void *context)
{
	bool *encrypted = context;
	(void)to;
	(void)size;
	(void)writing;
	if (encrypted)
		*encrypted = true;
	return -1; /* OpenSSL would ask on the terminal */
}

static SSL_CTX *new_context(const SSL_METHOD *method)
{
	SSL_CTX *ctx = SSL_CTX_new(method);
	if (!ctx)
		return NULL;
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
	                             SSL_OP_PRIORITIZE_CHACHA);
	/* Buffers exist while a record is in them: most connections are idle most of the time. */
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_default_passwd_cb(ctx, no_password);
	SSL_CTX_set_keylog_callback(ctx, rc_tls_note_secret);
	if (SSL_CTX_set_cipher_list(ctx, CIPHERS_12) == 1 && SSL_CTX_set_ciphersuites(ctx, CIPHERS_13) == 1 &&
	    SSL_CTX_set1_groups_list(ctx, GROUPS) == 1)
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

static int use_pair(SSL_CTX *ctx, const char *certificate, const char *key, struct rc_error *error)
{
	ERR_clear_error();
	if (SSL_CTX_use_certificate_chain_file(ctx, certificate) != 1)
		return fail_file(error, "the certificate", certificate);
	int result = rc_tls_judge(SSL_CTX_get0_certificate(ctx), certificate, error);
	if (result < 0)
		return result;
	bool encrypted = false;
	SSL_CTX_set_default_passwd_cb_userdata(ctx, &encrypted);
	bool good = SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) == 1 && SSL_CTX_check_private_key(ctx) == 1;
	SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
	if (good)
		return 0;
	if (encrypted)
		return rc_fail(
		    error, -EINVAL,
		    "the key '%s' is encrypted, and nobody is asked for its password: write it without one, as "
		    "`openssl pkey -in %s -out FILE` does",
		    key, key);
	return fail_file(error, "the key", key);
}

/* RFC 7301: a client that names protocols must name ours. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_size, const unsigned char *in,
                           unsigned in_size, void *context)
{
	static const unsigned char ours[] = "\x08http/1.1";
	unsigned char *found;
	(void)ssl;
	(void)context;
	if (SSL_select_next_proto(&found, out_size, ours, sizeof ours - 1, in, in_size) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = found;
	return SSL_TLSEXT_ERR_OK;
}

static int choose_certificate(SSL *ssl, int *alert, void *argument)
{
	const struct rc_tls_context *context = rc_tls_context_of(ssl);
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	(void)alert;
	(void)argument;
	for (unsigned i = 0; name && i < context->context_count; i++) {
		if (X509_check_host(SSL_CTX_get0_certificate(context->contexts[i]), name, 0, 0, NULL) != 1)
			continue;
		if (i)
			SSL_set_SSL_CTX(ssl, context->contexts[i]);
		return SSL_TLSEXT_ERR_OK;
	}
	return SSL_TLSEXT_ERR_NOACK; /* the first pair */
}

/* Whom the authorities have revoked. Every list of the chain must be there. */
static int refuse_revoked(SSL_CTX *ctx, const char *path, struct rc_error *error)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
	ERR_clear_error();
	if (!lookup || X509_load_crl_file(lookup, path, X509_FILETYPE_PEM) < 1)
		return fail_file(error, "the revocation list", path);
	X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	return 0;
}

/* A ticket would outlive the certificate that the session began with, and what is revoked meanwhile: a resumed
 * handshake verifies nothing. So there are none here, neither of TLS 1.3 nor before. */
static int ask_for_client(SSL_CTX *ctx, const struct rc_tls_options *options, struct rc_error *error)
{
	ERR_clear_error();
	STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(options->client_ca);
	if (!names || SSL_CTX_load_verify_file(ctx, options->client_ca) != 1) {
		sk_X509_NAME_pop_free(names, X509_NAME_free);
		return fail_file(error, "the clients' authority", options->client_ca);
	}
	SSL_CTX_set_client_CA_list(ctx, names);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (options->client_optional ? 0 : SSL_VERIFY_FAIL_IF_NO_PEER_CERT),
	                   NULL);
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
	return options->crl ? refuse_revoked(ctx, options->crl, error) : 0;
}

static SSL_CTX *server_context(const struct rc_tls_options *options, unsigned index, struct rc_error *error)
{
	static const unsigned char nobody[] = "ringcast";
	SSL_CTX *ctx = new_context(TLS_server_method());
	if (!ctx) {
		rc_fail(error, -ENOMEM, "no memory for TLS");
		return NULL;
	}
	SSL_CTX_set_num_tickets(ctx, TICKETS_A_HANDSHAKE);
	SSL_CTX_set_timeout(ctx, RC_TLS_TICKET_TURN_S);
	SSL_CTX_set_session_id_context(ctx, nobody, sizeof nobody - 1);
	SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, use_ticket);
	SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
	if (index == 0 && options->pair_count > 1)
		SSL_CTX_set_tlsext_servername_callback(ctx, choose_certificate);
	if (use_pair(ctx, options->pairs[index].certificate, options->pairs[index].key, error) == 0 &&
	    (!options->client_ca || ask_for_client(ctx, options, error) == 0))
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

/* ---- contexts ---- */

static struct rc_tls_context *make(struct rc_error *error)
{
	struct rc_tls_context *context = calloc(1, sizeof *context);
	if (!context)
		rc_fail(error, -ENOMEM, "no memory for TLS");
	else
		atomic_init(&context->reference_count, 1);
	return context;
}

struct rc_tls_context *rc_tls_context_server(const struct rc_tls_options *options, struct rc_tls_tickets *tickets,
                                             struct rc_error *error)
{
	if (!options->pair_count || options->pair_count > RC_TLS_PAIRS_MAX) {
		rc_fail(error, -EINVAL, "%u pairs of certificate and key: 1 to %d", options->pair_count,
		        RC_TLS_PAIRS_MAX);
		return NULL;
	}
	if (options->crl && !options->client_ca) {
		rc_fail(error, -EINVAL, "the revocation list '%s' needs the clients' authority", options->crl);
		return NULL;
	}
	struct rc_tls_context *context = make(error);
	if (!context)
		return NULL;
	context->tickets = tickets;
	for (unsigned i = 0; i < options->pair_count; i++) {
		context->contexts[i] = server_context(options, i, error);
		if (!context->contexts[i]) {
			rc_tls_context_release(context);
			return NULL;
		}
		context->context_count++;
	}
	if (options->crl && !rc_tls_revoked_read(&context->revoked, SSL_CTX_get_cert_store(context->contexts[0]))) {
		rc_fail(error, -ENOMEM, "no memory for the revocation list '%s'", options->crl);
		rc_tls_context_release(context);
		return NULL;
	}
	return context;
}

static int trust(SSL_CTX *ctx, const struct rc_tls_client_options *options, struct rc_error *error)
{
	ERR_clear_error();
	if (options->insecure)
		return 0;
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	if (options->ca)
		return SSL_CTX_load_verify_file(ctx, options->ca) == 1 ? 0
		                                                       : fail_file(error, "the authority", options->ca);
	if (SSL_CTX_set_default_verify_paths(ctx) != 1)
		return rc_fail(error, -ENOENT,
		               "the system's certificate authorities cannot be found: name a file of them");
	return 0;
}

struct rc_tls_context *rc_tls_context_client(const struct rc_tls_client_options *options, struct rc_error *error)
{
	static const unsigned char ours[] = "\x08http/1.1";
	if (!options->certificate != !options->key) {
		rc_fail(error, -EINVAL, "a certificate to show needs its key, and a key its certificate");
		return NULL;
	}
	struct rc_tls_context *context = make(error);
	SSL_CTX *ctx = context ? new_context(TLS_client_method()) : NULL;
	if (!ctx) {
		rc_tls_context_release(context);
		rc_fail(error, -ENOMEM, "no memory for TLS");
		return NULL;
	}
	context->contexts[context->context_count++] = ctx;
	context->verifies = !options->insecure;
	if (trust(ctx, options, error) < 0 ||
	    (options->certificate && use_pair(ctx, options->certificate, options->key, error) < 0) ||
	    SSL_CTX_set_alpn_protos(ctx, ours, sizeof ours - 1) != 0) {
		rc_tls_context_release(context);
		return NULL;
	}
	return context;
}

struct rc_tls_context *rc_tls_context_keep(struct rc_tls_context *context)
{
	atomic_fetch_add_explicit(&context->reference_count, 1, memory_order_relaxed);
	return context;
}

void rc_tls_context_release(struct rc_tls_context *context)
{
	/* acq_rel: whoever frees it sees what everybody else did with it */
	if (!context || atomic_fetch_sub_explicit(&context->reference_count, 1, memory_order_acq_rel) != 1)
		return;
	for (unsigned i = 0; i < context->context_count; i++)
		SSL_CTX_free(context->contexts[i]);
	rc_tls_revoked_free(&context->revoked);
	free(context);
}

SSL_CTX *rc_tls_context_ssl(const struct rc_tls_context *context)
{
	return context->contexts[0];
}

const X509 *rc_tls_context_certificate(const struct rc_tls_context *context, unsigned index)
{
	return index < context->context_count ? SSL_CTX_get0_certificate(context->contexts[index]) : NULL;
}

bool rc_tls_context_verifies(const struct rc_tls_context *context)
{
	return context->verifies;
}

const struct rc_tls_revoked *rc_tls_context_revoked(const struct rc_tls_context *context)
{
	return context->revoked.marks ? &context->revoked : NULL;
}
