/* SPDX-License-Identifier: MIT
 *
 * checks_network.c - what the kernel's network code is set to: queues of connections, memory of sockets, congestion
 * control, ports, connection tracking.
 */
#include "checks.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/units.h"

#define BACKLOG 4096            /* what the server asks for */
#define BACKLOG_MIN 128         /* for few connections */
#define PAGES_A_CONNECTION 2    /* of buffers, while a message is on its way to all */
#define BUFFER_MAX_SIZE 1048576 /* of one socket: a burst to a reader far away */
#define BUFFER_DEFAULT_SIZE 262144

static const char *sysctl_path(const char *name, char path[MACHINE_LINE_SIZE])
{
	snprintf(path, MACHINE_LINE_SIZE, "/proc/sys/%s", name);
	for (char *dot = path + 10; *dot; dot++)
		if (*dot == '.')
			*dot = '/';
	return path;
}

/* A sysctl of one number that must be at least `least`. */
static void check_least(struct report *report, const struct machine *machine, const char *name, uint64_t least,
                        const char *why)
{
	char path[MACHINE_LINE_SIZE];
	uint64_t value[1];
	if (!machine_numbers(machine, value, 1, sysctl_path(name, path))) {
		report_add(report, VERDICT_UNKNOWN, name, "cannot be read");
		return;
	}
	struct finding *finding = report_add(report, *value < least ? VERDICT_CHANGE : VERDICT_OK, name, "%" PRIu64,
	                                     *value);
	if (*value < least) {
		report_why(finding, "%s", why);
		report_command(finding, "sysctl -w %s=%" PRIu64, name, least);
	}
}

/* Many come at once when they come back: after a restart, or behind a proxy that was restarted. */
static void check_queues(struct report *report, const struct machine *machine)
{
	uint64_t least = report->connections / 10;
	least = least < BACKLOG_MIN ? BACKLOG_MIN : least > BACKLOG ? BACKLOG : least;
	check_least(report, machine, "net.core.somaxconn", least,
	            "connections that wait to be accepted; beyond it they are dropped, and try again after a second");
	check_least(report, machine, "net.ipv4.tcp_max_syn_backlog", least,
	            "handshakes of TCP that are under way; beyond it they are dropped or get cookies");
}

static void check_tcp_memory(struct report *report, const struct machine *machine)
{
	uint64_t pages[3], most = (uint64_t)report->connections * PAGES_A_CONNECTION;
	char have[UNITS_SIZE], want[UNITS_SIZE];
	if (machine_numbers(machine, pages, 3, "/proc/sys/net/ipv4/tcp_mem") != 3) {
		report_add(report, VERDICT_UNKNOWN, "net.ipv4.tcp_mem", "cannot be read");
		return;
	}
	bool little = pages[2] < most;
	struct finding *finding = report_add(report, little ? VERDICT_CHANGE : VERDICT_OK, "net.ipv4.tcp_mem",
	                                     "%" PRIu64 " %" PRIu64 " %" PRIu64 " pages (%s)", pages[0], pages[1],
	                                     pages[2], units_format_size(have, pages[2] * 4096));
	if (!little)
		return;
	report_why(finding,
	           "buffers of all TCP sockets together; a message that is on its way to all of them takes %s, and "
	           "beyond the limit packets are dropped",
	           units_format_size(want, most * 4096));
	report_command(finding, "sysctl -w net.ipv4.tcp_mem='%" PRIu64 " %" PRIu64 " %" PRIu64 "'", most / 2,
	               most / 4 * 3, most);
}

/* Least, default and most of a socket's buffer: the default counts when a connection begins, the most when it is far
 * away. */
static void check_buffers(struct report *report, const struct machine *machine, const char *name)
{
	char path[MACHINE_LINE_SIZE];
	uint64_t sizes[3];
	if (machine_numbers(machine, sizes, 3, sysctl_path(name, path)) != 3) {
		report_add(report, VERDICT_UNKNOWN, name, "cannot be read");
		return;
	}
	bool little = sizes[2]<BUFFER_MAX_SIZE, much = sizes[1]> BUFFER_DEFAULT_SIZE;
	struct finding *finding = report_add(report,
	                                     little ? VERDICT_CHANGE
	                                     : much ? VERDICT_ADVICE
	                                            : VERDICT_OK,
	                                     name, "%" PRIu64 " %" PRIu64 " %" PRIu64, sizes[0], sizes[1], sizes[2]);
	if (!little && !much)
		return;
	report_why(
	    finding, "%s",
	    little ? "the third is the most that a buffer grows to: readers far away do not get more than that in a "
		     "round trip"
		   : "the second is where each buffer begins: what a stalled reader holds in the kernel");
	report_command(finding, "sysctl -w %s='%" PRIu64 " %" PRIu64 " %" PRIu64 "'", name, sizes[0],
	               much ? (uint64_t)131072 : sizes[1], little ? (uint64_t)4 * BUFFER_MAX_SIZE : sizes[2]);
}

