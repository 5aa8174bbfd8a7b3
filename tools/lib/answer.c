/* SPDX-License-Identifier: MIT
 *
 * answer.c - see answer.h.
 */
#include "answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quote.h"

int answer_error(rc_request *request, int status, const char *words)
{
	char *body = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&body, &size);
	if (!to)
		return 503;
	fputs("{\"error\":", to);
	quote_json(to, words);
	fputs("}", to);
	int code = fclose(to);
	if (!code)
		code = rc_request_respond(request, status, "application/json", body, size);
	free(body);
	return code ? 503 : 0;
}

bool answer_takes(const rc_request *request, const char *methods)
{
	const char *method = rc_request_method(request);
	size_t size = strlen(method);
	for (const char *at = methods; *at; at += strspn(at, ", ")) {
		size_t each = strcspn(at, ",");
		if (each == size && memcmp(at, method, size) == 0)
			return true;
		at += each;
	}
	return false;
}

int answer_method(rc_request *request, const char *methods)
{
	char words[80];
	snprintf(words, sizeof words, "this path takes %s", methods);
	rc_request_add_header(request, "Allow", methods);
	return answer_error(request, 405, words);
}

const char *answer_words(int status)
{
	switch (status) {
	case 404:
		return "no such path";
	case 413:
		return "no body is taken here";
	case 503:
		return "out of memory";
	default:
		return "the request is refused";
	}
}
