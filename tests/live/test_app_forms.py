# SPDX-License-Identifier: MIT
"""Messages in binary frames: JSON as it is, MessagePack and zlib by subprotocol, both ways, for one and for a room; and
what strangers put into such frames."""
import json
import os
import random
import socket
import struct
import subprocess
import threading
import zlib

from app import App, Client
from harness import BINARY, CLOSE, SLOW, TEXT, Raw, Skip, equal, frame, run, until

try:
    import msgpack
except ImportError:
    msgpack = None


def need_msgpack():
    if not msgpack:
        raise Skip("python3-msgpack is not installed")


class Packed(Client):
    """A client of the subprotocol ringcast.msgpack; whatever it hears is binary."""

    protocol = "ringcast.msgpack"

    def encode(self, message):
        return msgpack.packb(message)

    def decode(self, payload):
        return msgpack.unpackb(payload, strict_map_key=True)

    def enter(self, path="/ws"):
        self.open(path, Sec_WebSocket_Protocol=self.protocol)
        equal(self.headers["sec-websocket-protocol"], self.protocol)
        self.welcome = self.expect("welcome")
        return self

    def say(self, type_, **members):
        self.binary(self.encode({"type": type_, **members}))
        return self

    def hear(self):
        opcode, payload = self.receive()
        equal(opcode, BINARY, f"opcode ({payload[:80]!r})")
        return self.decode(payload)


class Zipped(Packed):
    protocol = "ringcast.zlib"

    def encode(self, message):
        return zlib.compress(json.dumps(message).encode())

    def decode(self, payload):
        return json.loads(zlib.decompress(payload))


VALUES = [0, 1, -1, 127, 128, -32, -33, 255, 256, 65535, 65536, -129, -32769, 2**31, 2**32, -2**31 - 1, 2**53, 2**63 - 1, -2**63,
          0.5, -1.25, 1e300, 1e-7, 3.0, "", "a", "\u00e4\u20ac\U0001f600", "q\"b\\s/\n\t\r\b\f\x01\x7f", "x" * 31, "x" * 32, "x" * 300,
          True, False, None, [], {}, [[]], [{}], {"a": {"b": [1, {"c": None}]}}, list(range(20)), {str(i): i for i in range(20)}]


def test_json_in_binary():
    with App() as server:
        client = server.client()
        client.binary(json.dumps({"type": "ping", "timestamp": "\u00e4"}))
        client.expect("pong", timestamp="\u00e4")
        client.binary(zlib.compress(json.dumps({"type": "ping", "timestamp": 2}).encode()))
        client.expect("pong", timestamp=2)
        for wrong in (b"", b"\xff\xfe", b"{", b'{"type":"ping\xff"}', b"x", b"\x78\x9c", os.urandom(20)):
            client.binary(wrong)
            client.expect_error("INVALID_JSON")
        client.settle()


def both_ways(kind):
    with App("--content-max", "100000", workers=3) as server:
        one, other = kind(server).enter("/ws/one"), kind(server).enter("/ws/other")
        plain = server.client("/ws/plain")
        for client in (one, other, plain):
            client.in_room("r")
        for client, joined in ((one, "other"), (one, "plain"), (other, "plain")):
            client.expect("user_joined", userId=joined)
        for value in VALUES:
            if value in (None, "", [], {}):
                continue  # says nothing
            one.say("room_message", room="r", content=value)
            equal(other.expect("room_message", **{"from": "one"})["content"], value)
            equal(plain.expect("room_message")["content"], value)
            plain.say("room_message", room="r", content=value)
            equal(one.expect("room_message", **{"from": "plain"})["content"], value)
            equal(other.expect("room_message")["content"], value)
            one.say("direct", to="other", content=value)
            equal(other.expect("direct")["content"], value)
        one.say("subscribe", topics=["t"]).expect("subscribed")
        server.post("publish", topic="t", data={"deep": VALUES})
        equal(one.expect("update", topic="t")["data"], {"deep": VALUES})
        one.say("history", room="r", limit=5)
        equal(len(one.expect("history")["messages"]), 5)
        # Text frames are JSON in each form.
        one.text(json.dumps({"type": "ping", "timestamp": 1}))
        one.expect("pong", timestamp=1)
        # Batches are one frame in the form.
        late = kind(server).enter("/ws/late").say("batching", count=10, delay=100)
        late.expect("batching")
        late.say("join_room", room="r2")
        equal(late.expect("batch")["messages"][0]["type"], "room_joined")
        other.say("join_room", room="r2").expect("room_joined")
        equal(late.expect("batch")["messages"][0]["type"], "user_joined")
        other.say("batch", messages=[{"type": "room_message", "room": "r2", "content": number} for number in range(10)])
        equal([message["content"] for message in late.expect("batch")["messages"]], list(range(10)))
        server.post("send", to="other", content="personal")
        other.expect("direct", content="personal")
        server.post("broadcast", content="all")
        other.expect("broadcast", content="all")