static void check_ports(struct report *report, const struct machine *machine)
{
	uint64_t range[2];
	if (machine_numbers(machine, range, 2, "/proc/sys/net/ipv4/ip_local_port_range") != 2 || range[1] < range[0]) {
		report_add(report, VERDICT_UNKNOWN, "net.ipv4.ip_local_port_range", "cannot be read");
		return;
	}
	uint64_t ports = range[1] - range[0] + 1;
	bool few = ports < report->connections && ports < 64000;
	struct finding *finding = report_add(report, few ? VERDICT_ADVICE : VERDICT_OK, "net.ipv4.ip_local_port_range",
	                                     "%" PRIu64 " to %" PRIu64 ", %" PRIu64 " ports", range[0], range[1],
	                                     ports);
	if (!few)
		return;
	report_why(finding,
	           "the server takes none of them, but a proxy on this machine, or `ringcast load`, takes one a "
	           "connection and address: give it several addresses, too");
	report_command(finding, "sysctl -w net.ipv4.ip_local_port_range='1024 65535'");
}

static void check_congestion(struct report *report, const struct machine *machine)
{
	char chosen[MACHINE_LINE_SIZE], queue[MACHINE_LINE_SIZE];
	if (!machine_line(machine, chosen, "/proc/sys/net/ipv4/tcp_congestion_control")) {
		report_add(report, VERDICT_UNKNOWN, "net.ipv4.tcp_congestion_control", "cannot be read");
		return;
	}
	bool old = !strcmp(chosen, "reno"), paced = !strcmp(chosen, "bbr");
	struct finding *finding = report_add(report, old ? VERDICT_CHANGE : VERDICT_OK,
	                                     "net.ipv4.tcp_congestion_control", "%.100s", chosen);
	if (old) {
		report_why(finding,
		           "after a lost packet reno is slow for long; a reader behind such a line falls behind");
		report_command(finding, "sysctl -w net.ipv4.tcp_congestion_control=cubic");
	}
	if (!paced || !machine_line(machine, queue, "/proc/sys/net/core/default_qdisc"))
		return;
	bool apart = strcmp(queue, "fq") != 0;
	finding = report_add(report, apart ? VERDICT_ADVICE : VERDICT_OK, "net.core.default_qdisc", "%.100s", queue);
	if (apart) {
		report_why(
		    finding,
		    "bbr spreads packets over time: fq does it for all at once, without it each connection has a "
		    "timer of its own");
		report_command(finding,
		               "sysctl -w net.core.default_qdisc=fq    (counts for network cards that come up later)");
	}
}

static void check_tracking(struct report *report, const struct machine *machine)
{
	uint64_t most[1], needed = (uint64_t)report->connections + report->connections / 5;
	if (!machine_numbers(machine, most, 1, "/proc/sys/net/netfilter/nf_conntrack_max"))
		return; /* nothing tracks connections here */
	struct finding *finding = report_add(report, *most < needed ? VERDICT_CHANGE : VERDICT_OK,
	                                     "net.netfilter.nf_conntrack_max", "%" PRIu64, *most);
	if (*most < needed) {
		report_why(finding,
		           "the firewall keeps an entry a connection, and drops packets of new ones when it is full");
		report_command(finding, "sysctl -w net.netfilter.nf_conntrack_max=%" PRIu64, needed);
	}
}

static void check_idle_restart(struct report *report, const struct machine *machine)
{
	uint64_t on[1];
	if (!machine_numbers(machine, on, 1, "/proc/sys/net/ipv4/tcp_slow_start_after_idle"))
		return;
	struct finding *finding = report_add(report, *on ? VERDICT_ADVICE : VERDICT_OK,
	                                     "net.ipv4.tcp_slow_start_after_idle", "%" PRIu64, *on);
	if (*on) {
		report_why(finding, "after each quiet second a burst begins slowly again");
		report_command(finding, "sysctl -w net.ipv4.tcp_slow_start_after_idle=0");
	}
}

static void check_busy_poll(struct report *report, const struct machine *machine)
{
	uint64_t time[1];
	if (!machine_numbers(machine, time, 1, "/proc/sys/net/core/busy_poll")) {
		report_add(report, VERDICT_UNKNOWN, "net.core.busy_poll", "cannot be read");
		return;
	}
	struct finding *finding = report_add(report, *time ? VERDICT_ADVICE : VERDICT_OK, "net.core.busy_poll",
	                                     "%" PRIu64 " us", *time);
	if (*time) {
		report_why(
		    finding,
		    "every program that polls spins so long; a worker's own --spin-us and --busy-poll do not need "
		    "it");
		report_command(finding, "sysctl -w net.core.busy_poll=0");
	}
}

void check_network(struct report *report, const struct machine *machine)
{
	check_queues(report, machine);
	check_tcp_memory(report, machine);
	check_buffers(report, machine, "net.ipv4.tcp_rmem");
	check_buffers(report, machine, "net.ipv4.tcp_wmem");
	check_ports(report, machine);
	check_congestion(report, machine);
	check_tracking(report, machine);
	check_idle_restart(report, machine);
	check_busy_poll(report, machine);
}
