/* SPDX-License-Identifier: MIT
 *
 * Structs that the program knows in another version than the library: shorter ones are not written beyond their end,
 * longer ones are refused when they say what the library does not know. Each public function that takes one.
 */
#include "growing.h"

#include "ringcast.h"
#include "ringcast_client.h"
#include "ringcast_stats.h"
#include "tls_files.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define CANARY 0xa5
#define BEYOND 64 /* bytes of a later version */

static rc_server *make(void)
{
	struct rc_config config;
	struct rc_error error;
	rc_config_init(&config);
	config.worker_count = 1;
	config.log_size = 1 << 16;
	rc_server *server = rc_server_new(&config, &error);
	cr_assert_not_null(server, "%s", error.text);
	return server;
}

static bool all(const uint8_t *bytes, size_t size, uint8_t value)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i] != value)
			return false;
	return true;
}

Test(growing, take_and_give)
{
	struct pair {
		uint32_t first, second;
	} known;
	const uint32_t given[] = { 7, 8, 0, 9 };

	known = (struct pair){ 1, 2 };
	cr_assert_eq(rc_growing_take(&known, sizeof known, given, 4), 0);
	cr_assert(known.first == 7 && known.second == 2, "what is missing keeps its default");
	cr_assert_eq(rc_growing_take(&known, sizeof known, given, 6), 0);
	cr_assert_eq(rc_growing_take(&known, sizeof known, given, 8), 0);
	cr_assert_eq(known.second, 8);
	cr_assert_eq(rc_growing_take(&known, sizeof known, given, 12), 0);
	known = (struct pair){ 1, 2 };
	cr_assert_eq(rc_growing_take(&known, sizeof known, given, 16), -E2BIG);
	cr_assert_eq(rc_growing_take(&known, sizeof known, given, SIZE_MAX), -E2BIG);
	cr_assert_eq(rc_growing_take(&known, sizeof known, given, 0), -EINVAL);
	cr_assert(known.first == 1 && known.second == 2, "what is refused changes nothing");

	for (size_t size = 0; size <= 16; size++) {
		uint8_t out[16];
		memset(out, CANARY, sizeof out);
		rc_growing_give(out, size, given, 8);
		cr_assert_eq(memcmp(out, given, size < 8 ? size : 8), 0);
		cr_assert(size <= 8 || all(out + 8, size - 8, 0), "size %zu", size);
		cr_assert(all(out + size, sizeof out - size, CANARY), "size %zu", size);
	}
}

Test(growing, versions)
{
	char text[32];
	snprintf(text, sizeof text, "%d.%d.%d", RC_VERSION_MAJOR, RC_VERSION_MINOR, RC_VERSION_PATCH);
	cr_assert_str_eq(RC_VERSION, text);
	cr_assert_str_eq(rc_version(), text);
	cr_assert_eq(rc_version_number(), RC_VERSION_NUMBER);
	cr_assert(RC_VERSION_MINOR < 1000 && RC_VERSION_PATCH < 1000);
}

