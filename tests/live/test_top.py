# SPDX-License-Identifier: MIT
"""`ringcast top`, and what it shows: who is behind and by how much, as /stats says it."""
import json
import os
import pty
import re
import signal
import socket
import subprocess
import tempfile
import threading

import test_tls
from app import App
from cluster import Nodes
from harness import PROGRAM, SLOW, Raw, Server, command, die_with_parent, equal, run, until


def stalled(server, path="/topic/T"):
    """A subscriber that does not read."""
    raw = Raw(server, receive_buffer=4096)
    raw.open(path)
    return raw


def fill(publisher, count=400):
    for number in range(count):
        publisher.text(f"{number:08}" + "x" * 4000)


def stats(server):
    return json.loads(server.get("/stats")[2])


def test_who_is_behind():
    """One who does not read is counted by the age of what waits for it, and named; when it has read, it is not."""
    with Server("--policy", "skip") as server, stalled(server) as slow, server.connect("/publish/T") as publisher:
        quiet = stats(server)
        equal((sum(quiet["behind_by_age_ms"]), quiet["slowest"]), (0, []), "before")
        fill(publisher)
        found = until(lambda: stats(server) if stats(server)["slowest"] else None, "a slow subscriber")
        equal(sum(found["behind_by_age_ms"]), 1)
        one, = found["slowest"]
        equal(one["topic"], "T")
        assert re.fullmatch("[0-9a-f]{16}", one["connection"]) and int(one["connection"], 16), one
        assert 0 < one["lag_messages"] <= 400 and one["lag_ns"] > 0, one
        until(lambda: sum(stats(server)["behind_by_age_ms"][8:]) == 1, "its age grows past 128 ms")
        for number in range(400):
            equal(slow.receive_text()[:8], f"{number:08}")
        until(lambda: not stats(server)["slowest"] and not sum(stats(server)["behind_by_age_ms"]), "caught up")


def test_an_ipv6_address_is_named_whole():
    done = command("top", "--count", "1", "ws://[::1]:1")
    equal((done.returncode, done.stderr), (1, b"ringcast: [::1]:1: no answer to /stats: Connection refused\n"))


def test_slowest_first():
    """No more than eight are named, of all workers together, the oldest first."""
    with Server("--policy", "skip", workers=3) as server, server.connect("/publish/T") as publisher, \
            server.connect("/publish/U") as other:
        everybody = []
        try:
            everybody = [stalled(server, "/topic/T,U") for _ in range(4)]
            fill(publisher, 300)
            until(lambda: len(stats(server)["slowest"]) == 4, "four")
            everybody += [stalled(server, "/topic/U") for _ in range(8)]
            fill(other, 300)
            found = until(lambda: stats(server) if sum(stats(server)["behind_by_age_ms"]) == 12 else None, "twelve")
            equal(len(found["slowest"]), 8)
            ages = [one["lag_ns"] for one in found["slowest"]]
            equal(ages, sorted(ages, reverse=True), "order")
            equal([one["topic"] for one in found["slowest"]][:4], ["T"] * 4)
        finally:
            for raw in everybody:
                raw.socket.close()


def test_lines():
    """Into a pipe: a line a look, by URL, by address and by process id."""
    with Server() as server, server.connect("/topic/T") as _:
        odd = server.connect("/topic/%E2%82%AC%22%5C")  # a name with quotes does not make /stats unreadable
        assert any(topic["name"] == "\u20ac\"\\" for topic in stats(server)["topics"])
        for target in (server.url, f"127.0.0.1:{server.port}", str(server.pid)):
            done = command("top", "--count", "2", "--interval", "50ms", target)
            equal((done.returncode, done.stderr), (0, b""), target)
            lines = done.stdout.decode().splitlines()
            equal(len(lines), 2)
            for line in lines:
                assert re.match(r"\d+ connections  published \S+/s  delivered ", line), line
                assert "behind 0" in line, line
        odd.close()


def test_unix_socket():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "s.sock")
        with Server(listen=(f"unix:{path}",)):
            done = command("top", "--count", "1", "--interval", "20ms", f"ws+unix:{path}:")
            equal((done.returncode, done.stdout.count(b"\n")), (0, 1), done.stderr)


