/* SPDX-License-Identifier: MIT
 *
 * listen.c - addresses as users write them, and listening sockets. It must not know what is accepted from them.
 * Accepted sockets inherit the options set here, which spares a system call for each connection.
 */
#include "worker.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int parse_unix(struct listener *listener, const char *path, struct rc_error *error)
{
	struct sockaddr_un *address = (struct sockaddr_un *)&listener->socket_address;
	if (!*path || strlen(path) >= sizeof address->sun_path)
		return rc_fail(error, -EINVAL, "'%s': the path of a Unix socket has 1 to %zu characters",
		               listener->address, sizeof address->sun_path - 1);
	address->sun_family = AF_UNIX;
	strcpy(address->sun_path, path);
	listener->socket_address_size = sizeof *address;
	return 0;
}

static bool parse_port(const char *text, uint16_t *port)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || value > 65535)
		return false;
	*port = htons((uint16_t)value);
	return true;
}

/* "fd:3", a socket that listens already. It is asked for its address, so that messages can name it. */
static int parse_inherited(struct listener *listener, const char *text, struct rc_error *error)
{
	char *end;
	long fd = strtol(text, &end, 10);
	int listens = 0;
	socklen_t size = sizeof listens;
	if (*text < '0' || *text > '9' || *end || fd > INT_MAX ||
	    getsockopt((int)fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0 || !listens)
		return rc_fail(error, -EINVAL, "'%s' does not name a stream socket that listens", listener->address);
	listener->inherited = (int)fd;
	listener->socket_address_size = sizeof listener->socket_address;
	getsockname((int)fd, (struct sockaddr *)&listener->socket_address, &listener->socket_address_size);
	return 0;
}

/* Takes the options that may follow an address, and cuts them off: NAME=VALUE, joined by '&'. */
static int parse_options(struct listener *listener, char *text, struct rc_error *error)
{
	struct rc_deflate_options *deflate = &listener->deflate;
	char *query = strchr(text, '?'), *rest = NULL;
	if (!query)
		return 0;
	*query = 0;
	for (char *word = strtok_r(query + 1, "&", &rest); word; word = strtok_r(NULL, "&", &rest)) {
		unsigned bits, size;
		char end;
		if (strcmp(word, "deflate=on") == 0 || strcmp(word, "deflate=off") == 0)
			deflate->on = word[9] == 'n';
		else if (strcmp(word, "deflate-takeover=on") == 0 || strcmp(word, "deflate-takeover=off") == 0)
			deflate->client_takeover = word[18] == 'n';
		else if (sscanf(word, "deflate-bits=%2u%c", &bits, &end) == 1 && bits >= 8 && bits <= 15)
			deflate->bits = bits;
		else if (sscanf(word, "deflate-min=%9u%c", &size, &end) == 1)
			deflate->size_min = size;
		else
			return rc_fail(error, -EINVAL,
			               "'%s': '%s' is none of deflate=on|off, deflate-bits=8..15, deflate-min=BYTES, "
			               "deflate-takeover=on|off",
			               listener->address, word);
	}
	return 0;
}

/* A host that is no address: what its user may have meant. */
static int host_error(const struct listener *listener, const char *host, struct rc_error *error)
{
	if (strchr(host, ':') && !host[strspn(host, "0123456789abcdefABCDEF:.")])
		return rc_fail(error, -EINVAL, "'%s': an IPv6 address stands in brackets, as in [::1]:8080",
		               listener->address);
	if (!*host || strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") < strlen(host))
		return rc_fail(error, -EINVAL,
		               "'%s' is not an address to listen on: write 127.0.0.1:8080, [::1]:8080, :8080 for all "
		               "addresses, or unix:/PATH",
		               listener->address);
	return rc_fail(error, -EINVAL,
	               "'%s': names are not looked up here: write the address of %s on this machine (`getent ahosts "
	               "%s` shows it), :PORT for all addresses, or localhost:PORT",
	               listener->address, host, host);
}

/* "127.0.0.1:8080", "[::1]:8080", "localhost:8080"; ":8080" and "*:8080" for all addresses, of IPv6 and IPv4. */
static int parse_internet(struct listener *listener, const char *text, struct rc_error *error)
{
	struct sockaddr_in *four = (struct sockaddr_in *)&listener->socket_address;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&listener->socket_address;
	char host[256];
	const char *colon = strrchr(text, ':');
	size_t size = colon ? (size_t)(colon - text) : 0;
	uint16_t port;
	if (!colon)
		return rc_fail(error, -EINVAL,
		               "'%s' is not an address to listen on: it has no port; write 127.0.0.1:8080, [::1]:8080, "
		               ":8080 for all addresses, or unix:/PATH",
		               listener->address);
	if (!parse_port(colon + 1, &port))
		return rc_fail(error, -EINVAL, "'%s': behind the last colon stands a port, 0 to 65535",
		               listener->address);
	size = RC_MIN(size, sizeof host - 1);
	memcpy(host, text, size);
	host[size] = 0;
	listener->everywhere = !*host || strcmp(host, "*") == 0;
	if (strcmp(host, "localhost") == 0)
		strcpy(host, "127.0.0.1");
	bool bracketed = host[0] == '[' && host[size - 1] == ']';
	if (bracketed)
		host[size - 1] = 0;
	if (listener->everywhere || (bracketed && inet_pton(AF_INET6, host + 1, &six->sin6_addr) == 1)) {
		six->sin6_family = AF_INET6;
		six->sin6_port = port;
		listener->socket_address_size = sizeof *six;
		return 0;
	}
	if (bracketed || inet_pton(AF_INET, host, &four->sin_addr) != 1)
		return host_error(listener, host, error);
	four->sin_family = AF_INET;
	four->sin_port = port;
	listener->socket_address_size = sizeof *four;
	return 0;
}

int rc_listen_parse(struct listener *listener, const char *address, const struct rc_deflate_options *deflate,
                    struct rc_error *error)
{
	char buffer[sizeof listener->address];
	const char *text = buffer;
	memset(listener, 0, sizeof *listener);
	snprintf(listener->address, sizeof listener->address, "%s", address);
	snprintf(buffer, sizeof buffer, "%s", address);
	listener->deflate = *deflate;
	int result = parse_options(listener, buffer, error);
	if (result < 0)
		return result;
	listener->inherited = -1;
	if (strncmp(text, "proxy+", 6) == 0) {
		listener->proxied = true;
		text += 6;
	}
	listener->secure = strncmp(text, "wss://", 6) == 0;
	if (listener->secure)
		text += 6;
	else if (strncmp(text, "ws://", 5) == 0)
		text += 5;
	if (strncmp(text, "unix:", 5) == 0)
		return parse_unix(listener, text + 5, error);
	if (strncmp(text, "fd:", 3) == 0)
		return parse_inherited(listener, text + 3, error);
	return parse_internet(listener, text, error);
}

/* A listener for all addresses has one socket, to which IPv4 peers come in mapped addresses. */
static void set_six_only(int fd, const struct listener *listener)
{
	int only = !listener->everywhere;
	if (listener->socket_address.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
}

static int set_options(int fd, const struct listener *listener, const struct rc_config *config, struct rc_error *error)
{
	int on = 1, lowat = (int)config->notsent_lowat_size;
	if (listener->socket_address.ss_family == AF_UNIX)
		return 0;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (lowat)
		setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof lowat);
	set_six_only(fd, listener);
	if (config->congestion &&
	    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, config->congestion, (socklen_t)strlen(config->congestion)) < 0)
		return rc_fail(error, -errno,
		               "congestion control '%s' is not available: see the sysctl "
		               "net.ipv4.tcp_available_congestion_control",
		               config->congestion);
	return 0;
}

static int bind_error(const struct listener *listener, int code, struct rc_error *error)
{
	const char *remedy = code == EADDRINUSE ? "something else listens there: stop it or choose another port"
	                     : code == EACCES
	                         ? "a port below 1024 needs CAP_NET_BIND_SERVICE, a path needs write permission"
	                     : code == EADDRNOTAVAIL ? "no interface here has this address"
	                     : code == ENOENT        ? "its directory does not exist"
	                     : code == EMFILE        ? "raise the descriptor limit: ulimit -n"
	                                             : "check the address";
	return rc_fail(error, -code, "cannot listen on %s: %s (%s)", listener->address, strerror(code), remedy);
}

void rc_listen_remove_stale(const struct sockaddr_un *address, int type)
{
	struct stat status;
	if (lstat(address->sun_path, &status) < 0 || !S_ISSOCK(status.st_mode))
		return;
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 && errno == ECONNREFUSED)
		unlink(address->sun_path);
	close(fd);
}

