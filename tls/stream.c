/* SPDX-License-Identifier: MIT
 *
 * stream.c - see stream.h. It must not know who sends or receives. Invariant: between calls nothing is buffered but a
 * record that is incomplete.
 *
 * OpenSSL makes the handshake. When one of TLS 1.3 is done, the traffic secrets go to record.c and reader.c, and
 * OpenSSL's object, which is most of what a connection would weigh, is freed. TLS 1.2 stays OpenSSL's, and so does a
 * peer that asked for small records.
 *
 * All streams of a thread share one BIO, whose two ends are the wire's spans. So a call has nothing to attach, and no
 * byte is copied beyond what OpenSSL copies itself.
 */
#include "stream.h"

#include "bounds.h"
#include "check.h"
#include "context.h"
#include "reader.h"
#include "revoked.h"

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
	SSL *ssl; /* null when the records are made here, and then the context is null too */
	struct rc_tls_context *context;
	struct rc_tls_wire *wire;
	bool open; /* the handshake is done */
	bool resumed;
	bool failed;
	bool renegotiated;   /* the peer tried to, which OpenSSL only refuses */
	bool closed;         /* we have sent close_notify */
	bool has_secrets[2]; /* for what is sent, and for what is received */
	bool by_kernel;      /* the kernel makes the records */
	uint16_t record_max; /* plaintext of a record; 0: RC_TLS_RECORD_MAX */
	uint8_t alert[2];    /* that the kernel is to send; none while the level is 0 */
	unsigned long error;
	char *subject;             /* of the peer's certificate, or null */
	struct rc_tls_mark *marks; /* of it and of who vouched for it, where there are revocation lists */
	unsigned mark_count;
	struct rc_tls_half sender; /* before it is open: the secret, and how many records OpenSSL made with it */
	struct rc_tls_reader reader;
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
	wire->decipher = EVP_CIPHER_CTX_new();
	if (!wire->bio || !wire->cipher || !wire->decipher) {
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
	EVP_CIPHER_CTX_free(wire->decipher);
	wire->bio = wire->cipher = wire->decipher = NULL;
}

/* ---- making and freeing ---- */

const struct rc_tls_context *rc_tls_context_of(const SSL *ssl)
{
	const struct rc_tls_stream *stream = SSL_get_app_data(ssl);
	return stream->context;
}

/* OpenSSL answers a renegotiation with a warning and goes on. Here it ends the stream, so the warning is caught. */
static void note(const SSL *ssl, int where, int value)
{
	struct rc_tls_stream *stream = SSL_get_app_data(ssl);
	if (where == SSL_CB_WRITE_ALERT && (value & 0xFF) == SSL_AD_NO_RENEGOTIATION)
		stream->renegotiated = true;
}

/* "SERVER_TRAFFIC_SECRET_0 <client random> <secret>", when OpenSSL begins to use it. */
void rc_tls_note_secret(const SSL *ssl, const char *line)
{
	struct rc_tls_stream *stream = SSL_get_app_data(ssl);
	bool of_server = strncmp(line, "SERVER_TRAFFIC_SECRET_0 ", 24) == 0;
	const char *hex = strrchr(line, ' ');
	if ((!of_server && strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24) != 0) || !hex)
		return;
	bool receives = of_server != (bool)SSL_is_server(ssl);
	struct rc_tls_half *half = receives ? &stream->reader.half : &stream->sender;
	size_t size = strlen(++hex) / 2;
	if (size > RC_TLS_SECRET_MAX)
		return;
	for (size_t i = 0; i < size; i++) {
		unsigned byte;
		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
			return;
		half->secret[i] = (uint8_t)byte;
	}
	stream->has_secrets[receives] = true;
}

