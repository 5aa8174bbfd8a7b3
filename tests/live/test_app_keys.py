# SPDX-License-Identifier: MIT
"""Keyed feeds of `ringcast app`: a client that comes late has the state at once and then every change, over each way
there is; numbers prove that nothing is missing; who is overrun is told so; and what publishers may send as one."""
import json
import time

from app import App, Stream, poll
from harness import Raw, equal, run, until

KEYS = [f"k{number}" for number in range(300)]


def publish(server, updates, lines=False):
    body = "\n".join(map(json.dumps, updates)).encode() if lines else updates
    status, answer = server.api("publish", body)
    equal(status, 200, answer)
    return answer["results"]


class Map:
    """What a client keeps of one topic: right behind `until`, and proven by the numbers."""

    def __init__(self, until=0, epoch=None):
        self.values, self.last, self.until, self.epoch, self.resyncs = {}, 0, until, epoch, 0

    def take(self, message):
        if message["type"] == "resync":
            self.values, self.last, self.until, self.epoch = {}, 0, message["seq"], message["epoch"]
            self.resyncs += 1
            return
        equal(message["type"], "update")
        equal(message["epoch"], self.epoch or message["epoch"])
        self.epoch = message["epoch"]
        if message["seq"] > self.until:
            equal(message["prev"], max(self.last, self.until), f"a gap before {message}")
        self.last = max(self.last, message["seq"])
        if message.get("snapshot"):
            self.values = {}
        if message.get("removed"):
            self.values.pop(message["key"], None)
        elif "key" in message:
            self.values[message["key"]] = message["data"]

    def to(self, sequence, hear):
        while self.last < sequence:
            self.take(hear())
        return self


def fill(server, topic, rounds=2):
    """The state afterwards; the last message is a removal."""
    for number in range(rounds):
        publish(server, [{"topic": topic, "key": key, "data": number} for key in KEYS])
    publish(server, [{"topic": topic, "key": KEYS[0], "remove": True}])
    return {key: rounds - 1 for key in KEYS[1:]}


def test_state_over_a_websocket():
    with App() as server:
        state = fill(server, "book")
        client = server.client()
        client.say("subscribe", topics=["book", "none"], state=True)
        listed = client.expect("subscribed")["topics"]
        equal([(one["topic"], one["seq"], one.get("state")) for one in listed], [("book", 601, True), ("none", 0, True)])
        kept = Map(until=listed[0]["seq"], epoch=listed[0]["epoch"])
        publish(server, [{"topic": "book", "key": "new", "data": {"a": 1.5}}])
        state["new"] = {"a": 1.5}
        equal(kept.to(602, client.hear).values, state)
        # one that comes back goes on, with no state
        late = server.client()
        late.say("subscribe", topics=["book"], state=True, since=601, epoch=listed[0]["epoch"])
        assert "state" not in late.expect("subscribed")["topics"][0]
        late.expect("update", seq=602, key="new", prev=601)
        # one that knows another beginning of the topic, or more than there is, gets the state
        for since, epoch in ((5, 1), (1000, listed[0]["epoch"])):
            late = server.client()
            late.say("subscribe", topics=["book"], state=True, since=since, epoch=epoch)
            one = late.expect("subscribed")["topics"][0]
            equal((one["seq"], one.get("state")), (602, True))
            equal(Map(until=602, epoch=one["epoch"]).to(602, late.hear).values, state)


def test_base():
    with App() as server:
        fill(server, "book")
        base = server.post("publish", topic="book", snapshot=True, data=["base"])["seq"]
        publish(server, [{"topic": "book", "key": "b", "data": 1}, {"topic": "book", "key": "a", "data": 2}])
        client = server.client()
        client.say("subscribe", topics=["book"], snapshot=True)
        one = client.expect("subscribed")["topics"][0]
        equal((one["seq"], one["state"]), (base, True))
        first = client.expect("update", snapshot=True, data=["base"], seq=base)
        kept = Map(until=base)
        kept.take(first)
        equal(kept.to(base + 2, client.hear).values, {"b": 1, "a": 2})


