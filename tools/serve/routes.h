/* SPDX-License-Identifier: MIT
 *
 * routes.h - what the server of `ringcast serve` answers to which path, as rc_handlers: /topic, /sse, /poll, /publish,
 * /relay, /echo, the demonstration's page, and the HTTP answers of http.h.
 */
#ifndef SERVE_ROUTES_H
#define SERVE_ROUTES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "backplane/backplane.h"
#include "lib/access_log.h"
#include "lib/address.h"
#include "lib/admin.h"
#include "lib/keys.h"
#include "lib/local.h"
#include "lib/options.h"
#include "poll.h"
#include "ringcast.h"
#include "spill.h"

struct serve_routes {
	rc_server *server; /* set between rc_server_new() and the start */
	bool echo;
	bool relay;
	bool demo;
	struct local_listeners listeners;
	struct networks proxies; /* whose word for a client's address is taken */
	/* Who may read the figures: without any key, this machine; or whoever reaches a listener for operators. */
	_Atomic(struct keys *) operators;
	const char *operator_key_file;
	bool admin_open;
	struct admin *admin;
	struct access_log access;
	/* Who may publish: this machine, unless --publish-from names others. */
	bool publish_any;
	bool publish_local;
	bool publish_certified;
	struct networks publish_from;
	struct backplane *backplane; /* null: this is the only node */
	struct serve_spill spill;
	struct serve_polls polls;
};

/* Takes the words of --publish-from: addresses, `local`, `certified`, `any`, `none`. Returns null, or the first word
 * that is not one of them. */
const char *serve_routes_publish_from(struct serve_routes *routes, const struct option_list *words);

/* Reads the file of operators' keys, if there is one. Returns the keys that were in use before, to be freed by
 * serve_routes_free_keys() once no callback has them, and sets *read to whether all is well; if not, nothing changes
 * and why was said. */
struct keys *serve_routes_read_keys(struct serve_routes *routes, bool *read);
void serve_routes_free_keys(struct keys *keys);

/* The handlers, with `routes` as their context: it must outlive the server. */
struct rc_handlers serve_routes_handlers(struct serve_routes *routes);

#endif
