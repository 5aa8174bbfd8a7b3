# SPDX-License-Identifier: MIT
"""The plain forms of tools/backplane/PLAIN.md: a program publishes by the engine's own tools, without ringcast, and clients
of all nodes have it in the one order. Each scenario takes an engine and how to publish there."""
import json
import os
import subprocess

import backplane_nodes as nodes
from harness import SLOW, TOP, equal, until


def ran(*command, **more):
    """What a real tool prints."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=20 * SLOW,
                          **more)
    equal(done.returncode, 0, f"{command[0]}: {done.stderr[-500:]}")
    return done.stdout


def example(engine, prefix, name, *runner):
    """Publishes as the example of this name does."""
    path = os.path.join(TOP, "tools", "backplane", "examples", name)
    return lambda topic, text: ran(*runner, path, str(engine.port), prefix, topic, text)


def delivered(engine, publish, prefix="plain"):
    """publish(topic, text) by somebody else: all nodes have it, between what clients publish; also after a restart."""
    both = nodes.start(engine, 2, None, f"{prefix}&plain=topic")
    readers = [nodes.Reader(node) for node in both]
    nodes.published(both[0], "A", "first")
    for reader in readers:
        reader.wait(1)
    for n in range(5):
        publish("A", f"plain {n}")
    publish("B", json.dumps({"price": 7}))
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
    publish("A", "plain")
    until(lambda: nodes.backplane(one[0])["broken"] == 1, "that it is counted")
    nodes.published(one[0], "A", "last")
    equal([text for _, _, _, text in reader.wait(2)], ["first", "last"])
    nodes.stop(one)
