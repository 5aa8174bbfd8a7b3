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
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define COUNTED_MAX 65536 /* descriptors */

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

/* ---- this process ---- */

/* Linux tells their number from 6.2 on; before, they are counted, unless that takes too long: UINT64_MAX. */
static uint64_t count_descriptors(void)
{
	uint64_t count = 0;
	struct stat status;
	if (stat("/proc/self/fd", &status) == 0 && status.st_size > 0)
		return (uint64_t)status.st_size;
	DIR *open = opendir("/proc/self/fd");
	for (const struct dirent *entry; open && count < COUNTED_MAX && (entry = readdir(open));)
		count += entry->d_name[0] != '.';
	if (open)
		closedir(open);
	return count == COUNTED_MAX ? UINT64_MAX : count ? count - 1 : 0; /* without the one that counts */
}

static double seconds_by(clockid_t clock)
{
	struct timespec now = { 0 };
	clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Field 22 of /proc/self/stat, behind the name, which may hold anything: ticks from the boot to the start. The time of
 * the boot itself stands where a service may not look. */
static double start_seconds(void)
{
	char text[1024];
	uint64_t ticks = 0;
	FILE *file = fopen("/proc/self/stat", "re");
	size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;
	if (file)
		fclose(file);
	text[size] = 0;
	const char *at = strrchr(text, ')');
	for (unsigned field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (at)
		ticks = strtoull(at + 1, NULL, 10);
	double since_boot = (double)ticks / (double)sysconf(_SC_CLK_TCK);
	return seconds_by(CLOCK_REALTIME) - seconds_by(CLOCK_BOOTTIME) + since_boot;
}

void process_figures(struct process_figures *figures)
{
	struct rlimit limit = { 0 };
	uint64_t pages[2] = { 0 };
	getrlimit(RLIMIT_NOFILE, &limit);
	FILE *file = fopen("/proc/self/statm", "re");
	if (file && fscanf(file, "%" SCNu64 " %" SCNu64, &pages[0], &pages[1]) != 2)
		pages[0] = pages[1] = 0;
	if (file)
		fclose(file);
	uint64_t page_size = (uint64_t)sysconf(_SC_PAGESIZE);
	*figures = (struct process_figures){
		.cpu_seconds = seconds_by(CLOCK_PROCESS_CPUTIME_ID),
		.started_seconds = start_seconds(),
		.virtual_size = pages[0] * page_size,
		.resident_size = pages[1] * page_size,
		.fds = count_descriptors(),
		.fds_max = limit.rlim_cur,
	};
}
