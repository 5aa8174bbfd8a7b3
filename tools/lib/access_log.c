/* SPDX-License-Identifier: MIT
 *
 * access_log.c - see access_log.h. A line is shorter than what a pipe takes at once, so lines never mix, and a worker
 * never waits for their reader.
 */
#include "access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "quote.h"

#define LINE_MAX_SIZE 4000
#define PATH_SHOWN 400 /* each byte becomes six at most */
#define AGENT_SHOWN 100
#define METHOD_SHOWN 16

int access_log_open(struct access_log *log, const char *path)
{
	if (!path) {
		atomic_store(&log->on, false);
		return 0;
	}
	int fd = strcmp(path, "-") == 0 ? fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0)
	                                : open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
	if (fd < 0)
		return -errno;
	if (log->fd > 0) {
		dup3(fd, log->fd, O_CLOEXEC); /* workers write on: each line to the one or the other */
		close(fd);
	} else {
		log->fd = fd;
	}
	atomic_store(&log->on, true);
	return 0;
}

int access_log_check(const char *path)
{
	char folder[PATH_MAX];
	if (!path || strcmp(path, "-") == 0)
		return 0;
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd >= 0)
		close(fd);
	if (fd >= 0 || errno != ENOENT)
		return fd < 0 ? -errno : 0;
	snprintf(folder, sizeof folder, "%s", path);
	char *slash = strrchr(folder, '/');
	if (slash)
		slash[slash == folder] = 0;
	return access(slash ? folder : ".", W_OK | X_OK) ? -errno : 0;
}

void access_log_close(struct access_log *log)
{
	atomic_store(&log->on, false);
	if (log->fd > 0)
		close(log->fd);
	log->fd = 0;
}

static void put_time(FILE *to)
{
	struct timespec now;
	struct tm parts;
	char text[32];
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &parts);
	strftime(text, sizeof text, "%FT%T", &parts);
	fprintf(to, log_is_json() ? "{\"time\":\"%s.%03ldZ\"" : "%s.%03ldZ", text, now.tv_nsec / 1000000);
}

/* At most `max` bytes of text that a stranger wrote. */
static void put_text(FILE *to, const char *text, size_t max)
{
	char cut[PATH_SHOWN + 1];
	snprintf(cut, sizeof cut < max + 1 ? sizeof cut : max + 1, "%s", text);
	quote_json(to, cut);
}

static void write_request(FILE *to, const rc_request *request, const char *client, int status)
{
	const char *agent = rc_request_header(request, "User-Agent"), *method = rc_request_method(request);
	const char *path = rc_request_path(request);
	rc_conn conn = rc_request_conn(request);
	put_time(to);
	if (log_is_json()) {
		fprintf(to,
		        ",\"level\":\"info\",\"event\":\"request\",\"address\":\"%s\",\"connection\":\"%016" PRIx64
		        "\"",
		        client, conn);
		fputs(",\"method\":", to);
		put_text(to, method, METHOD_SHOWN);
		fputs(",\"path\":", to);
		put_text(to, path, PATH_SHOWN);
		fprintf(to, ",\"status\":%d,\"listener\":%u,\"tls\":%s,\"agent\":", status,
		        rc_request_listener(request), rc_request_is_tls(request) ? "true" : "false");
		put_text(to, agent ? agent : "", AGENT_SHOWN);
		fputs("}\n", to);
		return;
	}
	fprintf(to, " request %016" PRIx64 " %s %.*s ", conn, client, METHOD_SHOWN, method);
	put_text(to, path, PATH_SHOWN);
	fprintf(to, " %d ", status);
	put_text(to, agent ? agent : "", AGENT_SHOWN);
	putc('\n', to);
}

static void write_end(FILE *to, rc_conn conn, const struct rc_closing *closing)
{
	char reason[128];
	snprintf(reason, sizeof reason, "%.*s", (int)closing->reason_size, closing->reason ? closing->reason : "");
	put_time(to);
	if (log_is_json())
		fprintf(to,
		        ",\"level\":\"info\",\"event\":\"end\",\"connection\":\"%016" PRIx64
		        "\",\"code\":%u,\"by_peer\":%s,\"reason\":",
		        conn, closing->code, closing->by_peer ? "true" : "false");
	else
		fprintf(to, " end %016" PRIx64 " %u %s ", conn, closing->code, closing->by_peer ? "peer" : "server");
	quote_json(to, reason);
	fputs(log_is_json() ? "}\n" : "\n", to);
}

int access_log_request(const struct access_log *log, const rc_request *request, const char *client, int status)
{
	char line[LINE_MAX_SIZE];
	if (!atomic_load_explicit(&log->on, memory_order_relaxed))
		return status;
	FILE *to = fmemopen(line, sizeof line, "w");
	if (!to)
		return status;
	int shown = rc_request_status(request);
	/* An answer that was made counts for more than what is returned. */
	bool answered = shown >= 200 && shown != 426;
	write_request(to, request, client, status && !answered ? status : shown);
	long size = ftell(to);
	if (fclose(to) == 0 && size > 0)
		log_write(log->fd, line, (unsigned)size);
	return status;
}

void access_log_end(const struct access_log *log, rc_conn conn, const struct rc_closing *closing)
{
	char line[LINE_MAX_SIZE];
	if (!atomic_load_explicit(&log->on, memory_order_relaxed))
		return;
	FILE *to = fmemopen(line, sizeof line, "w");
	if (!to)
		return;
	write_end(to, conn, closing);
	long size = ftell(to);
	if (fclose(to) == 0 && size > 0)
		log_write(log->fd, line, (unsigned)size);
}
