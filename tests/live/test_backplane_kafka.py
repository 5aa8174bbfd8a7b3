# SPDX-License-Identifier: MIT
"""Kafka as a backplane's engine, against librdkafka's mock of a cluster."""
import sys
import tempfile

sys.dont_write_bytecode = True
import backplane_nodes as nodes  # noqa: E402
import engine_contract as contract  # noqa: E402
import plain_forms as plain  # noqa: E402
import services  # noqa: E402
from authority import Authority  # noqa: E402
from engines import Kafka, find  # noqa: E402
from harness import SLOW, Server, equal, run, until  # noqa: E402
from kafka_gate import Gate  # noqa: E402


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
def test_mapped(engine):
    """Topics of somebody else; names come from the record's key, or from headers. The nodes are one group: each record comes
    once."""
    find("kcat")
    rules = {"topic": "shop.topic=topic/orders.{key}", "room": "shop.room=room/{customer}", "user": "shop.user=user/{key}",
             "all": "shop.all=all"}
    for source in rules:
        engine.tell(f"topic shop.{source}")

    def publish(source, text, fields):
        customer = fields.get("customer")
        more = ("-H", f"customer={customer}") if source == "room" else ("-k", customer) if customer else ()
        plain.ran("kcat", "-P", "-b", engine.address(), "-t", f"shop.{source}", "-X", "acks=all", "-D", "\x01", *more, input=text)

    def begin(both):
        """A group that is new reads from the newest record on: until each topic is read."""
        for source in ("all", "room", "topic", "user"):
            for probe in range(30):
                publish(source, f"probe {probe}", {"customer": "nobody"})
                if waited_for(lambda: copied(source, f"probe {probe}")):
                    break
        for node in both:
            until(lambda node=node: b"ringcast_app_stored_total 0\n" not in node.get("/metrics")[2], "that the last of them was read")

    def copied(source, text):
        lines = plain.ran("kcat", "-C", "-b", engine.address(), "-t", "mapped.packets", "-e", "-q", "-f", "%k %s\n").split("\n")
        return any(line.startswith(f"from:shop.{source}:") and line.endswith(text) for line in lines)
    plain.mapped(engine, rules, publish, begin=begin)


@started
def test_mapped_twice(engine):
    """What a node copied before it died is copied again by another: it is seen once. A key that lies is skipped."""
    find("kcat")
    engine.tell("topic theirs")
    with Server("--backplane", engine.url("twice"), "--backplane-map", "theirs=topic/A", workers=1) as node:
        reader = nodes.Reader(node)
        for key, text in ((5, "one"), (5, "one again"), (4, "older"), (6, "two"), ("", "three"), ("9x:", "four"), (7, "five")):
            plain.ran("kcat", "-P", "-b", engine.address(), "-t", "twice.packets", "-p", "0", "-k", f"from:theirs:0:{key}", "-X",
                      "acks=all", input=text)
        for key in ("from:", "from:theirs", "from:other:0:1", "from::::"):
            plain.ran("kcat", "-P", "-b", engine.address(), "-t", "twice.packets", "-p", "0", "-k", key, "-X", "acks=all", input="no")
        until(lambda: nodes.backplane(node)["broken"] == 6, "that they are counted")
        equal([text for _, _, _, text in reader.wait(3)], ["one", "two", "five"])


def waited_for(condition, limit=2):
    try:
        until(condition, "", limit)
        return True
    except AssertionError:
        return False


def test_mapped_words():
    plain.wrong_maps("kafka://127.0.0.1:9", plain.ANY_WRONG_MAP[:2] + [("a b=topic/a", "name of a topic")])


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
def refused(url, *words):
    """The producer connects by itself: what is wrong is told by who reads."""
    contract.refused(url, *words, calls=(("follow", 0, 10),))


def test_tls():
    contract.needs_peer("kafka")
    with tempfile.TemporaryDirectory() as folder, Kafka() as engine:
        trust = Authority(folder)
        with Gate(engine.port, trust) as gate:
            contract.let_in(f"kafka+tls://127.0.0.1:{gate.port}?prefix=tls&ca={trust.ca}")
            for wrong in (f"127.0.0.1:{gate.port}?ca={trust.other_ca}", f"localhost:{gate.port}?ca={trust.ca}"):
                refused(f"kafka+tls://{wrong}", "certificate verify failed", "ca=FILE")
            refused(f"kafka://127.0.0.1:{gate.port}", "kafka+tls://")
        with Gate(engine.port, trust, wants_certificate=True) as gate:
            url = f"kafka+tls://127.0.0.1:{gate.port}?prefix=mutual&ca={trust.ca}"
            contract.let_in(f"{url}&cert={trust.client_cert}&key={trust.client_key}")
            refused(url, "cert=FILE&key=FILE")


def test_users():
    contract.needs_peer("kafka")
    with tempfile.TemporaryDirectory() as folder, Kafka() as engine:
        trust = Authority(folder)
        with Gate(engine.port, None, "PLAIN", "me", "se/cret") as gate:
            contract.let_in(f"kafka://me:se%2Fcret@127.0.0.1:{gate.port}?prefix=plain")
            refused(f"kafka://127.0.0.1:{gate.port}", "Disconnected", "USER:PASSWORD")
            # A node says so too, and lives.
            with Server("--backplane", f"kafka://me:secret2@127.0.0.1:{gate.port}", "--backplane-wait", "0", workers=1) as node:
                until(lambda: b"SASL authentication failure" in node.get("/healthz")[2], "what is wrong")
                health = node.get("/healthz")
                equal((health[0], b"secret" in health[2], b"USER:PASSWORD" in health[2]), (200, False, True), "health")
        with Gate(engine.port, trust, "SCRAM-SHA-256", "me", "se/cret") as gate:
            address = f"127.0.0.1:{gate.port}?sasl=SCRAM-SHA-256&ca={trust.ca}"
            contract.let_in(f"kafka+tls://me:se%2Fcret@{address}&prefix=scram")
            refused(f"kafka+tls://me:secret2@{address}", "SASL authentication failure", "USER:PASSWORD")


def test_wrong_urls():
    contract.needs_peer("kafka")
    contract.wrong_urls("kafka", [("?keep=10", "keep-bytes"), ("?prefix=a/b", "letters, digits"), ("/topic", "?prefix="),
                                  ("?sasl=GSSAPI", "SCRAM"), ("?colour=red", "Kafka takes prefix")])
    nodes.unreadable("kafka+tls://h?ca=/none", "kafka://h?cert=/none&key=/none")


if __name__ == "__main__":
    run(globals(), limit=40, unthreaded="librdkafka is not built with the sanitizer, which takes its threads for wrong")
