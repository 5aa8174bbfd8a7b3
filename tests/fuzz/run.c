/* SPDX-License-Identifier: MIT
 *
 * run.c - drives a fuzz target without libFuzzer: every file of the directories given; and mutants of them, so that a
 * run of the tests finds something even where clang is not. Without arguments fuzz_NAME takes tests/fuzz/corpus/NAME/
 * and MUTANTS mutants. One line tells how many; RC_SEED=number repeats them. An input that breaks a property is written
 * beside the program, and named.
 */
#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#define INPUT_SIZE_MAX ((size_t)64 << 10)
#define SEEDS_MAX 1024
#define MUTANTS 1000

struct seed {
	char *name;
	uint8_t *bytes;
	size_t size;
};

static struct seed seeds[SEEDS_MAX];
static unsigned seed_count;
static const uint8_t *volatile current;
static volatile size_t current_size;
static char crash_path[512];

static void load(const char *path)
{
	struct seed *seed = &seeds[seed_count];
	FILE *file = fopen(path, "rb");
	HOLDS(file && seed_count < SEEDS_MAX, "%s cannot be read", path);
	seed->bytes = malloc(INPUT_SIZE_MAX);
	HOLDS(seed->bytes, "no memory");
	seed->size = fread(seed->bytes, 1, INPUT_SIZE_MAX, file);
	seed->name = strdup(path);
	fclose(file);
	seed_count++;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct seed *)a)->name, ((const struct seed *)b)->name);
}

static void load_directory(const char *path)
{
	DIR *directory = opendir(path);
	HOLDS(directory, "%s cannot be opened", path);
	for (struct dirent *entry; (entry = readdir(directory));) {
		char name[1024];
		snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
		if (entry->d_name[0] != '.')
			load(name);
	}
	closedir(directory);
	qsort(seeds, seed_count, sizeof *seeds, by_name); /* readdir has no order, and a seed must repeat a run */
}

static void on_crash(int signal_number)
{
	int file = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	bool kept = file >= 0 && write(file, (const uint8_t *)current, current_size) == (ssize_t)current_size;
	/* Only what a handler may call. */
	if (kept && write(2, crash_path, strlen(crash_path)) > 0 && write(2, ": the input\n", 12) < 0)
		_exit(1);
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

static void try(const uint8_t *bytes, size_t size)
{
	/* Exactly its size, so that a sanitizer sees beside it. */
	uint8_t *copy = exact_copy(bytes, size);
	current_size = 0;
	current = copy;
	current_size = size;
	LLVMFuzzerTestOneInput(copy, size);
	current_size = 0;
	free(copy);
}

/* One change of a kind that makes neighbours of a seed: bits, bytes, pieces removed, repeated, taken from another. */
static size_t mutate(uint8_t *bytes, size_t size, uint64_t *chances)
{
	static const uint8_t telling[] = { 0x00, 0x7f, 0x80, 0x81, 0x88, 0x89, 0xfe, 0xff, '\r', '\n', ',', ' ' };
	size_t at = size ? draw(chances) % size : 0, span = 1 + draw(chances) % 16;
	span = span > size - at ? size - at : span;
	switch (size ? draw(chances) % 7 : 3) {
	case 0:
		bytes[at] ^= (uint8_t)(1u << draw(chances) % 8);
		return size;
	case 1:
		bytes[at] = telling[draw(chances) % sizeof telling];
		return size;
	case 2:
		memmove(bytes + at, bytes + at + span, size - at - span);
		return size - span;
	case 3:
		if (size + 1 > INPUT_SIZE_MAX)
			return size;
		memmove(bytes + at + 1, bytes + at, size - at);
		bytes[at] = (uint8_t)draw(chances);
		return size + 1;
	case 4:
		if (size + span > INPUT_SIZE_MAX)
			return size;
		memmove(bytes + at + span, bytes + at, size - at);
		return size + span;
	case 5:
		return at;
	default: {
		const struct seed *other = &seeds[draw(chances) % seed_count];
		size_t from = other->size ? draw(chances) % other->size : 0, rest = other->size - from;
		rest = rest > INPUT_SIZE_MAX - at ? INPUT_SIZE_MAX - at : rest;
		memcpy(bytes + at, other->bytes + from, rest);
		return at + rest;
	}
	}
}

/* A sanitizer's finding ends as a broken property does: with the input kept. */
__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
	return "abort_on_error=1";
}
__attribute__((visibility("default"))) const char *__ubsan_default_options(void)
{
	return "abort_on_error=1";
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/'), *seed_text = getenv("RC_SEED");
	uint64_t began = seed_text ? strtoull(seed_text, NULL, 10) : (uint64_t)time(NULL), chances = began;
	unsigned mutants = 0, ran = 0;
	double seconds = 0;
	name = name ? name + 1 : argv[0];
	snprintf(crash_path, sizeof crash_path, "%s.crash", argv[0]);
	signal(SIGABRT, on_crash);
	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], "--mutants=", 10) == 0)
			mutants = (unsigned)strtoul(argv[i] + 10, NULL, 10);
		else if (strncmp(argv[i], "--seconds=", 10) == 0)
			seconds = strtod(argv[i] + 10, NULL);
		else if (argv[i][strlen(argv[i]) - 1] == '/')
			load_directory(argv[i]);
		else
			load(argv[i]);
	}
	if (argc == 1) {
		char directory[256];
		snprintf(directory, sizeof directory, "tests/fuzz/corpus/%s/", strchr(name, '_') + 1);
		load_directory(directory);
		mutants = MUTANTS;
	}
	HOLDS(seed_count, "usage: %s [--mutants=N] [--seconds=S] FILE... DIRECTORY/...", name);
	printf("# %s: RC_SEED=%llu\n", name, (unsigned long long)began);
	fflush(stdout);
	for (unsigned i = 0; i < seed_count; i++)
		try(seeds[i].bytes, seeds[i].size);
	static uint8_t bytes[INPUT_SIZE_MAX];
	time_t end = time(NULL) + (time_t)seconds;
	while (mutants || time(NULL) < end) {
		const struct seed *seed = &seeds[draw(&chances) % seed_count];
		size_t size = seed->size;
		memcpy(bytes, seed->bytes, size);
		for (uint64_t changes = 1 + draw(&chances) % 4; changes; changes--)
			size = mutate(bytes, size, &chances);
		try(bytes, size);
		ran++;
		mutants -= mutants > 0;
	}
	printf("ok %s (%u seeds, %u mutants)\n", name, seed_count, ran);
	for (unsigned i = 0; i < seed_count; i++) {
		free(seeds[i].name);
		free(seeds[i].bytes);
	}
	return 0;
}
