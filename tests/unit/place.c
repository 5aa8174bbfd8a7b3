/* SPDX-License-Identifier: MIT
 *
 * place.c - what rc_config says about processors, memory and sleep: that it happens, seen from the kernel's side, and
 * that what cannot be is refused in words that help.
 */
#include "ringcast_stats.h"
#include "worker.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define LOG_SIZE ((size_t)4 << 20)
#define NOBODY 65534

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1 /* as gcc says it */
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true /* it has shadow memory that faults, and an mlock() of its own, which does nothing */
#else
#define SANITIZED false
#endif

static struct rc_config config_of(unsigned workers)
{
	struct rc_config config;
	rc_config_init(&config);
	config.worker_count = workers;
	config.log_size = LOG_SIZE;
	return config;
}

static rc_server *make(const struct rc_config *config)
{
	struct rc_error error;
	rc_server *server = rc_server_new(config, &error);
	cr_assert_not_null(server, "%s", error.text);
	return server;
}

static void end(rc_server *server)
{
	rc_server_stop(server, 0);
	rc_server_join(server);
	rc_server_free(server);
}

static void refused(const struct rc_config *config, int code, const char *words)
{
	struct rc_error error = { 0 };
	cr_expect_null(rc_server_new(config, &error), "it is taken, without '%s'", words);
	cr_expect_eq(error.code, code, "%d: %s", error.code, error.text);
	cr_expect_not_null(strstr(error.text, words), "'%s' is not in: %s", words, error.text);
}

static void refused_at_start(const struct rc_config *config, int code, const char *words)
{
	struct rc_error error = { 0 };
	rc_server *server = make(config);
	cr_expect_eq(rc_server_start(server, &error), code, "%d: %s", error.code, error.text);
	cr_expect_not_null(strstr(error.text, words), "'%s' is not in: %s", words, error.text);
	rc_server_free(server);
}

/* One line of a worker's /proc/self/task/ID/status, what follows its name. */
static void status_of(unsigned worker, const char *name, char value[static 64])
{
	char path[300], line[256], wanted[32];
	DIR *tasks = opendir("/proc/self/task");
	snprintf(wanted, sizeof wanted, "ringcast-%u\n", worker);
	value[0] = 0;
	for (struct dirent *task; (task = readdir(tasks));) {
		snprintf(path, sizeof path, "/proc/self/task/%s/status", task->d_name);
		FILE *file = task->d_name[0] == '.' ? NULL : fopen(path, "r");
		bool right = false;
		while (file && fgets(line, sizeof line, file)) {
			if (strncmp(line, "Name:\t", 6) == 0)
				right = strcmp(line + 6, wanted) == 0;
			if (right && strncmp(line, name, strlen(name)) == 0)
				snprintf(value, 64, "%.*s", (int)strcspn(line + strlen(name), "\n"),
				         line + strlen(name));
		}
		if (file)
			fclose(file);
	}
	closedir(tasks);
}

static void nap_us(unsigned us)
{
	nanosleep(&(struct timespec){ .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000l }, NULL);
}

/* ---- processors ---- */

Test(place, each_worker_runs_on_its_processor)
{
	cpu_set_t mine;
	unsigned cpus[2], found = 0;
	char value[64], wanted[16];
	sched_getaffinity(0, sizeof mine, &mine);
	for (unsigned cpu = 0; cpu < CPU_SETSIZE && found < 2; cpu++)
		if (CPU_ISSET(cpu, &mine))
			cpus[found++] = cpu;
	struct rc_config config = config_of(0);
	config.cpus = cpus;
	config.cpu_count = found;
	unsigned last = cpus[found - 1];
	rc_server *server = make(&config);
	cr_expect_eq(rc_server_worker_count(server), found, "one worker a processor");
	cpus[0] = cpus[1] = 12345; /* they were copied */
	cr_assert_eq(rc_server_start(server, NULL), 0);
	status_of(found - 1, "Cpus_allowed_list:\t", value);
	snprintf(wanted, sizeof wanted, "%u", last);
	cr_expect_str_eq(value, wanted);
	end(server);
	config.worker_count = 2 * found + 1; /* and around */
	cpus[0] = last;
	config.cpu_count = 1;
	server = make(&config);
	cr_assert_eq(rc_server_start(server, NULL), 0);
	status_of(2 * found, "Cpus_allowed_list:\t", value);
	cr_expect_str_eq(value, wanted);
	end(server);
}

