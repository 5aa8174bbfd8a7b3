# SPDX-License-Identifier: MIT
"""permessage-deflate (RFC 7692) against decoders that nobody here wrote: zlib through Python, python3-websockets, and
npm's ws. What is negotiated, what may be sent and what must be refused; broadcasts to windows of every size; and
cohorts, whose one stream must make sense to each who reads it, whenever it came and whatever it missed."""
import asyncio
import base64
import os
import random
import shutil
import struct
import subprocess
import sys
import threading
import zlib

from harness import (BINARY, CLOSE, PING, PONG, PROGRAM, SANITIZED, SLOW, TEXT, TOP, Raw, Server, Skip, command,
                     die_with_parent, equal, frame, run, until)

try:
    import websockets
    from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
except ImportError:
    websockets = None

NONE = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
TAIL = b"\x00\x00\xff\xff"
RSV1 = 4


def deflate(data, bits=15, level=6, stream=None):
    """One message, compressed as a client does."""
    data = data.encode() if isinstance(data, str) else data
    stream = stream or zlib.compressobj(level, zlib.DEFLATED, -bits)
    made = stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH)
    assert made.endswith(TAIL)
    return made[:-4]


class Client(Raw):
    """A client that offers compression, and reads with exactly the window that was agreed."""

    def open(self, path="/echo", offer="permessage-deflate; client_max_window_bits", **headers):
        self.encoded = self.plain = self.wire_size = 0
        if offer is not None:
            headers["Sec_WebSocket_Extensions"] = offer
        self.send(self.request(path, **headers))
        return self.check_open()

    def check_open(self):
        status, self.headers, body = self.response()
        equal(status, 101, f"handshake ({body.decode('latin-1')!r})")
        self.answer = self.headers.get("sec-websocket-extensions")
        words = [word.strip() for word in (self.answer or "").split(";")]
        self.agreed = words[0] == "permessage-deflate"
        self.fresh = "server_no_context_takeover" in words
        self.bits = next((int(word.split("=")[1]) for word in words if word.startswith("server_max_window_bits")), 15)
        self.inflater = zlib.decompressobj(-self.bits)
        return self

    def receive_frame(self):
        first, second = self.take(2)
        size = second & 0x7F
        if size > 125:
            size = struct.unpack("!H" if size == 126 else "!Q", self.take(2 if size == 126 else 8))[0]
        payload = self.take(size)
        compressed = bool(first & 0x40)
        assert not first & 0x30 and not second & 0x80, "reserved bits or a mask"
        assert not compressed or (self.agreed and first & 15 in (TEXT, BINARY)), "a compressed frame"
        if first & 15 in (TEXT, BINARY):
            self.wire_size += size + (2 if size < 126 else 4 if size < 65536 else 10)
            self.encoded += compressed
            self.plain += not compressed
        if compressed:
            if self.fresh:
                self.inflater = zlib.decompressobj(-self.bits)
            payload = self.inflater.decompress(payload + TAIL)
        return bool(first & 0x80), first & 15, payload

    def message(self, data, opcode=TEXT, **more):
        self.send(frame(opcode, deflate(data, **more), rsv=RSV1))


def client(server, path="/echo", offer="permessage-deflate; client_max_window_bits", receive_buffer=None, **headers):
    target = server if not isinstance(server, int) else ("127.0.0.1", server)
    return Client(target, receive_buffer=receive_buffer).open(path, offer, **headers)


def subscribed(server, count):
    until(lambda: server.stats()["subscriptions"] == count, f"{count} subscriptions")


def market(name, count):
    """Recorded messages, or made ones that look like them."""
    path = os.path.join(TOP, "..", "shared", "data", "market", name + ".tsv")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as lines:
            texts = [line.rstrip("\n").split("\t", 2)[2] for line in lines]
        return [text for text in texts if len(text) < 2000][:count]
    chance = random.Random(5)
    return [f'{{"type":"ticker","sequence":{10 ** 9 + number},"product_id":"BTC-USD","price":"{chance.randrange(10 ** 6) / 100}",'
            f'"open_24h":"30716.01","volume_24h":"{chance.random() * 10000:.8f}","side":"{chance.choice(["buy", "sell"])}"}}'
            for number in range(count)]


# ---- negotiation

def test_off_by_default():
    with Server("--echo") as server:
        raw = client(server)
        equal(raw.answer, None)
        raw.text("plain", rsv=RSV1)
        raw.expect_close(1002)