/* Counts the records that OpenSSL makes with the secret: those of session tickets. */
static void note_message(int written, int version, int type, const void *bytes, size_t size, SSL *ssl, void *argument)
{
	struct rc_tls_stream *stream = SSL_get_app_data(ssl);
	(void)version;
	(void)bytes;
	(void)size;
	(void)argument;
	if (written && type == SSL3_RT_HEADER && stream->has_secrets[false])
		stream->sender.sequence++;
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
	rc_tls_half_close(&stream->sender);
	rc_tls_reader_close(&stream->reader);
	rc_tls_context_release(stream->context);
	free(stream->subject);
	free(stream->marks);
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

/* The subject of a certificate that was shown and verified. */
static char *take_subject(const SSL *ssl)
{
	X509 *certificate = SSL_get0_peer_certificate(ssl);
	BIO *text = certificate && SSL_get_verify_result(ssl) == X509_V_OK ? BIO_new(BIO_s_mem()) : NULL;
	if (!text)
		return NULL;
	char *bytes, *subject = NULL;
	X509_NAME_print_ex(text, X509_get_subject_name(certificate), 0,
	                   XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB);
	long size = BIO_get_mem_data(text, &bytes);
	if (size > 0 && !memchr(bytes, 0, (size_t)size))
		subject = strndup(bytes, (size_t)size);
	BIO_free(text);
	return subject;
}

static bool open_half(struct rc_tls_half *half, unsigned suite)
{
	uint8_t secret[RC_TLS_SECRET_MAX];
	memcpy(secret, half->secret, sizeof secret);
	bool good = rc_tls_half_open(half, suite, secret, half->sequence);
	OPENSSL_cleanse(secret, sizeof secret);
	return good;
}

/* OpenSSL has done its part. False when there is no memory for the keys. */
static bool take_over(struct rc_tls_stream *stream)
{
	SSL *ssl = stream->ssl;
	stream->open = true;
	stream->resumed = SSL_session_reused(ssl);
	stream->subject = take_subject(ssl);
	if (rc_tls_context_revoked(stream->context) && !rc_tls_marks_of(ssl, &stream->marks, &stream->mark_count))
		return false;
	unsigned bound = SSL_SESSION_get_max_fragment_length(SSL_get0_session(ssl));
	if (bound != TLSEXT_max_fragment_length_DISABLED)
		stream->record_max = (uint16_t)(RC_TLS_RECORD_LEAST << (bound - TLSEXT_max_fragment_length_512));
	if (!stream->has_secrets[0] || !stream->has_secrets[1] || stream->record_max)
		return true;
	unsigned suite = SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl));
	if (!open_half(&stream->sender, suite) || !open_half(&stream->reader.half, suite))
		return false;
	stream->reader.is_client = !SSL_is_server(ssl);
	SSL_free(ssl);
	rc_tls_context_release(stream->context);
	stream->ssl = NULL;
	stream->context = NULL;
	return true;
}

static bool seal(struct rc_tls_stream *stream, enum rc_tls_record_type type, const uint8_t *bytes, size_t size)
{
	struct rc_tls_wire *wire = stream->wire;
	if (stream->by_kernel) {
		RC_ASSERT(type == RC_TLS_ALERT && size == sizeof stream->alert);
		memcpy(stream->alert, bytes, sizeof stream->alert);
		return true;
	}
	return rc_tls_seal(&stream->sender, wire->cipher, type, bytes, size, &wire->out, wire->out_end);
}

bool rc_tls_update_keys(struct rc_tls_stream *stream)
{
	struct rc_tls_wire *wire = stream->wire;
	return stream->ssl || rc_tls_half_update(&stream->sender, wire->cipher, &wire->out, wire->out_end);
}

enum rc_tls_result rc_tls_handshake(struct rc_tls_stream *stream)
{
	if (stream->failed)
		return RC_TLS_FAILED;
	ERR_clear_error();
	int result = SSL_do_handshake(stream->ssl);
	if (result == 1)
		return take_over(stream) ? RC_TLS_DONE : failed(stream);
	enum rc_tls_result verdict = judge(stream, result);
	return verdict == RC_TLS_CLOSED ? failed(stream) : verdict;
}

static enum rc_tls_result read_ours(struct rc_tls_stream *stream, uint8_t *to, size_t *size)
{
	struct rc_tls_reader *reader = &stream->reader;
	struct rc_tls_wire *wire = stream->wire;
	enum rc_tls_result result = rc_tls_reader_take(reader, wire->decipher, &wire->in, wire->in_end, to, size);
	if (result != RC_TLS_FAILED && reader->owes_update) {
		reader->owes_update = false;
		if (stream->by_kernel)
			reader->why = "the kernel makes the records, and takes no new keys";
		if (stream->by_kernel || !rc_tls_update_keys(stream))
			result = RC_TLS_FAILED;
	}
	if (result != RC_TLS_FAILED)
		return result;
	const uint8_t alert[] = { SSL3_AL_FATAL, (uint8_t)reader->alert };
	if (reader->alert)
		seal(stream, RC_TLS_ALERT, alert, sizeof alert);
	return failed(stream);
}

