# SPDX-License-Identifier: MIT
"""`ringcast app` while its memory runs out: clients do everything there is to do, again and again, and each time another
allocation fails, in the library or in what its callbacks call. A client may be refused or closed for it; the server goes
on, forgets nobody, and leaks nothing (which the address sanitizer says at its end).

RC_SEED=number repeats which allocations fail."""
import contextlib
import json
import mmap
import os
import random
import struct
import subprocess
import tempfile
import time

import harness
from app import App, Client
from harness import BUILD, CLOSE, SANITIZED, SLOW, Raw, Skip, equal, frame, run, until

SEED = int(os.environ.get("RC_SEED") or time.time())
ROUNDS = 300 if SANITIZED else 600
STARVED = os.path.join(BUILD, "tests", "ringcast_starved")
GONE = (OSError, EOFError, AssertionError, ValueError, struct.error)


class Order:
    """Which allocations of the server fail: those from one number to another, as it counts them."""

    def __init__(self):
        self.file = tempfile.NamedTemporaryFile()
        self.file.truncate(4096)
        self.map = mmap.mmap(self.file.fileno(), 4096)

    def seen(self):
        return struct.unpack_from("Q", self.map, 0)[0]

    def failed(self):
        return struct.unpack_from("Q", self.map, 24)[0]

    def fail(self, after, count):
        begin = self.seen() + after
        struct.pack_into("QQ", self.map, 8, begin, begin + count)

    def stop(self):
        struct.pack_into("QQ", self.map, 8, 0, 0)


def talk(client, name, other):
    """Every message of the dialect, without waiting for an answer, and a Close at the end."""
    say = [("join_room", {"room": "r"}), ("room_message", {"room": "r", "content": "x" * 600, "id": name}),
           ("members", {"room": "r"}), ("direct", {"to": other, "content": {"a": [1, 2.5, None]}}),
           ("direct", {"to": "away", "content": name}), ("broadcast", {"content": "all"}),
           ("subscribe", {"topics": ["t", "u", "p*", name], "since": 0, "epoch": {"t": 1}, "id": 5}),
           ("DATA", {"id": name, "data": {"type": "room_message", "room": "r", "content": 1}}),
           ("DATA", {"id": name + "2", "data": [1]}), ("HEARTBEAT", {"id": 1}), ("ACK", {"data": {"messageId": "1-1"}}),
           ("history", {"topic": "t"}), ("history", {"room": "r", "since": 0}), ("unsubscribe", {"topics": ["u", "p*"]}),
           ("batch", {"messages": [{"type": "ping"}, {"type": "join_room", "room": "s"}]}), ("auth", {"token": "a.b.c"}),
           ("batching", {"count": 5, "delay": 1}), ("room_message", {"room": "s", "content": "batched"}),
           ("subscribe", {"topics": ["b"], "last": True}), ("batching", {"count": 0, "delay": 0}),
           ("leave_room", {"room": "r"}), ("ping", {"timestamp": 1})]
    client.send(b"".join(frame(1, json.dumps({"type": type_, **members})) for type_, members in say) +
                frame(CLOSE, struct.pack("!H", 1000)))