def on_terminal(arguments):
    """What a terminal is shown."""
    pid, terminal = pty.fork()
    if not pid:
        os.execv(PROGRAM, [PROGRAM, *arguments])
    shown = b""
    try:
        while data := os.read(terminal, 65536):
            shown += data
    except OSError:
        pass  # the other end has closed
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def serve_page(listener, page):
    """What a server of somebody else's might say, to whoever asks."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(page) + page)


def test_screen():
    """On a terminal: every part is there, and a topic's name cannot command the terminal."""
    with Server("--policy", "skip") as server, stalled(server, "/topic/T-m") as _, server.connect("/publish/T-m") as publisher:
        fill(publisher)
        until(lambda: stats(server)["slowest"], "a slow subscriber")
        page = server.get("/stats")[2].replace(b'"T-m"', b'"T\\u001b[31m"')
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve_page, args=(listener, page), daemon=True).start()
        status, shown = on_terminal(["top", "--count", "2", "--interval", "50ms", f"127.0.0.1:{listener.getsockname()[1]}"])
        equal(status, 0, shown)
        for part in ("connections", "worker", "topic", "behind by", "slowest", "T?[31m", "####"):
            assert part in shown, (part, shown)
        equal(shown.count("\x1b"), shown.count("\x1b[H") + shown.count("\x1b[J"), "escapes")


def test_a_node():
    """Of one of several nodes: how its backplane is, and all of them."""
    with Nodes(2) as nodes:
        clients = [nodes[1].client(f"/ws/u{n}") for n in range(3)]
        until(lambda: nodes[0].figures()["connectedClients"] == len(clients), "figures of the other one")
        status, shown = on_terminal(["top", "--count", "2", "--interval", "700ms", nodes[0].url])
        equal(status, 0, shown)
        rows = [line.split() for line in shown.splitlines()]
        assert ["backplane", "redis,", "whole:"] in [row[:3] for row in rows], shown
        for node, clients in zip(nodes.nodes, ("0", "3")):
            assert [f"127.0.0.1:{node.port}", clients, clients] in [row[:3] for row in rows], shown
        nodes.redis.kill()
        until(lambda: nodes.backplane(nodes[0])["up"] is False, "a node that knows it is alone")
        status, shown = on_terminal(["top", "--count", "1", "--interval", "50ms", nodes[0].url])
        assert "redis, degraded: the backplane is away: " in shown, shown


def test_end():
    """SIGINT ends it well; a server that has gone, and what is none, are an error in one line."""
    with Server() as server:
        top = subprocess.Popen([PROGRAM, "top", "--interval", "50ms", server.url], stdout=subprocess.PIPE,
                               preexec_fn=die_with_parent)
        top.stdout.readline()
        top.send_signal(signal.SIGINT)
        top.communicate(timeout=10 * SLOW)
        equal(top.returncode, 0)
        gone = server.url
    for target in (gone, "127.0.0.1", "1", "wss://127.0.0.1:1", "ws+unix:" + "x" * 200 + ":"):
        done = command("top", target)
        equal((done.returncode, len(done.stderr.splitlines())), (1, 1), done.stderr)
    for wrong in ([], ["--interval", "0", "a:1"], ["/topic/T"], ["--insecure", "ws://127.0.0.1:1"],
                  ["--ca", "x", "--insecure", "wss://127.0.0.1:1"]):
        equal(command("top", *wrong).returncode, 2)


def test_several():
    """Of several servers the sum, and a line each; one that ends is said to, and the others are shown on."""
    with Server() as first, Server() as second:
        members = [first.connect("/topic/T"), second.connect("/topic/T"), second.connect("/topic/U")]
        done = command("top", "--count", "1", "--interval", "50ms", first.url, second.url)
        equal((done.returncode, done.stderr), (0, b""))
        lines = done.stdout.decode().splitlines()
        equal([line.split()[0] for line in lines], ["all", f"127.0.0.1:{first.port}", f"127.0.0.1:{second.port}"])
        own = [int(line.split()[1]) for line in lines]  # with those of top itself
        equal(own[0], own[1] + own[2])
        assert own[1] >= 1 and own[2] >= 2, lines
        status, shown = on_terminal(["top", "--count", "1", "--interval", "50ms", first.url, second.url])
        equal(status, 0, shown)
        rows = [line.split() for line in shown.splitlines()]
        assert "2 nodes" in shown and "worker " not in shown, shown
        equal(sum(row[:1] == ["T"] for row in rows), 1, "a topic of both is one")
        equal([row[1] for row in rows if row[:1] == ["T"]], ["2"], "its subscribers")
        watching = subprocess.Popen([PROGRAM, "top", "--interval", "50ms", first.url, second.url], stdout=subprocess.PIPE,
                                    text=True, preexec_fn=die_with_parent)
        watching.stdout.readline()
        for member in members[1:]:
            member.socket.close()
        second.stop()
        while "Connection refused" not in watching.stdout.readline():
            pass
        assert "connections" in watching.stdout.readline(), "the other one is shown on"
        first.stop()
        watching.communicate(timeout=10 * SLOW)
        equal(watching.returncode, 1)