/* A struct of the program's in each size from one member to some beyond ours, with a canary behind it. */
#define EACH_SIZE(type, call)                                                                                          \
	for (size_t size = sizeof(uint64_t); size <= sizeof(type) + BEYOND; size += sizeof(uint64_t)) {                \
		uint8_t bytes[sizeof(type) + 2 * BEYOND];                                                              \
		type *of = (type *)bytes;                                                                              \
		memset(bytes, CANARY, sizeof bytes);                                                                   \
		call;                                                                                                  \
		cr_assert(all(bytes + size, sizeof bytes - size, CANARY), #type " of %zu bytes", size);                \
		cr_assert(size <= sizeof(type) || all(bytes + sizeof(type), size - sizeof(type), 0));                  \
	}

Test(growing, what_is_filled_in)
{
	rc_server *server = make();
	struct rc_stats stats = { 0 };
	EACH_SIZE(struct rc_stats, (rc_server_stats)(server, of, size));
	EACH_SIZE(struct rc_stats, cr_assert_eq((rc_worker_stats)(server, 0, of, size), 0));
	EACH_SIZE(struct rc_stats, cr_assert_eq((rc_worker_stats)(server, 1, of, size), -EINVAL));
	EACH_SIZE(struct rc_lag_stats, (rc_lag_stats)(server, of, size));
	EACH_SIZE(struct rc_times_stats, (rc_times_stats)(server, of, size));
	EACH_SIZE(struct rc_config, (rc_config_init)(of, size));
	EACH_SIZE(struct rc_feature, cr_assert_eq((rc_probe)(of, 1, NULL, size), 1));
	cr_assert_eq(rc_publish(server, "t", 1, "x", 1, 0), 1);
	EACH_SIZE(struct rc_topic_stats, cr_assert_eq((rc_topic_stats)(server, "t", 1, of, size), 0));
	EACH_SIZE(struct rc_topic_stats, cr_assert_eq((rc_topics_top)(server, of, 1, size), 1));
	rc_server_stats(server, &stats);
	cr_assert_eq(stats.published, 1);
	rc_server_free(server);
}

Test(growing, certificates)
{
	rc_server *server = make();
	struct pair here = make_pair("localhost", "DNS:localhost", NULL);
	const struct rc_tls_pair pairs = { here.path, here.key_path };
	const struct rc_tls_options options = { .pairs = &pairs, .pair_count = 1 };
	struct rc_certificate shown;
	struct rc_error error;
	cr_assert_eq(rc_certificates(server, &shown, 1), 0);
	cr_assert_eq(rc_server_tls(server, &options, &error), 0, "%s", error.text);
	EACH_SIZE(struct rc_certificate, cr_assert_eq((rc_certificates)(server, of, 1, size), 1));
	cr_assert_eq(rc_certificates(server, NULL, 0), 1, "how many there are");
	cr_assert_eq(rc_certificates(server, &shown, 1), 1);
	cr_assert_str_eq(shown.file, here.path);
	cr_assert_str_eq(shown.subject, "CN=localhost,O=Example");
	cr_assert_eq(shown.ends_s - shown.begins_s, 86400 + 3600);
	cr_assert(shown.begins_s <= time(NULL) && shown.ends_s > time(NULL));
	rc_server_free(server);
}

/* The elements lie as far apart as the program says, whatever the library's own struct measures. */
Test(growing, arrays)
{
	rc_server *server = make();
	const size_t strides[] = { offsetof(struct rc_topic_stats, oldest), sizeof(struct rc_topic_stats),
		                   sizeof(struct rc_topic_stats) + BEYOND };
	cr_assert_eq(rc_publish(server, "a", 1, "x", 1, 0), 1);
	cr_assert_eq(rc_publish(server, "b", 1, "x", 1, 0), 1);
	cr_assert_eq(rc_publish(server, "b", 1, "x", 1, 0), 2);
	for (size_t i = 0; i < 3; i++) {
		uint8_t bytes[3 * (sizeof(struct rc_topic_stats) + BEYOND)];
		memset(bytes, CANARY, sizeof bytes);
		cr_assert_eq((rc_topics_match)(server, "*", 1, (struct rc_topic_stats *)bytes, 3, strides[i]), 2);
		for (size_t j = 0; j < 2; j++) {
			const char *name = (const char *)bytes + j * strides[i];
			uint64_t sequence;
			memcpy(&sequence, name + offsetof(struct rc_topic_stats, sequence), sizeof sequence);
			cr_assert_eq(sequence, name[0] == 'a' ? 1 : 2);
			cr_assert_eq(name[1], 0);
		}
		cr_assert_neq(bytes[0], bytes[strides[i]]);
		cr_assert(all(bytes + 2 * strides[i], sizeof bytes - 2 * strides[i], CANARY));
	}
	uint8_t features[4 * (sizeof(struct rc_feature) + 8)];
	memset(features, CANARY, sizeof features);
	cr_assert_eq((rc_probe)((struct rc_feature *)features, 3, NULL, sizeof(struct rc_feature) + 8), 3);
	cr_assert_str_eq((const char *)features, "kernel");
	cr_assert_str_eq((const char *)features + sizeof(struct rc_feature) + 8, "io_uring");
	cr_assert(all(features + 3 * (sizeof(struct rc_feature) + 8), sizeof(struct rc_feature) + 8, CANARY));
	rc_server_free(server);
}

/* Of a later version: the same and some bytes more, which are zero or not. */
#define LONGER(type, value, call, right)                                                                               \
	do {                                                                                                           \
		uint8_t bytes[sizeof(type) + BEYOND] = { 0 };                                                          \
		const type given = value;                                                                              \
		type *of = (type *)bytes;                                                                              \
		memcpy(bytes, &given, sizeof given);                                                                   \
		size_t size = sizeof bytes;                                                                            \
		cr_assert_eq(call, right, #call " with zeros beyond");                                                 \
		memcpy(bytes, &given, sizeof given);                                                                   \
		bytes[sizeof bytes - 1] = 1;                                                                           \
		cr_assert_eq(call, -E2BIG, #call " with more than the library knows");                                 \
		size = sizeof bytes - 1;                                                                               \
		cr_assert_eq(call, right, #call " of a size that ends before it");                                     \
		size = 0;                                                                                              \
		cr_assert_eq(call, -EINVAL, #call " without a size");                                                  \
	} while (0)

Test(growing, what_is_given)
{
	rc_server *server = make();
	const struct rc_topic_options rule = { .keep_last = true };
	const struct rc_publication message = { .data = "x", .size = 1 };
	const struct rc_start start = { .last = true };
	const struct rc_tls_client_options trust = { .insecure = true };
	const struct rc_connect_options options = { .deflate = true };
	const struct rc_tls_options tls = { .pair_count = 0 };
	struct rc_error error;
	int64_t sequence = 0;
	LONGER(struct rc_topic_options, rule, (rc_server_topic_rule)(server, "t", of, size), 0);
	LONGER(struct rc_publication, message, (rc_publish_with)(server, "t", 1, of, size), ++sequence);
	LONGER(struct rc_start, start, (rc_subscribe)(server, 1, "t", 1, of, size), -ENOTCONN);
	LONGER(struct rc_tls_client_options, trust, (rc_server_tls_client)(server, of, NULL, size), 0);
	LONGER(struct rc_tls_options, tls, (rc_server_tls)(server, of, &error, size), -EINVAL);
	cr_assert_eq(rc_subscribe(server, 1, "t", 1, NULL), -ENOTCONN, "none at all is allowed");
	cr_assert_eq(rc_server_start(server, &error), 0, "%s", error.text);
	LONGER(struct rc_connect_options, options, (rc_connect)(server, 0, "ws://127.0.0.1:1/", of, size), 0);
	rc_server_stop(server, 0);
	rc_server_join(server);
	rc_server_free(server);
}

Test(growing, publication_of_before)
{
	rc_server *server = make();
	struct rc_publication message = { .data = "x", .size = 1, .epoch = 42 };
	cr_assert_eq((rc_publish_with)(server, "t", 1, &message, offsetof(struct rc_publication, epoch)), 1);
	cr_assert_eq(message.epoch, 42, "an older program has no such member");
	cr_assert_eq((rc_publish_with)(server, "t", 1, &message, sizeof message), 2);
	cr_assert(message.epoch && message.epoch != 42);
	rc_server_free(server);
}

Test(growing, configuration)
{
	uint8_t bytes[sizeof(struct rc_config) + BEYOND] = { 0 };
	struct rc_config *config = (struct rc_config *)bytes;
	struct rc_error error;
	rc_config_init(config);
	config->worker_count = 1;
	config->log_size = 1 << 16;

	/* Of a time before there was compression: its level would be refused if it counted as 0. */
	memset(bytes + offsetof(struct rc_config, deflate), CANARY,
	       sizeof(struct rc_config) - offsetof(struct rc_config, deflate));
	rc_server *server = (rc_server_new)(config, &error, offsetof(struct rc_config, deflate));
	cr_assert_not_null(server, "%s", error.text);
	rc_server_free(server);

	rc_config_init(config);
	config->worker_count = 1;
	server = (rc_server_new)(config, &error, sizeof bytes);
	cr_assert_not_null(server, "%s", error.text);
	rc_server_free(server);

	bytes[sizeof bytes - 1] = 1;
	cr_assert_null((rc_server_new)(config, &error, sizeof bytes));
	cr_assert_eq(error.code, -E2BIG);
	cr_assert_not_null(strstr(error.text, rc_version()), "%s", error.text);

	config->handlers.reserved[sizeof config->handlers.reserved / sizeof *config->handlers.reserved - 1] =
	    (void (*)(void))make;
	cr_assert_null(rc_server_new(config, &error));
	cr_assert_eq(error.code, -E2BIG);
}
