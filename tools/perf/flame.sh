#!/bin/sh
# SPDX-License-Identifier: MIT
#
# flame.sh PID [SECONDS [OUT.svg]]: where a running process spends its processor time, kernel and all, as a flame graph.
# Sampled by the clock, so that it works in virtual machines without hardware counters. The stack is unwound by DWARF:
# the system's liburing has no frame pointers, and everything interesting is behind it.
set -eu
pid=${1:?"flame.sh PID [SECONDS [OUT.svg]]"}
seconds=${2:-10}
out=${3:-flame.svg}
command -v perf >/dev/null || {
	echo "flame.sh: perf is missing (on Debian: apt-get install linux-perf)" >&2
	exit 1
}
[ -d "/proc/$pid" ] || {
	echo "flame.sh: no process $pid" >&2
	exit 1
}
data=$(mktemp)
trap 'rm -f "$data"' EXIT
perf record -q -F 499 --call-graph dwarf,4096 -e cpu-clock -p "$pid" -o "$data" -- sleep "$seconds" >/dev/null
perf script --no-inline -i "$data" 2>/dev/null |
	python3 "$(dirname "$0")/flame.py" "$(tr '\0' ' ' <"/proc/$pid/cmdline" | cut -c1-80)" >"$out"
echo "flame.sh: written to $out"