Test(place, processors_that_are_not_there_are_refused)
{
	unsigned cpu = CPU_SETSIZE - 1;
	struct rc_config config = config_of(1);
	config.cpus = &cpu;
	config.cpu_count = 1;
	refused_at_start(&config, -EINVAL, "this process may run on");
	cpu = CPU_SETSIZE;
	refused(&config, -EINVAL, "at most 1023");
	config.cpus = NULL;
	refused(&config, -EINVAL, "processors for workers");
}

Test(place, node_0_is_everywhere_and_node_9_is_not)
{
	char value[64];
	struct rc_config config = config_of(1);
	config.numa_node = 0;
	rc_server *server = make(&config);
	cr_assert_eq(rc_server_start(server, NULL), 0);
	status_of(0, "Cpus_allowed_list:\t", value);
	cr_expect_neq(value[0], 0);
	cr_expect_gt(rc_publish(server, "t", 1, "x", 1, 0), 0);
	end(server);
	config.numa_node = 9;
	if (access("/sys/devices/system/node/node9", F_OK) != 0)
		refused(&config, -EINVAL, "NUMA node 9: this machine has 0");
	config.numa_node = 5000;
	refused(&config, -EINVAL, "NUMA node 5000");
}

/* ---- priority ---- */

Test(place, priority_is_given_or_its_remedy_is_named)
{
	struct rc_config config = config_of(1);
	struct sched_param parameter = { .sched_priority = 3 };
	config.thread_priority = 7;
	if (pthread_setschedparam(pthread_self(), SCHED_FIFO, &parameter) == 0) {
		int policy = SCHED_OTHER;
		pthread_setschedparam(pthread_self(), SCHED_OTHER, &(struct sched_param){ 0 });
		rc_server *server = make(&config);
		cr_assert_eq(rc_server_start(server, NULL), 0);
		pthread_getschedparam(server->workers[0].thread, &policy, &parameter);
		cr_expect_eq(policy, SCHED_FIFO);
		cr_expect_eq(parameter.sched_priority, 7);
		pthread_getschedparam(pthread_self(), &policy, &parameter);
		cr_expect_eq(policy, SCHED_OTHER, "the caller keeps its own");
		end(server);
		setrlimit(RLIMIT_RTPRIO, &(struct rlimit){ 0, 0 });
		cr_assert(geteuid() != 0 || setuid(NOBODY) == 0);
	}
	refused_at_start(&config, -EPERM, "CAP_SYS_NICE");
	refused_at_start(&config, -EPERM, "LimitRTPRIO=7");
	config.thread_priority = 100;
	refused(&config, -EINVAL, "1 to 99");
}

/* ---- the log's memory ---- */

/* Publishes until the log has come around; returns the page faults of this thread meanwhile. */
static long faults_of_a_lap(bool prefault)
{
	static char text[1000];
	struct rusage before, after;
	struct rc_config config = config_of(1);
	config.log_prefault = prefault;
	rc_server *server = make(&config);
	cr_assert_eq(rc_server_start(server, NULL), 0);
	memset(text, 'x', sizeof text);
	for (unsigned i = 0; i < 10; i++) /* the topic, and this thread's own */
		rc_publish(server, "t", 1, text, sizeof text, 0);
	getrusage(RUSAGE_THREAD, &before);
	for (size_t done = 0; done < LOG_SIZE + LOG_SIZE / 4; done += sizeof text)
		cr_assert_gt(rc_publish(server, "t", 1, text, sizeof text, RC_PUBLISH_WAIT), 0);
	getrusage(RUSAGE_THREAD, &after);
	end(server);
	return after.ru_minflt - before.ru_minflt;
}

Test(place, the_first_lap_through_the_log_does_not_fault)
{
	if (SANITIZED)
		cr_skip("the sanitizer's own memory faults");
	long without = faults_of_a_lap(false), with = faults_of_a_lap(true);
	cr_expect_leq(with, 4, "%ld faults", with);
	cr_expect_gt(without, with, "%ld without, %ld with it", without, with);
	FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
	char text[64] = "";
	if (file && fgets(text, sizeof text, file) && !strstr(text, "[always]"))
		cr_expect_geq(without, (long)(LOG_SIZE / 4096), "%ld faults", without);
	if (file)
		fclose(file);
}

static size_t locked_size(void)
{
	char line[256];
	size_t size = 0;
	FILE *file = fopen("/proc/self/status", "r");
	while (fgets(line, sizeof line, file))
		if (strncmp(line, "VmLck:", 6) == 0)
			size = strtoul(line + 6, NULL, 10) << 10;
	fclose(file);
	return size;
}

