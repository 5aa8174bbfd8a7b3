/* SPDX-License-Identifier: MIT
 *
 * stream.c - see stream.h: OpenSSL's record layer and state machine between the spans of a wire. It must not know who
 * sends or receives. Invariant: between calls OpenSSL holds no buffer unless a record is in the middle.
 *
 * Once a handshake of TLS 1.3 is done, records are made by record.c and no longer by OpenSSL, which reads on. What it
 * then wants to say by itself (an answer to a KeyUpdate, an alert) it would say with sequence numbers that are no longer
 * its own: that is thrown away, and said by us instead. It keeps the answer until it has something to write, which never
 * comes; so we look at what was asked.
 *
 * All streams of a thread have the same BIO, whose two ends are the wire's spans, so attaching costs nothing a call and
 * no byte is copied on its way in or out that OpenSSL does not copy itself.
 */
#include "stream.h"

#include "check.h"
#include "limits.h"
#include "context.h"
#include "record.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rc_tls_stream {
	SSL *ssl;
	struct rc_tls_context *context;
	bool failed;
	bool renegotiated;  /* the peer tried to, which OpenSSL only refuses */
	bool closed;        /* close_notify was said by us */
	bool has_secret;    /* until the sender took it over */
	bool owes_update;   /* the peer asked for new keys ... */
	uint8_t owes_alert; /* ... or OpenSSL wanted to send a fatal alert */
	bool by_kernel;     /* the kernel makes the records */
	uint8_t alert[2];   /* for it to send; level 0: none */
	unsigned long error;
	struct rc_tls_wire *wire;
	struct rc_tls_sender sender; /* before it is open: the secret, and records that OpenSSL made with it */
};

/* ---- the wire ---- */

static int wire_read(BIO *bio, char *to, size_t size, size_t *done)
{
	struct rc_tls_wire *wire = BIO_get_data(bio);
	size_t there = (size_t)(wire->in_end - wire->in);
	BIO_clear_retry_flags(bio);
	*done = size < there ? size : there;
	if (!*done) {
		BIO_set_retry_read(bio);
		return 0;
	}
	memcpy(to, wire->in, *done);
	wire->in += *done;
	return 1;
}

static int wire_write(BIO *bio, const char *from, size_t size, size_t *done)
{
	struct rc_tls_wire *wire = BIO_get_data(bio);
	size_t room = (size_t)(wire->out_end - wire->out);
	BIO_clear_retry_flags(bio);
	*done = size < room ? size : room;
	if (!*done) {
		BIO_set_retry_write(bio);
		return 0;
	}
	memcpy(wire->out, from, *done);
	wire->out += *done;
	return 1;
}

static long wire_control(BIO *bio, int command, long number, void *pointer)
{
	(void)bio;
	(void)number;
	(void)pointer;
	return command == BIO_CTRL_FLUSH;
}

static int wire_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

static BIO_METHOD *wire_method;

static void make_method(void)
{
	BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "wire");
	if (method && BIO_meth_set_read_ex(method, wire_read) == 1 && BIO_meth_set_write_ex(method, wire_write) == 1 &&
	    BIO_meth_set_ctrl(method, wire_control) == 1 && BIO_meth_set_create(method, wire_create) == 1)
		wire_method = method; /* for the life of the process, like OpenSSL's own */
}

int rc_tls_wire_open(struct rc_tls_wire *wire)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, make_method);
	*wire = (struct rc_tls_wire){ .bio = wire_method ? BIO_new(wire_method) : NULL };
	wire->cipher = EVP_CIPHER_CTX_new();
	if (!wire->bio || !wire->cipher) {
		rc_tls_wire_close(wire);
		return -ENOMEM;
	}
	BIO_set_data(wire->bio, wire);
	return 0;
}

void rc_tls_wire_close(struct rc_tls_wire *wire)
{
	BIO_free(wire->bio);
	EVP_CIPHER_CTX_free(wire->cipher);
	wire->bio = wire->cipher = NULL;
}

/* ---- making and freeing ---- */

const struct rc_tls_context *rc_tls_context_of(const SSL *ssl)
{
	const struct rc_tls_stream *stream = SSL_get_app_data(ssl);
	return stream->context;
}

