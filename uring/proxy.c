/* SPDX-License-Identifier: MIT
 *
 * proxy.c - see proxy.h. Invariant: the verdict does not depend on the pieces in which the bytes came.
 */
#include "proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#define V2_HEAD_SIZE 16

static const uint8_t signature[12] = { 0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A };

/* The next word of a line of words, which single spaces separate; null at its end, or for an empty word. */
static char *next_word(char **at)
{
	char *word = *at;
	if (!word || !*word || *word == ' ')
		return NULL;
	char *space = strchr(word, ' ');
	*at = space ? space + 1 : NULL;
	if (space)
		*space = 0;
	return word;
}

/* A decimal number up to 65535, without a sign or leading zeros; -1 when it is none. */
static int parse_port(const char *text)
{
	unsigned value = 0;
	size_t size = text ? strlen(text) : 0;
	if (!size || size > 5 || strspn(text, "0123456789") != size || (size > 1 && *text == '0'))
		return -1;
	for (; *text; text++)
		value = value * 10 + (unsigned)(*text - '0');
	return value > 65535 ? -1 : (int)value;
}

static int parse_words(char *line, struct sockaddr_storage *peer)
{
	struct sockaddr_in *four = (struct sockaddr_in *)peer;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)peer;
	struct in6_addr ignored;
	char *at = line;
	const char *family = next_word(&at);
	if (family && strcmp(family, "UNKNOWN") == 0)
		return 0; /* whatever follows says nothing */
	const char *source = next_word(&at), *target = next_word(&at), *source_port = next_word(&at);
	const char *target_port = next_word(&at);
	int port = parse_port(source_port);
	if (!family || !source || !target || at || port < 0 || parse_port(target_port) < 0)
		return -1;
	if (strcmp(family, "TCP4") == 0) {
		if (inet_pton(AF_INET, source, &four->sin_addr) != 1 || inet_pton(AF_INET, target, &ignored) != 1)
			return -1;
		four->sin_family = AF_INET;
		four->sin_port = htons((uint16_t)port);
		return 0;
	}
	if (strcmp(family, "TCP6") != 0 || inet_pton(AF_INET6, source, &six->sin6_addr) != 1 ||
	    inet_pton(AF_INET6, target, &ignored) != 1)
		return -1;
	six->sin6_family = AF_INET6;
	six->sin6_port = htons((uint16_t)port);
	return 0;
}

static int parse_v1(const uint8_t *bytes, size_t size, struct sockaddr_storage *peer)
{
	char line[RC_PROXY_V1_SIZE_MAX + 1];
	size_t looked = size < RC_PROXY_V1_SIZE_MAX ? size : RC_PROXY_V1_SIZE_MAX;
	const uint8_t *end = memchr(bytes, '\n', looked);
	for (const uint8_t *byte = bytes; byte < (end ? end : bytes + looked); byte++)
		if (*byte != '\r' && (*byte < ' ' || *byte > '~'))
			return -1;
	if (!end)
		return looked < RC_PROXY_V1_SIZE_MAX ? 0 : -1;
	size_t line_size = (size_t)(end - bytes);
	if (end[-1] != '\r' || memchr(bytes, '\r', line_size - 1))
		return -1;
	memcpy(line, bytes, line_size - 1);
	line[line_size - 1] = 0;
	memset(peer, 0, sizeof *peer);
	return parse_words(line + 6, peer) < 0 ? -1 : (int)line_size + 1;
}

static int parse_v2(const uint8_t *bytes, size_t size, struct sockaddr_storage *peer)
{
	struct sockaddr_in *four = (struct sockaddr_in *)peer;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)peer;
	if (size >= 13 && ((bytes[12] & 0xF0) != 0x20 || (bytes[12] & 0x0F) > 1))
		return -1;
	if (size >= 14 && (bytes[13] >> 4 > 3 || (bytes[13] & 0x0F) > 2))
		return -1;
	if (size < V2_HEAD_SIZE)
		return 0;
	size_t rest = (size_t)bytes[14] << 8 | bytes[15], total = V2_HEAD_SIZE + rest;
	unsigned family = bytes[13] >> 4;
	if (total > RC_PROXY_V2_SIZE_MAX)
		return -1;
	static const size_t needed[] = { 0, 12, 36, 216 }; /* of addresses, by family */
	bool local = (bytes[12] & 0x0F) == 0;
	if (!local && rest < needed[family])
		return -1;
	if (size < total)
		return 0;
	memset(peer, 0, sizeof *peer);
	const uint8_t *at = bytes + V2_HEAD_SIZE;
	if (local || family == 0)
		return (int)total;
	if (family == 1) {
		four->sin_family = AF_INET;
		memcpy(&four->sin_addr, at, 4);
		memcpy(&four->sin_port, at + 8, 2);
	} else if (family == 2) {
		six->sin6_family = AF_INET6;
		memcpy(&six->sin6_addr, at, 16);
		memcpy(&six->sin6_port, at + 32, 2);
	} else {
		peer->ss_family = AF_UNIX;
	}
	return (int)total;
}

int rc_proxy_parse(const uint8_t *bytes, size_t size, struct sockaddr_storage *peer)
{
	static const char v1[] = "PROXY ";
	size_t v1_size = sizeof v1 - 1;
	if (!size)
		return 0;
	if (bytes[0] == 'P') {
		if (memcmp(bytes, v1, size < v1_size ? size : v1_size) != 0)
			return -1;
		return size < v1_size ? 0 : parse_v1(bytes, size, peer);
	}
	if (memcmp(bytes, signature, size < sizeof signature ? size : sizeof signature) != 0)
		return -1;
	return size < sizeof signature ? 0 : parse_v2(bytes, size, peer);
}

void rc_peer_name(char text[INET6_ADDRSTRLEN], const struct sockaddr_storage *peer)
{
	strcpy(text, peer->ss_family == AF_UNIX ? "unix" : "unknown");
	if (peer->ss_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)peer)->sin_addr, text, INET6_ADDRSTRLEN);
	else if (peer->ss_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)peer)->sin6_addr, text, INET6_ADDRSTRLEN);
}

void rc_peer_unmap(struct sockaddr_storage *plain, const struct sockaddr_storage *peer)
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)peer;
	struct sockaddr_in *four = (struct sockaddr_in *)plain;
	*plain = *peer;
	if (peer->ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
		return;
	memset(plain, 0, sizeof *plain);
	four->sin_family = AF_INET;
	four->sin_port = six->sin6_port;
	memcpy(&four->sin_addr, &six->sin6_addr.s6_addr[12], sizeof four->sin_addr);
}
