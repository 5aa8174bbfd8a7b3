/* SPDX-License-Identifier: MIT
 *
 * proxy.c - the PROXY protocol as its specification has it: each header whole, in every prefix, and each way to be
 * wrong.
 */
#include "proxy.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

struct expected {
	const char *bytes;
	size_t size;
	const char *peer; /* "address port"; "-": it does not say; "unix"; null: it is wrong */
};
#define CASE(text, peer)                                                                                               \
	{                                                                                                              \
		text, sizeof text - 1, peer                                                                            \
	}

static void describe(char text[64], const struct sockaddr_storage *peer)
{
	char address[INET6_ADDRSTRLEN] = "";
	const struct sockaddr_in *four = (const struct sockaddr_in *)peer;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)peer;
	strcpy(text, peer->ss_family == AF_UNIX ? "unix" : "-");
	if (peer->ss_family == AF_INET)
		snprintf(text, 64, "%s %d", inet_ntop(AF_INET, &four->sin_addr, address, sizeof address),
		         ntohs(four->sin_port));
	if (peer->ss_family == AF_INET6)
		snprintf(text, 64, "%s %d", inet_ntop(AF_INET6, &six->sin6_addr, address, sizeof address),
		         ntohs(six->sin6_port));
}

static const struct expected cases[] = {
	/* version 1 */
	CASE("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255 65535"),
	CASE("PROXY TCP4 1.2.3.4 5.6.7.8 0 80\r\n", "1.2.3.4 0"),
	CASE("PROXY TCP6 2001:db8::1 ::1 1000 443\r\n", "2001:db8::1 1000"),
	CASE("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 "
	     "65535\r\n",
	     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535"),
	CASE("PROXY UNKNOWN\r\n", "-"),
	CASE("PROXY UNKNOWN ffff::1 whatever 1 2\r\n", "-"),
	CASE("PROXY TCP4 1.2.3.4 5.6.7.8 65536 80\r\n", NULL),
	CASE("PROXY TCP4 1.2.3.4 5.6.7.8 080 80\r\n", NULL),
	CASE("PROXY TCP4 1.2.3.4 5.6.7.8 80 -1\r\n", NULL),
	CASE("PROXY TCP4 1.2.3.4 5.6.7.8 80\r\n", NULL),
	CASE("PROXY TCP4 1.2.3.4 5.6.7.8 80 80 80\r\n", NULL),
	CASE("PROXY TCP4 1.2.3.4 5.6.7.8 80 80 \r\n", NULL),
	CASE("PROXY TCP4  1.2.3.4 5.6.7.8 80 80\r\n", NULL),
	CASE("PROXY TCP4 1.2.3 5.6.7.8 80 80\r\n", NULL),
	CASE("PROXY TCP4 ::1 ::1 80 80\r\n", NULL),
	CASE("PROXY TCP6 1.2.3.4 5.6.7.8 80 80\r\n", NULL),
	CASE("PROXY TCP5 1.2.3.4 5.6.7.8 80 80\r\n", NULL),
	CASE("PROXY \r\n", NULL),
	CASE("PROXY\r\n", NULL),
	CASE("PROXY TCP4 1.2.3.4 5.6.7.8 80 80\n", NULL),
	CASE("PROXY TCP4 1.2.3.4\r 5.6.7.8 80 80\r\n", NULL),
	CASE("PROXY TCP4 1.2.3.4\t5.6.7.8 80 80\r\n", NULL),
	CASE("GET / HTTP/1.1\r\n", NULL),
	CASE("proxy TCP4 1.2.3.4 5.6.7.8 80 80\r\n", NULL),
	/* version 2 */
	CASE(SIGNATURE "\x21\x11\0\x0c\1\2\3\4\5\6\7\x08\x03\xe8\0\x50", "1.2.3.4 1000"),
	CASE(SIGNATURE "\x21\x12\0\x0c\1\2\3\4\5\6\7\x08\x03\xe8\0\x50", "1.2.3.4 1000"),
	CASE(SIGNATURE "\x21\x11\0\x11\1\2\3\4\5\6\7\x08\x03\xe8\0\x50\x04\0\2xy", "1.2.3.4 1000"),
	CASE(SIGNATURE
	     "\x21\x21\0\x24\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\x03\xe8\0\x50",
	     "2001:db8::1 1000"),
	CASE(SIGNATURE "\x20\0\0\0", "-"),
	CASE(SIGNATURE "\x20\x11\0\x0c\1\2\3\4\5\6\7\x08\x03\xe8\0\x50", "-"),
	CASE(SIGNATURE "\x21\0\0\3abc", "-"),
	CASE(SIGNATURE "\x21\x11\0\x0b\1\2\3\4\5\6\7\x08\x03\xe8\0", NULL),
	CASE(SIGNATURE "\x21\x21\0\x0c\1\2\3\4\5\6\7\x08\x03\xe8\0\x50", NULL),
	CASE(SIGNATURE "\x22\x11\0\x0c\1\2\3\4\5\6\7\x08\x03\xe8\0\x50", NULL),
	CASE(SIGNATURE "\x11\x11\0\x0c\1\2\3\4\5\6\7\x08\x03\xe8\0\x50", NULL),
	CASE(SIGNATURE "\x21\x41\0\x0c\1\2\3\4\5\6\7\x08\x03\xe8\0\x50", NULL),
	CASE(SIGNATURE "\x21\x13\0\x0c\1\2\3\4\5\6\7\x08\x03\xe8\0\x50", NULL),
	CASE("\r\n\r\n\0\r\nQUIT\r", NULL),
};

Test(proxy, cases)
{
	struct sockaddr_storage peer;
	char text[64];
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct expected *each = &cases[i];
		uint8_t bytes[512];
		memcpy(bytes, each->bytes, each->size);
		memset(bytes + each->size, 'G', sizeof bytes - each->size); /* what follows does not matter */
		int used = rc_proxy_parse(bytes, each->size, &peer),
		    more = rc_proxy_parse(bytes, each->size + 20, &peer);
		if (!each->peer) {
			cr_expect_eq(used, -1, "case %zu: %d", i, used);
			cr_expect_eq(more, -1, "case %zu with more behind it: %d", i, more);
			continue;
		}
		cr_expect_eq(used, (int)each->size, "case %zu: %d", i, used);
		cr_expect_eq(more, (int)each->size, "case %zu with more behind it: %d", i, more);
		describe(text, &peer);
		cr_expect_str_eq(text, each->peer, "case %zu", i);
		for (size_t size = 0; size < each->size; size++)
			cr_expect_eq(rc_proxy_parse(bytes, size, &peer), 0, "case %zu, the first %zu bytes", i, size);
	}
}

