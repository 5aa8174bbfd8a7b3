/* SPDX-License-Identifier: MIT
 *
 * returns.h - who went a short time ago, so that one who comes back is told from one who is new. A fixed table of
 * hashes, as in gate.h: no number of names costs memory. Any thread.
 */
#ifndef APP_RETURNS_H
#define APP_RETURNS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define APP_RETURNS_WINDOW_NS UINT64_C(300000000000)

/* What a name is of: a user's and a client's are told apart. */
enum app_returning { APP_RETURNING_USER, APP_RETURNING_CLIENT };

struct app_returns {
	pthread_mutex_t lock;
	uint64_t seed;
	struct app_returns_place *places;
};

bool app_returns_init(struct app_returns *returns, uint64_t seed);
void app_returns_destroy(struct app_returns *returns);

/* It went. */
void app_returns_left(struct app_returns *returns, enum app_returning kind, const char *name, size_t size,
                      uint64_t now_ns);
/* Whether it went within the window. It counts once for each time it went. */
bool app_returns_came(struct app_returns *returns, enum app_returning kind, const char *name, size_t size,
                      uint64_t now_ns);

#endif
