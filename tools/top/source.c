/* SPDX-License-Identifier: MIT
 *
 * source.c - see source.h.
 */
#include "source.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/environment.h"

#define BODY_MAX ((size_t)16 << 20)
#define SOCKETS_MAX 64
#define PATIENCE_SECONDS 5

static bool ask(struct top_source *source, struct stream *stream)
{
	const struct stream_limits limits = { .seconds = PATIENCE_SECONDS };
	char request[ENVIRONMENT_TOKEN_MAX + 256];
	/* Where the server is, the address says. Any Host will do, and this one may read without a key. */
	int size = snprintf(
	    request, sizeof request, "GET /stats HTTP/1.1\r\nHost: localhost\r\n%s%s%sConnection: close\r\n\r\n",
	    source->key ? "Authorization: Bearer " : "", source->key ? source->key : "", source->key ? "\r\n" : "");
	if (size >= (int)sizeof request) {
		snprintf(source->words, sizeof source->words, "the key is too long");
		return false;
	}
	if (!stream_open(stream, &source->place, source->tls, &limits, source->words))
		return false;
	if (stream_write(stream, request, (size_t)size))
		return true;
	stream_close(stream);
	return false;
}

/* Reads to the end. Returns all of it, with a zero behind it. */
static char *read_all(struct stream *stream)
{
	size_t size = 0, capacity = 16384;
	char *text = malloc(capacity);
	while (text) {
		ssize_t got = stream_read(stream, text + size, capacity - size - 1);
		if (got <= 0) {
			text[size] = 0;
			return text;
		}
		size += (size_t)got;
		if (size + 1 < capacity)
			continue;
		char *more = capacity < BODY_MAX ? realloc(text, capacity *= 2) : NULL;
		if (!more)
			free(text);
		text = more;
	}
	return NULL;
}

char *top_fetch(struct top_source *source)
{
	struct stream stream;
	snprintf(source->words, sizeof source->words, "it hung up, or said nothing for %d s", PATIENCE_SECONDS);
	if (!ask(source, &stream))
		return NULL;
	char *text = read_all(&stream);
	stream_close(&stream);
	int status = text && !strncmp(text, "HTTP/1.1 ", 9) ? atoi(text + 9) : 0;
	char *body = status == 200 ? strstr(text, "\r\n\r\n") : NULL;
	if (body) {
		memmove(text, body + 4, strlen(body + 4) + 1);
		return text;
	}
	if (status == 401 || status == 403)
		snprintf(source->words, sizeof source->words,
		         "HTTP status %d: it shows its figures to whoever has the operator's key (--key-file, or "
		         "RINGCAST_TOKEN)",
		         status);
	else if (status)
		snprintf(source->words, sizeof source->words, "HTTP status %d", status);
	free(text);
	return NULL;
}

/* ---- a process: its listening sockets ---- */

static size_t list_sockets(const char *pid, uint64_t inodes[SOCKETS_MAX])
{
	char path[300];
	size_t count = 0;
	snprintf(path, sizeof path, "/proc/%s/fd", pid);
	DIR *all = opendir(path);
	for (struct dirent *entry; all && count < SOCKETS_MAX && (entry = readdir(all));) {
		char link[64] = "";
		if (readlinkat(dirfd(all), entry->d_name, link, sizeof link - 1) > 0 &&
		    sscanf(link, "socket:[%" SCNu64 "]", &inodes[count]) == 1)
			count++;
	}
	if (all)
		closedir(all);
	return count;
}

/* One line of /proc/PID/net/tcp: whether it listens, is one of these, and answers as a server of ours does. */
static bool try_line(struct top_source *source, const char *line, const uint64_t *inodes, size_t count)
{
	unsigned address, port, state;
	uint64_t inode;
	if (sscanf(line, " %*u: %8x:%4x %*s %x %*s %*s %*s %*u %*u %" SCNu64, &address, &port, &state, &inode) != 4 ||
	    state != 10)
		return false;
	bool ours = false;
	for (size_t index = 0; index < count; index++)
		ours |= inodes[index] == inode;
	if (!ours)
		return false;
	struct stream_place *place = &source->place;
	struct sockaddr_in *in = (struct sockaddr_in *)&place->address;
	*place = (struct stream_place){ .address_size = sizeof *in };
	*in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	in->sin_addr.s_addr = address ? address : htonl(INADDR_LOOPBACK); /* as /proc writes it: in network order */
	char text[INET_ADDRSTRLEN];
	snprintf(place->name, sizeof place->name, "%s:%u", inet_ntop(AF_INET, &in->sin_addr, text, sizeof text), port);
	char *answer = top_fetch(source);
	bool found = answer && strstr(answer, "\"workers\":[");
	free(answer);
	return found;
}

static int find_process(struct top_source *source, const char *pid)
{
	static uint64_t inodes[SOCKETS_MAX];
	char path[300], line[512];
	bool found = false;
	size_t count = list_sockets(pid, inodes);
	snprintf(path, sizeof path, "/proc/%s/net/tcp", pid);
	FILE *file = fopen(path, "re");
	while (file && !found && fgets(line, sizeof line, file))
		found = try_line(source, line, inodes, count);
	if (file)
		fclose(file);
	if (!found)
		snprintf(
		    source->words, sizeof source->words,
		    "there is no such process, or it may not be looked at, or none of its IPv4 sockets answers /stats "
		    "without TLS");
	return found ? 0 : -1;
}

int top_find(struct top_source *source, const char *target)
{
	if (*target && target[strspn(target, "0123456789")] == 0)
		return find_process(source, target);
	return stream_find(&source->place, target, source->words) ? 0 : -1;
}
