/* SPDX-License-Identifier: MIT
 *
 * recorded.c - see recorded.h.
 *   Coinbase  {"type":"snapshot","product_id":S,"bids":[[PRICE,QUANTITY]...],"asks":[...]}
 *             {"type":"l2update","product_id":S,"changes":[["buy"|"sell",PRICE,QUANTITY]...]}
 *   Binance   {"e":"depthUpdate","s":S,"b":[[PRICE,QUANTITY]...],"a":[...]}
 */
#include "recorded.h"

#include <jansson.h>
#include <string.h>

#define NO_LEVEL "a level is not [PRICE, QUANTITY] in text"
#define STOPPED "it could not be kept"

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));
	return text ? text : "";
}

static const char *read_level(const json_t *pair, size_t at, enum book_side side, const struct recorded_reader *reader)
{
	const char *price = json_string_value(json_array_get(pair, at)),
		   *quantity = json_string_value(json_array_get(pair, at + 1));
	if (!price || !quantity)
		return NO_LEVEL;
	return reader->level(reader->context, side, price, quantity) ? NULL : STOPPED;
}

static const char *read_side(const json_t *list, enum book_side side, const struct recorded_reader *reader)
{
	const json_t *pair;
	size_t index;
	json_array_foreach(list, index, pair)
	{
		const char *wrong = read_level(pair, 0, side, reader);
		if (wrong)
			return wrong;
	}
	return NULL;
}

static const char *read_sides(const json_t *object, const char *bids, const char *asks,
                              const struct recorded_reader *reader)
{
	const char *wrong = read_side(json_object_get(object, bids), BOOK_BID, reader);
	return wrong ? wrong : read_side(json_object_get(object, asks), BOOK_ASK, reader);
}

static const char *read_changes(const json_t *list, const struct recorded_reader *reader)
{
	const json_t *change;
	size_t index;
	json_array_foreach(list, index, change)
	{
		const char *side = json_string_value(json_array_get(change, 0));
		if (!side || (strcmp(side, "buy") && strcmp(side, "sell")))
			return "a change is neither \"buy\" nor \"sell\"";
		const char *wrong = read_level(change, 1, *side == 'b' ? BOOK_BID : BOOK_ASK, reader);
		if (wrong)
			return wrong;
	}
	return NULL;
}

static const char *read_message(const json_t *object, const struct recorded_reader *reader)
{
	const char *type = text_of(object, "type");
	bool snapshot = !strcmp(type, "snapshot");
	if (snapshot || !strcmp(type, "l2update")) {
		if (!reader->begin(reader->context, text_of(object, "product_id"), snapshot))
			return STOPPED;
		return snapshot ? read_sides(object, "bids", "asks", reader)
		                : read_changes(json_object_get(object, "changes"), reader);
	}
	if (strcmp(text_of(object, "e"), "depthUpdate"))
		return NULL;
	return reader->begin(reader->context, text_of(object, "s"), false) ? read_sides(object, "b", "a", reader)
	                                                                   : STOPPED;
}

const char *recorded_read(const char *json, size_t size, const struct recorded_reader *reader)
{
	json_t *object = json_loadb(json, size, 0, NULL);
	const char *wrong = json_is_object(object) ? read_message(object, reader) : "it is no JSON object";
	json_decref(object);
	return wrong;
}
