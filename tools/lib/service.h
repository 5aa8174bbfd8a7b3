/* SPDX-License-Identifier: MIT
 *
 * service.h - what a command that serves tells its operator and the service manager about itself: started, reloading,
 * ending. Each part of a reload is told by itself, and nothing is called taken that was not.
 */
#ifndef LIB_SERVICE_H
#define LIB_SERVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct service {
	_Atomic uint64_t taken, refused; /* reloads of which each part was taken, and others */
	_Atomic int64_t reloaded_s;      /* when the last one was, in seconds since 1970; 0: never */
	_Atomic bool last_refused;
	/* Within a reload. */
	unsigned parts_taken, parts_refused;
	char words[512];
};

/* READY, with a status in words. */
void service_started(const char *format, ...) __attribute__((format(printf, 1, 2)));

void service_reload_begin(struct service *service);
/* A part that was taken or refused, and why; logged at once. */
void service_reload_part(struct service *service, bool taken, const char *part, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* What was not refused and yet is not as it was asked for; logged at once. */
void service_reload_note(struct service *service, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Says what became of the whole. */
void service_reload_end(struct service *service);

/* STOPPING, with a status in words. */
void service_ending(const char *words);

#endif
