/* SPDX-License-Identifier: MIT
 *
 * calls.c - see calls.h. It must not know what is asked, nor what an answer means.
 *
 * Invariant: an account is in the list of those that wait exactly while a call of its waits. It is freed when it has no
 * call any more.
 */
#include "calls.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "wait.h"

#define LOOK_MS 50 /* between two looks for calls that have waited for too long, while any waits */
#define IDLE_MS 60000
#define BUCKETS 256

struct job {
	TAILQ_ENTRY(job) link; /* of its account while it waits, then of those that run */
	struct account *account;
	struct call call;
	uint64_t until_ns;
	CURL *easy;
	struct curl_slist *headers;
	char wrong[CURL_ERROR_SIZE];
	bool too_large;
	char *answer;
	size_t size, capacity;
	char bytes[]; /* URL, type, secret, body */
};

TAILQ_HEAD(jobs, job);

struct account {
	TAILQ_ENTRY(account) link;  /* of those that wait */
	TAILQ_ENTRY(account) chain; /* of its bucket */
	uint64_t name;
	unsigned running, waiting;
	struct jobs jobs; /* that wait, the oldest first */
};

struct calls {
	struct calls_options options;
	CURLM *multi;
	pthread_t thread;
	struct jobs running; /* the thread's own */
	pthread_mutex_t lock;
	/* with the lock */
	bool ends;
	unsigned running_count, waiting_count;
	TAILQ_HEAD(, account) turn; /* whose calls wait: the first is next */
	TAILQ_HEAD(, account) buckets[BUCKETS];
	char ca_file[];
};

/* ---- accounts: with the lock ---- */

static struct account *find_account(struct calls *calls, uint64_t name, bool make)
{
	struct account *account;
	for (account = TAILQ_FIRST(&calls->buckets[name % BUCKETS]); account; account = TAILQ_NEXT(account, chain))
		if (account->name == name)
			return account;
	account = make ? calloc(1, sizeof *account) : NULL;
	if (!account)
		return NULL;
	account->name = name;
	TAILQ_INIT(&account->jobs);
	TAILQ_INSERT_HEAD(&calls->buckets[name % BUCKETS], account, chain);
	return account;
}

static void settle_account(struct calls *calls, struct account *account)
{
	if (account->running || account->waiting)
		return;
	TAILQ_REMOVE(&calls->buckets[account->name % BUCKETS], account, chain);
	free(account);
}

static unsigned share_of(const struct account *account, unsigned max, unsigned part)
{
	return account->name ? (max + part - 1) / part : max;
}

static void take_out(struct calls *calls, struct job *job)
{
	struct account *account = job->account;
	TAILQ_REMOVE(&account->jobs, job, link);
	calls->waiting_count--;
	if (!--account->waiting)
		TAILQ_REMOVE(&calls->turn, account, link);
}

/* The next that may run, or null. Its account goes behind the others. */
static struct job *next_job(struct calls *calls)
{
	struct account *account;
	if (calls->running_count >= calls->options.running_max)
		return NULL;
	for (account = TAILQ_FIRST(&calls->turn); account; account = TAILQ_NEXT(account, link)) {
		if (account->running >= share_of(account, calls->options.running_max, 2))
			continue;
		struct job *job = TAILQ_FIRST(&account->jobs);
		take_out(calls, job);
		if (account->waiting) {
			TAILQ_REMOVE(&calls->turn, account, link);
			TAILQ_INSERT_TAIL(&calls->turn, account, link);
		}
		account->running++;
		calls->running_count++;
		return job;
	}
	return NULL;
}

/* One that has waited for too long, or any when it ends; or null. */
static struct job *next_late(struct calls *calls, uint64_t now_ns)
{
	struct account *account;
	for (account = TAILQ_FIRST(&calls->turn); account; account = TAILQ_NEXT(account, link)) {
		struct job *job = TAILQ_FIRST(&account->jobs);
		if (job->until_ns > now_ns && !calls->ends)
			continue;
		take_out(calls, job);
		settle_account(calls, account);
		return job;
	}
	return NULL;
}

/* ---- one call ---- */

static void finish(struct job *job, int status, const char *why, bool unreachable)
{
	const struct calls_answer answer = { .status = status,
		                             .unreachable = unreachable,
		                             .why = why,
		                             .body = job->answer ? job->answer : "",
		                             .size = job->size };
	job->call.done(job->call.context, &answer);
	curl_slist_free_all(job->headers);
	curl_easy_cleanup(job->easy);
	free(job->answer);
	free(job);
}

static size_t take_answer(char *bytes, size_t one, size_t count, void *context)
{
	struct job *job = context;
	size_t size = one * count;
	(void)one;
	if (size > job->capacity - job->size) {
		job->too_large = true;
		return 0; /* which ends it */
	}
	memcpy(job->answer + job->size, bytes, size);
	job->size += size;
	return size;
}

