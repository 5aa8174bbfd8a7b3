/* SPDX-License-Identifier: MIT
 *
 * hub.c - see hub.h. It takes the place of tools/backplane/engines.c: the one engine that there is has the scheme
 * "hub". Invariant: at one position of one epoch every reader finds the same bytes.
 */
#include "hub.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../unit/seed.h"
#include "backplane/engine.h"

#define PACKETS_MAX 400000
#define LATE_MAX 64
#define SIDES_MAX 64

struct packet {
	struct engine_position position;
	size_t size;
	uint8_t *bytes;
};

/* A node's two connections. */
struct side {
	bool used, following, publishing;
	size_t next;   /* packet that is read next */
	unsigned life; /* of the stream, in which it stands */
	int wake_fd;
	uint64_t deaf_until_ns; /* it is not let in to read */
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t more;
	uint64_t seed;
	bool own_epochs, there, tells_spent;
	struct hub_malice malice;
	struct packet *packets;
	size_t first, count;
	unsigned life; /* another one each time that it forgets everything */
	struct packet late[LATE_MAX];
	size_t late_count;
	struct side sides[SIDES_MAX];
	uint64_t deaf_until_ns; /* it takes packets, and gives none yet */
} hub = { .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER };

static bool happens(unsigned one_in)
{
	return one_in && below(&hub.seed, one_in) == 0;
}

static uint64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void rest(void)
{
	if (!happens(hub.malice.slow))
		return;
	const struct timespec time = { .tv_nsec = (long)below(&hub.seed, 4000000) };
	pthread_mutex_unlock(&hub.lock);
	nanosleep(&time, NULL);
	pthread_mutex_lock(&hub.lock);
}

static struct engine_position newest(void)
{
	return hub.there && hub.count ? hub.packets[hub.count - 1].position : (struct engine_position){ 0 };
}

/* ---- the stream ---- */

static bool is_refused(uint64_t epoch)
{
	return !hub.there || (hub.own_epochs && epoch < newest().epoch);
}

static void put(const void *bytes, size_t size, uint64_t epoch)
{
	struct engine_position position = newest();
	if (hub.count == PACKETS_MAX) {
		fprintf(stderr, "the hub is full\n");
		abort();
	}
	if (hub.own_epochs && epoch != position.epoch)
		position = (struct engine_position){ .epoch = epoch };
	position.sequence++;
	struct packet *packet = &hub.packets[hub.count++];
	*packet = (struct packet){ .position = position, .size = size, .bytes = malloc(size) };
	memcpy(packet->bytes, bytes, size);
	pthread_cond_broadcast(&hub.more);
}

/* What a connection that is gone had sent arrives in the end. */
static void put_late(void)
{
	while (hub.late_count && (!hub.malice.late || below(&hub.seed, 4) == 0)) {
		struct packet packet = hub.late[0];
		memmove(hub.late, hub.late + 1, --hub.late_count * sizeof *hub.late);
		if (!is_refused(packet.position.epoch))
			put(packet.bytes, packet.size, packet.position.epoch);
		free(packet.bytes);
	}
}

static void keep_late(const struct engine_packet *packet)
{
	if (hub.late_count == LATE_MAX)
		return;
	struct packet *late = &hub.late[hub.late_count++];
	*late = (struct packet){ .position = { .epoch = packet->epoch },
		                 .size = packet->size,
		                 .bytes = malloc(packet->size) };
	memcpy(late->bytes, packet->data, packet->size);
}

/* ---- the engine ---- */

static int check(const struct backplane_url *url, char wrong[static ENGINE_WHY_SIZE])
{
	(void)url, (void)wrong;
	return 0;
}

static void *open_side(const struct engine_setup *setup, char why[static ENGINE_WHY_SIZE])
{
	struct side *found = NULL;
	pthread_mutex_lock(&hub.lock);
	for (size_t i = 0; i < SIDES_MAX && !found; i++)
		if (!hub.sides[i].used)
			found = &hub.sides[i];
	if (found)
		*found = (struct side){ .used = true, .wake_fd = setup->wake_fd };
	else
		snprintf(why, ENGINE_WHY_SIZE, "too many");
	pthread_mutex_unlock(&hub.lock);
	return found;
}

static void close_side(void *state)
{
	pthread_mutex_lock(&hub.lock);
	((struct side *)state)->used = false;
	pthread_mutex_unlock(&hub.lock);
}

