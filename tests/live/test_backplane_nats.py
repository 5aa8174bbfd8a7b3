# SPDX-License-Identifier: MIT
"""NATS JetStream as a backplane's engine, against Debian's nats-server."""
import json
import sys
import tempfile

sys.dont_write_bytecode = True
import backplane_nodes as nodes  # noqa: E402
import engine_contract as contract  # noqa: E402
import plain_forms as plain  # noqa: E402
import services  # noqa: E402
from app import App  # noqa: E402
from authority import Authority  # noqa: E402
from engines import Nats, find  # noqa: E402
from harness import equal, run, until  # noqa: E402
from nats_accounts import accounts  # noqa: E402


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
test_emptied = started(nodes.emptied)


@started
def test_plain(engine):
    plain.delivered(engine, plain.example(engine, "plain", "nats.mjs", find("node")))


@started
def test_rooms_and_users(engine):
    plain.rooms_and_users(engine, plain.example(engine, "app", "nats.mjs", find("node")))


@started
def test_mapped(engine):
    """Subjects of somebody else; a name comes from a word of the subject, or from a header."""
    def publish(source, text, fields):
        if source == "all":
            engine.ask("shop.news", text.encode())
        else:
            engine.ask(f"shop.{source}.made", text.encode(), fields)
    rules = {"topic": "shop.topic.*=topic/orders.{customer}", "room": "shop.room.*=room/{customer}",
             "user": "shop.user.>=user/{customer}", "all": "shop.news=all"}
    plain.mapped(engine, rules, publish)
    with App("--backplane", engine.url("words"), "--backplane-map", "fleet.*.at.>=topic/{1}/{2}", workers=1) as node:
        client = node.client("/ws/ann").say("subscribe", topics=["truck7/north.exit"])
        client.expect("subscribed")
        engine.ask("fleet.truck7.at.north.exit", b"[1,2]")
        client.expect("update", topic="truck7/north.exit", data=[1, 2])


@started
def test_mapped_taken(engine):
    """A subject that another stream takes: the node says so, and what to do."""
    config = {"name": "theirs", "subjects": ["taken.>"], "storage": "memory"}
    engine.ask("$JS.API.STREAM.CREATE.theirs", json.dumps(config).encode())
    with App("--backplane", engine.url("taker"), "--backplane-map", "taken.a=topic/a", "--backplane-wait", "200ms",
             workers=1) as node:
        until(lambda: b"another stream takes" in node.get("/healthz")[2], "what /healthz says")


def test_mapped_words():
    plain.wrong_maps("nats://127.0.0.1:9", plain.ANY_WRONG_MAP + [(f"{wrong}=topic/a", "is a subject") for wrong in (
        "a b", "a.>.b", "a..b", ".a", "$JS.API.>", "a.#", "a>")])


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
    nodes.unreadable("nats://h?creds=/none", "nats+tls://h?ca=/none", "nats+tls://h?cert=/none&key=/none")


def test_users():
    contract.needs_peer("nats")
    with Nats("--user", "me", "--pass", "secret/1") as engine:
        contract.refused(f"nats://me:secret2@{engine.address()}", "Authorization", "USER:PASSWORD")
        contract.refused(f"nats://{engine.address()}", "Authorization", "TOKEN")
        contract.let_in(f"nats://me:secret%2F1@{engine.address()}?prefix=p")


def test_token():
    contract.needs_peer("nats")
    with Nats("--auth", "se/cret") as engine:
        contract.refused(f"nats://secret2@{engine.address()}", "Authorization", "TOKEN")
        contract.let_in(f"nats://se%2Fcret@{engine.address()}?prefix=p")
        contract.refused(f"nats+tls://se%2Fcret@{engine.address()}", "no TLS", "nats://")


def test_credentials():
    """A file of `nsc`: a user of an account, and one that a stranger has signed."""
    contract.needs_peer("nats")
    with tempfile.TemporaryDirectory() as folder:
        settings, credentials, strangers = accounts(folder)
        with Nats("-c", settings) as engine:
            contract.refused(f"nats://{engine.address()}", "Authorization", "creds=FILE")
            contract.refused(f"nats://{engine.address()}?creds={strangers}", "Authorization", "creds=FILE")
            contract.refused(f"nats://{engine.address()}?creds={settings}", "no nkey user seed")
            contract.let_in(f"nats://{engine.address()}?prefix=p&creds={credentials}")


def test_tls():
    contract.needs_peer("nats")
    with tempfile.TemporaryDirectory() as folder:
        trust = Authority(folder)
        server = ("--tlscert", trust.cert, "--tlskey", trust.key)
        with Nats("--tls", *server) as engine:
            for wrong in ("", f"&ca={trust.other_ca}"):
                contract.refused(f"nats+tls://{engine.address()}?prefix=p{wrong}", "issuer certificate", "ca=FILE")
            contract.refused(f"nats+tls://localhost:{engine.port}?ca={trust.ca}", "hostname mismatch", "the name")
            contract.let_in(f"nats+tls://{engine.address()}?prefix=one&ca={trust.ca}")
            contract.let_in(f"nats://{engine.address()}?prefix=two&ca={trust.ca}&tls=1")
        with Nats("--tlsverify", "--tlscacert", trust.ca, *server) as engine:
            url = f"nats+tls://{engine.address()}?prefix=p&ca={trust.ca}"
            contract.refused(url, "cert=FILE&key=FILE")
            contract.let_in(f"{url}&cert={trust.client_cert}&key={trust.client_key}")


def test_without_jetstream():
    contract.needs_peer("nats")
    with Nats(jetstream=False) as engine:
        with contract.Peer(engine.url("p")) as peer:
            peer.tell("follow", 0, 10)
            if "-js" not in peer.why:
                raise AssertionError(peer.why)


if __name__ == "__main__":
    run(globals(), limit=40, unthreaded="libnats is not built with the sanitizer, which takes its threads for wrong")
