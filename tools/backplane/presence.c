/* SPDX-License-Identifier: MIT
 *
 * presence.c - see node.h: which nodes there are. A node holds one lease, whatever the number of its connections, and
 * looks at those of others when it renews its own. What is found stands in a line until the follower tells it, so that
 * whoever listens hears one thing at a time.
 *
 * Where an engine keeps no leases, a node says once a second that it lives, by a message that all read.
 *
 * Invariant: a node is told to have come once before it is told to be gone; and nobody is gone while this node itself
 * does not hear the engine, nor within a lease's time after that: the others have to come back as well.
 */
#include <stdlib.h>
#include <string.h>

#include "node.h"

#define NODES_MAX 4096
#define LOOK_NS UINT64_C(300000000) /* a lease that ends is seen 300 ms later at most */
#define RENEW_NS (UINT64_C(1000000) * BACKPLANE_RENEW_MS)
#define LEASE_NS (UINT64_C(1000000) * BACKPLANE_LEASE_MS)
#define LATE_NS RENEW_NS /* between two looks: the engine was away, or this node */

enum word_kind { WORD_CAME, WORD_MEMBER, WORD_GONE, WORD_WANTED };

struct word {
	struct word *next;
	enum word_kind kind;
	uint64_t node;
	struct engine_member member;
	char bytes[];
};

struct known {
	uint64_t node, heard_ns;
	bool here; /* in the list that is being read */
};

struct presence {
	pthread_mutex_t lock;
	struct word *first, **end; /* under the lock */
	/* The publisher's where the engine keeps leases, else the follower's. */
	struct known *nodes;
	unsigned count;
	uint64_t next_ns;
	uint64_t looked_ns, patient_ns; /* the last look; until then nobody is gone */
};

struct presence *presence_new(void)
{
	struct presence *presence = calloc(1, sizeof *presence);
	struct known *nodes = calloc(NODES_MAX, sizeof *nodes);
	if (!presence || !nodes || pthread_mutex_init(&presence->lock, NULL)) {
		free(presence);
		free(nodes);
		return NULL;
	}
	presence->nodes = nodes;
	presence->end = &presence->first;
	return presence;
}

void presence_free(struct presence *presence)
{
	if (!presence)
		return;
	for (struct word *word = presence->first, *next; word; word = next) {
		next = word->next;
		free(word);
	}
	pthread_mutex_destroy(&presence->lock);
	free(presence->nodes);
	free(presence);
}

/* ---- the line ---- */

static const void *keep(char **at, const void *bytes, size_t size)
{
	const char *kept = *at;
	if (size)
		memcpy(*at, bytes, size);
	*at += size;
	return kept;
}

static void say(struct backplane *backplane, enum word_kind kind, uint64_t node, const struct engine_member *member)
{
	struct presence *presence = backplane->presence;
	size_t size = member ? member->room_size + member->name_size + member->value_size : 0;
	struct word *word = malloc(sizeof *word + size);
	if (!word)
		return;
	*word = (struct word){ .kind = kind, .node = node };
	if (member) {
		char *at = word->bytes;
		word->member = *member;
		word->member.room = keep(&at, member->room, member->room_size);
		word->member.name = keep(&at, member->name, member->name_size);
		word->member.value = keep(&at, member->value, member->value_size);
	}
	pthread_mutex_lock(&presence->lock);
	*presence->end = word;
	presence->end = &word->next;
	pthread_mutex_unlock(&presence->lock);
	state_wake(backplane);
}

static void tell(const struct backplane_handlers *handlers, const struct word *word)
{
	const struct engine_member *member = &word->member;
	switch (word->kind) {
	case WORD_CAME:
		if (handlers->node_came)
			handlers->node_came(handlers->context, word->node);
		break;
	case WORD_MEMBER:
		if (handlers->member)
			handlers->member(handlers->context, word->node, member->room, member->room_size, member->name,
			                 member->name_size, member->value, member->value_size);
		break;
	case WORD_GONE:
		if (handlers->node_gone)
			handlers->node_gone(handlers->context, word->node);
		break;
	case WORD_WANTED:
		if (handlers->members_wanted)
			handlers->members_wanted(handlers->context);
		break;
	}
}

/* ---- who is here ---- */

static struct known *find(struct presence *presence, uint64_t node)
{
	for (unsigned i = 0; i < presence->count; i++)
		if (presence->nodes[i].node == node)
			return &presence->nodes[i];
	return NULL;
}

static struct known *add(struct backplane *backplane, uint64_t node)
{
	struct presence *presence = backplane->presence;
	if (presence->count == NODES_MAX)
		return NULL;
	struct known *known = &presence->nodes[presence->count++];
	*known = (struct known){ .node = node, .here = true };
	say(backplane, WORD_CAME, node, NULL);
	return known;
}

