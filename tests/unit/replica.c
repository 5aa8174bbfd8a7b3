/* SPDX-License-Identifier: MIT
 *
 * replica.c - who is where on all nodes (tools/app/replica.c) beside a model that keeps a plain list; and records as
 * bytes, of which a part is no record.
 */
#include "app/replica.h"
#include "app/record.h"
#include "seed.h"

#include <criterion/criterion.h>
#include <string.h>

#define NODES 4
#define CLIENTS 6
#define GROUPS 5
#define STEPS 200000

static const char *const channels[GROUPS] = { "room/0/a", "room/0/b", "room/0/a b", "user/u0", "user/u1" };

static struct app_change enter(struct app_replica *replica, const char *channel, struct app_device device,
                               const char *user, uint64_t sequence, struct app_moment begin, uint64_t repeat)
{
	struct app_change change;
	const struct app_entering entering = { .channel = channel,
		                               .channel_size = strlen(channel),
		                               .user = user,
		                               .user_size = strlen(user),
		                               .device = device,
		                               .repeat = repeat,
		                               .now = { 1, sequence },
		                               .begin = begin };
	cr_assert(app_replica_enter(replica, &entering, &change));
	return change;
}

static struct app_change leave(struct app_replica *replica, const char *channel, struct app_device device)
{
	char user[200];
	return app_replica_leave(replica, channel, strlen(channel), device, user);
}

/* ---- beside a model ---- */

struct model {
	bool there[GROUPS][NODES][CLIENTS];
};

/* A client has one user, who may have several: on any node. */
static void name_user(char name[8], size_t group, unsigned node, unsigned client)
{
	if (channels[group][0] == 'u')
		strcpy(name, channels[group] + 5);
	else
		snprintf(name, 8, "u%u", (node * CLIENTS + client) % 5);
}

static unsigned count_user(const struct model *model, size_t group, const char *user, unsigned *all, unsigned *own)
{
	unsigned count = 0;
	*all = *own = 0;
	for (unsigned node = 0; node < NODES; node++)
		for (unsigned client = 0; client < CLIENTS; client++) {
			char name[8];
			name_user(name, group, node, client);
			*all += model->there[group][node][client];
			*own += model->there[group][node][client] && !node;
			count += model->there[group][node][client] && !strcmp(name, user);
		}
	return count;
}

static void check_group(const struct app_replica *replica, const struct model *model, size_t index)
{
	unsigned all, own, people = 0;
	const struct app_group *group = app_replica_group(replica, channels[index], strlen(channels[index]));
	for (unsigned i = 0; i < 5; i++) {
		char user[8];
		snprintf(user, sizeof user, "u%u", i);
		unsigned count = count_user(model, index, user, &all, &own);
		const struct app_person *person = app_replica_person(replica, group, user, strlen(user));
		cr_assert_eq(person ? person->device_count : 0, count, "%s of %s", user, channels[index]);
		people += count > 0;
	}
	cr_assert_eq(group ? group->person_count : 0, people);
	cr_assert_eq(group ? group->device_count : 0, all);
	cr_assert_eq(group ? group->own_count : 0, own);
	unsigned linked = 0;
	for (const struct app_person *person = group ? group->people : NULL; person; person = person->next)
		linked++;
	cr_assert_eq(linked, people);
	linked = 0;
	for (const struct app_person *place = group ? group->places : NULL; place; place = place->next_place)
		linked += strncmp(place->group->channel, "room/", 5) == 0;
	for (size_t room = 0; room < 3 && channels[index][0] == 'u'; room++)
		linked -= count_user(model, room, channels[index] + 5, &all, &own) > 0;
	cr_assert_eq(linked, 0, "a user is where it is");
}

Test(replica, beside_a_model)
{
	uint64_t seed = seed_of("replica");
	struct app_replica replica;
	static struct model model;
	cr_assert(app_replica_init(&replica, 1, seed));
	for (unsigned step = 0; step < STEPS; step++) {
		size_t group = below(&seed, GROUPS);
		unsigned node = (unsigned)below(&seed, NODES), client = (unsigned)below(&seed, CLIENTS), all, own;
		const struct app_device device = { node + 1, client };
		char user[8];
		name_user(user, group, node, client);
		bool *there = &model.there[group][node][client], was = *there;
		unsigned before = count_user(&model, group, user, &all, &own);
		bool others = all > before;
		*there = below(&seed, 2);
		struct app_change change = *there ? enter(&replica, channels[group], device, user, step,
		                                          (struct app_moment){ 0 }, 0)
		                                  : leave(&replica, channels[group], device);
		cr_assert_eq(change.changed, was != *there);
		if (was != *there) {
			cr_assert_eq(change.user_changed, before == (*there ? 0u : 1u));
			cr_assert(!change.user_changed || change.others == others);
		}
		if (step % 16 == 0)
			for (size_t i = 0; i < GROUPS; i++)
				check_group(&replica, &model, i);
	}
	for (size_t group = 0; group < GROUPS; group++)
		for (unsigned node = 0; node < NODES; node++)
			for (unsigned client = 0; client < CLIENTS; client++)
				leave(&replica, channels[group], (struct app_device){ node + 1, client });
	cr_assert_eq(replica.groups.count + replica.persons.count + replica.presences.count, 0, "nothing is left");
	cr_assert_eq(replica.room_count + replica.user_count, 0);
	app_replica_destroy(&replica);
}

/* ---- where a room begins ---- */