static int lose(bool *connected, char why[static ENGINE_WHY_SIZE])
{
	*connected = false;
	snprintf(why, ENGINE_WHY_SIZE, "the hub ended the connection");
	pthread_mutex_unlock(&hub.lock);
	return -ECONNRESET;
}

static bool is_at_or_after(struct engine_position one, struct engine_position other)
{
	return one.epoch != other.epoch ? one.epoch > other.epoch : one.sequence >= other.sequence;
}

static int follow(void *state, struct engine_place *place, char why[static ENGINE_WHY_SIZE])
{
	struct side *side = state;
	pthread_mutex_lock(&hub.lock);
	rest();
	if (happens(hub.malice.cut) || now_ns() < hub.deaf_until_ns || now_ns() < side->deaf_until_ns)
		return lose(&side->following, why);
	side->following = true;
	side->life = hub.life;
	side->next = hub.first;
	if (place->at.sequence) {
		while (side->next < hub.count && !is_at_or_after(hub.packets[side->next].position, place->at))
			side->next++;
	} else if (hub.count - hub.first > place->tail_max) {
		side->next = hub.count - place->tail_max;
	}
	place->newest = newest();
	place->spent = hub.tells_spent && hub.first == hub.count;
	pthread_mutex_unlock(&hub.lock);
	return 0;
}

static int wait_for_more(const struct side *side, unsigned timeout_ms)
{
	const unsigned slice_ms = timeout_ms < 5 ? timeout_ms : 5;
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += (long)slice_ms * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_cond_timedwait(&hub.more, &hub.lock, &until);
	pthread_mutex_unlock(&hub.lock);
	bool woken = engine_woken(side->wake_fd);
	pthread_mutex_lock(&hub.lock);
	return woken ? -EINTR : (int)slice_ms;
}

static int read_side(void *state, unsigned timeout_ms, engine_take *take, void *context,
                     char why[static ENGINE_WHY_SIZE])
{
	struct side *side = state;
	int count = 0;
	pthread_mutex_lock(&hub.lock);
	rest();
	put_late();
	const bool blind = happens(hub.malice.blind);
	for (unsigned waited = 0; side->following && hub.there && side->next >= hub.count && waited < timeout_ms;) {
		int slept = wait_for_more(side, timeout_ms - waited);
		if (slept < 0) {
			pthread_mutex_unlock(&hub.lock);
			return slept;
		}
		waited += (unsigned)slept;
	}
	if (!side->following || happens(hub.malice.cut))
		return lose(&side->following, why);
	if (!hub.there || side->life != hub.life) {
		pthread_mutex_unlock(&hub.lock);
		return -ENOENT;
	}
	if (side->next < hub.first) /* it was too slow, and no engine may hide that */
		return lose(&side->following, why);
	for (size_t end = blind ? side->next + below(&hub.seed, 3) : SIZE_MAX;
	     side->next < hub.count && side->next < end && count < 100 && side->following && side->life == hub.life;
	     count++) {
		const struct packet *packet = &hub.packets[side->next++];
		uint8_t *copy = malloc(packet->size);
		const struct engine_position position = packet->position;
		size_t size = packet->size;
		memcpy(copy, packet->bytes, size);
		pthread_mutex_unlock(&hub.lock);
		take(context, position, copy, size);
		free(copy);
		pthread_mutex_lock(&hub.lock);
	}
	pthread_mutex_unlock(&hub.lock);
	return count;
}

static int begin(void *state, const struct engine_packet *packet, struct engine_position known,
                 char why[static ENGINE_WHY_SIZE])
{
	struct side *side = state;
	int code = 0;
	pthread_mutex_lock(&hub.lock);
	rest();
	if (!side->following || happens(hub.malice.cut))
		return lose(&side->following, why);
	if (hub.own_epochs && newest().epoch != known.epoch)
		code = -EEXIST;
	if (!code) {
		hub.there = true;
		put(packet->data, packet->size, packet->epoch);
		if (happens(hub.malice.unsaid))
			return lose(&side->following, why);
	}
	pthread_mutex_unlock(&hub.lock);
	return code;
}

