/* SPDX-License-Identifier: MIT
 *
 * picture.h - a topic's state as bytes, in one form on the wire, made once for all who begin at about the same time.
 * They are sent from here, without a copy, and then read the log from where the picture was taken.
 *
 *      picture  | value | value | value | ... |        as it was when the log ended at `begin`, in the log's order
 *      log      ................................ begin ==== newer values ==== mark ---- everything ----
 *
 * A value that changed while the picture was taken may be missing in it, because the log has the newer one. Pictures do
 * not change: whoever holds one may read it. The newest of each topic and form is kept for as long as it is of use.
 */
#ifndef RC_PICTURE_H
#define RC_PICTURE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rc_server;
struct form;

struct picture {
	struct picture *next;
	const struct form *form;
	unsigned reference_count;
	uint32_t topic;
	uint32_t messages; /* that the topic had had before `begin` */
	bool incomplete;
	uint64_t birth; /* of the topic */
	uint64_t begin; /* entry: what is newer is in the log from here on */
	uint8_t *bytes;
	uint64_t *ends; /* of each value, in bytes from the beginning */
	uint64_t size, capacity;
	uint32_t count, count_max;
};

/* All of them. */
struct pictures {
	pthread_mutex_t lock; /* inside the log's */
	struct picture *first;
	size_t size, size_max; /* of all that they take */
};

/* Finds or takes a picture of a topic, which is the caller's until rc_picture_drop(). *picture is null when the topic
 * has no keys. Returns 0 or -ENOMEM. Without locks. */
int rc_picture_get(struct rc_server *server, const char *name, size_t size, const struct form *form,
                   struct picture **picture);

/* Null is allowed. */
void rc_picture_drop(struct rc_server *server, struct picture *picture);

/* Bytes of all. Any thread. */
size_t rc_pictures_size(struct pictures *pictures);

void rc_pictures_open(struct pictures *pictures, size_t size_max);
/* Nobody holds any. */
void rc_pictures_close(struct pictures *pictures);

#endif