def test_msgpack():
    need_msgpack()
    both_ways(Packed)


def test_zlib():
    both_ways(Zipped)


def test_first_offered_counts():
    with App() as server:
        for offered, chosen in (("ringcast.json, ringcast.zlib", "ringcast.json"), ("x, ringcast.zlib, ringcast.json", "ringcast.zlib"),
                                ("x", None)):
            client = Client(server).open("/ws", Sec_WebSocket_Protocol=offered)
            equal(client.headers.get("sec-websocket-protocol"), chosen)


def test_stored_and_resent():
    """What waits for a user who is away, and what is sent reliably, comes in the form of whoever comes."""
    need_msgpack()
    with App() as server:
        server.post("send", to="u", content="waited", reliable=True)
        client = Packed(server).enter("/ws/u?reliable=1")
        equal(client.expect("DATA")["data"]["content"], "waited")


def test_room_is_encoded_once():
    """A message to a room is made once a form, however many read in it."""
    need_msgpack()
    with App(workers=1) as server:
        readers = [Packed(server).enter(f"/ws/u{number}") for number in range(8)]
        for reader in readers:
            reader.in_room("r")
        for reader in readers:
            reader.settle_after("user_joined")
        before = server.stats()["encoded"]
        for number in range(50):
            readers[0].say("room_message", room="r", content=number)
        for reader in readers[1:]:
            for number in range(50):
                reader.expect("room_message", content=number)
        made = server.stats()["encoded"] - before
        equal(made, 50, "messages put into the form")


def test_large_and_slow():
    """Readers who fall behind, and messages that no encoding has room for, in random sizes and orders."""
    need_msgpack()
    seed = int(os.environ.get("SEED") or random.randrange(1 << 32))
    print(f"    seed {seed}")
    chance = random.Random(seed)
    with App("--content-max", "60000", "--log-size", "1m", workers=2) as server:
        readers = [kind(server).enter(f"/ws/u{index}") for index, kind in enumerate((Packed, Zipped, Packed, Zipped))]
        for reader in readers:
            reader.in_room("r")
        for reader in readers:
            reader.settle_after("user_joined")
        sent = [chr(chance.randrange(97, 123)) * chance.choice((1, 100, 5000, 30000)) for _ in range(60)]
        done = []

        def read(reader):
            reader.expect("user_joined", userId="w")
            for content in sent:
                equal(reader.expect("room_message")["content"], content)
            done.append(reader)
        threads = [threading.Thread(target=read, args=(reader,), daemon=True) for reader in readers]
        for thread in threads:
            thread.start()
        writer = server.client("/ws/w").in_room("r")
        for content in sent:
            writer.say("room_message", room="r", content=content)
            writer.settle()
        for thread in threads:
            thread.join(15 * SLOW)
        equal(len(done), 4)


# ---- strangers ----

def hostile(server, protocol, payloads, code="INVALID_JSON"):
    kind = Packed if protocol == "ringcast.msgpack" else Zipped
    client = kind(server).enter()
    before = server.memory()
    for payload in payloads:
        client.binary(payload)
        client.expect_error(code)
    client.settle()
    assert server.memory() - before < 8 << 20, f"{(server.memory() - before) >> 20} MB for strange frames"


def test_hostile_msgpack():
    need_msgpack()
    deep = b"\x91" * 5000 + b"\xc0"
    with App() as server:
        hostile(server, "ringcast.msgpack", [
            b"", b"\xc1", b"\x81", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdf\x80\x00\x00\x00" + b"\xc0" * 100,
            b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x01", b"\xdd\x0f\xff\xff\xff" + b"\x90" * 60000,
            deep, b"\x81\xa1a" * 40 + b"\xc0", b"\x91" * 33 + b"\xc0", b"\xdc\x27\x11" + b"\xc0" * 10001,
            b"\x82\xa1a\x01\xa1a\x02", b"\x81\x01\x02", b"\x81\xc0\x02", b"\x81\xa1\xff\x01", b"\x81\xa1a\xa1\xff",
            b"\x81\xa2a\x00\x01", b"\x81\xa4type\xc4\x01x", b"\x81\xa1a\xd4\x01x", b"\x81\xa1a\xcb\x7f\xf8" + bytes(6),
            msgpack.packb({"type": "ping"}) + b"\xc0", msgpack.packb({"type": "ping"})[:-1], b"\xc0", b"\x90", b"\x01",
            json.dumps({"type": "ping"}).encode()])


