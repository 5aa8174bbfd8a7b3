# SPDX-License-Identifier: MIT
"""What the live tests share: a server started on a free port and ended by its own pid, a WebSocket client on a bare
socket that can be as wrong as a test wishes, and the runner that prints one line a test.

It knows RFC 6455 on its own and nothing of ringcast's code. A test is a function named test_...; it fails by an
exception, skips by raising Skip, and has a hard time limit.
"""
import base64
import ctypes
import hashlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback

BUILD = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "build")
PROGRAM = os.path.join(BUILD, "ringcast")
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SANITIZED = bool(os.environ.get("SANITIZE"))
# Time limits, never expectations, are stretched under a sanitizer or an emulator.
SLOW = int(os.environ.get("RC_SLOW") or (4 if SANITIZED else 1))
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Skip(Exception):
    pass


class TimeUp(Exception):
    pass


def run(names, limit=20, unsanitized=None, unthreaded=None):
    """Runs every test_... of a module in the order of the file, or only those whose name contains WORD of --only=WORD.
    With a word why, a sanitizer's build skips them all: it would find nothing that the plain one does not; or the thread
    sanitizer's alone: it does not know the threads of a library that is not built with it."""
    why = unsanitized if SANITIZED and unsanitized else unthreaded if "thread" in os.environ.get("SANITIZE", "") else None
    if why:
        print("skip all of it: " + why)
        sys.exit(77)
    only = next((a[7:] for a in sys.argv if a.startswith("--only=")), "")
    failed = 0

    def alarm(signum, frame):
        raise TimeUp("not done in time")

    signal.signal(signal.SIGALRM, alarm)
    for name, test in list(names.items()):
        if not name.startswith("test_") or not callable(test) or only not in name:
            continue
        name = name[5:]
        signal.alarm(limit * SLOW)
        begin = time.monotonic()
        try:
            test()
            print(f"ok {name} ({time.monotonic() - begin:.2f} s)", flush=True)
        except Skip as why:
            print(f"skip {name}: {why}", flush=True)
        except BaseException as error:
            signal.alarm(0)
            failed += 1
            print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)
            traceback.print_exc(limit=-3, file=sys.stdout)
            if isinstance(error, KeyboardInterrupt):
                break
        finally:
            signal.alarm(0)
            for server in list(Server.alive):
                server.kill()
    sys.exit(1 if failed else 0)


def equal(got, want, what=""):
    if got != want:
        raise AssertionError(f"{f'{what}: ' if what else ''}got {str(got)[:300]!r}, expected {str(want)[:300]!r}")


def besides_the_ring(lines):
    """What is said besides that epoll serves, which an old kernel is reason enough to say."""
    return [line for line in lines if "epoll serves in place of io_uring" not in line]


def needs_pace():
    """Of a test that must exceed a rate, or be done before a time that is not stretched."""
    if SLOW > 4:
        raise Skip("an emulator is too slow for its rates and times")


def until(condition, what, limit=10):
    """Waits until a condition holds, and returns its value."""
    end = time.monotonic() + limit * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"never came: {what}")
        time.sleep(0.01)


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def command(*arguments, stdin=None, limit=15, **more):
    """Runs `ringcast ARGUMENTS` to its end."""
    return subprocess.run([PROGRAM, *arguments], input=stdin, capture_output=True, timeout=limit * SLOW,
                          preexec_fn=die_with_parent, **more)


