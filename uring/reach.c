/* SPDX-License-Identifier: MIT
 *
 * reach.c - see reach.h. It must not know a worker, nor who connects. Invariant: nothing here asks anybody.
 */
#include "reach.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

bool rc_reach_parse(struct rc_address *to, const char *text, uint16_t port)
{
	memset(to, 0, sizeof *to);
	if (inet_pton(AF_INET, text, &to->four.sin_addr) == 1)
		to->any.sa_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &to->six.sin6_addr) == 1)
		to->any.sa_family = AF_INET6;
	else
		return false;
	to->four.sin_port = htons(port); /* as in sockaddr_in6 */
	return true;
}

unsigned rc_reach_known(struct rc_address to[RC_ADDRESSES_MAX], const struct rc_url *url)
{
	if (url->is_unix || rc_reach_parse(&to[0], url->host, url->port))
		return 1;
	/* RFC 6761, section 6.3: localhost is the loopback, whatever a resolver says. */
	if (strcasecmp(url->host, "localhost") != 0)
		return 0;
	rc_reach_parse(&to[0], "127.0.0.1", url->port);
	rc_reach_parse(&to[1], "::1", url->port);
	return 2;
}

socklen_t rc_reach_socket(struct sockaddr_storage *to, const char *path, const struct rc_address *address)
{
	memset(to, 0, sizeof *to);
	if (path) {
		struct sockaddr_un *local = (struct sockaddr_un *)to;
		local->sun_family = AF_UNIX;
		strcpy(local->sun_path, path);
		return sizeof *local;
	}
	memcpy(to, address, sizeof *address);
	return to->ss_family == AF_INET ? sizeof address->four : sizeof address->six;
}

int rc_reach_explain_name(char *to, size_t size, const struct lookup *lookup)
{
	const char *words = lookup->result == EAI_SYSTEM ? strerrordesc_np(lookup->system_error)
	                    : lookup->result             ? gai_strerror(lookup->result)
	                                                 : "it has no address";
	snprintf(to, size, "the name '%s' cannot be found: %s", lookup->name, words ? words : "an unknown error");
	switch (lookup->result) {
	case 0:
	case EAI_NONAME:
	case EAI_NODATA:
	case EAI_ADDRFAMILY:
		return -ENXIO;
	case EAI_AGAIN:
		return -EAGAIN;
	case EAI_MEMORY:
		return -ENOMEM;
	case EAI_SYSTEM:
		return lookup->system_error > 0 ? -lookup->system_error : -EIO;
	default:
		return -EIO;
	}
}

int rc_reach_explain_unasked(char *to, size_t size, const char *name, int result)
{
	if (result == -EBUSY)
		snprintf(to, size, "the name '%s' cannot be looked up: %d others wait already", name, RC_NAMES_MAX);
	else if (result == -ENOMEM)
		snprintf(to, size, "the name '%s' cannot be looked up: out of memory", name);
	else
		snprintf(to, size,
		         "the name '%s' cannot be looked up: no thread for that: %s; raise 'ulimit -u' (systemd: "
		         "TasksMax=)",
		         name, strerror(-result));
	return result == -EBUSY ? -EAGAIN : result;
}

void rc_reach_explain(char *to, size_t size, const struct rc_url *url, const struct rc_address *address,
                      bool of_several, int status)
{
	char text[INET6_ADDRSTRLEN] = "";
	const char *words = strerrordesc_np(-status);
	words = words ? words : "an unknown error";
	if (address->any.sa_family == AF_INET)
		inet_ntop(AF_INET, &address->four.sin_addr, text, sizeof text);
	else
		inet_ntop(AF_INET6, &address->six.sin6_addr, text, sizeof text);
	if (url->is_unix)
		snprintf(to, size, "%s: %s", url->host, words);
	else
		snprintf(to, size, "%s port %u: %s%s", text, (unsigned)url->port, words,
		         of_several ? ", and no other address of the name was reached" : "");
}
