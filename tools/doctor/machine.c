/* SPDX-License-Identifier: MIT
 *
 * machine.c - see machine.h.
 */
#include "machine.h"

#include <dirent.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE *open_file(const struct machine *machine, const char *path)
{
	char whole[PATH_MAX];
	return snprintf(whole, sizeof whole, "%s%s", machine->root, path) < PATH_MAX ? fopen(whole, "re") : NULL;
}

bool machine_line(const struct machine *machine, char line[MACHINE_LINE_SIZE], const char *path, ...)
{
	char name[PATH_MAX];
	va_list arguments;
	va_start(arguments, path);
	vsnprintf(name, sizeof name, path, arguments);
	va_end(arguments);
	FILE *file = open_file(machine, name);
	bool found = file && fgets(line, MACHINE_LINE_SIZE, file);
	if (file)
		fclose(file);
	if (!found)
		line[0] = 0;
	line[strcspn(line, "\n")] = 0;
	return found;
}

/* A number, or a word for none; *end is behind it. */
static uint64_t read_number(const char *text, char **end)
{
	static const char *const words[] = { "max", "unlimited" };
	for (size_t index = 0; index < 2; index++) {
		if (!strncmp(text, words[index], strlen(words[index]))) {
			*end = (char *)text + strlen(words[index]);
			return MACHINE_UNLIMITED;
		}
	}
	return *text == '-' ? (*end = (char *)text, 0) : strtoull(text, end, 10);
}

size_t machine_numbers(const struct machine *machine, uint64_t *numbers, size_t max, const char *path)
{
	char line[MACHINE_LINE_SIZE];
	size_t count = 0;
	if (!machine_line(machine, line, "%s", path))
		return 0;
	for (char *at = line, *end; count < max; at = end, count++) {
		at += strspn(at, " \t");
		numbers[count] = read_number(at, &end);
		if (end == at)
			break;
	}
	return count;
}

bool machine_hard_limit(const struct machine *machine, const char *name, uint64_t *limit)
{
	char line[MACHINE_LINE_SIZE], *end;
	bool found = false;
	FILE *file = open_file(machine, "/proc/self/limits");
	while (file && !found && fgets(line, sizeof line, file)) {
		if (strncmp(line, name, strlen(name)) != 0)
			continue;
		const char *hard = line + strlen(name);
		hard += strspn(hard, " ");
		hard += strcspn(hard, " ");
		hard += strspn(hard, " ");
		*limit = read_number(hard, &end);
		found = end > hard;
	}
	if (file)
		fclose(file);
	return found;
}

unsigned machine_count_list(const char *list)
{
	unsigned count = 0;
	while (*list >= '0' && *list <= '9') {
		char *end;
		unsigned long first = strtoul(list, &end, 10), last = first;
		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		count += last >= first && last - first < 65536 ? (unsigned)(last - first + 1) : 0;
		list = end + (*end == ',');
	}
	return count;
}

void machine_each(const struct machine *machine, const char *path, void (*fn)(void *context, const char *name),
                  void *context)
{
	char whole[PATH_MAX];
	struct dirent **names;
	int count = snprintf(whole, sizeof whole, "%s%s", machine->root, path) < PATH_MAX
	                ? scandir(whole, &names, NULL, versionsort)
	                : -1;
	for (int index = 0; index < count; index++) {
		if (names[index]->d_name[0] != '.')
			fn(context, names[index]->d_name);
		free(names[index]);
	}
	if (count >= 0)
		free(names);
}

void machine_group(const struct machine *machine, char group[MACHINE_LINE_SIZE])
{
	char line[MACHINE_LINE_SIZE];
	FILE *file = open_file(machine, "/proc/self/cgroup");
	group[0] = 0;
	while (file && fgets(line, sizeof line, file)) {
		line[strcspn(line, "\n")] = 0;
		if (!strncmp(line, "0::/", 4))
			snprintf(group, MACHINE_LINE_SIZE, "%s", line[4] ? line + 3 : "");
	}
	if (file)
		fclose(file);
}

void machine_look(struct machine *machine, const char *root)
{
	unsigned major = 0, minor = 0;
	char line[MACHINE_LINE_SIZE];
	*machine = (struct machine){ .root = root };
	machine_line(machine, line, "/proc/sys/kernel/osrelease");
	snprintf(machine->kernel, sizeof machine->kernel, "%.60s", *line ? line : "of an unknown release");
	sscanf(line, "%u.%u", &major, &minor);
	machine->direct = major > 6 || (major == 6 && minor >= 14);
	machine_line(machine, line, "/sys/devices/system/cpu/online");
	machine->processors = machine_count_list(line);
	if (!machine->processors)
		machine->processors = 1;
}
