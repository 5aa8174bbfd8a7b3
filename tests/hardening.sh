#!/bin/sh
# SPDX-License-Identifier: MIT
#
# hardening.sh BUILD: what must hold of the linked program and library, read from their headers and symbols: position
# independent, relocations read-only and bound at the start, no executable stack, stack protector and fortified calls.
set -u
build=$1
failed=0

must() {
	shift_name=$1
	shift
	if "$@" >/dev/null 2>&1; then
		echo "ok hardening $shift_name"
	else
		echo "FAIL hardening $shift_name"
		failed=1
	fi
}

shows() { # file, readelf's option, pattern
	readelf -W "$2" "$1" | grep -qE "$3"
}

lacks() {
	! shows "$@"
}

if [ -n "${SANITIZE:-}" ] || ! command -v readelf >/dev/null; then
	echo "skip hardening: not for sanitized builds, and it needs readelf"
	exit 77
fi
program=$build/ringcast
library=$(ls "$build"/libringcast.so.*.*.* | head -n 1)
must "the program is position independent" shows "$program" -h 'Type: +DYN'
must "the program says so" shows "$program" -d 'FLAGS_1.*PIE'
for file in "$program" "$library"; do
	name=$(basename "$file")
	must "$name: relocations become read-only" shows "$file" -l GNU_RELRO
	must "$name: everything is bound at the start" shows "$file" -d 'BIND_NOW|FLAGS_1.*NOW'
	must "$name: the stack is not executable" shows "$file" -l 'GNU_STACK.* RW '
	must "$name: nothing is writable and executable" lacks "$file" -l 'LOAD.* RWE'
	must "$name: no text relocations" lacks "$file" -d TEXTREL
	must "$name: the stack is protected" shows "$file" --dyn-syms __stack_chk_fail
	must "$name: calls are fortified" shows "$file" --dyn-syms '__(memcpy|snprintf|vsnprintf|read|fprintf)_chk'
	must "$name: no path to libraries of its own" lacks "$file" -d 'R(UN)?PATH'
done
exit $failed
