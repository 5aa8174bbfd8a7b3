/* SPDX-License-Identifier: MIT
 *
 * host.c - what the C library would give to the code under test: the linker sends its calls here (--wrap). Threads are
 * fibers on one real thread, so a run is a matter of the seed alone; they take turns where they sleep, in the waits
 * and operations of the ring, and before they take a lock. Nobody else has a turn while a lock is held.
 */
#include "sim.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1 /* as gcc says it */
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define SWITCH_BEGIN(save, bottom, size) __sanitizer_start_switch_fiber(save, bottom, size)
#define SWITCH_END(fake, bottom, size) __sanitizer_finish_switch_fiber(fake, bottom, size)
#else
#define SWITCH_BEGIN(save, bottom, size) ((void)(save), (void)(bottom), (void)(size))
#define SWITCH_END(fake, bottom, size) ((void)(fake), (void)(bottom), (void)(size))
#endif

#define STACK_SIZE ((size_t)256 * 1024)
#define FD_FIRST 0x40000000
#define FDS_MAX 256

/* ---- fibers ---- */

static struct fiber {
	ucontext_t context;
	void (*run)(unsigned index);
	void *fake_stack;
	struct worker *here; /* rc_worker_here of that thread ... */
	unsigned stepped;    /* ... and rc_workers_stepped */
	uint64_t wake_ns;
	bool alive;
} fibers[FIBERS_MAX];
static _Alignas(4096) uint8_t stacks[FIBERS_MAX][STACK_SIZE];
static ucontext_t outside;
static void *outside_fake;
static const void *outside_bottom;
static size_t outside_size;
static int current = -1;
static unsigned locks_held;

int host_current(void)
{
	return current;
}
bool host_alive(unsigned index)
{
	return fibers[index].alive;
}
uint64_t host_wake_ns(unsigned index)
{
	return fibers[index].wake_ns;
}

static void leave(struct fiber *fiber)
{
	SWITCH_BEGIN(fiber->alive ? &fiber->fake_stack : NULL, outside_bottom, outside_size);
	swapcontext(&fiber->context, &outside);
	SWITCH_END(fiber->fake_stack, &outside_bottom, &outside_size);
}

static void trampoline(void)
{
	struct fiber *fiber = &fibers[current];
	SWITCH_END(NULL, &outside_bottom, &outside_size);
	fiber->run((unsigned)current);
	fiber->alive = false;
	leave(fiber);
}

void host_fiber(unsigned index, void (*run)(unsigned index))
{
	struct fiber *fiber = &fibers[index];
	fiber->run = run;
	fiber->alive = true;
	fiber->here = NULL;
	fiber->stepped = 0;
	fiber->wake_ns = 0;
	fiber->fake_stack = NULL;
	getcontext(&fiber->context);
	fiber->context.uc_stack.ss_sp = stacks[index];
	fiber->context.uc_stack.ss_size = STACK_SIZE;
	fiber->context.uc_link = NULL;
	makecontext(&fiber->context, trampoline, 0);
}

bool host_resume(unsigned index)
{
	struct fiber *fiber = &fibers[index];
	if (!fiber->alive)
		return false;
	current = (int)index;
	rc_worker_here = fiber->here;
	rc_workers_stepped = fiber->stepped;
	SWITCH_BEGIN(&outside_fake, stacks[index], STACK_SIZE);
	swapcontext(&outside, &fiber->context);
	SWITCH_END(outside_fake, NULL, NULL);
	fiber->here = rc_worker_here;
	fiber->stepped = rc_workers_stepped;
	rc_worker_here = NULL;
	rc_workers_stepped = 0;
	current = -1;
	return fiber->alive;
}

void host_yield(void)
{
	CHECK(current >= 0, "yield from outside");
	CHECK(!locks_held, "it waits with a lock held");
	leave(&fibers[current]);
}

void host_sleep(uint64_t ns)
{
	fibers[current].wake_ns = sim.now_ns + ns;
	host_yield();
	fibers[current].wake_ns = 0;
}

void host_preempt(void)
{
	if (current < 0 || locks_held || !sim_fault(FAULT_PREEMPTED))
		return;
	short_pause();
	host_yield();
}

void host_reset(void)
{
	for (unsigned i = 0; i < FIBERS_MAX; i++)
		fibers[i].alive = false;
	locks_held = 0;
}

