/* SPDX-License-Identifier: MIT
 *
 * amqp_side.c - see amqp_side.h.
 */
#include "built.h"
#ifdef BACKPLANE_AMQP

#include "amqp_side.h"

#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define PORT_DEFAULT 5672
#define PORT_TLS 5671
#define FRAME_MAX 131072

static bool is_tls(const struct backplane_url *url)
{
	return strcmp(url->scheme, "amqps") == 0;
}

bool amqp_side_check(const struct backplane_url *url, char wrong[static ENGINE_WHY_SIZE])
{
	const char *ca = backplane_url_value(url, "ca", NULL), *cert = backplane_url_value(url, "cert", NULL);
	if (!cert != !backplane_url_value(url, "key", NULL))
		snprintf(wrong, ENGINE_WHY_SIZE, "cert and key are given together");
	else if ((ca || cert) && !is_tls(url))
		snprintf(wrong, ENGINE_WHY_SIZE, "ca, cert and key are for amqps://");
	else
		return true;
	return false;
}

int amqp_side_failed(int status, const char *what, char why[static ENGINE_WHY_SIZE])
{
	snprintf(why, ENGINE_WHY_SIZE, "%s: %s", what, amqp_error_string2(status));
	return -ECONNRESET;
}

int amqp_side_judge(amqp_rpc_reply_t reply, const char *what, char why[static ENGINE_WHY_SIZE])
{
	amqp_bytes_t text = amqp_cstring_bytes("the server ended it");
	unsigned code = 0;
	if (reply.reply_type == AMQP_RESPONSE_NORMAL)
		return 0;
	if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION)
		return amqp_side_failed(reply.library_error, what, why);
	if (reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD) {
		const amqp_channel_close_t *method = reply.reply.decoded;
		text = method->reply_text, code = method->reply_code;
	} else if (reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD) {
		const amqp_connection_close_t *method = reply.reply.decoded;
		text = method->reply_text;
	}
	snprintf(why, ENGINE_WHY_SIZE, "%s: %.*s", what, text.len < 120 ? (int)text.len : 120, (char *)text.bytes);
	/* It also says NOT_FOUND of a queue whose node is not up yet. */
	if (code == AMQP_NOT_FOUND && strstr(why, "no queue"))
		return -ENOENT;
	return code == AMQP_PRECONDITION_FAILED ? -EBUSY : -ECONNRESET;
}

/* What was wrong with the server's certificate, of this thread's last handshake. */
static _Thread_local int distrust;

static int note_distrust(int good, X509_STORE_CTX *chain)
{
	if (!good)
		distrust = X509_STORE_CTX_get_error(chain);
	return good;
}

/* The library knows certificates for names alone; addresses of IP are for OpenSSL. */
static bool expect(SSL_CTX *context, const char *host)
{
	X509_VERIFY_PARAM *expected = SSL_CTX_get0_param(context);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, note_distrust);
	return X509_VERIFY_PARAM_set1_ip_asc(expected, host) || X509_VERIFY_PARAM_set1_host(expected, host, 0);
}

static amqp_socket_t *make_socket(amqp_connection_state_t amqp, const struct backplane_url *url, const char *host,
                                  const char **wrong)
{
	const char *ca = backplane_url_value(url, "ca", NULL), *cert = backplane_url_value(url, "cert", NULL);
	if (!is_tls(url))
		return amqp_tcp_socket_new(amqp);
	amqp_socket_t *socket = amqp_ssl_socket_new(amqp);
	if (!socket)
		return NULL;
	amqp_ssl_socket_set_verify_peer(socket, 1);
	amqp_ssl_socket_set_verify_hostname(socket, 0);
	if (!expect(amqp_ssl_socket_get_context(socket), host))
		return NULL;
	*wrong = "the certificates in ca, cert or key cannot be read";
	if (ca ? amqp_ssl_socket_set_cacert(socket, ca)
	       : !SSL_CTX_set_default_verify_paths(amqp_ssl_socket_get_context(socket)))
		return NULL;
	return cert && amqp_ssl_socket_set_key(socket, cert, backplane_url_value(url, "key", "")) ? NULL : socket;
}

/* A peer that is gone without a word is found out, also by who only writes. */
static void bound_silence(amqp_connection_state_t amqp)
{
	unsigned limit = ENGINE_WAIT_MS;
	setsockopt(amqp_get_sockfd(amqp), IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, sizeof limit);
}

static void add_remedy(const amqp_rpc_reply_t *reply, const struct backplane_url *url, char why[static ENGINE_WHY_SIZE])
{
	const char *words = "";
	if (strstr(why, "ACCESS_REFUSED"))
		words = "; amqp://USER:PASSWORD@HOST/VHOST says who we are";
	else if (strstr(why, "NOT_ALLOWED"))
		words = "; the vhost is the URL's path: amqp://HOST/VHOST";
	else if (reply->reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION)
		words = is_tls(url) ? "; it may want a certificate of ours: ?cert=FILE&key=FILE"
		                    : "; it may want TLS there: amqps://";
	/* The server's own words end in where more of them are. */
	char *end = strstr(why, ". For details");
	end = end ? end : why + strlen(why);
	snprintf(end, ENGINE_WHY_SIZE - (size_t)(end - why), "%s", words);
}

