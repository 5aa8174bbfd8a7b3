#!/bin/sh
# SPDX-License-Identifier: MIT
#
# benches.sh BUILD: runs every benchmark once, tiny, so that none of them rots. What they print is not judged here.
build=$1
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -days 2 \
	-keyout "$build/tests/bench.key" -out "$build/tests/bench.pem" 2>/dev/null
for bench in "$build"/benches/*; do
	[ -x "$bench" ] && [ -f "$bench" ] || continue
	name=bench_$(basename "$bench")
	arguments=--tiny
	[ "$name" != bench_tls_memory ] || arguments="$build/tests/bench.pem $build/tests/bench.key"
	# shellcheck disable=SC2086 # it is to be split into two arguments
	if output=$("$bench" $arguments 2>&1); then
		echo "ok $name"
	else
		echo "$output"
		echo "FAIL $name: ended with an error"
	fi
done
