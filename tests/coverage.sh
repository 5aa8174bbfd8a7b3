#!/bin/sh
# SPDX-License-Identifier: MIT
#
# coverage.sh BUILD: the lines of engine, tls and uring that the whole suite runs (unit, fuzz seeds, simulator, live,
# soak), file by file. The lines that it misses are in BUILD/coverage/lines.txt, and index.html shows them. The exit status
# is 1 below 90 %, or when a test failed. The kernels of another architecture are left out, and so are the planted
# defects, for which the simulator is built with faults.
set -u
cd "$(dirname "$0")/.."
build=$1/coverage
sh tools/setup.sh coverage || {
	echo "skip coverage: gcovr is not here"
	exit 77
}
mkdir -p "$build"
find "$build" -name '*.gcda' -delete
flags='-O0 -g --coverage -fprofile-update=atomic'
make --no-print-directory BUILD="$build" CFLAGS="$flags" LDFLAGS=--coverage INSTRUMENTED=coverage \
	SIM_TESTS=tests/sim/runs.sh test
failed=$?
# The code that only an old kernel uses.
for test in tests/live/test_frames.py tests/live/test_release.py tests/live/test_topics.py tests/live/test_server.py; do
	RC_RING=6.1 /usr/bin/python3 -B $test "$build" >"$build/old.log" 2>&1 || {
		echo "FAIL RC_RING=6.1 $test"
		cat "$build/old.log"
		failed=1
	}
done
gcovr --root . --object-directory "$build/obj" --filter engine/ --filter tls/ --filter uring/ --exclude '.*neon.*' \
	--exclude-throw-branches --html-details "$build/index.html" --txt "$build/lines.txt" --fail-under-line 90 \
	"$build/obj" >"$build/gcovr.log" 2>&1
short=$?
cat "$build/lines.txt"
[ $failed -eq 0 ] && [ $short -eq 0 ]
