/* SPDX-License-Identifier: MIT
 *
 * checks_limits.c - descriptors, memory, processor time: what a process and its control group may have, against what so
 * many connections take.
 */
#include "checks.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/memory.h"
#include "lib/units.h"

#define SPARE_DESCRIPTORS 1024
#define LOG_SIZE ((uint64_t)192 << 20) /* of the default --log-size, with its index and what else is there at rest */
#define CONNECTION_SIZE ((uint64_t)8 << 10) /* a connection at rest, its socket in the kernel included */
#define THREADS_SPARE 16

/* Descriptors that one process needs. From Linux 6.14 on each worker has a table of its own of this size; which worker
 * gets a connection is chance, so there is a tenth more. */
static uint64_t descriptors_needed(const struct report *report, const struct machine *machine)
{
	uint64_t count = report->connections;
	if (machine->direct)
		count = count / machine->processors + count / machine->processors / 10;
	return count + SPARE_DESCRIPTORS;
}

static void check_descriptors(struct report *report, const struct machine *machine)
{
	uint64_t limit, needed = descriptors_needed(report, machine), total[1];
	const char *each = machine->direct ? " for each worker" : "";
	struct finding *finding;
	if (!machine_hard_limit(machine, "Max open files", &limit)) {
		report_add(report, VERDICT_UNKNOWN, "descriptor limit", "/proc/self/limits does not say");
	} else {
		finding = report_add(report, limit < needed ? VERDICT_CHANGE : VERDICT_OK, "descriptor limit",
		                     limit == MACHINE_UNLIMITED ? "none" : "%" PRIu64, limit);
		if (limit < needed) {
			report_why(finding, "a connection takes a descriptor: %" PRIu64 "%s are needed", needed, each);
			report_command(finding, "ulimit -n %" PRIu64 "    (before the program, in its shell)",
			               needed);
			report_command(finding, "systemctl edit ringcast    ([Service] LimitNOFILE=%" PRIu64 ")",
			               needed);
		}
	}
	if (!machine_numbers(machine, total, 1, "/proc/sys/fs/nr_open")) {
		report_add(report, VERDICT_UNKNOWN, "fs.nr_open", "cannot be read");
	} else {
		finding = report_add(report, *total < needed ? VERDICT_CHANGE : VERDICT_OK, "fs.nr_open", "%" PRIu64,
		                     *total);
		if (*total < needed) {
			report_why(finding, "no descriptor limit can be higher: %" PRIu64 "%s are needed", needed,
			           each);
			report_command(finding, "sysctl -w fs.nr_open=%" PRIu64, needed);
		}
	}
	needed = (uint64_t)report->connections + report->connections / 10 + SPARE_DESCRIPTORS;
	if (!machine_numbers(machine, total, 1, "/proc/sys/fs/file-max")) {
		report_add(report, VERDICT_UNKNOWN, "fs.file-max", "cannot be read");
	} else {
		finding = report_add(report, *total < needed ? VERDICT_CHANGE : VERDICT_OK, "fs.file-max", "%" PRIu64,
		                     *total);
		if (*total < needed) {
			report_why(finding, "open files of the whole machine, sockets included: %" PRIu64 " are needed",
			           needed);
			report_command(finding, "sysctl -w fs.file-max=%" PRIu64, needed);
		}
	}
}

static void check_memory(struct report *report, const struct machine *machine)
{
	uint64_t needed = LOG_SIZE + report->connections * CONNECTION_SIZE;
	size_t allowed = memory_allowed(machine->root);
	char have[UNITS_SIZE], want[UNITS_SIZE];
	if (allowed == SIZE_MAX) {
		report_add(report, VERDICT_UNKNOWN, "memory", "neither /proc/meminfo nor a control group says");
		return;
	}
	bool little = allowed < needed;
	struct finding *finding = report_add(report, little ? VERDICT_CHANGE : VERDICT_OK, "memory", "%s",
	                                     units_format_size(have, allowed));
	if (!little)
		return;
	report_why(finding,
	           "so many connections take %s at rest, sockets in the kernel included, and more when they are slow",
	           units_format_size(want, needed));
	report_command(finding,
	               "systemctl edit ringcast    ([Service] MemoryMax=%" PRIu64 "M, on a machine that has it)",
	               (needed >> 20) + 1);
}