def test_state_in_batches():
    with App() as server:
        state = fill(server, "book")
        client = server.client()
        client.say("batching", count=50, delay=20)
        client.expect("batching")
        client.say("subscribe", topics=["book"], state=True)
        heard = []

        def hear():
            while not heard:
                message = client.hear()
                heard.extend(message["messages"] if message["type"] == "batch" else [message])
            return heard.pop(0)

        listed = hear()
        equal((listed["type"], listed["topics"][0].get("state")), ("subscribed", True))
        publish(server, [{"topic": "book", "key": "new", "data": 7}])
        state["new"] = 7
        kept = Map(until=601)
        while kept.last < 602:
            message = hear()
            # the state may be read after the change: then it holds it
            kept.until = max(kept.until, 602)
            kept.take(message)
        equal(kept.values, state)


def test_state_without_websocket():
    with App() as server:
        state = fill(server, "book")
        status, page, _ = poll(server, "book?state=1")
        equal(status, 200)
        kept = Map(until=page["topics"][0]["seq"])
        for message in page["messages"]:
            kept.take(message)
        equal((kept.values, kept.until), (state, 601))
        publish(server, [{"topic": "book", "key": "new", "data": 7}])
        topic = page["topics"][0]
        status, page, _ = poll(server, f"book?state=1&since={topic['seq']}&epoch={topic['epoch']}")
        equal([(m["seq"], m["prev"], m["key"]) for m in page["messages"]], [(602, 601, "new")])
        state["new"] = 7
        status, page, _ = poll(server, "book?state=1&since=602&epoch=1")
        kept.take(page["messages"][0])
        equal((kept.resyncs, kept.until), (1, 602))
        for message in page["messages"][1:]:
            kept.take(message)
        equal(kept.values, state)
        stream = Stream(server, "/sse/book?state=1")
        one = stream.expect("subscribed")["topics"][0]
        kept = Map(until=one["seq"], epoch=one["epoch"])
        publish(server, [{"topic": "book", "key": "last", "data": 8}])
        state["last"] = 8
        equal(kept.to(603, stream.event).values, state)


def test_overrun():
    """A client that stalls hears `resync`, and then the state: what it keeps is right again."""
    with App("--policy", "resync", "--log-size", "1m") as server:
        client = Raw(server, receive_buffer=4096).open("/ws")
        hear = lambda: json.loads(client.receive_text())  # noqa: E731
        equal(hear()["type"], "welcome")
        client.text(json.dumps({"type": "subscribe", "topics": ["book"], "state": True}))
        equal(hear()["type"], "subscribed")
        kept, count = Map(), 0
        while not server.get("/stats")[2].count(b'"resyncs":1') and count < 40000:
            publish(server, [{"topic": "book", "key": key, "data": [count, "x" * 300]} for key in KEYS])
            count += len(KEYS)
        kept.to(count, hear)
        equal((len(kept.values), kept.values[KEYS[5]][0]), (len(KEYS), count - len(KEYS)))
        assert kept.resyncs >= 1


def test_rate():
    with App() as server:
        client = server.client()
        client.say("subscribe", topics=["book"], rate=10)
        client.expect("subscribed")
        began, numbers, values = time.monotonic(), 0, {}
        for number in range(300):
            publish(server, [{"topic": "book", "key": f"k{number % 3}", "data": number}])
        while sorted(values.values()) != [297, 298, 299]:
            message = client.expect("update")
            values[message["key"]] = message["data"]
            numbers += 1
        assert numbers <= 3 * (10 * (time.monotonic() - began) + 2), numbers


