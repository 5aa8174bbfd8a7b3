# SPDX-License-Identifier: MIT
"""Topics: what is published arrives once, whole, in order, at everybody who subscribed; from the past where that is
asked for. And the slow: what each policy does to a reader that stalls, with counts that add up exactly."""
import os
import threading

from harness import BINARY, CLOSE, SANITIZED, TEXT, Raw, Server, equal, frame, run, until


def subscribed(server, count):
    until(lambda: server.stats()["subscriptions"] == count, f"{count} subscriptions")


def in_step(server, topic, texts, burst=20):
    """Publishes with one reader in step, so that not even a small log is ever written faster than it is read."""
    with server.connect("/topic/" + topic) as reader, server.connect("/publish/" + topic) as writer:
        for start in range(0, len(texts), burst):
            for text in texts[start:start + burst]:
                writer.text(text)
            for text in texts[start:start + burst]:
                equal(reader.receive_text(), text)


def test_publish_and_subscribe():
    with Server() as server:
        both, one, none = server.connect("/topic/A,B"), server.connect("/topic/A"), server.connect("/topic/C")
        to_a, to_b = server.connect("/publish/A"), server.connect("/publish/B")
        payloads = [b"", b"x", "\u20ac".encode() * 100, os.urandom(70000).hex().encode()]
        for payload in payloads:
            to_a.text(payload)
            equal(both.receive(), (TEXT, payload))
            equal(one.receive(), (TEXT, payload))
            to_b.binary(payload)
            equal(both.receive(), (BINARY, payload))
        to_c = server.connect("/publish/C")
        to_c.text("only this")
        equal(none.receive_text(), "only this")
        for raw in (both, one, none, to_a, to_b, to_c):
            equal(raw.close(), 1000)


def test_order_among_many():
    """Three publishers, two topics, 40 subscribers on several workers: every publisher's order is kept, none is lost."""
    count = 400
    with Server(workers=3) as server:
        readers = [server.connect("/topic/X,Y" if index % 2 else "/topic/X") for index in range(40)]
        subscribed(server, 60)
        writers = [server.connect(path) for path in ("/publish/X", "/publish/X", "/publish/Y")]
        for number in range(count):
            for index, writer in enumerate(writers):
                writer.text(f"{index} {number}")
        for index, reader in enumerate(readers):
            next_number = [0, 0, 0]
            for _ in range(count * (3 if index % 2 else 2)):
                writer, number = map(int, reader.receive_text().split())
                equal(number, next_number[writer], f"reader {index}, publisher {writer}")
                next_number[writer] += 1
        stats = server.stats()
        equal(stats["published"], 3 * count)
        equal(stats["deliveries"], 20 * 2 * count + 20 * 3 * count)
        equal((stats["dropped"], stats["conflated"], stats["slow_closed"]), (0, 0, 0))


def test_relay_includes_the_sender():
    with Server("--relay") as server:
        first, second = server.connect("/relay/room"), server.connect("/relay/room")
        first.text("one")
        for raw in (first, second):
            equal(raw.receive_text(), "one")
        second.binary(b"\x00two")
        for raw in (first, second):
            equal(raw.receive(), (BINARY, b"\x00two"))


def test_since():
    with Server() as server:
        writer = server.connect("/publish/T")
        sent = [f"m{number}" for number in range(1, 11)]
        for text in sent:
            writer.text(text)
        until(lambda: server.stats()["published"] == 10, "10 published")
        for since in (0, 4, 9, 10):
            raw = server.connect(f"/topic/T?since={since}")
            sent.append(f"live {since}")
            writer.text(sent[-1])
            for text in sent[since:]:
                equal(raw.receive_text(), text)
            raw.close()
        raw = server.connect("/topic/T")  # without it, only what comes
        writer.text("news")
        equal(raw.receive_text(), "news")
        for wrong in ("-1", "x", "1x", "99999999999999999999999"):
            bad = Raw(server)
            bad.send(bad.request(f"/topic/T?since={wrong}"))
            equal(bad.response()[0], 400, f"since={wrong}")


