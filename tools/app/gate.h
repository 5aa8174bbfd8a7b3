/* SPDX-License-Identifier: MIT
 *
 * gate.h - how often an address may do something, as to open a connection. A fixed table: an address that is not in it
 * takes the place of the one that has been quiet for longest among a few, so that no number of addresses costs memory.
 * Any thread.
 */
#ifndef APP_GATE_H
#define APP_GATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct app_gate {
	pthread_mutex_t lock;
	uint64_t seed; /* of the places, which nobody outside is to know */
	struct app_gate_place *places;
};

bool app_gate_init(struct app_gate *gate, uint64_t seed);
void app_gate_destroy(struct app_gate *gate);

/* Counts one more from this address. False: too many. A rate of 0 is no limit. */
bool app_gate_pass(struct app_gate *gate, const char *address, unsigned per_second, uint64_t now_ns);

/* The same for any bucket: takes from that of an address, or says whether it holds as much. The rate is not 0. */
bool app_gate_take(struct app_gate *gate, const char *address, uint32_t cost, uint32_t rate, uint32_t burst,
                   uint64_t now_ns);
bool app_gate_holds(struct app_gate *gate, const char *address, uint32_t cost, uint32_t rate, uint32_t burst,
                    uint64_t now_ns);

#endif