static bool add_header(struct job *job, const char *name, const char *value)
{
	size_t room = strlen(name) + strlen(value) + 1;
	char *line = malloc(room);
	if (!line)
		return false;
	snprintf(line, room, "%s%s", name, value);
	struct curl_slist *headers = curl_slist_append(job->headers, line);
	free(line);
	if (headers)
		job->headers = headers;
	return headers;
}

static bool prepare(const struct calls *calls, struct job *job, uint64_t now_ns)
{
	long left_ms = job->until_ns > now_ns ? (long)((job->until_ns - now_ns) / NS_PER_MS) + 1 : 1;
	const struct call *call = &job->call;
	job->answer = malloc(calls->options.answer_max + 1);
	job->capacity = calls->options.answer_max;
	job->easy = curl_easy_init();
	if (!job->answer || !job->easy || !add_header(job, "Content-Type: ", call->type) ||
	    !add_header(job, "Expect:", "") ||
	    (call->secret && !add_header(job, "Authorization: Bearer ", call->secret)))
		return false;
	CURL *easy = job->easy;
	bool set = curl_easy_setopt(easy, CURLOPT_URL, call->url) == CURLE_OK &&
	           curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
	           curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body) == CURLE_OK &&
	           curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->size) == CURLE_OK &&
	           curl_easy_setopt(easy, CURLOPT_HTTPHEADER, job->headers) == CURLE_OK &&
	           curl_easy_setopt(easy, CURLOPT_USERAGENT, "ringcast") == CURLE_OK &&
	           curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK &&
	           curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
	           curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, left_ms) == CURLE_OK &&
	           curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, job->wrong) == CURLE_OK &&
	           curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_answer) == CURLE_OK &&
	           curl_easy_setopt(easy, CURLOPT_WRITEDATA, job) == CURLE_OK &&
	           curl_easy_setopt(easy, CURLOPT_PRIVATE, job) == CURLE_OK;
	if (set && calls->options.ca_file)
		set = curl_easy_setopt(easy, CURLOPT_CAINFO, calls->options.ca_file) == CURLE_OK;
	return set && curl_multi_add_handle(calls->multi, easy) == CURLM_OK;
}

static void release(struct calls *calls, struct job *job)
{
	pthread_mutex_lock(&calls->lock);
	calls->running_count--;
	job->account->running--;
	settle_account(calls, job->account);
	pthread_mutex_unlock(&calls->lock);
}

static void end_call(struct calls *calls, struct job *job, CURLcode code)
{
	long status = 0;
	curl_off_t connected_us = 0;
	const char *why = job->too_large ? "the answer is too large"
	                  : *job->wrong  ? job->wrong
	                                 : curl_easy_strerror(code);
	if (code == CURLE_OK)
		curl_easy_getinfo(job->easy, CURLINFO_RESPONSE_CODE, &status);
	/* Set for a connection that is used again, too. */
	curl_easy_getinfo(job->easy, CURLINFO_PRETRANSFER_TIME_T, &connected_us);
	job->answer[job->size] = 0;
	TAILQ_REMOVE(&calls->running, job, link);
	curl_multi_remove_handle(calls->multi, job->easy);
	release(calls, job);
	finish(job, (int)status, status ? NULL : why, !status && !connected_us);
}

/* ---- the thread ---- */

static void begin_calls(struct calls *calls)
{
	for (;;) {
		uint64_t now_ns = clock_now();
		pthread_mutex_lock(&calls->lock);
		struct job *late = next_late(calls, now_ns), *job = late ? NULL : next_job(calls);
		bool ends = calls->ends;
		pthread_mutex_unlock(&calls->lock);
		if (late) {
			finish(late, 0, ends ? "the server ends" : "it had no turn in time", false);
			continue;
		}
		if (!job)
			return;
		if (prepare(calls, job, now_ns)) {
			TAILQ_INSERT_TAIL(&calls->running, job, link);
			continue;
		}
		release(calls, job);
		finish(job, 0, "out of memory, or the URL is no URL", false);
	}
}

/* Returns whether any ended: that made room for the next. */
static bool end_calls(struct calls *calls)
{
	CURLMsg *message;
	bool any = false;
	int left;
	while ((message = curl_multi_info_read(calls->multi, &left))) {
		struct job *job = NULL;
		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&job);
		end_call(calls, job, message->data.result);
		any = true;
	}
	return any;
}

