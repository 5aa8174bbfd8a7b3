/* SPDX-License-Identifier: MIT
 *
 * web.c - see web.h. It knows nothing of the application server: what the pages show they ask for over /api, /stats and
 * the dialect, as anybody would.
 *
 * The assembler puts the files into the program, as they are and compressed, so the binary alone is enough. It looks
 * for them from the top of the tree and, with the same path, under the directory of the build, where the client is
 * joined from its modules, and where all of them are compressed.
 */
#define XXH_INLINE_ALL
#include "web.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <xxhash.h>

#include "lib/answer.h"

/* NOLINTBEGIN(bugprone-macro-parentheses): the name is declared */
#define EMBED_ONE(name, file)                                                                                          \
	__asm__(".pushsection .rodata\n" #name ":\n.incbin \"tools/web/" file "\"\n" #name "_end:\n.popsection\n");    \
	extern const char name[] __attribute__((visibility("hidden")));                                                \
	extern const char name##_end[] __attribute__((visibility("hidden")))
#define EMBED(name, file)                                                                                              \
	EMBED_ONE(name, file);                                                                                         \
	EMBED_ONE(name##_gz, file ".gz")
/* NOLINTEND(bugprone-macro-parentheses) */

EMBED(app_web_index, "index.html");
EMBED(app_web_dashboard, "dashboard.js");
EMBED(app_web_charts, "charts.js");
EMBED(app_web_nodes, "nodes.js");
EMBED(app_web_style, "style.css");
EMBED(app_web_client, "ringcast.js");
EMBED(app_web_small, "ringcast.min.js");
EMBED(app_web_small_module, "ringcast.min.mjs");
EMBED(app_web_book_page, "book.html");
EMBED(app_web_book, "book.js");

#define HTML "text/html; charset=utf-8"
#define SCRIPT "text/javascript; charset=utf-8"
#define STYLE "text/css; charset=utf-8"

struct file {
	const char *path, *type, *begin, *end;
	const char *gzip, *gzip_end;
	bool anywhere; /* pages of other sites may load it */
};

#define FILE_OF(path, type, name, anywhere)                                                                            \
	{                                                                                                              \
		path, type, name, name##_end, name##_gz, name##_gz_end, anywhere                                       \
	}
#define CLIENT                                                                                                         \
	FILE_OF("/ringcast.js", SCRIPT, app_web_client, true),                                                         \
	    FILE_OF("/ringcast.min.js", SCRIPT, app_web_small, true),                                                  \
	    FILE_OF("/ringcast.min.mjs", SCRIPT, app_web_small_module, true)

static const struct file files[] = {
	FILE_OF("/", HTML, app_web_index, false),
	FILE_OF("/dashboard.js", SCRIPT, app_web_dashboard, false),
	FILE_OF("/charts.js", SCRIPT, app_web_charts, false),
	FILE_OF("/nodes.js", SCRIPT, app_web_nodes, false),
	FILE_OF("/style.css", STYLE, app_web_style, false),
	CLIENT,
};

static const struct file book_page = FILE_OF("", HTML, app_web_book_page, false);
static const struct file book_files[] = {
	FILE_OF("/book.js", SCRIPT, app_web_book, false),
	FILE_OF("/style.css", STYLE, app_web_style, false),
	CLIENT,
};

/* Another version has other files under the same names. So a browser asks each time, and mostly hears that it has them.
 */
static void add_headers(rc_request *request, const struct file *file, const char *tag)
{
	rc_request_add_header(request, "ETag", tag);
	rc_request_add_header(request, "Cache-Control", "no-cache");
	rc_request_add_header(request, "Vary", "Accept-Encoding");
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

/* RFC 9110, section 12.5.3: whether a list of codings has gzip, or a star, with another weight than 0. */
static bool takes_gzip(const char *list)
{
	bool star = false;
	for (const char *each = list; each; each = strchr(each, ',')) {
		each += strspn(each, ", \t");
		size_t name = strcspn(each, ",; \t"), all = strcspn(each, ",");
		const char *weight = memchr(each, '=', all);
		bool taken = !weight || strspn(weight + 1, "0. \t") < all - (size_t)(weight + 1 - each);
		if (name == 4 && strncasecmp(each, "gzip", 4) == 0)
			return taken;
		star = star || (name == 1 && *each == '*' && taken);
	}
	return star;
}

static int answer(rc_request *request, const struct file *file)
{
	const char *known = rc_request_header(request, "If-None-Match");
	const char *codings = rc_request_header(request, "Accept-Encoding");
	bool small = codings && takes_gzip(codings);
	const char *begin = small ? file->gzip : file->begin;
	size_t size = (size_t)((small ? file->gzip_end : file->end) - begin);
	char tag[24];
	if (!answer_takes(request, "GET, HEAD"))
		return answer_method(request, "GET, HEAD");
	snprintf(tag, sizeof tag, "\"%016llx\"", (unsigned long long)XXH3_64bits(begin, size));
	add_headers(request, file, tag);
	/* RFC 9110, section 13.1.2: a list of tags, weak ones too, or a star. */
	if (known && (strstr(known, tag) || strcmp(known, "*") == 0))
		return rc_request_respond(request, 304, file->type, NULL, 0) ? 503 : 0;
	if (small)
		rc_request_add_header(request, "Content-Encoding", "gzip");
	return rc_request_respond(request, 200, file->type, begin, size) ? 503 : 0;
}

size_t app_web_small_size(void)
{
	return (size_t)((uintptr_t)app_web_small_gz_end - (uintptr_t)app_web_small_gz);
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
