/* SPDX-License-Identifier: MIT
 *
 * memory.h - how much memory this process may use: what the machine has, or less where a control group says so.
 */
#ifndef LIB_MEMORY_H
#define LIB_MEMORY_H

#include <stddef.h>

/* In bytes; SIZE_MAX where nothing says. `root` stands before the paths of the kernel's files: "", or a test's. */
size_t memory_allowed(const char *root);

#endif
