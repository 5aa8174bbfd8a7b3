#!/bin/sh
# SPDX-License-Identifier: MIT
#
# lint.sh BUILD: the format of the sources, their structure (who uses whom), clang-tidy (.clang-tidy says what is looked for,
# and why not more), cppcheck, and the hardening that the linked program and library must show. One line each; what is found
# is shown. Ends with 1 if anything was. `make lint` hands in what each room may include: INCLUDE_uring and its like.
set -u
cd "$(dirname "$0")/.."
build=$1
failed=0
mkdir -p "$build/lint"
# Wherever a folder may lie. The kernels of another architecture need its compiler.
linted="engine tls uring tools tests"
sources() {
	case $1 in
	tests) find tests/fuzz tests/soak -name '*.c' ;;
	*) find "$1" -name '*.c' ! -name 'text_neon.c' ;;
	esac | sort
}

includes() {
	eval "echo \"\${INCLUDE_$1:-}\""
}

verdict() {
	case $2 in
	0) echo "ok $1" ;;
	*)
		echo "FAIL $1"
		failed=1
		;;
	esac
}

# One file a process, as many as there are processors: what it says goes to a file of its own, or two would be mixed.
tidy() {
	rm -f "$build"/lint/*.tidy
	for room in $linted; do
		flags="-std=c17 -D_GNU_SOURCE -Wall -Wextra $(includes "$room")"
		# shellcheck disable=SC2086 # unquoted: a blank at the end of a line would join it to the next one
		sources "$room" | while read -r file; do echo "$file" $flags; done
	done | xargs -P "$(nproc)" -L 1 sh -c \
		'file=$1; shift; clang-tidy --quiet "$file" -- "$@" >"$0/$(echo "$file" | tr / _).tidy" 2>/dev/null' "$build/lint"
	result=$?
	grep -hE -A 4 '(warning|error):' "$build"/lint/*.tidy
	return $result
}

# Not asked for, because what it says of them is no fault:
#   variableScope, constParameter...   style that clang-format and the reader decide
#   the rest is suppressed in its place, with its reason
check() {
	result=0
	for room in $linted; do
		# shellcheck disable=SC2046 # words are meant
		cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
			--suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches \
			'-Djson_array_foreach(a, i, v)=while ((v = json_array_get(a, i = 1)))' -D_GNU_SOURCE -U__cplusplus \
			$(includes "$room" | sed 's/-iquote /-I/g') -j "$(nproc)" $(sources "$room") 2>&1 || result=1
	done
	return $result
}

sh tools/setup.sh lint || {
	echo "FAIL lint: its tools are not here"
	exit 1
}
sh tests/format.sh
[ $? -ne 1 ] || failed=1
/usr/bin/python3 -B tests/structure.py "$build" || failed=1
tidy
verdict clang-tidy $?
check
verdict cppcheck $?
sh tests/hardening.sh "$build"
verdict hardening $?
exit $failed
