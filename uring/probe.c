/* SPDX-License-Identifier: MIT
 *
 * probe.c - what this kernel and processor offer, found by trying, and what is used in place of what is missing. It
 * must not know a server.
 */
#include "worker.h"

#include "growing.h"
#include "probe.h"
#include "ringcast_stats.h"
#include "text.h"

#include <linux/io_uring.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#define OPCODES 256

/* The caller's array, of structs as it knows them. */
struct findings {
	uint8_t *features;
	size_t struct_size, count, max;
	struct rc_error *error; /* or null: what is missing first */
	bool missing;
};

static pthread_once_t chosen_once = PTHREAD_ONCE_INIT;
static bool chosen_as_wanted;

static void choose(void)
{
	const char *wanted = getenv("RC_SIMD");
	chosen_as_wanted = rc_text_choose(wanted) != NULL;
}

int rc_choose_kernels(struct rc_error *error)
{
	pthread_once(&chosen_once, choose);
	if (chosen_as_wanted)
		return 0;
	return rc_fail(error, -EINVAL,
	               "RC_SIMD=%s: unknown, or more than this processor has; unset it, or use scalar, avx2, "
	               "avx512 or neon",
	               getenv("RC_SIMD"));
}

static void add(struct findings *findings, const char *name, bool found, bool required, const char *used)
{
	if (findings->count == findings->max)
		return;
	struct rc_feature feature = { .found = found, .required = required };
	snprintf(feature.name, sizeof feature.name, "%s", name);
	snprintf(feature.used, sizeof feature.used, "%s", used);
	rc_growing_give(findings->features + findings->count++ * findings->struct_size, findings->struct_size, &feature,
	                sizeof feature);
	if (required && !found && !findings->missing)
		rc_fail(findings->error, -ENOSYS, "%s is missing: %s", name, used);
	findings->missing |= required && !found;
}

static int set_up(unsigned flags, unsigned *features)
{
	struct io_uring_params params = { .flags = flags };
	int ring = (int)syscall(__NR_io_uring_setup, 8, &params);
	*features = params.features;
	return ring;
}

static bool has_operation(const struct io_uring_probe *probe, unsigned opcode)
{
	return opcode <= probe->last_op && probe->ops[opcode].flags & IO_URING_OP_SUPPORTED;
}

static void probe_operations(struct findings *findings, int ring, unsigned features)
{
	_Alignas(struct io_uring_probe) char
	    memory[sizeof(struct io_uring_probe) + OPCODES * sizeof(struct io_uring_probe_op)];
	struct io_uring_probe *probe = (struct io_uring_probe *)memory;
	memset(memory, 0, sizeof memory);
	if (syscall(__NR_io_uring_register, ring, IORING_REGISTER_PROBE, probe, OPCODES) < 0)
		return;
	bool six = has_operation(probe, IORING_OP_SEND_ZC);
	add(findings, "multishot receive", six, false, "one operation a connection, from a ring of provided buffers");
	bool direct = features & RC_RING_FEATURE_6_14;
	add(findings, "direct descriptors", direct, false,
	    direct ? "connections take none of the process's descriptors"
	           : "before Linux 6.14 they are closed too late: each connection takes a descriptor of the process");
	add(findings, "multishot accept", direct, false,
	    direct ? "accepts into the ring's own table of descriptors"
	           : "one-shot accepts, a number of them at a time");
}

/* Returns the features that the kernel's io_uring names. */
static unsigned probe_uring(struct findings *findings)
{
	unsigned offers = 0;
	int ring = set_up(0, &offers);
	int code = ring < 0 ? errno : 0;
	add(findings, "io_uring", ring >= 0, false,
	    code == EPERM    ? "set the sysctl kernel.io_uring_disabled to 0, or allow it in the seccomp profile"
	    : code == ENOSYS ? "this kernel was built without it, or it is hidden by the seccomp profile"
	                     : "every socket operation goes through it");
	int deferred = set_up(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, &offers);
	add(findings, "deferred task work", deferred >= 0, false,
	    deferred >= 0 ? "completions are worked off when the worker waits" : "it needs Linux 6.1 or newer");
	bool enters = deferred >= 0 &&
	              syscall(__NR_io_uring_enter, deferred, 0, 0, IORING_ENTER_GETEVENTS, NULL, 0) >= 0;
	if (deferred >= 0) {
		add(findings, "io_uring_enter", enters, false,
		    enters ? "submits and waits, one call a tick"
		           : "allow it in the seccomp profile, beside io_uring_setup");
		probe_operations(findings, deferred, offers);
		close(deferred);
	}
	if (ring >= 0)
		close(ring);
	return offers;
}

