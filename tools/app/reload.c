/* SPDX-License-Identifier: MIT
 *
 * reload.c - see reload.h. Invariant: settings that are wrong in any way change nothing at all.
 */
#include "reload.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client.h"
#include "exposure.h"
#include "lib/expiry.h"
#include "login.h"

/* ---- what changed ---- */

/* What only a start reads. */
static const char *const fixed[] = {
	"listen",
	"admin-listen",
	"producers",
	"producer-uids",
	"producer-topics",
	"producers-max",
	"producer-topics-max",
	"producer-ring",
	"backplane",
	"backplane-away",
	"backplane-queue",
	"backplane-confirm",
	"backplane-wait",
	"backplane-map",
	"backplane-out",
	"backplane-out-only",
	"backplane-local",
	"tls-cert",
	"tls-key",
	"tls-client-ca",
	"tls-crl",
	"kernel-tls",
	"workers",
	"connections-max",
	"log-size",
	"state-max",
	"policy",
	"keep-last",
	"memory-max",
	"message-max",
	"body-max",
	"subscriptions-max",
	"idle-timeout",
	"ping-interval",
	"handshake-timeout",
	"ring",
	"round-interval",
	"busy-poll",
	"spin-us",
	"cpus",
	"numa-node",
	"priority",
	"log-prefault",
	"log-lock",
	"log-huge-pages",
	"user",
	"hook-connect",
	"hook-join",
	"hook-subscribe",
	"hook-message",
	"hook-secret",
	"hook-secret-file",
	"hook-ca",
	"hook-header",
	"hook-timeout",
	"hook-calls",
	"hook-queue",
	"hook-cache",
	"hook-away",
};

static bool is_fixed(const char *name)
{
	for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
		if (strcmp(fixed[i], name) == 0)
			return true;
	return false;
}

static bool same_text(const char *one, const char *other)
{
	return one == other || (one && other && strcmp(one, other) == 0);
}

static bool same_list(const struct option_list *one, const struct option_list *other)
{
	for (unsigned i = 0; i < one->count && i < other->count; i++)
		if (strcmp(one->items[i], other->items[i]) != 0)
			return false;
	return one->count == other->count;
}

static size_t size_of(enum option_kind kind)
{
	switch (kind) {
	case OPTION_FLAG:
		return sizeof(bool);
	case OPTION_COUNT64:
	case OPTION_NS:
		return sizeof(uint64_t);
	case OPTION_NUMBER:
		return sizeof(double);
	case OPTION_SIZE:
		return sizeof(size_t);
	default:
		return sizeof(unsigned);
	}
}

static bool same(const struct option_entry *one, const struct option_entry *other)
{
	if (one->kind == OPTION_TEXT)
		return same_text(*(const char **)one->target, *(const char **)other->target);
	if (one->kind == OPTION_LIST)
		return same_list(one->target, other->target);
	return memcmp(one->target, other->target, size_of(one->kind)) == 0;
}

/* The names of the settings that differ: those that only a start reads, or all others. */
static void name_changes(struct app_settings *before, struct app_settings *now, bool of_start, char *to, size_t room)
{
	static struct option_entry table[OPTIONS_MAX];
	const struct option_entry *rows = app_settings_options(before);
	unsigned count = 0;
	while (count + 1 < OPTIONS_MAX && rows[count].name) {
		table[count] = rows[count];
		count++;
	}
	rows = app_settings_options(now);
	to[0] = 0;
	for (unsigned i = 0; i < count; i++) {
		size_t used = strlen(to);
		if (is_fixed(rows[i].name) != of_start || same(&table[i], &rows[i]) ||
		    strcmp(rows[i].name, "api-listen") == 0 || strcmp(rows[i].name, "config") == 0)
			continue;
		snprintf(to + used, room - used, "%s%s", used ? ", " : "", rows[i].name);
	}
}

/* ---- the parts ---- */

static void recheck(void *context, struct app_node *node)
{
	(void)context;
	app_login_recheck((struct app_client *)node);
}

static void recheck_all(struct app_crew *crew)
{
	app_table_each(&crew->clients, recheck, NULL);
}

/* Whether they would open what listens now to more than was said. */
static const char *too_open(const struct app *app, const struct app_settings *settings)
{
	if (app_exposure_too_open(settings, &app->listeners, app->admin.first) >= 0)
		return "the old ones stay; the new ones " APP_EXPOSURE_WORDS;
	if (settings->admin.open || settings->api.count + settings->operators.count)
		return NULL;
	for (unsigned i = app->admin.first; i < app->listeners.count; i++)
		if (!app->listeners.loopback[i])
			return "the old ones stay; by the new ones a listener for operators " ADMIN_OPEN_WORDS;
	return NULL;
}

static void take_certificates(struct app *app)
{
	struct rc_error error;
	if (rc_server_tls_reload(app->server, &error) == 0)
		service_reload_part(&app->service, true, "certificates", "%u were read again",
		                    app->started->tls_cert.count);
	else
		service_reload_part(&app->service, false, "certificates", "the old ones stay: %s", error.text);
	expiry_warn(app->server);
}

static void take_access_log(struct app *app, const struct app_settings *settings)
{
	const char *path = settings->log.access;
	if (!path && !atomic_load(&app->access.on))
		return;
	int code = access_log_open(&app->access, path);
	if (code == 0)
		service_reload_part(&app->service, true, "access log", "%s", path ? path : "none any more");
	else
		service_reload_part(&app->service, false, "access log", "%s: %s; the old one stays", path,
		                    strerror(-code));
}

static void take_settings(struct app *app, struct app_settings *new)
{
	struct app_settings *old = atomic_load(&app->settings);
	char changed[300], waiting[300];
	name_changes(old, new, false, changed, sizeof changed);
	name_changes(app->started, new, true, waiting, sizeof waiting);
	log_setup(&new->log);
	atomic_store(&app->settings, new);
	app_crews_visit(app, recheck_all);
	if (old != app->started)
		app_settings_free(old);
	service_reload_part(&app->service, true, "settings",
	                    "changed: %s; %u keys for tokens, %u for /api, %u for operators",
	                    *changed ? changed : "none", new->keys.count, new->api.count, new->operators.count);
	if (*waiting)
		service_reload_note(&app->service, "these change only with a restart: %s", waiting);
}

void app_reload(struct app *app, const struct subcommand *command, int argc, char **argv)
{
	struct app_settings *new;
	service_reload_begin(&app->service);
	if (app_settings_read(command, argc, argv, &new) >= 0) {
		log_setup(&app_settings_now(app)->log);
		service_reload_part(&app->service, false, "settings", "they are wrong; the old ones stay");
		service_reload_end(&app->service);
		return;
	}
	const char *why = too_open(app, new);
	if (why) {
		log_setup(&app_settings_now(app)->log);
		service_reload_part(&app->service, false, "settings", "%s", why);
		app_settings_free(new);
	} else {
		take_settings(app, new);
		if (app->started->tls_cert.count)
			take_certificates(app);
		take_access_log(app, new);
	}
	service_reload_end(&app->service);
}
