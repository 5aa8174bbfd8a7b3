/* SPDX-License-Identifier: MIT
 *
 * checks.h - what the doctor looks at. Each function adds its findings; none changes anything.
 */
#ifndef DOCTOR_CHECKS_H
#define DOCTOR_CHECKS_H

#include "machine.h"
#include "report.h"

/* checks_limits.c: what a process and its control group may have. */
void check_limits(struct report *report, const struct machine *machine);
/* checks_network.c: what the kernel's network code is set to. */
void check_network(struct report *report, const struct machine *machine);
/* checks_time.c: what processors and interrupts cost in time. */
void check_time(struct report *report, const struct machine *machine);

#endif
