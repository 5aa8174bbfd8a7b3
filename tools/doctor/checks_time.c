/* SPDX-License-Identifier: MIT
 *
 * checks_time.c - what costs time, and no connection: the clock, how processors sleep and share, where interrupts go.
 * Only the clock and interrupts in one heap are in the way of many connections; the rest is advice.
 */
#include "checks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLEEP_MAX_US 50

/* The time is read several times a tick. Some clocks are read without the kernel, others by a call into it, or by a
 * device. */
static void check_clock(struct report *report, const struct machine *machine)
{
	static const char *const good[] = { "tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page" };
	char clock[MACHINE_LINE_SIZE], others[MACHINE_LINE_SIZE];
	if (!machine_line(machine, clock, "/sys/devices/system/clocksource/clocksource0/current_clocksource")) {
		report_add(report, VERDICT_UNKNOWN, "clock", "the kernel does not say which");
		return;
	}
	clock[strcspn(clock, " ")] = 0;
	for (size_t index = 0; index < sizeof good / sizeof *good; index++) {
		if (!strcmp(clock, good[index])) {
			report_add(report, VERDICT_OK, "clock", "%.100s", clock);
			return;
		}
	}
	struct finding *finding = report_add(report, VERDICT_CHANGE, "clock", "%.100s", clock);
	report_why(finding, "reading it is a system call, or waits for a device, several times for each message");
	machine_line(machine, others, "/sys/devices/system/clocksource/clocksource0/available_clocksource");
	if (strstr(others, "tsc"))
		report_command(finding, "echo tsc >/sys/devices/system/clocksource/clocksource0/current_clocksource");
	report_command(finding,
	               "(boot with clocksource=tsc tsc=reliable, where the processor's counter can be trusted)");
}

/* ---- processors ---- */

struct processors {
	const struct machine *machine;
	unsigned count, other; /* with a governor, and with one that is not `performance` */
	char governor[MACHINE_LINE_SIZE];
	char state[MACHINE_LINE_SIZE]; /* the deepest sleep that is allowed */
	uint64_t wake_us;              /* how long it takes to come back from it */
};

static void look_at_processor(void *context, const char *name)
{
	struct processors *all = context;
	char line[MACHINE_LINE_SIZE];
	if (strncmp(name, "cpu", 3) != 0 || name[3] < '0' || name[3] > '9' ||
	    !machine_line(all->machine, line, "/sys/devices/system/cpu/%s/cpufreq/scaling_governor", name))
		return;
	all->count++;
	if (!strcmp(line, "performance"))
		return;
	all->other++;
	snprintf(all->governor, sizeof all->governor, "%s", line);
}

static void look_at_state(void *context, const char *name)
{
	struct processors *all = context;
	char line[MACHINE_LINE_SIZE];
	if (strncmp(name, "state", 5) != 0)
		return;
	if (machine_line(all->machine, line, "/sys/devices/system/cpu/cpu0/cpuidle/%s/disable", name) && *line == '1')
		return;
	if (!machine_line(all->machine, line, "/sys/devices/system/cpu/cpu0/cpuidle/%s/latency", name) ||
	    strtoull(line, NULL, 10) < all->wake_us)
		return;
	all->wake_us = strtoull(line, NULL, 10);
	machine_line(all->machine, all->state, "/sys/devices/system/cpu/cpu0/cpuidle/%s/name", name);
}

static void check_processors(struct report *report, const struct machine *machine)
{
	struct processors all = { .machine = machine };
	struct finding *finding;
	machine_each(machine, "/sys/devices/system/cpu", look_at_processor, &all);
	if (!all.count) {
		report_add(report, VERDICT_OK, "governor", "none: the frequency is not this system's to choose");
	} else if (!all.other) {
		report_add(report, VERDICT_OK, "governor", "performance");
	} else {
		finding = report_add(report, VERDICT_ADVICE, "governor", "%.60s, on %u of %u processors", all.governor,
		                     all.other, all.count);
		report_why(finding, "after a pause a processor is slow for some milliseconds");
		report_command(finding, "cpupower frequency-set -g performance");
	}
	machine_each(machine, "/sys/devices/system/cpu/cpu0/cpuidle", look_at_state, &all);
	if (!*all.state) {
		report_add(report, VERDICT_OK, "sleep of processors", "none is known here");
	} else {
		finding = report_add(report, all.wake_us > SLEEP_MAX_US ? VERDICT_ADVICE : VERDICT_OK,
		                     "sleep of processors", "%.60s, %" PRIu64 " us to come back", all.state,
		                     all.wake_us);
		if (all.wake_us > SLEEP_MAX_US) {
			report_why(finding, "the first message after a pause waits that long; see ringcast-latency(7)");
			report_command(finding, "cpupower idle-set -D %d", SLEEP_MAX_US);
		}
	}
}

