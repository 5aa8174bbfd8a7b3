/* SPDX-License-Identifier: MIT
 *
 * handshake_client.c - the client's side of the opening handshake (RFC 6455, section 4.1); see handshake.h. It keeps
 * nothing between the request and the response: the nonce makes the key again. Invariant: nothing that the server was
 * not asked for is accepted.
 */
#include "extension.h"
#include "http.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define NONCE_SIZE 16
#define KEY_SIZE 24

static void make_key(char to[KEY_SIZE + 1], const uint8_t nonce[NONCE_SIZE])
{
	EVP_EncodeBlock((unsigned char *)to, nonce, NONCE_SIZE);
}

static bool is_list_of_tokens(const char *text)
{
	struct rc_span list = { text, strlen(text) }, item;
	bool any = false;
	while (rc_http_item(&list, &item)) {
		if (!rc_span_is_token(item))
			return false;
		any = true;
	}
	return any;
}

/* What the request itself says, what would give it a body, and what is agreed hop by hop. */
static bool is_ours(struct rc_span name)
{
	static const char *const ours[] = {
		"Host",       "Upgrade", "Connection", "Content-Length", "Transfer-Encoding", "Proxy-Connection",
		"Keep-Alive", "TE",      "Trailer",    "Expect"
	};
	static const char prefix[] = "Sec-WebSocket-";
	for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
		if (rc_span_is(name, ours[i]))
			return true;
	return name.size >= sizeof prefix - 1 && rc_span_is((struct rc_span){ name.text, sizeof prefix - 1 }, prefix);
}

int rc_handshake_add_header(char *to, size_t size, const char *name, const char *value)
{
	struct rc_span field = { name, strlen(name) };
	if (!rc_span_is_token(field) || is_ours(field))
		return -EINVAL;
	for (const char *at = value; *at; at++)
		if (((unsigned char)*at < ' ' && *at != '\t') || *at == 0x7f)
			return -EINVAL;
	int used = snprintf(to, size, "%s: %s\r\n", name, value);
	return used > 0 && (size_t)used < size ? used : -ENOSPC;
}

size_t rc_handshake_request(char *to, size_t size, const struct rc_url *url, const uint8_t nonce[16],
                            const char *protocols, const char *headers, const struct rc_deflate_wish *wish)
{
	char key[KEY_SIZE + 1], port[8] = "", offer[RC_EXTENSION_SIZE_MAX] = "";
	if (wish)
		rc_extension_offer(offer, wish);
	if (protocols && !is_list_of_tokens(protocols))
		return 0;
	make_key(key, nonce);
	if (!url->is_unix && url->port != (url->tls ? 443 : 80))
		snprintf(port, sizeof port, ":%u", (unsigned)url->port);
	bool brackets = !url->is_unix && strchr(url->host, ':');
	int used = snprintf(
	    to, size,
	    "GET %s HTTP/1.1\r\nHost: %s%s%s%s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	    "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n%s%s%s%s%s%s%s\r\n",
	    url->target, brackets ? "[" : "", url->is_unix ? "localhost" : url->host, brackets ? "]" : "", port, key,
	    protocols ? "Sec-WebSocket-Protocol: " : "", protocols ? protocols : "", protocols ? "\r\n" : "",
	    wish ? "Sec-WebSocket-Extensions: " : "", offer, wish ? "\r\n" : "", headers ? headers : "");
	return used > 0 && (size_t)used < size ? (size_t)used : 0;
}

/* The status of a line such as "HTTP/1.1 101 Switching Protocols"; 0 when it is not a status line, or one of HTTP/1.0
 * with a 101. */
static int parse_status_line(struct rc_span line)
{
	const char *text = line.text;
	if (line.size < 12 || memcmp(text, "HTTP/1.", 7) != 0 || (text[7] != '0' && text[7] != '1') || text[8] != ' ' ||
	    (line.size > 12 && text[12] != ' '))
		return 0;
	int status = 0;
	for (int i = 9; i < 12; i++) {
		if (text[i] < '0' || text[i] > '9')
			return 0;
		status = status * 10 + (text[i] - '0');
	}
	return status < 600 && (text[7] == '1' || status != 101) ? status : 0;
}

