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

static amqp_socket_t *make_socket(amqp_connection_state_t amqp, const struct backplane_url *url, const char **wrong)
{
	const char *ca = backplane_url_value(url, "ca", NULL), *cert = backplane_url_value(url, "cert", NULL);
	if (!is_tls(url))
		return amqp_tcp_socket_new(amqp);
	amqp_socket_t *socket = amqp_ssl_socket_new(amqp);
	if (!socket)
		return NULL;
	amqp_ssl_socket_set_verify_peer(socket, 1);
	amqp_ssl_socket_set_verify_hostname(socket, 1);
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
	int code = amqp_side_judge(amqp_login_with_properties(side->amqp, *url->path ? url->path : "/", 0, FRAME_MAX,
	                                                      heartbeat, &properties, AMQP_SASL_METHOD_PLAIN,
	                                                      url->user ? url->user : user,
	                                                      url->password ? url->password : user),
	                           host, why);
	if (code)
		return code;
	amqp_channel_open(side->amqp, AMQP_CHANNEL);
	return amqp_side_judge(amqp_get_rpc_reply(side->amqp), host, why);
}

static int connect_one(struct amqp_side *side, const struct backplane_url *url, int heartbeat,
                       char why[static ENGINE_WHY_SIZE])
{
	const struct backplane_host *host = &url->hosts[side->host];
	const struct timeval limit = { AMQP_CALL_MS / 1000, AMQP_CALL_MS % 1000 * 1000 };
	const char *wrong = "no memory";
	side->amqp = amqp_new_connection();
	amqp_socket_t *socket = side->amqp ? make_socket(side->amqp, url, &wrong) : NULL;
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
		return amqp_side_failed(status, host->name, why);
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
