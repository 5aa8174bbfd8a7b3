/* SPDX-License-Identifier: MIT
 *
 * options.h - the flags of a backplane, for the tables of every command that has one.
 */
#ifndef BACKPLANE_OPTIONS_H
#define BACKPLANE_OPTIONS_H

#include "backplane.h"

#define BACKPLANE_DEFAULTS                                                                                             \
	{                                                                                                              \
		.queue_max = (size_t)16 << 20, .confirm_ms = 10000, .start_ms = 5000                                   \
	}
/* The entries of an option table. */
#define BACKPLANE_OPTIONS(backplane)                                                                                   \
	{ "backplane", OPTION_TEXT, &(backplane)->url, "URL",                                                          \
	  "be one of several nodes, which share topics through an engine\nthat exists: "                               \
	  "redis://[USER:PASSWORD@]HOST:PORT[,HOST:PORT]/DB\n?prefix=NAME&keep=PACKETS, rediss:// with TLS,\n"         \
	  "redis-sentinel://HOST:PORT,.../MASTER; nats://, nats+tls://,\namqp://, amqps://, kafka://, kafka+tls://" }, \
	    { "backplane-away", OPTION_CHOICE, &(backplane)->away, BACKPLANE_AWAY,                                     \
	      "what publishes meet while that engine is away (refuse)" },                                              \
	    { "backplane-queue", OPTION_SIZE, &(backplane)->queue_max, "SIZE",                                         \
	      "what may wait for the engine; beyond it, publishes are\nrefused (16m)" },                               \
	    { "backplane-confirm", OPTION_MS, &(backplane)->confirm_ms, "TIME",                                        \
	      "for the engine to take a publish; with --backplane-away queue\nit has all the time (10s)" },            \
	    { "backplane-map", OPTION_LIST, &(backplane)->map, "SOURCE=TARGET",                                        \
	      "what others publish in their own way reaches topic/NAME,\nroom/NAME, user/NAME or all: a "              \
	      "stream of Redis, a subject of\nNATS, EXCHANGE/KEY of RabbitMQ, a topic of Kafka; in NAME {1} is\n"      \
	      "what the first wildcard matched, {FIELD} a field or header\n(repeatable)" },                            \
	{                                                                                                              \
		"backplane-wait", OPTION_MS, &(backplane)->start_ms, "TIME",                                           \
		    "at the start, for the engine to come and its history to be\nread, before clients are let in (5s)" \
	}
/* For who publishes to the log as it comes: see BACKPLANE_AT_ONCE. */
#define BACKPLANE_LOCAL_OPTION(backplane)                                                                              \
	{                                                                                                              \
		"backplane-local", OPTION_LIST, &(backplane)->local, "PATTERN",                                        \
		    "topics that are delivered at once, and not in the order of\nthe engine: each node numbers them "  \
		    "by itself (repeatable)"                                                                           \
	}
/* For who has clients whose data services work on. */
#define BACKPLANE_OUT_OPTION(backplane)                                                                                \
	{                                                                                                              \
		"backplane-out", OPTION_TEXT, &(backplane)->out, "NAME",                                               \
		    "the data that clients send goes to this queue of the engine too,\nfor services to work on: a "    \
		    "stream of Redis, a subject of JetStream,\na queue of RabbitMQ, a topic of Kafka"                  \
	}

#endif