Test(replica, a_room_begins_with_its_first_member)
{
	struct app_replica replica;
	const struct app_device one = { 1, 1 }, two = { 2, 1 };
	const struct app_moment none = { 0 };
	cr_assert(app_replica_init(&replica, 1, 7));
	enter(&replica, "room/0/r", one, "u", 10, none, 0);
	enter(&replica, "room/0/r", two, "v", 20, none, 0);
	const struct app_group *room = app_replica_group(&replica, "room/0/r", 8);
	cr_expect_eq(room->begin.sequence, 10);
	/* A node that knows more, because it read further back. */
	enter(&replica, "room/0/r", one, "u", 30, (struct app_moment){ 1, 5 }, 1);
	cr_expect_eq(room->begin.sequence, 5);
	enter(&replica, "room/0/r", two, "v", 40, (struct app_moment){ 1, 8 }, 1);
	cr_expect_eq(room->begin.sequence, 5);
	leave(&replica, "room/0/r", one);
	leave(&replica, "room/0/r", two);
	/* Who makes a room of this name later does not find what was said before. */
	enter(&replica, "room/0/r", two, "v", 50, none, 0);
	cr_expect_eq(app_replica_group(&replica, "room/0/r", 8)->begin.sequence, 50);
	app_replica_destroy(&replica);
}

/* ---- who is gone without a word ---- */

static bool is_stale(struct app_replica *replica, struct app_device device, uint64_t now_ns)
{
	for (size_t i = 0; i < replica->presences.bucket_count; i++)
		for (const struct app_node *node = replica->presences.buckets[i]; node; node = node->next) {
			const struct app_presence *presence = (const struct app_presence *)node;
			if (presence->key.device.node == device.node && presence->key.device.client == device.client)
				return app_replica_is_stale(replica, presence, now_ns, 100);
		}
	cr_assert_fail("it is not there");
	return false;
}

Test(replica, members_go_with_their_node_or_when_it_does_not_name_them)
{
	struct app_replica replica;
	const struct app_device one = { 2, 1 }, two = { 2, 2 };
	cr_assert(app_replica_init(&replica, 1, 7));
	enter(&replica, "room/0/r", one, "u", 10, (struct app_moment){ 0 }, 0);
	enter(&replica, "room/0/r", two, "v", 11, (struct app_moment){ 0 }, 0);
	struct app_peer *peer = app_replica_peer(&replica, 2, 1000);
	cr_expect_not(is_stale(&replica, one, 1099), "it is known by its records alone, and not for long");
	cr_expect(is_stale(&replica, one, 1100));
	peer->missing_ns = 0;
	cr_expect_not(is_stale(&replica, one, 999999), "it holds its lease");
	/* It says all of its members again, but not the second. */
	enter(&replica, "room/0/r", one, "u", 12, (struct app_moment){ 0 }, 1);
	peer->repeat = 1;
	peer->repeated_ns = 2000;
	cr_expect_not(is_stale(&replica, two, 2099), "its record may be on its way, in another channel");
	cr_expect(is_stale(&replica, two, 2100));
	cr_expect_not(is_stale(&replica, one, 2100));
	app_replica_destroy(&replica);
}

/* ---- records ---- */

Test(record, comes_back_as_it_was)
{
	const struct app_record record = { .node = UINT64_MAX,
		                           .client = 0x123456789abcdef0,
		                           .conn = 1,
		                           .repeat = 2,
		                           .begin_epoch = 3,
		                           .begin_sequence = 4,
		                           .number = 5,
		                           .sender = 6,
		                           .flags = 7,
		                           .user = "alice",
		                           .user_size = 5,
		                           .id = "\"x\"#0",
		                           .id_size = 5,
		                           .head = "{",
		                           .head_size = 1,
		                           .text = "tail}",
		                           .text_size = 5 };
	struct app_record read;
	struct app_out out = { 0 };
	app_record_write(&out, &record);
	cr_assert_not(out.failed);
	cr_assert(app_record_read(&read, out.bytes, out.size));
	cr_expect_eq(read.node, record.node);
	cr_expect_eq(read.client, record.client);
	cr_expect_eq(read.begin_sequence, 4);
	cr_expect_eq(read.sender, 6);
	cr_expect_eq(read.flags, 7);
	cr_expect(read.user_size == 5 && !memcmp(read.user, "alice", 5));
	cr_expect(read.id_size == 5 && !memcmp(read.id, "\"x\"#0", 5));
	cr_expect(read.head_size == 1 && *read.head == '{');
	cr_expect(read.text_size == 5 && !memcmp(read.text, "tail}", 5));
	/* The text goes to the end; whatever is cut off before it leaves no record. */
	for (size_t size = 0; size < out.size - 5; size++) {
		void *part = malloc(size + 1);
		memcpy(part, out.bytes, size);
		cr_expect_not(app_record_read(&read, part, size), "%zu bytes", size);
		free(part);
	}
	app_out_free(&out);
}

Test(record, noise_is_read_within_its_bytes)
{
	uint64_t seed = seed_of("record");
	for (unsigned run = 0; run < 20000; run++) {
		size_t size = below(&seed, 200);
		uint8_t *bytes = malloc(size + 1);
		struct app_record record;
		for (size_t i = 0; i < size; i++)
			bytes[i] = below(&seed, 3) ? 0 : (uint8_t)chance(&seed);
		if (app_record_read(&record, bytes, size))
			cr_assert_eq((const uint8_t *)record.text + record.text_size, bytes + size);
		free(bytes);
	}
}
