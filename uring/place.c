/* SPDX-License-Identifier: MIT
 *
 * place.c - see place.h. It must not know what a worker does, nor what lies in the log.
 *
 * The system calls for NUMA are made directly: libnuma would be one more library for three of them.
 */
#include "place.h"

#include "bounds.h"
#include "check.h"
#include "error.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NODES_MAX 1024 /* what kernels are built for at most */
#define NODE_DIRECTORY "/sys/devices/system/node"
#define HUGE_PAGE_SIZE (2 * RC_MIB)
#define LIST_SIZE 96 /* of processors, as text in an error */

/* ---- lists of processors ---- */

/* "0-3,8" to a set. */
static void parse_list(const char *text, cpu_set_t *set)
{
	CPU_ZERO(set);
	while (*text >= '0' && *text <= '9') {
		char *end;
		unsigned long first = strtoul(text, &end, 10), last = *end == '-' ? strtoul(end + 1, &end, 10) : first;
		for (unsigned long cpu = first; cpu <= last && cpu < CPU_SETSIZE; cpu++)
			CPU_SET(cpu, set);
		text = *end == ',' ? end + 1 : end;
	}
}

/* And back, cut off where it is too long. */
static const char *print_list(const cpu_set_t *set, char text[static LIST_SIZE])
{
	size_t size = 0;
	text[0] = 0;
	for (int cpu = 0; cpu < CPU_SETSIZE && size < LIST_SIZE - 24; cpu++) {
		if (!CPU_ISSET(cpu, set))
			continue;
		int last = cpu;
		while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, set))
			last++;
		size += (size_t)snprintf(text + size, LIST_SIZE - size, last > cpu ? "%s%d-%d" : "%s%d",
		                         size ? "," : "", cpu, last);
		cpu = last;
	}
	return text;
}

/* ---- NUMA nodes ---- */

/* Reads a list below NODE_DIRECTORY. False when there is none, as where the kernel knows no nodes. */
static bool read_list(const char *name, cpu_set_t *set)
{
	char path[128], text[4096];
	snprintf(path, sizeof path, NODE_DIRECTORY "/%s", name);
	FILE *file = fopen(path, "re");
	if (!file)
		return false;
	bool got = fgets(text, sizeof text, file);
	fclose(file);
	if (got)
		parse_list(text, set);
	return got;
}

/* The processors of a node; all of them on a kernel without nodes, which is node 0 alone. */
static void processors_of(int node, cpu_set_t *set)
{
	char name[32];
	snprintf(name, sizeof name, "node%d/cpulist", node);
	if (!read_list(name, set) || !CPU_COUNT(set))
		memset(set, 0xFF, sizeof *set);
}

static int check_node(int node, struct rc_error *error)
{
	cpu_set_t nodes;
	char text[LIST_SIZE];
	if (node < 0)
		return 0;
	if (!read_list("online", &nodes))
		parse_list("0", &nodes);
	if (node < NODES_MAX && CPU_ISSET(node, &nodes))
		return 0;
	return rc_fail(error, -EINVAL, "NUMA node %d: this machine has %s (see lscpu)", node, print_list(&nodes, text));
}

struct node_mask {
	unsigned long bits[NODES_MAX / (8 * sizeof(unsigned long)) + 1];
};

static struct node_mask mask_of(int node)
{
	struct node_mask mask = { 0 };
	const unsigned width = 8 * sizeof(unsigned long);
	mask.bits[(unsigned)node / width] = 1ul << (unsigned)node % width;
	return mask;
}

static int fail_policy(int node, struct rc_error *error)
{
	if (errno == ENOSYS && node == 0)
		return 0; /* a kernel without nodes */
	return rc_fail(
	    error, -errno,
	    "memory of NUMA node %d: %s; the seccomp profile must allow mbind and set_mempolicy (containers: "
	    "CAP_SYS_NICE; systemd: SystemCallFilter=mbind set_mempolicy)",
	    node, strerror(errno));
}

