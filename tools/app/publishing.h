/* SPDX-License-Identifier: MIT
 *
 * publishing.h - POST /api/publish: JSON to updates, and their numbers back. It must not know what a request is.
 *
 *      {"topic","data","key"?,"remove"?:true,"snapshot"?:true}     {"seq","epoch"}
 *      [{...},{...}], or one a line: published as one               {"results":[{"topic","seq","epoch"},...]}
 */
#ifndef APP_PUBLISHING_H
#define APP_PUBLISHING_H

#include <jansson.h>

#include "out.h"
#include "ringcast.h"

struct app;

struct app_publishing {
	struct app *app;
	rc_conn conn;    /* whose answer comes later, on several nodes */
	char wrong[160]; /* out: in words */
};

#define APP_PUBLISHING_WAITS 202

/* Publishes what `values` says, an array with all values of the body, and writes the answer. Returns 200, or a status
 * with publishing->wrong set. With a backplane nothing is written, and it returns APP_PUBLISHING_WAITS: the request is
 * to wait, and is answered when the nodes have it. */
int app_publishing_run(struct app_publishing *publishing, const json_t *values, struct app_out *out);

#endif
