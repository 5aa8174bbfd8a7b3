/* SPDX-License-Identifier: MIT
 *
 * fields.h - the fields of a client's message, and what the client is told when one is wrong. A function that returns
 * null or -1 has told the client why.
 */
#ifndef APP_FIELDS_H
#define APP_FIELDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define APP_MESSAGE_ID_MAX 128

struct app_client;

/* Sends {"type":"error","code":CODE,"message":WORDS}, with the id of the message that it is about: where that stands in
 * a DATA, the id of the DATA, which is refused by it. */
void app_send_error(struct app_client *client, const json_t *id, const char *code, const char *words);

/* Says that a field is missing, or is not what was expected. */
void app_field_wrong(struct app_client *client, const json_t *id, const char *field, const json_t *value,
                     const char *expected);

/* A text without control characters, of 1 to `max` bytes; or null. */
const char *app_field_text(struct app_client *client, const json_t *message, const json_t *id, const char *field,
                           size_t max, size_t *size);

/* The value of `content`, or else of `message` or `text`, within the bound that is set; or null. */
const json_t *app_field_content(struct app_client *client, const json_t *message, const json_t *id);
/* The name of the field that this is. */
const char *app_field_of_content(const json_t *message);
/* A text of nothing but white space. */
bool app_field_is_empty(const json_t *content);
size_t app_field_characters(const char *text, size_t size);

/* A whole number; a larger one counts as `max`, and none as `missing`; or -1. */
int64_t app_field_number(struct app_client *client, const json_t *message, const json_t *id, const char *field,
                         int64_t max, int64_t missing);

#endif
