/* SPDX-License-Identifier: MIT
 *
 * text_main.c - the checks of tests/unit/text_check.h without a framework, for an architecture that is emulated. Ends
 * with 1 if any fails. Its argument names the kernel that must be the best one there.
 */
#include "../unit/text_check.h"

int main(int argc, char **argv)
{
	static bool (*const checks[])(const char *) = { check_pairs,  check_triples, check_quads,  check_long,
		                                        check_unmask, check_spans,   check_guarded };
	static const char *const names[] = { "pairs", "triples", "quads", "long", "unmask", "spans", "guarded" };
	const char *best = rc_text_choose(NULL);
	if (argc == 2 && strcmp(best, argv[1]) != 0) {
		printf("FAIL choice: %s, not %s\n", best, argv[1]);
		return 1;
	}
	bool all = true;
	for (size_t i = 0; i < COUNT(checks); i++) {
		const bool good = checks[i](best);
		printf("%s %s %s\n", good ? "ok" : "FAIL", best, names[i]);
		all = all && good;
	}
	const bool good = check_random(best, 20000, 20000);
	printf("%s %s random\n", good ? "ok" : "FAIL", best);
	return all && good ? 0 : 1;
}
