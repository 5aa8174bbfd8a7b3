# SPDX-License-Identifier: MIT
"""What several nodes of `ringcast serve` promise behind a backplane, as scenarios for test_backplane_*.py: each takes a
started engine of engines.py. Readers are honest: a number twice, a hole that nobody told of, or a mark that nobody expects,
fails."""
import json
import threading
import time

from engines import Cut
from harness import SLOW, Raw, Server, command, equal, until

TOPICS = ("A", "B", "C")


class Reader:
    """A subscriber of all topics, on a thread of its own."""

    def __init__(self, node, query="", topics=TOPICS):
        self.link = node.connect(f"/topic/{','.join(topics)}?form=json{query}")
        self.link.socket.settimeout(60 * SLOW)
        self.messages, self.marks, self.error = [], [], None
        self.last = {}
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while True:
                self.take(json.loads(self.link.receive_text()))
        except (OSError, EOFError, ValueError, AssertionError) as error:
            self.error = error

    def take(self, message):
        topic = message["t"]
        if "m" in message:
            if message["m"] != "heartbeat":
                self.marks.append((message["m"], topic, message["e"], message["s"]))
                self.last[topic] = (message["e"], message["s"])
            return
        place = (message["e"], message["s"])
        before = self.last.get(topic)
        if before and (place <= before or message["p"] > before[1] and before[0] == message["e"]):
            raise AssertionError(f"{message} comes after {before}")
        self.last[topic] = place
        self.messages.append((topic, *place, str(message["d"])))

    def wait(self, count, limit=10):
        until(lambda: len(self.messages) >= count or self.error, f"{count} messages", limit)
        if self.error:
            raise self.error
        equal(len(self.messages), count, "messages")
        return self.messages

    def of(self, topic):
        return [message for message in self.messages if message[0] == topic]

    def close(self):
        self.link.socket.close()


def start(engine, count=3, port=None, prefix="nodes", *flags):
    return [Server("--backplane", engine.url(prefix, port), *flags, workers=1) for _ in range(count)]


def stop(nodes):
    for node in nodes:
        node.stop()


def publish(node, topic, text):
    """The status of the answer."""
    with Raw(node) as raw:
        body = text.encode()
        raw.send(b"POST /publish/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nConnection: close\r\n"
                 b"Content-Length: %d\r\n\r\n%s" % (topic.encode(), len(body), body))
        return raw.response()[0]


def published(node, topic, text):
    equal(publish(node, topic, text), 200, "the answer to a publish")


def one_view(readers):
    """All readers have the same messages at the same numbers, each topic in one order."""
    for topic in TOPICS:
        lists = [reader.of(topic) for reader in readers]
        for other in lists[1:]:
            equal(other, lists[0], f"{topic} on another node")


def backplane(node):
    return json.loads(node.get("/stats")[2])["backplane"]


