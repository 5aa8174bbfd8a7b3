/* SPDX-License-Identifier: MIT
 *
 * replica.h - who is in which room, and which devices users have, on all nodes: what a node makes of the records of the
 * one stream that all nodes read. Two nodes that have read the same records know the same. Pure: no clock, no engine,
 * no client.
 *
 * A room and a user are the same thing, a *group*: connections enter it and leave it. A room's group holds people, each
 * with one or more devices there; a user's group holds that user alone, with all its devices. Each group has a channel
 * of its own, `room/0/NAME` or `user/NAME`, and its records have one order. Nothing is said of the order between two
 * channels.
 *
 * Entering twice, and leaving what was not entered, changes nothing. So whoever is unsure says it again. A node that
 * says all of its members again numbers that repeat; who is not in its newest one is stale.
 */
#ifndef APP_REPLICA_H
#define APP_REPLICA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "table.h"

/* A connection of some node. */
struct app_device {
	uint64_t node, client;
};

/* A place in a channel's order. */
struct app_moment {
	uint64_t epoch, sequence;
};

struct app_group {
	struct app_node node; /* in groups, by its channel */
	struct app_person *people;
	struct app_person *places;                    /* of a user: where it is, in rooms */
	size_t person_count, device_count, own_count; /* of them on this node */
	struct app_moment begin; /* of a room: what was said before was said in another one of this name */
	char channel[];
};

/* A user in a group. */
struct app_person {
	struct app_node node; /* in persons, by group and name */
	struct app_group *group, *user;
	struct app_person *next, *previous;             /* in the group */
	struct app_person *next_place, *previous_place; /* of the user */
	struct app_presence *devices;
	size_t device_count, name_size;
	const char *name;
	char key[];
};

/* A device in a group. */
struct app_presence {
	struct app_node node; /* in presences, by group and device */
	struct {
		const struct app_group *group;
		struct app_device device;
	} key;
	struct app_person *person;
	struct app_presence *next; /* of the person */
	uint64_t repeat;           /* of its node, in which it was said last */
	uint64_t buried_ns;        /* when this node asked for its removal; 0: it did not */
};

/* A node whose records were read. */
struct app_peer {
	struct app_node node;
	uint64_t id;
	uint64_t repeat, repeated_ns; /* its newest repeat that is whole, and when that was heard */
	uint64_t missing_ns;          /* since when it is known by its records alone; 0: it holds its lease */
	bool is_needed;               /* it has members (nodes.c) */
	char *figures;                /* what it said of itself (figures_nodes.c), or null */
	uint64_t told_ns;             /* when */
};

struct app_replica {
	struct app_table groups, persons, presences, peers;
	size_t room_count, user_count; /* with somebody in them */
	size_t device_count;           /* of all users */
	uint64_t own;                  /* this node */
};

/* What came of an entering or a leaving. */
struct app_change {
	bool changed;
	bool user_changed; /* it was the user's first device there, or the last */
	bool others;       /* somebody else is there */
};

bool app_replica_init(struct app_replica *replica, uint64_t own, uint64_t seed);
void app_replica_destroy(struct app_replica *replica);

struct app_group *app_replica_group(const struct app_replica *replica, const char *channel, size_t size);
struct app_person *app_replica_person(const struct app_replica *replica, const struct app_group *group,
                                      const char *name, size_t size);
bool app_replica_has(const struct app_replica *replica, const char *channel, size_t size, struct app_device device);
/* Whether one of a user's devices has this client's number, on whatever node. */
bool app_replica_has_client(const struct app_group *user, uint64_t client);

struct app_entering {
	const char *channel, *user;
	size_t channel_size, user_size;
	struct app_device device;
	uint64_t repeat;         /* of its node */
	struct app_moment now;   /* the record's own */
	struct app_moment begin; /* since when the group is there, as that node knows; 0, 0: it does not */
};

/* A device enters. False without memory: then nothing changed. */
bool app_replica_enter(struct app_replica *replica, const struct app_entering *entering, struct app_change *change);

/* A device leaves; its user's name is copied to `user`, of APP_SUBJECT_SIZE_MAX + 1 bytes, if anything changed. */
struct app_change app_replica_leave(struct app_replica *replica, const char *channel, size_t size,
                                    struct app_device device, char *user);

/* The peer of this number, which is made if there is none: as one that is known by its records alone. Null without
 * memory. */
struct app_peer *app_replica_peer(struct app_replica *replica, uint64_t id, uint64_t now_ns);

/* Whether a presence is over although nobody said so: its node is missing for longer than grace_ns, or did not name it
 * in its newest repeat, which is as old. */
bool app_replica_is_stale(struct app_replica *replica, const struct app_presence *presence, uint64_t now_ns,
                          uint64_t grace_ns);

#endif
