# SPDX-License-Identifier: MIT
"""What the tests of `ringcast app` share: the server, a client that speaks its dialect over a bare socket, tokens."""
import base64
import hashlib
import hmac
import json
import time
import uuid

from harness import SLOW, Raw, Server, equal, until

SECRET = "0123456789abcdef0123456789abcdef"


class App(Server):
    """`ringcast app`, with limits out of the way unless a test is about them."""

    verb = "app"

    def __init__(self, *flags, limits=False, **more):
        free = () if limits else ("--messages-per-second", "0", "--connections-per-user", "0",
                                  "--connections-per-address", "0", "--handshakes-per-second", "0")
        super().__init__(*free, "--log-level", "warning", *flags, **more)

    def client(self, path="/ws", **headers):
        return Client(self).join_in(path, **headers)

    def clients(self, *users):
        return [self.client("/ws/" + user) for user in users]

    def api(self, path, body=None, headers="", method=None):
        """Status and parsed answer of a call to /api."""
        data = b"" if body is None else (body if isinstance(body, bytes) else json.dumps(body).encode())
        method = method or ("GET" if body is None else "POST")
        with Raw(self) as raw:
            raw.send(f"{method} /api/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}"
                     f"Content-Length: {len(data)}\r\n\r\n".encode() + data)
            status, _, answer = raw.response()
        return status, json.loads(answer) if answer.startswith(b"{") else answer

    def post(self, path, **body):
        status, answer = self.api(path, body)
        equal(status, 200, f"{path}: {answer}")
        return answer

    def figures(self):
        return self.api("stats")[1]


class Client(Raw):
    """One connection. What it hears is parsed; `expect` wants the next message to have these members."""

    def join_in(self, path, **headers):
        self.open(path, **headers)
        self.welcome = self.expect("welcome")
        return self

    def say(self, type_, **members):
        self.text(json.dumps({"type": type_, **members}))
        return self

    def hear(self):
        return json.loads(self.receive_text())

    def expect(self, type_, **members):
        message = self.hear()
        wanted = {"type": type_, **members}
        got = {name: message.get(name) for name in wanted}
        equal(got, wanted, f"a message ({json.dumps(message)[:400]})")
        return message

    def expect_error(self, code, **members):
        return self.expect("error", code=code, **members)

    def in_room(self, room):
        self.say("join_room", room=room).expect("room_joined", room=room)
        return self

    def settle(self):
        """What this client said before has been handled; nothing else may have come for it alone."""
        mark = uuid.uuid4().hex
        self.say("ping", timestamp=mark)
        self.expect("pong", timestamp=mark)
        return self

    def settle_after(self, *types):
        """The same, but messages of these types may come before."""
        mark = uuid.uuid4().hex
        self.say("ping", timestamp=mark)
        while True:
            message = self.hear()
            if message["type"] not in types:
                equal((message["type"], message.get("timestamp")), ("pong", mark))
                return self


class Stream(Raw):
    """A reader of events (WHATWG HTML, section 9.2.6)."""

    def __init__(self, server, path, status=200, headers="", **more):
        super().__init__(server, **more)
        self.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode())
        got, self.headers, body = self.response()
        equal(got, status, f"{path}: {body!r}")
        self.last_id, self.comments = "", 0
        if status == 200:
            equal(self.headers["content-type"], "text/event-stream")

    def line(self):
        while b"\n" not in self.buffer:
            if not self.more():
                raise EOFError(bytes(self.buffer))
        return self.take(self.buffer.index(b"\n") + 1).decode()[:-1]

    def event(self):
        data = []
        while True:
            line = self.line()
            if line == "" and data:
                return json.loads("\n".join(data))
            if line.startswith(":"):
                self.comments += 1
            elif line.startswith("id: "):
                self.last_id = line[4:]
            elif line:
                assert line.startswith("data: "), line
                data.append(line[6:])

    def expect(self, type_, **members):
        message = self.event()
        wanted = {"type": type_, **members}
        equal({name: message.get(name) for name in wanted}, wanted, f"an event ({message})")
        return message

    def updates(self, *numbers):
        for number in numbers:
            self.expect("update", data=number)
        return self


def poll(server, path, headers="", limit=20):
    """(status, page, headers)"""
    with Raw(server, limit=limit) as raw:
        raw.send(f"GET /poll/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n".encode())
        status, headers, body = raw.response()
        if status == 204:
            assert "content-length" not in headers and raw.at_end(), "204 has no body"
        equal(headers["cache-control"] if status < 300 else "no-store", "no-store")
    return status, json.loads(body) if body.startswith(b"{") else body.decode(), headers


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(secret=SECRET, header=None, **claims):
    """An HS256 token; `exp` and `nbf` are seconds from now. It ends in an hour, or with exp=None not at all."""
    claims.setdefault("exp", 3600)
    if claims["exp"] is None:
        del claims["exp"]
    for name in ("exp", "nbf"):
        if isinstance(claims.get(name), (int, float)):
            claims[name] += int(time.time())
    head = b64(json.dumps({"alg": "HS256", "typ": "JWT"} if header is None else header).encode())
    signed = head + "." + b64(json.dumps(claims).encode())
    return signed + "." + b64(hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest())


__all__ = ["App", "Client", "SECRET", "SLOW", "b64", "equal", "token", "until"]
