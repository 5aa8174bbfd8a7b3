/* SPDX-License-Identifier: MIT
 *
 * starve.c - linked into a program whose calls to malloc and the like come here first (ld's --wrap), so that a test
 * says which of them fail: RC_STARVE names a file that both map. Without it nothing fails. What the C library and
 * OpenSSL allocate for themselves does not come here; the JSON library's does.
 */
#include <fcntl.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct order {
	_Atomic uint64_t seen;       /* allocations so far */
	_Atomic uint64_t from, till; /* those that fail, by that count */
	_Atomic uint64_t failed;
};

static struct order *order;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);

static bool fails(void)
{
	if (!order)
		return false;
	uint64_t now = atomic_fetch_add(&order->seen, 1);
	if (now < atomic_load(&order->from) || now >= atomic_load(&order->till))
		return false;
	atomic_fetch_add(&order->failed, 1);
	return true;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size)
{
	return fails() ? NULL : __real_realloc(block, size);
}

char *__wrap_strdup(const char *text)
{
	return fails() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t size)
{
	return fails() ? NULL : __real_strndup(text, size);
}

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("RC_STARVE");
	int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	if (file < 0)
		return;
	void *mapped = mmap(NULL, sizeof *order, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
	if (mapped == MAP_FAILED)
		abort();
	order = mapped;
	json_set_alloc_funcs(__wrap_malloc, free);
}
