# SPDX-License-Identifier: MIT
"""docs_page.py BUILD PAGE: does what a page of the documentation says, as its reader would, and prints what came of it as
JSON. tests/live/test_docs.py starts it in namespaces of its own: the ports are the page's, and `pidof` finds the page's
servers and nobody else's.

A page's fenced `sh` blocks run in their order, in one folder, with the exported variables of those before. A comment above
one says otherwise:
  <!-- run: background -->  it goes on until the page ends; a server is awaited
  <!-- not run: WHY -->     it is counted
A `text` block behind one is what it prints: these lines, in this order; `...` is anything.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

BUILD = os.path.abspath(sys.argv[1])
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIMIT = 30 * int(os.environ.get("RC_SLOW") or (4 if os.environ.get("SANITIZE") else 1))
BLOCK = re.compile(r"(?:<!-- (run|not run): ([^>]*?) -->\n)?^```(\w+)\n(.*?)^```$", re.M | re.S)
# What README.md shows as indented blocks, by how it begins, and which test does it.
INDENTED = {"make install PREFIX=": "test_install installs the library, builds this program and runs it",
            "ringcast serve --producers": "test_producers does, in a folder that the service would have made"}

sys.path.insert(0, os.path.join(TOP, "tools", "docs"))
import build as docs  # noqa: E402


def blocks(name):
    """(how, why, kind, text) of each block of a page. For "man" those of the manual's examples."""
    if name == "man":
        lines = docs.man_section(docs.read("tools/ringcast.1"), "EXAMPLES").replace("\\-", "-").splitlines()
        commands = [line for line in lines if line.startswith("ringcast ")]
        return [("run" if " serve " in line else "", "background", "sh", line + "\n") for line in commands]
    text = docs.page_text(name)
    return [match.groups(default="") for match in BLOCK.finditer(text)]


def indented(name):
    """Commands in the indented blocks, which README.md has: the beginnings of each."""
    text = docs.without_fences(docs.page_text(name))
    found = re.findall(r"^\n((?: {4}.*\n)+)", text, re.M)
    return [block.strip() for block in found if re.match(r" {4}(ringcast|make|cc|export|curl) ", block)]


class Background:
    """A block that goes on."""

    def __init__(self, script, environment):
        self.text = ""
        self.process = subprocess.Popen(["bash", "-e", "-c", script], env=environment, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        end = time.monotonic() + LIMIT
        while re.search(r"ringcast (serve|app)", script) and "listening on" not in self.text:
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"the server does not listen: {self.text[-400:]}")
            time.sleep(0.02)

    def _read(self):
        for line in self.process.stdout:
            self.text += line


def expect(wanted, text, block):
    """That these lines came in this order."""
    lines = iter(text.splitlines())
    for line in wanted.splitlines():
        pattern = ".*".join(map(re.escape, line.split("...")))
        if line != "..." and not any(re.fullmatch(pattern, one) for one in lines):
            raise AssertionError(f"{block!r} did not print {line!r}, but {text!r}")


def run_page(name):
    ran, left, before, printed = 0, [], None, ""
    backgrounds = []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.mkdir("work")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("RINGCAST_")}
        environment.update(PATH=BUILD + ":" + environment["PATH"], HOME=folder, LC_ALL="C.UTF-8")
        for how, why, kind, text in blocks(name):
            if kind == "text" and before:
                expect(text, printed, before)
            before = None
            if kind != "sh":
                continue
            if how == "not run":
                left.append(why)
                continue
            ran += 1
            script = f"cd work\n[ ! -e ../exported ] || . ../exported\n{text}"
            if how == "run":
                backgrounds.append(Background(script, environment))
                continue
            done = subprocess.run(["bash", "-e", "-o", "pipefail", "-c", script + "export -p | grep -v PWD= >../exported\n"],
                                  env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT)
            if done.returncode:
                raise AssertionError(f"{text!r} ended with {done.returncode}: {done.stdout[-300:]!r} {done.stderr[-600:]!r}")
            before, printed = text, done.stdout
        for background in backgrounds:
            if background.process.poll() not in (None, 0):
                raise AssertionError(f"a server ended with {background.process.poll()}: {background.text[-400:]}")
            background.process.terminate()
        os.chdir("/")
    for block in indented(name) if name != "man" else []:
        why, = [why for begin, why in INDENTED.items() if block.startswith(begin)] or [None]
        if not why:
            raise AssertionError(f"nobody runs {block!r}")
        left.append(why)
    return {"ran": ran, "left": left}


if __name__ == "__main__":
    try:
        print(json.dumps(run_page(sys.argv[2])))
    except (AssertionError, subprocess.TimeoutExpired) as error:
        print(json.dumps({"error": str(error)}))
