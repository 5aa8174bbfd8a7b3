/* SPDX-License-Identifier: MIT
 *
 * source.c - see source.h.
 */
#include "source.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define BODY_MAX ((size_t)16 << 20)
#define SOCKETS_MAX 64

static int connect_to(const struct top_source *source)
{
	const struct timeval patience = { .tv_sec = 5 };
	char request[1400];
	/* Where the server is, the address says. Any Host will do, and this one may read without a key. */
	int size = snprintf(
	    request, sizeof request, "GET /stats HTTP/1.1\r\nHost: localhost\r\n%s%s%sConnection: close\r\n\r\n",
	    source->key ? "Authorization: Bearer " : "", source->key ? source->key : "", source->key ? "\r\n" : "");
	int fd = socket(source->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	if (!connect(fd, (const struct sockaddr *)&source->address, source->address_size) &&
	    send(fd, request, (size_t)size, MSG_NOSIGNAL) == (ssize_t)size)
		return fd;
	close(fd);
	return -1;
}

/* Reads to the end. Returns all of it, with a zero behind it. */
static char *read_all(int fd)
{
	size_t size = 0, capacity = 16384;
	char *text = malloc(capacity);
	while (text) {
		ssize_t got = recv(fd, text + size, capacity - size - 1, 0);
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

char *top_fetch(const struct top_source *source)
{
	int fd = connect_to(source);
	char *text = fd < 0 ? NULL : read_all(fd);
	if (fd >= 0)
		close(fd);
	char *body = text && !strncmp(text, "HTTP/1.1 200 ", 13) ? strstr(text, "\r\n\r\n") : NULL;
	if (body)
		memmove(text, body + 4, strlen(body + 4) + 1);
	else
		free(text);
	return body ? text : NULL;
}

static int fail(struct top_source *source, const char *words, const char *target)
{
	char name[sizeof source->name];
	snprintf(name, sizeof name, "%.200s: %s", target, words);
	memcpy(source->name, name, sizeof name);
	return -1;
}

static int find_unix(struct top_source *source, const char *path, const char *target)
{
	struct sockaddr_un *address = (struct sockaddr_un *)&source->address;
	size_t size = strcspn(path, ":");
	if (size >= sizeof address->sun_path)
		return fail(source, "the path of a socket is too long", target);
	address->sun_family = AF_UNIX;
	memcpy(address->sun_path, path, size);
	source->address_size = sizeof *address;
	snprintf(source->name, sizeof source->name, "unix:%.*s", (int)size, path);
	return 0;
}

static int find_host(struct top_source *source, const char *target)
{
	const char *scheme = strstr(target, "://"), *begin = scheme ? scheme + 3 : target;
	char host[256];
	snprintf(host, sizeof host, "%.*s", (int)strcspn(begin, "/"), begin);
	char *colon = strrchr(host, ':');
	if (!colon || colon == host)
		return fail(source, "expected ws://HOST:PORT, ws+unix:/SOCKET:, or a process id", target);
	*colon = 0;
	const char *name = host;
	bool bracket = *host == '[' && colon[-1] == ']';
	if (bracket) {
		colon[-1] = 0;
		name = host + 1;
	}
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *found;
	int code = getaddrinfo(name, colon + 1, &hints, &found);
	if (code)
		return fail(source, gai_strerror(code), target);
	memcpy(&source->address, found->ai_addr, found->ai_addrlen);
	source->address_size = found->ai_addrlen;
	freeaddrinfo(found);
	snprintf(source->name, sizeof source->name, bracket ? "[%s]:%s" : "%s:%s", name, colon + 1);
	return 0;
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
	struct sockaddr_in *in = (struct sockaddr_in *)&source->address;
	*in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	in->sin_addr.s_addr = address ? address : htonl(INADDR_LOOPBACK); /* as /proc writes it: in network order */
	source->address_size = sizeof *in;
	char text[INET_ADDRSTRLEN];
	snprintf(source->name, sizeof source->name, "%s:%u", inet_ntop(AF_INET, &in->sin_addr, text, sizeof text),
	         port);
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
	return found ? 0
	             : fail(source,
	                    "there is no such process, or it may not be looked at, or none of its IPv4 sockets answers "
	                    "/stats",
	                    pid);
}

int top_find(struct top_source *source, const char *target)
{
	*source = (struct top_source){ .key = source->key };
	if (*target && target[strspn(target, "0123456789")] == 0)
		return find_process(source, target);
	if (!strncmp(target, "wss://", 6) || !strncmp(target, "https://", 8))
		return fail(source, "top speaks plain HTTP: name a ws:// listener, or the process", target);
	if (!strncmp(target, "ws+unix:", 8))
		return find_unix(source, target + 8, target);
	return find_host(source, target);
}
