/* SPDX-License-Identifier: MIT
 *
 * latency.c - lists of processors as --cpus takes them, and what reaches the configuration.
 */
#include "lib/latency.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <string.h>

Test(latency, lists_of_processors)
{
	static const struct {
		const char *text;
		unsigned count, first, last;
	} good[] = { { "0", 1, 0, 0 },
		     { "2,3", 2, 2, 3 },
		     { "2-5,8", 5, 2, 8 },
		     { "3,2,3", 3, 3, 3 },
		     { "7-7", 1, 7, 7 },
		     { "0-1023", 1024, 0, 1023 },
		     { "4000000000", 1, 4000000000u, 4000000000u } };
	static const char *const bad[] = {
		"",    ",",    "a",   "1,",    ",1",     "1-",           "-1",
		"3-2", "1,,2", "1 2", "1-2-3", "0-1024", "0-4294967295", "99999999999999999999",
		"1x",  "0x1"
	};
	struct latency latency;
	latency_defaults(&latency);
	cr_expect_null(latency_parse(&latency));
	cr_expect_eq(latency.cpu_count, 0);
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		latency.cpus_text = good[i].text;
		const char *wrong = latency_parse(&latency);
		cr_assert_null(wrong, "'%s': %s", good[i].text, wrong);
		cr_expect_eq(latency.cpu_count, good[i].count, "'%s'", good[i].text);
		cr_expect_eq(latency.cpus[0], good[i].first, "'%s'", good[i].text);
		cr_expect_eq(latency.cpus[latency.cpu_count - 1], good[i].last, "'%s'", good[i].text);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		latency.cpus_text = bad[i];
		cr_expect_not_null(latency_parse(&latency), "'%s' is taken", bad[i]);
		cr_expect_leq(latency.cpu_count, LATENCY_CPUS_MAX);
	}
}

Test(latency, without_flags_the_configuration_is_the_default)
{
	struct latency latency;
	struct rc_config config, defaults;
	memset(&config, 0, sizeof config);
	memset(&defaults, 0, sizeof defaults);
	rc_config_init(&defaults);
	rc_config_init(&config);
	latency_defaults(&latency);
	latency_apply(&latency, &config);
	config.cpus = NULL; /* and there are none */
	cr_expect_eq(memcmp(&config, &defaults, sizeof config), 0);
	latency.numa_node = UINT_MAX - 1;
	latency_apply(&latency, &config);
	cr_expect_eq(config.numa_node, INT_MAX, "no machine has it");
}

Test(latency, any_difference_is_one)
{
	struct latency a, b;
	latency_defaults(&a);
	b = a;
	a.cpus_text = "1,2";
	b.cpus_text = "1-2";
	cr_expect(!latency_parse(&a) && !latency_parse(&b) && latency_equal(&a, &b));
	b.cpus_text = "1,3";
	cr_expect(!latency_parse(&b) && !latency_equal(&a, &b));
	b = a;
	b.spin_us = 1;
	cr_expect_not(latency_equal(&a, &b));
}
