/* SPDX-License-Identifier: MIT
 *
 * process.c - see process.h. Time is taken from schedstat: nanoseconds, where /proc/PID/stat counts ticks.
 */
#include "process.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool read_first_number(const char *path, uint64_t *number)
{
	FILE *file = fopen(path, "re");
	bool read = file && fscanf(file, "%" SCNu64, number) == 1;
	if (file)
		fclose(file);
	return read;
}

static bool sum_threads(unsigned pid, uint64_t *cpu_ns)
{
	char path[64];
	bool found = false;
	snprintf(path, sizeof path, "/proc/%u/task", pid);
	DIR *tasks = opendir(path);
	for (struct dirent *entry; tasks && (entry = readdir(tasks));) {
		uint64_t ns;
		unsigned task = (unsigned)strtoul(entry->d_name, NULL, 10);
		snprintf(path, sizeof path, "/proc/%u/task/%u/schedstat", pid, task);
		if (!task || !read_first_number(path, &ns))
			continue;
		*cpu_ns += ns;
		found = true;
	}
	if (tasks)
		closedir(tasks);
	return found;
}

static uint64_t read_rss(unsigned pid)
{
	char path[64], line[256];
	uint64_t kib = 0;
	snprintf(path, sizeof path, "/proc/%u/status", pid);
	FILE *file = fopen(path, "re");
	while (file && fgets(line, sizeof line, file)) {
		if (sscanf(line, "VmRSS: %" SCNu64, &kib) == 1)
			break;
	}
	if (file)
		fclose(file);
	return kib << 10;
}

/* Kernel threads have low numbers, but nothing promises that: all of /proc is looked at. */
static bool sum_softirq(uint64_t *ns)
{
	bool found = false;
	DIR *all = opendir("/proc");
	for (struct dirent *entry; all && (entry = readdir(all));) {
		char path[64], name[32] = "";
		unsigned pid = (unsigned)strtoul(entry->d_name, NULL, 10);
		uint64_t spent;
		if (!pid)
			continue;
		snprintf(path, sizeof path, "/proc/%u/comm", pid);
		FILE *file = fopen(path, "re");
		if (!file)
			continue;
		bool is_softirq = fgets(name, sizeof name, file) && !strncmp(name, "ksoftirqd/", 10);
		fclose(file);
		snprintf(path, sizeof path, "/proc/%u/schedstat", pid);
		if (is_softirq && read_first_number(path, &spent)) {
			*ns += spent;
			found = true;
		}
	}
	if (all)
		closedir(all);
	return found;
}

struct process_cost process_cost(unsigned pid)
{
	struct process_cost cost = { 0 };
	cost.found = sum_threads(pid, &cost.cpu_ns);
	cost.rss_size = read_rss(pid);
	cost.softirq_found = sum_softirq(&cost.softirq_ns);
	return cost;
}