/* OpenSSL answers a renegotiation with a warning and goes on; for us it is the end, so the warning is caught. */
static void note(const SSL *ssl, int where, int value)
{
	struct rc_tls_stream *stream = SSL_get_app_data(ssl);
	if (where == SSL_CB_WRITE_ALERT && (value & 0xFF) == SSL_AD_NO_RENEGOTIATION)
		stream->renegotiated = true;
}

/* "SERVER_TRAFFIC_SECRET_0 <client random> <secret>", when OpenSSL begins to send with it. */
void rc_tls_note_secret(const SSL *ssl, const char *line)
{
	struct rc_tls_stream *stream = SSL_get_app_data(ssl);
	const char *name = SSL_is_server(ssl) ? "SERVER_TRAFFIC_SECRET_0 " : "CLIENT_TRAFFIC_SECRET_0 ";
	const char *hex = strrchr(line, ' ');
	if (strncmp(line, name, strlen(name)) != 0 || !hex)
		return;
	size_t size = strlen(++hex) / 2;
	if (size > RC_TLS_SECRET_MAX)
		return;
	for (size_t i = 0; i < size; i++) {
		unsigned byte;
		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
			return;
		stream->sender.secret[i] = (uint8_t)byte;
	}
	stream->sender.sequence = 0;
	stream->has_secret = true;
}

/* What OpenSSL writes by itself: before the takeover records are counted, after it an alert is remembered; and what it is
 * asked for (RFC 8446, section 4.6.3). */
static void note_message(int written, int version, int type, const void *bytes, size_t size, SSL *ssl, void *argument)
{
	struct rc_tls_stream *stream = SSL_get_app_data(ssl);
	const uint8_t *content = bytes;
	(void)version;
	(void)argument;
	if (!written && type == SSL3_RT_HANDSHAKE && size == 5 && content[0] == SSL3_MT_KEY_UPDATE)
		stream->owes_update |= content[4] == SSL_KEY_UPDATE_REQUESTED;
	if (!written)
		return;
	if (type == SSL3_RT_HEADER && stream->has_secret)
		stream->sender.sequence++;
	else if (type == SSL3_RT_ALERT && size == 2 && content[0] == SSL3_AL_FATAL)
		stream->owes_alert = content[1];
}

static struct rc_tls_stream *make(struct rc_tls_context *context, struct rc_tls_wire *wire)
{
	struct rc_tls_stream *stream = calloc(1, sizeof *stream);
	SSL *ssl = stream ? SSL_new(rc_tls_context_ssl(context)) : NULL;
	if (!ssl || BIO_up_ref(wire->bio) != 1) {
		SSL_free(ssl);
		free(stream);
		return NULL;
	}
	SSL_set_bio(ssl, wire->bio, wire->bio); /* takes the one reference for both ends */
	SSL_set_app_data(ssl, stream);
	SSL_set_info_callback(ssl, note);
	SSL_set_msg_callback(ssl, note_message);
	stream->ssl = ssl;
	stream->context = rc_tls_context_keep(context);
	stream->wire = wire;
	return stream;
}

struct rc_tls_stream *rc_tls_stream_server(struct rc_tls_context *context, struct rc_tls_wire *wire)
{
	struct rc_tls_stream *stream = make(context, wire);
	if (stream)
		SSL_set_accept_state(stream->ssl);
	return stream;
}

/* RFC 6066, section 3: addresses are not sent as server names, and are checked as addresses. */
static bool expect_host(const struct rc_tls_stream *stream, const char *host)
{
	uint8_t address[16];
	bool is_address = inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
	if (!is_address && SSL_set_tlsext_host_name(stream->ssl, host) != 1)
		return false;
	if (!rc_tls_context_verifies(stream->context))
		return true;
	return is_address ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(stream->ssl), host) == 1
	                  : SSL_set1_host(stream->ssl, host) == 1;
}

struct rc_tls_stream *rc_tls_stream_client(struct rc_tls_context *context, struct rc_tls_wire *wire, const char *host)
{
	struct rc_tls_stream *stream = make(context, wire);
	if (!stream)
		return NULL;
	SSL_set_connect_state(stream->ssl);
	if (expect_host(stream, host))
		return stream;
	rc_tls_stream_free(stream);
	return NULL;
}