def test_over_tls():
    """By wss://, with the operator's key from a file or from the environment; a certificate of nobody's is refused."""
    key = "the-key-of-the-operator"
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(key + "\n")
        file.flush()
        with test_tls.Both("--operator-key-file", file.name) as server:
            trust = "--ca", test_tls.authority().path
            once = "top", "--count", "1", "--interval", "50ms"
            bare = {name: value for name, value in os.environ.items() if name != "RINGCAST_TOKEN"}
            for flags, env in (((*trust, "--key-file", file.name), bare), (trust, dict(bare, RINGCAST_TOKEN=key)),
                               (("--insecure",), dict(bare, RINGCAST_TOKEN=key)),
                               (("--key-file", file.name, *trust), dict(bare, RINGCAST_TOKEN="another-key-of-some-size"))):
                done = command(*once, *flags, server.secure_url, env=env)
                equal((done.returncode, done.stdout.count(b"\n")), (0, 1), done.stderr)
            for flags, env, words in (((), bare, b"its certificate: "), (trust, dict(bare, RINGCAST_TOKEN="a b"), b"RINGCAST_TOKEN: "),
                                      (("--ca", "/nowhere"), bare, b"--ca /nowhere: "),
                                      (("--ca", file.name), bare, b"--ca ")):
                done = command(*once, *flags, server.secure_url, env=env)
                equal((done.returncode, done.stderr.count(b"\n")), (1, 1), done.stderr)
                assert words in done.stderr and b"a b" not in done.stderr, done.stderr
            done = command(*once, *trust, server.url.replace("ws://", "wss://"))
            assert done.returncode == 1 and b"no TLS handshake" in done.stderr, done.stderr
            # The certificate is for localhost and 127.0.0.1, and for no other name.
            done = command(*once, *trust, server.secure_url.replace("127.0.0.1", "127.0.0.2"))
            equal(done.returncode, 1)
    with App("--operator-key", key, "--api-key", "the-key-of-the-application") as server:
        done = command("top", "--count", "1", server.url, env=dict(bare, RINGCAST_TOKEN="some-key-that-is-no-key"))
        assert done.returncode == 1 and b"RINGCAST_TOKEN" in done.stderr and b"401" in done.stderr, done.stderr
        done = command("top", "--count", "1", "--interval", "20ms", env=dict(bare, RINGCAST_TOKEN=key, RINGCAST_URL=server.url))
        equal(done.returncode, 0, done.stderr)


def test_a_key_on_the_command_line():
    """By ws:// and wss://; with --cert it is that of the certificate, as everywhere."""
    key, once = "the-key-of-the-operator", ("top", "--count", "1", "--interval", "20ms")
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(key + "\n")
        file.flush()
        with test_tls.Both("--operator-key-file", file.name) as server:
            trust = "--ca", test_tls.authority().path
            for flags in (("--key", key, server.url), ("--key", key, *trust, server.secure_url)):
                equal(command(*once, *flags).returncode, 0, flags)
            for flags, status, words in ((("--key", "some-key-that-is-no-key", server.url), 1, b"401"),
                                         (("--key", "two words", server.url), 2, b"--key: expected a key"),
                                         (("--key", "a\r\nHost: b", server.url), 2, b"expected UTF-8 without control"),
                                         (("--key", "", server.url), 2, b"--key"),
                                         (("--key", key, "--key-file", file.name, server.url), 2, b"not both"),
                                         (("--key", "/nowhere", "--cert", "/nowhere", server.secure_url), 1, b"/nowhere")):
                done = command(*once, *flags)
                assert done.returncode == status and words in done.stderr, (flags, done.stderr)


if __name__ == "__main__":
    run(globals())
