# SPDX-License-Identifier: MIT
"""Forms: the same topics as JSON envelopes, with a binary header, as events, page by page; what publishers may send in
return; and what is refused, in words. An encoding is made once, however many read in it."""
import base64
import http.client
import json
import struct
import time

from harness import BINARY, TEXT, Raw, Server, equal, run, until


def ask(server, method, path, body=None, **headers):
    link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    link.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = link.getresponse()
    text = answer.read()
    link.close()
    return answer.status, text


def post(server, path, body, **headers):
    status, text = ask(server, "POST", path, body, **headers)
    equal(status, 200, text)
    return json.loads(text)


def poll(server, path):
    status, text = ask(server, "GET", path)
    equal(status, 200, text)
    return json.loads(text)


def received(raw):
    opcode, payload = raw.receive()
    equal(opcode, TEXT)
    return json.loads(payload)


def read_binary(payload):
    kind, flags, key_size, topic_size, sequence, epoch, previous = struct.unpack(">BBBBQQQ", payload[:28])
    topic, key = payload[28:28 + topic_size], payload[28 + topic_size:28 + topic_size + key_size]
    return kind, flags, topic, key, sequence, epoch, previous, payload[28 + topic_size + key_size:]


def test_json():
    with Server() as server:
        reader, plain = server.connect("/topic/A,B?form=json"), server.connect("/topic/A,B")
        writer = server.connect("/publish/A")
        for text in ('{"px": 1.50}', "words", '"quoted"', "", "[1]\n", "\u20ac", "{broken"):
            writer.text(text)
            equal(plain.receive_text(), text)
            message = received(reader)
            try:
                equal(message["d"], json.loads(text))
            except json.JSONDecodeError:
                equal(message["d"], text)
        writer.binary(b"\0\xff")
        message = received(reader)
        equal(base64.b64decode(message["x"]), b"\0\xff")
        equal((message["t"], message["s"], message["p"]), ("A", 8, 7))
        epoch = message["e"]
        other = server.connect("/publish/B")
        other.text("1")
        message = received(reader)
        equal(message, {"t": "B", "s": 1, "e": message["e"], "p": 0, "d": 1})
        assert message["e"] != epoch, "two topics, one epoch"


def test_binary():
    with Server() as server:
        reader = server.connect("/topic/A?form=binary")
        post(server, "/publish/A?key=bid:7", "text")
        post(server, "/publish/A?key=bid:7&remove=1", b"")
        post(server, "/publish/A", b"\0\1", Content_Type="application/octet-stream")
        post(server, "/publish/A?snapshot=1", "base")
        expected = [(1, b"bid:7", b"text"), (3, b"bid:7", b""), (0, b"", b"\0\1"), (5, b"", b"base")]
        for number, (flags, key, data) in enumerate(expected, 1):
            opcode, payload = reader.receive()
            equal(opcode, BINARY)
            kind, got_flags, topic, got_key, sequence, _, previous, got = read_binary(payload)
            equal((kind, got_flags, topic, got_key, sequence, previous, got),
                  (0, flags, b"A", key, number, number - 1, data))


def test_made_once():
    """20 readers of a form on 2 workers, 50 messages: 50 are written, not 1,000. Who reads plainly costs none."""
    with Server(workers=2) as server:
        plain = [server.connect("/topic/A") for _ in range(5)]
        readers = [server.connect("/topic/A?form=json") for _ in range(20)]
        until(lambda: server.stats()["subscriptions"] == 25, "25 subscriptions")
        writer = server.connect("/publish/A")
        for number in range(50):
            writer.text(str(number))
            for reader in readers:
                equal(received(reader)["d"], number)
            for reader in plain:
                equal(reader.receive_text(), str(number))
        equal(server.stats()["encoded"], 50)


def test_reader_from_the_past():
    """What was published before anybody read in the form comes in it as well, also where it is many messages."""
    with Server() as server:
        for start in range(0, 3000, 1000):
            post(server, "/publish/A?lines=1", "\n".join(str(number) for number in range(start, start + 1000)))
        for form in ("json", "binary"):
            reader = server.connect(f"/topic/A?since=0&form={form}")
            for number in range(3000):
                opcode, payload = reader.receive()
                got = json.loads(payload)["d"] if form == "json" else int(read_binary(payload)[7])
                equal(got, number)
        equal(received(server.connect("/topic/A?last=1&form=json"))["s"], 3000)


