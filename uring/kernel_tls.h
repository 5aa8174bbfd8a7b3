/* SPDX-License-Identifier: MIT
 *
 * kernel_tls.h - TLS records that the kernel makes. It is given the keys when the handshake is done and all that was
 * put aside has left. From then on plaintext is sent as on any other connection, the rest of a short send is plaintext
 * too, and what the stream says by itself are alerts, sent as records of that type. Receiving stays the stream's.
 */
#ifndef RC_KERNEL_TLS_H
#define RC_KERNEL_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct worker;
struct secure;

/* Asks the kernel to make the records. Returns whether an operation for that is on its way; if not, the answer is known
 * already. */
bool rc_kernel_tls_begin(struct worker *worker, uint32_t slot);

/* The answer to what was asked. */
void rc_kernel_tls_option_set(struct worker *worker, uint32_t slot, int result);

/* Sends the alert that waits. */
bool rc_kernel_tls_send_alert(struct worker *worker, uint32_t slot);
/* That send has completed. Returns whether the alert has left. */
bool rc_kernel_tls_sent_alert(struct worker *worker, uint32_t slot, int result);

/* The kernel has sealed and sent so many bytes. */
void rc_kernel_tls_count(struct worker *worker, uint32_t slot, size_t size);

void rc_kernel_tls_forget_keys(struct secure *secure);

#endif
