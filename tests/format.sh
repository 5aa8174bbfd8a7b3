#!/bin/sh
# SPDX-License-Identifier: MIT
#
# format.sh [--write]: says which files do not have the project's format (.clang-format), and where; or gives it to all: those of C, and the tools' of C++.
# Versions of clang-format differ in details, so one is the reference: 14, which Debian 12 has. Another one neither judges
# nor writes anything.
set -u
cd "$(dirname "$0")/.."
reference=14

format=
for command in clang-format-$reference clang-format; do
	if [ -z "$format" ] && $command --version 2>/dev/null | grep -q " version $reference\."; then
		format=$command
	fi
done
if [ -z "$format" ]; then
	echo "skip format: needs clang-format $reference, here is $(clang-format --version 2>/dev/null || echo none)"
	exit 77
fi

# The files of the repository; in an unpacked archive, all that are there.
files=$(git ls-files '*.c' '*.h' 'tools/*.cpp' 2>/dev/null | grep .) ||
	files=$(find engine tls uring tools benches tests -name '*.[ch]' -o -path 'tools/*.cpp' | sort)
if [ "${1:-}" = --write ]; then
	echo "$files" | xargs "$format" -i
	exit
fi
if echo "$files" | xargs -P "$(nproc)" -n 20 "$format" -n --Werror; then
	echo "ok format"
else
	echo "FAIL format: \`make fmt\` mends it"
	exit 1
fi
