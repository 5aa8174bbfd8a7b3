/* SPDX-License-Identifier: MIT
 *
 * address.c - how many connections each peer address has, over all workers. It exists only where that number is
 * limited; its lock is then taken once for each accept and once for each close. An IPv6 peer counts by its /64, since
 * that is what one host is given. It must not know a connection.
 *
 * Invariant: an entry with a count is in the list of its bucket; one without is in the free list.
 */
#include "worker.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct entry {
	uint64_t key;
	uint32_t count, next; /* index + 1 */
};

struct rc_addresses {
	pthread_mutex_t lock;
	struct entry *entries;
	uint32_t *buckets;
	uint64_t seed; /* whoever has a network chooses addresses */
	uint32_t bucket_count, made_count, capacity, free_first, used_count;
};

#define BUCKETS 65536

struct rc_addresses *rc_addresses_new(uint64_t seed)
{
	struct rc_addresses *addresses = calloc(1, sizeof *addresses);
	if (!addresses)
		return NULL;
	addresses->bucket_count = BUCKETS;
	addresses->seed = seed;
	addresses->buckets = calloc(BUCKETS, sizeof *addresses->buckets);
	if (!addresses->buckets) {
		free(addresses);
		return NULL;
	}
	pthread_mutex_init(&addresses->lock, NULL);
	return addresses;
}

void rc_addresses_free(struct rc_addresses *addresses)
{
	if (!addresses)
		return;
	pthread_mutex_destroy(&addresses->lock);
	free(addresses->entries);
	free(addresses->buckets);
	free(addresses);
}

static uint64_t key_of(const struct sockaddr_storage *peer)
{
	uint64_t key = 0;
	if (!peer) {
		key = UINT64_MAX; /* all that are not known */
	} else if (peer->ss_family == AF_INET) {
		/* No /64 that is routed begins with these sixteen bits. */
		key = UINT64_C(0xFFFF) << 48 | ((const struct sockaddr_in *)peer)->sin_addr.s_addr;
	} else if (peer->ss_family == AF_INET6) {
		const struct in6_addr *address = &((const struct sockaddr_in6 *)peer)->sin6_addr;
		memcpy(&key, address, sizeof key);
	}
	return key;
}

static uint32_t *bucket_of(struct rc_addresses *addresses, uint64_t key)
{
	return &addresses
	            ->buckets[XXH3_64bits_withSeed(&key, sizeof key, addresses->seed) & (addresses->bucket_count - 1)];
}

static uint32_t new_entry(struct rc_addresses *addresses)
{
	if (addresses->free_first) {
		uint32_t index = addresses->free_first - 1;
		addresses->free_first = addresses->entries[index].next;
		return index;
	}
	if (addresses->made_count == addresses->capacity) {
		uint32_t capacity = addresses->capacity ? addresses->capacity * 2 : 256;
		struct entry *entries = realloc(addresses->entries, capacity * sizeof *entries);
		if (!entries)
			return UINT32_MAX;
		addresses->entries = entries;
		addresses->capacity = capacity;
	}
	return addresses->made_count++;
}

unsigned rc_addresses_enter(struct rc_addresses *addresses, const struct sockaddr_storage *peer, uint32_t *index)
{
	uint64_t key = key_of(peer);
	unsigned count = 0;
	pthread_mutex_lock(&addresses->lock);
	uint32_t *bucket = bucket_of(addresses, key), at = *bucket;
	while (at && addresses->entries[at - 1].key != key)
		at = addresses->entries[at - 1].next;
	if (!at) {
		uint32_t made = new_entry(addresses);
		if (made != UINT32_MAX) {
			addresses->entries[made] = (struct entry){ .key = key, .next = *bucket };
			at = *bucket = made + 1;
		}
	}
	if (at) {
		*index = at - 1;
		count = ++addresses->entries[at - 1].count;
	}
	pthread_mutex_unlock(&addresses->lock);
	return count;
}

void rc_addresses_leave(struct rc_addresses *addresses, uint32_t index)
{
	pthread_mutex_lock(&addresses->lock);
	struct entry *entry = &addresses->entries[index];
	RC_ASSERT(entry->count);
	if (--entry->count == 0) {
		uint32_t *link = bucket_of(addresses, entry->key);
		while (*link != index + 1)
			link = &addresses->entries[*link - 1].next;
		*link = entry->next;
		entry->next = addresses->free_first;
		addresses->free_first = index + 1;
	}
	pthread_mutex_unlock(&addresses->lock);
}
