# SPDX-License-Identifier: MIT
"""Several nodes over one Redis: one order and one numbering, histories that outlive nodes, and what happens when the
connection, the engine or its data goes away."""
import contextlib
import json
import os
import random
import threading
import time

from app import App
from cutter import Cutter
from harness import CLOSE, SLOW, Raw, Server, Skip, command, equal, run, until
from redis_server import Redis

NODE = ("--log-level", "warning")


def node(redis, *flags, port=None, **more):
    """A node of `redis`, reached by `port` if there is one in between."""
    return Server("--backplane", f"redis://127.0.0.1:{port or redis.port}/0?prefix=test", *NODE, *flags, **more)


def backplane(server):
    return json.loads(server.get("/stats")[2])["backplane"]


def is_up(server):
    return backplane(server)["up"]


def post(server, topic, payload, status=200, query=""):
    body = payload.encode()
    with Raw(server) as raw:
        raw.send(f"POST /publish/{topic}{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                 f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        got, _, answer = raw.response()
    equal(got, status, f"publishing ({answer!r})")
    return json.loads(answer)["seq"] if status == 200 else answer.decode()


def envelope(reader):
    """The next message of a reader with form=json, whatever mark it is."""
    return json.loads(reader.receive_text())


def data(reader):
    """Likewise the next that is no mark."""
    while True:
        message = envelope(reader)
        if "d" in message:
            return message


def test_one_order_on_all_nodes():
    """Three nodes, publishers at each, clients at all: everybody has the same messages in one order with one number."""
    count = 100
    with Redis() as redis, contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(node(redis)) for _ in range(3)]
        readers = [[each.connect("/topic/A,B?form=json") for _ in range(3)] for each in nodes]
        writers = [each.connect("/publish/" + "AB"[index % 2]) for index, each in enumerate(nodes)]
        for number in range(count):
            for index, writer in enumerate(writers):
                writer.text(f"{index} {number}")
        seen = [[data(reader) for _ in range(3 * count)] for group in readers for reader in group]
        texts = [[(message["t"], message["s"], message["e"], message["d"]) for message in each] for each in seen]
        for other in texts[1:]:
            equal(other, texts[0])
        for index in range(3):
            equal([text[3] for text in texts[0] if text[3].startswith(f"{index} ")],
                  [f"{index} {number}" for number in range(count)])
        numbers = [text[1] for text in texts[0]]
        equal(numbers, sorted(set(numbers)), "one rising numbering for all topics")
        last = {}
        for message in seen[0]:
            if message["t"] in last:
                equal(message["p"], last[message["t"]], "the message before it")
            last[message["t"]] = message["s"]
        for each in nodes:
            stats = backplane(each)
            equal((stats["received"], stats["duplicates"], stats["failed"], stats["epochs"]), (3 * count, 0, 0, 0))


