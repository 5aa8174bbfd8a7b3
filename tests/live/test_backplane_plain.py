# SPDX-License-Identifier: MIT
"""Plain records in Redis, published by redis-cli as the example does; those in other engines are tested with these."""
import json
import sys

sys.dont_write_bytecode = True
import backplane_nodes as nodes  # noqa: E402
import plain_forms as plain  # noqa: E402
import services  # noqa: E402
from engines import find  # noqa: E402
from harness import Server, Skip, command, equal, run, until  # noqa: E402
from redis_server import Redis  # noqa: E402


class Engine(Redis):
    def url(self, prefix, port=None):
        return f"redis://127.0.0.1:{port or self.port}/0?prefix={prefix}"


def started(*lines):
    if b"built without libhiredis" in command("probe").stdout:
        raise Skip("built without hiredis")
    find("redis-cli", "redis-tools")
    return Engine(*lines)


def asked(engine, *words):
    return json.loads(plain.ran("redis-cli", "-p", str(engine.port), "--json", *words))


def test_plain():
    with started() as engine:
        plain.delivered(engine, plain.example(engine, "plain", "redis.sh", "sh"))


def test_rooms_and_users():
    with started() as engine:
        plain.rooms_and_users(engine, plain.example(engine, "app", "redis.sh", "sh"))


def test_plain_is_off():
    with started() as engine:
        plain.dropped(engine, plain.example(engine, "closed", "redis.sh", "sh"))


def test_fields_in_any_order():
    """What is no plain record harms nobody, and what is one needs only to say where it is for."""
    with started() as engine:
        def publish(to, text):
            epoch = plain.ran("redis-cli", "-p", str(engine.port), "XREVRANGE", "odd:stream", "+", "-", "COUNT", "1")
            add = ("redis-cli", "-p", str(engine.port), "XADD", "odd:stream", epoch.split("-")[0] + "-*")
            plain.ran(*add, "hello", "world")
            plain.ran(*add, "to", "nowhere/A", "data", "x")
            plain.ran(*add, "to", "topic/", "data", "x")
            plain.ran(*add, "to", "topic/bad\x01name", "data", "x")
            plain.ran(*add, "data", text, "more", "of it", "to", to)
        plain.delivered(engine, publish, "odd")


def test_mapped():
    """Streams of somebody else, whose entries have fields of their own."""
    with started() as engine:
        def publish(source, text, fields):
            words = [word for field in {**fields, "data": text}.items() for word in field]
            engine.ask("XADD", f"shop:{source}", "*", *words)
        targets = {"topic": "topic/orders.{customer}", "room": "room/{customer}", "user": "user/{customer}", "all": "all"}
        plain.mapped(engine, {name: f"shop:{name}={target}" for name, target in targets.items()}, publish)


def test_mapped_hostile():
    """What stands in a stream before it is mapped is not read; entries of too many fields or bytes, of no text, and a source
    that is no stream harm none of the others."""
    with started() as engine:
        engine.ask("XADD", "theirs", "*", "data", "before")
        engine.ask("SET", "none", "no stream")
        flags = ("--backplane-map", "none=topic/n", "--backplane-map", "theirs=topic/A")
        with Server("--backplane", engine.url("hostile"), *flags, workers=1) as node:
            reader = nodes.Reader(node)
            until(lambda: asked(engine, "HGET", "hostile:sources", "theirs"), "that the source is read")
            many = [word for n in range(40) for word in (f"f{n}", "x")]
            engine.ask("XADD", "theirs", "*", *many)
            engine.ask("XADD", "theirs", "*", "data", "x" * 1100000)
            engine.ask("XADD", "theirs", "*", "one", "a", "two", "b")
            engine.ask("XADD", "theirs", "*", "data", "last")
            equal([text for _, _, _, text in reader.wait(2)], ["{'one': 'a', 'two': 'b'}", "last"])
            equal(nodes.backplane(node)["broken"], 2)
            equal(b"none: Redis says: WRONGTYPE" in node.get("/healthz")[2], True, "what /healthz says")


def test_mapped_words():
    plain.wrong_maps("redis://127.0.0.1:9/0", plain.ANY_WRONG_MAP + [("a*=topic/a", "name of a stream")])


def test_services():
    with started() as engine:
        services.worked_on(engine, "jobs", "service.sh", "sh")
        services.fed_too(engine, "fed")


def test_services_away():
    with started("appendonly yes", "appendfsync always") as engine:
        services.away_and_back(engine, "away", engine.kill, engine.start)
        entries = asked(engine, "XRANGE", "away", "-", "+")
        kept = [dict(zip(fields[::2], fields[1::2])) for _, fields in entries]
        equal([kept[0]["id"], kept[-1]["id"]], ["before", "after"])
        equal([name for _, fields in entries for name in fields[::2]], ["user", "id", "time", "data"] * len(entries))


def test_services_full():
    """A key that is no stream takes nothing: clients are told so, and the rest of the node notices nothing."""
    with started() as engine:
        services.full(engine, "full", lambda: asked(engine, "SET", "full", "no stream"),
                      lambda: asked(engine, "DEL", "full"))


def test_services_words():
    services.wrong_names("redis://127.0.0.1:9/0?prefix=mine", ("a b", "mine:stream", "mine", "x..y", "a" * 201, ""))


def test_words():
    wrong = command("serve", "--backplane", "redis://127.0.0.1:9/0?plain=everything")
    equal(wrong.returncode != 0 and b"plain=everything" in wrong.stderr, True, wrong.stderr)


if __name__ == "__main__":
    run(globals(), limit=30)
