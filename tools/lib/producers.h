/* SPDX-License-Identifier: MIT
 *
 * producers.h - the settings that let other processes publish through shared memory, the same for every command that
 * serves. It must not know what becomes of a message.
 */
#ifndef LIB_PRODUCERS_H
#define LIB_PRODUCERS_H

#include "options.h"
#include "ringcast_ingest.h"

struct producers {
	const char *address; /* null: there are none */
	struct option_list topics, uids;
	unsigned count_max, topics_max;
	size_t ring_size;
};

/* The entries of an option table, for a struct producers. */
#define PRODUCERS_OPTIONS(producers)                                                                                   \
	{ "producers", OPTION_TEXT, &(producers)->address, "unix:/PATH",                                               \
	  "let processes of this machine publish through shared memory\n(see ringcast_producer.h); ?mode=0660 behind " \
	  "the path gives\nthe socket's file another mode than 0600" },                                                \
	    { "producer-uids", OPTION_LIST, &(producers)->uids, "USER",                                                \
	      "who may, of those whom that mode lets in (all; repeatable)" },                                          \
	    { "producer-topics", OPTION_LIST, &(producers)->topics, "TOPIC",                                           \
	      "topics that they may publish to: names, or prefixes and *\n(all; repeatable)" },                        \
	    { "producers-max", OPTION_COUNT, &(producers)->count_max, "N", "producers at a time (64)" },               \
	    { "producer-topics-max", OPTION_COUNT, &(producers)->topics_max, "N", "topics of one producer (1024)" },   \
	{                                                                                                              \
		"producer-ring", OPTION_SIZE, &(producers)->ring_size, "SIZE",                                         \
		    "size of the memory shared with each, a power of two (1m)"                                         \
	}

/* Lets them in, as settings and *rules say: of these, what asks and publishes. Nothing without an address. Returns 0,
 * or a negative errno with *error in words. */
int producers_listen(rc_server *server, const struct producers *producers, const struct rc_producers_options *rules,
                     struct rc_error *error);

#endif
