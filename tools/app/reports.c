/* SPDX-License-Identifier: MIT
 *
 * reports.c - see reports.h.
 */
#include "reports.h"

#include <math.h>
#include <string.h>

#include "app.h"
#include "lib/metrics.h"
#include "lib/wait.h"

#define IDLE_NS (5 * 60 * NS_PER_SECOND) /* then another name may have the place */
#define VALUE_MAX 1e15

/* What the usual monitors report. These always have a place, whatever others were reported. */
static const char *const usual[] = {
	"connections",      "activeConnections", "totalConnections", "messages",   "messagesSent",
	"messagesReceived", "messageCount",      "errors",           "errorCount", "latency",
	"averageLatency",   "reconnections",     "reconnects",       "uptime",     "bytesSent",
	"bytesReceived",
};
#define USUAL_COUNT (sizeof usual / sizeof *usual)

void app_reports_init(struct app_reports *reports)
{
	pthread_mutex_init(&reports->lock, NULL);
	for (size_t i = 0; i < USUAL_COUNT; i++)
		memcpy(reports->each[i].name, usual[i], strlen(usual[i]) + 1);
}

void app_reports_destroy(struct app_reports *reports)
{
	pthread_mutex_destroy(&reports->lock);
}

/* ---- taking ---- */

struct taking {
	struct app_reports *reports;
	uint64_t now_ns;
	unsigned taken, left_out, seen;
};

static bool is_name(const char *name)
{
	size_t size = strlen(name);
	for (size_t i = 0; i < size; i++) {
		char c = name[i], small = (char)(c | 0x20);
		if ((small < 'a' || small > 'z') && (c < '0' || c > '9') && c != '_' && c != '.')
			return false;
	}
	return size && size <= APP_REPORT_NAME_MAX;
}

static struct app_report *place_of(struct app_reports *reports, const char *name, uint64_t now_ns)
{
	struct app_report *free_place = NULL;
	for (size_t i = 0; i < APP_REPORTS_MAX; i++) {
		struct app_report *report = &reports->each[i];
		if (strcmp(report->name, name) == 0)
			return report;
		if (!free_place && i >= USUAL_COUNT && (!*report->name || now_ns - report->at_ns > IDLE_NS))
			free_place = report;
	}
	if (!free_place)
		return NULL;
	*free_place = (struct app_report){ 0 };
	memcpy(free_place->name, name, strlen(name) + 1);
	return free_place;
}

static void take_number(struct taking *taking, const char *name, const json_t *number)
{
	double value = json_number_value(number);
	struct app_report *report = NULL;
	if (taking->seen++ < APP_REPORT_VALUES_MAX && is_name(name) && isfinite(value) && fabs(value) <= VALUE_MAX)
		report = place_of(taking->reports, name, taking->now_ns);
	if (!report) {
		taking->left_out++;
		return;
	}
	report->least = report->count && report->least < value ? report->least : value;
	report->most = report->count && report->most > value ? report->most : value;
	report->newest = value;
	report->sum += value;
	report->count++;
	report->at_ns = taking->now_ns;
	taking->taken++;
}

static void take_value(struct taking *taking, const char *name, const json_t *value)
{
	size_t index;
	json_t *each;
	if (json_is_number(value))
		take_number(taking, name, value);
	if (!json_is_array(value))
		return;
	json_array_foreach((json_t *)value, index, each)
	{
		if (json_is_number(each))
			take_number(taking, name, each);
	}
}

static void take_inner(struct taking *taking, const char *name, json_t *object)
{
	const char *key;
	json_t *each;
	char full[2 * APP_REPORT_NAME_MAX + 2];
	json_object_foreach(object, key, each)
	{
		snprintf(full, sizeof full, "%s.%s", name, key);
		take_value(taking, full, each);
	}
}

void app_reports_take(struct app_reports *reports, const json_t *object, uint64_t now_ns, unsigned *taken,
                      unsigned *left_out)
{
	struct taking taking = { .reports = reports, .now_ns = now_ns };
	const char *key;
	json_t *each;
	pthread_mutex_lock(&reports->lock);
	json_object_foreach((json_t *)object, key, each)
	{
		if (json_is_object(each))
			take_inner(&taking, key, each);
		else
			take_value(&taking, key, each);
	}
	reports->taken += taking.taken;
	reports->left_out += taking.left_out;
	pthread_mutex_unlock(&reports->lock);
	*taken = taking.taken;
	*left_out = taking.left_out;
}

/* ---- showing ---- */

void app_reports_write(struct app *app, struct app_out *out)
{
	struct app_reports *reports = &app->reports;
	bool first = true;
	app_out_text(out, "{");
	pthread_mutex_lock(&reports->lock);
	for (size_t i = 0; i < APP_REPORTS_MAX; i++) {
		const struct app_report *report = &reports->each[i];
		if (!report->count)
			continue;
		app_out_format(out, "%s\"%s\":{\"count\":%llu,\"mean\":%.6g,\"min\":%.6g,\"max\":%.6g,\"last\":%.6g}",
		               first ? "" : ",", report->name, (unsigned long long)report->count,
		               report->sum / (double)report->count, report->least, report->most, report->newest);
		first = false;
	}
	pthread_mutex_unlock(&reports->lock);
	app_out_text(out, "}");
}

void app_reports_metrics(struct app *app, FILE *to)
{
	struct app_reports *reports = &app->reports;
	pthread_mutex_lock(&reports->lock);
	metrics_value(to, "app_client_values_total", "counter", "Values that clients reported.", reports->taken);
	metrics_value(to, "app_client_values_left_out_total", "counter", "Of those, what was no name or had no room.",
	              reports->left_out);
	metrics_head(to, "app_client_value_count", "counter", "Values that clients reported, by name.");
	for (size_t i = 0; i < APP_REPORTS_MAX; i++)
		if (reports->each[i].count)
			fprintf(to, "ringcast_app_client_value_count{name=\"%s\"} %llu\n", reports->each[i].name,
			        (unsigned long long)reports->each[i].count);
	metrics_head(to, "app_client_value_sum", "gauge", "Their sum.");
	for (size_t i = 0; i < APP_REPORTS_MAX; i++)
		if (reports->each[i].count)
			fprintf(to, "ringcast_app_client_value_sum{name=\"%s\"} %.6g\n", reports->each[i].name,
			        reports->each[i].sum);
	metrics_head(to, "app_client_value_last", "gauge", "The newest.");
	for (size_t i = 0; i < APP_REPORTS_MAX; i++)
		if (reports->each[i].count)
			fprintf(to, "ringcast_app_client_value_last{name=\"%s\"} %.6g\n", reports->each[i].name,
			        reports->each[i].newest);
	pthread_mutex_unlock(&reports->lock);
}
