# SPDX-License-Identifier: MIT
"""`ringcast app` among strangers: what one client, address or sender may cost the others by messages, polls and requests.
Honest clients beside the attacker are the judges."""
import json
import threading
import time
import urllib.parse

from app import SECRET, App, token
from harness import CLOSE, SANITIZED, Raw, equal, run, until

KEY = "a key of the application"


# ---- bodies ----

def test_a_body_waits_for_its_key():
    """Without a key the answer comes before the body, and the server's memory does not grow by what strangers send."""
    with App("--api-key", KEY, "--body-max", "16M") as server:
        for path, status in (("/api/publish", 401), ("/api/nothing", 401), ("/", 413), ("/ws", 413), ("/poll/a", 413)):
            for headers in ("", "X-API-Key: wrong\r\n", "Authorization: Bearer x\r\n"):
                with Raw(server) as raw:
                    raw.send(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n{headers}\r\n".encode())
                    equal(raw.response()[0], status, path + headers)
        before, raws = server.memory(), []
        for _ in range(20):
            raw = Raw(server)
            try:
                raw.send(b"POST /api/publish HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 4000000)
            except (BrokenPipeError, ConnectionResetError):
                pass
            raws.append(raw)
        assert server.memory() - before < 40 << 20, "bodies of strangers are gathered"
        data = json.dumps({"topic": "t", "data": "x" * 100000}).encode()
        equal(server.api("publish", data, headers=f"X-API-Key: {KEY}\r\n"), (200, {"seq": 1}))


run(globals())