def one_round(server, number):
    """All at once; what comes of it is nobody's concern but the server's."""
    raws = []

    def begin(bytes_):
        raw = Raw(server, limit=2)
        raws.append(raw)
        raw.send(bytes_)
        return raw

    try:
        for path in ("/poll/t,p*?since=0,0", "/poll/quiet%d?since=0&wait=1" % number, "/sse/t,p*?since=0", "/ws/refused/name"):
            begin(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        for path, body in (("publish", {"topic": "t", "data": "x" * 3000}), ("publish", {"topic": f"p{number}", "data": 1}),
                           ("send", {"to": "a", "content": 1, "reliable": True}), ("broadcast", {"content": 1}),
                           ("disconnect", {"userId": "c"})):
            data = json.dumps(body).encode()
            begin(f"POST /api/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
        for name, other, query in (("a", "b", "?reliable=1"), ("b", "a", ""), ("away", "a", "")):
            client = begin(b"")
            client.send(client.request("/ws/" + name + query))
            talk(client, name + str(number), other)
    except GONE:
        pass
    for raw in raws[4:]:
        try:
            while raw.more():
                raw.buffer.clear()
        except GONE:
            pass
    for raw in raws:
        raw.socket.close()


def check(server):
    """Who comes now is served as ever."""
    with Client(server).join_in("/ws/honest") as honest:
        honest.in_room("check").say("room_message", room="check", content=1)
        honest.say("history", room="check")
        equal(honest.expect("history")["messages"][0]["content"], 1)
        equal(server.get("/poll/t?wait=0")[0], 200)
        honest.settle().close()


@contextlib.contextmanager
def starved(*flags, **more):
    """A server and the order that says which of its allocations fail."""
    if not os.path.exists(STARVED):
        raise Skip("needs " + STARVED)
    harness.PROGRAM, order = STARVED, Order()
    os.environ["RC_STARVE"] = order.file.name
    try:
        with App(*flags, **more) as server:
            yield server, order
    finally:
        del os.environ["RC_STARVE"]


def test_a_line_that_fills_its_buffer():
    """What was read for a batch lies in a buffer, a line a message. For a line that fills it to the last byte, the line's end
    alone needs memory. Where there is none, the client is closed and comes back; its updates are not lost in silence."""
    full = 65536
    with starved("--log-level", "error", workers=1) as (server, order):
        plain = server.client("/ws/plain")
        plain.say("subscribe", topics=["t"]).expect("subscribed")
        server.post("publish", topic="t", data="x")
        rest = len(plain.receive_text()) - 1  # what stands around the data
        batched = server.client("/ws/batched")
        batched.say("batching", count=50, delay=2000).expect("batching")
        batched.say("subscribe", topics=["t"]).expect("batch")
        server.post("publish", topic="t", data="x" * (full - 1 - rest))
        equal(len(plain.receive_text()), full - 1)
        batched.expect("batch")
        server.post("publish", topic="t", data="x" * (full - rest))
        equal(len(plain.receive_text()), full)
        time.sleep(0.3)
        order.fail(1, 1)  # the first is for the word to the worker that something is due
        until(order.failed, "the one allocation")
        batched.expect_close(1011)
        check(server)


def test_no_variable_is_passed_over():
    """Where memory is short while the environment is read, the server does not start without what was set there. The value is
    one that no server starts with, so that only one that did not see it would."""
    if not os.path.exists(STARVED):
        raise Skip("needs " + STARVED)
    order, said = Order(), set()
    env = dict(os.environ, RC_STARVE=order.file.name, RINGCAST_PERMISSIONS="nonsense", RINGCAST_TOPICS="a b")
    for number in range(12):
        struct.pack_into("QQQQ", order.map, 0, 0, number, number + 1, 0)
        done = subprocess.run([STARVED, "app", "--listen", "127.0.0.1:0"], capture_output=True, text=True, timeout=10 * SLOW, env=env)
        equal(done.returncode, 1, f"allocation {number}: {done.stderr}")
        said.add(done.stderr)
    assert "ringcast: RINGCAST_PERMISSIONS: no memory\n" in said and "ringcast: RINGCAST_TOPICS: no memory\n" in said, said
    assert any("'nonsense'" in words for words in said), said


def test_no_allocation_is_needed_to_survive():
    chances = random.Random(SEED)
    print(f"    RC_SEED={SEED}", flush=True)
    with starved("--permissions", "read,write,broadcast", "--resend-time", "5ms", "--store-age", "2s", "--store-count", "5",
                 "--log-level", "error", "--log-rate", "1") as (server, order):
        one_round(server, 0)
        begin = order.seen()
        one_round(server, 1)
        count = order.seen() - begin
        assert count > 300, f"only {count} allocations in a round"
        # Each stretch of the round in turn, so that little is left out; and often more than one fails.
        for number in range(ROUNDS):
            after = int((number + chances.random()) * count / ROUNDS)
            order.fail(after, chances.choice((1, 1, 1, 2, 5, 40)))
            one_round(server, number)
            equal(server.process.poll(), None, f"after {after}: " + "".join(server.errors)[-2000:])
            if number % 10 == 9:
                order.stop()
                check(server)
        order.stop()
        check(server)
        assert order.failed() > ROUNDS, order.failed()
        until(lambda: server.figures()["connectedClients"] == 0, "everybody's end")
        figures = server.figures()
        equal((figures["users"], figures["activeRooms"], server.stats()["subscriptions"]), (0, 0, 0))
        print(f"    {order.failed()} allocations failed, of {count} in a round", flush=True)


run(globals(), limit=100)
