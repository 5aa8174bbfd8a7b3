/* SPDX-License-Identifier: MIT
 *
 * log.h - what the operator reads: one line an event on stderr, as text or JSON, from a level up. Beyond a number of
 * lines a second they are counted instead, and the count is written later. Any thread.
 */
#ifndef APP_LOG_H
#define APP_LOG_H

#include "settings.h"

/* Takes over the format, level and rate. To be called again after a reload. */
void app_log_setup(const struct app_settings *settings);

/* `event` is a word for machines; `who` is a client's id or null. */
void app_log_say(enum app_log_level level, const char *event, const char *who, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