def test_large_message():
    """One that is larger than an encoding takes gets a copy of its own."""
    with Server("--log-size", "1m", "--message-max", "1m") as server:
        reader = server.connect("/topic/A?form=json")
        text = "x" * 200000 + '"' * 1000
        writer = server.connect("/publish/A")
        for number in range(1, 6):
            writer.text(text)
            message = received(reader)
            equal((message["s"], message["d"]), (number, text))


def test_events():
    with Server() as server:
        post(server, "/publish/A", "{\n1\n}")
        post(server, "/publish/A", '{\n"a":1\r\n}')
        link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        link.request("GET", "/sse/A?since=0&form=json")
        stream = link.getresponse()
        equal((stream.status, stream.headers["Content-Type"]), (200, "text/event-stream"))
        messages, ids = [], []
        while len(messages) < 2:
            line = stream.fp.readline()
            if line.startswith(b"data: "):
                messages.append(json.loads(line[6:]))
            elif line.startswith(b"id: "):
                ids.append(line[4:].strip().decode())
        equal([message["d"] for message in messages], ["{\n1\n}", {"a": 1}])
        link.close()
        again = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        again.request("GET", "/sse/A", headers={"Last-Event-ID": ids[0]})
        stream = again.getresponse()
        lines = [stream.fp.readline() for _ in range(4)]
        equal(lines, [f"id: {ids[1]}\n".encode(), b"data: {\n", b'data: "a":1\n', b"data: }\n"])
        again.close()


def test_poll():
    with Server() as server:
        page = poll(server, "/poll/A,B?wait=0")
        equal([topic["seq"] for topic in page["topics"]], [0, 0])
        equal(page["messages"], [])
        post(server, "/publish/A?lines=1", "1\n2\n")
        page = poll(server, "/poll/A,B?since=1,0")
        equal([(message["t"], message["s"]) for message in page["messages"]], [("A", 2)])
        topics = page["topics"]
        path = "/poll/A,B?since=%d,%d&epoch=%d,%d" % (*(each["seq"] for each in topics), *(each["epoch"] for each in topics))
        began = time.monotonic()
        equal(ask(server, "GET", path + "&wait=1")[0], 204)
        waited = time.monotonic() - began
        assert 0.9 < waited < 5, waited
        equal(ask(server, "GET", path + "&wait=0")[0], 204)
        writer = server.connect("/publish/B")
        link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        link.request("GET", path)
        until(lambda: server.stats()["subscriptions"] == 2, "the poll waits")
        writer.text('"late"')
        answer = link.getresponse()
        equal((answer.status, json.loads(answer.read())["messages"][0]["d"]), (200, "late"))
        until(lambda: server.stats()["subscriptions"] == 0, "the poll has gone")
        # the topic began anew since: that is told
        page = poll(server, "/poll/A?since=1&epoch=7")
        equal([message.get("m") for message in page["messages"]], ["state", None, None])
        page = poll(server, "/poll/A?since=99")
        equal(page["messages"][0]["m"], "state")


def test_poll_pages():
    with Server() as server:
        for start in range(0, 2500, 500):
            post(server, "/publish/A?lines=1", "\n".join(str(number) for number in range(start, start + 500)))
        since, got = 0, []
        while True:
            page = poll(server, f"/poll/A?since={since}")
            assert len(page["messages"]) <= 1000
            got += [message["d"] for message in page["messages"]]
            since = page["topics"][0]["seq"]
            if "more" not in page:
                break
        equal(got, list(range(2500)))


def test_one_connection_feeds_all():
    """Topic and key in each message; an array is one round: nothing of others comes between."""
    with Server() as server:
        reader = server.connect("/topic/A,B,C?form=json")
        writer, other = server.connect("/publish?form=json"), server.connect("/publish/A")
        writer.text(json.dumps([{"t": "A", "k": "k", "d": {"z": 1.5}}, {"t": "B", "d": "words"}, {"t": "A", "k": "k", "r": True},
                                {"t": "C", "x": "AAE="}, {"t": "C", "b": True, "d": [1]}]))
        got = [received(reader) for _ in range(5)]
        for message in got:
            del message["e"]
        equal(got, [{"t": "A", "s": 1, "p": 0, "k": "k", "d": {"z": 1.5}}, {"t": "B", "s": 1, "p": 0, "d": "words"},
                    {"t": "A", "s": 2, "p": 1, "k": "k", "r": True}, {"t": "C", "s": 1, "p": 0, "x": "AAE="},
                    {"t": "C", "s": 2, "p": 1, "b": True, "d": [1]}])
        # what is read may be sent back as it is
        message = got[0]
        writer.text(json.dumps(message))
        equal(received(reader)["d"], {"z": 1.5})
        named = server.connect("/publish/A?form=json")
        named.text('{"d":{ "as" : "it stands" }}')
        equal(received(reader)["d"], {"as": "it stands"})
        plain = server.connect("/topic/A?last=1")
        equal(plain.receive_text(), '{ "as" : "it stands" }')
        other.close()