static void *run(void *argument)
{
	struct calls *calls = argument;
	for (bool ends = false; !ends;) {
		int running;
		begin_calls(calls);
		curl_multi_perform(calls->multi, &running);
		bool ended = end_calls(calls);
		pthread_mutex_lock(&calls->lock);
		ends = calls->ends;
		int wait_ms = calls->waiting_count ? LOOK_MS : IDLE_MS;
		pthread_mutex_unlock(&calls->lock);
		if (!ended && !ends)
			curl_multi_poll(calls->multi, NULL, 0, wait_ms, NULL);
	}
	begin_calls(calls);
	while (!TAILQ_EMPTY(&calls->running)) {
		struct job *job = TAILQ_FIRST(&calls->running);
		snprintf(job->wrong, sizeof job->wrong, "the server ends");
		end_call(calls, job, CURLE_ABORTED_BY_CALLBACK);
	}
	return NULL;
}

/* ---- from outside ---- */

struct calls *calls_start(const struct calls_options *options)
{
	size_t ca_size = options->ca_file ? strlen(options->ca_file) + 1 : 0;
	struct calls *calls = calloc(1, sizeof *calls + ca_size);
	if (!calls)
		return NULL;
	calls->options = *options;
	if (ca_size)
		calls->options.ca_file = memcpy(calls->ca_file, options->ca_file, ca_size);
	TAILQ_INIT(&calls->turn);
	for (unsigned i = 0; i < BUCKETS; i++)
		TAILQ_INIT(&calls->buckets[i]);
	TAILQ_INIT(&calls->running);
	pthread_mutex_init(&calls->lock, NULL);
	calls->multi = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? curl_multi_init() : NULL;
	if (calls->multi && pthread_create(&calls->thread, NULL, run, calls) == 0)
		return calls;
	curl_multi_cleanup(calls->multi);
	pthread_mutex_destroy(&calls->lock);
	free(calls);
	return NULL;
}

void calls_stop(struct calls *calls)
{
	if (!calls)
		return;
	pthread_mutex_lock(&calls->lock);
	calls->ends = true;
	pthread_mutex_unlock(&calls->lock);
	curl_multi_wakeup(calls->multi);
	pthread_join(calls->thread, NULL);
	curl_multi_cleanup(calls->multi);
	curl_global_cleanup();
	pthread_mutex_destroy(&calls->lock);
	free(calls);
}

static const char *append(char **at, const void *bytes, size_t size)
{
	char *begin = *at;
	memcpy(begin, bytes, size);
	*at += size;
	return begin;
}

static struct job *copy_call(const struct calls *calls, const struct call *call)
{
	size_t url_size = strlen(call->url) + 1, type_size = strlen(call->type) + 1;
	size_t secret_size = call->secret ? strlen(call->secret) + 1 : 0;
	struct job *job = calloc(1, sizeof *job + url_size + type_size + secret_size + call->size);
	if (!job)
		return NULL;
	char *at = job->bytes;
	job->call = *call;
	job->call.url = append(&at, call->url, url_size);
	job->call.type = append(&at, call->type, type_size);
	if (call->secret)
		job->call.secret = append(&at, call->secret, secret_size);
	job->call.body = append(&at, call->body, call->size);
	job->until_ns = clock_now() + calls->options.timeout_ms * NS_PER_MS;
	return job;
}

int calls_post(struct calls *calls, const struct call *call)
{
	struct job *job = copy_call(calls, call);
	int code = 0;
	if (!job)
		return -ENOMEM;
	pthread_mutex_lock(&calls->lock);
	struct account *account = find_account(calls, call->account, true);
	if (!account)
		code = -ENOMEM;
	else if (calls->waiting_count >= calls->options.waiting_max || calls->ends)
		code = -EAGAIN;
	else if (account->waiting >= share_of(account, calls->options.waiting_max, 4))
		code = -EBUSY;
	if (code && account)
		settle_account(calls, account);
	if (!code) {
		job->account = account;
		TAILQ_INSERT_TAIL(&account->jobs, job, link);
		if (!account->waiting++)
			TAILQ_INSERT_TAIL(&calls->turn, account, link);
		calls->waiting_count++;
	}
	pthread_mutex_unlock(&calls->lock);
	if (code)
		free(job);
	else
		curl_multi_wakeup(calls->multi);
	return code;
}

void calls_count(struct calls *calls, unsigned *running, unsigned *waiting)
{
	pthread_mutex_lock(&calls->lock);
	*running = calls->running_count;
	*waiting = calls->waiting_count;
	pthread_mutex_unlock(&calls->lock);
}

const char *calls_wrong_url(const char *url)
{
	CURLU *parsed = curl_url();
	char *scheme = NULL;
	const char *wrong = NULL;
	if (!parsed)
		return "no memory";
	if (curl_url_set(parsed, CURLUPART_URL, url, 0) != CURLUE_OK ||
	    curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
	    (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
		wrong = "expected http://HOST[:PORT]/PATH, or https://";
	curl_free(scheme);
	curl_url_cleanup(parsed);
	return wrong;
}
