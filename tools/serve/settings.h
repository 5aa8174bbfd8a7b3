/* SPDX-License-Identifier: MIT
 *
 * settings.h - the flags of `ringcast serve`, and what they mean. It starts nothing.
 */
#ifndef SERVE_SETTINGS_H
#define SERVE_SETTINGS_H

#include "backplane/options.h"
#include "feeder.h"
#include "lib/admin.h"
#include "lib/health.h"
#include "lib/latency.h"
#include "lib/log.h"
#include "lib/options.h"
#include "lib/producers.h"
#include "lib/service.h"
#include "lib/wait.h"
#include "ringcast.h"
#include "routes.h"

#define SERVE_RULES_MAX RC_TOPIC_RULES_MAX

struct serve_rule {
	char pattern[256];
	struct rc_topic_options options;
};

struct serve {
	struct rc_config config;
	struct latency latency;
	struct serve_routes routes;
	struct serve_feeder feeder;
	struct wait wait;
	rc_server *server;
	struct admin_settings admin_settings;
	struct log_settings log;
	struct admin admin;
	struct health health;
	struct service service;
	struct option_list listen, publish_from, trust_proxy, policy_for, keep_last, heartbeat, cohort, tls_cert,
	    tls_key;
	struct producers producers;
	struct backplane_settings backplane;
	struct rc_tls_options tls;
	int policy;
	unsigned drain_ms, drain_delay_ms;
	bool quiet;
	struct serve_rule rules[SERVE_RULES_MAX];
	unsigned rule_count;
};

/* Returns -1 when the command is to run; otherwise the exit status, when --help or what is wrong has been printed. */
int serve_settings_parse(const struct subcommand *command, struct serve *serve, int argc, char **argv);

#endif