def test_post():
    with Server() as server:
        equal(post(server, "/publish/A", "one"), {"seq": 1})
        equal(post(server, "/publish/A?lines=1", "two\r\n\nthree"), {"seqs": [2, 3]})
        equal(post(server, "/publish/A", "four\nfive\n", Content_Type="application/x-ndjson"), {"seqs": [4, 5]})
        equal(post(server, "/publish?form=json&lines=1", '{"t":"A","d":6}\n{"t":"B","d":1}\n'), {"seqs": [6, 1]})
        equal(post(server, "/publish?form=json", '[{"t":"B","d":2}]'), {"seqs": [2]})
        reader = server.connect("/topic/A?since=0")
        equal([reader.receive_text() for _ in range(6)], ["one", "two", "three", "four", "five", "6"])


def keyed(server, topic, keys, rounds=3):
    """Publishes `rounds` values of each key; the state afterwards, in order."""
    for number in range(rounds):
        for start in range(0, len(keys), 500):
            post(server, "/publish?form=json", json.dumps([{"t": topic, "k": key, "d": [key, number]} for key in keys[start:start + 500]]))
    return {key: [key, rounds - 1] for key in keys}


class Book:
    """A reader that keeps the state of one topic by the rules of DIALECT.md's neighbour, the forms: what it has is right
    behind `until`, or it says why not."""

    def __init__(self, raw):
        self.raw, self.values, self.epoch, self.last, self.until, self.marks = raw, {}, 0, 0, 0, []

    def take(self):
        message = received(self.raw)
        if "m" in message:
            self.marks.append(message["m"])
            if message["m"] in ("state", "resync") or message["e"] != self.epoch:
                self.values, self.last = {}, 0
            if message["m"] == "heartbeat":
                equal(message["s"], max(self.last, self.until), "a heartbeat tells of a message that did not come")
            self.epoch, self.until = message["e"], max(message["s"], self.until if message["m"] == "heartbeat" else 0)
            return message
        equal(message["e"], self.epoch or message["e"], "another epoch without a mark")
        self.epoch = message["e"]
        if message["s"] > self.until:
            equal(message["p"], max(self.last, self.until), f"a gap that no mark told, before {message}")
        self.last = max(self.last, message["s"])
        if message.get("b"):
            self.values = {}
        if message.get("r"):
            self.values.pop(message["k"], None)
        elif "k" in message:
            self.values[message["k"]] = message["d"]
        return message

    def to(self, sequence):
        while self.last < sequence:
            self.take()
        return self


def test_state():
    """Who comes late has the state at once, in each form and however the log goes on, and then everything."""
    keys = [f"k{number}" for number in range(700)]
    with Server("--log-size", "1m") as server:
        state = keyed(server, "A", keys)
        for number in range(5):  # the log goes on, and lets the values go
            post(server, "/publish/B?lines=1", "\n".join("x" * 400 for _ in range(500)))
        post(server, "/publish/A?key=k0&remove=1", b"")
        del state["k0"]
        book = Book(server.connect("/topic/A?form=json&state=1"))
        equal(book.take()["s"], 2101)
        post(server, "/publish/A?key=new", "1")
        state["new"] = 1
        equal(book.to(2102).values, state)
        assert "resync" not in book.marks, book.marks
        page = poll(server, "/poll/A?state=1")
        equal({message["k"]: message["d"] for message in page["messages"][1:]}, state)
        equal((page["messages"][0]["m"], page["topics"][0]["seq"]), ("state", 2102))
        reader, seen = server.connect("/topic/A?form=binary&state=1"), {}
        kind, _, topic, _, sequence, _, _, _ = read_binary(reader.receive()[1])
        equal((kind, topic, sequence), (1, b"A", 2102))
        while len(seen) < len(state):
            _, _, _, key, _, _, _, data = read_binary(reader.receive()[1])
            seen[key.decode()] = json.loads(data)
        equal(seen, state)
        plain = server.connect("/topic/A?state=1")
        equal([json.loads(plain.receive_text()) for _ in state], list(state.values()))


