#!/bin/sh
# SPDX-License-Identifier: MIT
#
# runs.sh BUILD: the simulator over many seeds (SEEDS, FROM), each kind of fault at least once among them, and some seeds
# twice, to see the same run again.
set -u
sim=$1/sim
seeds=${SEEDS:-$(case $1 in *asan) echo 600 ;; *) echo 4000 ;; esac)}
log=$1/tests/sim
mkdir -p "$1/tests"

if "$sim" --seeds "$seeds" --from "${FROM:-1}" --every-fault --quiet >"$log" 2>&1; then
	echo "ok sim: $seeds seeds"
else
	cat "$log"
	echo "FAIL sim: $(grep -m1 -e '^seed' -e '^fault' "$log")"
fi

# Each in a process of its own, since addresses differ between processes; and one seed without those before it, since
# nothing of them may remain. Only standard output counts: on the other the address sanitizer says that it does not know
# fibers, with its process number.
"$sim" --seeds 60 --from 7 --hashes --quiet >"$log" 2>/dev/null
"$sim" --seeds 60 --from 7 --hashes --quiet >"$log.again" 2>/dev/null
"$sim" --seeds 1 --from 66 --hashes --quiet >"$log.alone" 2>/dev/null
if [ "$(wc -l <"$log")" -eq 60 ] && cmp -s "$log" "$log.again" && [ "$(tail -n 1 "$log")" = "$(cat "$log.alone")" ]; then
	echo "ok sim: the same seed gives the same run"
else
	diff "$log" "$log.again"
	echo "FAIL sim: the same seed gives another run"
fi
rm -f "$log" "$log.again" "$log.alone"
