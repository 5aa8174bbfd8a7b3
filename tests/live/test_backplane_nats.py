# SPDX-License-Identifier: MIT
"""NATS JetStream as a backplane's engine, against Debian's nats-server."""
import json
import sys

sys.dont_write_bytecode = True
import backplane_nodes as nodes  # noqa: E402
import engine_contract as contract  # noqa: E402
import plain_forms as plain  # noqa: E402
import services  # noqa: E402
from engines import Nats, find  # noqa: E402
from harness import equal, run  # noqa: E402


def started(scenario):
    def test():
        contract.needs_peer("nats")
        with Nats() as engine:
            scenario(engine)
    return test


test_one_order = started(contract.one_order)
test_places = started(contract.places)
test_large = started(contract.large)
test_no_stream = started(contract.no_stream)
test_deleted = started(contract.deleted)
test_cut = started(contract.cut)
test_killed = started(contract.killed)
test_everywhere = started(nodes.everywhere)
test_restart = started(nodes.restart)
test_broken = started(nodes.broken)
test_nodes_killed = started(nodes.killed)
test_anew = started(nodes.anew)


@started
def test_plain(engine):
    plain.delivered(engine, plain.example(engine, "plain", "nats.mjs", find("node")))


@started
def test_rooms_and_users(engine):
    plain.rooms_and_users(engine, plain.example(engine, "app", "nats.mjs", find("node")))


@started
def test_services(engine):
    services.worked_on(engine, "shop.jobs", "service.mjs", find("node"))
    services.hostile(engine, "hostile")


def test_services_away():
    contract.needs_peer("nats")
    with Nats() as engine:
        services.away_and_back(engine, "away", engine.kill, engine.start)


@started
def test_services_full(engine):
    """A stream of somebody else's takes the subject, and no more than one message."""
    config = {"name": "theirs", "subjects": ["full.>"], "max_msgs": 1, "discard": "new", "storage": "memory"}
    made = engine.ask("$JS.API.STREAM.CREATE.theirs", json.dumps(config).encode())
    equal(b'"error"' in made, False, made)
    fill = lambda: engine.ask("full.up", b"one")  # noqa: E731
    services.full(engine, "full.jobs", fill, lambda: engine.ask("$JS.API.STREAM.PURGE.theirs"))


def test_services_words():
    services.wrong_names("nats://127.0.0.1:9?prefix=mine", ("a b", "mine.topic.x", "a.>", "*", "a/b", ".a"))


def test_wrong_urls():
    contract.needs_peer("nats")
    contract.wrong_urls("nats", [("?prefix=a.b", "without . * >"), ("/stream", "?prefix=NAME"), ("?cert=x", "together"),
                                 ("?replicas=9", "1 to 5"), ("?colour=red", "NATS takes prefix")])


def test_refused():
    contract.needs_peer("nats")
    with Nats("--user", "me", "--pass", "secret1") as engine:
        contract.refused(f"nats://me:secret2@{engine.address()}", "Authorization", "authorization")
        with contract.Peer(f"nats://me:secret1@{engine.address()}?prefix=p") as peer:
            contract.begun(peer)


def test_without_jetstream():
    contract.needs_peer("nats")
    with Nats(jetstream=False) as engine:
        with contract.Peer(engine.url("p")) as peer:
            peer.tell("follow", 0, 10)
            if "-js" not in peer.why:
                raise AssertionError(peer.why)


if __name__ == "__main__":
    run(globals(), limit=40, unthreaded="libnats is not built with the sanitizer, which takes its threads for wrong")