static int log_in(struct amqp_side *side, const struct backplane_url *url, int heartbeat,
                  char why[static ENGINE_WHY_SIZE])
{
	static const char *const user = "guest";
	amqp_table_entry_t notify = { .key = amqp_cstring_bytes("consumer_cancel_notify"),
		                      .value = { .kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1 } };
	amqp_table_entry_t about[] = { { .key = amqp_cstring_bytes("capabilities"),
		                         .value = { .kind = AMQP_FIELD_KIND_TABLE, .value.table = { 1, &notify } } },
		                       { .key = amqp_cstring_bytes("connection_name"),
		                         .value = { .kind = AMQP_FIELD_KIND_UTF8,
		                                    .value.bytes = amqp_cstring_bytes("ringcast") } } };
	amqp_table_t properties = { 2, about };
	const char *host = url->hosts[side->host].name;
	amqp_rpc_reply_t reply = amqp_login_with_properties(
	    side->amqp, *url->path ? url->path : "/", 0, FRAME_MAX, heartbeat, &properties, AMQP_SASL_METHOD_PLAIN,
	    url->user ? url->user : user, url->password ? url->password : user);
	int code = amqp_side_judge(reply, host, why);
	if (code)
		return add_remedy(&reply, url, why), code;
	amqp_channel_open(side->amqp, AMQP_CHANNEL);
	return amqp_side_judge(amqp_get_rpc_reply(side->amqp), host, why);
}

/* What an operator can do about it; the library says what it is. */
static int say_unreached(int status, const struct backplane_url *url, const char *host,
                         char why[static ENGINE_WHY_SIZE])
{
	if (distrust)
		snprintf(why, ENGINE_WHY_SIZE, "%.60s: its certificate: %.60s; %s", host,
		         X509_verify_cert_error_string(distrust),
		         distrust == X509_V_ERR_HOSTNAME_MISMATCH || distrust == X509_V_ERR_IP_ADDRESS_MISMATCH
		             ? "the URL must have the name that is in it"
		             : "?ca=FILE names its authority");
	else if (status == AMQP_STATUS_SOCKET_ERROR || status == AMQP_STATUS_TIMEOUT)
		snprintf(why, ENGINE_WHY_SIZE, "%.60s: nobody answers there", host);
	else if (is_tls(url))
		snprintf(why, ENGINE_WHY_SIZE,
		         "%.60s: %.60s; it may have no TLS there (amqp://), or want ?cert=FILE&key=FILE", host,
		         amqp_error_string2(status));
	else
		amqp_side_failed(status, host, why);
	return -ECONNRESET;
}

static int connect_one(struct amqp_side *side, const struct backplane_url *url, int heartbeat,
                       char why[static ENGINE_WHY_SIZE])
{
	const struct backplane_host *host = &url->hosts[side->host];
	const struct timeval limit = { AMQP_CALL_MS / 1000, AMQP_CALL_MS % 1000 * 1000 };
	const char *wrong = "no memory";
	distrust = 0;
	side->amqp = amqp_new_connection();
	amqp_socket_t *socket = side->amqp ? make_socket(side->amqp, url, host->name, &wrong) : NULL;
	if (!socket)
		return snprintf(why, ENGINE_WHY_SIZE, "%s: %s", host->name, wrong), -ENOMEM;
	amqp_set_handshake_timeout(side->amqp, &limit);
	amqp_set_rpc_timeout(side->amqp, &limit);
	int status = amqp_socket_open_noblock(socket, host->name,
	                                      host->port    ? (int)host->port
	                                      : is_tls(url) ? PORT_TLS
	                                                    : PORT_DEFAULT,
	                                      &limit);
	if (status)
		return say_unreached(status, url, host->name, why);
	bound_silence(side->amqp);
	return log_in(side, url, heartbeat, why);
}

int amqp_side_enter(struct amqp_side *side, const struct backplane_url *url, int heartbeat,
                    char why[static ENGINE_WHY_SIZE])
{
	if (side->amqp)
		return 0;
	for (unsigned i = 0; i < url->host_count; i++) {
		if (connect_one(side, url, heartbeat, why) == 0)
			return 0;
		amqp_side_leave(side);
		side->host = (side->host + 1) % url->host_count;
	}
	return -ECONNREFUSED;
}

void amqp_side_leave(struct amqp_side *side)
{
	if (side->amqp)
		amqp_destroy_connection(side->amqp);
	side->amqp = NULL;
}
#endif