/* ---- locks ---- */

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_trylock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
	(void)mutex;
	host_preempt();
	locks_held++;
	return 0;
}

/* Nobody is within a lock while another thread runs. */
int __wrap_pthread_mutex_trylock(pthread_mutex_t *mutex)
{
	return __wrap_pthread_mutex_lock(mutex);
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
	(void)mutex;
	CHECK(locks_held, "a lock is given back that nobody holds");
	locks_held--;
	return 0;
}

/* ---- time ---- */

int __wrap_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
	(void)clock;
	*time = (struct timespec){ (time_t)(sim.now_ns / 1000000000), (long)(sim.now_ns % 1000000000) };
	return 0;
}

int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
	(void)left;
	host_sleep((uint64_t)time->tv_sec * 1000000000 + (uint64_t)time->tv_nsec);
	return 0;
}

/* ---- randomness: of the seeds of tables alone, which change nothing that can be seen ---- */

ssize_t __wrap_getrandom(void *bytes, size_t size, unsigned flags);

ssize_t __wrap_getrandom(void *bytes, size_t size, unsigned flags)
{
	(void)flags;
	for (size_t i = 0; i < size; i++)
		((uint8_t *)bytes)[i] = (uint8_t)(sim.seed * (i + 1) >> 3);
	return (ssize_t)size;
}

/* ---- memory: filled with rubbish, before its use and after ---- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *block);
void *__real_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *block);
char *__wrap_strdup(const char *text);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);

static bool fails(void)
{
	if (!sim_fault(FAULT_ALLOCATION))
		return false;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t size)
{
	void *block = fails() ? NULL : __real_malloc(size);
	if (block)
		memset(block, 0xDA, size);
	sim.live_blocks += block != NULL;
	return block;
}

void *__wrap_calloc(size_t count, size_t size)
{
	void *block = fails() ? NULL : __real_calloc(count, size);
	sim.live_blocks += block != NULL;
	return block;
}

void *__wrap_realloc(void *old, size_t size)
{
	void *block = fails() ? NULL : __real_realloc(old, size);
	sim.live_blocks += block && !old;
	return block;
}

char *__wrap_strdup(const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = __wrap_malloc(size);
	return copy ? memcpy(copy, text, size) : NULL;
}

void __wrap_free(void *block)
{
	if (!block)
		return;
	CHECK(sim.live_blocks, "more is freed than was allocated");
	sim.live_blocks--;
#if !defined(__SANITIZE_ADDRESS__)
	size_t size = malloc_usable_size(block);
	memset(block, 0xDF, RC_MIN(size, 4096));
#endif
	__real_free(block);
}

void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
	if (!fails())
		return __real_mmap(at, size, protection, flags, fd, offset);
	return MAP_FAILED;
}

/* ---- eventfds ---- */

static struct {
	bool open;
	uint64_t written;
} fds[FDS_MAX];

int __wrap_eventfd(unsigned value, int flags);
ssize_t __real_write(int fd, const void *bytes, size_t size);
ssize_t __wrap_write(int fd, const void *bytes, size_t size);
int __real_close(int fd);
int __wrap_close(int fd);

int host_new_fd(void)
{
	for (int i = 0; i < FDS_MAX; i++) {
		if (fds[i].open)
			continue;
		fds[i].open = true;
		fds[i].written = 0;
		sim.open_fds++;
		return FD_FIRST + i;
	}
	sim_fail("descriptors leak");
}

uint64_t host_written(int fd)
{
	CHECK(fds[fd - FD_FIRST].open, "a descriptor is used that was closed");
	return fds[fd - FD_FIRST].written;
}

int __wrap_eventfd(unsigned value, int flags)
{
	(void)value, (void)flags;
	return host_new_fd();
}

ssize_t __wrap_write(int fd, const void *bytes, size_t size)
{
	if (fd < FD_FIRST)
		return __real_write(fd, bytes, size);
	CHECK(fds[fd - FD_FIRST].open && size == 8, "a wrong write to an eventfd");
	fds[fd - FD_FIRST].written++;
	return (ssize_t)size;
}

int __wrap_close(int fd)
{
	if (fd < FD_FIRST)
		return __real_close(fd);
	CHECK(fds[fd - FD_FIRST].open, "a descriptor is closed twice");
	fds[fd - FD_FIRST].open = false;
	sim.open_fds--;
	return 0;
}
