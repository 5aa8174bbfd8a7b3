# SPDX-License-Identifier: MIT
"""The server against npm's ws under Node, a client that nobody here wrote. The tests themselves are in ws.js; each
prints its line, as those here do."""
import os
import shutil
import subprocess
import sys

from harness import SLOW, Server, die_with_parent

HERE = os.path.dirname(os.path.abspath(__file__))
environment = dict(os.environ)
environment["NODE_PATH"] = "/usr/share/nodejs"  # where Debian puts it, whoever packaged Node itself

if not shutil.which("node") or subprocess.run(["node", "-e", "require('ws')"], env=environment, check=False,
                                              capture_output=True).returncode:
    print("skip ws: node and its package ws are not installed")
    sys.exit(0)

with Server("--echo", "--relay") as server:
    done = subprocess.run(["node", os.path.join(HERE, "ws.js"), f"ws://127.0.0.1:{server.port}", str(server.pid)],
                          env=environment, timeout=60 * SLOW, preexec_fn=die_with_parent)
sys.exit(done.returncode)
