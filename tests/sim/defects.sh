#!/bin/sh
# SPDX-License-Identifier: MIT
#
# defects.sh BUILD: proves the simulator. Each patch of tests/sim/defects/ puts one known defect into one file of the
# production code, in a copy; the simulator built with it must fail within SEEDS seeds. As many are tried at a time as there
# are processors; with a patch as second argument only that one is.
set -u
build=$1
seeds=${SEEDS:-10000}
objects=$build/obj/sim
here=$build/defects

try() {
	name=$(basename "$1" .patch)
	file=$(sed -n 's|^+++ b/||p' "$1" | head -n 1)
	copy=$here/$name
	mkdir -p "$copy"
	cp "$file" "$copy/"
	source=$copy/$(basename "$file")
	patch -s -F3 --no-backup-if-mismatch "$source" "$1" >"$copy/log" 2>&1 || {
		cat "$copy/log"
		echo "FAIL defect $name: the patch does not apply to $file any more"
		return
	}
	# A defect may leave something unused: that is not an error here.
	if ! $(cat "$objects/compile") -Wno-error -Wno-unused -iquote "$(dirname "$file")" -iquote engine -iquote tls -c "$source" -o "$copy/file.o" \
		>"$copy/log" 2>&1; then
		cat "$copy/log"
		echo "FAIL defect $name: does not compile"
		return
	fi
	$(cat "$objects/link") $(grep -vxF "$objects/${file%.c}.o" "$objects/objects") "$copy/file.o" -lssl -lcrypto -lz -o "$copy/sim"
	# A limit of processor time does not depend on what else runs. Most take less than 1 s, the longest 17. Of a run that
	# comes to no end the simulator itself says so, with its seed, after 20 s.
	(ulimit -t 60 && exec "$copy/sim" --seeds "$seeds" --quiet) >"$copy/log" 2>&1
	status=$?
	if [ $status -eq 0 ]; then
		echo "FAIL defect $name: not found in $seeds seeds"
	elif grep -q '^seed' "$copy/log"; then
		echo "ok defect $name: $(grep -m1 '^seed' "$copy/log")"
	elif [ $status -eq 137 ] || [ $status -eq 152 ]; then
		echo "FAIL defect $name: not found in 60 s"
	else
		cat "$copy/log"
		echo "FAIL defect $name: ended without a seed"
	fi
}

# Printed in one piece, or the lines of two would mix.
if [ $# -gt 1 ]; then
	said=$(try "$2")
	echo "$said"
	exit
fi

# A simulator that fails without a defect proves nothing.
if ! "$build/sim" --seeds 200 --quiet; then
	echo "FAIL defects: the simulator fails without a defect"
	exit 1
fi
printf '%s\n' tests/sim/defects/${ONLY_DEFECT:-}*.patch | xargs -P "$(nproc)" -n 1 sh "$0" "$build"
rm -rf "$here"