/* Which ring RC_RING_AUTO means here. Returns whether that is the one on io_uring. */
static bool probe_ring(struct findings *findings)
{
	struct rc_ring_config config = { .slot_count = 1, .buffer_size = 1, .ring_count = 1, .epoll = true };
	struct rc_error why = { 0 }, refused = { 0 };
	struct rc_ring *ring;
	bool uring = rc_ring_can_uring(&why), epoll = rc_ring_open(&ring, &config, &refused) == 0;
	char text[160];
	if (epoll)
		rc_ring_close(ring);
	add(findings, "epoll", epoll, false, epoll ? "works without io_uring: --ring epoll" : refused.text);
	snprintf(text, sizeof text, "%s%.140s",
	         uring   ? "io_uring"
	         : epoll ? "epoll: "
	                 : "none: ",
	         uring ? "" : why.text);
	add(findings, "ring", uring || epoll, true, text);
	return uring;
}

static void probe_limits(struct findings *findings, bool direct)
{
	struct rlimit limit;
	char text[160];
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		snprintf(text, sizeof text, "%llu connections %s", (unsigned long long)limit.rlim_max,
		         direct ? "a worker at most; more workers pass it" : "at most, of all workers together");
		add(findings, "descriptor limit", limit.rlim_max >= 1024, false, text);
	}
	if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
		if (limit.rlim_cur == RLIM_INFINITY)
			snprintf(text, sizeof text, "no limit");
		else
			snprintf(text, sizeof text, "%llu KB; rings need little of it",
			         (unsigned long long)limit.rlim_cur / 1024);
		add(findings, "memory that may be locked", true, false, text);
	}
}

static void probe_zero_copy(struct findings *findings, bool known)
{
	enum rc_zero_copy tried = known ? rc_probe_zero_copy() : RC_ZERO_COPY_UNTRIED;
	const char *used = "before Linux 6.14 nobody knows whether it copied: sends copy once into the socket";
	if (tried == RC_ZERO_COPY_COPIED)
		used = "for --zero-copy-min; the one tried here was copied after all, as all over loopback are: it "
		       "saves work only on a network card that gathers";
	else if (tried == RC_ZERO_COPY_DONE)
		used = "for --zero-copy-min; the one tried here, over loopback, was not copied";
	else if (tried == RC_ZERO_COPY_REFUSED)
		used = "one was tried, and the kernel refused it: sends copy once into the socket";
	else if (known)
		used = "none could be tried over loopback: see whether a connection to 127.0.0.1 opens";
	add(findings, "zero-copy send", tried >= RC_ZERO_COPY_COPIED, false, used);
}

size_t(rc_probe)(struct rc_feature *features, size_t max, struct rc_error *error, size_t struct_size)
{
	struct findings findings = {
		.features = (uint8_t *)features, .struct_size = struct_size, .max = max, .error = error
	};
	struct utsname name;
	char text[160];
	if (uname(&name) == 0) {
		snprintf(text, sizeof text, "%.60s, %.20s", name.release, name.machine);
		add(&findings, "kernel", true, false, text);
	}
	unsigned offers = probe_uring(&findings);
	bool uring = probe_ring(&findings);
	if (uring)
		probe_zero_copy(&findings, offers & RC_RING_FEATURE_6_14);
	else
		add(&findings, "zero-copy send", false, false, "on epoll sends copy once into the socket");
	int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* On a socket that is not connected, a kernel that has it fails for just that reason. */
	bool kernel_tls = tcp >= 0 && setsockopt(tcp, IPPROTO_TCP, TCP_ULP, "tls", sizeof "tls") < 0 &&
	                  errno == ENOTCONN;
	add(&findings, "kernel TLS", kernel_tls, false,
	    kernel_tls ? "makes the records of TLS 1.3 where --kernel-tls asks for it"
	               : "records are made here (modprobe tls)");
	if (tcp >= 0)
		close(tcp);
	probe_limits(&findings, uring);
	struct rc_error wrong = { 0 };
	int kernels = rc_choose_kernels(&wrong);
	add(&findings, "text kernels", strcmp(rc_text_chosen(), "scalar") != 0, false,
	    kernels < 0 ? wrong.text : rc_text_chosen());
	if (kernels < 0 && error && !findings.missing)
		*error = wrong;
	return findings.count;
}
