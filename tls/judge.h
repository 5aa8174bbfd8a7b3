/* SPDX-License-Identifier: MIT
 *
 * judge.h - what is to be said of a certificate: whether it is strong enough to show, whom it is for, and until when.
 * It must not know a context, nor what time it is.
 */
#ifndef RC_TLS_JUDGE_H
#define RC_TLS_JUDGE_H

#include "ringcast_stats.h"

#include <openssl/types.h>

/* Returns 0, or -EINVAL with *error in words: its key, or how it is signed, is weak. */
int rc_tls_judge(X509 *certificate, const char *path, struct rc_error *error);

/* Fills in all but the name of the file. */
void rc_tls_describe(const X509 *certificate, struct rc_certificate *to);

#endif
