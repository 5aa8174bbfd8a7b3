# SPDX-License-Identifier: MIT
"""Everything hostile at once, for a while, around readers who must not notice: churn, reconnect storms, slow-loris
handshakes, floods of pings and of tiny fragments, garbage, and a quarter of the subscribers never reading; at the end
SIGTERM in the middle of it. Each reader sees every message in order from the one it began with; memory stays within a
bound; descriptors and sockets come back to where they were; the process ends with 0.

RC_SOAK=seconds, 10 by default; RC_SEED=number repeats what the abusers choose.
"""
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "live"))
from harness import CLOSE, PING, PROGRAM, SANITIZED, TEXT, Raw, Server, die_with_parent, equal, frame, run, until  # noqa: E402

SECONDS = float(os.environ.get("RC_SOAK") or 10)
SEED = int(os.environ.get("RC_SEED") or time.time())
READERS, STALLED = 24, 8
MEMORY_MAX = 96 << 20  # above the start: the log (16m), receive buffers, and what the abusers may make it hold


class Abuse(threading.Thread):
    """One abuser after another until the time is over; whatever the server does to them is right, but for silence."""

    def __init__(self, server, kind, end):
        super().__init__(daemon=True)
        self.server, self.kind, self.end = server, kind, end
        self.random = random.Random(f"{SEED} {kind.__name__} {id(self)}")
        self.rounds, self.wrong = 0, None

    def run(self):
        while time.monotonic() < self.end and not self.wrong:
            try:
                self.kind(self)
                self.rounds += 1
            except (ConnectionError, EOFError, BlockingIOError):
                self.rounds += 1
            except Exception as error:  # pylint: disable=broad-except
                if time.monotonic() < self.end:
                    self.wrong = f"{self.kind.__name__}: {type(error).__name__}: {error}"

    def open(self, path):
        return self.server.connect(path)


def vanish(raw, random_):
    """Leaves, in one of the ways there are."""
    way = random_.randrange(4)
    if way == 0:
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
    elif way == 1:
        raw.socket.shutdown(socket.SHUT_WR)
    elif way == 2:
        raw.send(frame(CLOSE, struct.pack("!H", 1001)))
    raw.socket.close()


def churn(self):
    raw = self.open(self.random.choice(("/topic/a", "/topic/a,b,c?last=1", "/echo", "/relay/r")))
    if self.random.random() < 0.5:
        raw.socket.setblocking(False)
        try:
            raw.socket.recv(4096)
        except BlockingIOError:
            pass
    vanish(raw, self.random)


def storm(self):
    """Fifty at once, all gone at once, some before their answer."""
    raws = [Raw(self.server) for _ in range(50)]
    for raw in raws:
        raw.send(raw.request("/topic/a"))
    for raw in raws[::2]:
        raw.check_open()
    for raw in raws:
        raw.socket.close()


def loris(self):
    raws = [Raw(self.server) for _ in range(10)]
    data = raws[0].request("/echo")
    for byte in data[:self.random.randrange(1, 60)]:
        for raw in raws:
            raw.send(bytes([byte]))
        time.sleep(0.005)
    for raw in raws:
        raw.socket.close()


def ping_flood(self):
    """Pings without reading an answer: they must cost no memory, and be answered in the end."""
    with self.open("/echo") as raw:
        for number in range(40):
            raw.send(b"".join(frame(PING, f"{number} {i}", key=b"abcd") for i in range(100)))
        raw.text("the end")
        while raw.receive() != (TEXT, b"the end"):
            pass


def fragment_flood(self):
    with self.open("/echo") as raw:
        for _ in range(20):
            raw.send(frame(TEXT, "a", fin=False) + frame(0, "b", fin=False, key=b"abcd") * 1000 + frame(0, "c"))
            equal(raw.receive(), (TEXT, b"a" + b"b" * 1000 + b"c"))


def garbage(self):
    with Raw(self.server) as raw:
        if self.random.random() < 0.7:
            raw.open("/echo")
        raw.send(self.random.randbytes(self.random.randrange(1, 5000)))
        raw.socket.shutdown(socket.SHUT_WR)
        while raw.more():
            raw.buffer.clear()


def half_a_message(self):
    """Large messages that never end, as many as fit a moment."""
    raws = [self.open("/echo") for _ in range(8)]
    for raw in raws:
        raw.send(frame(TEXT, b"x" * 200000, size=900000))
    time.sleep(0.05)
    for raw in raws:
        vanish(raw, self.random)