void rc_tls_stream_free(struct rc_tls_stream *stream)
{
	if (!stream)
		return;
	SSL_free(stream->ssl);
	rc_tls_sender_close(&stream->sender);
	rc_tls_context_release(stream->context);
	free(stream);
}

/* ---- using it ---- */

static enum rc_tls_result failed(struct rc_tls_stream *stream)
{
	if (!stream->failed)
		stream->error = ERR_peek_error();
	stream->failed = true;
	return RC_TLS_FAILED;
}

/* What a call that did not succeed means. */
static enum rc_tls_result judge(struct rc_tls_stream *stream, int result)
{
	if (stream->renegotiated)
		return failed(stream);
	switch (SSL_get_error(stream->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		return RC_TLS_MORE;
	case SSL_ERROR_WANT_WRITE:
		return RC_TLS_FULL;
	case SSL_ERROR_ZERO_RETURN:
		return RC_TLS_CLOSED;
	default:
		return failed(stream);
	}
}

static void take_over(struct rc_tls_stream *stream)
{
	uint8_t secret[RC_TLS_SECRET_MAX];
	if (!stream->has_secret)
		return; /* TLS 1.2 */
	memcpy(secret, stream->sender.secret, sizeof secret);
	stream->has_secret = false;
	rc_tls_sender_open(&stream->sender, SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(stream->ssl)), secret,
	                   stream->sender.sequence);
	OPENSSL_cleanse(secret, sizeof secret);
}

static bool seal(struct rc_tls_stream *stream, enum rc_tls_record_type type, const uint8_t *bytes, size_t size)
{
	struct rc_tls_wire *wire = stream->wire;
	if (stream->by_kernel) {
		RC_ASSERT(type == RC_TLS_ALERT && size == sizeof stream->alert);
		memcpy(stream->alert, bytes, sizeof stream->alert);
		return true;
	}
	return rc_tls_sender_seal(&stream->sender, wire->cipher, type, bytes, size, &wire->out, wire->out_end);
}

bool rc_tls_update_keys(struct rc_tls_stream *stream)
{
	struct rc_tls_wire *wire = stream->wire;
	return !rc_tls_sender_is_open(&stream->sender) ||
	       rc_tls_sender_update(&stream->sender, wire->cipher, &wire->out, wire->out_end);
}

/* Says ourselves what OpenSSL said since `begin`, or should have. */
static bool say_instead(struct rc_tls_stream *stream, uint8_t *begin)
{
	bool ours = stream->by_kernel || rc_tls_sender_is_open(&stream->sender);
	if (!ours || (stream->wire->out == begin && !stream->owes_update))
		return true;
	OPENSSL_cleanse(begin, (size_t)(stream->wire->out - begin));
	stream->wire->out = begin;
	bool update = stream->owes_update;
	const uint8_t alert[] = { SSL3_AL_FATAL, stream->owes_alert };
	if (update && stream->by_kernel)
		return false;
	stream->owes_update = false;
	stream->owes_alert = 0;
	return (!update || rc_tls_update_keys(stream)) && (!alert[1] || seal(stream, RC_TLS_ALERT, alert, sizeof alert));
}

enum rc_tls_result rc_tls_handshake(struct rc_tls_stream *stream)
{
	if (stream->failed)
		return RC_TLS_FAILED;
	ERR_clear_error();
	int result = SSL_do_handshake(stream->ssl);
	if (result == 1) {
		take_over(stream);
		return RC_TLS_DONE;
	}
	enum rc_tls_result verdict = judge(stream, result);
	return verdict == RC_TLS_CLOSED ? failed(stream) : verdict;
}

enum rc_tls_result rc_tls_read(struct rc_tls_stream *stream, uint8_t *to, size_t *size)
{
	if (stream->failed)
		return RC_TLS_FAILED;
	ERR_clear_error();
	uint8_t *begin = stream->wire->out;
	int result = SSL_read_ex(stream->ssl, to, RC_TLS_RECORD_MAX, size);
	enum rc_tls_result verdict = result == 1 ? RC_TLS_DONE : judge(stream, result);
	if (!say_instead(stream, begin))
		return failed(stream);
	if (verdict != RC_TLS_DONE)
		return verdict;
	return stream->renegotiated ? failed(stream) : RC_TLS_DONE;
}