static void check_sharing(struct report *report, const struct machine *machine)
{
	char line[MACHINE_LINE_SIZE];
	bool known = machine_line(machine, line, "/sys/devices/system/cpu/smt/active");
	if (known && *line == '1') {
		struct finding *finding = report_add(report, VERDICT_ADVICE, "threads of a core (SMT)", "on");
		report_why(
		    finding,
		    "two workers on one core have little more than one of its own: give --cpus one thread of each "
		    "core, or one worker less");
		report_command(finding, "cat /sys/devices/system/cpu/cpu*/topology/thread_siblings_list | sort -u");
	} else {
		report_add(report, VERDICT_OK, "threads of a core (SMT)", known ? "off" : "none");
	}
	machine_line(machine, line, "/sys/devices/system/cpu/isolated");
	if (*line)
		report_add(report, VERDICT_OK, "isolated processors", "%.100s (for --cpus)", line);
	else
		report_add(report, VERDICT_OK, "isolated processors", "none");
}

/* ---- interrupts ---- */

struct card {
	struct report *report;
	const struct machine *machine;
	char name[64];
	unsigned interrupts, receive_queues;
	bool apart;                         /* not all on the same processors */
	char processors[MACHINE_LINE_SIZE]; /* of the first interrupt */
	char numbers[4][16];                /* of interrupts, for the commands */
};

static void look_at_interrupt(void *context, const char *number)
{
	struct card *card = context;
	char line[MACHINE_LINE_SIZE];
	if (!machine_line(card->machine, line, "/proc/irq/%s/effective_affinity_list", number) &&
	    !machine_line(card->machine, line, "/proc/irq/%s/smp_affinity_list", number))
		return;
	if (!card->interrupts)
		snprintf(card->processors, sizeof card->processors, "%s", line);
	else if (strcmp(card->processors, line) != 0)
		card->apart = true;
	if (card->interrupts < 4)
		snprintf(card->numbers[card->interrupts], sizeof card->numbers[0], "%.15s", number);
	card->interrupts++;
}

static void look_at_queue(void *context, const char *name)
{
	struct card *card = context;
	card->receive_queues += !strncmp(name, "rx-", 3);
}

/* All interrupts of a card on one processor: that one is full while the others are idle. */
static void check_interrupts(struct card *card)
{
	char name[96];
	snprintf(name, sizeof name, "interrupts of %.40s", card->name);
	bool heap = card->interrupts > 1 && !card->apart && machine_count_list(card->processors) == 1;
	struct finding *finding = report_add(card->report, heap ? VERDICT_CHANGE : VERDICT_OK, name, "%u%s%.60s",
	                                     card->interrupts, heap ? ", all on processor " : "",
	                                     heap ? card->processors : "");
	if (!heap)
		return;
	report_why(finding, "that processor receives everything, and the others wait for it");
	for (unsigned index = 0; index < card->interrupts && index < 4; index++)
		report_command(finding, "echo %u >/proc/irq/%s/smp_affinity_list%s", index % card->machine->processors,
		               card->numbers[index], index == 3 && card->interrupts > 4 ? "    (and so on)" : "");
}

/* A card with one queue: the kernel can hand packets on to the other processors itself. */
static void check_queue(struct card *card)
{
	char line[MACHINE_LINE_SIZE], name[96];
	if (card->receive_queues != 1 ||
	    !machine_line(card->machine, line, "/sys/class/net/%s/queues/rx-0/rps_cpus", card->name))
		return;
	bool alone = !line[strspn(line, "0,")];
	snprintf(name, sizeof name, "receive queue of %.40s", card->name);
	struct finding *finding = report_add(card->report, alone ? VERDICT_ADVICE : VERDICT_OK, name, "one, %s",
	                                     alone ? "for one processor" : "handed on to several");
	if (!alone)
		return;
	report_why(finding, "one processor receives everything; the kernel can share it out (RPS)");
	report_command(finding, "echo %x >/sys/class/net/%s/queues/rx-0/rps_cpus",
	               card->machine->processors < 32 ? (1u << card->machine->processors) - 1 : UINT32_MAX, card->name);
}

static void look_at_card(void *context, const char *name)
{
	const struct card *all = context;
	struct card card = { .report = all->report, .machine = all->machine };
	char path[MACHINE_LINE_SIZE];
	snprintf(card.name, sizeof card.name, "%.60s", name);
	if (card.report->count + 4 > REPORT_FINDINGS_MAX)
		return;
	snprintf(path, sizeof path, "/sys/class/net/%.60s/device/msi_irqs", name);
	machine_each(all->machine, path, look_at_interrupt, &card);
	snprintf(path, sizeof path, "/sys/class/net/%.60s/queues", name);
	machine_each(all->machine, path, look_at_queue, &card);
	if (card.interrupts)
		check_interrupts(&card);
	/* What has no device behind it is loopback, a bridge, a tunnel. */
	if (machine_line(all->machine, path, "/sys/class/net/%.60s/device/uevent", name))
		check_queue(&card);
}

void check_time(struct report *report, const struct machine *machine)
{
	struct card all = { .report = report, .machine = machine };
	check_clock(report, machine);
	check_processors(report, machine);
	check_sharing(report, machine);
	if (machine->processors > 1)
		machine_each(machine, "/sys/class/net", look_at_card, &all);
}
