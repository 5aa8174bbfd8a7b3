# SPDX-License-Identifier: MIT
"""The command's verbs against the server: pub, sub, replay, load, and serve --replay."""
import json
import os
import random
import signal
import socket
import subprocess
import tempfile

from harness import PROGRAM, SLOW, TOP, Server, Skip, besides_the_ring, command, die_with_parent, equal, run, until


class Sub:
    """`ringcast sub` in the background, subscribed when made."""

    def __init__(self, server, *arguments, subscriptions=1):
        self.process = subprocess.Popen([PROGRAM, "sub", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, preexec_fn=die_with_parent)
        until(lambda: server.stats()["subscriptions"] == subscriptions, "sub's subscriptions")

    def end(self, status=0):
        out, err = self.process.communicate(timeout=15 * SLOW)
        equal(self.process.returncode, status, f"sub's exit status; it said {err!r}")
        return out, err.decode()


def pub(*arguments, stdin=b"", status=0):
    done = command("pub", *arguments, stdin=stdin)
    equal(done.returncode, status, f"pub's exit status; it said {done.stderr!r}")
    return done.stderr.decode()


def test_pub_and_sub():
    with Server() as server:
        sub = Sub(server, "--count", "3", server.url + "/topic/T")
        assert "closed 1000" in pub(server.url + "/publish/T", "one", "tw\u00f6", "")
        out, err = sub.end()
        equal(out.decode(), "one\ntw\u00f6\n\n")
        assert "closed 1000" in err, err


def test_pub_lines():
    """Every line of standard input, the last without its end too; none lost, though they come faster than they go."""
    lines = [f"line {number} " + "x" * (number % 500) for number in range(20000)]
    with Server() as server:
        sub = Sub(server, "--count", str(len(lines)), server.url + "/topic/T")
        pub(server.url + "/publish/T", stdin="\n".join(lines).encode())
        out, _ = sub.end()
        assert out.decode().split("\n")[:-1] == lines, "the lines differ"


def test_raw_binary():
    data = os.urandom(900000) + b"\n\x00"
    with Server() as server:
        sub = Sub(server, "--count", "1", "--raw", server.url + "/topic/T")
        pub("--raw", "--binary", server.url + "/publish/T", stdin=data)
        assert sub.end()[0] == data, "the bytes differ"


def test_sub_of_several():
    with Server(workers=3) as server:
        sub = Sub(server, "--count", "2", server.url + "/topic/A", server.url + "/topic/B", subscriptions=2)
        pub(server.url + "/publish/A", "a")
        pub(server.url + "/publish/B", "b")
        equal(sorted(sub.end()[0].split()), [b"a", b"b"])


def test_from_the_past():
    with Server() as server:
        pub(server.url + "/publish/T", "1", "2", "3")
        for query, want in (("?since=0", b"1\n2\n3\n"), ("?since=2", b"3\n"), ("?last=1", b"3\n")):
            done = command("sub", "--count", str(want.count(b"\n")), server.url + "/topic/T" + query)
            equal((done.returncode, done.stdout), (0, want))


def test_how_they_end():
    with Server("--publish-from", "192.0.2.1") as server:
        sub = Sub(server, server.url + "/topic/T")
        for verb, path, status in (("sub", "/nowhere", "404"), ("pub", "/publish/T", "403")):
            done = command(verb, server.url + path, stdin=b"")
            equal(done.returncode, 1)
            assert status in done.stderr.decode(), done.stderr
        server.stop()
        assert "1001" in sub.end()[1]
        gone = server.url
    for verb in ("sub", "pub"):
        done = command(verb, gone + "/topic/T", stdin=b"")
        equal(done.returncode, 1)
        equal(len(besides_the_ring(done.stderr.decode().splitlines())), 1, done.stderr)
        for wrong in ("http://127.0.0.1:1/", "ws://", "127.0.0.1:1"):
            done = command(verb, wrong, stdin=b"")
            assert done.returncode > 0 and done.stderr, wrong


def test_names_headers_and_again():
    """sub asks for names, says its headers, and comes back; what is wrong is said in words."""
    def fails(words, *arguments):
        done = command("sub", *arguments)
        equal(done.returncode, 1)
        assert words in done.stderr.decode(), done.stderr

    fails("127.0.0.1 port 1: Connection refused", "ws://localhost:1/")
    fails("the name 'no-such-host.invalid' cannot be found: ", "ws://no-such-host.invalid/")
    fails("--header is too long, or of those", "--header", "Host: x", "ws://127.0.0.1:1/")
    fails("'NAME: VALUE' is expected", "--header", "x", "ws://127.0.0.1:1/")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        fails("no answer to the handshake in time", "--timeout", "200ms", f"ws://127.0.0.1:{port}/")
        listener.accept()[0].close()
        sub = subprocess.Popen([PROGRAM, "sub", "--again", "20ms", "--header", "X-Key: a b", f"ws://localhost:{port}/"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               preexec_fn=die_with_parent)
        for _ in range(3):
            peer = listener.accept()[0]
            head = b""
            while b"\r\n\r\n" not in head:
                head += peer.recv(4096)
            assert b"\r\nX-Key: a b\r\n" in head, head
            peer.close()
        listener.accept()[0].sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        out, said = sub.communicate(timeout=15 * SLOW)
        equal((sub.returncode, out), (1, b""))
        equal(said.count(b"; again in "), 3)
        assert b"refused with HTTP status 403" in said, said


def test_sub_interrupted():
    with Server() as server:
        sub = Sub(server, server.url + "/topic/T")
        sub.process.send_signal(signal.SIGINT)
        sub.process.communicate(timeout=10 * SLOW)
        until(lambda: server.stats()["subscriptions"] == 0, "sub gone")


def test_unix_socket_urls():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "s.sock")
        with Server(listen=("127.0.0.1:0", f"unix:{path}")) as server:
            sub = Sub(server, "--count", "1", f"ws+unix:{path}:/topic/T")
            pub(f"ws+unix:{path}:/publish/T", "by file")
            equal(sub.end()[0], b"by file\n")


def recording(directory, count=500):
    """A small feed: its path, and the payloads of each topic in order."""
    chance = random.Random(7)
    path, topics = os.path.join(directory, "feed.tsv"), {}
    with open(path, "w", encoding="utf-8") as file:
        for number in range(count):
            topic = chance.choice(("a", "b:c", "caf\u00e9"))
            payload = f'{{"n":{number},"t":"\t\u20ac"}}' + "x" * chance.randrange(200)
            file.write(f"{number * 0.001:.6f}\t{topic}\t{payload}\n")
            topics.setdefault(topic, []).append(payload)
    return path, topics


def test_serve_replay():
    with tempfile.TemporaryDirectory() as directory:
        path, topics = recording(directory)
        for speed in ("0", "20"):
            with Server("--replay", path, "--speed", speed) as server:
                for topic, payloads in topics.items():
                    raw = server.connect("/topic/" + topic.replace("\u00e9", "%C3%A9") + "?since=0")
                    for payload in payloads:
                        equal(raw.receive_text(), payload)
                    raw.close()
                equal(server.stats()["published"], 500)


def test_replay_to_a_server():
    with tempfile.TemporaryDirectory() as directory, Server() as server:
        path, topics = recording(directory)
        readers = {topic: server.connect("/topic/" + topic.replace("\u00e9", "%C3%A9")) for topic in topics}
        until(lambda: server.stats()["subscriptions"] == 3, "3 subscriptions")
        done = command("replay", path, "--to", server.url, "--speed", "0")
        equal(done.returncode, 0, done.stderr)
        for topic, payloads in topics.items():
            for payload in payloads:
                equal(readers[topic].receive_text(), payload)


def test_bad_recordings():
    with tempfile.TemporaryDirectory() as directory, Server() as server:
        path = os.path.join(directory, "bad.tsv")
        for line in ("no tabs", "x\ttopic\tpayload", "1.0\t\tpayload"):
            with open(path, "w", encoding="utf-8") as file:
                file.write("0\tgood\tpayload\n" + line + "\n")
            done = command("replay", path, "--to", server.url, "--speed", "0")
            assert done.returncode > 0, line
            assert b"bad.tsv:2" in done.stderr, done.stderr


def test_recorded_market():
    """The recordings of two exchanges, as fast as possible: every payload of every topic, in order."""
    directory = os.path.join(TOP, "..", "shared", "data", "market")
    names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    names = [name for name in names if name.endswith(".tsv")]
    if not names:
        raise Skip("no recordings in ../shared/data/market")
    for name in names:
        topics = {}
        with open(os.path.join(directory, name), "rb") as file:
            for line in file:
                _, topic, payload = line.rstrip(b"\n").split(b"\t", 2)
                topics.setdefault(topic, []).append(payload)
        total = sum(map(len, topics.values()))
        with Server("--replay", os.path.join(directory, name), "--speed", "0") as server:
            until(lambda: server.stats()["published"] == total, f"{total} published")
            for topic in sorted(topics)[::max(1, len(topics) // 20)]:
                with server.connect("/topic/" + topic.decode() + "?since=0") as raw:
                    for payload in topics[topic]:
                        equal(raw.receive(), (1, payload))


def load(server, *arguments):
    """The report of a short `ringcast load`, which ends with 0 only if nothing was lost, doubled, reordered or torn."""
    done = command("load", server.url, "--quiet", "--json", "--warmup", "0", *arguments, limit=20)
    equal(done.returncode, 0, f"load's exit status; it said {done.stderr[-500:]!r}")
    report = json.loads(done.stdout)
    for wrong in ("lost", "duplicated", "reordered", "corrupt", "failed", "closed_early"):
        equal(report[wrong], 0, wrong)
    return report


def test_load_broadcast():
    with Server(workers=2) as server:
        for arguments, connections in ((("--connections", "50", "--messages", "300"), 50),
                                       (("--connections", "20", "--messages", "640", "--burst", "32", "--window", "2"), 20),
                                       (("--connections", "20", "--messages", "200", "--rate", "1000"), 20),
                                       (("--connections", "7", "--messages", "50", "--size", "100k", "--workers", "2"), 7)):
            report = load(server, *arguments, "--duration", "20s")
            equal(report["deliveries"], report["published"] * connections, str(arguments))
            assert report["published"] >= int(arguments[3]), report
        before = server.stats()["deliveries"]
        report = load(server, "--connections", "30", "--topics", "5", "--topics-per-connection", "2", "--messages", "400")
        equal(server.stats()["deliveries"] - before, report["deliveries"], "what the server counted")


def test_load_of_the_other_modes():
    with Server("--echo", "--relay", workers=2) as server:
        for size in ("128", "16k"):
            report = load(server, "--mode", "echo", "--connections", "10", "--size", size, "--messages", "500",
                          "--server-pid", str(server.pid))
            assert report["deliveries"] >= 500, report
        load(server, "--mode", "idle", "--connections", "200", "--duration", "100ms")
        load(server, "--mode", "connect", "--connections", "10", "--duration", "300ms")
        load(server, "--peer-protocol", "relay", "--connections", "10", "--messages", "100")
        until(lambda: server.stats()["connections"] <= 1, "all gone")
        equal(server.stats()["subscriptions"], 0)


def test_load_with_stalled_readers():
    """Those that do not read cost the others nothing: all of theirs arrives."""
    with Server("--policy", "skip", "--lag-max", "256k") as server:
        report = load(server, "--connections", "20", "--stalled", "5", "--messages", "2000", "--size", "1k", "--burst",
                      "8", "--duration", "15s")
        equal(report["deliveries"], report["published"] * 20)


def test_load_that_fails():
    with Server() as server:
        done = command("load", server.url, "--mode", "echo", "--duration", "100ms", "--quiet")
        equal(done.returncode, 1, "echo is not served")
        gone = server.url
    equal(command("load", gone, "--duration", "100ms", "--quiet").returncode, 1, "nobody listens")


run(globals(), limit=30)
