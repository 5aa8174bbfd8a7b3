# SPDX-License-Identifier: MIT
"""The opening handshake over a real socket: every wrong request gets its own answer (RFC 6455, section 4.2), however its
bytes are cut, and plain HTTP goes to the small handler."""
import json
import time

from harness import CLOSE, Raw, Server, equal, frame, run, until


def refuse(server, data, status):
    """Sends bytes, wants that status and then the end of the connection."""
    with Raw(server) as raw:
        raw.send(data)
        got, headers, body = raw.response()
        equal(got, status, f"status for {data[:100]!r}")
        assert raw.at_end(), f"{status} leaves the connection open"
        return headers


def test_wrong_requests():
    with Server("--echo") as server:
        make = Raw(server).request
        host = "Host: localhost\r\n"
        table = [
            (400, b"\r\nnonsense\r\n\r\n"),
            (400, b"GET /echo\r\n\r\n"),
            (400, make(drop=("Host",))),
            (400, make(drop=("Sec-WebSocket-Key",))),
            (400, make(key="dG9vIHNob3J0")),
            (400, make(key="!!!!!!!!!!!!!!!!!!!!!!==")),
            (400, f"GET /echo HTTP/1.1\r\n{host}Bad Name: x\r\n\r\n".encode()),
            (400, f"GET /echo HTTP/1.1\r\n{host}No-Colon\r\n\r\n".encode()),
            (400, f"GET /e%zzcho HTTP/1.1\r\n{host}\r\n".encode()),
            (400, f"GET /e%00cho HTTP/1.1\r\n{host}\r\n".encode()),
            (405, make(method="POST")),
            (405, make(method="DELETE")),
            (414, make("/" + "a" * 5000)),
            (426, make(Sec_WebSocket_Version="8")),
            (400, make(drop=("Sec-WebSocket-Version",))),
            (400, make(Content_Length="3") + b"abc"),
            (405, f"POST /echo HTTP/1.1\r\n{host}Content-Length: 3\r\n\r\nabc".encode()),
            (431, make(Cookie="a" * 9000)),
            (431, make(**{f"X_{i}": "y" for i in range(80)})),
            (501, f"BREW /echo HTTP/1.1\r\n{host}\r\n".encode()),
            (505, make().replace(b"HTTP/1.1", b"HTTP/2.0")),
            (404, make("/nowhere")),
            (404, f"GET /nowhere HTTP/1.1\r\n{host}Connection: close\r\n\r\n".encode()),
        ]
        for status, data in table:
            headers = refuse(server, data, status)
            if status == 426:
                equal(headers.get("sec-websocket-version"), "13")
        assert server.stats()["handshakes_failed"] >= 10


def test_plain_http_on_a_websocket_path_is_426():
    with Server("--echo") as server:
        status, headers, _ = server.get("/echo")
        equal(status, 426)
        equal(headers.get("upgrade", "").lower(), "websocket")


def test_lenient_where_the_rfc_is():
    """Header names and tokens without case, Connection as a list, values with spaces around them."""
    with Server("--echo") as server:
        for headers in ({"Connection": "keep-alive, Upgrade"}, {"Upgrade": "WebSocket"}, {"Connection": "UPGRADE"},
                        {"Connection": "  upgrade  "}):
            server.connect(**headers).close()
        raw = Raw(server)
        raw.send(raw.request().replace(b"Sec-WebSocket-Key", b"SEC-WEBSOCKET-KEY").replace(b"Host", b"hOST"))
        raw.check_open().close()
        server.connect("/echo?a=b&c").close()
        server.connect("/%65cho").close()


def test_one_byte_at_a_time():
    """The whole way, handshake to Close, with each byte in a packet of its own."""
    with Server("--echo") as server:
        raw = Raw(server)
        for byte in raw.request():
            raw.send(bytes([byte]))
        raw.check_open()
        for byte in frame(1, "h\u00e9llo", fin=False) + frame(9, b"between") + frame(0, " w\u00f6rld"):
            raw.send(bytes([byte]))
            time.sleep(0.001)
        equal(raw.receive(), (10, b"between"))
        equal(raw.receive_text(), "h\u00e9llo w\u00f6rld")
        for byte in frame(CLOSE, b"\x03\xe8bye"):
            raw.send(bytes([byte]))
        raw.expect_close(1000)


def test_frames_behind_the_request():
    """A client that does not wait for the answer."""
    with Server("--echo") as server, Raw(server) as raw:
        raw.send(raw.request() + frame(1, "early") + frame(1, "bird"))
        raw.check_open()
        equal((raw.receive_text(), raw.receive_text()), ("early", "bird"))
        equal(raw.close(), 1000)


