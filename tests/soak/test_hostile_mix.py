# SPDX-License-Identifier: MIT
"""All attacks at once from 20 connections around 200 honest users in 20 rooms, with the limits as they are by default: the
honest lose nothing and are not closed. How long their messages take is measured before the attack and during it, and
printed, with the processor time that the server took: the 99th percentile is to stay within five times the quiet one.

RC_SOAK=seconds, 3 by default; RC_SEED=number repeats what the attackers choose."""
import json
import os
import random
import selectors
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "live"))
from app import App, Client  # noqa: E402
from harness import CLOSE, TEXT, Raw, die_with_parent, equal, frame, run  # noqa: E402

SECONDS = float(os.environ.get("RC_SOAK") or 3)
SEED = int(os.environ.get("RC_SEED") or time.time())
USERS, ROOMS, ATTACKERS = 200, 20, 20
PACE = 0.5  # between two messages of one user
QUIET = max(2.0, SECONDS / 4)


class Honest(threading.Thread):
    """All honest users in one thread: each says a numbered message to its room at its pace, and hears each of the others'
    once, in order."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.clients = [server.client(f"/ws/honest{n}") for n in range(USERS)]
        for number, client in enumerate(self.clients):
            client.say("join_room", room=f"room {number % ROOMS}")
        for client in self.clients:
            client.settle_after("room_joined", "user_joined")
        self.said, self.wrong, self.times, self.stopping = [0] * USERS, None, [], False
        self.heard = [{f"honest{other}": 0 for other in range(n % ROOMS, USERS, ROOMS) if other != n} for n in range(USERS)]
        self.selector = selectors.DefaultSelector()
        for number, client in enumerate(self.clients):
            self.selector.register(client.socket, selectors.EVENT_READ, number)

    def hear(self, number):
        client = self.clients[number]
        if not client.more():
            raise EOFError(f"honest{number} was closed")
        now, buffer, at = time.monotonic(), client.buffer, 0
        while len(buffer) >= at + 2:
            size, head = buffer[at + 1] & 0x7F, 2
            if size >= 126:
                head = 4 if size == 126 else 10
                if len(buffer) < at + head:
                    break
                size = int.from_bytes(buffer[at + 2:at + head], "big")
            if len(buffer) < at + head + size:
                break
            self.take(number, buffer[at] & 15, bytes(buffer[at + head:at + head + size]), now)
            at += head + size
        del buffer[:at]

    def take(self, number, opcode, payload, now):
        """What strangers make others hear is many; only what the honest say is looked into."""
        if opcode == CLOSE:
            raise EOFError(f"honest{number} was closed: {payload!r}")
        if opcode != TEXT or not payload.startswith(b'{"type":"room_message"') or b'"from":"honest' not in payload[:80]:
            return
        message = json.loads(payload)
        count, said = message["content"]
        equal(count, self.heard[number][message["from"]], f"what honest{number} hears of {message['from']}")
        self.heard[number][message["from"]] += 1
        self.times.append(now - said)

    def turn(self, due):
        while due and due[0][0] <= time.monotonic() and not self.stopping:
            at, number = due.pop(0)
            self.clients[number].say("room_message", room=f"room {number % ROOMS}", content=[self.said[number], time.monotonic()])
            self.said[number] += 1
            due.append((at + PACE, number))
        for key, _ in self.selector.select(0.01):
            self.hear(key.data)

    def run(self):
        begin = time.monotonic()
        due = [(begin + number * PACE / USERS, number) for number in range(USERS)]
        try:
            while not self.stopping:
                self.turn(due)
            end = time.monotonic() + 20
            while time.monotonic() < end and self.missing():
                self.turn(due)
        except Exception as error:  # pylint: disable=broad-except
            self.wrong = error

    def missing(self):
        return sum(self.said[int(sender[6:])] - count for heard in self.heard for sender, count in heard.items())


# ---- attacks: each does its worst once, on a connection of its own; whatever the server does to it is right ----

def drain(raw, seconds=0.05):
    raw.socket.settimeout(seconds)
    try:
        while raw.more():
            raw.buffer.clear()
    except TimeoutError:
        pass


def enter(server, chances, query=""):
    return Client(server).join_in(f"/ws/m{chances.randrange(1000)}{query}")


def flood(server, chances):
    with enter(server, chances) as raw:
        raw.send(frame(TEXT, '{"type":"ping"}') * 3000)
        drain(raw)


def large(server, chances):
    with enter(server, chances) as raw:
        for text in ("[" * 60000, "[" + "0," * 30000 + "0]", '{"type":"ping","timestamp":"%s"}' % ("x" * 60000)):
            raw.send(frame(TEXT, text) * 5)
        drain(raw)


def store(server, chances):
    with enter(server, chances) as raw:
        for number in range(150):
            raw.say("direct", to=f"honest{chances.randrange(USERS)}" if number % 2 else f"nobody{chances.random()}", content="x" * 900)
        drain(raw)


def mute(server, chances):
    """Asks for reliability, acknowledges nothing, and sends itself what it does not acknowledge."""
    with enter(server, chances, "?reliable=1") as raw:
        for _ in range(150):
            raw.say("direct", to=f"m{chances.randrange(1000)}", content="x" * 500)
        drain(raw)


def polls(server, chances):
    for path in (",".join("*" * 250), ",".join(chr(97 + n) + "*" for n in range(16)), ",".join(f"t{n}" for n in range(250))):
        with Raw(server) as raw:
            raw.send(f"GET /poll/{path}?since={','.join('0' * (path.count(',') + 1))}&wait=1 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            drain(raw)


def streams(server, chances):
    with Raw(server, receive_buffer=4096) as raw:
        raw.send(b"GET /sse/*,news*?since=0,0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(0.2 * chances.random())  # reads nothing


def topics(server, chances):
    with enter(server, chances) as raw:
        for number in range(45):
            raw.say("join_room", room=f"{chances.random()}").say("subscribe", topics=[f"{chances.random()}" for _ in range(5)])
        raw.say("subscribe", topics=[f"{chances.random()}*" for _ in range(16)])
        drain(raw)


def histories(server, chances):
    with enter(server, chances) as raw:
        raw.say("join_room", room=f"room {chances.randrange(ROOMS)}")
        for _ in range(100):
            raw.say("history", topic="news").say("members", room="room 1")
        time.sleep(0.1)


def talk(server, chances):
    """Within its rate, in the rooms of the others."""
    with enter(server, chances) as raw:
        room = f"room {chances.randrange(ROOMS)}"
        raw.say("join_room", room=room)
        for _ in range(20):
            raw.say("room_message", room=room, content="x" * 900)
            time.sleep(0.01)
        drain(raw)


def bodies(server, chances):
    with Raw(server) as raw:
        raw.send(b"POST /api/publish HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 1.2.3.4\r\nContent-Length: 200000\r\n\r\n" + b"x" * 100000)
        drain(raw)


def churn(server, chances):
    for _ in range(10):
        raw = enter(server, chances)
        raw.say("join_room", room=f"room {chances.randrange(ROOMS)}")
        raw.send(frame(CLOSE, struct.pack("!H", 1000)) if chances.random() < 0.5 else b"\x81")
        raw.socket.close()


ATTACKS = (flood, large, store, mute, polls, streams, topics, histories, talk, bodies, churn)


class Attacker(threading.Thread):
    def __init__(self, server, number, end):
        super().__init__(daemon=True)
        self.server, self.number, self.end, self.rounds = server, number, end, 0

    def run(self):
        chances = random.Random(f"{SEED} {self.number}")
        while time.monotonic() < self.end:
            try:
                chances.choice(ATTACKS)(self.server, chances)
            except (OSError, EOFError, AssertionError, ValueError):
                pass  # refused, or closed
            self.rounds += 1


def attack(port, seconds):
    """The attackers, in a process of their own that yields to the others: it is the server's time that they are to take."""
    os.nice(19)
    end = time.monotonic() + seconds
    attackers = [Attacker(("127.0.0.1", port), number, end) for number in range(ATTACKERS)]
    for attacker in attackers:
        attacker.start()
    for attacker in attackers:
        attacker.join(seconds + 30)
    print(sum(attacker.rounds for attacker in attackers))


