# SPDX-License-Identifier: MIT
"""Scripts of node:test as tests here: each of theirs is a line."""
import os
import re
import shutil
import subprocess

from harness import SLOW, TOP, Skip, die_with_parent

NODE = os.path.join(TOP, "build", "node")
MODULES = os.path.join(NODE, "node_modules")
HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "web")


def need_npm(*packages):
    """Packages of npm, NAME@VERSION each, under build/node: they are fetched when they are not there."""
    missing = [package for package in packages if not os.path.isdir(os.path.join(MODULES, package.rpartition("@")[0]))]
    if not missing:
        return
    if not shutil.which("npm"):
        raise Skip("there is no npm to install " + " ".join(missing) + " with")
    os.makedirs(NODE, exist_ok=True)
    try:
        done = subprocess.run(["npm", "install", "--prefix", NODE, "--no-audit", "--no-fund", "--ignore-scripts", "--silent",
                               *missing], check=False, timeout=60 * SLOW, capture_output=True, text=True,
                              preexec_fn=die_with_parent)
    except subprocess.TimeoutExpired:
        raise Skip("npm could not install in time: " + " ".join(missing)) from None
    if done.returncode:
        raise Skip(f"npm could not install {' '.join(missing)}: " + done.stderr.strip()[-200:])


def node(script, *arguments, limit):
    """Runs a script of node:test; a line for each of its tests."""
    environment = dict(os.environ, NODE_PATH="/usr/share/nodejs", RC_SLOW=str(SLOW))
    if not shutil.which("node"):
        raise Skip("there is no node")
    check = "process.exit(+process.versions.node.split('.')[0] >= 18 ? 0 : 1)"
    if subprocess.run(["node", "-e", check], check=False).returncode:
        raise Skip("node is older than 18")
    if subprocess.run(["node", "-e", "globalThis.WebSocket || require('ws')"], env=environment, check=False,
                      capture_output=True).returncode:
        raise Skip("node has no WebSocket, and its package ws is not installed")
    done = subprocess.run(["node", "--test-reporter=tap", os.path.join(HERE, script), *arguments], env=environment,
                          timeout=limit * SLOW, check=False, capture_output=True, text=True, preexec_fn=die_with_parent)
    verdicts = re.findall(r"^(not ok|ok) \d+ - (.*)", done.stdout, re.M)
    for verdict, name in verdicts:
        print(f"{'ok' if verdict == 'ok' else 'FAIL'} {name}", flush=True)
    if done.returncode or not verdicts:
        print(done.stdout[-6000:] + done.stderr[-3000:])
        raise AssertionError(f"{script} ended with {done.returncode}")