enum rc_tls_result rc_tls_write(struct rc_tls_stream *stream, const uint8_t *bytes, size_t size)
{
	size_t done;
	if (stream->failed)
		return RC_TLS_FAILED;
	RC_ASSERT(size && size <= RC_TLS_RECORD_MAX);
	if (rc_tls_sender_is_open(&stream->sender)) {
		if (stream->sender.sequence >= RC_TLS_RECORDS_A_KEY && !rc_tls_update_keys(stream))
			return failed(stream);
		return seal(stream, RC_TLS_DATA, bytes, size) ? RC_TLS_DONE : failed(stream);
	}
	/* Part of a record would have to be finished from the same bytes, which may be gone by then: there is room.
	 * Anything but success is the end, so the queue of errors need not be empty to tell. */
	return SSL_write_ex(stream->ssl, bytes, size, &done) == 1 ? RC_TLS_DONE : failed(stream);
}

bool rc_tls_close(struct rc_tls_stream *stream)
{
	static const uint8_t close_notify[] = { SSL3_AL_WARNING, SSL_AD_CLOSE_NOTIFY };
	if (!rc_tls_is_open(stream) || stream->closed)
		return false;
	stream->closed = true;
	if (stream->by_kernel || rc_tls_sender_is_open(&stream->sender))
		return seal(stream, RC_TLS_ALERT, close_notify, sizeof close_notify);
	ERR_clear_error();
	return SSL_shutdown(stream->ssl) >= 0;
}

size_t rc_tls_kernel_keys(const struct rc_tls_stream *stream, void *keys)
{
	return rc_tls_is_open(stream) && rc_tls_sender_is_open(&stream->sender)
	           ? rc_tls_sender_for_kernel(&stream->sender, keys) : 0;
}

void rc_tls_kernel_took(struct rc_tls_stream *stream)
{
	rc_tls_sender_close(&stream->sender);
	stream->by_kernel = true;
}

bool rc_tls_take_alert(struct rc_tls_stream *stream, uint8_t alert[2])
{
	bool there = stream->alert[0];
	memcpy(alert, stream->alert, sizeof stream->alert);
	stream->alert[0] = 0;
	return there;
}

bool rc_tls_is_open(const struct rc_tls_stream *stream) { return !stream->failed && SSL_is_init_finished(stream->ssl); }
bool rc_tls_is_resumed(const struct rc_tls_stream *stream) { return SSL_session_reused(stream->ssl); }

bool rc_tls_saw_close(const struct rc_tls_stream *stream)
{
	return SSL_get_shutdown(stream->ssl) & SSL_RECEIVED_SHUTDOWN;
}

const char *rc_tls_why(const struct rc_tls_stream *stream, bool *distrusted)
{
	long verdict = SSL_get_verify_result(stream->ssl);
	*distrusted = stream->failed && verdict != X509_V_OK && rc_tls_context_verifies(stream->context);
	if (!stream->failed)
		return "";
	if (*distrusted)
		return X509_verify_cert_error_string(verdict);
	if (stream->renegotiated)
		return "renegotiation is not allowed";
	if (stream->by_kernel && stream->owes_update)
		return "the kernel makes the records, and takes no new keys";
	const char *words = ERR_reason_error_string(stream->error);
	return words ? words : "TLS failed";
}

bool rc_tls_subject(const struct rc_tls_stream *stream, char *to, size_t size)
{
	X509 *certificate = SSL_get0_peer_certificate(stream->ssl);
	if (!certificate || SSL_get_verify_result(stream->ssl) != X509_V_OK)
		return false;
	BIO *text = BIO_new(BIO_s_mem());
	if (!text)
		return false;
	char *bytes;
	X509_NAME_print_ex(text, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB);
	long length = BIO_get_mem_data(text, &bytes);
	bool fits = length > 0 && (size_t)length < size && !memchr(bytes, 0, (size_t)length);
	if (fits) {
		memcpy(to, bytes, (size_t)length);
		to[length] = 0;
	}
	BIO_free(text);
	return fits;
}