def test_large_states_by_poll():
    """A state comes whole, also one of more messages than a page; or it is refused, in words."""
    keys = [f"k{number}" for number in range(2500)]
    with Server() as server:
        state = keyed(server, "A", keys, 1)
        page = poll(server, "/poll/A?state=1")
        equal({message["k"]: message["d"] for message in page["messages"][1:]}, state)
        assert "more" not in page
        for start in range(0, 2500, 500):
            post(server, "/publish?form=json", json.dumps([{"t": "B", "k": key, "d": "x" * 1900} for key in keys[start:start + 500]]))
        status, words = ask(server, "GET", "/poll/B?state=1")
        equal(status, 400)
        assert b"larger than 4 MB" in words, words


def test_snapshot():
    with Server() as server:
        keyed(server, "A", ["a", "b"])
        post(server, "/publish/A?snapshot=1", '"base"')
        post(server, "/publish/A?key=c", "3")
        book = Book(server.connect("/topic/A?form=json&snapshot=1"))
        first = book.take()
        equal((first["m"], first["s"]), ("state", 7))
        base = book.take()
        equal((base["b"], base["d"], base["s"]), (True, "base", 7))
        equal(book.to(8).values, {"c": 3})


def test_resume_and_epoch():
    """since= with the epoch goes on; with another epoch it begins anew, and says so."""
    with Server() as server:
        state = keyed(server, "A", ["a", "b"])
        first = received(server.connect("/topic/A?form=json&since=0"))
        epoch = first["e"]
        equal(received(server.connect(f"/topic/A?form=json&since=4&epoch={epoch}"))["s"], 5)
        book = Book(server.connect(f"/topic/A?form=json&since=4&epoch={epoch}&state=1"))
        book.last, book.epoch = 4, epoch
        equal(book.take()["s"], 5)
        for path in (f"since=4&epoch={epoch + 1}", f"since=99&epoch={epoch}"):
            book = Book(server.connect("/topic/A?form=json&" + path))
            book.epoch = 1
            mark = book.take()
            equal((mark["m"], mark["s"], mark["e"]), ("state", 0, epoch))
            equal([book.take()["s"] for _ in range(6)], list(range(1, 7)))
            book = Book(server.connect("/topic/A?form=json&state=1&" + path))
            book.epoch = 1
            mark = book.take()
            equal((mark["m"], mark["s"]), ("state", 6))
            equal(book.to(6).values, state)
        # a topic that is new altogether
        mark = received(server.connect("/topic/none?form=json&since=4&epoch=1"))
        equal((mark["m"], mark["s"]), ("state", 0))


def test_rate():
    """At most so many looks a second, the newest of each key, and the numbers still prove that nothing is missing."""
    with Server() as server:
        book = Book(server.connect("/topic/A?form=json&rate=5"))
        writer = server.connect("/publish?form=json")
        began, count = time.monotonic(), 0
        for number in range(1, 1001):
            writer.text(json.dumps({"t": "A", "k": f"k{number % 3}", "d": number}))
            time.sleep(0.001)
        while book.last < 1000:
            count += "m" not in book.take()
        equal(sorted(book.values.values()), [998, 999, 1000])
        assert count <= 3 * 5 * (1 + time.monotonic() - began) + 3, count
        assert "conflated" in book.marks and "resync" not in book.marks, book.marks


def test_overrun():
    """A reader that stalls is told so, goes on from the state, and is right again; nothing was queued for it."""
    keys = [f"k{number}" for number in range(50)]
    with Server("--log-size", "1m", "--policy", "resync", "--notsent-lowat", "4k") as server:
        raw = Raw(server, receive_buffer=4096).open("/topic/A?form=json&state=1")
        book, state = Book(raw), {}
        equal(book.take()["m"], "state")
        writer = server.connect("/publish?form=json")
        for number in range(200):
            writer.text(json.dumps([{"t": "A", "k": key, "d": [number, "x" * 500]} for key in keys]))
            state = {key: [number, "x" * 500] for key in keys}
        until(lambda: server.stats()["published"] == 10000, "all is published")
        until(lambda: server.stats()["resyncs"] > 0, "the reader is overrun")
        while book.last < 10000:
            book.take()
        equal(book.values, state)
        assert "resync" in book.marks, book.marks