def processor_time(server):
    with open(f"/proc/{server.pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def percentile(times, part):
    return sorted(times)[int(len(times) * part)] * 1000


def test_honest_users_notice_nothing():
    print(f"    RC_SEED={SEED}", flush=True)
    with App("--api-key", "a key of the application", "--log-level", "error", "--connections-per-address", "0", limits=True) as server:
        key = "X-API-Key: a key of the application\r\n"
        for _ in range(50):
            server.api("publish", {"topic": "news", "data": "x" * 50000}, headers=key)
        honest = Honest(server)
        honest.start()
        marks = [processor_time(server)]
        time.sleep(QUIET)
        marks.append(processor_time(server))
        quiet, honest.times = honest.times, []
        command = [sys.executable, "-B", os.path.abspath(__file__), f"--attack={server.port}:{SECONDS}"]
        rounds = int(subprocess.run(command, env=dict(os.environ, RC_SEED=str(SEED)), stdout=subprocess.PIPE, check=True,
                                    timeout=SECONDS + 40, preexec_fn=die_with_parent).stdout)
        attacked = honest.times
        marks.append(processor_time(server))
        honest.stopping = True
        honest.join(30)
        equal((honest.wrong, honest.missing()), (None, 0), "of the honest")
        assert rounds >= ATTACKERS
        for name, times, took, seconds in (("quiet", quiet, marks[1] - marks[0], QUIET),
                                           ("attacked", attacked, marks[2] - marks[1], SECONDS)):
            print(f"    {name}: {len(times)} deliveries, p50 {percentile(times, 0.5):.1f} ms, p99 {percentile(times, 0.99):.1f} ms; "
                  f"the server took {took / seconds * 100:.0f} % of a processor", flush=True)
        print(f"    {rounds} attacks; p99 {percentile(attacked, 0.99) / percentile(quiet, 0.99):.1f} times the quiet one", flush=True)
        for client in honest.clients:
            client.close()


if sys.argv[1].startswith("--attack="):
    attack(*(kind(text) for kind, text in zip((int, float), sys.argv[1][9:].split(":"))))
    sys.exit()
run(globals(), limit=60 + int(SECONDS * 2))
