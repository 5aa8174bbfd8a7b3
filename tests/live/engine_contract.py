# SPDX-License-Identifier: MIT
"""What every engine of a backplane owes a node (tools/backplane/engine.h), as scenarios for test_backplane_*.py: each takes
a started engine of engines.py, and drives engines by engine_peer, without any node."""
import errno
import os
import subprocess
import time

from engines import Cut
from harness import BUILD, SLOW, Skip, die_with_parent, equal, until

PEER = os.path.join(BUILD, "tests", "engine_peer")
ENOENT = -errno.ENOENT


class Peer:
    """An engine, told by lines what to do."""

    def __init__(self, url):
        self.process = subprocess.Popen([PEER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, preexec_fn=die_with_parent)

    def tell(self, *words):
        """The code, and the lines before it."""
        try:
            self.process.stdin.write(" ".join(map(str, words)) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        lines = []
        while True:
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError("the peer ended: " + self.process.stderr.read()[-2000:])
            if line.startswith("= "):
                code, self.why = line[2:].rstrip("\n").split(" ", 1)
                return int(code), lines
            lines.append(line.rstrip("\n"))

    def follow(self, at=0, tail=1000):
        """The newest sequence."""
        code, lines = self.tell("follow", at, tail)
        equal(code, 0, f"follow: {self.why}")
        return int(lines[0].split()[1])

    def read(self, count, ms=5000):
        """Packets as (sequence, text), and the code in the end."""
        code, lines = self.tell("read", int(ms * SLOW), count)
        packets = [line.split(" ", 1) for line in lines]
        return [(int(sequence), text) for sequence, text in packets], code

    def texts(self, count):
        packets, code = self.read(count)
        equal(code, len(packets), f"read: {self.why}")
        numbers = [sequence for sequence, _ in packets]
        equal(numbers, sorted(set(numbers)), "the numbers rise")
        self.last = numbers[-1] if numbers else 0
        return [text for _, text in packets]

    def append(self, *texts):
        code, lines = self.tell("append", *texts)
        equal((code, lines), (0, [f"appended {len(texts)}"]), f"append: {self.why}")

    def connect(self):
        equal(self.tell("connect")[0], 0, "connect")
        return self

    def begin(self, text, newest=0):
        code = self.tell("begin", text, newest)[0]
        equal(code, 0, f"begin: {self.why}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        status = self.process.wait(10 * SLOW)
        error = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        if status or "Sanitizer" in error:
            raise AssertionError(f"the peer ended with {status}: {error[-3000:]}")


def begun(peer, text="BEGIN"):
    """A new stream, read from its beginning."""
    equal(peer.follow(), 0, "newest of no stream")
    peer.begin(text)
    until(lambda: peer.follow() >= 1, "the beginning")
    equal(peer.texts(1), [text])
    return peer.connect()


def one_order(engine):
    """Two that publish at the same time; two readers have the same numbers."""
    url = engine.url("order")
    with Peer(url) as one, Peer(url) as two:
        begun(one)
        two.follow()
        two.connect()
        for turn in range(20):
            one.append(*(f"one-{turn}-{i}" for i in range(10)))
            two.append(*(f"two-{turn}-{i}" for i in range(10)))
        here, there = one.read(400)[0], two.read(401)[0]
        equal(len(here), 400, "all that were appended")
        equal(there[1:], here, "as the other one read them")
        for word in ("one", "two"):
            own = [text for _, text in here if text.startswith(word)]
            equal(own, [f"{word}-{turn}-{i}" for turn in range(20) for i in range(10)], "each one's own order")


def places(engine):
    """Reading begins with the packet that one has, or with so many of the newest; and goes on after it."""
    with Peer(engine.url("places")) as peer:
        begun(peer)
        peer.append(*(f"m{i}" for i in range(1, 41)))
        texts = peer.texts(40)
        equal(texts, [f"m{i}" for i in range(1, 41)])
        last = peer.last
        equal(peer.follow(last - 5), last, "newest")
        equal(peer.texts(6), texts[-6:], "from a place on, with it")
        equal(peer.follow(0, 10), last, "newest")
        equal(peer.texts(10), texts[-10:], "the tail")
        peer.append("after")
        equal(peer.texts(1), ["after"])
        equal(peer.follow(last + 1), last + 1, "the newest of all")
        equal(peer.texts(1), ["after"])


def large(engine):
    """A packet of the largest size that a node makes, many at once, and one that the engine does not take."""
    with Peer(engine.url("large")) as peer:
        begun(peer)
        equal(peer.tell("fill", 3, 1000000), (0, ["appended 3"]))
        equal(len(peer.texts(3)), 3)
        equal(peer.tell("fill", 3000, 100), (0, ["appended 3000"]))
        equal(len(peer.texts(3000)), 3000)


def no_stream(engine):
    """Without a stream nothing is appended, and who waits for one is told that it is there."""
    with Peer(engine.url("none")) as one, Peer(engine.url("none")) as two:
        equal(one.follow(), 0, "newest")
        one.connect()
        equal(one.tell("append", "lost"), (ENOENT, ["appended 0"]))
        equal(two.follow(), 0, "newest")
        two.begin("BEGIN")
        equal(one.read(1)[1], ENOENT, "a stream that was made")
        until(lambda: one.follow() >= 1, "the stream")
        equal(one.texts(1), ["BEGIN"])
        one.append("kept")
        equal(one.texts(1), ["kept"])


def deleted(engine):
    """A stream that is deleted is told of within about a second, by reading and by appending; and made anew."""
    with Peer(engine.url("deleted")) as peer:
        begun(peer)
        peer.append("a", "b", "c")
        equal(peer.texts(3), ["a", "b", "c"])
        engine.delete("deleted")
        begin = time.monotonic()
        equal(peer.read(1)[1], ENOENT, "the stream's end")
        if time.monotonic() - begin > 2.5 * SLOW:
            raise AssertionError("told late")
        equal(peer.tell("append", "d"), (ENOENT, ["appended 0"]))
        equal(peer.follow(peer.last), 0, "newest")
        peer.begin("ANEW")
        until(lambda: peer.follow() >= 1, "the stream")
        peer.append("e")
        equal(peer.texts(2), ["ANEW", "e"])


def cut(engine):
    """The connection is cut while one reads and another writes: both hear of it, and go on where they were."""
    with Cut(engine.port) as way, Peer(engine.url("cut", way.port)) as reader, Peer(engine.url("cut")) as writer:
        begun(reader)
        writer.follow()
        writer.connect()
        writer.append("a", "b")
        equal(reader.texts(2), ["a", "b"])
        way.cut()
        if reader.read(1)[1] >= 0:
            raise AssertionError("a reader that was cut off does not know")
        if reader.tell("append", "x")[0] >= 0:
            raise AssertionError("a writer that was cut off does not know")
        if reader.tell("follow", reader.last, 10)[0] >= 0:
            raise AssertionError("there is no way to the engine")
        writer.append("c", "d")
        way.mend()
        begin = time.monotonic()
        equal(reader.follow(reader.last), reader.last + 2, "newest")
        equal(reader.texts(3), ["b", "c", "d"])
        taken = time.monotonic() - begin
        if taken > 0.5 * SLOW:
            raise AssertionError(f"mended after {taken:.3f} s")
        reader.connect().append("e")
        equal(reader.texts(1), ["e"])


def killed(engine, rest=0):
    """The engine is killed and started again: what it had confirmed is there, in its place."""
    with Peer(engine.url("killed")) as peer:
        begun(peer)
        peer.append(*(f"m{i}" for i in range(50)))
        equal(len(peer.texts(50)), 50)
        time.sleep(rest)
        engine.kill()
        if peer.read(1)[1] >= 0 or peer.tell("append", "x")[0] >= 0:
            raise AssertionError("the engine is gone, and nobody knows")
        engine.start()
        until(lambda: peer.tell("follow", peer.last, 10)[0] == 0, "the engine", 30)
        packets = peer.read(1)[0]
        equal(packets, [(peer.last, "m49")], "the last one, in its place")
        until(lambda: peer.tell("connect")[0] == 0, "the engine")
        peer.append("after")
        equal(peer.texts(1), ["after"])


def wrong_urls(scheme, cases):
    """Each URL is refused before there is any connection, with words that name the remedy."""
    for rest, words in cases:
        process = subprocess.run([PEER, f"{scheme}://127.0.0.1:9{rest}"], input="", capture_output=True, text=True,
                                 timeout=10 * SLOW)
        equal(process.returncode, 2, rest)
        if words not in process.stderr:
            raise AssertionError(f"{rest}: '{process.stderr}' does not say '{words}'")


def refused(url, *words, calls=(("follow", 0, 10), ("connect",))):
    """An engine that does not let us in: it says so in these words, and not the password."""
    with Peer(url) as peer:
        for call in calls:
            if peer.tell(*call)[0] >= 0:
                raise AssertionError("it was let in")
            if not all(word in peer.why for word in words) or "secret" in peer.why:
                raise AssertionError(f"'{peer.why}' does not say all of {words}, or says too much")


def let_in(url):
    """An engine that lets us in, and takes packets."""
    with Peer(url) as peer:
        begun(peer)
        peer.append("a", "b")
        equal(peer.texts(2), ["a", "b"])


def needs_peer(scheme):
    process = subprocess.run([PEER, f"{scheme}://127.0.0.1:9"], input="", capture_output=True, text=True)
    if "built without" in process.stderr:
        raise Skip(process.stderr.strip())