class Server:
    """`ringcast serve` with flags, on a free port of 127.0.0.1 unless listen says otherwise. Leaving the with block
    ends it by SIGTERM; an exit status other than 0, or a sanitizer's complaint, fails the test."""

    alive = []
    verb = "serve"

    def __init__(self, *flags, listen=("127.0.0.1:0",), workers=2, preexec=None, inherit=()):
        drain_ms = 50 if SANITIZED else 50 * SLOW  # flags given later win
        arguments = [PROGRAM, self.verb, "--drain", f"{drain_ms}ms"]
        for address in listen:
            arguments += ["--listen", address]
        if workers:
            arguments += ["--workers", str(workers)]

        def before():
            die_with_parent()
            if preexec:
                preexec()

        self._launch(arguments + list(flags), len(listen), before, inherit)

    def _launch(self, arguments, listeners=1, before=die_with_parent, inherit=()):
        self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, preexec_fn=before, pass_fds=inherit)
        Server.alive.append(self)
        self.lines, self.errors = [], []
        self.readers = [threading.Thread(target=self._drain, args=pair, daemon=True)
                        for pair in ((self.process.stdout, self.lines), (self.process.stderr, self.errors))]
        for reader in self.readers:
            reader.start()
        until(lambda: len(self.urls()) >= listeners or self.process.poll() is not None, "the listening lines")
        if len(self.urls()) < listeners:
            raise AssertionError("the server ended: " + "".join(self.errors)[-400:])
        self.url = self.urls()[0]
        port = re.search(r":(\d+)/?$", self.url)
        self.port = int(port.group(1)) if port else None

    @staticmethod
    def _drain(pipe, lines):
        for line in pipe:
            lines.append(line)

    def urls(self):
        found = (re.search(r'listening on ([^\s"]+)', line) for line in list(self.lines))
        return [match.group(1).rstrip("/") for match in found if match]

    @property
    def pid(self):
        return self.process.pid

    def stats(self):
        """The totals of /stats, and under "by_topic" the figures of each topic."""
        status, _, body = self.get("/stats")
        equal(status, 200, "/stats")
        stats = json.loads(body)
        return dict(stats["total"], by_topic={topic["name"]: topic for topic in stats["topics"]})

    def memory(self):
        """Resident bytes."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            return int(re.search(r"VmRSS:\s+(\d+) kB", status.read()).group(1)) << 10

    def get(self, path, method="GET", headers=""):
        """Makes a plain HTTP request on a connection of its own: status, headers, body."""
        with Raw(self) as raw:
            raw.send(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n".encode())
            return raw.response(method != "HEAD")

    def connect(self, path="/echo", **more):
        return Raw(self).open(path, **more)

    def stop(self, limit=10):
        if self in Server.alive:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(limit * SLOW)
            self._ended()
        equal(self.process.returncode, 0, "the server's exit status; it said: " + "".join(self.errors)[-2000:])

    def kill(self):
        self.process.kill()
        self.process.wait()
        self._ended()

    def _ended(self):
        Server.alive.remove(self)
        for reader in self.readers:
            reader.join()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind:
            died = self.process.poll()
            if self in Server.alive:
                self.kill()
            if died is not None or "Sanitizer" in "".join(self.errors):
                print(f"    the server had ended ({died}): " + "".join(self.errors)[-4000:])
        else:
            self.stop()


def mask(data, key):
    stream = (key * (len(data) // 4 + 1))[:len(data)]
    return (int.from_bytes(data, "little") ^ int.from_bytes(stream, "little")).to_bytes(len(data), "little")


def frame(opcode, payload=b"", fin=True, rsv=0, masked=True, size=None, key=None):
    """A frame as a client sends it; `size` lies about the length."""
    payload = payload.encode() if isinstance(payload, str) else payload
    size = len(payload) if size is None else size
    bit = 0x80 if masked else 0
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    if size < 126:
        head = struct.pack("!BB", first, bit | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    if not masked:
        return head + payload
    key = key or os.urandom(4)
    return head + key + mask(payload, key)


class Raw:
    """A client on a bare socket. It checks what a client must check and sends whatever it is told to."""

    def __init__(self, target, receive_buffer=None, limit=10):
        self.buffer = bytearray()
        self.closed = None
        if isinstance(target, Server):
            target = ("127.0.0.1", target.port)
        family = socket.AF_UNIX if isinstance(target, str) else socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.settimeout(limit * SLOW)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if family != socket.AF_UNIX:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect(target)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def more(self):
        data = self.socket.recv(1 << 18)
        self.buffer += data
        return bool(data)

    def take(self, size):
        while len(self.buffer) < size:
            if not self.more():
                raise EOFError(f"the connection ended {size - len(self.buffer)} bytes early")
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    def at_end(self):
        """True when the peer has closed and nothing is left to read."""
        try:
            return not self.buffer and not self.more()
        except ConnectionResetError:
            return True

    def response(self, has_body=True):
        while b"\r\n\r\n" not in self.buffer:
            if not self.more():
                raise EOFError(f"the connection ended within a response: {bytes(self.buffer)[:200]!r}")
        head = self.take(self.buffer.index(b"\r\n\r\n") + 4).decode("latin-1")
        lines = head.split("\r\n")
        version, status = lines[0].split(" ")[:2]
        equal(version, "HTTP/1.1")
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines[1:] if line)}
        size = int(headers.get("content-length", 0))
        return int(status), headers, self.take(size) if has_body else b""

    def request(self, path="/echo", method="GET", drop=(), key=None, **headers):
        """An opening handshake's bytes; `drop` names headers to leave out, keywords change or add some."""
        self.key = key or base64.b64encode(os.urandom(16)).decode()
        lines = {"Host": "localhost", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": self.key,
                 "Sec-WebSocket-Version": "13"}
        lines.update({name.replace("_", "-"): value for name, value in headers.items()})
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if name not in drop)
        return f"{method} {path} HTTP/1.1\r\n{text}\r\n".encode()

    def check_open(self):
        status, headers, body = self.response()
        equal(status, 101, f"handshake ({body.decode('latin-1')!r})")
        want = base64.b64encode(hashlib.sha1(self.key.encode() + GUID).digest()).decode()
        equal(headers.get("sec-websocket-accept"), want)
        equal(headers.get("upgrade", "").lower(), "websocket")
        equal(headers.get("connection", "").lower(), "upgrade")
        equal(headers.get("sec-websocket-extensions"), None)
        self.headers = headers
        return self

    def open(self, path="/echo", **headers):
        self.send(self.request(path, **headers))
        return self.check_open()

    def text(self, payload, **more):
        self.send(frame(TEXT, payload, **more))

    def binary(self, payload, **more):
        self.send(frame(BINARY, payload, **more))

    def receive_frame(self):
        """(fin, opcode, payload); a frame that a server may not send is an error."""
        first, second = self.take(2)
        equal(first & 0x70, 0, "reserved bits")
        equal(second & 0x80, 0, "mask bit of a server's frame")
        size = second & 0x7F
        if size == 126:
            size = struct.unpack("!H", self.take(2))[0]
            assert size >= 126, "length not minimal"
        elif size == 127:
            size = struct.unpack("!Q", self.take(8))[0]
            assert size >= 65536, "length not minimal"
        return bool(first & 0x80), first & 15, self.take(size)

    def receive(self):
        """The next message or control frame: (opcode, payload). Pings are answered, a Close is remembered."""
        opcode, parts = None, []
        while True:
            fin, kind, payload = self.receive_frame()
            if kind == CLOSE:
                self.closed = (struct.unpack("!H", payload[:2])[0] if payload else 1005, payload[2:].decode())
                return CLOSE, payload
            if kind == PING:
                try:
                    self.send(frame(PONG, payload))
                except (BrokenPipeError, ConnectionResetError):
                    pass  # what it said before it left is still to be read
                continue
            if kind == PONG:
                return PONG, payload
            opcode = kind or opcode
            parts.append(payload)
            if fin:
                return opcode, b"".join(parts)

    def receive_text(self):
        opcode, payload = self.receive()
        equal(opcode, TEXT, f"opcode ({payload[:80]!r})")
        return payload.decode()

    def expect_close(self, code):
        """Reads on to the Close, answers it, and wants the end of the connection after it."""
        while self.receive()[0] != CLOSE:
            pass
        equal(self.closed[0], code, f"close code ({self.closed[1]!r})")
        try:
            self.send(frame(CLOSE, struct.pack("!H", code)))
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert self.at_end(), "bytes after a Close"

    def close(self, code=1000):
        """The closing handshake, begun here; returns the code that came back."""
        self.send(frame(CLOSE, struct.pack("!H", code)))
        while self.receive()[0] != CLOSE:
            pass
        assert self.at_end(), "bytes after a Close"
        self.socket.close()
        return self.closed[0]
