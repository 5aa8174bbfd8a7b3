#!/bin/sh
# SPDX-License-Identifier: MIT
#
# lint.sh BUILD: the format of the sources, their structure (who uses whom), clang-tidy (.clang-tidy says what is looked
# for, and why not more), cppcheck, what programs built before rely on (tests/abi), and the hardening that the linked program
# and library must show. Each prints one line, after what it found. The exit status is 1 if anything was found. `make lint` hands in what each room may include:
# INCLUDE_uring and its like.
set -u
cd "$(dirname "$0")/.."
build=$1
failed=0
mkdir -p "$build/lint"
# Sources are found in any subfolder. The kernels of another architecture need its compiler.
linted="engine tls uring tools tests"
sources() {
	case $1 in
	tests) find tests/fuzz tests/soak -name '*.c' ;;
	*) find "$1" -name '*.c' ! -name 'text_neon.c' ;;
	esac | sort
}

sources_cpp() {
	find "$1" -name '*.cpp' | sort
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

# One process for each file, as many at a time as there are processors. Each writes to a file of its own, or the lines of
# two would mix.
tidy() {
	rm -f "$build"/lint/*.tidy
	for room in $linted; do
		flags="-D_GNU_SOURCE -Wall -Wextra $(includes "$room")"
		# shellcheck disable=SC2086 # unquoted: a blank at the end of a line would join it to the next one
		sources "$room" | while read -r file; do echo "$file" -std=c17 $flags; done
		# shellcheck disable=SC2086
		sources_cpp "$room" | while read -r file; do echo "$file" -std=c++17 $flags; done
	done | xargs -P "$(nproc)" -L 1 sh -c \
		'file=$1; shift; clang-tidy --quiet "$file" -- "$@" >"$0/$(echo "$file" | tr / _).tidy" 2>/dev/null' "$build/lint"
	result=$?
	grep -hE -A 4 '(warning|error):' "$build"/lint/*.tidy
	return $result
}

# These checks are left out, because what they report is not a fault:
#   variableScope, constParameter...   style that clang-format and the reader decide
#   single reports are suppressed where they arise, with the reason
check() {
	result=0
	for room in $linted; do
		# shellcheck disable=SC2046 # it is to be split into words
		cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
			--suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches \
			'-Djson_array_foreach(a, i, v)=while ((v = json_array_get(a, i = 1)))' \
			'-DTAILQ_HEAD(name, type)=struct type *' -D_GNU_SOURCE -U__cplusplus \
			$(includes "$room" | sed 's/-iquote /-I/g') -j "$(nproc)" $(sources "$room") 2>&1 || result=1
	done
	# shellcheck disable=SC2046
	cppcheck --quiet --std=c++17 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
		--suppress=missingIncludeSystem $(for room in $linted; do sources_cpp "$room"; done) 2>&1 || result=1
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
/usr/bin/python3 -B tests/abi/check.py "$build" || failed=1
sh tests/hardening.sh "$build"
verdict hardening $?
exit $failed
