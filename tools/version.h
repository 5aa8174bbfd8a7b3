/* SPDX-License-Identifier: MIT
 *
 * version.h - which build this is: what a report of a fault has to say first.
 */
#ifndef VERSION_H
#define VERSION_H

#include <stdio.h>

/* Prints the version on a line of its own, then the commit, the compiler, and the libraries. */
void version_print(FILE *to);

#endif
