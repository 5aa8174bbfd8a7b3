# SPDX-License-Identifier: MIT
"""RFC 6455 case by case over a raw socket, as the public suites do it, and what they leave out: unmasked frames, each
reserved bit with each opcode, and the content of every echo. One line a case; one server for all, so that a case which
leaves something behind breaks the next.

A case is: what is sent, in which pieces, what must come back, and with which code it ends (None: the client closes).
"""
import itertools
import random
import struct
import sys
import time
import traceback

from harness import BINARY, CLOSE, PING, PONG, TEXT, Server, equal, frame

CASES = []
MESSAGE_MAX = 1 << 20
KEY = b"\x12\x34\x56\x78"


def case(name, data, expect=(), close=None, pieces=0):
    CASES.append((name, data, list(expect), close, pieces))


def content(size, seed=0):
    return random.Random(size * 31 + seed).randbytes(size)


def letters(size):
    text = "Fr\u00fch \u2603 \U0001f680 0123456789 "
    encoded = (text * (size // len(text.encode()) + 1)).encode()[:size]
    return encoded.decode(errors="ignore").encode().ljust(size, b".")


def fragments(opcode, payload, size, between=b"", key=None):
    parts = [payload[i:i + size] for i in range(0, len(payload), size)] or [b""]
    data = b""
    for i, part in enumerate(parts):
        data += frame(0 if i else opcode, part, fin=i == len(parts) - 1, key=key)
        data += between if i < len(parts) - 1 else b""
    return data


def code(number, reason=b""):
    return struct.pack("!H", number) + reason


# ---- echoes: every length form, every way to cut, every mask; content and opcode come back as they were

for size in (0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 123, 124, 125, 126, 127, 128, 129, 255, 256, 257,
             1000, 4095, 4096, 4097, 16383, 16384, 16385, 65534, 65535, 65536, 65537, 131071, 262145, 1048575, MESSAGE_MAX):
    case(f"echo text of {size}", frame(TEXT, letters(size)), [(TEXT, letters(size))])
    case(f"echo binary of {size}", frame(BINARY, content(size)), [(BINARY, content(size))])
for size, pieces in itertools.product((0, 1, 125, 126, 300), (1, 2, 7)):
    case(f"echo of {size} in pieces of {pieces}", frame(TEXT, letters(size)), [(TEXT, letters(size))], pieces=pieces)
for size, pieces in itertools.product((65535, 65536, 200000), (997, 16384, 65537)):
    case(f"echo of {size} in pieces of {pieces}", frame(BINARY, content(size)), [(BINARY, content(size))], pieces=pieces)
for key in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x01", b"\x80\0\0\0", b"\x81\x05\x37\xfa"):
    data = letters(1023)
    case(f"echo masked with {key.hex()}", frame(TEXT, data, key=key) + fragments(TEXT, data, 100, key=key),
         [(TEXT, data), (TEXT, data)])
for count in (2, 10, 300):
    data = [content(i % 200, i) for i in range(count)]
    case(f"echo of {count} messages at once", b"".join(frame(BINARY, d) for d in data), [(BINARY, d) for d in data])

# ---- fragments

for opcode, size, step in itertools.product((TEXT, BINARY), (0, 1, 300, 65536), (1, 64, 70000)):
    if size // step < 1000:
        data = letters(size) if opcode == TEXT else content(size)
        case(f"{'text' if opcode == TEXT else 'binary'} of {size} in fragments of {step}", fragments(opcode, data, step),
             [(opcode, data)])
case("fragments that are all empty", frame(TEXT, fin=False) + frame(0, fin=False) + frame(0), [(TEXT, b"")])
case("empty fragments around content", frame(TEXT, fin=False) + frame(0, "a", fin=False) + frame(0), [(TEXT, b"a")])
case("pings between fragments", fragments(TEXT, letters(300), 100, frame(PING, "p")),
     [(PONG, b"p"), (PONG, b"p"), (TEXT, letters(300))])
case("pongs between fragments", fragments(TEXT, letters(300), 100, frame(PONG, "p")), [(TEXT, letters(300))])
case("close between fragments", frame(TEXT, "a", fin=False) + frame(CLOSE, code(1000)), close=1000)
case("two messages in fragments", fragments(TEXT, b"abc", 1) + fragments(BINARY, b"\0\1\2", 1),
     [(TEXT, b"abc"), (BINARY, b"\0\1\2")])
case("a continuation of nothing", frame(0, "a"), close=1002)
case("a continuation of nothing, not the last", frame(0, "a", fin=False), close=1002)
case("a continuation after the end", fragments(TEXT, b"ab", 1) + frame(0, "c"), [(TEXT, b"ab")], close=1002)
for opcode in (TEXT, BINARY):
    case(f"opcode {opcode} inside a message", frame(TEXT, "a", fin=False) + frame(opcode, "b"), close=1002)
case("more fragments than allowed", frame(TEXT, "a", fin=False) + frame(0, "a", fin=False) * (MESSAGE_MAX // 64 + 1), close=1009)

# ---- pings and pongs

for size in (0, 1, 2, 60, 124, 125):
    case(f"ping of {size}", frame(PING, content(size)), [(PONG, content(size))])
    case(f"ping of {size} byte by byte", frame(PING, content(size)), [(PONG, content(size))], pieces=1)
for opcode, size in itertools.product((PING, PONG, CLOSE), (126, 127, 65536)):
    case(f"opcode {opcode} of {size}", frame(opcode, bytes(size)), close=1002)
for opcode in (PING, PONG, CLOSE):
    case(f"opcode {opcode} in fragments", frame(opcode, b"\x03\xe8", fin=False), close=1002)
case("pongs nobody asked for", frame(PONG) + frame(PONG, "x" * 125) + frame(TEXT, "a"), [(TEXT, b"a")])
case("ten pings", b"".join(frame(PING, str(i)) for i in range(10)), [(PONG, str(i).encode()) for i in range(10)])

# ---- reserved bits and opcodes

for rsv, opcode in itertools.product(range(1, 8), (TEXT, BINARY, PING, PONG, CLOSE)):
    payload = code(1000) if opcode == CLOSE else b"x"
    case(f"reserved bits {rsv:03b} with opcode {opcode}", frame(opcode, payload, rsv=rsv), close=1002)
for rsv in range(1, 8):
    case(f"reserved bits {rsv:03b} on a continuation", frame(TEXT, "a", fin=False) + frame(0, "b", rsv=rsv), close=1002)
for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
    case(f"reserved opcode {opcode}", frame(opcode), close=1002)
    case(f"reserved opcode {opcode} after a message", frame(TEXT, "a") + frame(opcode, "x"), [(TEXT, b"a")], close=1002)
    case(f"reserved opcode {opcode} inside a message", frame(TEXT, "a", fin=False) + frame(opcode, "x"), close=1002)

# ---- masks

for opcode in (0, TEXT, BINARY, CLOSE, PING, PONG):
    first = frame(TEXT, "a", fin=False) if opcode == 0 else b""
    payload = code(1000) if opcode == CLOSE else b"xyz"
    case(f"unmasked opcode {opcode}", first + frame(opcode, payload, masked=False), close=1002)
    case(f"unmasked opcode {opcode} and empty", first + frame(opcode, masked=False), close=1002)
case("unmasked after a masked one", frame(TEXT, "a") + frame(TEXT, "b", masked=False), [(TEXT, b"a")], close=1002)

# ---- lengths

for size in (0, 1, 125):
    case(f"{size} bytes in the 16 bit form", struct.pack("!BBH", 0x82, 0xFE, size) + KEY + bytes(size), close=1002)
for size in (0, 125, 126, 65535):
    case(f"{size} bytes in the 64 bit form", struct.pack("!BBQ", 0x82, 0xFF, size) + KEY + bytes(size), close=1002)
case("a length with its top bit", struct.pack("!BBQ", 0x82, 0xFF, 1 << 63) + KEY, close=1002)
case("a length of all ones", struct.pack("!BBQ", 0x82, 0xFF, (1 << 64) - 1) + KEY, close=1002)
case("a byte too many", frame(BINARY, bytes(MESSAGE_MAX + 1)), close=1009)
case("a byte too many in fragments", fragments(BINARY, bytes(MESSAGE_MAX + 1), 60000), close=1009)
case("a length beyond all memory", struct.pack("!BBQ", 0x82, 0xFF, 1 << 62) + KEY, close=1009)

# ---- UTF-8

GOOD = ["\x00", "\x7f", "\u0080", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\ufffd", "\ufffe", "\uffff", "\U00010000",
        "\U0001fffe", "\U0010ffff", "\u03ba\u1f79\u03c3\u03bc\u03b5", "a\u0308", "\ufeff"]
BAD = [b"\x80", b"\xbf", b"\x80\xbf\x80", b"\xc0\x80", b"\xc0\xaf", b"\xc1\xbf", b"\xc2", b"\xc2 ", b"\xc2\xc2\x80",
       b"\xdf", b"\xe0\x80\x80", b"\xe0\x80\xaf", b"\xe0\x9f\xbf", b"\xe2\x82", b"\xe2 \x82", b"\xed\xa0\x80",
       b"\xed\xad\xbf", b"\xed\xaf\xbf", b"\xed\xb0\x80", b"\xed\xbf\xbf", b"\xef\xbf", b"\xf0\x80\x80\x80",
       b"\xf0\x80\x80\xaf", b"\xf0\x8f\xbf\xbf", b"\xf0\x90\x80", b"\xf0\x90\x80 ", b"\xf4\x90\x80\x80",
       b"\xf5\x80\x80\x80", b"\xf7\xbf\xbf\xbf", b"\xf8\x88\x80\x80\x80", b"\xfb\xbf\xbf\xbf\xbf",
       b"\xfc\x84\x80\x80\x80\x80", b"\xfd", b"\xfe", b"\xff", b"\xfe\xfe\xff\xff", b"\xed\xa0\x80\xed\xb0\x80"]

for text in GOOD:
    data = text.encode()
    name = data.hex()
    case(f"UTF-8 {name}", frame(TEXT, data), [(TEXT, data)])
    case(f"UTF-8 {name} far in", frame(TEXT, b"x" * 1021 + data), [(TEXT, b"x" * 1021 + data)])
    case(f"UTF-8 {name} in fragments", fragments(TEXT, b"a" + data + b"z", 1, frame(PING)),
         [(PONG, b"")] * (len(data) + 1) + [(TEXT, b"a" + data + b"z")])
    case(f"UTF-8 {name} in a close reason", frame(CLOSE, code(1000, data)), close=1000)
for data in BAD:
    name = data.hex()
    case(f"not UTF-8 {name}", frame(TEXT, data), close=1007)
    case(f"not UTF-8 {name} far in", frame(TEXT, b"x" * 1021 + data), close=1007)
    case(f"not UTF-8 {name} in fragments", fragments(TEXT, b"abc" + data, 1), close=1007)
    case(f"not UTF-8 {name} byte by byte", frame(TEXT, data), close=1007, pieces=1)
    case(f"not UTF-8 {name} in a close reason", frame(CLOSE, code(1000, data)), close=1007)
    case(f"binary may hold {name}", frame(BINARY, data), [(BINARY, data)])
    if len(data) > 1 or data[0] >= 0xF8:
        case(f"not UTF-8 {name} before the rest comes", frame(TEXT, b"ab" + data + b"  ", size=5000, key=KEY), close=1007)

# ---- closes

for number in (*range(1000, 1004), *range(1007, 1015), 3000, 3001, 3999, 4000, 4999):
    case(f"close {number}", frame(CLOSE, code(number)), close=number)
    case(f"close {number} with a reason", frame(CLOSE, code(number, b"because")), close=number)
for number in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 32768, 65535):
    case(f"close {number} is not allowed", frame(CLOSE, code(number)), close=1002)
case("close without a code", frame(CLOSE), close=1005)
case("close of one byte", frame(CLOSE, b"\x03"), close=1002)
case("close with the longest reason", frame(CLOSE, code(1000, b"r" * 123)), close=1000)
case("close byte by byte", frame(CLOSE, code(3000, b"because")), close=3000, pieces=1)
case("close after a message", frame(TEXT, "a") + frame(CLOSE, code(1000)), [(TEXT, b"a")], close=1000)
for opcode in (TEXT, PING, CLOSE, 3):
    case(f"opcode {opcode} after a close", frame(CLOSE, code(1000)) + frame(opcode, b"\x03\xe8"), close=1000)
case("close after a ping", frame(PING, "x") + frame(CLOSE, code(1000)), [(PONG, b"x")], close=1000)


def send(raw, data, pieces):
    """In pieces that the kernel does not put together again, as far as that can be had: small ones take a moment."""
    if not pieces:
        raw.send(data)
        return
    for at in range(0, len(data), pieces):
        try:
            raw.send(data[at:at + pieces])
        except (BrokenPipeError, ConnectionResetError):
            return
        if pieces < 100:
            time.sleep(0.0002)


def check(server, data, expect, close, pieces):
    with server.connect() as raw:
        send(raw, data, pieces)
        for opcode, payload in expect:
            got = raw.receive()
            equal(got[0], opcode, f"opcode ({got[1][:40]!r})")
            if got[1] != payload:
                at = next((i for i, (a, b) in enumerate(zip(got[1], payload)) if a != b), min(len(got[1]), len(payload)))
                raise AssertionError(f"{len(got[1])} bytes for {len(payload)}, other from byte {at} on")
        if close is None:
            equal(raw.close(), 1000)
            return
        got = raw.receive()
        equal(got[0], CLOSE, f"opcode ({got[1][:40]!r})")
        # Without a code, the answer has none, or says that all was well.
        equal(raw.closed[0] if close != 1005 or raw.closed[0] != 1000 else 1005, close, "close code")
        try:
            raw.send(frame(CLOSE, code(1000)))
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert raw.at_end(), "bytes after a Close"


def main():
    only = next((a[7:] for a in sys.argv if a.startswith("--only=")), "")
    failed, again = 0, set()
    with Server("--echo", "--message-max", str(MESSAGE_MAX), "--close-timeout", "2s") as server:
        for name, data, expect, close, pieces in CASES:
            if only not in name:
                continue
            assert name not in again, f"two cases are called {name}"
            again.add(name)
            try:
                check(server, data, expect, close, pieces)
                print(f"ok {name}", flush=True)
            except BaseException as error:
                failed += 1
                print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)
                traceback.print_exc(limit=-2, file=sys.stdout)
                if isinstance(error, KeyboardInterrupt) or server.process.poll() is not None or failed == 20:
                    break
    print(f"    {len(again)} cases")
    sys.exit(1 if failed else 0)


main()
