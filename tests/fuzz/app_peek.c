/* SPDX-License-Identifier: MIT
 *
 * app_peek.c - the id of a message that is not read: the input as what a client sent. What is found in JSON is what the
 * whole of it says, and nothing beside the bytes is looked at; where there is nothing to be misunderstood, it is found.
 */
#include "app/fields.h"
#include "app/peek.h"
#include "fuzz.h"

/* Whether the id has a form that can be told, in the words of peek.h. */
static bool can_be_told(const json_t *id)
{
	return json_is_integer(id) || (json_is_string(id) && json_string_length(id) <= APP_MESSAGE_ID_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = exact_copy(data, size);
	json_t *told = app_peek_id(copy, size);
	HOLDS(!told || json_is_integer(told) || json_is_string(told), "an id of another type");
	HOLDS(!told || json_string_length(told) <= APP_MESSAGE_ID_MAX, "an id that is too long");
	json_t *message = json_loadb(copy, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	const json_t *id = json_object_get(message, "id");
	if (message && told)
		HOLDS(json_equal(told, id), "another id than the message has");
	if (json_is_object(message) && can_be_told(id) && size <= APP_PEEK_MAX && !memchr(copy, '\\', size))
		HOLDS(told, "an id that was not found");
	json_decref(message);
	json_decref(told);
	free(copy);
	return 0;
}
