/* SPDX-License-Identifier: MIT
 *
 * origin.h - where a setting was made, so that whoever finds it wrong can say where to mend it. It must not know what
 * the setting means.
 */
#ifndef APP_ORIGIN_H
#define APP_ORIGIN_H

#include <stdint.h>

#include "lib/options.h"

struct app_settings;

enum app_source { APP_BY_DEFAULT, APP_BY_FILE, APP_BY_ENVIRONMENT, APP_BY_FLAG };

/* By the rows of the option table. */
struct app_origins {
	const char *path; /* of the file */
	uint8_t sources[OPTIONS_MAX];
	unsigned lines[OPTIONS_MAX][OPTION_LIST_MAX]; /* in the file; of a list's items each, else the first */
};

/* Notes where an option was stored just now. */
void app_origin_note(struct app_origins *origins, const struct option_entry *table, const struct option_entry *option,
                     enum app_source source, unsigned line);

/* The line of the file on which a setting that is no list stands already; 0: none. */
unsigned app_origin_line(const struct app_origins *origins, const struct option_entry *table,
                         const struct option_entry *option);

/* Prints what is wrong with a setting (of a list, with the item of this index), after where it was made: "FILE:LINE: ".
 * Returns EXIT_FAILED. */
int app_wrong(const struct app_settings *settings, const char *name, unsigned item, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
