/* SPDX-License-Identifier: MIT
 *
 * version.c - see version.h. The Makefile writes the commit and liburing's version into a header of the build
 * directory: neither stands in a source. Only this file includes it, so that a commit compiles nothing else anew.
 */
#include "version.h"

#include <openssl/crypto.h>
#include <openssl/opensslv.h>

#include "build_version.h"
#include "ringcast.h"

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

#if defined(__x86_64__)
#define MACHINE "x86-64"
#elif defined(__aarch64__)
#define MACHINE "aarch64"
#else
#define MACHINE "another architecture"
#endif

void version_print(FILE *to)
{
	fprintf(to,
	        "ringcast %s\n"
	        "commit %s\n"
	        "compiled by " COMPILER " for " MACHINE "\n"
	        "OpenSSL %s, compiled against " OPENSSL_VERSION_STR "\n"
	        "liburing " RC_LIBURING "\n",
	        rc_version(), RC_COMMIT, OpenSSL_version(OPENSSL_VERSION_STRING));
}
