/* SPDX-License-Identifier: MIT
 *
 * publisher.c - see publisher.h.
 */
#include "publisher.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "payload.h"
#include "ringcast_publish.h"

size_t book_topic(const struct market *market, unsigned book, char topic[BOOK_TOPIC_MAX])
{
	return (size_t)snprintf(topic, BOOK_TOPIC_MAX, BOOK_TOPIC "%s", market->symbols[book]);
}

int book_publisher_open(struct book_publisher *publisher, rc_server *server, const struct market *market)
{
	json_t *names = json_array();
	int code = 0;
	*publisher = (struct book_publisher){ .server = server, .market = market };
	for (unsigned book = 0; book < market->book_count && !code; book++) {
		char topic[BOOK_TOPIC_MAX];
		size_t size = book_topic(market, book, topic);
		code = rc_topic_open(server, topic, size, &publisher->books[book].topic);
		json_array_append_new(names, json_string(topic));
	}
	publisher->names = json_dumps(names, JSON_COMPACT);
	json_decref(names);
	return code || publisher->names ? code : -ENOMEM;
}

static int publish(struct book_publisher *publisher, const struct market_change *change)
{
	struct book_published *book = &publisher->books[change->book];
	bool remove = !change->quantity[strspn(change->quantity, "0.")];
	char text[PAYLOAD_MAX], key[BOOK_KEY_MAX + 1];
	struct payload payload = { .number = book->number + 1, .checksum = book->checksum };
	strcpy(payload.quantity, change->quantity);
	struct rc_publication message = {
		.data = text,
		.size = payload_write(&payload, text),
		.flags = RC_PUBLISH_WAIT | RC_PUBLISH_UNCHECKED | (remove ? RC_PUBLISH_REMOVE : 0),
		.topic = book->topic,
		.key = key,
		.key_size = book_key(change->side, change->price, key),
	};
	int64_t sequence = rc_publish_with(publisher->server, NULL, 0, &message);
	if (sequence < 0)
		return (int)sequence;
	book->number++;
	book->epoch = message.epoch;
	book->sequence = (uint64_t)sequence;
	return 0;
}

int book_publish(struct book_publisher *publisher, const struct market_change *change)
{
	publisher->books[change->book].checksum = book_checksum(&publisher->market->books[change->book]);
	return publish(publisher, change);
}

/* Level by level, from an empty book, so that each update has the checksum of what a reader has behind it. */
static int publish_book(struct book_publisher *publisher, unsigned index)
{
	struct book partial = { 0 };
	int code = 0;
	for (int side = 0; side < 2; side++) {
		const struct book_levels *levels = &publisher->market->books[index].sides[side];
		for (unsigned at = 0; at < levels->count && !code; at++) {
			struct market_change change = { .book = index, .side = (enum book_side)side };
			strcpy(change.price, levels->items[at].price_text);
			strcpy(change.quantity, levels->items[at].quantity);
			book_set(&partial, change.side, change.price, change.quantity);
			publisher->books[index].checksum = book_checksum(&partial);
			code = publish(publisher, &change);
		}
	}
	book_free(&partial);
	return code;
}

int book_publish_all(struct book_publisher *publisher)
{
	int code = 0;
	for (unsigned index = 0; index < publisher->market->book_count && !code; index++)
		code = publish_book(publisher, index);
	return code;
}

void book_publisher_close(struct book_publisher *publisher)
{
	free(publisher->names);
	publisher->names = NULL;
}