def test_offers():
    rows = [
        ("permessage-deflate", NONE),
        ("permessage-deflate; client_max_window_bits", NONE),
        ("permessage-deflate; server_max_window_bits=10; client_max_window_bits=9", NONE + "; server_max_window_bits=10"),
        ("permessage-deflate; server_max_window_bits=7, permessage-deflate; server_max_window_bits=\"8\"",
         NONE + "; server_max_window_bits=8"),
        ("permessage-deflate; unknown, permessage-bzip2, permessage-deflate", NONE),
        (None, None),
        ("permessage-deflate; unknown", None),
        ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate;", None),
        ("x-webkit-deflate-frame", None),
    ]
    with Server("--echo", "--deflate") as server:
        for offer, answer in rows:
            raw = client(server, offer=offer)
            equal(raw.answer, answer, offer)
            text = "which must work either way " * 20
            raw.text(text)
            equal(raw.receive_text(), text)
            equal(raw.encoded, 1 if answer else 0, offer)
            equal(raw.close(), 1000)


def test_listeners_differ():
    listen = ("127.0.0.1:0", "127.0.0.1:0?deflate=on&deflate-bits=12&deflate-min=1000&deflate-takeover=on",
              "127.0.0.1:0?deflate=on&deflate-bits=9")
    with Server("--echo", listen=listen) as server:
        ports = [int(url.split("?")[0].rsplit(":", 1)[1]) for url in server.urls()]
        equal(client(ports[0]).answer, None)
        equal(client(ports[1]).answer, "permessage-deflate; server_no_context_takeover; server_max_window_bits=12")
        equal(client(ports[2]).answer, NONE + "; server_max_window_bits=9")
        readers = [client(port, "/topic/T") for port in ports]
        writer = server.connect("/publish/T")
        for text in ("short" * 50, "long" * 500):
            writer.text(text)
            for reader in readers:
                equal(reader.receive_text(), text)
        equal([(reader.encoded, reader.plain) for reader in readers], [(0, 2), (1, 1), (2, 0)])
    for wrong in ("127.0.0.1:0?deflate=maybe", "127.0.0.1:0?deflate-bits=7", "127.0.0.1:0?deflate-bits=16",
                  "127.0.0.1:0?zip=on", "127.0.0.1:0?deflate-min=x"):
        done = command("serve", "--listen", wrong)
        assert done.returncode and b"is none of deflate=" in done.stderr, done.stderr


# ---- receiving

SIZES = (0, 1, 125, 126, 127, 1000, 65535, 65536, 300000, 1 << 20)