def everywhere(engine):
    """Published anywhere, seen everywhere in one order with the same numbers; and by who comes later, from there on."""
    nodes = start(engine, prefix="everywhere")
    readers = [Reader(node) for node in nodes]
    threads = [threading.Thread(target=lambda node=node, i=i: [
        published(node, TOPICS[n % 3], f"{i}-{n}") for n in range(60)]) for i, node in enumerate(nodes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for reader in readers:
        messages = reader.wait(180)
        equal(sorted(text for _, _, _, text in messages), sorted(f"{i}-{n}" for i in range(3) for n in range(60)))
        equal(reader.marks, [], "marks")
    one_view(readers)
    _, epoch, sequence, _ = readers[0].of("A")[29]
    late = Reader(nodes[2], f"&since={sequence}&epoch={epoch}", ("A",))
    equal(late.wait(30), readers[0].of("A")[30:], "since a number of another node's")
    equal(late.marks, [], "marks")
    stop(nodes)


def restart(engine):
    """All nodes end, and others start: the history is there, at the same numbers."""
    nodes = start(engine, 2, prefix="restart")
    reader = Reader(nodes[0])
    for n in range(30):
        published(nodes[n % 2], TOPICS[n % 3], str(n))
    before = list(reader.wait(30))
    stop(nodes)
    nodes = start(engine, 2, prefix="restart")
    for node in nodes:
        for topic in TOPICS:
            old = [message for message in before if message[0] == topic]
            again = Reader(node, f"&since={old[3][2]}&epoch={old[3][1]}", (topic,))
            equal(again.wait(6), old[4:], "since a number of before the restart")
            equal(again.marks, [], "marks")
    published(nodes[0], "A", "new")
    equal(again.marks, [])
    stop(nodes)


def broken(engine):
    """One node's connection is cut while others publish: its clients notice nothing, and have all in a moment."""
    with Cut(engine.port) as way:
        nodes = start(engine, 1, way.port, "broken") + start(engine, 1, None, "broken")
        readers = [Reader(nodes[0]) for _ in range(20)]
        published(nodes[0], "A", "before")
        for reader in readers:
            reader.wait(1)
        way.cut()
        for n in range(10):
            published(nodes[1], "A", str(n))
        until(lambda: not backplane(nodes[0])["up"], "that it knows")
        way.mend()
        until(lambda: backplane(nodes[0])["up"], "that it is whole")
        for reader in readers:
            equal([text for _, _, _, text in reader.wait(11, 3)], ["before"] + [str(n) for n in range(10)])
            equal((reader.marks, reader.error), ([], None), "what a client noticed")
        published(nodes[0], "A", "after")
        readers[0].wait(12)
        stop(nodes)


def killed(engine, rest=1):
    """The engine is killed and started again while clients publish: what was confirmed is everywhere, once, in one order."""
    nodes = start(engine, 3, None, "killed")
    readers = [Reader(node) for node in nodes]
    confirmed, tried, ending = [], [], threading.Event()

    def work(i):
        n = 0
        while not ending.is_set():
            text = f"{i}-{n}"
            tried.append(text)
            try:
                if publish(nodes[i], TOPICS[n % 3], text) == 200:
                    confirmed.append(text)
                else:
                    time.sleep(0.02)
            except (OSError, EOFError):
                time.sleep(0.02)
            n += 1

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(rest)
    engine.kill()
    time.sleep(0.3)
    engine.start()
    until(lambda: all(backplane(node)["up"] for node in nodes), "that all are whole again", 30)
    time.sleep(1)
    ending.set()
    for thread in threads:
        thread.join()
    published(nodes[0], "A", "last")
    for reader in readers:
        until(lambda reader=reader: reader.messages and reader.messages[-1][3] == "last" or reader.error, "the last message")
        texts = [text for _, _, _, text in reader.messages]
        equal(len(texts), len(set(texts)), "none twice")
        equal(set(confirmed) - set(texts), set(), "none lost that was confirmed")
        equal((reader.marks, reader.error), ([], None), "what a client noticed")
    one_view(readers)
    stop(nodes)


def anew(engine):
    """The stream is deleted: a new epoch, and clients are told."""
    nodes = start(engine, 2, None, "anew")
    readers = [Reader(node) for node in nodes]
    for n in range(5):
        published(nodes[n % 2], "A", str(n))
    for reader in readers:
        reader.wait(5)
    old = readers[0].messages[-1]
    engine.delete("anew")
    until(lambda: all(reader.marks for reader in readers), "that clients are told")
    until(lambda: publish(nodes[1], "A", "new") == 200, "that there is a stream")
    for reader in readers:
        until(lambda reader=reader: reader.messages[-1][3] == "new", "what was published then")
        kinds = {kind for kind, _, _, _ in reader.marks}
        equal(kinds, {"resync"}, "marks")
        if not reader.messages[-1][1] > old[1]:
            raise AssertionError(f"the epoch is {reader.messages[-1][1]}, and was {old[1]}")
    one_view([reader for reader in readers])
    late = Reader(nodes[0], f"&since={old[2]}&epoch={old[1]}", ("A",))
    until(lambda: late.messages, "what there is now")
    equal((late.marks[0][0], late.messages[0][3]), ("state", "new"), "who comes back with an old number is told")
    stop(nodes)


def emptied(engine):
    """A stream that is emptied while a node is behind: the node is whole again, its clients are told, and all goes on;
    likewise a node that starts with nothing to read."""
    with Cut(engine.port) as way:
        nodes = start(engine, 1, way.port, "emptied") + start(engine, 1, None, "emptied")
        readers = [Reader(node) for node in nodes]
        published(nodes[1], "A", "before")
        for reader in readers:
            reader.wait(1)
        way.cut()
        until(lambda: not backplane(nodes[0])["up"], "that it knows")
        for n in range(5):
            published(nodes[1], "A", str(n))
        readers[1].wait(6)
        engine.empty("emptied")
        way.mend()
        until(lambda: backplane(nodes[0])["up"], "that it is whole", 20)
        equal(backplane(nodes[0])["gaps"], 1, "gaps")
        until(lambda: readers[0].marks, "that its client is told")
        until(lambda: publish(nodes[0], "A", "after") == 200, "that it takes messages")
        for reader in readers:
            until(lambda reader=reader: reader.messages[-1][3] == "after" or reader.error, "what was published then")
            equal((reader.messages[-1][3], reader.error), ("after", None))
        engine.empty("emptied")
        nodes += start(engine, 1, None, "emptied")
        until(lambda: backplane(nodes[2])["up"], "that a new node is whole", 20)
        equal(backplane(nodes[2])["gaps"], 0, "gaps of who had nothing")
        last = Reader(nodes[2])
        until(lambda: publish(nodes[2], "B", "last") == 200, "that it takes messages")
        until(lambda: last.messages, "its own message")
        for reader in readers:
            until(lambda reader=reader: reader.messages[-1][3] == "last" or reader.error, "its message on other nodes")
            equal((reader.messages[-1][3], reader.error), ("last", None))
        stop(nodes)


def unreadable(*urls):
    """A file that cannot be read ends the start, and is no engine that is away."""
    for url in urls:
        done = command("serve", "--backplane", url)
        said = done.stderr.decode()
        equal(done.returncode, 2, f"{url}: {said}")
        if "=: the file cannot be read: No such file" not in said:
            raise AssertionError(f"{url}: {said}")