def test_post_is_answered_with_the_number():
    with Redis() as redis, node(redis) as first, node(redis) as second:
        reader = second.connect("/topic/A?form=json")
        with Raw(first) as raw:  # one connection, kept between requests
            for number in range(20):
                body = f"message {number}".encode()
                raw.send(b"POST /publish/A HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                status, _, answer = raw.response()
                equal(status, 200, str(answer))
                message = data(reader)
                equal((message["d"], message["s"]), (body.decode(), json.loads(answer)["seq"]))
        with Raw(first) as raw:
            body = b"one\ntwo\nthree\n"
            raw.send(b"POST /publish/A?lines=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            numbers = json.loads(raw.response()[2])["seqs"]
        equal(numbers, [numbers[0] + i for i in range(3)], "published as one")
        equal([data(reader)["s"] for _ in range(3)], numbers)
        assert "UTF-8" in post_bytes(first, b"\xff", 400)


def post_bytes(server, body, status):
    with Raw(server) as raw:
        raw.send(b"POST /publish/A HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        got, _, answer = raw.response()
    equal(got, status)
    return answer.decode()


def test_history_outlives_all_nodes():
    with Redis() as redis:
        with node(redis) as first, node(redis) as second:
            numbers = [post(server, "A", f"message {index}") for index, server in enumerate((first, second) * 5)]
            with first.connect("/topic/A?form=json&since=0") as reader:
                message = envelope(reader)
                epoch = message["e"]
                equal((message["s"], message["p"]), (numbers[0], 0), "nothing came before it")
        with node(redis) as third:
            with third.connect(f"/topic/A?form=json&since={numbers[3]}&epoch={epoch}") as reader:
                got = [envelope(reader) for _ in range(6)]
                equal([(message["s"], message["e"], message["d"]) for message in got],
                      [(numbers[index], epoch, f"message {index}") for index in range(4, 10)])
            with third.connect("/topic/A?last=1") as reader:
                equal(reader.receive_text(), "message 9")
            assert post(third, "A", "later") > numbers[-1]
            equal(backplane(third)["epochs"], 0)


def test_keys_and_removals_travel():
    with Redis() as redis, node(redis) as first, node(redis) as second:
        post(first, "A", "1", query="?key=x")
        post(first, "A", "2", query="?key=y")
        post(first, "A", "", query="?key=x&remove=1")
        number = post(second, "A", "3", query="?key=z")
        for server in (first, second):
            until(lambda: server.stats()["by_topic"].get("A", {}).get("sequence") == number, "the last one")
            with server.connect("/topic/A?form=json&state=1") as reader:
                equal([data(reader)["k"] for _ in range(2)], ["y", "z"])


def test_a_cut_is_not_noticed():
    """The connection of one node is cut while others publish: of 200 clients none notices, and one read repairs it."""
    clients, missed = 200, 10
    with Redis() as redis, Cutter(redis.port) as cutter, node(redis) as other, node(redis, port=cutter.port) as server:
        readers = [server.connect("/topic/A?form=json") for _ in range(clients)]
        post(other, "A", "before")
        for reader in readers:
            equal(data(reader)["d"], "before")
        cutter.cut()
        until(lambda: not is_up(server), "the node sees it")
        assert server.get("/healthz")[2].startswith(b"degraded: the backplane is away"), server.get("/healthz")
        assert b"\nringcast_backplane_up 0\n" in server.get("/metrics")[2]
        for number in range(missed):
            post(other, "A", f"missed {number}")
        taken = cutter.taken
        cutter.mend()
        until(lambda: cutter.taken > taken, "the node comes back")
        begin = time.monotonic()
        for reader in readers:
            for number in range(missed):
                equal(envelope(reader)["d"], f"missed {number}", "what comes next, without any mark")
        print(f"    {clients} clients whole {(time.monotonic() - begin) * 1000:.0f} ms after the connection came back")
        until(lambda: is_up(server), "the node is up")
        equal(server.get("/healthz")[2], b"ok\n")
        stats = backplane(server)
        equal((stats["repairs"], stats["repaired"], stats["epochs"], stats["gaps"]), (1, missed, 0, 0))
        until(lambda: server.stats()["connections"] == clients + 1, "all who were there")


def test_refused_while_it_is_away():
    with Redis() as redis, Cutter(redis.port) as cutter, node(redis, port=cutter.port) as server:
        writer = server.connect("/publish/A")
        post(server, "A", "one")
        cutter.cut()
        until(lambda: backplane(server)["lag_seconds"] > 1.1, "it is away for more than a blink")
        assert "away" in post(server, "A", "two", status=503)
        writer.text("three")
        equal(writer.receive()[0], CLOSE)
        equal(writer.closed[0], 1013)
        cutter.mend()
        until(lambda: is_up(server), "the node is up")
        post(server, "A", "four")
        equal(history(server, "A"), ["one", "four"])


def history(server, topic):
    with Raw(server) as raw:
        raw.send(f"GET /poll/{topic}?since=0&wait=0 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        status, _, body = raw.response()
        equal(status, 200, str(body))
    return [message["d"] for message in json.loads(body)["messages"] if "d" in message]


def test_queued_while_it_is_away():
    """With a queue, what is published while the engine is away waits, and is answered once the engine has it."""
    with Redis() as redis, Cutter(redis.port) as cutter, \
            node(redis, "--backplane-away", "queue", "--backplane-queue", "64k", port=cutter.port) as server, \
            node(redis) as other:
        cutter.cut()
        until(lambda: backplane(server)["lag_seconds"] > 1.1, "it is away for more than a blink")
        answers = []
        threads = [threading.Thread(target=lambda n=n: answers.append(post(server, "A", f"queued {n}"))) for n in range(5)]
        for thread in threads:
            thread.start()
        until(lambda: backplane(server)["queue"] == 5, "they wait")
        assert "queue is full" in post(server, "A", "x" * 70000, status=503)
        equal(answers, [])
        cutter.mend()
        for thread in threads:
            thread.join()
        equal(len(set(answers)), 5)
        until(lambda: len(history(other, "A")) == 5, "they came")
        equal(sorted(history(other, "A")), [f"queued {n}" for n in range(5)])


def test_an_engine_that_comes_again_with_its_data():
    with Redis("appendonly yes", "appendfsync always") as redis, node(redis) as first, node(redis) as second:
        reader = second.connect("/topic/A?form=json")
        numbers = [post(first, "A", "one")]
        redis.kill()
        until(lambda: not is_up(first) and not is_up(second), "the nodes see it")
        redis.start()
        until(lambda: is_up(first) and is_up(second), "the nodes are back")
        numbers.append(post(first, "A", "two"))
        got = [envelope(reader) for _ in range(2)]
        equal([(message["s"], message["d"]) for message in got], list(zip(numbers, ("one", "two"))))
        equal(got[1]["p"], got[0]["s"])
        equal(backplane(second)["epochs"], 0)


def test_an_engine_that_lost_its_data():
    """FLUSHALL: a new epoch, and clients hear that what they know is void; then everything goes on."""
    with Redis() as redis, node(redis) as first, node(redis) as second:
        readers = [server.connect("/topic/A?form=json") for server in (first, second)]
        before = [post(first, "A", "before") for _ in range(3)]
        epochs = [[data(reader)["e"] for _ in range(3)] for reader in readers]
        redis.ask("FLUSHALL")
        until(lambda: backplane(first)["epochs"] and backplane(second)["epochs"], "a new epoch, with nobody publishing")
        post(second, "A", "after")
        for reader in readers:
            mark = envelope(reader)
            assert "d" not in mark, mark
            message = data(reader)
            equal(message["d"], "after")
            assert message["e"] > epochs[0][0], (message, epochs)
        equal(len(before), 3)
        for server in (first, second):
            equal(history(server, "A"), ["after"])


def test_an_engine_that_lost_its_end():
    """A failover, or an older file, that lacks the newest: nodes that had them tell their clients."""
    with Redis("appendonly no") as redis, node(redis) as first, node(redis) as second:
        reader = first.connect("/topic/A?form=json")
        for index in range(5):
            post(first, "A", f"kept {index}")
        redis.ask("SAVE")
        for index in range(5):
            post(second, "A", f"lost {index}")
        old = [data(reader) for _ in range(10)]
        redis.kill()
        redis.start()
        until(lambda: is_up(first) and is_up(second) and backplane(first)["epochs"] and backplane(second)["epochs"],
              "the nodes see that it is less")
        post(second, "A", "after")
        assert "d" not in envelope(reader)
        message = data(reader)
        equal(message["d"], "after")
        assert message["e"] > old[0]["e"]


def test_a_stream_that_was_trimmed_to_nothing():
    """XTRIM 0 while a node is behind: it is whole again at once, tells its clients of the gap, and all goes on."""
    with Redis() as redis, Cutter(redis.port) as cutter, node(redis) as other, node(redis, port=cutter.port) as server:
        reader, beside = server.connect("/topic/A?form=json"), other.connect("/topic/A?form=json")
        post(other, "A", "before")
        equal([data(each)["d"] for each in (reader, beside)], ["before", "before"])
        cutter.cut()
        until(lambda: not is_up(server), "the node sees it")
        for number in range(5):
            post(other, "A", f"lost here {number}")
        redis.ask("XTRIM", "test:stream", "MAXLEN", "0")
        cutter.mend()
        until(lambda: is_up(server), "the node is whole")
        equal(backplane(server)["gaps"], 1)
        assert "d" not in envelope(reader), "a mark"
        number = post(server, "A", "after")
        message = data(reader)
        equal((message["d"], message["s"]), ("after", number))
        equal([data(beside)["d"] for _ in range(6)], [f"lost here {number}" for number in range(5)] + ["after"])
        equal((backplane(other)["gaps"], backplane(server)["epochs"]), (0, 0))
        # The newest alone is gone, and a node starts with nothing to read.
        post(other, "A", "one")
        newest = redis.ask("XREVRANGE", "test:stream", "+", "-", "COUNT", "1")[0][0]
        redis.ask("XDEL", "test:stream", newest)
        with node(redis) as third:
            until(lambda: is_up(third), "a node for which the newest is not there")
        redis.ask("XTRIM", "test:stream", "MAXLEN", "0")
        with node(redis) as third:
            until(lambda: is_up(third), "a node with nothing to read")
            equal(backplane(third)["gaps"], 0)
            late = third.connect("/topic/A?form=json")
            assert post(other, "A", "late") > number
            equal(data(late)["d"], "late")


def test_a_node_that_is_killed():
    """kill -9 of one node while all publish; it comes back and has everything."""
    seed = random.randrange(1 << 30)
    print(f"    seed {seed}")
    chance = random.Random(seed)
    with Redis() as redis, node(redis) as first, contextlib.ExitStack() as stack:
        second = node(redis)
        reader = first.connect("/topic/A?form=json")
        sent = []
        for index in range(300):
            if chance.random() < 0.02:
                second.kill()
                second = node(redis)
            sent.append(post(chance.choice((first, second)), "A", str(index)))
        stack.enter_context(second)
        got = [data(reader) for _ in range(300)]
        equal([int(message["d"]) for message in got], list(range(300)))
        equal([message["s"] for message in got], sent)
        equal(history(second, "A")[-50:], list(range(250, 300)))


def test_cuts_at_random():
    """Connections are cut again and again while three nodes publish: none lost, none twice, one order everywhere."""
    seed, count = random.randrange(1 << 30), 400
    print(f"    seed {seed}")
    chance = random.Random(seed)
    with Redis() as redis, contextlib.ExitStack() as stack:
        cutters = [stack.enter_context(Cutter(redis.port)) for _ in range(3)]
        nodes = [stack.enter_context(node(redis, "--backplane-away", "queue", port=cutter.port)) for cutter in cutters]
        readers = [each.connect("/topic/A?form=json") for each in nodes]
        writers = [each.connect("/publish/A") for each in nodes]
        over = threading.Event()

        def cut():
            while not over.wait(chance.random() / 20):
                cutter = chance.choice(cutters)
                cutter.cut()
                time.sleep(chance.random() / 20)
                cutter.mend()

        thread = threading.Thread(target=cut)
        thread.start()
        for number in range(count):
            for index, writer in enumerate(writers):
                writer.text(f"{index} {number}")
            time.sleep(0.002)
        over.set()
        thread.join()
        seen = [[envelope(reader) for _ in range(3 * count)] for reader in readers]
        for other in seen[1:]:
            equal([(message["s"], message["d"]) for message in other], [(message["s"], message["d"]) for message in seen[0]])
        for index in range(3):
            equal([message["d"] for message in seen[0] if message["d"].startswith(f"{index} ")],
                  [f"{index} {number}" for number in range(count)])


def test_topics_that_are_delivered_at_once():
    """They need no engine where they are published, and come to the other nodes all the same, once."""
    with Redis() as redis, Cutter(redis.port) as cutter, \
            node(redis, "--backplane-local", "live.*", port=cutter.port) as first, \
            node(redis, "--backplane-local", "live.*") as second:
        here, there = (server.connect("/topic/live.a?form=json") for server in (first, second))
        equal(post(first, "live.a", "one"), 1, "the node's own number")
        post(first, "b", "in order")
        cutter.cut()
        until(lambda: backplane(first)["lag_seconds"] > 1.1, "it is away for more than a blink")
        equal(post(first, "live.a", "two"), 2)
        post(first, "b", "refused", status=503)
        equal([data(here)["d"] for _ in range(2)], ["one", "two"])
        cutter.mend()
        equal([data(there)["d"] for _ in range(2)], ["one", "two"])
        equal(post(second, "live.a", "three"), 3)
        equal([data(reader)["d"] for reader in (here, there)], ["three", "three"])
        equal(history(first, "live.a"), ["one", "two", "three"])
        with Raw(first) as raw:
            body = b'[{"t":"live.a","d":"x"},{"t":"b","d":"y"}]'
            raw.send(b"POST /publish?form=json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                     % len(body) + body)
            equal(raw.response()[0], 400)


def test_password_and_database():
    with Redis("requirepass se/cret") as redis:
        url = f"redis://:se%2Fcret@127.0.0.1:{redis.port}/3"
        with Server("--backplane", url, *NODE) as server:
            post(server, "A", "one")
            assert "se/cret" not in server.get("/stats")[2].decode()
        with Server("--backplane", f"redis://127.0.0.1:{redis.port}", "--backplane-wait", "200ms", *NODE) as server:
            assert b"NOAUTH" in server.get("/healthz")[2], server.get("/healthz")


def certificates(directory):
    """An authority and a certificate of it for 127.0.0.1."""
    run_openssl = lambda *words: __import__("subprocess").run(["openssl", *words], cwd=directory, check=True, capture_output=True)
    run_openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem")
    return os.path.join(directory, "cert.pem"), os.path.join(directory, "key.pem")


def test_tls():
    if "thread" in os.environ.get("SANITIZE", ""):
        raise Skip("OpenSSL guards what both connections share in a way that the sanitizer does not see")
    import tempfile
    with tempfile.TemporaryDirectory() as directory:
        certificate, key = certificates(directory)
        from proxies import free_port
        port = free_port()
        with Redis("port 0", f"tls-port {port}", f"tls-cert-file {certificate}", f"tls-key-file {key}",
                   f"tls-ca-cert-file {certificate}", "tls-auth-clients no", port=port):
            url = f"rediss://127.0.0.1:{port}/0"
            with Server("--backplane", f"{url}?ca={certificate}", *NODE) as server:
                post(server, "A", "x" * 200000)
                equal(len(history(server, "A")[0]), 200000)
            with Server("--backplane", url, "--backplane-wait", "200ms", *NODE) as server:
                assert b"certificate" in server.get("/healthz")[2], server.get("/healthz")


def test_sentinel():
    """The master dies, Sentinel makes a replica the master: nodes find it, and nothing that was confirmed is lost."""
    with Redis() as master, Redis(f"replicaof 127.0.0.1 {master.port}", "repl-diskless-sync-delay 0") as replica:
        until(lambda: "master_link_status:up" in replica.ask("INFO", "replication"), "the replica follows")
        with Redis(f"sentinel monitor chief 127.0.0.1 {master.port} 1", "sentinel down-after-milliseconds chief 300",
                   "sentinel failover-timeout chief 3000", sentinel=True) as sentinel:
            until(lambda: sentinel.ask("SENTINEL", "replicas", "chief"), "the sentinel knows the replica", limit=15)
            url = f"redis-sentinel://127.0.0.1:{sentinel.port}/chief/0"
            with Server("--backplane", url, *NODE) as first, Server("--backplane", url, *NODE) as second:
                reader = second.connect("/topic/A?form=json")
                post(first, "A", "before")
                until(lambda: replica.ask("XLEN", "ringcast:stream") == 2, "the replica has it")
                master.kill()
                until(lambda: not is_up(first), "the nodes see it")
                until(lambda: is_up(first) and is_up(second), "the nodes found the new master", limit=15)
                post(first, "A", "after")
                equal([envelope(reader)["d"] for _ in range(2)], ["before", "after"])
                equal(replica.ask("ROLE")[0], "master")


def app(redis, *flags):
    return App("--backplane", f"redis://127.0.0.1:{redis.port}/0?prefix=app", *flags)


def test_feeds_of_applications():
    """`ringcast app`: published through any node, heard at all, with one number; history and since on another node."""
    with Redis() as redis, app(redis) as first, app(redis) as second:
        reader = second.client()
        reader.say("subscribe", topics=["t"])
        reader.expect("subscribed")
        answers = [first.post("publish", topic="t", data={"n": n}) for n in range(3)]
        many = first.api("publish", [{"topic": "t", "data": 3}, {"topic": "t", "data": 4}])[1]["results"]
        equal([one["topic"] for one in many], ["t", "t"])
        heard = [reader.expect("update", topic="t") for _ in range(5)]
        equal([(one["seq"], one["epoch"]) for one in heard], [(one["seq"], one["epoch"]) for one in answers + many])
        equal([one["data"] for one in heard], [{"n": 0}, {"n": 1}, {"n": 2}, 3, 4])
        equal([one["prev"] for one in heard[1:]], [one["seq"] for one in heard[:-1]])
        other = first.client()
        other.say("subscribe", topics=["t"], since=heard[2]["seq"], epoch=heard[2]["epoch"])
        other.expect("subscribed")
        equal([other.expect("update")["data"] for _ in range(2)], [3, 4])
        other.say("history", topic="t")
        equal([one["data"] for one in other.expect("history")["messages"]], [one["data"] for one in heard])
        equal(first.api("publish", {"topic": "t"})[0], 400)
        last = heard[-1]
    with Redis() as redis:
        with app(redis) as first:
            seq = [first.post("publish", topic="t", data=n) for n in range(4)]
        with app(redis) as again:
            reader = again.client()
            reader.say("subscribe", topics=["t"], since=seq[1]["seq"], epoch=seq[1]["epoch"])
            reader.expect("subscribed")
            equal([reader.expect("update")["data"] for _ in range(2)], [2, 3])
            redis.ask("FLUSHALL")
            until(lambda: backplane(again)["epochs"], "a new epoch")
            after = again.post("publish", topic="t", data="after")
            heard = reader.hear()
            while heard["type"] != "update":
                equal(heard["type"], "resync")
                heard = reader.hear()
            equal((heard["data"], heard["epoch"]), ("after", after["epoch"]))
            assert after["epoch"] > last["epoch"]


def test_what_is_wrong_with_a_url():
    for url, words in (("redis", "expected SCHEME://HOST:PORT"), ("nosuch://x", "no backplane 'nosuch'"),
                       ("redis://h:70000", "1 to 65535"), ("redis://h/x", "number of a database"),
                       ("redis://h?nosuch=1", "unknown nosuch="), ("redis://h?keep=1", "keep=1"),
                       ("redis://h?prefix=a%20b", "prefix="), ("redis://h?ca=/x", "for rediss"),
                       ("rediss://h?ca=/nonexistent", "PEM"), ("redis-sentinel://h", "by its name")):
        done = command("serve", "--backplane", url)
        equal(done.returncode, 2, url)
        assert words in done.stderr.decode(), (url, done.stderr)
    done = command("serve", "--backplane-queue", "1m")
    equal(done.returncode, 2)


def test_a_start_without_the_engine():
    """It starts all the same, says so, and is whole when the engine comes."""
    with Redis() as redis:
        redis.kill()
        with node(redis, "--backplane-wait", "100ms") as server:
            assert server.get("/healthz")[2].startswith(b"degraded"), "degraded"
            equal(server.get("/readyz")[0], 200)
            redis.start()
            until(lambda: is_up(server), "the node is up")
            post(server, "A", "one")
            equal(history(server, "A"), ["one"])


if __name__ == "__main__":
    run(globals(), limit=60)
