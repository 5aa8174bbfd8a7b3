# SPDX-License-Identifier: MIT
"""RabbitMQ's streams as a backplane's engine, against Debian's rabbitmq-server: one for all tests, since it takes ten
seconds to start."""
import os
import subprocess
import sys

sys.dont_write_bytecode = True
import backplane_nodes as nodes  # noqa: E402
import engine_contract as contract  # noqa: E402
import plain_forms as plain  # noqa: E402
import services  # noqa: E402
from app import App  # noqa: E402
from engines import Rabbit  # noqa: E402
from harness import Skip, run, until  # noqa: E402

shared = []


def engine():
    contract.needs_peer("amqp")
    if not shared:
        shared.append(Rabbit().start())
    return shared[0]


def test_wrong_urls():
    contract.needs_peer("amqp")
    contract.wrong_urls("amqp", [("?keep=10", "keep-bytes"), ("?keep-bytes=10", "1048576"), ("?ca=x", "amqps://"),
                                 ("?colour=red", "RabbitMQ takes prefix")])
    nodes.unreadable("amqps://h?ca=/none", "amqps://h?cert=/none&key=/none")


def test_one_order():
    contract.one_order(engine())


def test_places():
    contract.places(engine())


def test_large():
    contract.large(engine())


def test_no_stream():
    contract.no_stream(engine())


def test_deleted():
    contract.deleted(engine())


def test_cut():
    contract.cut(engine())


def test_users():
    address = engine().address()
    contract.refused(f"amqp://me:secret2@{address}/own", "ACCESS_REFUSED", "USER:PASSWORD")
    contract.refused(f"amqp://me:se%2Fcret@{address}", "NOT_ALLOWED", "URL's path")
    contract.refused(f"amqp://me:se%2Fcret@{address}/none", "vhost none not found", "URL's path")
    contract.let_in(f"amqp://me:se%2Fcret@{address}/own?prefix=users")


def test_tls():
    trust, address = engine().trust, engine().address(engine().tls)
    contract.let_in(f"amqps://me:se%2Fcret@{address}/own?prefix=tls&ca={trust.ca}")
    contract.let_in(f"amqps://{address}?prefix=tls&ca={trust.ca}&cert={trust.client_cert}&key={trust.client_key}")
    contract.refused(f"amqps://me:secret2@{address}/own?ca={trust.ca}", "ACCESS_REFUSED")
    for wrong in ("", f"&ca={trust.other_ca}"):
        contract.refused(f"amqps://{address}?prefix=tls{wrong}", "certificate", "ca=FILE")
    contract.refused(f"amqps://localhost:{engine().tls}?ca={trust.ca}", "hostname mismatch", "the name")
    contract.refused(f"amqps://{engine().address()}?ca={trust.ca}", "handshake", "amqp://")
    contract.refused(f"amqp://{address}", "amqps://")
    contract.refused("amqp://127.0.0.1:9", "nobody answers")


def test_everywhere():
    nodes.everywhere(engine())


def test_restart():
    nodes.restart(engine())


def test_broken():
    nodes.broken(engine())


def test_anew():
    nodes.anew(engine())


def pika():
    if subprocess.run([sys.executable, "-c", "import pika"], capture_output=True).returncode:
        raise Skip("needs python3-pika")
    import pika
    return pika


def test_mapped():
    """An exchange of somebody else; names come from words of the routing key, or from headers."""
    with pika().BlockingConnection(pika().ConnectionParameters("127.0.0.1", engine().port)) as link:
        channel = link.channel()
        channel.exchange_declare("shop.eu", "topic", durable=True)

        def publish(source, text, fields):
            channel.basic_publish("shop.eu", f"order.{source}.made", text.encode(), pika().BasicProperties(headers=fields))
        rules = {"topic": "shop.eu/order.topic.*=topic/orders.{customer}", "room": "shop.eu/*.room.#=room/{customer}",
                 "user": "shop.eu/#.user.made=user/{customer}", "all": "shop.eu/order.all.#=all"}
        plain.mapped(engine(), rules, publish)


def test_mapped_missing():
    """An exchange that is not there: the node says so, and is whole when it is."""
    with App("--backplane", engine().url("missing"), "--backplane-map", "later/#=all", "--backplane-wait", "200ms",
             workers=1) as node, pika().BlockingConnection(pika().ConnectionParameters("127.0.0.1", engine().port)) as link:
        until(lambda: b"no exchange 'later'" in node.get("/healthz")[2], "what /healthz says")
        link.channel().exchange_declare("later", "fanout")
        until(lambda: node.get("/healthz")[2].strip() == b"ok", "that it is whole", 20)


def test_mapped_words():
    plain.wrong_maps("amqp://127.0.0.1:9", plain.ANY_WRONG_MAP + [("orders=topic/a", "EXCHANGE/KEY"), ("/a=topic/a", "EXCHANGE/KEY")])


def test_services():
    pika()
    services.worked_on(engine(), "shop/jobs", "service.py", sys.executable)
    services.hostile(engine(), "hostile")


def test_services_full():
    """A queue of somebody else's takes no more than one message; one that is deleted is made again."""
    with pika().BlockingConnection(pika().ConnectionParameters("127.0.0.1", engine().port)) as link:
        channel = link.channel()
        channel.queue_declare("full", durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
        services.full(engine(), "full", lambda: channel.basic_publish("", "full", b"one"),
                      lambda: channel.queue_purge("full"))
        services.deleted(engine(), "deleted", lambda: channel.queue_delete("deleted"))


def test_services_words():
    services.wrong_names("amqp://127.0.0.1:9?prefix=mine", ("a b", "mine.packets", "amq.direct"))


def test_plain():
    pika()
    plain.delivered(engine(), plain.example(engine(), "plain", "rabbitmq.py", sys.executable))
    plain.rooms_and_users(engine(), plain.example(engine(), "app", "rabbitmq.py", sys.executable))


def test_killed():
    if not os.environ.get("RC_SOAK"):
        raise Skip("RabbitMQ takes 15 seconds to start again: RC_SOAK=1 runs it")
    # It writes down where a stream is some seconds after it was made: killed before that, it loses the way to it.
    contract.killed(engine(), 8)
    nodes.killed(engine(), 8)


if __name__ == "__main__":
    try:
        run(globals(), limit=120, unthreaded="librabbitmq is not built with the sanitizer, which takes its threads for wrong")
    finally:
        for one in shared:
            one.__exit__()