def test_random_msgpack():
    need_msgpack()
    seed = int(os.environ.get("SEED") or random.randrange(1 << 32))
    print(f"    seed {seed}")
    chance = random.Random(seed)
    with App() as server:
        client = Packed(server).enter()
        good = msgpack.packb({"type": "room_message", "room": "r", "content": VALUES[:-8], "id": 7})
        for _ in range(400):
            changed = bytearray(good)
            for _ in range(chance.randrange(1, 6)):
                changed[chance.randrange(len(changed))] = chance.randrange(256)
            client.binary(bytes(changed[:chance.randrange(1, len(changed) + 1)]))
        client.settle_after("error")


def test_bombs():
    bomb = zlib.compress(b'{"type":"ping","timestamp":"' + b"a" * (60 << 20) + b'"}', 9)
    assert len(bomb) < 64 << 10
    with App() as server:
        hostile(server, "ringcast.zlib", [bomb] * 20, "TOO_LONG")
        largest = {"type": "ping", "timestamp": "a" * ((64 << 10) - len('{"type": "ping", "timestamp": ""}'))}
        client = Zipped(server).enter()
        client.say(**{"type_": "ping", "timestamp": largest["timestamp"]}).expect("pong")
        client.say("ping", timestamp=largest["timestamp"] + "a").expect_error("TOO_LONG")
        hostile(server, "ringcast.zlib", [b"", b"x", b"\x78\x9c", b'{"type":"ping"}', zlib.compress(b""), zlib.compress(b"[" * 60000),
                                          zlib.compress(b"{}")[:-1], zlib.compress(b'{"type":"ping"}') + b"x",
                                          zlib.compress(b"[" + b"1," * 20000 + b"1]")])


def test_bombs_cost_what_they_become():
    """A frame of 100 bytes that becomes 60 KB costs as one of 60 KB; others are served as ever."""
    bomb = zlib.compress(b'{"type":"ping","timestamp":"' + b"a" * 60000 + b'"}', 9)
    with App(limits=True) as server:
        attacker, honest = Zipped(server).enter(), server.client()
        for _ in range(6):
            attacker.binary(bomb)
        kinds = [attacker.hear()["type"] for _ in range(6)]
        assert 2 <= kinds.count("pong") <= 4 and "error" in kinds, kinds
        for _ in range(60):
            attacker.binary(bomb)
        honest.settle()
        kinds = [attacker.hear()["type"] for _ in range(60)]
        assert kinds.count("pong") <= 3, kinds


NODE = """
const zlib = require('zlib'), WebSocket = globalThis.WebSocket || require('ws');
const socket = new WebSocket(process.argv[1], 'ringcast.zlib');
const say = (message) => socket.send(zlib.deflateSync(JSON.stringify(message)));
socket.binaryType = 'arraybuffer';
socket.onmessage = ({ data }) => {
  const message = JSON.parse(zlib.inflateSync(Buffer.from(data)).toString());
  console.log(message.type);
  if (message.type === 'welcome') say({ type: 'join_room', room: 'r' });
  if (message.type === 'room_joined') say({ type: 'ping', timestamp: 1 });
  if (message.type === 'pong') socket.close();
};
"""


def test_node():
    with App() as server:
        try:
            done = subprocess.run(["node", "-e", NODE, f"ws://127.0.0.1:{server.port}/ws/n"], capture_output=True, text=True,
                                  timeout=15 * SLOW, check=False, env=dict(os.environ, NODE_PATH="/usr/share/nodejs"))
        except FileNotFoundError as error:
            raise Skip("there is no node") from error
        if "Cannot find module" in done.stderr:
            raise Skip("node has no WebSocket")
        equal(done.stdout.split(), ["welcome", "room_joined", "pong"], done.stderr)


if __name__ == "__main__":
    run(globals())
