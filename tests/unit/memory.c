/* SPDX-License-Identifier: MIT
 *
 * memory.c - how much memory a process may use, by files as kernels and containers have them.
 */
#include "lib/memory.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define GIB ((size_t)1 << 30)

static char root[] = "/tmp/ringcast_memory_XXXXXX";

static void put(const char *name, const char *text)
{
	char path[256];
	snprintf(path, sizeof path, "%s%s", root, name);
	for (char *at = path + sizeof root; *at; at++)
		if (*at == '/') {
			*at = 0;
			mkdir(path, 0700);
			*at = '/';
		}
	FILE *file = fopen(path, "w");
	cr_assert(file, "%s", path);
	fputs(text, file);
	fclose(file);
}

Test(memory, the_narrowest_counts)
{
	cr_assert(mkdtemp(root));
	cr_expect_eq(memory_allowed(root), SIZE_MAX, "nothing says");
	put("/proc/meminfo", "MemTotal:        8388608 kB\nMemFree: 1 kB\n");
	cr_expect_eq(memory_allowed(root), 8 * GIB);
	put("/sys/fs/cgroup/memory.max", "2147483648\n"); /* a container sees its own group as the root */
	cr_expect_eq(memory_allowed(root), 2 * GIB);
	put("/proc/self/cgroup", "1:name=x:/\n0::/a/b\n");
	put("/sys/fs/cgroup/a/b/memory.max", "max\n");
	cr_expect_eq(memory_allowed(root), 2 * GIB);
	put("/sys/fs/cgroup/a/memory.max", "1073741824\n");
	cr_expect_eq(memory_allowed(root), GIB);
	put("/sys/fs/cgroup/a/b/memory.max", "1048576\n");
	cr_expect_eq(memory_allowed(root), GIB / 1024);
	put("/sys/fs/cgroup/a/b/memory.max", "nonsense\n");
	put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "524288000\n"); /* the first hierarchy */
	cr_expect_eq(memory_allowed(root), 524288000);
	put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
	cr_expect_eq(memory_allowed(root), GIB);
	char command[300];
	snprintf(command, sizeof command, "rm -r '%s'", root);
	cr_expect_eq(system(command), 0);
}
