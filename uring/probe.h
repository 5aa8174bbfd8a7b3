/* SPDX-License-Identifier: MIT
 *
 * probe.h - what rc_probe() finds out by doing it.
 */
#ifndef RC_PROBE_H
#define RC_PROBE_H

enum rc_zero_copy {
	RC_ZERO_COPY_UNTRIED, /* no ring, no loopback, or no answer in time */
	RC_ZERO_COPY_REFUSED, /* the kernel has the operation, and not for this socket */
	RC_ZERO_COPY_COPIED,  /* the notification says that the bytes were copied after all */
	RC_ZERO_COPY_DONE,
};

/* Makes one zero-copy send over loopback, as a worker makes it, and reads what the kernel says of it. */
enum rc_zero_copy rc_probe_zero_copy(void);

#endif
