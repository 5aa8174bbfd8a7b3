/* SPDX-License-Identifier: MIT
 *
 * step.h - a worker that is stepped by a loop of the program's own (rc_server_fd(), rc_worker_step()).
 */
#ifndef RC_STEP_H
#define RC_STEP_H

#include <pthread.h>

enum step_state {
	STEP_NONE, /* it is not stepped */
	STEP_OPEN,
	STEP_ENDED
};

struct stepped {
	_Atomic enum step_state state; /* (shared) */
	pthread_t thread;              /* whose loop it is in */
	int fd;                        /* readable when it is to be stepped: the mailbox's, or one that the ring gave */
	int result;                    /* of the last step */
};

#endif