/* The narrowest quota of the groups that this process is in, in thousandths of a processor. */
static uint64_t find_quota(const struct machine *machine)
{
	char group[MACHINE_LINE_SIZE], path[MACHINE_LINE_SIZE + 64];
	uint64_t least = MACHINE_UNLIMITED, numbers[2];
	machine_group(machine, group);
	for (char *end = group + strlen(group); end; end = strrchr(group, '/')) {
		*end = 0;
		snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", group);
		if (machine_numbers(machine, numbers, 2, path) == 2 && numbers[0] != MACHINE_UNLIMITED && numbers[1] &&
		    numbers[0] * 1000 / numbers[1] < least)
			least = numbers[0] * 1000 / numbers[1];
	}
	if (machine_numbers(machine, numbers, 1, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us") && numbers[0] &&
	    machine_numbers(machine, numbers + 1, 1, "/sys/fs/cgroup/cpu/cpu.cfs_period_us") && numbers[1] &&
	    numbers[0] * 1000 / numbers[1] < least)
		least = numbers[0] * 1000 / numbers[1];
	return least;
}

static void check_quota(struct report *report, const struct machine *machine)
{
	uint64_t quota = find_quota(machine);
	if (quota == MACHINE_UNLIMITED) {
		report_add(report, VERDICT_OK, "processor quota", "none");
		return;
	}
	bool little = quota < (uint64_t)machine->processors * 1000;
	struct finding *finding = report_add(report, little ? VERDICT_CHANGE : VERDICT_OK, "processor quota",
	                                     "%.2f of %u processors", (double)quota / 1000, machine->processors);
	if (!little)
		return;
	report_why(finding,
	           "when it is used up, every connection waits for the next period, up to 100 ms; without --workers "
	           "there is a worker for each of %u processors",
	           machine->processors);
	report_command(finding, "ringcast serve --workers %" PRIu64 "    (or a quota of %u processors)",
	               quota < 1000 ? 1 : quota / 1000, machine->processors);
}

static void check_threads(struct report *report, const struct machine *machine)
{
	char group[MACHINE_LINE_SIZE], path[MACHINE_LINE_SIZE + 64];
	uint64_t limit[1], needed = machine->processors + THREADS_SPARE;
	machine_group(machine, group);
	snprintf(path, sizeof path, "/sys/fs/cgroup%s/pids.max", group);
	if (!machine_numbers(machine, limit, 1, path) || *limit == MACHINE_UNLIMITED)
		return; /* most groups have no such limit, and nothing is to be said of it */
	struct finding *finding = report_add(report, *limit < needed ? VERDICT_CHANGE : VERDICT_OK,
	                                     "threads of the group", "%" PRIu64, *limit);
	if (*limit < needed) {
		report_why(finding, "%" PRIu64 " are needed: a worker a processor, and some beside them", needed);
		report_command(finding, "systemctl edit ringcast    ([Service] TasksMax=%" PRIu64 ")", needed);
	}
}

static void check_io_uring(struct report *report, const struct machine *machine)
{
	uint64_t disabled[1];
	if (!machine_numbers(machine, disabled, 1, "/proc/sys/kernel/io_uring_disabled") || !*disabled) {
		report_add(report, VERDICT_OK, "kernel.io_uring_disabled", "0");
		return;
	}
	struct finding *finding = report_add(report, VERDICT_CHANGE, "kernel.io_uring_disabled", "%" PRIu64, *disabled);
	report_why(finding, "%s",
	           *disabled == 1 ? "io_uring is only for root and the group of kernel.io_uring_group"
	                          : "io_uring is switched off for everybody");
	report_command(finding, "sysctl -w kernel.io_uring_disabled=0");
	if (*disabled == 1)
		report_command(finding, "sysctl -w kernel.io_uring_group=$(getent group ringcast | cut -d: -f3)");
}

void check_limits(struct report *report, const struct machine *machine)
{
	check_descriptors(report, machine);
	check_memory(report, machine);
	check_quota(report, machine);
	check_threads(report, machine);
	check_io_uring(report, machine);
}
