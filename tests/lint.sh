#!/bin/sh
# SPDX-License-Identifier: MIT
#
# lint.sh BUILD: clang-tidy (.clang-tidy says what is looked for, and why not more), cppcheck, and the hardening that the
# linked program and library must show. One line each; what is found is shown. Ends with 1 if anything was.
set -u
cd "$(dirname "$0")/.."
build=$1
failed=0
mkdir -p "$build/lint"
flags="-std=c17 -D_GNU_SOURCE -Wall -Wextra -iquote engine -iquote tls -iquote uring -iquote tools -I$build/include"
sources=$(ls engine/*.c tls/*.c uring/*.c tools/*.c tools/*/*.c tests/fuzz/*.c tests/soak/*.c 2>/dev/null | grep -v text_neon)

verdict() {
	if [ "$2" -eq 0 ]; then
		echo "ok $1"
	else
		echo "FAIL $1"
		failed=1
	fi
}

# One file a process, two at a time: what it says goes to a file of its own, or two would be mixed.
tidy() {
	rm -f "$build"/lint/*.tidy
	echo "$sources" | xargs -P "$(nproc)" -I FILE sh -c \
		'clang-tidy --quiet FILE -- '"$flags"' >'"$build"'/lint/$(echo FILE | tr / _).tidy 2>/dev/null'
	result=$?
	grep -hE -A 4 '(warning|error):' "$build"/lint/*.tidy
	return $result
}

# Not asked for, because what it says of them is no fault:
#   variableScope, constParameter...   style that clang-format and the reader decide
#   the rest is suppressed in its place, with its reason
check() {
	cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
		--suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches \
		'-Djson_array_foreach(a, i, v)=while ((v = json_array_get(a, i = 1)))' \
		-D_GNU_SOURCE -U__cplusplus -Iengine -Itls -Iuring -Itools -j "$(nproc)" $sources 2>&1
}

command -v clang-tidy >/dev/null && command -v cppcheck >/dev/null || sh tools/setup.sh lint || {
	echo "skip lint: clang-tidy or cppcheck is not here"
	exit 77
}
tidy
verdict clang-tidy $?
check
verdict cppcheck $?
sh tests/hardening.sh "$build"
verdict hardening $?
exit $failed