def test_echo():
    with Server("--echo", "--deflate") as server:
        raw = client(server)
        for size in SIZES:
            text = ("\u00e4\u20ac{\"a\":%d}" % size * size)[:size // 3]
            raw.message(text)
            equal(raw.receive_text(), text)
            data = os.urandom(size)
            raw.message(data, BINARY, level=0 if size % 2 else 6)
            assert raw.receive() == (BINARY, data), f"binary of {size} bytes"
            raw.text(text)  # who may compress need not
            equal(raw.receive_text(), text)
        assert raw.encoded >= 10 and raw.plain >= 10, (raw.encoded, raw.plain)
        equal(raw.close(), 1000)


def test_the_limit_counts_what_a_message_becomes():
    with Server("--echo", "--deflate", "--message-max", "100000") as server:
        raw = client(server)
        raw.message("x" * 100000)
        equal(len(raw.receive_text()), 100000)
        raw.message("x" * 100001)
        raw.expect_close(1009)


def test_fragments():
    """The bit stands on the first fragment only; the cuts may lie anywhere, control frames come between, blocks may be
    empty or final."""
    with Server("--echo", "--deflate") as server:
        raw = client(server)
        text = "fragments \u20ac and blocks; " * 40
        packed = deflate(text)
        for step in (1, 2, 7, 100, len(packed)):
            pieces = [packed[at:at + step] for at in range(0, len(packed), step)] + [b""]
            for index, piece in enumerate(pieces):
                if index == 1:
                    raw.send(frame(PING, b"between"))
                raw.send(frame(0 if index else TEXT, piece, fin=index == len(pieces) - 1, rsv=0 if index else RSV1))
            equal(raw.receive(), (PONG, b"between"))
            equal(raw.receive_text(), text)
        raw.send(frame(TEXT, b"", fin=False, rsv=RSV1) + frame(0, b"", fin=False) + frame(0, b"\x00"))
        equal(raw.receive_text(), "")
        for payload in (b"\x00\x05\x00\xfa\xffHello\x00", b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
                        b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", b"\xf2\x48\xcd\xc9\xc9\x07\x00"):
            raw.send(frame(TEXT, payload, rsv=RSV1))
            equal(raw.receive_text(), "Hello")
        raw.send(frame(TEXT, "one ", fin=False) + frame(0, "two"))
        equal(raw.receive_text(), "one two")


def test_bits_where_none_may_be():
    packed = deflate("text")
    rows = [
        ("on a continuation", frame(TEXT, packed[:2], fin=False, rsv=RSV1) + frame(0, packed[2:], rsv=RSV1)),
        ("on a continuation of a plain message", frame(TEXT, "a", fin=False) + frame(0, packed, rsv=RSV1)),
        ("on a ping", frame(PING, b"", rsv=RSV1)),
        ("on a pong", frame(PONG, packed, rsv=RSV1)),
        ("on a close", frame(CLOSE, b"", rsv=RSV1)),
        ("RSV2", frame(TEXT, packed, rsv=2)),
        ("RSV3", frame(TEXT, packed, rsv=1)),
        ("all three", frame(TEXT, packed, rsv=7)),
        ("on a reserved opcode", frame(3, packed, rsv=RSV1)),
    ]
    with Server("--echo", "--deflate") as server:
        for name, sent in rows:
            raw = client(server)
            raw.send(sent)
            raw.expect_close(1002)
        raw = client(server, offer=None)
        raw.send(frame(TEXT, packed, rsv=RSV1))
        raw.expect_close(1002)


def test_malformed():
    whole = deflate("some text to cut " * 3)
    rows = [b"", b"\x06", b"\xff" * 20, b"plain text", whole[:-1], whole[:len(whole) // 2], whole + TAIL,
            b"\xf3\x48\xcd\xc9\xc9\x07\x00", b"\x00\x05\x00\xfb\xffHello\x00",
            deflate(b"\xff\xfe"), deflate("\u20ac".encode()[:2]), deflate(b"\xed\xa0\x80")]
    with Server("--echo", "--deflate", "--deflate-takeover") as server:
        for offer in (NONE, "permessage-deflate"):
            for payload in rows:
                other = client(server)
                raw = client(server, offer=offer)
                raw.message("good")
                equal(raw.receive_text(), "good")
                raw.send(frame(TEXT, payload, rsv=RSV1))
                raw.expect_close(1007)
                other.message("and nobody else is hurt")
                equal(other.receive_text(), "and nobody else is hurt")
        for offer, code in ((NONE, 1007), ("permessage-deflate", 0)):
            raw = client(server, offer=offer)
            raw.message("Hello")
            equal(raw.receive_text(), "Hello")
            raw.send(frame(TEXT, b"\xf2\x00\x11\x00\x00", rsv=RSV1))  # section 7.2.3.2: from the message before
            equal(raw.receive_text(), "Hello") if not code else raw.expect_close(code)
        raw = client(server)
        raw.send(frame(BINARY, deflate(b"\xff\xfe"), rsv=RSV1))
        equal(raw.receive(), (BINARY, b"\xff\xfe"))


def test_bombs():
    """1 MB of frame that would be 1 GB: refused before the memory is spent."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(900)) + packer.flush(zlib.Z_SYNC_FLUSH)
    bomb = bomb[:-4]
    assert len(bomb) < 1 << 20
    with Server("--echo", "--deflate", "--deflate-takeover", workers=1) as server:
        for offer in (NONE, "permessage-deflate"):
            client(server, offer=offer).message("warm")
            before = server.memory()
            bombers = [client(server, offer=offer) for _ in range(8)]
            for raw in bombers:
                raw.send(frame(TEXT, bomb, rsv=RSV1))
            for raw in bombers:
                raw.expect_close(1009)
            half = client(server, offer=offer)
            for at in range(0, len(bomb) // 2, 100000):
                half.send(frame(0 if at else TEXT, bomb[at:at + 100000], fin=False, rsv=0 if at else RSV1))
            half.send(frame(PING, b"1"))
            equal(half.receive()[0], PONG)
            grown = server.memory() - before
            assert SANITIZED or grown < 30 << 20, f"memory grew by {grown} bytes"


def test_a_client_that_goes_on():
    """With and without leave to; the compressor's window of any size."""
    texts = market("coinbase", 60)
    with Server("--echo", "--deflate", "--deflate-takeover") as server:
        for bits in range(9, 16):
            raw = client(server, offer=f"permessage-deflate; client_max_window_bits={bits}")
            equal(raw.answer, "permessage-deflate; server_no_context_takeover")
            stream = zlib.compressobj(6, zlib.DEFLATED, -bits)
            for text in texts:
                raw.message(text, stream=stream)
                equal(raw.receive_text(), text)
                if len(text) % 3 == 0:
                    raw.text("in between")
                    equal(raw.receive_text(), "in between")
        raw = client(server, offer="permessage-deflate; client_no_context_takeover")
        assert "client_no_context_takeover" in raw.answer
        stream = zlib.compressobj(6, zlib.DEFLATED, -15)
        raw.message(texts[0], stream=stream)
        raw.receive()
        raw.message(texts[0], stream=stream)
        raw.expect_close(1007)
    with Server("--echo", "--deflate") as server:
        assert "client_no_context_takeover" in client(server).answer


# ---- broadcasts

def test_every_window():
    """One topic, subscribers with windows of all sizes and without compression: all read the same. One worker, because
    one that waits too long for what another is compressing sends it plain."""
    texts = [text * 2 for text in market("coinbase", 300)] + ["x", "", "y" * 127, "z" * 128, "\u20ac" * 30000]
    with Server("--deflate", "--workers", "1") as server:
        offers = [None] + [f"permessage-deflate; server_max_window_bits={bits}" for bits in range(8, 16)]
        readers = [client(server, "/topic/T", offer) for offer in offers for _ in range(3)]
        subscribed(server, len(readers))
        writer = server.connect("/publish/T")
        for text in texts:
            writer.text(text)
        writer.binary(os.urandom(5000))
        writer.text("the end")
        for reader in readers:
            for text in texts:
                equal(reader.receive_text(), text)
            equal(reader.receive()[0], BINARY)
            equal(reader.receive_text(), "the end")
            equal(reader.plain > 0, True)
            equal(reader.encoded > 100, reader.agreed)
        sizes = [readers[index].wire_size for index in range(0, len(readers), 3)]
        equal(sizes[1:], sorted(sizes[1:], reverse=True), "a larger window never costs more")
        for reader, twin in zip(readers[::3], readers[1::3]):
            equal(reader.wire_size, twin.wire_size, "the same bytes to all of a class")
        stats = server.stats()
        expected = sum(len(text.encode()) >= 128 for text in texts)
        assert stats["compressed"] <= 4 * expected, "more than once a class"
        assert stats["compressed"] >= 3 * expected, "hardly anything"


def test_small_messages_and_noise_stay_plain():
    with Server("--deflate", "--deflate-min", "50") as server:
        reader = client(server, "/topic/T")
        writer = server.connect("/publish/T")
        for payload in (b"a" * 49, b"a" * 50, os.urandom(400), b"b" * 400):
            writer.binary(payload)
            equal(reader.receive(), (BINARY, payload))
        equal((reader.encoded, reader.plain), (2, 2))
        equal(server.stats()["compressed"], 2)


def test_nobody_wants_it_nobody_pays():
    with Server("--deflate") as server:
        reader, writer = client(server, "/topic/T", offer=None), server.connect("/publish/T")
        other = client(server, "/topic/other")
        for _ in range(50):
            writer.text("text " * 100)
            reader.receive_text()
        equal(server.stats()["compressed"], 0)
        second = client(server, "/topic/T")
        writer.text("text " * 100)
        second.receive_text()
        equal(server.stats()["compressed"], 1)
        equal(second.close(), 1000)
        subscribed(server, 2)
        writer.text("text " * 100)
        reader.receive_text()
        reader.receive_text()
        equal(server.stats()["compressed"], 1)
        equal(other.plain + other.encoded, 0)


def base64ish(number, size=600):
    return f"{number:08d}" + base64.b64encode(random.Random(number).randbytes(size)).decode()


def test_what_the_encoding_has_forgotten():
    """The log keeps messages longer than their compressed form is kept: who begins far back gets them whole."""
    with Server("--deflate", "--log-size", "128k", workers=1) as server:
        first, writer = client(server, "/topic/T"), server.connect("/publish/T")
        for number in range(600):
            writer.text(base64ish(number))
            equal(first.receive_text(), base64ish(number))
            if number % 40 or not number:
                continue
            late = client(server, "/topic/T?since=0")
            got = int(late.receive_text()[:8])
            assert got == 0 or number - got > 50, got
            for expected in range(got + 1, number + 1):
                equal(late.receive_text(), base64ish(expected))
            late.socket.close()


# ---- cohorts

def test_cohort():
    texts = market("coinbase", 1500)
    with Server("--deflate", "--cohort", "hot*", workers=2) as server:
        readers = [client(server, "/topic/hot1") for _ in range(6)]
        alone = client(server, "/topic/hot1", "permessage-deflate; server_no_context_takeover")
        narrow = client(server, "/topic/hot1", "permessage-deflate; server_max_window_bits=10")
        two = client(server, "/topic/hot1,cold")
        plain = client(server, "/topic/hot1", None)
        assert "server_no_context_takeover" not in readers[0].answer
        for reader in (alone, two):
            assert "server_no_context_takeover" in reader.answer, reader.answer
        everybody = readers + [alone, narrow, two, plain]
        subscribed(server, len(everybody) + 1)
        writer = server.connect("/publish/hot1")
        for start in range(0, len(texts), 50):
            for text in texts[start:start + 50]:
                writer.text(text)
            for reader in everybody:
                for text in texts[start:start + 50]:
                    equal(reader.receive_text(), text)
        assert readers[0].wire_size < alone.wire_size * 0.6, (readers[0].wire_size, alone.wire_size)
        assert alone.wire_size < plain.wire_size, (alone.wire_size, plain.wire_size)
        for reader in readers[1:]:
            assert abs(reader.wire_size - readers[0].wire_size) < alone.wire_size / 20, "all read one stream"
        echo = client(server, "/topic/hot2")
        equal(echo.close(), 1000)


def test_cohort_late_joiners():
    """Who comes later gets plain frames until the compressor begins anew, and from there on the stream; many come while
    messages keep coming."""
    texts = market("coinbase", 4000)
    with Server("--deflate", "--cohort", "hot", workers=2) as server:
        writer, ended = server.connect("/publish/hot"), []
        first = client(server, "/topic/hot")

        def publish():
            for at, text in enumerate(texts):
                writer.text(f"{at} {text}")
                if at % 10 == 0:
                    threading.Event().wait(0.002)

        def read(reader):
            expected = None
            while expected is None or expected < len(texts):
                number, text = reader.receive_text().split(" ", 1)
                expected = int(number) if expected is None else expected
                equal((int(number), text), (expected, texts[expected]))
                expected += 1
            ended.append(reader)

        threads = [threading.Thread(target=publish), threading.Thread(target=read, args=(first,))]
        for thread in threads:
            thread.start()
        for _ in range(40):
            threads.append(threading.Thread(target=read, args=(client(server, "/topic/hot"),)))
            threads[-1].start()
            threading.Event().wait(0.01)
        for thread in threads:
            thread.join()
        equal(len(ended), 41, "readers that read to the end")
        for reader in ended:
            assert reader.encoded > 0 and reader.plain < 500, (reader.encoded, reader.plain)


def test_cohort_resumed():
    texts, sent = market("coinbase", 1000), []
    with Server("--deflate", "--cohort", "*", workers=1) as server:
        first, writer = client(server, "/topic/T"), server.connect("/publish/T")
        for at, text in enumerate(texts):
            writer.text(text)
            equal(first.receive_text(), text)
            sent.append(text)
            if at % 100 != 50:
                continue
            for since in (0, len(sent) - 45, len(sent)):
                late = client(server, f"/topic/T?since={since}")
                for expected in sent[since:]:
                    equal(late.receive_text(), expected)
                writer.text(text)
                equal(late.receive_text(), text)
                equal(first.receive_text(), text)
                sent.append(text)
                late.socket.close()
        late = client(server, "/topic/T?last=1")
        equal(late.receive_text(), texts[-1])


def test_cohort_in_large_rounds():
    """More subscribers than one slice of a round, so that messages come in between; everybody's stream stays whole."""
    count, total = 600 if not SANITIZED else 300, 3000
    texts = market("coinbase", 200)
    with Server("--deflate", "--cohort", "*", "--policy", "close", workers=1) as server:
        readers = [client(server, "/topic/T") for _ in range(count)]
        subscribed(server, count)
        writer = server.connect("/publish/T")

        def publish():
            for number in range(total):
                writer.text(f"{number} {texts[number % len(texts)]}")
                if number % 20 == 0:
                    threading.Event().wait(0.001)

        threading.Thread(target=publish).start()
        for number in range(total):
            for reader in readers[::7]:
                equal(reader.receive_text(), f"{number} {texts[number % len(texts)]}")
        for reader in readers[::7]:
            assert reader.plain < total / 4, f"{reader.plain} of {total} messages were not of the stream"
            reader.wire_size = 0
        for reader in readers:
            reader.socket.close()


class Slow:
    """One member of a cohort stops reading for a while among others that do not; then it reads on."""

    def __init__(self, policy, big=False):
        self.chance = random.Random(3)
        self.big = big
        self.server = Server("--deflate", "--cohort", "*", "--policy", policy, "--lag-max", "256k", "--log-size", "4m",
                             workers=1)
        self.quick, self.writer = client(self.server, "/topic/T"), self.server.connect("/publish/T")
        self.slow = client(self.server, "/topic/T", receive_buffer=4096)
        subscribed(self.server, 2)
        self.number = 0

    def text(self, number):
        """Long enough to fill a socket although compressed."""
        size = 120000 if self.big and number % 50 == 7 else 700
        return f"{number} " + base64.b64encode(random.Random(number).randbytes(size)).decode() + "common words " * 30

    def publish(self, count):
        for _ in range(count):
            self.writer.text(self.text(self.number))
            equal(self.quick.receive_text(), self.text(self.number))
            self.number += 1

    def read_to(self, last):
        got = []
        while last not in got[-1:]:
            text = self.slow.receive_text()
            got.append(int(text.split(" ", 1)[0]))
            equal(text, self.text(got[-1]))
        equal(got, sorted(set(got)), "order")
        return got


def slow_member(policy, counter, big=False):
    stage = Slow(policy, big)
    with stage.server:
        stage.publish(50)
        equal(len(stage.read_to(49)), 50)
        for turn in range(1, 4):
            missed = stage.server.stats()[counter]
            while stage.server.stats()[counter] == missed:
                stage.publish(50)
            stage.publish(100)
            done = threading.Thread(target=lambda: stage.read_to(stage.number + 99))
            done.start()
            stage.publish(100)
            done.join()
            # It is one of the cohort again, although nobody new has come.
            stage.publish(50)
            stage.read_to(stage.number - 1)
            encoded = stage.slow.encoded
            stage.publish(20)
            stage.read_to(stage.number - 1)
            equal(stage.slow.encoded - encoded, 20, f"messages of the stream after the gap of turn {turn}")


def test_cohort_after_a_skip():
    slow_member("skip", "dropped")


def test_cohort_after_conflation():
    slow_member("conflate", "conflated")


def test_cohort_with_large_messages_cut_short():
    slow_member("skip", "dropped", big=True)


def test_a_slow_member_is_closed_in_the_middle_of_a_large_frame():
    with Server("--deflate", "--cohort", "*", "--policy", "close", "--lag-max", "512k", "--log-size", "4m", "--close-timeout",
                "400ms", "--message-max", "2m", workers=1) as server:
        quick, writer = client(server, "/topic/T"), server.connect("/publish/T")
        slow = client(server, "/topic/T", receive_buffer=4096)
        subscribed(server, 2)
        for number in range(12):
            text = base64.b64encode(random.Random(number).randbytes(300000)).decode()
            writer.text(text)
            equal(quick.receive_text(), text)
        until(lambda: server.stats()["slow_closed"] == 1, "the close")
        subscribed(server, 1)
        writer.text("still there")
        equal(quick.receive_text(), "still there")
        slow.socket.close()


def test_many_topics():
    """40 hot topics, some in the cohorts and some not, two workers, subscribers of one or of several."""
    texts = market("binance", 2000)
    chance = random.Random(9)
    with Server("--deflate", "--cohort", "c*", workers=2) as server:
        names = [f"{'c' if index % 2 else 'n'}{index}" for index in range(40)]
        readers = []
        for index in range(80):
            wanted = [names[index % 40]] if index < 60 else chance.sample(names, 3)
            readers.append((client(server, "/topic/" + ",".join(wanted)), set(wanted)))
        subscribed(server, 60 + 20 * 3)
        writers = {name: server.connect("/publish/" + name) for name in names}
        sent = [(chance.choice(names), text) for text in texts]
        for start in range(0, len(sent), 100):
            for name, text in sent[start:start + 100]:
                writers[name].text(name + text)
            for reader, wanted in readers:
                expected = [name + text for name, text in sent[start:start + 100] if name in wanted]
                got = [reader.receive_text() for _ in expected]
                equal(sorted(got), sorted(expected))
                for name in wanted:
                    equal([text for text in got if text.startswith(name + "{")],
                          [text for text in expected if text.startswith(name + "{")], "order within a topic")


# ---- clients that nobody here wrote

def with_websockets(test):
    def body():
        if not websockets:
            raise Skip("python3-websockets is not installed")
        asyncio.run(test())
    body.__name__ = test.__name__
    return body


def python_client(server, path, **factory):
    return websockets.connect(f"ws://127.0.0.1:{server.port}{path}", max_size=None, compression=None,
                              extensions=[ClientPerMessageDeflateFactory(**factory)])


@with_websockets
async def test_python_websockets_echo():
    factories = [{}, {"client_max_window_bits": True}, {"server_no_context_takeover": True},
                 {"client_no_context_takeover": True}]
    factories += [{"server_max_window_bits": bits, "client_max_window_bits": bits} for bits in range(9, 16)]
    for flags in ((), ("--deflate-takeover",)):
        with Server("--echo", "--deflate", *flags) as server:
            for factory in factories:
                async with python_client(server, "/echo", **factory) as ws:
                    equal(len(ws.extensions), 1)
                    for text in market("coinbase", 40):
                        await ws.send(text)
                        equal(await ws.recv(), text)
                    await ws.send(["in ", "", "pieces ", "\u20ac" * 5000])
                    equal(await ws.recv(), "in pieces " + "\u20ac" * 5000)
                    data = os.urandom(70000)
                    await ws.send(data)
                    equal(await ws.recv() == data, True)


@with_websockets
async def test_python_websockets_cohort():
    texts = market("coinbase", 800)
    with Server("--deflate", "--cohort", "*") as server:
        writer = server.connect("/publish/T")
        readers = []
        for start in range(0, len(texts), 40):
            readers.append((start, await python_client(server, "/topic/T")))
            for text in texts[start:start + 40]:
                writer.text(text)
            for _, reader in readers:
                for text in texts[start:start + 40]:
                    equal(await reader.recv(), text)
        for _, reader in readers:
            await reader.close()


def test_npm_ws():
    environment = dict(os.environ, NODE_PATH="/usr/share/nodejs")
    if not shutil.which("node") or subprocess.run(["node", "-e", "require('ws')"], env=environment, check=False,
                                                  capture_output=True).returncode:
        raise Skip("node and its package ws are not installed")
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "deflate.js")
    for flags in (("--deflate-takeover",), ()):
        with Server("--echo", "--deflate", "--cohort", "hot*", *flags) as server:
            done = subprocess.run(["node", script, f"ws://127.0.0.1:{server.port}"], env=environment, text=True,
                                  timeout=60 * SLOW, preexec_fn=die_with_parent, capture_output=True, check=False)
            equal((done.returncode, done.stdout.strip().splitlines()[-1:]), (0, ["done"]), done.stdout + done.stderr)


def test_our_own_client():
    """The client role: what it sends and reads is compressed when the server agrees."""
    texts = market("coinbase", 200)
    with Server("--deflate", "--cohort", "hot") as server:
        for topic in ("hot", "cold"):
            sub = subprocess.Popen([PROGRAM, "sub", f"ws://127.0.0.1:{server.port}/topic/{topic}", "--deflate", "--count",
                                    str(len(texts))], stdout=subprocess.PIPE, preexec_fn=die_with_parent, text=True)
            subscribed(server, 1)
            before = server.stats()["inflated"]
            pub = subprocess.run([PROGRAM, "pub", f"ws://127.0.0.1:{server.port}/publish/{topic}", "--deflate"],
                                 input="\n".join(texts) + "\n", text=True, timeout=20 * SLOW, check=True,
                                 preexec_fn=die_with_parent, capture_output=True)
            equal(pub.returncode, 0)
            lines = sub.communicate(timeout=20 * SLOW)[0].splitlines()
            equal([line[line.index("{"):] for line in lines], texts)
            equal(server.stats()["inflated"] - before, sum(len(text) >= 128 for text in texts), "came compressed")


run(globals(), 40)