def test_poll_waits_for_the_next():
    with Server() as server:
        ask(server, "POST", "/publish/A", "1")
        with Raw(server) as raw:
            raw.send(b"GET /poll/A?wait=20 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            time.sleep(0.2)
            ask(server, "POST", "/publish/A", "2")
            status, _, body = raw.response()
        equal((status, [message["d"] for message in json.loads(body)["messages"]]), (200, [2]))
        page = poll(server, "/poll/A?wait=1")
        equal((page["messages"], page["topics"][0]["seq"]), ([], 2), "when none comes, where the topic stands")


def test_wrong_questions():
    wrong = {"form=nonsense": "form is raw, json or binary", "rate=0": "rate", "rate=1001": "rate", "rate=x": "rate",
             "state=2": "state", "last=yes": "last", "since=-1": "since=", "since=": "since=", "since=1x": "since=",
             "epoch=x": "epoch=", "since=99999999999999999999": "since=", "wait=61": "wait", "snapshot=": "snapshot"}
    with Server() as server:
        for query, words in wrong.items():
            for path in ("/sse/A?", "/poll/A?"):
                status, text = ask(server, "GET", path + query)
                equal(status, 400, path + query)
                assert words in text.decode(), (query, text)
            with Raw(server) as raw:
                raw.send(raw.request("/topic/A?" + query))
                status, _, text = raw.response()
                equal(status, 400, query)
                assert words in text.decode(), (query, text)
        for path in ("/sse/A?form=binary", "/poll/A?form=binary", "/sse/%01", "/poll/A,,B", "/poll/" + "x" * 256,
                     "/poll/" + ",".join("T%d" % number for number in range(257))):
            equal(ask(server, "GET", path)[0], 400, path)
        for path, status in (("/sse/A", 405), ("/poll/A", 405), ("/topic/A", 405), ("/stats", 405), ("/nowhere", 413)):
            equal(ask(server, "POST", path, "body")[0], status, path)


def test_wrong_publications():
    wrong = ["", "x", "1", "[]", "[1]", "{}", '{"t":"A"}', '{"t":"","d":1}', '{"t":1,"d":1}', '{"t":"A","d":1,"x":"AA=="}',
             '{"t":"A","x":"%"}', '{"t":"A","x":"A"}', '{"t":"A","x":"AA=A"}', '{"t":"A","k":"","d":1}',
             '{"t":"A","k":"%s","d":1}' % ("k" * 65), '{"t":"A","k":1,"d":1}', '{"t":"A","r":true}', '{"t":"A","k":"k","b":true,"d":1}',
             '{"t":"A","r":1,"k":"k"}', '{"t":"A","q":1,"d":1}', '{"t":"A","d":1}{"t":"A","d":1}', '{"t":"A","d":1,"d":2}',
             '{"t":"%s","d":1}' % ("t" * 256), '{"t":"\\u0001","d":1}', '{"t":"A","\\u0064":1}', "[" * 100000,
             '[{"t":"A","d":1},{"t":"A"}]', json.dumps([{"t": "A", "d": 1}] * 1025)]
    with Server() as server:
        for text in wrong:
            status, words = ask(server, "POST", "/publish?form=json", text)
            assert status == 400 and len(words) > 10, (text[:80], status, words)
            writer = server.connect("/publish?form=json")
            writer.text(text)
            writer.expect_close(1008)
        equal(ask(server, "POST", "/publish/A?lines=1", "\n" * 100)[0], 400)
        equal(ask(server, "POST", "/publish/A?lines=1", "x\n" * 1025)[0], 400)
        equal(ask(server, "POST", "/publish/A?key=" + "k" * 65, "x")[0], 400)
        equal(ask(server, "POST", "/publish/A?remove=1", "x")[0], 400)
        equal(ask(server, "POST", "/publish/A?key=k&snapshot=1", "x")[0], 400)
        equal(ask(server, "POST", "/publish/A", b"\xff")[0], 400)
        equal(ask(server, "POST", "/publish/A?form=binary", b"x")[0], 400)
        equal(ask(server, "POST", "/publish", b"x")[0], 400)
        equal(ask(server, "POST", "/publish/A", b"x" * (2 << 20))[0], 413)
        writer = server.connect("/publish?form=json")
        writer.binary(b"{}")
        writer.expect_close(1003)
        equal(server.stats()["published"], 0, "all or nothing")


def test_who_may_publish():
    """The rules are those of a WebSocket, and are asked before a body is awaited."""
    with Server("--publish-from", "none") as server:
        equal(ask(server, "POST", "/publish/A", "x")[0], 403)
        link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        link.putrequest("POST", "/publish/A")
        link.putheader("Content-Length", "1000000")
        link.endheaders()
        equal(link.getresponse().status, 403)
    with Server() as server:
        equal(ask(server, "POST", "/publish/A", "x", Origin="https://elsewhere.example")[0], 403)
        equal(ask(server, "POST", "/publish/A", "x", X_Forwarded_For="10.0.0.1")[0], 403)
        equal(ask(server, "POST", "/publish/A", "x")[0], 200)


run(globals())
