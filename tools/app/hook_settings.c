/* SPDX-License-Identifier: MIT
 *
 * hook_settings.c - see hook_settings.h.
 */
#include "hook_settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/calls.h"
#include "settings.h"

#define SECRET_SIZE_MIN 16
#define SECRET_SIZE_MAX 4096

static bool check_urls(const struct app_settings *settings)
{
	static const char *const names[] = { "hook-connect", "hook-join", "hook-subscribe", "hook-message" };
	for (unsigned i = 0; i < APP_HOOK_COUNT; i++) {
		const char *url = settings->hooks.urls[i], *wrong = url ? calls_wrong_url(url) : NULL;
		if (wrong)
			return app_wrong(settings, names[i], 0, "%s '%s': %s", names[i], url, wrong), false;
	}
	return true;
}

/* It stands in a header. */
static bool take_secret(struct app_settings *settings, const char *name, const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if ((unsigned char)text[i] <= ' ' || text[i] == 0x7f)
			return app_wrong(settings, name, 0, "%s: a secret has no spaces and no control characters",
			                 name),
			       false;
	if (size < SECRET_SIZE_MIN)
		return app_wrong(settings, name, 0, "%s: a secret has at least %d bytes", name, SECRET_SIZE_MIN), false;
	settings->hooks.loaded = strndup(text, size);
	return settings->hooks.loaded;
}

static bool load_secret(struct app_settings *settings)
{
	const struct app_hook_settings *hooks = &settings->hooks;
	char text[SECRET_SIZE_MAX + 1];
	if (hooks->secret)
		return take_secret(settings, "hook-secret", hooks->secret, strlen(hooks->secret));
	if (!hooks->secret_file)
		return true;
	FILE *file = fopen(hooks->secret_file, "re");
	if (!file)
		return app_wrong(settings, "hook-secret-file", 0, "%s: %s", hooks->secret_file, strerror(errno)), false;
	size_t size = fread(text, 1, sizeof text, file);
	bool whole = !ferror(file) && size <= SECRET_SIZE_MAX;
	fclose(file);
	while (size && (text[size - 1] == '\n' || text[size - 1] == '\r'))
		size--;
	bool taken = whole
	                 ? take_secret(settings, "hook-secret-file", text, size)
	                 : (app_wrong(settings, "hook-secret-file", 0, "%s: cannot be read, or is larger than %d bytes",
	                              hooks->secret_file, SECRET_SIZE_MAX),
	                    false);
	explicit_bzero(text, sizeof text);
	return taken;
}

bool app_hook_settings_finish(struct app_settings *settings)
{
	const struct app_hook_settings *hooks = &settings->hooks;
	const struct {
		const char *name;
		unsigned value;
	} limits[] = {
		{ "hook-timeout", hooks->timeout_ms },
		{ "hook-calls", hooks->calls_max },
		{ "hook-queue", hooks->waiting_max },
	};
	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
		if (!limits[i].value)
			return app_wrong(settings, limits[i].name, 0, "%s must not be 0", limits[i].name), false;
	if (hooks->ca_file && access(hooks->ca_file, R_OK) != 0)
		return app_wrong(settings, "hook-ca", 0, "%s: %s", hooks->ca_file, strerror(errno)), false;
	return check_urls(settings) && load_secret(settings);
}

void app_hook_settings_free(struct app_hook_settings *hooks)
{
	if (hooks->loaded)
		explicit_bzero(hooks->loaded, strlen(hooks->loaded));
	free(hooks->loaded);
}
