/* SPDX-License-Identifier: MIT
 *
 * place.h - where things are on the machine: on which processors a worker's thread runs and how the kernel schedules
 * it, and on which NUMA node and in which kind of pages the log lies.
 */
#ifndef RC_PLACE_H
#define RC_PLACE_H

#include "ringcast.h"

struct rc_server;

/* Whether such a configuration makes sense on this machine. Returns 0, or -EINVAL with *error set. */
int rc_place_check(const struct rc_config *config, struct rc_error *error);

/* As many workers as there are processors for them. */
unsigned rc_place_worker_count(const struct rc_config *config);

/* Puts the calling thread where the worker is to run. Returns 0 or a negative errno, with an error that names the
 * remedy. */
int rc_place_thread(const struct rc_config *config, unsigned worker, struct rc_error *error);

/* Maps `size` bytes for the log, zeroed. *mapped_size is what rc_place_unmap() wants. Returns as above. */
int rc_place_map(const struct rc_config *config, size_t size, void **memory, size_t *mapped_size,
                 struct rc_error *error);
void rc_place_unmap(void *memory, size_t mapped_size);

#endif
