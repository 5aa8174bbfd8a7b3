#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run.sh BUILD TEST...: runs the tests given, then every tests/*/test_*.py, against what lies in BUILD. A test that passes
# prints a line; one that fails shows all its output. At the end come the failures again, in short, and the counts. The exit
# status is 1 if any failed.
#
# Unit tests (unit_*) are Criterion's and report as TAP. Any other program or script prints "ok NAME", "FAIL NAME: why" or
# "skip NAME: why", one line a test; exit status 77 skips it whole. A script gets BUILD as its argument. A program that ends
# in any other way counts as one failure.
#
# A part of them runs a second time on the ring on epoll; with RC_RING=epoll all those do that need a ring. RC_LANES=1 runs
# one script at a time, as they are wanted where one is to be watched. A script that fails beside others runs once more with
# the machine to itself, and the second run counts: a limit in seconds is about the server, not about the neighbour. What a
# sanitizer says and a server that ended by itself are never forgiven, and the last line says how many ran twice.
set -u
build=$1
shift
passed=0 failed=0 skipped=0
log=$build/tests/log
limit=${RC_LIMIT:-600} # seconds for one program or script; the longest takes 60 on an idle machine
mkdir -p "$build/tests"
: >"$log.failures"
python=/usr/bin/python3
[ -x $python ] || python=python3

chosen() {
	case $1 in *"${ONLY:-}"*) return 0 ;; esac
	return 1
}

count() {
	grep -cE "$1" "$2"
}

# name, exit status, pattern of good lines, of bad, of skipped, the file that has them
tally() {
	good=$(count "$3" "$6") bad=$(count "$4" "$6") out=$(count "$5" "$6")
	good=$((good - $(grep -E "$5" "$6" | grep -cE "$3")))
	[ "$2" -eq 77 ] && out=$((out + 1))
	grep -hE "$4" "$6" | sed "s/^/$1: /" >>"$log.failures"
	why=
	if [ "$2" -ne 0 ] && [ "$2" -ne 77 ] && [ "$bad" -eq 0 ]; then
		why="ended with $2"
	elif [ "$2" -eq 0 ] && [ $((good + bad + out)) -eq 0 ]; then
		why="ran no test"
	fi
	if [ "$why" ]; then
		echo "FAIL $1: $why" | tee -a "$log.failures"
		bad=1
	fi
	passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + out))
}

unit() {
	rm -f "$log.tap"
	timeout -k 5 "$limit" "$1" -j2 --color=never --tap="$log.tap" >"$log" 2>&1
	status=$?
	[ -e "$log.tap" ] || : >"$log.tap"
	tally "$name" $status '^ok ' '^not ok ' '^ok .*# SKIP' "$log.tap"
	[ $status -eq 0 ] || cat "$log"
	echo "$name: $good passed$([ "$bad" -eq 0 ] || echo ", $bad FAILED")$([ "$out" -eq 0 ] || echo ", $out skipped")"
}

# on_epoll NAME COMMAND...: the command once more, on the other ring.
on_epoll() {
	name=$1_epoll
	shift
	chosen "$name" || return 0
	export RC_RING=epoll
	"$@"
	unset RC_RING
}

# script NAME RING PATH: that one to the list of those that run side by side. A ring of - is what there is.
script() {
	chosen "$1" && echo "$@" >>"$log.scripts"
}

: >"$log.scripts"
for test in "$@"; do
	name=$(basename "$test")
	case $test in
	*/unit_connect | */unit_embed | */unit_embed_loop)
		chosen "$name" && unit "$test"
		[ "${RC_RING:-}" ] || on_epoll "$name" unit "$test"
		;;
	*/unit_*) chosen "$name" && unit "$test" ;;
	*.sh) script "$(basename "$(dirname "$test")")_$(basename "$test" .sh)" - "$test" ;;
	*) script "$name" - "$test" ;;
	esac
done

for test in tests/*/test_*.py; do
	name=$(basename "$test" .py)
	case $test in tests/live/*) ;; *) name=$(basename "$(dirname "$test")")_$name ;; esac
	case ${RC_RING:+$test} in
	tests/abi/* | tests/structure/* | */test_bench.py | */test_install.py | */test_man3.py | */test_perf.py) ;;
	*) script "$name" - "$test" ;;
	esac
done
again="conformance frames topics"
[ "${SANITIZE:-}" ] || again="$again app_plain handshake tls"
for test in $again; do
	[ "${RC_RING:-}" ] || [ ! -e "tests/live/test_$test.py" ] || script "test_${test}_epoll" epoll "tests/live/test_$test.py"
done

# They mostly wait for something, so there are as many at a time as there are processors. Each prints when it has ended.
export log limit python build
xargs -r -n 3 -P "${RC_LANES:-$(nproc)}" sh -c '
	[ "$2" = - ] || export RC_RING="$2"
	case $3 in
	*.py) set -- "$@" "$python" -B "$3" "$build" ;;
	*.sh) set -- "$@" sh "$3" "$build" ;;
	*) set -- "$@" "$3" ;;
	esac
	name=$1
	shift 3
	timeout -k 5 "$limit" "$@" >"$log.$name" 2>&1
	echo $? >"$log.$name.status"
	flock "$log.scripts" sh -c "echo \"-- \$1\"; cat \"\$2\"" sh "$name" "$log.$name"
' sh <"$log.scripts"

# Whether the neighbour may be to blame for how this script ended.
forgivable() {
	case $1:$2 in
	*:0 | *:77) return 1 ;;
	tests/live/*) [ "${RC_LANES:-2}" -gt 1 ] ;;
	*) return 1 ;;
	esac && ! grep -qE "Sanitizer|runtime error:|exit status|(peer|server) ended" "$3"
}

twice=0
while read -r name ring test; do
	[ -e "$log.$name.status" ] || echo 127 | tee "$log.$name.status" >"$log.$name" # it was never begun
	status=$(cat "$log.$name.status")
	if forgivable "$test" "$status" "$log.$name"; then
		twice=$((twice + 1))
		echo "-- $name, once more and by itself"
		(
			[ "$ring" = - ] || export RC_RING="$ring"
			timeout -k 5 "$limit" "$python" -B "$test" "$build" </dev/null 2>&1
			echo $? >"$log.$name.status"
		) | tee "$log.$name"
		status=$(cat "$log.$name.status")
	fi
	tally "$name" "$status" '^ok ' '^FAIL ' '^skip ' "$log.$name"
	rm -f "$log.$name" "$log.$name.status"
done <"$log.scripts"

cat "$log.failures"
rm -f "$log" "$log.tap" "$log.status" "$log.scripts" "$log.failures"
echo "$passed passed, $failed failed, $skipped skipped$([ "$twice" -eq 0 ] || echo "; scripts that ran twice: $twice")"
[ "$failed" -eq 0 ]
