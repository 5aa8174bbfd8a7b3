/* SPDX-License-Identifier: MIT
 *
 * reach.h - where a URL leads: addresses that need no asking, an address as the kernel wants it, and the words for what
 * could not be reached.
 */
#ifndef RC_REACH_H
#define RC_REACH_H

#include "handshake.h"
#include "names.h"

/* An IPv4 or IPv6 address in figures; false for text that is none. */
bool rc_reach_parse(struct rc_address *to, const char *text, uint16_t port);

/* The addresses that are known without asking: of figures, of a Unix socket (one, which says nothing) and of localhost.
 * Returns how many; 0: somebody must be asked. */
unsigned rc_reach_known(struct rc_address to[RC_ADDRESSES_MAX], const struct rc_url *url);

/* The socket's address, and its size. The path is of a Unix socket, and fits; or null. */
socklen_t rc_reach_socket(struct sockaddr_storage *to, const char *path, const struct rc_address *address);

/* Why an answer brought no address, in words and as the negative errno that is returned. */
int rc_reach_explain_name(char *to, size_t size, const struct lookup *lookup);

/* Why nobody could be asked, by what rc_names_ask() returned; likewise. */
int rc_reach_explain_unasked(char *to, size_t size, const char *name, int result);

/* Why a connect failed. */
void rc_reach_explain(char *to, size_t size, const struct rc_url *url, const struct rc_address *address,
                      bool of_several, int status);

#endif
