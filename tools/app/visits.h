/* SPDX-License-Identifier: MIT
 *
 * visits.h - polls on their way to their session (sessions.h), which may be another worker's. What is done there is the
 * session's own concern; here is only who carries it.
 */
#ifndef APP_VISITS_H
#define APP_VISITS_H

struct app_client;

/* A poll that was let in, and waits: its session answers it, or a new one does. */
void app_visits_poll(struct app_client *poll);
/* Something came that it follows for its session; or it has gone. */
void app_visits_look(struct app_client *poll);
void app_visits_gone(struct app_client *poll);

#endif
