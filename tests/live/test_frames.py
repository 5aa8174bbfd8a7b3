# SPDX-License-Identifier: MIT
"""Frames over a real socket: what is echoed, and with which code each broken rule ends (RFC 6455, sections 5 to 8)."""
import os
import random
import struct
import time

from harness import BINARY, CLOSE, PING, PONG, SANITIZED, TEXT, Raw, Server, equal, frame, run, until


def ends(server, data, code, path="/echo"):
    with server.connect(path) as raw:
        raw.send(data)
        try:
            raw.expect_close(code)
        except (AssertionError, EOFError, OSError) as why:
            raise AssertionError(f"after {data[:40].hex()}: {why}") from None


def test_echo_of_every_size():
    with Server("--echo") as server, server.connect() as raw:
        for size in (0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 63, 64, 65, 124, 125, 126, 127, 1000, 16383, 16384, 16385, 65535,
                     65536, 65537, 300000, 1 << 20):
            data = os.urandom(size)
            raw.binary(data)
            opcode, payload = raw.receive()
            equal(opcode, BINARY)
            assert payload == data, f"binary of {size} bytes"
            text = ("\u00e4\u20ac\U0001f600z" * (size // 10 + 1)).encode()[:size - size % 10]
            raw.text(text)
            opcode, payload = raw.receive()
            equal(opcode, TEXT)
            assert payload == text, f"text of {size} bytes"
        equal(raw.close(), 1000)


def test_many_at_once_in_random_pieces():
    seed = int(os.environ.get("RC_SEED") or random.randrange(1 << 32))
    print(f"    RC_SEED={seed}")
    chance = random.Random(seed)
    with Server("--echo") as server, server.connect() as raw:
        messages = [bytes(chance.getrandbits(8) for _ in range(chance.choice((0, 5, 125, 126, 700, 5000))))
                    for _ in range(300)]
        stream = b""
        for message in messages:
            cut = sorted(chance.randrange(len(message) + 1) for _ in range(chance.choice((0, 0, 1, 3))))
            parts = [message[a:b] for a, b in zip([0] + cut, cut + [len(message)])]
            for index, part in enumerate(parts):
                if chance.random() < 0.2:
                    stream += frame(PONG, b"nobody asked")
                stream += frame(0 if index else BINARY, part, fin=index == len(parts) - 1)
        at = 0
        got = 0
        while at < len(stream):
            step = chance.choice((1, 2, 3, 50, 2000, 40000))
            raw.send(stream[at:at + step])
            at += step
        for message in messages:
            equal(raw.receive(), (BINARY, message), f"message {got}")
            got += 1
        equal(raw.close(), 1000)


def test_large_ones_among_small_ones():
    """Who sends a large message is received in another way, until a small one comes."""
    seed = int(os.environ.get("RC_SEED") or random.randrange(1 << 32))
    print(f"    RC_SEED={seed}")
    chance = random.Random(seed)
    with Server("--echo") as server, server.connect() as raw:
        for number in range(60):
            message = os.urandom(chance.choice((1, 1, 20000, 65535, 65536, 100000, 1 << 20)))
            cut = sorted(chance.randrange(len(message) + 1) for _ in range(chance.choice((0, 0, 0, 1, 3))))
            stream = b""
            for index, (begin, end) in enumerate(zip([0] + cut, cut + [len(message)])):
                stream += frame(0 if index else BINARY, message[begin:end], fin=end == len(message) and index == len(cut))
                stream += frame(PONG, b"nobody asked") if chance.random() < 0.3 else b""
            for at in range(0, len(stream), step := chance.choice((3000, 17000, 70000, 2 << 20))):
                raw.send(stream[at:at + step])
                if chance.random() < 0.02:
                    time.sleep(0.01)
            opcode, payload = raw.receive()
            equal(opcode, BINARY)
            assert payload == message, f"message {number} of {len(message)} bytes"
        equal(raw.close(), 1000)


def test_large_ones_given_up():
    """Resets, ends and wrong bytes within a message that is received where it belongs; each peer has sent one before."""
    whole = frame(TEXT, "x" * 500000)
    with Server("--echo", "--idle-timeout", "400ms") as server:
        for how in ("reset", "end", "wrong", "silence"):
            for size in (10, 16384, 100000, 400000):
                raw = server.connect()
                raw.send(whole)
                equal(raw.receive(), (TEXT, b"x" * 500000))
                raw.send(whole[:size] + (b"\xff" * 50000 if how == "wrong" else b""))
                if how == "wrong":
                    raw.expect_close(1007)
                elif how == "silence":
                    assert raw.at_end() or raw.receive_frame()[1] in (PING, CLOSE)
                elif how == "end":
                    raw.socket.shutdown(1)
                else:
                    raw.socket.setsockopt(1, 13, struct.pack("ii", 1, 0))
                if how != "silence" or size == 10:
                    raw.socket.close()
        until(lambda: server.stats()["connections"] <= 1, "all gone")
        until(lambda: server.stats()["memory_held"] < 5000, "their memory back")


def test_pings():
    with Server("--echo") as server, server.connect() as raw:
        for payload in (b"", b"x", os.urandom(125)):
            raw.send(frame(PING, payload))
            equal(raw.receive(), (PONG, payload))
        # Between fragments, the Pong does not wait for the message.
        raw.text("one ", fin=False)
        raw.send(frame(PING, b"now"))
        equal(raw.receive(), (PONG, b"now"))
        raw.send(frame(0, "two"))
        equal(raw.receive_text(), "one two")
        # Of several at once, each or at least the latest is answered.
        raw.send(b"".join(frame(PING, str(i)) for i in range(500)))
        while raw.receive() != (PONG, b"499"):
            pass
        raw.text("after")
        equal(raw.receive_text(), "after")
        equal(raw.close(), 1000)


def test_protocol_errors_are_1002():
    with Server("--echo") as server:
        for data in (
            frame(TEXT, "hello", masked=False),
            frame(PING, "hello", masked=False),
            frame(TEXT, "hello", rsv=1),
            frame(TEXT, "hello", rsv=2),
            frame(TEXT, "hello", rsv=4),
            frame(3, "x"),
            frame(7, "x"),
            frame(11, "x"),
            frame(15, "x"),
            frame(0, "continues nothing"),
            frame(TEXT, "a", fin=False) + frame(TEXT, "b"),
            frame(PING, "x", fin=False),
            frame(PING, b"x" * 126),
            frame(CLOSE, b"\x03"),
            frame(CLOSE, struct.pack("!H", 999)),
            frame(CLOSE, struct.pack("!H", 1004)),
            frame(CLOSE, struct.pack("!H", 1005)),
            frame(CLOSE, struct.pack("!H", 1006)),
            frame(CLOSE, struct.pack("!H", 1015)),
            frame(CLOSE, struct.pack("!H", 2999)),
            frame(CLOSE, struct.pack("!H", 5000)),
            b"\x81\xfe\x00\x05" + bytes(4) + b"hello",                       # 16 bits where 7 suffice
            b"\x81\xff" + struct.pack("!Q", 5) + bytes(4) + b"hello",        # 64 bits where 7 suffice
            b"\x81\xff" + struct.pack("!Q", 1 << 63) + bytes(4) + b"hello",  # the top bit
        ):
            ends(server, data, 1002)
        until(lambda: server.stats()["protocol_errors"] == 24, "24 protocol errors counted")


def test_bad_utf8_is_1007():
    with Server("--echo") as server:
        for bad in (b"\xff", b"\xc0\xaf", b"ok\xe2\x82", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80",
                    b"a" * 5000 + b"\x80"):
            ends(server, frame(TEXT, bad), 1007)
        ends(server, frame(TEXT, b"\xe2\x82", fin=False) + frame(0, b"x"), 1007)
        # At once: the rest of the message never comes.
        ends(server, frame(TEXT, b"a\xff", size=10000), 1007)
        ends(server, frame(CLOSE, struct.pack("!H", 1000) + b"\xff"), 1007)
        with server.connect() as raw:  # a code point cut by a fragment, with a Ping in between, is fine
            raw.send(frame(TEXT, b"\xe2\x82", fin=False) + frame(PING) + frame(0, b"\xac"))
            equal(raw.receive(), (PONG, b""))
            equal(raw.receive_text(), "\u20ac")


def test_too_big_is_1009():
    with Server("--echo", "--message-max", "1000") as server:
        with server.connect() as raw:
            raw.binary(bytes(1000))
            equal(raw.receive(), (BINARY, bytes(1000)))
        ends(server, frame(BINARY, bytes(1001)), 1009)
        ends(server, frame(BINARY, b"", size=1 << 40), 1009)
        ends(server, frame(BINARY, bytes(600), fin=False) + frame(0, bytes(401)), 1009)


def test_limits_follow_each_other():
    """What may come in may go out again, and may come in small pieces: --message-max alone is enough."""
    with Server("--echo", "--message-max", "16m") as server:
        with server.connect() as raw:
            data = bytes(range(256)) * (16 << 12)
            raw.binary(data)
            assert raw.receive() == (BINARY, data)
        with server.connect() as raw:
            piece = bytes(64)
            count = (4 << 20) // len(piece)
            raw.send(frame(BINARY, piece, fin=False) + frame(0, piece, fin=False) * (count - 2) + frame(0, piece))
            assert raw.receive() == (BINARY, bytes(4 << 20))


def test_fragments_have_a_limit():
    with Server("--echo", "--message-max", "16m", "--fragments-max", "100") as server:
        with server.connect() as raw:
            raw.send(frame(BINARY, b"a", fin=False) + frame(0, b"b", fin=False) * 98 + frame(0, b"c"))
            equal(raw.receive(), (BINARY, b"a" + b"b" * 98 + b"c"))
        ends(server, frame(BINARY, b"a", fin=False) + frame(0, b"b", fin=False) * 100, 1009)
    with Server("--echo") as server:  # pieces without a byte are work as well
        ends(server, frame(BINARY, b"", fin=False) + frame(0, b"", fin=False) * 20000, 1009)


def test_close_codes_come_back():
    with Server("--echo") as server:
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999):
            raw = server.connect()
            equal(raw.close(code), code)
        raw = server.connect()
        raw.send(frame(CLOSE))
        while raw.receive()[0] != CLOSE:
            pass
        assert raw.closed[0] in (1000, 1005), raw.closed
        raw = server.connect()
        raw.send(frame(TEXT, "before") + frame(CLOSE, struct.pack("!H", 1000) + b"x" * 123) + frame(TEXT, "after"))
        equal(raw.receive_text(), "before")
        raw.expect_close(1000)
        stats = until(lambda: (lambda s: s if s["closed"] == 18 else None)(server.stats()), "18 closed")
        equal(stats["closed_abnormal"], 0)


def test_close_that_nobody_answers():
    """The server began the close, the peer neither answers nor leaves: it is cut off after --close-timeout."""
    with Server("--echo", "--close-timeout", "300ms") as server, server.connect() as raw:
        raw.send(frame(3, "x"))
        equal(raw.receive()[0], CLOSE)
        equal(raw.closed[0], 1002)
        assert raw.at_end()
        until(lambda: server.stats()["connections"] <= 1, "the connection gone")


def test_idle_peers():
    """A Ping at half the idle time; who answers stays, who does not is ended."""
    with Server("--echo", "--idle-timeout", "600ms") as server:
        with server.connect() as quiet, server.connect() as alive:
            end = time.monotonic() + 1.5
            pings = 0
            alive.socket.settimeout(0.1)
            while time.monotonic() < end:
                try:
                    opcode, payload = alive.receive_frame()[1:]
                    equal(opcode, PING)
                    alive.send(frame(PONG, payload))
                    pings += 1
                except TimeoutError:
                    pass
            assert pings, "no Ping came"
            while not quiet.at_end():
                quiet.buffer.clear()
            alive.socket.settimeout(10)
            alive.text("here")
            while (got := alive.receive())[0] != TEXT:
                pass
            equal(got[1], b"here")


def test_peers_that_vanish():
    """Connections reset in the middle of everything leave nothing behind."""
    with Server("--echo", "--relay") as server:
        for data in (b"", b"GET", frame(TEXT, "x" * 1000)[:500], frame(TEXT, "x", fin=False)):
            for path in ("/echo", "/relay/a"):
                raw = Raw(server)
                raw.socket.setsockopt(1, 13, struct.pack("ii", 1, 0))
                if data != b"GET":
                    raw.open(path)
                raw.send(data)
                raw.socket.close()
        until(lambda: server.stats()["connections"] <= 1, "all gone")
        equal(server.stats()["subscriptions"], 0)


def test_echo_to_one_that_does_not_read():
    """It is closed, at the latest when --send-max of echoes wait for it; nothing piles up and others are served."""
    with Server("--echo", "--send-max", "256k", "--close-timeout", "300ms") as server:
        before = server.memory()
        raw = Raw(server, receive_buffer=4096).open()
        try:
            while True:
                raw.binary(bytes(60000))
        except (ConnectionResetError, BrokenPipeError):
            pass
        grown = server.memory() - before
        assert SANITIZED or grown < 16 << 20, f"memory grew by {grown} bytes"
        with server.connect() as other:
            other.text("served")
            equal(other.receive_text(), "served")
        until(lambda: server.stats()["connections"] <= 1, "all gone")


run(globals())