def test_too_slow_is_408():
    with Server("--echo", "--handshake-timeout", "300ms") as server:
        with Raw(server) as raw:
            raw.send(raw.request()[:40])
            equal(raw.response()[0], 408)
            assert raw.at_end()
        # A byte now and then does not buy more time.
        with Raw(server) as raw:
            data = raw.request()
            try:
                for byte in data[:-1]:
                    raw.send(bytes([byte]))
                    time.sleep(0.02)
            except OSError:
                return
            equal(raw.response()[0], 408)


def test_connection_limit_is_503():
    with Server("--echo", "--connections-max", "2") as server:
        first, second = server.connect(), server.connect()
        with Raw(server) as raw:
            try:
                raw.send(raw.request())
            except ConnectionResetError:
                pass
            equal(raw.response()[0], 503)
            assert raw.at_end()
        first.text("still here")
        equal(first.receive_text(), "still here")
        first.close()

        def again():
            try:
                return server.connect()
            except (AssertionError, EOFError, ConnectionResetError):
                return None

        until(again, "a place when one has left").close()
        second.close()


def test_connections_per_address():
    with Server("--echo", "--connections-per-address", "2", workers=1) as server:
        held = [server.connect(), server.connect()]
        with Raw(server) as raw:
            try:
                raw.send(raw.request())
            except ConnectionResetError:
                pass
            assert raw.response()[0] in (429, 503)
        for raw in held:
            raw.close()


def test_tls_on_the_plain_port():
    """A TLS client gets an answer, or the end, and not silence."""
    with Server("--echo") as server, Raw(server) as raw:
        raw.send(bytes.fromhex("1603010200010001fc0303") + bytes(200))
        try:
            status, _, _ = raw.response()
            equal(status, 400)
        except (EOFError, ConnectionResetError):
            pass
        equal(server.get("/healthz")[0], 200)


def test_half_close():
    """A peer that shuts its sending side is gone; before the handshake as well as after it."""
    with Server("--echo") as server:
        for raw in (Raw(server), server.connect()):
            raw.socket.shutdown(1)
            while not raw.at_end():
                raw.buffer.clear()
        until(lambda: server.stats()["connections"] <= 1, "both connections gone")
        # What was asked before the half-close is still answered.
        with Raw(server) as raw:
            raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            raw.socket.shutdown(1)
            equal(raw.response()[0], 200)


def test_subscribe_names():
    with Server("--relay") as server:
        for path in ("/topic/", "/topic/a,,b", "/topic/" + "n" * 256, "/publish/", "/relay/"):
            status = 404 if path.endswith("/") else 400
            raw = Raw(server)
            raw.send(raw.request(path))
            got = raw.response()[0]
            assert got in (400, 404), f"{path}: {got}, expected {status}"
        server.connect("/topic/" + "n" * 255).close()
        server.connect("/topic/caf%C3%A9%20x").close()


def test_publish_may_be_forbidden():
    with Server("--publish-from", "192.0.2.1") as server:
        with Raw(server) as raw:
            raw.send(raw.request("/publish/a"))
            equal(raw.response()[0], 403)
        server.connect("/topic/a").close()


def test_echo_and_relay_only_when_asked_for():
    with Server() as server:
        for path in ("/echo", "/relay/a"):
            with Raw(server) as raw:
                raw.send(raw.request(path))
                equal(raw.response()[0], 404)


def test_health_stats_metrics():
    with Server("--echo", "--relay") as server:
        status, headers, body = server.get("/healthz")
        equal((status, body.strip()), (200, b"ok"))
        held = server.connect("/relay/a")
        held.text("one")
        equal(held.receive_text(), "one")
        status, headers, body = server.get("/stats")
        equal(status, 200)
        equal(headers["content-type"].split(";")[0], "application/json")
        stats = json.loads(body)
        equal(stats["total"]["published"], 1)
        equal(stats["total"]["messages_received"], 1)
        equal(stats["total"]["subscriptions"], 1)
        equal(sum(worker["messages_received"] for worker in stats["workers"]), 1)
        equal([(topic["name"], topic["subscribers"], topic["sequence"]) for topic in stats["topics"]], [("a", 1, 1)])
        status, headers, body = server.get("/metrics")
        equal(status, 200)
        equal(headers["content-type"].split(";")[0], "text/plain")
        values = {}
        for line in body.decode().splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                values[name] = float(value)
        equal(values["ringcast_messages_published_total"], 1)
        equal(sum(value for name, value in values.items() if name.startswith("ringcast_subscriptions{")), 1)
        equal(server.get("/healthz", method="HEAD")[0], 200)
        held.close()


run(globals())
