/* SPDX-License-Identifier: MIT
 *
 * picture.c - see picture.h. It must not know who is sent a picture. Invariant: `size` of all is the sum of what each
 * takes, and at most size_max.
 */
#include "picture.h"

#include "form.h"
#include "state.h"

#include <stdlib.h>

#define SIZE_FIRST (4 * RC_KIB)
#define COUNT_FIRST 64
#define NEWER_MAX(count) ((count) / 8 + 64) /* messages behind a picture, for which nobody takes a new one */

void rc_pictures_open(struct pictures *pictures, size_t size_max)
{
	*pictures = (struct pictures){ .size_max = size_max };
	pthread_mutex_init(&pictures->lock, NULL);
}

size_t rc_pictures_size(struct pictures *pictures)
{
	pthread_mutex_lock(&pictures->lock);
	size_t size = pictures->size;
	pthread_mutex_unlock(&pictures->lock);
	return size;
}

static size_t taken_by(const struct picture *picture)
{
	return sizeof *picture + picture->capacity + picture->count_max * sizeof *picture->ends;
}

static void free_picture(struct pictures *pictures, struct picture *picture)
{
	pictures->size -= taken_by(picture);
	free(picture->bytes);
	free(picture->ends);
	free(picture);
}

void rc_pictures_close(struct pictures *pictures)
{
	while (pictures->first) {
		struct picture *picture = pictures->first;
		RC_ASSERT(!picture->reference_count);
		pictures->first = picture->next;
		free_picture(pictures, picture);
	}
	RC_ASSERT(!pictures->size);
	pthread_mutex_destroy(&pictures->lock);
}

/* ---- the list ---- */

/* Frees those that nobody holds: of this topic and form, those that the log has left behind, or all. With the lock. */
static void free_idle(struct pictures *pictures, const struct picture *than, uint64_t readable, bool all)
{
	struct picture **link = &pictures->first;
	while (*link) {
		struct picture *picture = *link;
		bool old = than && picture->topic == than->topic && picture->form == than->form;
		if (picture->reference_count || !(all || old || picture->begin < readable)) {
			link = &picture->next;
			continue;
		}
		*link = picture->next;
		free_picture(pictures, picture);
	}
}

/* A picture that is of use to who begins now, or null. */
static struct picture *find(struct pictures *pictures, const struct form *form, uint32_t topic, uint64_t birth,
                            uint32_t messages, uint64_t readable)
{
	pthread_mutex_lock(&pictures->lock);
	struct picture *picture = pictures->first;
	while (picture && !(picture->topic == topic && picture->birth == birth && picture->form == form &&
	                    picture->begin >= readable && messages - picture->messages <= NEWER_MAX(picture->count)))
		picture = picture->next;
	if (picture)
		picture->reference_count++;
	pthread_mutex_unlock(&pictures->lock);
	return picture;
}

void rc_picture_drop(struct rc_server *server, struct picture *picture)
{
	if (!picture)
		return;
	pthread_mutex_lock(&server->pictures.lock);
	RC_ASSERT(picture->reference_count);
	picture->reference_count--;
	pthread_mutex_unlock(&server->pictures.lock);
}

/* ---- taking one ---- */

struct taking {
	struct rc_server *server;
	struct picture *picture;
};

/* Counts more bytes, for which others may have to go. They are counted before they are taken. */
static bool count_bytes(struct pictures *pictures, size_t size)
{
	pthread_mutex_lock(&pictures->lock);
	if (pictures->size + size > pictures->size_max)
		free_idle(pictures, NULL, 0, true);
	bool room = pictures->size + size <= pictures->size_max;
	if (room)
		pictures->size += size;
	pthread_mutex_unlock(&pictures->lock);
	return room;
}

static void uncount_bytes(struct pictures *pictures, size_t size)
{
	pthread_mutex_lock(&pictures->lock);
	pictures->size -= size;
	pthread_mutex_unlock(&pictures->lock);
}

