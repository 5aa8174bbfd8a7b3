# SPDX-License-Identifier: MIT
"""The plain forms of tools/backplane/PLAIN.md: a program publishes by the engine's own tools, without ringcast, and clients
of all nodes have it in the one order. Each scenario takes an engine and how to publish there."""
import json
import os
import subprocess

import backplane_nodes as nodes
from app import App
from harness import SLOW, TOP, command, equal, until


def ran(*command, **more):
    """What a real tool prints."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=20 * SLOW,
                          **more)
    equal(done.returncode, 0, f"{command[0]}: {done.stderr[-500:]}")
    return done.stdout


def example(engine, prefix, name, *runner):
    """Publishes as the example of this name does."""
    path = os.path.join(TOP, "tools", "backplane", "examples", name)
    return lambda to, text: ran(*runner, path, str(engine.port), prefix, to, text)


def delivered(engine, publish, prefix="plain"):
    """publish(to, text) by somebody else: all nodes have it, between what clients publish; also after a restart."""
    both = nodes.start(engine, 2, None, f"{prefix}&plain=topic")
    readers = [nodes.Reader(node) for node in both]
    nodes.published(both[0], "A", "first")
    for reader in readers:
        reader.wait(1)
    for n in range(5):
        publish("topic/A", f"plain {n}")
    publish("topic/B", json.dumps({"price": 7}))
    for reader in readers:
        reader.wait(7)
    nodes.published(both[1], "A", "last")
    for reader in readers:
        messages = reader.wait(8)
        equal([text for _, _, _, text in reader.of("A")], ["first"] + [f"plain {n}" for n in range(5)] + ["last"])
        equal(reader.of("B")[0][3], str({"price": 7}))
        equal((reader.marks, reader.error), ([], None), "marks")
    nodes.one_view(readers)
    _, epoch, sequence, _ = readers[0].of("A")[2]
    nodes.stop(both)
    both = nodes.start(engine, 1, None, f"{prefix}&plain=topic")
    late = nodes.Reader(both[0], f"&since={sequence}&epoch={epoch}", ("A",))
    equal(late.wait(4), [message for message in messages if message[0] == "A"][3:], "after a restart")
    nodes.stop(both)


def dropped(engine, publish, prefix="closed"):
    """Without ?plain= it reaches nobody, and is counted."""
    one = nodes.start(engine, 1, None, prefix)
    reader = nodes.Reader(one[0])
    nodes.published(one[0], "A", "first")
    publish("topic/A", "plain")
    until(lambda: nodes.backplane(one[0])["broken"] == 1, "that it is counted")
    nodes.published(one[0], "A", "last")
    equal([text for _, _, _, text in reader.wait(2)], ["first", "last"])
    nodes.stop(one)


def rooms_and_users(engine, publish, prefix="app"):
    """Nodes of `ringcast app`: a room, a user and everybody have it wherever they are, and the numbers of a topic go on."""
    both = [App("--backplane", engine.url(f"{prefix}&plain=topic,room,user,all"), workers=1) for _ in range(2)]
    ann, bob = (node.client(f"/ws/{name}") for node, name in zip(both, ("ann", "bob")))
    ann.in_room("lobby")
    bob.in_room("lobby")
    ann.expect("user_joined", userId="bob")
    ann.say("subscribe", topics=["prices"]).expect("subscribed")
    publish("room/lobby", "to the room")
    heard = [client.expect("room_message", room="lobby", content="to the room") for client in (ann, bob)]
    equal(heard[0]["id"], heard[1]["id"], "the message's id on two nodes")
    publish("all", json.dumps({"to": "all"}))
    for client in (ann, bob):
        client.expect("broadcast", content={"to": "all"})
    publish("user/ann", "to one")
    ann.expect("direct", content="to one")
    publish("topic/prices", json.dumps({"price": 7}))
    ann.expect("update", topic="prices", data={"price": 7})
    publish("user/carl", "who is away")
    publish("room/lobby", "last")
    bob.expect("room_message", content="last")
    both[1].client("/ws/carl").expect("direct", content="who is away")
    nodes.stop(both)


def mapped(engine, rules, publish, prefix="mapped", begin=lambda both: None):
    """What others publish in their own way, to what is theirs, reaches topics, rooms, users and everybody, as rules say; from
    both nodes in one order, once. publish(source, text, fields) is somebody else's. What is hostile is counted and skipped."""
    flags = [word for rule in rules.values() for word in ("--backplane-map", rule)]
    both = [App("--backplane", engine.url(prefix), *flags, workers=1) for _ in range(2)]
    begin(both)
    ann, bob = (node.client(f"/ws/{name}") for node, name in zip(both, ("ann", "bob")))
    ann.in_room("lobby")
    bob.in_room("lobby")
    ann.expect("user_joined", userId="bob")
    for client in (ann, bob):
        client.say("subscribe", topics=["orders.7"]).expect("subscribed")
    for number in range(10):
        publish("topic", json.dumps({"n": number}), {"customer": "7"})
    heard = [[client.expect("update", topic="orders.7", data={"n": n}) for n in range(10)] for client in (ann, bob)]
    equal(heard[0], heard[1], "numbers on two nodes")
    publish("room", "to the room", {"customer": "lobby"})
    for client in (ann, bob):
        client.expect("room_message", room="lobby", content="to the room")
    publish("user", json.dumps(["to", "one"]), {"customer": "ann"})
    ann.expect("direct", content=["to", "one"])
    publish("all", "to all", {})
    for client in (ann, bob):
        client.expect("broadcast", content="to all")
    before = [nodes.backplane(node)["broken"] + nodes.backplane(node)["failed"] for node in both]
    publish("topic", "x", {"customer": ""})
    publish("topic", "x", {"customer": "line\nbreak"})
    publish("topic", "x", {"customer": "a" * 250})
    publish("user", "x", {"customer": "\x7f"})
    publish("topic", "after", {"customer": "7"})
    for client in (ann, bob):
        client.expect("update", topic="orders.7", data="after")
    for node, count in zip(both, before):
        equal(nodes.backplane(node)["broken"] + nodes.backplane(node)["failed"], count + 4, "what was skipped, counted")
    # A node that dies and one that comes later change nothing.
    both[1].kill()
    publish("all", "while one is gone", {})
    heard_of(ann, "while one is gone")
    both[1] = App("--backplane", engine.url(prefix), *flags, workers=1)
    publish("all", "again", {})
    heard_of(ann, "again")
    ann.settle_after("user_left")
    nodes.stop(both)


def heard_of(client, content):
    """A broadcast, perhaps behind word of who has left."""
    while (message := client.hear())["type"] == "user_left":
        pass
    equal((message["type"], message.get("content")), ("broadcast", content))


def wrong_maps(url, rules):
    for rule, words in rules:
        wrong = command("app", "--backplane", url, "--backplane-map", rule)
        equal(wrong.returncode != 0 and b"backplane-map" in wrong.stderr and words.encode() in wrong.stderr, True,
              (rule, wrong.stderr))
    wrong = command("serve", "--backplane", url, "--backplane-map", "a/b=room/x")
    equal(wrong.returncode != 0 and b"ringcast app" in wrong.stderr, True, wrong.stderr)


ANY_WRONG_MAP = [("orders", "SOURCE=TARGET"), ("=topic/a", "SOURCE=TARGET"), ("a/b=nowhere/x", "room/NAME"), ("a/b=topic/", "room/NAME"),
                 ("a/b=topic/{", "{NAME}"), ("a/b=topic/}", "{NAME}"), ("a/b=topic/{}", "{NAME}"), ("a/b=everybody", "or all")]