/* Preferred, not bound: where the node is full, memory of another one is slower, and none at all is an end. */
static int prefer_for_thread(int node, struct rc_error *error)
{
	struct node_mask mask = mask_of(node);
	long result = syscall(SYS_set_mempolicy, MPOL_PREFERRED, mask.bits, NODES_MAX + 1);
	return result < 0 ? fail_policy(node, error) : 0;
}

static int prefer_for_memory(void *memory, size_t size, int node, struct rc_error *error)
{
	struct node_mask mask = mask_of(node);
	long result = syscall(SYS_mbind, memory, size, MPOL_PREFERRED, mask.bits, NODES_MAX + 1, 0);
	return result < 0 ? fail_policy(node, error) : 0;
}

/* ---- what is asked for ---- */

int rc_place_check(const struct rc_config *config, struct rc_error *error)
{
	if (config->cpu_count > RC_WORKERS_MAX || (config->cpu_count && !config->cpus))
		return rc_fail(error, -EINVAL, "%u processors for workers: at most %u", config->cpu_count,
		               RC_WORKERS_MAX);
	for (unsigned i = 0; i < config->cpu_count; i++)
		if (config->cpus[i] >= CPU_SETSIZE)
			return rc_fail(error, -EINVAL, "processor %u: at most %d", config->cpus[i], CPU_SETSIZE - 1);
	if (config->thread_priority > 99)
		return rc_fail(error, -EINVAL, "a thread priority of %u: 1 to 99, or 0 for none",
		               config->thread_priority);
	if (config->log_huge_pages > RC_HUGE_PAGES_RESERVED)
		return rc_fail(error, -EINVAL, "an unknown kind of huge pages");
	return check_node(config->numa_node, error);
}

unsigned rc_place_worker_count(const struct rc_config *config)
{
	cpu_set_t mine, set;
	if (config->cpu_count)
		return config->cpu_count;
	if (sched_getaffinity(0, sizeof mine, &mine) < 0)
		return 1;
	if (config->numa_node >= 0) {
		processors_of(config->numa_node, &set);
		CPU_AND(&mine, &mine, &set);
	}
	return (unsigned)RC_MAX(CPU_COUNT(&mine), 1);
}

/* ---- threads ---- */

static int pin(const cpu_set_t *set, unsigned worker, struct rc_error *error)
{
	char wanted[LIST_SIZE], allowed[LIST_SIZE];
	cpu_set_t mine;
	int code = pthread_setaffinity_np(pthread_self(), sizeof *set, set);
	if (code == 0)
		return 0;
	if (code != EINVAL)
		return rc_fail(error, -code,
		               "worker %u on processor %s: %s; the seccomp profile must allow sched_setaffinity "
		               "(systemd: SystemCallFilter=sched_setaffinity)",
		               worker, print_list(set, wanted), strerror(code));
	sched_getaffinity(0, sizeof mine, &mine);
	return rc_fail(error, -code,
	               "worker %u on processor %s: this process may run on %s (see taskset and cpusets; systemd: "
	               "AllowedCPUs=)",
	               worker, print_list(set, wanted), print_list(&mine, allowed));
}

static int raise_priority(unsigned priority, struct rc_error *error)
{
	const struct sched_param parameter = { .sched_priority = (int)priority };
	int code = pthread_setschedparam(pthread_self(), SCHED_FIFO, &parameter);
	if (code == 0)
		return 0;
	return rc_fail(error, -code,
	               "SCHED_FIFO at priority %u: %s; it needs CAP_SYS_NICE, or a limit: 'ulimit -r %u' (systemd: "
	               "LimitRTPRIO=%u, RestrictRealtime=no)",
	               priority, strerror(code), priority, priority);
}

