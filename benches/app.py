# SPDX-License-Identifier: MIT
"""app.py: what `ringcast app` takes of its processor for a publish over a kept HTTP connection, and for a message in
batches of 100, as JSON and as MessagePack, beside the same without batches. The server has processor 0 and the client
processor 1; the figure is the time of the server's threads, and ksoftirqd's, a request or message. Turns take turns, and
the median stands.

  publish   POST /api/publish on one connection, one after the other, each answered before the next
  floor     as many bytes to and from a program that does nothing with them: what of it is the kernel's
  batch     `batch` of 100 room messages over one WebSocket, to a room where one other listens
  msgpack   the same in MessagePack, both of them
  alone     the same messages as JSON, each a frame of its own
"""
import argparse
import base64
import json
import os
import socket
import struct
import sys

import proc

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers"))
from rooms import packed  # noqa: E402

ASKED_NS = {"publish": 25000, "batch": 3000}
BATCH = 100
CONTENT = "x" * 64


def masked(message, binary=False):
    """A frame whose mask is zero: what is said is as it stands."""
    data = packed(message) if binary else json.dumps(message).encode()
    size, first = len(data), 0x82 if binary else 0x81
    head = (struct.pack("!BB", first, 0x80 | size) if size < 126 else struct.pack("!BBH", first, 0xFE, size)
            if size < 65536 else struct.pack("!BBQ", first, 0xFF, size))
    return head + b"\0\0\0\0" + data


class WebSocket:
    def __init__(self, port, path, until=b"welcome", binary=False):
        self.binary = binary
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        protocol = "Sec-WebSocket-Protocol: ringcast.msgpack\r\n" if binary else ""
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{protocol}\r\n".encode())
        self.rest = b""
        self.read_until(until)

    def say(self, **message):
        self.socket.sendall(masked(message, self.binary))

    def read_until(self, mark, count=1):
        """Reads on until `mark` was there `count` times."""
        seen, tail = 0, self.rest
        while seen < count:
            data = self.socket.recv(1 << 20)
            if not data:
                raise proc.Failed("the server closed the connection")
            tail += data
            seen += tail.count(mark)
            last = tail.rfind(mark)
            tail = tail[last + len(mark):] if last >= 0 else tail[-len(mark):]
        self.rest = tail


class Publishes:
    """Requests on one connection, each answered before the next."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        body = json.dumps({"topic": "bench", "data": {"text": CONTENT}})
        self.request = (f"POST /api/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                        f"Content-Length: {len(body)}\r\n\r\n{body}").encode()

    def run(self, count):
        for _ in range(count):
            self.socket.sendall(self.request)
            answer = self.socket.recv(4096)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise proc.Failed(f"a publish was answered with {answer[:200]!r}")


class Floor:
    """The bytes of a publish, more or less, to the kernel's floor and back."""

    def __init__(self, port):
        self.peer = WebSocket(port, "/echo", b"\r\n\r\n")
        self.frame = masked({"text": "x" * 160})

    def run(self, count):
        for _ in range(count):
            self.peer.socket.sendall(self.frame)
            self.peer.socket.recv(4096)


class Messages:
    """Room messages, in batches or not, until the other one in the room has all."""

    def __init__(self, port, room, batched, binary=False):
        self.hears, self.says = (WebSocket(port, f"/ws/{room}{name}", binary=binary) for name in ("hears", "says"))
        for each in self.hears, self.says:
            each.say(type="join_room", room=room)
            each.read_until(b"room_joined")
        message = {"type": "room_message", "room": room, "content": CONTENT}
        self.frames = (masked({"type": "batch", "messages": [message] * BATCH}, binary) if batched
                       else masked(message, binary) * BATCH)

    def run(self, count):
        for _ in range(count // BATCH):
            self.says.socket.sendall(self.frames)
            self.hears.read_until(b"room_message", BATCH)


def measure(server, work, count):
    """Nanoseconds of the server a request or message."""
    before = proc.cpu_ns(server.pid) + proc.softirq_ns()
    work.run(count)
    return (proc.cpu_ns(server.pid) + proc.softirq_ns() - before) / count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(proc.TOP, "build"))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--count", type=int, default=20000, help="requests or messages of each in a round")
    parser.add_argument("--quick", action="store_true", help="a size that says nothing about speed")
    options = parser.parse_args()
    rounds, count = (1, 200) if options.quick else (options.rounds, options.count)
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {1})
    port, floor_port = proc.free_port(), proc.free_port()
    command = [os.path.join(options.build, "ringcast"), "app", "--listen", f"127.0.0.1:{port}", "--workers", "1",
               "--messages-per-second", "0", "--log-level", "error"]
    try:
        with proc.Process(command, port) as server, \
                proc.Process([os.path.join(options.build, "benches", "floor"), str(floor_port)], floor_port) as floor:
            works = {"publish": (server, Publishes(port)), "floor": (floor, Floor(floor_port)),
                     "batch": (server, Messages(port, "batch", True)),
                     "msgpack": (server, Messages(port, "msgpack", True, True)),
                     "alone": (server, Messages(port, "alone", False))}
            figures = {name: [] for name in works}
            for _, work in works.values():
                work.run(min(count, 2000))
            for _ in range(rounds):
                for name, (process, work) in works.items():
                    figures[name].append(measure(process, work, count))
    except (proc.Failed, OSError) as error:
        sys.exit(f"app.py: {error}")
    print(proc.machine())
    for name, values in figures.items():
        asked = f", {ASKED_NS[name]} asked for" if name in ASKED_NS else ""
        print(f"{name:8} {proc.median(values):8.0f} ns of the server [{min(values):.0f} .. {max(values):.0f}]{asked}")


main()
