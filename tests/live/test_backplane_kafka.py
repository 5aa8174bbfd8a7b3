# SPDX-License-Identifier: MIT
"""Kafka as a backplane's engine, against librdkafka's mock of a cluster."""
import sys

sys.dont_write_bytecode = True
import backplane_nodes as nodes  # noqa: E402
import engine_contract as contract  # noqa: E402
import plain_forms as plain  # noqa: E402
import services  # noqa: E402
from engines import Kafka, find  # noqa: E402
from harness import SLOW, equal, run, until  # noqa: E402


def started(scenario):
    def test():
        contract.needs_peer("kafka")
        with Kafka() as engine:
            scenario(engine)
    return test


test_one_order = started(contract.one_order)
test_places = started(contract.places)
test_large = started(contract.large)
test_everywhere = started(nodes.everywhere)
test_restart = started(nodes.restart)


def test_away():
    """The broker refuses connections for a while: both sides hear of it, and go on where they were."""
    contract.needs_peer("kafka")
    with Kafka() as engine, contract.Peer(engine.url("away")) as peer:
        contract.begun(peer)
        peer.append("a", "b")
        equal(peer.texts(2), ["a", "b"])
        engine.tell("down")
        if peer.read(1, 8000)[1] >= 0:
            raise AssertionError("a reader that was cut off does not know")
        if peer.tell("append", "x")[0] >= 0:
            raise AssertionError("a writer that was cut off does not know")
        engine.tell("up")
        until(lambda: peer.tell("follow", peer.last, 10)[0] == 0, "the broker")
        packets = peer.read(1)[0]
        equal(packets[0], (peer.last, "b"), "where it was")
        until(lambda: peer.tell("connect")[0] == 0, "the broker")
        peer.append("c")


@started
def test_plain(engine):
    find("kcat")
    plain.delivered(engine, plain.example(engine, "plain", "kafka.sh", "sh"))


@started
def test_rooms_and_users(engine):
    find("kcat")
    plain.rooms_and_users(engine, plain.example(engine, "app", "kafka.sh", "sh"))


@started
def test_plain_is_off(engine):
    find("kcat")
    plain.dropped(engine, plain.example(engine, "closed", "kafka.sh", "sh"))


@started
def test_services(engine):
    find("kcat")
    services.worked_on(engine, "shop.jobs", "service_kafka.sh", "sh")


def test_services_away():
    contract.needs_peer("kafka")
    with Kafka() as engine:
        services.away_and_back(engine, "away", lambda: engine.tell("down"), lambda: engine.tell("up"))


def test_services_words():
    services.wrong_names("kafka://127.0.0.1:9?prefix=mine", ("a b", "mine.packets", "a:b", "a/b"))


def test_wrong_urls():
    contract.needs_peer("kafka")
    contract.wrong_urls("kafka", [("?keep=10", "keep-bytes"), ("?prefix=a/b", "letters, digits"), ("/topic", "?prefix="),
                                  ("?sasl=GSSAPI", "SCRAM"), ("?colour=red", "Kafka takes prefix")])


if __name__ == "__main__":
    run(globals(), limit=40, unthreaded="librdkafka is not built with the sanitizer, which takes its threads for wrong")