int rc_place_thread(const struct rc_config *config, unsigned worker, struct rc_error *error)
{
	cpu_set_t set;
	int result = 0;
	if (config->cpu_count) {
		CPU_ZERO(&set);
		CPU_SET(config->cpus[worker % config->cpu_count], &set);
		result = pin(&set, worker, error);
	} else if (config->numa_node >= 0) {
		processors_of(config->numa_node, &set);
		result = pin(&set, worker, error);
	}
	if (result == 0 && config->numa_node >= 0)
		result = prefer_for_thread(config->numa_node, error);
	if (result == 0 && config->thread_priority)
		result = raise_priority(config->thread_priority, error);
	return result;
}

/* ---- memory ---- */

static int fail_lock(size_t size, struct rc_error *error)
{
	struct rlimit limit = { 0 };
	int code = errno;
	getrlimit(RLIMIT_MEMLOCK, &limit);
	if (code == EAGAIN || limit.rlim_cur == RLIM_INFINITY)
		return rc_fail(error, -code, "%zu KiB of log cannot be locked: %s", size / RC_KIB, strerror(code));
	return rc_fail(
	    error, -code,
	    "%zu KiB of log cannot be locked: %s; RLIMIT_MEMLOCK allows %llu KiB: raise 'ulimit -l' (systemd: "
	    "LimitMEMLOCK=), or give the program CAP_IPC_LOCK",
	    size / RC_KIB, strerror(code), (unsigned long long)limit.rlim_cur / RC_KIB);
}

static int map_pages(const struct rc_config *config, size_t size, void **memory, struct rc_error *error)
{
	bool reserved = config->log_huge_pages == RC_HUGE_PAGES_RESERVED;
	/* Reserved pages are counted here: a page that is missing later would end the process. */
	int flags = reserved ? MAP_HUGETLB | 21 << MAP_HUGE_SHIFT : MAP_NORESERVE;
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
	*memory = at == MAP_FAILED ? NULL : at;
	if (*memory)
		return 0;
	if (!reserved)
		return rc_fail(error, -errno, "no memory for a log of %zu KiB", size / RC_KIB);
	return rc_fail(error, -errno,
	               "the log wants %zu huge pages of 2 MiB that are free: raise the sysctl vm.nr_hugepages (%s)",
	               size / HUGE_PAGE_SIZE, strerror(errno));
}

/* Unlike MAP_POPULATE this says when it did not work, and comes after what was said about the pages. Before Linux 5.14
 * there is nothing of the kind: each page is touched. Returns 0 or -1 and errno. */
static int populate(void *memory, size_t size)
{
	int result = madvise(memory, size, MADV_POPULATE_WRITE);
	if (result == 0 || errno != EINVAL)
		return result;
	size_t page_size = (size_t)sysconf(_SC_PAGESIZE);
	for (size_t at = 0; at < size; at += page_size)
		((volatile uint8_t *)memory)[at] = 0;
	return 0;
}

int rc_place_map(const struct rc_config *config, size_t size, void **memory, size_t *mapped_size,
                 struct rc_error *error)
{
	if (config->log_huge_pages == RC_HUGE_PAGES_RESERVED)
		size = (size + HUGE_PAGE_SIZE - 1) & ~(HUGE_PAGE_SIZE - 1);
	*mapped_size = size;
	int result = map_pages(config, size, memory, error);
	if (result < 0)
		return result;
	if (config->log_huge_pages == RC_HUGE_PAGES_TRANSPARENT)
		madvise(*memory, size, MADV_HUGEPAGE); /* a kernel without them has small ones */
	if (config->numa_node >= 0)
		result = prefer_for_memory(*memory, size, config->numa_node, error);
	if (result == 0 && config->log_prefault && populate(*memory, size) < 0)
		result = rc_fail(error, -errno, "%zu KiB of log cannot be brought into memory: %s", size / RC_KIB,
		                 strerror(errno));
	if (result == 0 && config->log_lock && mlock(*memory, size) < 0)
		result = fail_lock(size, error);
	return result;
}

void rc_place_unmap(void *memory, size_t mapped_size)
{
	if (memory)
		munmap(memory, mapped_size);
}
