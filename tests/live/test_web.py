# SPDX-License-Identifier: MIT
"""The browser side: the files that `ringcast app` serves, ringcast.js under Node (against a server that misbehaves, and
against ours, killed and started again), and the dashboard in Debian's Chromium.

Node tells what it did as TAP; each of its tests is a line here. Pictures of the dashboard are left in BUILD/tests."""
import os
import re
import shutil
import subprocess
import sys

from app import App
from harness import BUILD, PROGRAM, SLOW, TOP, Skip, die_with_parent, equal, run

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "web")
WEB = os.path.join(TOP, "tools", "web")
MODULES = os.path.join(TOP, "build", "node", "node_modules")
CHROMIUM = "/usr/bin/chromium"
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/dashboard.js": ("dashboard.js", "text/javascript; charset=utf-8"),
    "/charts.js": ("charts.js", "text/javascript; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/ringcast.js": ("ringcast.js", "text/javascript; charset=utf-8"),
}


def test_files():
    with App() as server:
        for path, (name, kind) in FILES.items():
            with open(os.path.join(WEB, name), "rb") as file:
                content = file.read()
            status, headers, body = server.get(path)
            equal((status, headers["content-type"], body), (200, kind, content), path)
            equal(headers["cache-control"], "no-cache")
            equal(headers["x-content-type-options"], "nosniff")
            tag = headers["etag"]
            assert re.fullmatch(r'"[0-9a-f]{16}"', tag), tag
            for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
                status, headers, body = server.get(path, headers=f"If-None-Match: {known}\r\n")
                equal((status, headers["etag"], body), (304, tag, b""), f"{path} with {known}")
            equal(server.get(path, headers='If-None-Match: "0123456789abcdef"\r\n')[0], 200)
            status, headers, _ = server.get(path, "HEAD")
            equal((status, int(headers["content-length"])), (200, len(content)), f"HEAD {path}")
            for method in ("DELETE", "POST"):
                equal(server.get(path, method, "Content-Length: 0\r\n")[0], 405, f"{method} {path}")
        # The client is for pages of other sites too, the dashboard is not, and is not to be framed.
        equal(server.get("/ringcast.js")[1]["access-control-allow-origin"], "*")
        headers = server.get("/")[1]
        assert "access-control-allow-origin" not in headers, headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"], headers
        for path in ("/index.html", "/style.css/", "/../etc/passwd", "//"):
            equal(server.get(path)[0], 404, path)


def test_names_of_topics_need_the_key():
    with App("--api-key", "k" * 16) as server:
        for path in ("/stats", "/api/stats"):
            equal(server.get(path)[0], 401, path)
            equal(server.get(path, headers="Authorization: Bearer " + "k" * 16 + "\r\n")[0], 200, path)
        equal(server.get("/")[0], 200)
    with App("--api-listen", "127.0.0.1:0") as server:
        equal([server.get(path)[0] for path in ("/stats", "/api/stats", "/")], [404, 404, 200])


def test_a_message_keeps_what_its_sender_called_it():
    """By `ref` a reader knows a message that was sent again to another server, which gave it another id."""
    with App("--permissions", "read,write,broadcast") as server:
        a, b = server.clients("a", "b")
        for client in (a, b):
            client.in_room("r")
        a.expect("user_joined")
        a.say("room_message", room="r", content=1, id="mine")
        assert b.expect("room_message", ref="mine")["id"] != "mine"
        a.say("DATA", id="again", data={"type": "direct", "id": "again", "to": "b", "content": 2})
        b.expect("direct", ref="again")
        a.say("broadcast", content=3, id=7)
        b.expect("broadcast", ref=7)
        b.say("room_message", room="r", content=4)
        a.expect("ACK")
        a.expect("broadcast", ref=7)
        assert "ref" not in a.expect("room_message", content=4)


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


def test_client_under_node():
    node("client.mjs", limit=60)


def test_client_and_server():
    if not shutil.which("setpriv"):
        raise Skip("there is no setpriv")
    node("live.mjs", PROGRAM, limit=60)


def test_chromium():
    if not os.path.exists(CHROMIUM) or not shutil.which("setpriv"):
        raise Skip("there is no " + CHROMIUM)
    if not os.path.isdir(os.path.join(MODULES, "playwright-core")):
        if not shutil.which("npm"):
            raise Skip("there is no npm to install playwright-core with")
        os.makedirs(os.path.dirname(MODULES), exist_ok=True)
        done = subprocess.run(["npm", "install", "--prefix", os.path.dirname(MODULES), "--no-audit", "--no-fund",
                               "--ignore-scripts", "--silent", "playwright-core@1"], check=False, timeout=60,
                              capture_output=True, text=True, preexec_fn=die_with_parent)
        if done.returncode:
            raise Skip("npm could not install playwright-core: " + done.stderr.strip()[-200:])
    pictures = os.path.join(BUILD, "tests")
    os.makedirs(pictures, exist_ok=True)
    node("browser.mjs", PROGRAM, MODULES, CHROMIUM, pictures, limit=120)


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    run(globals(), limit=150)
