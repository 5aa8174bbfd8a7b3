/* SPDX-License-Identifier: MIT
 *
 * growing.h - structs that a program and the library know in different versions, the one shorter than the other. Sizes
 * and bytes only: it must not know what they mean.
 *
 * The model is what Linux does for clone3() and openat2() (copy_struct_from_user() in include/linux/uaccess.h): a
 * struct only grows at its end, its size travels beside it, what is missing has a default, and what is too much must be
 * zero.
 */
#ifndef RC_GROWING_H
#define RC_GROWING_H

#include <stddef.h>

/* More than any of our structs will ever have. A size above it is a mistake of the caller's. */
#define RC_STRUCT_SIZE_MAX 65536

/* Whether a caller whose struct has `struct_size` bytes has this member whole. */
#define RC_KNOWS(type, member, struct_size) ((struct_size) >= offsetof(type, member) + sizeof(((type *)0)->member))

/* Lays what the caller gave over `known`, which holds the defaults. Returns 0, -EINVAL (no size), or -E2BIG: the
 * caller's struct is longer and says something there, which must not be ignored. */
int rc_growing_take(void *known, size_t known_size, const void *given, size_t given_size);

/* Gives the caller as much of `known` as its struct holds, and zeros for what it has beyond that. */
void rc_growing_give(void *given, size_t given_size, const void *known, size_t known_size);

#endif
