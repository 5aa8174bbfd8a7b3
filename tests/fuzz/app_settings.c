/* SPDX-License-Identifier: MIT
 *
 * app_settings.c - a configuration file of `ringcast app`: it is taken or refused, and what is taken opens nothing by
 * mistake: keys are long enough, names are text, addresses that are believed were written there, and limits are not
 * left open. Nobody listens, and no file that it names is made.
 */
#include "app/exposure.h"
#include "app/settings.h"
#include "fuzz.h"

#include <fcntl.h>
#include <jansson.h>
#include <sys/mman.h>
#include <unistd.h>

static void check_list(const struct option_list *list)
{
	for (unsigned i = 0; i < list->count; i++) {
		json_t *text = json_string(list->items[i]);
		HOLDS(text, "no UTF-8");
		json_decref(text);
	}
}

static void check(const struct app_settings *settings)
{
	for (unsigned i = 0; i < settings->api.count; i++)
		HOLDS(strlen(settings->api.items[i]) >= KEY_SIZE_MIN, "a key that can be guessed");
	for (unsigned i = 0; i < settings->operators.count; i++)
		HOLDS(strlen(settings->operators.items[i]) >= KEY_SIZE_MIN, "a key that can be guessed");
	HOLDS(settings->api.count >= settings->api_keys.count, "a key that was left out");
	HOLDS(settings->proxies.count == settings->trusted.count, "proxies");
	HOLDS(settings->trusted.count || !networks_hold(&settings->proxies, "127.0.0.1"), "nobody was named");
	HOLDS(settings->auth != APP_AUTH_AUTO && (settings->auth == APP_AUTH_OFF || settings->keys.count), "tokens");
	HOLDS(settings->connections_per_address != APP_UNSET && settings->handshakes_per_second != APP_UNSET, "limits");
	HOLDS(settings->content_max && settings->message_max && settings->rooms_max, "a limit of nothing");
	HOLDS(settings->history_max && settings->history_max <= APP_HISTORY_MAX, "a product that overflows");
	check_list(&settings->listen);
	check_list(&settings->origins);
	check_list(&settings->topics);
	check_list(&settings->rooms);
	check_list(&settings->token_audiences);
	struct local_listeners outside = { .loopback = { true, false }, .count = 2 };
	int open = app_exposure_too_open(settings, &outside, UINT32_MAX);
	HOLDS(open == (settings->auth == APP_AUTH_OFF && !settings->open ? 1 : -1), "who is let in?");
	HOLDS(app_exposure_too_open(settings, &outside, 1) < 0, "the API has its own keys");
}

/* A key file that it names is read: only from here, so that what the fuzzer does depends on its bytes alone. */
static bool names_files(const uint8_t *data, size_t size)
{
	return memmem(data, size, "file", 4) || memmem(data, size, "token-key", 9) || memmem(data, size, "tls-", 4) ||
	       memmem(data, size, "fd:", 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int silence = -1, voice = -1, out = -1;
	struct app_settings *settings;
	char path[64];
	if (names_files(data, size))
		return 0;
	if (silence < 0) {
		silence = open("/dev/null", O_WRONLY | O_CLOEXEC);
		voice = dup(STDERR_FILENO);
		out = dup(STDOUT_FILENO);
	}
	int file = memfd_create("settings", MFD_CLOEXEC);
	HOLDS(file >= 0 && silence >= 0 && write(file, data, size) == (ssize_t)size, "a file");
	snprintf(path, sizeof path, "/proc/self/fd/%d", file);
	/* It says what is wrong, which with random bytes is a lot. */
	dup2(silence, STDERR_FILENO);
	int status = app_settings_read_file(path, &settings);
	dup2(voice, STDERR_FILENO);
	close(file);
	HOLDS(status == -1 || status == EXIT_FAILED, "%d", status);
	if (status < 0) {
		check(settings);
		fflush(stdout);
		dup2(silence, STDOUT_FILENO);
		app_exposure_print(settings);
		fflush(stdout);
		dup2(out, STDOUT_FILENO);
		app_settings_free(settings);
	}
	return 0;
}
