# SPDX-License-Identifier: MIT
"""`ringcast book --hostile` for a while: order books under readers that stall, break off, read slowly and ask for little,
while the server is killed and started again. RC_SOAK=seconds, 3 by default: 20,000 updates each, so 50 are a million."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "live"))
from harness import PROGRAM, SANITIZED, SLOW, die_with_parent, equal, run  # noqa: E402

SECONDS = float(os.environ.get("RC_SOAK") or 3)
RATE = 4_000 if SANITIZED else 20_000
READERS = 100 if SANITIZED else 1_000


def test_hostile_books():
    done = subprocess.run([PROGRAM, "book", "--hostile", "--updates", str(int(RATE * SECONDS)), "--rate", str(RATE),
                           "--readers", str(READERS)], capture_output=True, preexec_fn=die_with_parent, check=False,
                          timeout=(SECONDS * 3 + 90) * SLOW)
    said = (done.stderr + done.stdout).decode()
    print("\n".join("# " + line for line in said.splitlines()[-24:]), flush=True)
    equal(done.returncode, 0)


run(globals(), limit=int(SECONDS * 3 + 100))
