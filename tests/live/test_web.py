# SPDX-License-Identifier: MIT
"""The browser side without a browser: the files that `ringcast app` serves, and ringcast.js under Node, against a server
that misbehaves and against ours, killed and started again."""
import os
import re
import shutil

from app import App
from harness import PROGRAM, TOP, Skip, equal, run
from nodetest import node

WEB = os.path.join(TOP, "tools", "web")
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


def test_client_under_node():
    node("client.mjs", limit=80)


def test_client_and_server():
    if not shutil.which("setpriv"):
        raise Skip("there is no setpriv")
    node("live.mjs", PROGRAM, limit=80)


run(globals(), limit=85)
