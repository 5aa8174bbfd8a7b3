/* SPDX-License-Identifier: MIT
 *
 * memory.c - see memory.h. Of the groups that a process is in, one below the other, the narrowest counts.
 */
#include "memory.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The number on the first line, or SIZE_MAX: there is no such file, or it says "max". */
static size_t read_limit(const char *path)
{
	char line[64] = "", *end = line;
	FILE *file = fopen(path, "re");
	if (!file)
		return SIZE_MAX;
	unsigned long long value = fgets(line, sizeof line, file) ? strtoull(line, &end, 10) : 0;
	fclose(file);
	return end > line && value && value < SIZE_MAX ? (size_t)value : SIZE_MAX;
}

static size_t read_total(const char *root)
{
	char path[PATH_MAX], line[128];
	unsigned long long kib;
	size_t total = SIZE_MAX;
	snprintf(path, sizeof path, "%s/proc/meminfo", root);
	FILE *file = fopen(path, "re");
	while (file && total == SIZE_MAX && fgets(line, sizeof line, file))
		if (sscanf(line, "MemTotal: %llu kB", &kib) == 1 && kib < SIZE_MAX / 1024)
			total = (size_t)kib * 1024;
	if (file)
		fclose(file);
	return total;
}

/* The group in the second hierarchy: "0::/a/b". */
static void read_group(const char *root, char group[static PATH_MAX])
{
	char path[PATH_MAX], line[PATH_MAX];
	group[0] = 0;
	snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
	FILE *file = fopen(path, "re");
	while (file && fgets(line, sizeof line, file)) {
		line[strcspn(line, "\n")] = 0;
		if (strncmp(line, "0::/", 4) == 0)
			snprintf(group, PATH_MAX, "%s", line + 3);
	}
	if (file)
		fclose(file);
}

size_t memory_allowed(const char *root)
{
	char path[3 * PATH_MAX], group[PATH_MAX];
	size_t least = read_total(root);
	snprintf(path, sizeof path, "%s/sys/fs/cgroup/memory/memory.limit_in_bytes", root);
	size_t limit = read_limit(path);
	least = limit < least ? limit : least;
	read_group(root, group);
	for (char *end = group + strlen(group); end; end = strrchr(group, '/')) {
		*end = 0;
		snprintf(path, sizeof path, "%s/sys/fs/cgroup%s/memory.max", root, group);
		limit = read_limit(path);
		least = limit < least ? limit : least;
	}
	return least;
}
