/* SPDX-License-Identifier: MIT
 *
 * window.h - the message ids that came lately from one user, so that a message that is sent again is not delivered
 * again. A ring of hashes: the oldest makes room, and one older than the window's age does not count. Pure.
 */
#ifndef APP_WINDOW_H
#define APP_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#define APP_WINDOW_COUNT 256

struct app_window {
	uint64_t hashes[APP_WINDOW_COUNT];
	uint64_t seen_ns[APP_WINDOW_COUNT]; /* 0: never */
	uint32_t next;
};

static inline bool app_window_has(const struct app_window *window, uint64_t hash, uint64_t now_ns, uint64_t age_ns)
{
	for (uint32_t i = 0; i < APP_WINDOW_COUNT; i++)
		if (window->seen_ns[i] && window->hashes[i] == hash && now_ns - window->seen_ns[i] < age_ns)
			return true;
	return false;
}

/* Remembers a hash. Returns false when it is one of the window's already. */
static inline bool app_window_add(struct app_window *window, uint64_t hash, uint64_t now_ns, uint64_t age_ns)
{
	if (app_window_has(window, hash, now_ns, age_ns))
		return false;
	window->hashes[window->next] = hash;
	window->seen_ns[window->next] = now_ns;
	window->next = (window->next + 1) % APP_WINDOW_COUNT;
	return true;
}

/* Forgets a hash that was added: what it stood for was refused, and may come again. */
static inline void app_window_remove(struct app_window *window, uint64_t hash)
{
	for (uint32_t i = 0; i < APP_WINDOW_COUNT; i++)
		if (window->hashes[i] == hash)
			window->seen_ns[i] = 0;
}

#endif
