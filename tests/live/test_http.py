# SPDX-License-Identifier: MIT
"""Plain HTTP as it is spoken: connections that are kept, HTTP/1.0, bodies in chunks, bodies that wait to be asked for, by
Python's client, by bare sockets, and through nginx and HAProxy as they are without settings. And whoever would abuse it:
answers that nobody reads, a request that never ends, lengths told twice."""
import http.client
import json
import socket
import time

from app import SLOW, App, equal, until
from harness import PING, PONG, Raw, Server, frame, run
from proxies import haproxy, plain_nginx


def call(connection, method, path, body=None, **headers):
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def connect(server):
    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=10 * SLOW)


def test_many_requests_on_one_connection():
    count = 2000 if SLOW > 1 else 20000
    with App() as server:
        client = connect(server)
        body = json.dumps({"topic": "t", "data": "x" * 60})
        for number in range(count):
            status, answer = call(client, "POST", "/api/publish", body)
            if status != 200 or json.loads(answer)["seq"] != number + 1:
                raise AssertionError(f"{number}: {status} {answer!r}")
        status, _ = call(client, "GET", "/nothing/here")
        equal(status, 404, "an error keeps the connection too")
        client.close()


def test_polls_on_one_connection():
    with App() as server:
        client = connect(server)
        server.post("publish", topic="t", data=0)
        for number in range(1, 50):
            server.post("publish", topic="t", data=number)
            status, answer = call(client, "GET", f"/poll/t?since={number}&wait=5")
            equal(status, 200)
            equal([message["data"] for message in json.loads(answer)["messages"]], [number])
        client.request("GET", "/poll/t?since=50&wait=10")  # this one waits
        until(lambda: server.figures() and True, "it waits")
        server.post("publish", topic="t", data="late")
        answer = client.getresponse()
        equal(json.loads(answer.read())["messages"][0]["data"], "late")
        equal(call(client, "GET", "/healthz")[0], 200, "and the connection goes on")


def test_old_http():
    with Server() as server:
        for head in "GET /healthz HTTP/1.0\r\n\r\n", "GET /healthz HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n":
            with Raw(server) as raw:
                raw.send(head.encode())
                status, headers, _ = raw.response()
                equal(status, 200)
                equal(headers["connection"], "close")
                assert raw.at_end()
        with Raw(server) as raw:
            raw.send(raw.request("/echo").replace(b"HTTP/1.1", b"HTTP/1.0"))
            equal(raw.response()[0], 505)