def test_since_before_the_oldest():
    """The log has forgotten: what is left comes, in order and without a hole, up to the newest."""
    with Server("--log-size", "64k", workers=1) as server:
        in_step(server, "T", [f"{number:06d}" + "." * 94 for number in range(2000)])
        raw = server.connect("/topic/T?since=0")
        first = int(raw.receive_text()[:6])
        assert 2000 - 700 < first < 2000, first
        for number in range(first + 1, 2000):
            equal(int(raw.receive_text()[:6]), number)


def test_last():
    with Server("--keep-last", "kept*", "--log-size", "64k", workers=1) as server:
        writers = {name: server.connect(f"/publish/{name}") for name in ("kept1", "lost")}
        writers["kept1"].text("old")
        writers["kept1"].text("newest")
        writers["lost"].text("gone soon")
        until(lambda: server.stats()["published"] == 3, "3 published")
        for name, text in (("kept1", "newest"), ("lost", "gone soon")):
            equal(server.connect(f"/topic/{name}?last=1").receive_text(), text)
        in_step(server, "filler", ["." * 100] * 2000)
        raw = server.connect("/topic/kept1,lost?last=1")
        equal(raw.receive_text(), "newest")
        writers["lost"].text("back")
        writers["kept1"].text("newer")
        equal(sorted((raw.receive_text(), raw.receive_text())), ["back", "newer"])
        plain = server.connect("/topic/kept1")
        writers["kept1"].text("live")
        equal(plain.receive_text(), "live")


