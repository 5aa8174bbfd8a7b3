/* SPDX-License-Identifier: MIT
 *
 * run.h - what `ringcast book` does, as its options say: a run of a server and a crowd of readers, or a server alone.
 */
#ifndef BOOK_RUN_H
#define BOOK_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct book_options {
	const char *recording; /* null: made up */
	const char *address;   /* to serve at */
	unsigned readers, books, kills;
	uint64_t updates; /* 0: as many as is usual */
	double rate;      /* below 0: what is usual */
	bool hostile, quiet;
	size_t log_size;
	uint64_t patience_ns, seed;
};

/* Each returns the program's exit status. */
int book_run(const struct book_options *options);
int book_serve(const struct book_options *options);

#endif
