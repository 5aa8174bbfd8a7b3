/* SPDX-License-Identifier: MIT
 *
 * mailbox.h - how other threads reach a worker: commands that wait for its next tick, and waking it.
 */
#ifndef RC_MAILBOX_H
#define RC_MAILBOX_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct worker;

/* A request from another thread; what it needs follows this, in its owner's struct. */
struct command {
	struct command *next;
	void (*run)(struct worker *worker, struct command *command); /* on the worker; frees it */
};

/* Shared; the lock is for the list. */
struct mailbox {
	int wake_fd;           /* an eventfd that the worker's ring watches, or the loop that steps it */
	_Atomic bool sleeping; /* whoever clears it writes to wake_fd */
	_Atomic bool dozing;   /* likewise, but commands alone: until the next round, publishers let it be */
	_Atomic unsigned count;
	pthread_mutex_t lock;
	struct command *first, **end;
	bool ended; /* commands are refused */
};

/* Returns 0 or a negative errno. */
int rc_mailbox_open(struct mailbox *mailbox);
void rc_mailbox_close(struct mailbox *mailbox);

/* Wakes the worker if it sleeps; the second even if it does not. Any thread. */
void rc_mailbox_wake(struct mailbox *mailbox);
void rc_mailbox_knock(struct mailbox *mailbox);

/* Hands a command over. Any thread. Returns 0, -EAGAIN (RC_COMMANDS_MAX wait), -ENOTCONN (the worker has ended): the
 * command is still the caller's then. */
int rc_mailbox_post(struct mailbox *mailbox, struct command *command);

/* The same for an answer that must not be lost, however many wait: its asker bounds them. Returns 0 or -ENOTCONN. */
int rc_mailbox_deliver(struct mailbox *mailbox, struct command *command);

/* Takes all that waits, oldest first, linked by `next`; rc_mailbox_done() after each was run. */
struct command *rc_mailbox_take(struct mailbox *mailbox);
void rc_mailbox_done(struct mailbox *mailbox);

/* From now on commands are refused. */
void rc_mailbox_end(struct mailbox *mailbox);

#endif