static int connect_side(void *state, char why[static ENGINE_WHY_SIZE])
{
	struct side *side = state;
	pthread_mutex_lock(&hub.lock);
	rest();
	if (happens(hub.malice.cut))
		return lose(&side->publishing, why);
	side->publishing = true;
	pthread_mutex_unlock(&hub.lock);
	return 0;
}

static int append(void *state, struct engine_packet *packets, size_t count, char why[static ENGINE_WHY_SIZE])
{
	struct side *side = state;
	pthread_mutex_lock(&hub.lock);
	rest();
	put_late();
	for (size_t i = 0; i < count; i++) {
		if (!side->publishing || happens(hub.malice.cut))
			return lose(&side->publishing, why);
		if (happens(hub.malice.late)) {
			keep_late(&packets[i]);
			return lose(&side->publishing, why);
		}
		if (is_refused(packets[i].epoch)) {
			pthread_mutex_unlock(&hub.lock);
			return -ENOENT;
		}
		put(packets[i].data, packets[i].size, packets[i].epoch);
		if (happens(hub.malice.unsaid))
			return lose(&side->publishing, why);
		packets[i].appended = true;
	}
	pthread_mutex_unlock(&hub.lock);
	return 0;
}

/* ---- what the test does to it ---- */

void hub_begin(uint64_t seed, bool own_epochs)
{
	hub.seed = seed;
	hub.own_epochs = own_epochs;
	hub.tells_spent = below(&hub.seed, 2);
	hub.packets = calloc(PACKETS_MAX, sizeof *hub.packets);
}

void hub_set(const struct hub_malice *malice)
{
	pthread_mutex_lock(&hub.lock);
	hub.malice = *malice;
	if (!malice->late)
		put_late();
	pthread_mutex_unlock(&hub.lock);
}

/* With the lock. */
static void cut_all(void)
{
	for (size_t i = 0; i < SIDES_MAX; i++)
		hub.sides[i].following = hub.sides[i].publishing = false;
	pthread_cond_broadcast(&hub.more);
}

void hub_cut_all(void)
{
	pthread_mutex_lock(&hub.lock);
	cut_all();
	pthread_mutex_unlock(&hub.lock);
}

static void drop_to(size_t count)
{
	while (hub.count > count)
		free(hub.packets[--hub.count].bytes);
	if (hub.first > count)
		hub.first = count;
}

void hub_restart(unsigned lost)
{
	pthread_mutex_lock(&hub.lock);
	drop_to(hub.count - hub.first > lost ? hub.count - lost : hub.first + (hub.count > hub.first));
	/* So what is written meanwhile may stand where other packets stood before. */
	hub.deaf_until_ns = now_ns() + below(&hub.seed, 100000000);
	cut_all();
	pthread_mutex_unlock(&hub.lock);
}

void hub_deafen(unsigned index, uint64_t ns)
{
	pthread_mutex_lock(&hub.lock);
	hub.sides[index].deaf_until_ns = now_ns() + ns;
	hub.sides[index].following = false;
	pthread_cond_broadcast(&hub.more);
	pthread_mutex_unlock(&hub.lock);
}

void hub_flush(void)
{
	pthread_mutex_lock(&hub.lock);
	drop_to(0);
	hub.there = false;
	hub.life++;
	pthread_cond_broadcast(&hub.more);
	pthread_mutex_unlock(&hub.lock);
}

void hub_trim(unsigned left)
{
	pthread_mutex_lock(&hub.lock);
	if (hub.count - hub.first > left)
		hub.first = hub.count - left;
	pthread_mutex_unlock(&hub.lock);
}

unsigned long hub_packets(void)
{
	return hub.count - hub.first;
}

void hub_end(void)
{
	drop_to(0);
	free(hub.packets);
	while (hub.late_count)
		free(hub.late[--hub.late_count].bytes);
}

/* ---- in place of engines.c ---- */

static const char *const schemes[] = { "hub", NULL };

static const char *version(void)
{
	return "0";
}

static const struct engine engine_hub = {
	.name = "hub",
	.schemes = schemes,
	.version = version,
	.check = check,
	.open = open_side,
	.close = close_side,
	.follow = follow,
	.read = read_side,
	.begin = begin,
	.connect = connect_side,
	.append = append,
};

const struct engine *engine_find(const char *scheme, const char **package)
{
	*package = NULL;
	return strcmp(scheme, "hub") == 0 ? &engine_hub : NULL;
}
