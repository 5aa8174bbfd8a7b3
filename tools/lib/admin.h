/* SPDX-License-Identifier: MIT
 *
 * admin.h - what operators are answered, the same by every command that serves: /metrics, /stats, /profile, /healthz,
 * /readyz. And the listeners that are for them alone. Who may ask is the command's to say.
 *
 * Invariant: where there is a listener for operators, the figures are read there and nowhere else. Health is told
 * everywhere: whoever hands clients on asks where they go.
 */
#ifndef LIB_ADMIN_H
#define LIB_ADMIN_H

#include <stdbool.h>
#include <stdint.h>

#include "metrics.h"
#include "options.h"
#include "ringcast.h"

/* What the rows fill in. */
struct admin_settings {
	struct option_list listen;
	bool open;
};
/* The entries of an option table. */
#define ADMIN_OPTIONS(admin)                                                                                           \
	{ "admin-listen", OPTION_LIST, &(admin)->listen, "ADDR:PORT",                                                  \
	  "answer operators here and nowhere else (repeatable): /metrics,\n/stats, /profile, and what else a key "     \
	  "opens; also unix:/PATH\nand wss://; beyond loopback it needs a key" },                                      \
	{                                                                                                              \
		"admin-open", OPTION_FLAG, &(admin)->open, NULL,                                                       \
		    "let everybody who reaches --admin-listen read the\nfigures, without a key"                        \
	}

/* The first of these listeners that others reach, though it has no key and nobody said that it may be without; or -1.
 */
int admin_too_open(const struct admin_settings *settings, bool has_key);
#define ADMIN_OPEN_WORDS                                                                                               \
	"can be reached from other machines, and there is no key for operators: name one (operator-key-file), listen " \
	"on "                                                                                                          \
	"127.0.0.1 or unix:/PATH, or say that it is meant so (admin-open)"

struct admin {
	struct metrics metrics;
	unsigned first; /* listeners from this one on are for operators; UINT32_MAX: there are none */
};

/* Whether the request came by a listener for operators; and whether what it asks for is answered there alone. */
static inline bool admin_is_here(const struct admin *admin, const rc_request *request)
{
	return rc_request_listener(request) >= admin->first;
}
static inline bool admin_is_elsewhere(const struct admin *admin, const rc_request *request)
{
	return admin->first != UINT32_MAX && rc_request_listener(request) < admin->first;
}

/* Whether it is one of those paths. */
bool admin_has(const char *path);
/* Answers a request for one of those paths; `why_not` is null for who may read figures, and otherwise what to tell him.
 * Returns 0, an HTTP status to refuse with, or -1: the path is another's. */
int admin_answer(struct admin *admin, rc_request *request, const char *why_not);

#endif
