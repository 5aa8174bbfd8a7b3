/* SPDX-License-Identifier: MIT
 *
 * web.c - see web.h. It knows nothing of the application server: what the pages show they ask for over /api, /stats and
 * the dialect, as anybody would.
 *
 * The assembler puts the files into the program, so the binary alone is enough. It looks for them from the top of the
 * tree and, with the same path, under the directory of the build, where the client is joined from its modules.
 */
#define XXH_INLINE_ALL
#include "web.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "lib/answer.h"

/* NOLINTBEGIN(bugprone-macro-parentheses): the name is declared */
#define EMBED(name, file)                                                                                              \
	__asm__(".pushsection .rodata\n" #name ":\n.incbin \"tools/web/" file "\"\n" #name "_end:\n.popsection\n");    \
	extern const char name[] __attribute__((visibility("hidden")));                                                \
	extern const char name##_end[] __attribute__((visibility("hidden")))
/* NOLINTEND(bugprone-macro-parentheses) */

EMBED(app_web_index, "index.html");
EMBED(app_web_dashboard, "dashboard.js");
EMBED(app_web_charts, "charts.js");
EMBED(app_web_style, "style.css");
EMBED(app_web_client, "ringcast.js");
EMBED(app_web_book_page, "book.html");
EMBED(app_web_book, "book.js");

#define HTML "text/html; charset=utf-8"
#define SCRIPT "text/javascript; charset=utf-8"

struct file {
	const char *path, *type, *begin, *end;
	bool anywhere; /* pages of other sites may load it */
};

static const struct file files[] = {
	{ "/", HTML, app_web_index, app_web_index_end, false },
	{ "/dashboard.js", SCRIPT, app_web_dashboard, app_web_dashboard_end, false },
	{ "/charts.js", SCRIPT, app_web_charts, app_web_charts_end, false },
	{ "/style.css", "text/css; charset=utf-8", app_web_style, app_web_style_end, false },
	{ "/ringcast.js", SCRIPT, app_web_client, app_web_client_end, true },
};

static const struct file book_page = { "", HTML, app_web_book_page, app_web_book_page_end, false };
static const struct file book_files[] = {
	{ "/book.js", SCRIPT, app_web_book, app_web_book_end, false },
	{ "/style.css", "text/css; charset=utf-8", app_web_style, app_web_style_end, false },
	{ "/ringcast.js", SCRIPT, app_web_client, app_web_client_end, true },
};

/* Another version has other files under the same names. So a browser asks each time, and mostly hears that it has them.
 */
static void add_headers(rc_request *request, const struct file *file, const char *tag)
{
	rc_request_add_header(request, "ETag", tag);
	rc_request_add_header(request, "Cache-Control", "no-cache");
	rc_request_add_header(request, "X-Content-Type-Options", "nosniff");
	if (file->anywhere)
		rc_request_add_header(request, "Access-Control-Allow-Origin", "*");
	if (strcmp(file->type, HTML) == 0) {
		rc_request_add_header(
		    request, "Content-Security-Policy",
		    "default-src 'self'; connect-src 'self' ws: wss:; img-src data:; base-uri 'none'; "
		    "form-action 'none'; frame-ancestors 'none'");
		rc_request_add_header(request, "Referrer-Policy", "no-referrer");
	}
}

static int answer(rc_request *request, const struct file *file)
{
	const char *known = rc_request_header(request, "If-None-Match");
	size_t size = (size_t)(file->end - file->begin);
	char tag[24];
	if (!answer_takes(request, "GET, HEAD"))
		return answer_method(request, "GET, HEAD");
	snprintf(tag, sizeof tag, "\"%016llx\"", (unsigned long long)XXH3_64bits(file->begin, size));
	add_headers(request, file, tag);
	/* RFC 9110, section 13.1.2: a list of tags, weak ones too, or a star. */
	if (known && (strstr(known, tag) || strcmp(known, "*") == 0))
		return rc_request_respond(request, 304, file->type, NULL, 0) ? 503 : 0;
	return rc_request_respond(request, 200, file->type, file->begin, size) ? 503 : 0;
}

static int answer_one_of(rc_request *request, const struct file *list, size_t count)
{
	const char *path = rc_request_path(request);
	for (size_t i = 0; i < count; i++)
		if (strcmp(path, list[i].path) == 0)
			return answer(request, &list[i]);
	return -1;
}

bool app_web_has(const char *path)
{
	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		if (strcmp(path, files[i].path) == 0)
			return true;
	return false;
}

int app_web_answer(rc_request *request)
{
	return answer_one_of(request, files, sizeof files / sizeof *files);
}

int app_web_answer_book(rc_request *request, const char *place, const char *topics)
{
	const char *path = rc_request_path(request);
	if (strcmp(path, place) == 0)
		return answer(request, &book_page);
	if (strcmp(path, "/books") == 0)
		return rc_request_respond(request, 200, "application/json", topics, strlen(topics)) ? 503 : 0;
	return answer_one_of(request, book_files, sizeof book_files / sizeof *book_files);
}
