/* SPDX-License-Identifier: MIT
 *
 * machine.h - what the kernel's files say of a machine: of this one, or of a copy of its /proc and /sys below a folder.
 * Only reads; it must not know what is good or bad.
 */
#ifndef DOCTOR_MACHINE_H
#define DOCTOR_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MACHINE_LINE_SIZE 512
#define MACHINE_UNLIMITED UINT64_MAX /* what "max" and "unlimited" read as */

struct machine {
	const char *root;    /* before every path: "" is this machine */
	char kernel[64];     /* its release */
	unsigned processors; /* online; at least 1 */
	bool direct;         /* Linux 6.14 or newer: connections take no descriptors of the process */
};

void machine_look(struct machine *machine, const char *root);

/* The first line of a file, without its end. False: there is none to read. The path is put together as by printf. */
bool machine_line(const struct machine *machine, char line[MACHINE_LINE_SIZE], const char *path, ...)
    __attribute__((format(printf, 3, 4)));

/* The numbers on a file's first line, at most `max` of them. Returns how many there are. */
size_t machine_numbers(const struct machine *machine, uint64_t *numbers, size_t max, const char *path);

/* The hard limit in a line of /proc/self/limits: "Max open files". False: it does not say. */
bool machine_hard_limit(const struct machine *machine, const char *name, uint64_t *limit);

/* How many processors a list as "0-3,8" names. */
unsigned machine_count_list(const char *list);

/* Calls fn with the name of each entry of a folder, in the order of the names' numbers. */
void machine_each(const struct machine *machine, const char *path, void (*fn)(void *context, const char *name),
                  void *context);

/* The path of the second hierarchy's group that this process is in, without its last '/'. */
void machine_group(const struct machine *machine, char group[MACHINE_LINE_SIZE]);

#endif