def test_many_as_one():
    with App() as server:
        client = server.client()
        client.say("subscribe", topics=["a", "b"])
        client.expect("subscribed")
        results = publish(server, [{"topic": "a", "data": {"n": 1.0}}, {"topic": "b", "data": None, "key": "\u00e9"},
                                   {"topic": "a", "key": "k", "remove": True}, {"topic": "a", "snapshot": True, "data": []}])
        equal([(one["topic"], one["seq"]) for one in results], [("a", 1), ("b", 1), ("a", 2), ("a", 3)])
        expected = [{"topic": "a", "seq": 1, "prev": 0, "data": {"n": 1.0}}, {"topic": "b", "key": "\u00e9", "seq": 1, "prev": 0, "data": None},
                    {"topic": "a", "key": "k", "removed": True, "seq": 2, "prev": 1, "data": None},
                    {"topic": "a", "snapshot": True, "seq": 3, "prev": 2, "data": []}]
        for number, wanted in enumerate(expected):
            equal(client.hear(), {"type": "update", "epoch": results[number]["epoch"], **wanted})
        equal([one["seq"] for one in publish(server, [{"topic": "a", "data": 4}, {"topic": "a", "data": 5}], lines=True)], [4, 5])
        answer = server.post("publish", topic="a", data=6)
        equal(answer, {"seq": 6, "epoch": results[0]["epoch"]})
        # a pattern hears the first message of each topic that a round begins
        watcher = server.client()
        watcher.say("subscribe", topics=["new.*"])
        watcher.expect("subscribed")
        publish(server, [{"topic": f"new.{number}", "data": number} for number in range(5)])
        equal(sorted(watcher.expect("update")["data"] for _ in range(5)), list(range(5)))


def test_what_is_refused():
    good = {"topic": "a", "data": 1}
    wrong = [{}, {"topic": "a"}, {"topic": "", "data": 1}, {"topic": "room/x", "data": 1}, {"topic": "a", "data": 1, "key": ""},
             {"topic": "a", "data": 1, "key": "k" * 65}, {"topic": "a", "data": 1, "key": 5}, {"topic": "a", "remove": True},
             {"topic": "a", "data": 1, "key": "k", "snapshot": True}, {"topic": "a", "data": 1, "key": "k", "remove": 1}, 5, "x", None]
    with App(limits=True) as server:
        for one in wrong:
            equal(server.api("publish", json.dumps(one).encode())[0], 400, one)
            for body in (json.dumps([good, one]), json.dumps(good) + "\n" + json.dumps(one)):
                status, answer = server.api("publish", body.encode())
                equal(status, 400, body)
                assert answer["error"].startswith("message 2: "), answer
        for body in (b"", b"[]", b"[[]]", b"{", b"[1", b"{}{", b"\xff", json.dumps(good).encode() + b"]"):
            equal(server.api("publish", body)[0], 400, body)
        equal(server.api("publish", json.dumps([good] * 1025).encode())[0], 413)
        equal(server.api("publish", b"x" * (300 << 10))[0], 413)
        equal(server.api("broadcast", b'[{"content":1}]')[0], 400)
        equal(server.api("broadcast", b'{"content":1}{"content":2}')[0], 400)
        equal(json.loads(server.get("/stats")[2])["total"]["published"], 0, "all or nothing")
        client = server.client()
        for members in ({"state": 1}, {"snapshot": "yes"}, {"rate": 0}, {"rate": 1001}, {"rate": 1.5}, {"rate": "10"}):
            client.say("subscribe", topics=["a"], **members)
            client.expect_error("INVALID_FIELD")
        # states are paid for: one for each name
        client.say("subscribe", topics=[f"t{number}" for number in range(250)], state=True)
        client.expect_error("RATE_LIMIT_EXCEEDED")
        for query in ("rate=0", "rate=x", "rate=1001"):
            equal(poll(server, "a?" + query)[0], 400, query)


def test_bounds_of_states():
    """Values that the log has let go of are kept within --state-max."""
    with App("--log-size", "1m", "--state-max", "64k") as server:
        for start in range(0, 2000, 100):
            publish(server, [{"topic": "book", "key": f"k{number}", "data": "x" * 100} for number in range(start, start + 100)])
        for _ in range(30):
            publish(server, [{"topic": "other", "data": "x" * 1000} for _ in range(100)])
        total = json.loads(server.get("/stats")[2])["total"]
        assert 0 < total["state_size"] <= 64 << 10, total
        assert total["state_dropped"] > 0 and total["keys"] > 0, total
        until(lambda: poll(server, "book?state=1")[0] == 200, "an answer")


run(globals())
