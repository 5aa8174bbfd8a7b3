#!/bin/sh
# SPDX-License-Identifier: MIT
#
# fuzz.sh BUILD SECONDS TARGET...: each target under libFuzzer with the address and undefined behaviour sanitizers, from its
# seeds and whatever earlier runs found. An input that breaks a property is kept in BUILD/fuzz/found/TARGET/; once the
# fault is understood, the input belongs to tests/fuzz/corpus/TARGET/. Where there is no clang, the seeds and mutants of
# them run for that time instead.
set -u
cd "$(dirname "$0")/.."
plain=$1 build=$1/fuzz seconds=$2
shift 2
failed=0

if ! CC=clang sh tools/setup.sh fuzz; then
	echo "no libFuzzer here: mutants of the seeds instead"
	for target in "$@"; do
		make --no-print-directory BUILD=$plain $plain/tests/fuzz_"$target" &&
			$plain/tests/fuzz_"$target" --seconds="$seconds" tests/fuzz/corpus/"$target"/ || failed=1
	done
	exit $failed
fi

for target in "$@"; do
	mkdir -p $build/found/"$target" $build/corpus/"$target"
	make --no-print-directory CC=clang BUILD=$build SANITIZE=fuzzer-no-link,address,undefined $build/fuzz_"$target" ||
		exit 1
	echo "-- fuzz $target, $seconds s"
	if $build/fuzz_"$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -use_value_profile=1 \
		-artifact_prefix=$build/found/"$target"/ -print_final_stats=1 -verbosity=0 \
		$build/corpus/"$target" tests/fuzz/corpus/"$target" 2>$build/"$target".log; then
		echo "ok fuzz_$target ($(sed -n 's/^stat::number_of_executed_units: *//p' $build/"$target".log) inputs)"
	else
		tail -n 40 $build/"$target".log
		echo "FAIL fuzz_$target: see $build/found/$target"
		failed=1
	fi
done
exit $failed