enum rc_tls_result rc_tls_read(struct rc_tls_stream *stream, uint8_t *to, size_t *size)
{
	if (stream->failed)
		return RC_TLS_FAILED;
	if (!stream->ssl)
		return read_ours(stream, to, size);
	ERR_clear_error();
	int result = SSL_read_ex(stream->ssl, to, RC_TLS_RECORD_MAX, size);
	if (result != 1)
		return judge(stream, result);
	return stream->renegotiated ? failed(stream) : RC_TLS_DONE;
}

enum rc_tls_result rc_tls_write(struct rc_tls_stream *stream, const uint8_t *bytes, size_t size)
{
	size_t done;
	if (stream->failed)
		return RC_TLS_FAILED;
	RC_ASSERT(size && size <= RC_TLS_RECORD_MAX);
	if (!stream->ssl) {
		if (stream->sender.sequence >= RC_TLS_RECORDS_A_KEY && !rc_tls_update_keys(stream))
			return failed(stream);
		return seal(stream, RC_TLS_DATA, bytes, size) ? RC_TLS_DONE : failed(stream);
	}
	/* There is room for the whole record: the rest of one would have to be made from the same bytes, which may be
	 * gone by then. Anything but success ends the stream, so the queue of errors need not be cleared first. */
	return SSL_write_ex(stream->ssl, bytes, size, &done) == 1 ? RC_TLS_DONE : failed(stream);
}

bool rc_tls_close(struct rc_tls_stream *stream)
{
	static const uint8_t close_notify[] = { SSL3_AL_WARNING, SSL_AD_CLOSE_NOTIFY };
	if (!rc_tls_is_open(stream) || stream->closed)
		return false;
	stream->closed = true;
	if (!stream->ssl)
		return seal(stream, RC_TLS_ALERT, close_notify, sizeof close_notify);
	ERR_clear_error();
	return SSL_shutdown(stream->ssl) >= 0;
}

size_t rc_tls_kernel_keys(const struct rc_tls_stream *stream, void *keys)
{
	return rc_tls_is_open(stream) && rc_tls_half_is_open(&stream->sender)
	           ? rc_tls_half_for_kernel(&stream->sender, keys)
	           : 0;
}

void rc_tls_kernel_took(struct rc_tls_stream *stream)
{
	rc_tls_half_close(&stream->sender);
	stream->by_kernel = true;
}

bool rc_tls_take_alert(struct rc_tls_stream *stream, uint8_t alert[2])
{
	bool there = stream->alert[0];
	memcpy(alert, stream->alert, sizeof stream->alert);
	stream->alert[0] = 0;
	return there;
}

size_t rc_tls_record_size(const struct rc_tls_stream *stream)
{
	return stream->record_max ? stream->record_max : RC_TLS_RECORD_MAX;
}
bool rc_tls_is_open(const struct rc_tls_stream *stream)
{
	return stream->open && !stream->failed;
}
bool rc_tls_is_resumed(const struct rc_tls_stream *stream)
{
	return stream->resumed;
}

bool rc_tls_saw_close(const struct rc_tls_stream *stream)
{
	return stream->ssl ? SSL_get_shutdown(stream->ssl) & SSL_RECEIVED_SHUTDOWN : stream->reader.closed;
}

const char *rc_tls_why(const struct rc_tls_stream *stream, bool *distrusted)
{
	const char *words = NULL;
	*distrusted = false;
	if (!stream->failed)
		return "";
	if (stream->ssl) {
		long verdict = SSL_get_verify_result(stream->ssl);
		*distrusted = verdict != X509_V_OK && rc_tls_context_verifies(stream->context);
		words = *distrusted            ? X509_verify_cert_error_string(verdict)
		        : stream->renegotiated ? "renegotiation is not allowed"
		                               : ERR_reason_error_string(stream->error);
	} else {
		unsigned long told = ERR_PACK(ERR_LIB_SSL, 0, SSL_AD_REASON_OFFSET + stream->reader.told);
		words = stream->reader.told ? ERR_reason_error_string(told) : NULL;
		words = words ? words : stream->reader.why;
	}
	return words ? words : "TLS failed";
}

bool rc_tls_stream_is_revoked(const struct rc_tls_stream *stream, const struct rc_tls_context *context)
{
	const struct rc_tls_revoked *revoked = rc_tls_context_revoked(context);
	for (unsigned i = 0; revoked && i < stream->mark_count; i++)
		if (rc_tls_revoked_has(revoked, &stream->marks[i]))
			return true;
	return false;
}

bool rc_tls_subject(const struct rc_tls_stream *stream, char *to, size_t size)
{
	size_t length = stream->subject ? strlen(stream->subject) : size;
	if (length >= size)
		return false;
	memcpy(to, stream->subject, length + 1);
	return true;
}