class Readers(threading.Thread):
    """Subscribers who read: every payload is a number, and none may be missing or come twice."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.raws = [server.connect("/topic/a") for _ in range(READERS)]
        self.next = [None] * READERS
        self.closed = [None] * READERS
        self.wrong = None

    def take(self, index):
        raw = self.raws[index]
        if not raw.more():
            self.closed[index] = self.closed[index] or 1006
            return
        while self.closed[index] is None and len(raw.buffer) >= 2:
            first, size = raw.buffer[0], raw.buffer[1]
            if len(raw.buffer) < 2 + size:
                return
            payload = bytes(raw.buffer[2:2 + size])
            del raw.buffer[:2 + size]
            if first & 15 == CLOSE:
                self.closed[index] = struct.unpack("!H", payload[:2])[0]
                raw.send(frame(CLOSE, payload[:2]))
            elif first & 15 == TEXT:
                number = int(payload.split()[0])
                if self.next[index] not in (None, number):
                    raise AssertionError(f"reader {index}: {number} came for {self.next[index]}")
                self.next[index] = number + 1

    def run(self):
        try:
            while None in self.closed:
                waiting = [raw.socket for i, raw in enumerate(self.raws) if self.closed[i] is None]
                ready = select.select(waiting, [], [], 1)[0]
                for index, raw in enumerate(self.raws):
                    if raw.socket in ready:
                        self.take(index)
        except Exception as error:  # pylint: disable=broad-except
            self.wrong = f"{type(error).__name__}: {error}"


def held(server):
    """What the server's side holds in the kernel: its sockets there, wherever their descriptors are, and its others."""
    names = (os.path.join(f"/proc/{server.pid}/fd", name) for name in os.listdir(f"/proc/{server.pid}/fd"))
    others = sum(not os.readlink(name).startswith("socket:") for name in names)
    with open("/proc/net/tcp", encoding="ascii") as lines:
        rows = [line.split() for line in lines]
    ours = [row[3] for row in rows[1:] if int(row[1].split(":")[1], 16) == server.port]
    return others + sum(state not in ("06", "0A") for state in ours)


def publish(process, number):
    """A burst of numbers; returns the next."""
    lines = "".join(f"{n} {'x' * (n % 90)}\n" for n in range(number, number + 50))
    process.stdin.write(lines.encode())
    process.stdin.flush()
    time.sleep(0.01)
    return number + 50


def test_abuse():
    print(f"    {SECONDS:.0f} s, RC_SEED={SEED}", flush=True)
    flags = ("--echo", "--relay", "--log-size", "16m", "--policy", "skip", "--handshake-timeout", "2s",
             "--close-timeout", "1s", "--drain", "2s", "--send-max", "512k")
    with Server(*flags) as server:
        server.connect().close()
        before = until(lambda: server.stats()["connections"] <= 1 and held(server), "quiet")
        memory_before, memory_most = server.memory(), 0
        readers = Readers(server)
        stalled = [Raw(server, receive_buffer=4096).open("/topic/a") for _ in range(STALLED)]
        publisher = subprocess.Popen([PROGRAM, "pub", server.url + "/publish/a"], stdin=subprocess.PIPE,
                                     stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
        readers.start()
        end = time.monotonic() + SECONDS
        abusers = [Abuse(server, kind, end)
                   for kind in (churn, churn, storm, loris, ping_flood, fragment_flood, garbage, half_a_message)]
        for abuser in abusers:
            abuser.start()
        published = 0
        while time.monotonic() < end - 1:
            published = publish(publisher, published)
            memory_most = max(memory_most, server.memory())
        publisher.stdin.close()
        equal(publisher.wait(30), 0, "the publisher's exit status")
        # Whoever read has all of it, while the abuse goes on.
        until(lambda: readers.wrong or all(n == published for n in readers.next), "the last message at every reader")
        equal(readers.wrong, None)
        for abuser in abusers:
            abuser.join(30)
            equal(abuser.wrong, None)
            assert abuser.rounds, f"{abuser.kind.__name__} did nothing"
        for raw in stalled:
            raw.socket.close()
        until(lambda: server.stats()["connections"] <= READERS + 1, "all abusers gone", 20)
        until(lambda: held(server) <= before + READERS, "the descriptors and sockets of all abusers gone", 20)
        grown = memory_most - memory_before
        print(f"    {published} messages to {READERS} readers; memory grew by {grown >> 20} MiB at most; " +
              ", ".join(f"{a.kind.__name__} {a.rounds}" for a in abusers), flush=True)
        assert SANITIZED or grown < MEMORY_MAX, f"memory grew by {grown} bytes"
        # The end comes in the middle of new abuse, and every reader is told.
        again = [Abuse(server, kind, time.monotonic() + 1) for kind in (churn, storm, garbage, half_a_message)]
        for abuser in again:
            abuser.start()
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        readers.join(20)
        equal(readers.wrong, None)
        equal(readers.closed, [1001] * READERS, "how the readers ended")
        for abuser in again:
            abuser.join(20)


run(globals(), limit=int(SECONDS) + 90)
