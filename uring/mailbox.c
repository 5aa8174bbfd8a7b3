/* SPDX-License-Identifier: MIT
 *
 * mailbox.c - see mailbox.h. It must not know what a command does.
 *
 * Invariant: whoever adds something stores it first and looks at `sleeping` then; the worker does it in the
 * opposite order. Both are seq_cst, so one of the two sees the other. Of commands and `dozing` the same holds.
 */
#include "mailbox.h"

#include "bounds.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

int rc_mailbox_open(struct mailbox *mailbox)
{
	mailbox->end = &mailbox->first;
	pthread_mutex_init(&mailbox->lock, NULL);
	mailbox->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return mailbox->wake_fd < 0 ? -errno : 0;
}

void rc_mailbox_close(struct mailbox *mailbox)
{
	if (mailbox->wake_fd > 0)
		close(mailbox->wake_fd);
	pthread_mutex_destroy(&mailbox->lock);
}

void rc_mailbox_knock(struct mailbox *mailbox)
{
	const uint64_t one = 1;
	ssize_t written = write(mailbox->wake_fd, &one, sizeof one);
	(void)written; /* it fails only when the counter is full, and then the worker is awake */
}

void rc_mailbox_wake(struct mailbox *mailbox)
{
	if (atomic_load(&mailbox->sleeping) && atomic_exchange(&mailbox->sleeping, false))
		rc_mailbox_knock(mailbox);
}

static void wake_for_command(struct mailbox *mailbox)
{
	rc_mailbox_wake(mailbox);
	if (atomic_load(&mailbox->dozing) && atomic_exchange(&mailbox->dozing, false))
		rc_mailbox_knock(mailbox);
}

static int add(struct mailbox *mailbox, struct command *command, unsigned count_max)
{
	command->next = NULL;
	if (atomic_fetch_add(&mailbox->count, 1) >= count_max) {
		atomic_fetch_sub(&mailbox->count, 1);
		return -EAGAIN;
	}
	pthread_mutex_lock(&mailbox->lock);
	bool ended = mailbox->ended;
	if (!ended) {
		*mailbox->end = command;
		mailbox->end = &command->next;
	}
	pthread_mutex_unlock(&mailbox->lock);
	if (ended) {
		atomic_fetch_sub(&mailbox->count, 1);
		return -ENOTCONN;
	}
	wake_for_command(mailbox);
	return 0;
}

int rc_mailbox_post(struct mailbox *mailbox, struct command *command)
{
	return add(mailbox, command, RC_COMMANDS_MAX);
}

int rc_mailbox_deliver(struct mailbox *mailbox, struct command *command)
{
	return add(mailbox, command, UINT_MAX);
}

struct command *rc_mailbox_take(struct mailbox *mailbox)
{
	if (!atomic_load(&mailbox->count))
		return NULL;
	pthread_mutex_lock(&mailbox->lock);
	struct command *first = mailbox->first;
	mailbox->first = NULL;
	mailbox->end = &mailbox->first;
	pthread_mutex_unlock(&mailbox->lock);
	return first;
}

void rc_mailbox_done(struct mailbox *mailbox)
{
	atomic_fetch_sub(&mailbox->count, 1);
}

void rc_mailbox_end(struct mailbox *mailbox)
{
	pthread_mutex_lock(&mailbox->lock);
	mailbox->ended = true;
	pthread_mutex_unlock(&mailbox->lock);
}