def test_messages_larger_than_a_segment():
    with Server("--message-max", "4m") as server:
        reader, writer = server.connect("/topic/big"), server.connect("/publish/big")
        for size in (1 << 20, (1 << 20) + 1, 3 << 20):
            payload = os.urandom(1000) * (size // 1000 + 1)
            writer.binary(payload[:size])
            writer.binary(b"small")
            opcode, got = reader.receive()
            assert (opcode, got) == (BINARY, payload[:size]), f"{size} bytes differ"
            equal(reader.receive(), (BINARY, b"small"))


def test_subscriptions_limit():
    with Server("--subscriptions-max", "3") as server:
        server.connect("/topic/a,b,c").close()
        raw = Raw(server)
        raw.send(raw.request("/topic/a,b,c,d"))
        status = raw.response()[0]
        assert 400 <= status < 600, status
        subscribed(server, 0)


class Stalled:
    """One reader that does not read among three that do, over a small lag limit. The publisher keeps in step with those
    that read, so that only the stalled one can ever be behind."""

    total = 3000
    payload = "." * 990

    def __init__(self, policy, *flags, topics=("T",)):
        self.server = Server("--policy", policy, "--lag-max", "128k", "--log-size", "4m", *flags)
        path = "/topic/" + ",".join(topics)
        self.readers = [self.server.connect(path) for _ in range(3)]
        self.stalled = Raw(self.server, receive_buffer=4096).open(path)
        self.writers = [self.server.connect("/publish/" + topic) for topic in topics]
        subscribed(self.server, 4 * len(topics))
        self.published = 0

    def publish(self, count):
        while count:
            burst = min(count, 20)
            for _ in range(burst):
                self.writers[self.published % len(self.writers)].text(f"{self.published:08d}" + self.payload)
                self.published += 1
            want = list(range(self.published - burst, self.published))
            for reader in self.readers:  # across publishers there is no order to keep
                equal(sorted(int(reader.receive_text()[:8]) for _ in want), want, "a reader that keeps up")
            count -= burst

    def drain(self, last):
        """Reads the stalled one up to message `last`; the numbers it got."""
        got = []
        while last not in got[-20:]:
            opcode, payload = self.stalled.receive()
            if opcode == CLOSE:
                break
            equal(len(payload), 998)
            got.append(int(payload[:8]))
        return got

    def finish(self, got):
        """All deliveries are accounted for: to those that read, and what the stalled one really received."""
        stats = self.server.stats()
        equal(stats["deliveries"], 3 * self.published + len(got), "deliveries")
        for counter in ("deliveries", "dropped", "conflated", "slow_closed"):
            equal(sum(topic[counter] for topic in stats["by_topic"].values()), stats[counter], f"{counter} by topic")
        for raw in self.readers + self.writers:
            equal(raw.close(), 1000)
        return stats


def test_stalled_reader_is_closed():
    stage = Stalled("close", "--close-timeout", "15s")
    with stage.server:
        stage.publish(stage.total)
        until(lambda: stage.server.stats()["slow_closed"] == 1, "the close")
        got = stage.drain(None)
        equal(stage.stalled.closed[0], 1008)
        assert stage.stalled.closed[1], "a reason"
        equal(got, list(range(len(got))), "a prefix, whole frames")
        assert len(got) < stage.total
        stats = stage.finish(got)
        equal((stats["dropped"], stats["conflated"]), (0, 0))


def test_stalled_reader_skips():
    stage = Stalled("skip")
    with stage.server:
        stage.publish(stage.total)
        until(lambda: stage.server.stats()["dropped"] > 0, "drops")
        ended = threading.Thread(target=lambda: stage.publish(1))
        ended.start()
        got = stage.drain(stage.total)
        ended.join()
        equal(got, sorted(set(got)), "order")
        equal(got[-1], stage.total)
        stats = stage.finish(got)
        equal(stats["dropped"] + len(got), stage.published, "dropped and delivered")
        equal((stats["conflated"], stats["slow_closed"]), (0, 0))


def test_stalled_reader_is_conflated():
    stage = Stalled("conflate", topics=("A", "B", "C"))
    with stage.server:
        stage.publish(stage.total)
        until(lambda: stage.server.stats()["conflated"] > 0, "conflation")
        got = stage.drain(stage.total - 1)
        stage.publish(3)
        got += stage.drain(stage.total + 2) if stage.total + 2 not in got else []
        while len(got) + stage.server.stats()["conflated"] < stage.published:
            got += [int(stage.stalled.receive()[1][:8])]
        for topic in range(3):
            mine = [number for number in got if number % 3 == topic]
            equal(mine, sorted(set(mine)), "order within a topic")
            equal(mine[-1], stage.total + topic, "the newest of each topic arrived")
        stats = stage.finish(got)
        equal(stats["conflated"] + len(got), stage.published, "conflated and delivered")
        equal((stats["dropped"], stats["slow_closed"]), (0, 0))


def test_policy_by_topic_prefix():
    """--policy-for wins over --policy, by the longest prefix."""
    server = Server("--policy", "close", "--policy-for", "m*=conflate", "--policy-for", "md*=skip", "--lag-max", "128k",
                    "--log-size", "4m", "--close-timeout", "300ms")
    with server:
        for topic, counter in (("md1", "dropped"), ("mx", "conflated"), ("other", "slow_closed")):
            stalled = Raw(server, receive_buffer=4096).open(f"/topic/{topic}")
            reader, writer = server.connect(f"/topic/{topic}"), server.connect(f"/publish/{topic}")
            subscribed(server, 2)
            for _ in range(100):
                for _ in range(20):
                    writer.text("." * 1000)
                for _ in range(20):
                    reader.receive_text()
            until(lambda: server.stats()[counter] > 0, counter)
            for raw in (stalled, reader, writer):
                raw.socket.close()
            subscribed(server, 0)


def test_lag_by_age():
    """A reader too far behind in time, though not in bytes."""
    server = Server("--policy", "close", "--lag-age", "300ms", "--close-timeout", "300ms")
    with server:
        stalled = Raw(server, receive_buffer=4096).open("/topic/T")
        reader, writer = server.connect("/topic/T"), server.connect("/publish/T")
        subscribed(server, 2)
        for _ in range(40):
            for _ in range(20):
                writer.text("." * 1000)
            for _ in range(20):
                reader.receive_text()
        until(lambda: server.stats()["slow_closed"] == 1 or (writer.text("."), reader.receive_text())[0],
              "closed for its age", 8)
        stalled.socket.close()


def test_a_publisher_is_never_held_back():
    """With every subscriber stalled, publishing goes on at the publisher's pace and the log stays within its size."""
    with Server("--policy", "skip", "--log-size", "16m") as server:
        stalled = [Raw(server, receive_buffer=4096).open("/topic/T") for _ in range(20)]
        subscribed(server, 20)
        writer = server.connect("/publish/T")
        before = server.memory()
        for _ in range(20000):
            writer.send(frame(TEXT, "." * 1000, key=b"abcd"))
        until(lambda: server.stats()["published"] == 20000, "20000 published")
        grown = server.memory() - before
        assert SANITIZED or grown < 40 << 20, f"memory grew by {grown} bytes"
        for raw in stalled:
            raw.socket.close()


run(globals())