Test(proxy, at_the_bounds)
{
	struct sockaddr_storage peer;
	uint8_t bytes[RC_PROXY_V2_SIZE_MAX + 16];
	/* Version 1: 107 bytes with the line's end, and not one more. */
	for (size_t over = 0; over <= 1; over++) {
		size_t size = RC_PROXY_V1_SIZE_MAX + over;
		memset(bytes, 'x', sizeof bytes);
		memcpy(bytes, "PROXY UNKNOWN ", 14);
		memcpy(bytes + size - 2, "\r\n", 2);
		cr_expect_eq(rc_proxy_parse(bytes, size, &peer), over ? -1 : (int)size);
	}
	cr_expect_eq(rc_proxy_parse(bytes, RC_PROXY_V1_SIZE_MAX - 1, &peer), 0);
	/* Version 2: by its length, judged before the bytes are there. */
	for (size_t over = 0; over <= 1; over++) {
		size_t rest = RC_PROXY_V2_SIZE_MAX - 16 + over;
		memset(bytes, 0, sizeof bytes);
		memcpy(bytes, SIGNATURE "\x21\x11", 14);
		bytes[14] = (uint8_t)(rest >> 8);
		bytes[15] = (uint8_t)rest;
		cr_expect_eq(rc_proxy_parse(bytes, 16, &peer), over ? -1 : 0);
		cr_expect_eq(rc_proxy_parse(bytes, 16 + rest, &peer), over ? -1 : RC_PROXY_V2_SIZE_MAX);
	}
}

/* A peer of IPv4 that came to a socket of IPv6 has two addresses, and one of them only is its own. */
Test(proxy, unmapped)
{
	static const char *const cases[][2] = {
		{ "::ffff:10.0.0.7", "10.0.0.7" },
		{ "::ffff:127.0.0.1", "127.0.0.1" },
		{ "::1", "::1" },
		{ "2001:db8::ffff:10.0.0.7", "2001:db8::ffff:a00:7" },
		{ "::10.0.0.7", "::10.0.0.7" },
		{ "64:ff9b::10.0.0.7", "64:ff9b::a00:7" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct sockaddr_storage peer = { 0 }, plain;
		struct sockaddr_in6 *six = (struct sockaddr_in6 *)&peer;
		char text[INET6_ADDRSTRLEN];
		six->sin6_family = AF_INET6;
		six->sin6_port = htons(4711);
		cr_assert_eq(inet_pton(AF_INET6, cases[i][0], &six->sin6_addr), 1);
		rc_peer_unmap(&plain, &peer);
		rc_peer_name(text, &plain);
		cr_expect_str_eq(text, cases[i][1]);
		cr_expect_eq(((struct sockaddr_in *)&plain)->sin_port, htons(4711));
	}
	struct sockaddr_storage file = { .ss_family = AF_UNIX }, plain;
	rc_peer_unmap(&plain, &file);
	cr_expect_eq(plain.ss_family, AF_UNIX);
}