static void drop(struct backplane *backplane, struct known *known)
{
	struct presence *presence = backplane->presence;
	say(backplane, WORD_GONE, known->node, NULL);
	*known = presence->nodes[--presence->count];
}

/* ---- leases of the engine's ---- */

struct looking {
	struct backplane *backplane;
	unsigned count, fresh;
	uint64_t came[64];
};

static void see(void *context, uint64_t node)
{
	struct looking *looking = context;
	struct known *known = find(looking->backplane->presence, node);
	looking->count++;
	if (known)
		known->here = true;
	else if (node != looking->backplane->node && looking->fresh < sizeof looking->came / sizeof *looking->came)
		looking->came[looking->fresh++] = node;
}

static void see_member(void *context, const struct engine_member *member)
{
	struct looking *looking = context;
	say(looking->backplane, WORD_MEMBER, looking->came[looking->fresh], member);
}

/* What ended this node's lease, or kept it from looking, may have done so to all. */
static bool is_patient(struct presence *presence, bool held)
{
	uint64_t now_ns = state_clock_ns();
	if (!held || now_ns - presence->looked_ns > LATE_NS)
		presence->patient_ns = now_ns + LEASE_NS;
	presence->looked_ns = now_ns;
	return now_ns < presence->patient_ns;
}

static int look(struct backplane *backplane, char why[static ENGINE_WHY_SIZE])
{
	const struct engine *engine = backplane->engine;
	struct presence *presence = backplane->presence;
	struct looking looking = { .backplane = backplane };
	bool held = true;
	for (unsigned i = 0; i < presence->count; i++)
		presence->nodes[i].here = false;
	int code = engine->lease(backplane->state, BACKPLANE_LEASE_MS, &held, see, &looking, why);
	if (code)
		return code;
	atomic_store(&backplane->counters.nodes, looking.count);
	if (!held)
		say(backplane, WORD_WANTED, 0, NULL);
	bool patient = is_patient(presence, held);
	for (unsigned i = presence->count; i-- > 0;) {
		if (presence->nodes[i].here || patient)
			continue;
		code = engine->forget(backplane->state, presence->nodes[i].node, why);
		if (code)
			return code;
		drop(backplane, &presence->nodes[i]);
	}
	while (looking.fresh--) {
		if (!add(backplane, looking.came[looking.fresh]))
			break;
		code = engine->members_read(backplane->state, looking.came[looking.fresh], see_member, &looking, why);
		if (code)
			return code;
	}
	return 0;
}

/* ---- leases by messages ---- */

void presence_heard(struct backplane *backplane, uint64_t node)
{
	struct presence *presence = backplane->presence;
	if (!presence || backplane->engine->lease)
		return;
	struct known *known = find(presence, node);
	if (!known && (known = add(backplane, node)))
		say(backplane, WORD_WANTED, 0, NULL);
	if (known)
		known->heard_ns = state_clock_ns();
	atomic_store(&backplane->counters.nodes, presence->count + 1);
}

static void sweep(struct backplane *backplane, uint64_t now_ns)
{
	struct presence *presence = backplane->presence;
	bool away = state_away_ns(backplane);
	for (unsigned i = presence->count; i-- > 0;) {
		struct known *known = &presence->nodes[i];
		if (away)
			known->heard_ns = now_ns; /* it is this node that does not hear */
		else if (now_ns > known->heard_ns + LEASE_NS)
			drop(backplane, known);
	}
}

/* ---- both ---- */

uint64_t presence_next_ns(const struct backplane *backplane)
{
	return backplane->presence ? backplane->presence->next_ns : UINT64_MAX;
}

int presence_tick(struct backplane *backplane, uint64_t now_ns, char why[static ENGINE_WHY_SIZE])
{
	struct presence *presence = backplane->presence;
	if (!presence || now_ns < presence->next_ns)
		return 0;
	if (backplane->engine->lease) {
		presence->next_ns = now_ns + LOOK_NS;
		return look(backplane, why);
	}
	presence->next_ns = now_ns + RENEW_NS;
	const struct backplane_message alive = { .kind = KIND_LEASE };
	outbox_add(&backplane->outbox, &alive, 1, now_ns, NULL, NULL, NULL);
	return 0;
}

void presence_tell(struct backplane *backplane, uint64_t now_ns)
{
	struct presence *presence = backplane->presence;
	if (!presence)
		return;
	if (!backplane->engine->lease)
		sweep(backplane, now_ns);
	pthread_mutex_lock(&presence->lock);
	struct word *word = presence->first;
	presence->first = NULL;
	presence->end = &presence->first;
	pthread_mutex_unlock(&presence->lock);
	for (struct word *next; word; word = next) {
		next = word->next;
		tell(&backplane->handlers, word);
		free(word);
	}
}