static bool choose(char to[RC_PROTOCOL_NAME_MAX], struct rc_span value, const char *protocols)
{
	struct rc_span list = { protocols, protocols ? strlen(protocols) : 0 }, item;
	if (to[0] || value.size == 0 || value.size >= RC_PROTOCOL_NAME_MAX)
		return false;
	memcpy(to, value.text, value.size);
	to[value.size] = 0;
	while (rc_http_item(&list, &item))
		if (rc_span_is_exactly(item, to))
			return true;
	return false;
}

/* What a correct 101 has shown so far. */
struct proofs {
	bool upgrade, connection, accept;
	const char *why; /* it is none */
	char expected[RC_ACCEPT_SIZE + 1];
	const struct rc_deflate_wish *wish;
	struct rc_deflate *agreed;
};

static bool wrong(struct proofs *proofs, const char *why)
{
	proofs->why = why;
	return false;
}

static bool judge_field(struct proofs *proofs, struct rc_span name, struct rc_span value, const char *protocols,
                        char protocol[RC_PROTOCOL_NAME_MAX])
{
	if (rc_span_is(name, "Upgrade")) {
		proofs->upgrade = rc_span_is(value, "websocket");
		return proofs->upgrade || wrong(proofs, "its Upgrade is not websocket");
	}
	if (rc_span_is(name, "Connection")) {
		struct rc_span item;
		while (rc_http_item(&value, &item))
			proofs->connection |= rc_span_is(item, "upgrade");
		return true;
	}
	if (rc_span_is(name, "Sec-WebSocket-Accept")) {
		bool first = !proofs->accept;
		proofs->accept = rc_span_is_exactly(value, proofs->expected);
		return (first && proofs->accept) || wrong(proofs, "its Sec-WebSocket-Accept is not for this request");
	}
	if (rc_span_is(name, "Sec-WebSocket-Protocol"))
		return choose(protocol, value, protocols) ||
		       wrong(proofs, "it chose a subprotocol that was not offered");
	if (rc_span_is(name, "Sec-WebSocket-Extensions"))
		return (proofs->wish && rc_extension_judge(proofs->agreed, value.text, value.size, proofs->wish)) ||
		       wrong(proofs, "it chose an extension that was not offered");
	return true;
}

static int not_ours(const char **why, const char *words)
{
	*why = words;
	return -EPROTO;
}

int rc_handshake_response_parse(const char *bytes, size_t size, const uint8_t nonce[16], const char *protocols,
                                char protocol[RC_PROTOCOL_NAME_MAX], const struct rc_deflate_wish *wish,
                                struct rc_deflate *agreed, const char **why)
{
	protocol[0] = 0;
	*why = NULL;
	*agreed = (struct rc_deflate){ 0 };
	int head_size = rc_http_head_size(bytes, size);
	if (head_size <= 0)
		return head_size == 0      ? 0
		       : head_size == -400 ? not_ours(why, "it is no HTTP")
		                           : not_ours(why, "its head is too long, or has too many headers");
	struct rc_span head = { bytes, (size_t)head_size }, line, name, value;
	rc_http_line(&head, &line);
	int status = parse_status_line(line);
	if (status != 101)
		return status >= 200 ? -status : not_ours(why, "it is no HTTP/1.1 response");
	char key[KEY_SIZE + 1];
	struct proofs proofs = { .why = "one of its lines is no header", .wish = wish, .agreed = agreed };
	make_key(key, nonce);
	rc_handshake_accept(proofs.expected, key);
	while (rc_http_line(&head, &line))
		if (!rc_http_field(line, &name, &value) || !judge_field(&proofs, name, value, protocols, protocol))
			return not_ours(why, proofs.why);
	if (proofs.upgrade && proofs.connection && proofs.accept)
		return head_size;
	return not_ours(why, "it lacks Upgrade, Connection or Sec-WebSocket-Accept");
}