/* With SO_REUSEPORT a second server would silently share the port; a bind without it finds out. */
static int port_is_taken(const struct listener *listener)
{
	int fd = socket(listener->socket_address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, code = 0;
	if (fd < 0)
		return errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	set_six_only(fd, listener);
	if (bind(fd, (const struct sockaddr *)&listener->socket_address, listener->socket_address_size) < 0)
		code = errno;
	close(fd);
	return code;
}

/* A kernel without IPv6 has all addresses in 0.0.0.0. */
static void use_four(struct listener *listener)
{
	in_port_t port = ((const struct sockaddr_in6 *)&listener->socket_address)->sin6_port;
	struct sockaddr_in *four = (struct sockaddr_in *)&listener->socket_address;
	memset(four, 0, sizeof listener->socket_address);
	four->sin_family = AF_INET;
	four->sin_port = port;
	listener->socket_address_size = sizeof *four;
}

/* What a bind to a path would say, without leaving one behind. */
static int try_path(const struct listener *listener, struct rc_error *error)
{
	const struct sockaddr_un *address = (const struct sockaddr_un *)&listener->socket_address;
	char folder[sizeof address->sun_path];
	struct stat status;
	snprintf(folder, sizeof folder, "%s", address->sun_path);
	char *slash = strrchr(folder, '/');
	if (slash)
		slash[slash == folder] = 0;
	if (access(slash ? folder : ".", W_OK | X_OK) < 0)
		return bind_error(listener, errno, error);
	if (lstat(address->sun_path, &status) < 0)
		return 0;
	/* A socket that nobody listens at any more makes room at the start. */
	int fd = S_ISSOCK(status.st_mode) ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
	bool stale = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 &&
	             errno == ECONNREFUSED;
	if (fd >= 0)
		close(fd);
	return stale ? 0 : bind_error(listener, EADDRINUSE, error);
}

int rc_listen_check(const rc_server *server, const char *address, struct rc_error *error)
{
	struct listener listener;
	int result = rc_listen_parse(&listener, address, &server->config.deflate, error);
	if (result < 0 || listener.inherited >= 0)
		return result;
	if (listener.socket_address.ss_family == AF_UNIX)
		return try_path(&listener, error);
	int taken = port_is_taken(&listener);
	if (listener.everywhere && (taken == EAFNOSUPPORT || taken == EADDRNOTAVAIL)) {
		use_four(&listener);
		taken = port_is_taken(&listener);
	}
	if (taken)
		return bind_error(&listener, taken, error);
	int fd = socket(listener.socket_address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return rc_fail(error, -errno, "cannot make a socket for %s: %s", listener.address, strerror(errno));
	result = set_options(fd, &listener, &server->config, error);
	close(fd);
	return result;
}

int rc_listen_open(struct listener *listener, const struct rc_config *config, bool first, struct rc_error *error)
{
	int family = listener->socket_address.ss_family, on = 1;
	if (listener->inherited >= 0) {
		/* Each worker has a descriptor of its own of the one socket, and whoever made it chose its options. */
		int inherited = fcntl(listener->inherited, F_DUPFD_CLOEXEC, 0);
		if (inherited < 0)
			return rc_fail(error, -errno, "descriptor %d: %s", listener->inherited, strerror(errno));
		int result = set_options(inherited, listener, config, error);
		if (result == 0)
			return inherited;
		close(inherited);
		return result;
	}
	if (first && family == AF_UNIX)
		rc_listen_remove_stale((const struct sockaddr_un *)&listener->socket_address, SOCK_STREAM);
	int taken = first && family != AF_UNIX ? port_is_taken(listener) : 0;
	if (listener->everywhere && family == AF_INET6 && (taken == EAFNOSUPPORT || taken == EADDRNOTAVAIL)) {
		use_four(listener);
		family = AF_INET;
		taken = port_is_taken(listener);
	}
	if (taken)
		return bind_error(listener, taken, error);
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return rc_fail(error, -errno, "cannot make a socket for %s: %s%s", listener->address, strerror(errno),
		               errno == EMFILE ? ": raise the descriptor limit (ulimit -n)" : "");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (family != AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
	int result = set_options(fd, listener, config, error);
	if (result == 0 &&
	    bind(fd, (const struct sockaddr *)&listener->socket_address, listener->socket_address_size) < 0)
		result = bind_error(listener, errno, error);
	if (result == 0 && listen(fd, RC_BACKLOG) < 0)
		result = bind_error(listener, errno, error);
	if (result < 0) {
		close(fd);
		return result;
	}
	/* The kernel chose the port, if we left it to it: the other workers take the same. */
	socklen_t size = sizeof listener->socket_address;
	if (family != AF_UNIX)
		getsockname(fd, (struct sockaddr *)&listener->socket_address, &size);
	return fd;
}
