# SPDX-License-Identifier: MIT
"""What clients of `ringcast app` send goes to a queue of the engine (--backplane-out), where services work on it. Each
scenario takes a started engine, and how to start a service: the examples, by the engine's own tools."""
import os
import queue
import subprocess
import threading

import backplane_nodes as nodes
from app import SECRET, App, token
from harness import SLOW, TOP, command, die_with_parent, equal, until


class Service:
    """An example that prints `USER ID DATA` for each job; of Kafka, `user=..,id=..,time=.. DATA`."""

    def __init__(self, engine, name, file, *runner):
        path = os.path.join(TOP, "tools", "backplane", "examples", file)
        self.process = subprocess.Popen([*runner, path, str(engine.port), name], stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, preexec_fn=die_with_parent)
        self.lines = queue.Queue()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        for line in self.process.stdout:
            if line.startswith("user="):
                headers, data = line.split(" ", 1)
                fields = dict(field.split("=", 1) for field in headers.split(","))
                line = f"{fields['user']} {fields['id']} {data}"
            self.lines.put(line.strip())

    def next(self):
        return self.lines.get(timeout=30 * SLOW)

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.thread.join()
        self.process.stdout.close()


def prefix_of(name):
    return "of-" + name.replace(".", "-").replace("/", "-")


def send(client, id_, data):
    """A client's DATA, and its ACK."""
    client.say("DATA", id=id_, data=data)
    return client.expect("ACK", data={"messageId": id_})


def worked_on(engine, name, *service):
    """What was acknowledged to its sender reaches a service, from clients of both nodes, and the feed of their data."""
    prefix = prefix_of(name)
    both = [App("--backplane", engine.url(prefix), "--backplane-out", name, workers=1) for _ in range(2)]
    clients = [node.client(f"/ws/u{n}") for n, node in enumerate(both)]
    for n, client in enumerate(clients):
        send(client, f"first-{n}", {"n": 0})
    works = Service(engine, name, *service)
    try:
        equal(sorted(works.next() for _ in clients), ['u0 first-0 {"n":0}', 'u1 first-1 {"n":0}'])
        for number in range(20):
            for n, client in enumerate(clients):
                send(client, f"m{number}-{n}", {"n": number, "text": "ä b"})
        heard = [works.next() for _ in range(40)]
        for n in range(2):
            equal([line for line in heard if line.startswith(f"u{n} ")],
                  [f'u{n} m{number}-{n} {{"n":{number},"text":"ä b"}}' for number in range(20)], f"what u{n} sent, in order")
        # A number is an id too; what has a type is a message of the dialect and no job.
        clients[0].say("DATA", id=7, data=[1])
        clients[0].expect("ACK", data={"messageId": 7})
        clients[0].say("DATA", id="no", data={"type": "ping"}).expect("pong")
        clients[0].expect("ACK")
        send(clients[0], "last", "text")
        equal([works.next(), works.next()], ["u0 7 [1]", 'u0 last "text"'])
    finally:
        works.stop()
    out = nodes.backplane(both[0])["out"]
    equal({key: out[key] for key in ("queue", "up", "refused", "waiting")},
          {"queue": name, "up": True, "refused": 0, "waiting": 0})
    equal(out["sent"], 23)
    equal(b"ringcast_backplane_out_sent_total 23" in both[0].get("/metrics")[2], True, "the metric")
    nodes.stop(both)


def fed_too(engine, name):
    """The feed data/USER has it as well, unless it is to go to services alone."""
    for flags, fed in (((), True), (("--backplane-out-only",), False)):
        with App("--backplane", engine.url(f"{name}-{fed}"), "--backplane-out", name, *flags,
                 "--token-secret", SECRET, workers=1) as node:
            watcher = node.client("/ws?token=" + token(sub="watcher", permissions=["read", "admin"])).say("subscribe", topics=["data/ann"])
            watcher.expect("subscribed")
            send(node.client("/ws?token=" + token(sub="ann", permissions=["read", "write"])), "one", {"n": 1})
            if fed:
                watcher.expect("update", topic="data/ann", data={"n": 1})
            until(lambda node=node: nodes.backplane(node)["out"]["sent"] == 1, "that it was handed out")
            watcher.settle()


def away_and_back(engine, name, away, back):
    """While the engine is away its clients are told to try later; what was acknowledged before and after is there."""
    with App("--backplane", engine.url(prefix_of(name)), "--backplane-out", name, "--backplane-confirm", "2s",
             workers=1) as node:
        client = node.client("/ws/ann")
        send(client, "before", 1)
        away()
        until(lambda: client.say("DATA", id="lost", data=2).hear()["type"] == "error", "that it is refused")
        client.say("DATA", id="refused", data=3).expect("error", code="TRY_LATER", id="refused")
        equal(nodes.backplane(node)["out"]["refused"] > 0, True, "refused jobs")
        back()
        until(lambda: client.say("DATA", id="after", data=4).hear()["type"] == "ACK", "that it is taken again", 30)
        until(lambda: node.get("/healthz")[2].strip() == b"ok", "that it is well")


def full(engine, name, fill, free):
    """A queue that refuses: clients are told to try later, and that again is all; nothing else of the node waits."""
    with App("--backplane", engine.url(prefix_of(name)), "--backplane-out", name, "--backplane-confirm", "1s",
             workers=1) as node:
        client, friend = node.client("/ws/ann"), node.client("/ws/bob")
        fill()
        client.say("DATA", id="full", data=1).expect("error", code="TRY_LATER", id="full")
        until(lambda: b"reach services" in node.get("/healthz")[2], "what /healthz says")
        client.say("direct", to="bob", content="still there")
        friend.expect("direct", content="still there")
        free()
        until(lambda: client.say("DATA", id="free", data=2).hear()["type"] == "ACK", "that it is taken again")
        until(lambda: node.get("/healthz")[2].strip() == b"ok", "that it is well")


def deleted(engine, name, delete):
    """The queue is deleted under the node: the next job makes it again, and its client notices nothing."""
    with App("--backplane", engine.url(prefix_of(name)), "--backplane-out", name, workers=1) as node:
        client = node.client("/ws/ann")
        send(client, "one", 1)
        delete()
        send(client, "two", 2)
        equal(nodes.backplane(node)["out"]["sent"], 2)


def hostile(engine, name):
    """Ids that are no names are refused, those that look like headers are ids, and what is too large is told so."""
    with App("--backplane", engine.url(prefix_of(name)), "--backplane-out", name, workers=1) as node:
        client = node.client("/ws/ann")
        for wrong in ("a\r\nNats-Msg-Id: b", "tab\t", "", "\x7f"):
            client.say("DATA", id=wrong, data=1).expect("error", code="INVALID_FIELD", id=wrong)
        for odd in ("a: b", "*", "'; --", "ä€", " x"):
            send(client, odd, {"odd": odd})
        equal(nodes.backplane(node)["out"]["sent"], 5)


def wrong_names(url, names):
    for name in names:
        wrong = command("app", "--backplane", url, "--backplane-out", name)
        equal(wrong.returncode != 0 and b"backplane-out" in wrong.stderr, True, (name, wrong.stderr))
    wrong = command("app", "--backplane-out", "jobs")
    equal(wrong.returncode != 0 and b"backplane" in wrong.stderr, True, wrong.stderr)