Test(place, the_log_is_locked_or_its_remedy_is_named)
{
	if (SANITIZED)
		cr_skip("a sanitizer locks nothing");
	struct rc_config config = config_of(1);
	struct rlimit limit;
	size_t before = locked_size();
	config.log_lock = true;
	getrlimit(RLIMIT_MEMLOCK, &limit);
	if (geteuid() == 0 || limit.rlim_cur > 2 * LOG_SIZE) {
		rc_server *server = make(&config);
		cr_expect_geq(locked_size() - before, LOG_SIZE);
		rc_server_free(server);
		cr_expect_eq(locked_size(), before);
	}
	limit.rlim_cur = 65536;
	setrlimit(RLIMIT_MEMLOCK, &limit);
	cr_assert(geteuid() != 0 || setuid(NOBODY) == 0);
	refused(&config, -ENOMEM, "RLIMIT_MEMLOCK allows 64 KiB");
	limit.rlim_cur = 0;
	setrlimit(RLIMIT_MEMLOCK, &limit);
	refused(&config, -EPERM, "LimitMEMLOCK");
}

static unsigned long reserved_pages_free(void)
{
	unsigned long count = 0;
	FILE *file = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "r");
	if (file) {
		cr_assert_eq(fscanf(file, "%lu", &count), 1);
		fclose(file);
	}
	return count;
}

Test(place, huge_pages)
{
	struct rc_config config = config_of(1);
	config.log_huge_pages = RC_HUGE_PAGES_TRANSPARENT; /* whether there are some or not */
	config.log_prefault = true;
	rc_server *server = make(&config);
	cr_expect_gt(rc_publish(server, "t", 1, "x", 1, 0), 0);
	rc_server_free(server);
	config.log_huge_pages = RC_HUGE_PAGES_RESERVED;
	unsigned long free_count = reserved_pages_free();
	if (free_count > LOG_SIZE >> 20) {
		server = make(&config);
		cr_expect_leq(reserved_pages_free(), free_count - (LOG_SIZE >> 21));
		cr_expect_gt(rc_publish(server, "t", 1, "x", 1, 0), 0);
		rc_server_free(server);
		cr_expect_eq(reserved_pages_free(), free_count);
	}
	config.log_size = (size_t)1 << 36; /* more than anybody reserved */
	refused(&config, -ENOMEM, "vm.nr_hugepages");
	config.log_huge_pages = (enum rc_huge_pages)3;
	refused(&config, -EINVAL, "huge pages");
}

/* ---- spinning ---- */

static bool sleeps(const rc_server *server)
{
	return atomic_load(&server->workers[0].mailbox.sleeping);
}

static void do_nothing(void *argument)
{
	(void)argument;
}

/* How often the worker gave up its processor by itself, while it was posted to every millisecond. */
static unsigned long switches(unsigned spin_us, unsigned *asleep)
{
	struct rc_config config = config_of(1);
	char value[64];
	config.spin_us = spin_us;
	rc_server *server = make(&config);
	cr_assert_eq(rc_server_start(server, NULL), 0);
	*asleep = 0;
	for (unsigned i = 0; i < 200; i++) {
		*asleep += sleeps(server);
		rc_post(server, 0, do_nothing, NULL);
		nap_us(1000);
	}
	status_of(0, "voluntary_ctxt_switches:\t", value);
	end(server);
	return strtoul(value, NULL, 10);
}

Test(place, a_worker_that_spins_neither_sleeps_nor_is_woken)
{
	unsigned asleep, asleep_spinning;
	unsigned long without = switches(0, &asleep), with = switches(500000, &asleep_spinning);
	cr_expect_gt(without, 100, "%lu switches without", without);
	cr_expect_gt(asleep, 100);
	cr_expect_lt(with, 50, "%lu switches with, %lu without", with, without);
	cr_expect_lt(asleep_spinning, 20, "found asleep %u times", asleep_spinning);
}

Test(place, a_worker_that_spun_for_nothing_sleeps)
{
	struct rc_config config = config_of(1);
	struct rc_stats before, after;
	config.spin_us = 20000;
	rc_server *server = make(&config);
	cr_assert_eq(rc_server_start(server, NULL), 0);
	rc_post(server, 0, do_nothing, NULL);
	for (unsigned i = 0; i < 5000 && !sleeps(server); i++)
		nap_us(1000);
	cr_expect(sleeps(server));
	nap_us(100000);
	rc_server_stats(server, &before);
	nap_us(200000);
	rc_server_stats(server, &after);
	cr_expect_leq(after.ticks - before.ticks, 2, "%lu ticks while idle",
	              (unsigned long)(after.ticks - before.ticks));
	end(server);
}
