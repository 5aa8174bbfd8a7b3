/* SPDX-License-Identifier: MIT
 *
 * latency.c - see latency.h.
 */
#include "latency.h"

#include <stdlib.h>
#include <string.h>

#define WANTED "expected processors, as 2,3 or 2-5,8"

void latency_defaults(struct latency *latency)
{
	struct rc_config config;
	rc_config_init(&config);
	*latency = (struct latency){ .numa_node = LATENCY_ANY_NODE, .round_interval_us = config.round_interval_us };
}

static bool parse_number(const char **text, unsigned long *number)
{
	char *end;
	if (**text < '0' || **text > '9')
		return false;
	*number = strtoul(*text, &end, 10);
	*text = end;
	return *number < UINT32_MAX;
}

const char *latency_parse(struct latency *latency)
{
	const char *text = latency->cpus_text;
	unsigned long first, last;
	latency->cpu_count = 0;
	if (!text)
		return NULL;
	for (;; text++) {
		if (!parse_number(&text, &first))
			return WANTED;
		last = first;
		if (*text == '-' && (text++, !parse_number(&text, &last) || last < first))
			return WANTED;
		if (last - first >= LATENCY_CPUS_MAX - latency->cpu_count)
			return "too many processors";
		for (; first <= last; first++)
			latency->cpus[latency->cpu_count++] = (unsigned)first;
		if (!*text)
			return NULL;
		if (*text != ',')
			return WANTED;
	}
}

bool latency_equal(const struct latency *a, const struct latency *b)
{
	return a->numa_node == b->numa_node && a->priority == b->priority && a->log_prefault == b->log_prefault &&
	       a->log_lock == b->log_lock && a->log_huge_pages == b->log_huge_pages && a->spin_us == b->spin_us &&
	       a->round_interval_us == b->round_interval_us && a->busy_poll == b->busy_poll && a->ring == b->ring &&
	       a->cpu_count == b->cpu_count && memcmp(a->cpus, b->cpus, a->cpu_count * sizeof *a->cpus) == 0;
}

void latency_apply(const struct latency *latency, struct rc_config *config)
{
	config->cpus = latency->cpus;
	config->cpu_count = latency->cpu_count;
	/* A node too large for the library's field is one that no machine has: the library says so. */
	config->numa_node = latency->numa_node == LATENCY_ANY_NODE
	                        ? -1
	                        : (int)(latency->numa_node > INT32_MAX ? INT32_MAX : latency->numa_node);
	config->thread_priority = latency->priority;
	config->log_prefault = latency->log_prefault;
	config->log_lock = latency->log_lock;
	config->log_huge_pages = (enum rc_huge_pages)latency->log_huge_pages;
	config->spin_us = latency->spin_us;
	config->round_interval_us = latency->round_interval_us;
	config->busy_poll = latency->busy_poll;
	config->ring = (enum rc_ring_kind)latency->ring;
}