def test_bodies_in_chunks():
    with App() as server:
        client = connect(server)
        text = json.dumps({"topic": "t", "data": "y" * 5000}).encode()
        pieces = [text[at:at + 7] for at in range(0, len(text), 7)]
        for number in range(3):
            client.request("POST", "/api/publish", iter(pieces), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
            answer = client.getresponse()
            equal((answer.status, json.loads(answer.read())["seq"]), (200, number + 1))
        with Raw(server) as raw:  # a byte a packet, an extension, a trailer, and the next request behind it
            body = b'{"topic":"t","data":1}'
            for byte in (f"POST /api/publish HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                         f"{len(body):x};a=b\r\n").encode() + body + b"\r\n0\r\nX: y\r\n\r\n":
                raw.send(bytes([byte]))
            raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            equal(raw.response()[0], 200)
            equal(raw.response()[0], 200)


def test_a_body_that_waits_to_be_asked_for():
    with App() as server, Raw(server) as raw:
        body = b'{"topic":"t","data":1}'
        for _ in range(2):
            raw.send(f"POST /api/publish HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
                     f"Content-Length: {len(body)}\r\n\r\n".encode())
            equal(raw.response()[0], 100)
            raw.send(body)
            equal(raw.response()[0], 200)
    with App("--api-key", "0123456789abcdef") as server, Raw(server) as raw:
        raw.send(b"POST /api/publish HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 20\r\n\r\n")
        status, headers, _ = raw.response()
        equal((status, headers["connection"]), (401, "close"), "who may not gets his answer without sending the body")


def test_methods():
    """405 names what the path takes, and says it once."""
    with App("--api-key", "0123456789abcdef") as server:
        for path, methods in (("/api/publish", "POST"), ("/api/send", "POST"), ("/api/stats", "GET, HEAD"), ("/", "GET, HEAD"),
                              ("/stats", "GET, HEAD"), ("/healthz", "GET, HEAD"), ("/ringcast.js", "GET, HEAD"),
                              ("/sse/a", "GET, OPTIONS"), ("/poll/a", "GET, OPTIONS"), ("/ws", "GET"), ("/ws/alice", "GET")):
            for method in "GET", "POST", "PUT", "DELETE", "PATCH":
                if method in methods.split(", "):
                    continue
                for body in "", "{}":
                    with Raw(server) as raw:
                        raw.send(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
                        status, headers, answer = raw.response()
                    equal((status, headers.get("allow")), (405, methods), f"{method} {path}")
                    equal(json.loads(answer), {"error": f"this path takes {methods}"})
    with Server() as server:
        for path, methods in (("/publish/a", "GET, POST"), ("/publish", "GET, POST"), ("/sse/a", "GET"), ("/poll/a", "GET"),
                              ("/topic/a", "GET"), ("/", "GET, HEAD"), ("/metrics", "GET, HEAD")):
            status, headers, _ = server.get(path, "DELETE", "Content-Length: 0\r\n")
            equal((status, headers.get("allow")), (405, methods), path)
    with Server("--echo") as server, Raw(server) as raw:  # the library's own
        raw.send(raw.request("/echo", method="POST"))
        status, headers, _ = raw.response()
        equal((status, headers.get("allow")), (405, "GET"))


def test_errors_are_json():
    """{"error":WORDS} and nothing behind it, wherever a program reads it."""
    def check(server, path, method, body, status, headers=""):
        with Raw(server) as raw:
            raw.send(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            got, head, answer = raw.response()
        equal((got, head["content-type"]), (status, "application/json"), f"{method} {path}")
        words = json.loads(answer)["error"]
        assert words and "\n" not in words and answer.endswith(b"}"), (path, answer)

    with App("--token-secret", "s" * 32, "--api-key", "0123456789abcdef") as server:
        key = "X-API-Key: 0123456789abcdef\r\n"
        for path, method, body, status in (
                ("/api/publish", "POST", b"{", 400), ("/api/publish", "POST", b"[]", 400), ("/api/publish", "POST", b"", 400),
                ("/api/send", "POST", b"{}", 400), ("/api/broadcast", "POST", b"{}", 400), ("/api/disconnect", "POST", b"{}", 400),
                ("/api/nothing", "GET", b"", 404), ("/api/nothing", "POST", b"{}", 404), ("/api/presence?user=%01", "GET", b"", 400),
                ("/api/publish", "GET", b"", 405)):
            check(server, path, method, body, status, key)
        for path in "/api/publish", "/api/send", "/api/nothing":
            check(server, path, "POST", b"{}", 401)
        for path, status in (("/stats", 401), ("/sse/a", 401), ("/poll/a", 401), ("/poll/", 400), ("/nothing", 404), ("/sse/room/1", 403)):
            check(server, path, "GET", b"", status)
    with Server() as server:
        for path, body, status in (("/publish", b"x", 400), ("/publish/a?form=json", b"{", 400), ("/publish/a?remove=1", b"x", 400),
                                   ("/publish/a", b"\xff", 400), ("/publish/%01", b"x", 400)):
            check(server, path, "POST", body, status)
        check(server, "/publish/a", "POST", b"x", 403, "Origin: https://elsewhere.example\r\n")


def test_requests_one_behind_the_other():
    with Server() as server, Raw(server) as raw:
        raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5 + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        for number in range(6):
            status, headers, _ = raw.response()
            equal((status, headers.get("connection")), (200, "close" if number == 5 else None))
        assert raw.at_end()
    with Server("--echo") as server, Raw(server) as raw:  # a WebSocket behind a plain request, once that has its answer
        raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        equal(raw.response()[0], 200)
        raw.send(raw.request("/echo"))
        raw.check_open()
        raw.text("hello")
        equal(raw.receive_text(), "hello")
    with Server("--echo") as server, Raw(server) as raw:  # and before that
        raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" + raw.request("/echo"))
        equal([raw.response()[0] for _ in range(2)], [200, 400])
        assert raw.at_end()


def test_answers_that_nobody_reads():
    """Who asks and asks without reading gets an end, and not the server's memory."""
    with Server() as server:
        before = server.memory()
        with Raw(server, receive_buffer=4096) as raw:
            raw.socket.settimeout(3 * SLOW)
            end = time.monotonic() + 10 * SLOW
            try:
                while time.monotonic() < end:
                    raw.send(b"GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
                raise AssertionError("it is never told to stop")
            except (TimeoutError, ConnectionError):
                pass
            grown = server.memory() - before
            assert grown < 8 << 20, f"{grown} bytes for one that does not read"
            equal(server.get("/healthz")[0], 200, "somebody else is served meanwhile")


def served(server, source):
    """One more connection from that address: whether it is answered, and the connection."""
    link = socket.create_connection(("127.0.0.1", server.port), 10 * SLOW, (source, 0))
    try:
        link.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return link.recv(4096).startswith(b"HTTP/1.1 200"), link
    except ConnectionError:
        return False, link


def test_kept_connections_count():
    """What an address keeps between its requests, or after a poll, counts as much as what it has open."""
    with App("--connections-per-address", "5", "--handshakes-per-second", "0", limits=True) as server:
        kept = [served(server, "127.0.0.66")[1] for _ in range(3)]
        for _ in range(2):
            asked = socket.create_connection(("127.0.0.1", server.port), 10 * SLOW, ("127.0.0.66", 0))
            asked.sendall(b"GET /poll/t?since=0&wait=10 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            kept.append(asked)
        until(lambda: server.figures()["connectedClients"] == 2, "both wait")
        equal(served(server, "127.0.0.66")[0], False, "while polls wait")
        server.post("publish", topic="t", data=1)
        for asked in kept[3:]:
            assert asked.recv(4096).startswith(b"HTTP/1.1 200")
        equal(served(server, "127.0.0.66")[0], False, "after they were answered")
        equal(served(server, "127.0.0.1")[0], True, "somebody else")
        kept.pop().close()
        until(lambda: served(server, "127.0.0.66")[0], "room for one again")


def test_a_second_request_that_never_ends():
    with Server("--handshake-timeout", "1s") as server, Raw(server) as raw:
        raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        equal(raw.response()[0], 200)
        time.sleep(1.5)  # between two requests it is idle, which is no time-out
        raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /he")
        equal(raw.response()[0], 200)
        equal(raw.response()[0], 408)
        assert raw.at_end()


def test_an_idle_connection_ends():
    with Server("--idle-timeout", "1s") as server, Raw(server) as raw:
        raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        equal(raw.response()[0], 200)
        assert raw.at_end()


def test_two_lengths():
    with Server() as server:
        for lines in (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
                      b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"):
            with Raw(server) as raw:
                raw.send(b"POST /healthz HTTP/1.1\r\nHost: localhost\r\n" + lines + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                status, headers, _ = raw.response()
                equal((status, headers["connection"]), (400 if b"Encoding: chunked\r\nC" in lines else status, "close"))
                assert raw.at_end(), "what follows is read by nobody"


def test_a_stop_sends_what_was_answered():
    with Server() as server:
        with Raw(server) as raw:
            raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            equal(raw.response()[0], 200)
            server.stop()
            assert raw.at_end()


def test_nginx_without_settings():
    with App() as server, plain_nginx(server.port) as proxy:
        client = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10 * SLOW)
        for number in range(20):
            status, answer = call(client, "POST", "/api/publish", json.dumps({"topic": "t", "data": number}))
            equal((status, json.loads(answer)["seq"]), (200, number + 1), answer)
        equal(call(client, "GET", "/healthz")[0], 200)


def test_haproxy_with_health_checks():
    key = "0123456789abcdef"
    with App("--api-key", key) as server:
        check = "check inter 200ms fall 1 rise 1\n  option httpchk GET /healthz"
        with haproxy(server.port, send=check) as proxy:
            client = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10 * SLOW)
            time.sleep(1)
            for number in range(50):
                status, answer = call(client, "POST", "/api/publish", json.dumps({"topic": "t", "data": number}),
                                      **{"X-API-Key": key})
                equal((status, json.loads(answer)["seq"]), (200, number + 1), answer)


def test_ping_interval():
    """A Ping after so long a silence, again and again, and no end while it is answered; a stream gets a comment."""
    for server in Server("--echo", "--ping-interval", "300ms"), App("--ping-interval", "300ms"):
        with server, Raw(server) as raw, Raw(server) as stream:
            raw.open("/echo" if server.verb == "serve" else "/ws/a")
            stream.send(b"GET /sse/t HTTP/1.1\r\nHost: localhost\r\n\r\n")
            begin, pings = time.monotonic(), 0
            while pings < 3:
                _, opcode, payload = raw.receive_frame()
                if opcode == PING:
                    pings += 1
                    raw.send(frame(PONG, payload))
            assert 0.7 < time.monotonic() - begin < 5 * SLOW, time.monotonic() - begin
            while stream.buffer.count(b"\n:") < 2:
                assert stream.more(), bytes(stream.buffer)


run(globals(), limit=60)