static void *grow(struct pictures *pictures, void *block, size_t from, size_t to)
{
	if (!count_bytes(pictures, to - from))
		return NULL;
	void *grown = realloc(block, to);
	if (!grown)
		uncount_bytes(pictures, to - from);
	return grown;
}

static bool has_room(struct pictures *pictures, struct picture *picture, size_t size)
{
	if (picture->size + size > picture->capacity) {
		uint64_t capacity = RC_MAX(picture->size + size, RC_MAX(picture->capacity * 3 / 2, SIZE_FIRST));
		uint8_t *bytes = grow(pictures, picture->bytes, picture->capacity, capacity);
		if (!bytes)
			return false;
		picture->bytes = bytes;
		picture->capacity = capacity;
	}
	if (picture->count == picture->count_max) {
		uint32_t max = RC_MAX(picture->count_max * 3 / 2, (uint32_t)COUNT_FIRST);
		uint64_t *ends = grow(pictures, picture->ends, picture->count_max * sizeof *ends, max * sizeof *ends);
		if (!ends)
			return false;
		picture->ends = ends;
		picture->count_max = max;
	}
	return true;
}

static bool add(void *context, const struct rc_value *value)
{
	const struct taking *taking = context;
	struct picture *picture = taking->picture;
	size_t size = picture->form->write(taking->server, NULL, value);
	if (!size)
		return true;
	if (!has_room(&taking->server->pictures, picture, size))
		return false;
	picture->form->write(taking->server, picture->bytes + picture->size, value);
	picture->size += size;
	picture->ends[picture->count++] = picture->size;
	return true;
}

/* Gives back what was taken for values that did not come. */
static void trim(struct pictures *pictures, struct picture *picture)
{
	uint8_t *bytes = picture->size ? realloc(picture->bytes, picture->size) : NULL;
	if (!bytes)
		return;
	picture->bytes = bytes;
	uncount_bytes(pictures, picture->capacity - picture->size);
	picture->capacity = picture->size;
}

static int take(struct rc_server *server, const char *name, size_t size, const struct form *form,
                struct picture **taken)
{
	struct pictures *pictures = &server->pictures;
	struct picture *picture = grow(pictures, NULL, 0, sizeof *picture);
	struct state_read read;
	if (!picture)
		return -ENOMEM;
	*picture = (struct picture){ 0 };
	picture->form = form;
	struct taking taking = { server, picture };
	int result = rc_state_read(server, name, size, &read, add, &taking);
	trim(pictures, picture);
	picture->topic = read.topic;
	picture->birth = read.birth;
	picture->begin = read.begin;
	picture->messages = read.count;
	picture->incomplete = read.incomplete;
	picture->reference_count = 1;
	pthread_mutex_lock(&server->log_lock);
	uint64_t readable = rc_log_readable(&server->log);
	pthread_mutex_unlock(&server->log_lock);
	pthread_mutex_lock(&pictures->lock);
	if (result < 0) {
		free_picture(pictures, picture);
		picture = NULL;
	} else {
		free_idle(pictures, picture, readable, false);
		picture->next = pictures->first;
		pictures->first = picture;
	}
	pthread_mutex_unlock(&pictures->lock);
	*taken = picture;
	return result;
}

int rc_picture_get(struct rc_server *server, const char *name, size_t size, const struct form *form,
                   struct picture **picture)
{
	uint64_t hash = rc_topic_hash(&server->topics, name, size), birth = 0, readable = 0;
	uint32_t number = 0, messages = 0;
	pthread_mutex_lock(&server->log_lock);
	const struct rc_topic *topic = rc_topics_find(&server->topics, name, size, hash);
	if (topic && topic->state && topic->state->key_count) {
		number = topic->id;
		birth = topic->birth;
		messages = topic->message_count;
		readable = rc_log_readable(&server->log);
	}
	pthread_mutex_unlock(&server->log_lock);
	*picture = birth ? find(&server->pictures, form, number, birth, messages, readable) : NULL;
	return birth && !*picture ? take(server, name, size, form, picture) : 0;
}
