# SPDX-License-Identifier: MIT
"""The server as a process: where it listens, how many workers it has, how it ends, and how it refuses to start."""
import os
import re
import resource
import signal
import socket
import subprocess
import tempfile
import threading
import time

from harness import CLOSE, PROGRAM, Raw, Server, Skip, besides_the_ring, die_with_parent, equal, frame, run, until, SLOW


def refuses(*flags, preexec=None, words=()):
    """`serve` with these flags must not start: one line on stderr (and where help is), a status that is not 0."""
    def before():
        die_with_parent()
        if preexec:
            preexec()
    done = subprocess.run([PROGRAM, "serve", *flags], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=10 * SLOW, preexec_fn=before)
    assert done.returncode not in (0, None) and done.returncode > 0, f"{flags}: status {done.returncode}"
    lines = besides_the_ring(line for line in done.stderr.splitlines() if not line.startswith("try 'ringcast serve --help'"))
    equal(len(lines), 1, f"lines on stderr for {flags}: {done.stderr}")
    for word in words:
        assert word in lines[0], f"{flags}: no {word!r} in {lines[0]!r}"
    return lines[0]


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


def test_ipv6():
    if not has_ipv6():
        raise Skip("this machine has no IPv6")
    with Server("--echo", listen=("[::1]:0",)) as server:
        raw = Raw(("::1", server.port)).open()
        raw.text("six")
        equal(raw.receive_text(), "six")
        equal(raw.close(), 1000)


def upgrade_from(source, port, path):
    """The status of a handshake from this address, and the socket, to be kept open."""
    one = socket.create_connection(("127.0.0.1", port), timeout=10 * SLOW, source_address=(source, 0))
    one.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
    return int(one.recv(100).split()[1]), one


def test_all_addresses():
    """Peers of IPv4 come to the socket of IPv6, and are peers of IPv4 all the same: each counts for itself."""
    for address in (":0", "*:0", "ws://:0"):
        with Server("--echo", listen=(address,), workers=2) as server:
            port = int(server.url.rsplit(":", 1)[1])
            for host in ("127.0.0.1", "127.0.0.2") + (("::1",) if has_ipv6() else ()):
                with Raw((host, port)).open() as raw:
                    raw.text(host)
                    equal(raw.receive_text(), host, address)
            refuses("--listen", f":{port}", words=(str(port), "something else listens there"))
    flags = ("--echo", "--relay", "--connections-per-address", "1", "--publish-from", "127.0.0.2")
    with Server(*flags, listen=(":0",)) as server:
        port = int(server.url.rsplit(":", 1)[1])
        first, one = upgrade_from("127.0.0.1", port, "/relay/a")
        again, two = upgrade_from("127.0.0.1", port, "/relay/a")
        other, three = upgrade_from("127.0.0.2", port, "/publish/a")
        equal((first, again, other), (101, 429, 101))
        one.close()
        until(lambda: upgrade_from("127.0.0.1", port, "/publish/a")[0] == 403, "a free place, and no right to publish")
        two.close()
        three.close()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refuses("--listen", f":{taken.getsockname()[1]}", words=("something else listens there",))


def test_localhost():
    with Server("--echo", listen=("localhost:0",)) as server:
        Raw(("127.0.0.1", int(server.url.rsplit(":", 1)[1]))).open().close()


def test_what_is_no_address_to_listen_on():
    for address, word in (("example.org:80", "getent ahosts example.org"), ("example.org:80", ":PORT"), ("a-b.c_d:0", "looked up"),
                          ("1.2.3.4.5:80", "looked up"), ("8080", "no port"), ("8080", ":8080"), ("example.org", "no port"),
                          ("::1:8080", "[::1]:8080"), ("[::1:80", "not an address"), ("[fe80::%lo]:1", "not an address"),
                          ("**:80", "not an address"), ("http://127.0.0.1:80", "not an address"), ("[]:80", "not an address"),
                          ("[*]:80", "not an address"), ("a b:80", "not an address"), ("[::1]", "0 to 65535"),
                          (":", "0 to 65535"), (":65536", "0 to 65535"), ("*:x", "0 to 65535"),
                          ("127.0.0.1:80/x", "0 to 65535")):
        refuses("--listen", address, words=(f"'{address}'", word))


def test_unix_socket():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "s.sock")
        with Server("--echo", "--relay", listen=(f"unix:{path}",), workers=3) as server:
            raws = [Raw(path).open("/relay/u") for _ in range(6)]
            raws[0].text("through a file")
            for raw in raws:
                equal(raw.receive_text(), "through a file")
            writer = Raw(path).open("/publish/u")  # a Unix socket is local
            writer.text("again")
            for raw in raws:
                equal(raw.receive_text(), "again")
                equal(raw.close(), 1000)
        # The file that nobody answers at any more does not stop the next.
        with Server("--echo", listen=(f"unix:{path}",)) as server:
            equal(Raw(path).open().close(), 1000)


def test_several_listeners():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "s.sock")
        with Server("--relay", listen=("127.0.0.1:0", "ws://127.0.0.1:0", f"unix:{path}")) as server:
            ports = [int(re.search(r":(\d+)$", url).group(1)) for url in server.urls()[:2]]
            assert ports[0] != ports[1], ports
            raws = [Raw(target).open("/relay/r") for target in (("127.0.0.1", ports[0]), ("127.0.0.1", ports[1]), path)]
            raws[2].text("to all doors")
            for raw in raws:
                equal(raw.receive_text(), "to all doors")


def test_more_workers_than_processors():
    """Five workers; connections land on different ones, and messages cross between all of them."""
    with Server("--relay", workers=5) as server:
        raws = [server.connect("/relay/x") for _ in range(50)]
        until(lambda: server.stats()["subscriptions"] == 50, "50 subscriptions")
        for number in range(0, 50, 7):
            raws[number].text(f"from {number}")
        for raw in raws:
            equal(sorted(raw.receive_text() for _ in range(0, 50, 7)), sorted(f"from {n}" for n in range(0, 50, 7)))
        for raw in raws:
            equal(raw.close(), 1000)


def test_drain():
    """SIGTERM: no new connections, 1001 to all, exit 0, though one peer never answers."""
    server = Server("--relay", "--echo", "--drain", "2s")
    with server:
        raws = [server.connect("/relay/x") for _ in range(20)]
        silent = server.connect("/echo")
        half = Raw(server)
        half.send(half.request()[:30])
        raws[0].text("last words")
        for raw in raws:
            equal(raw.receive_text(), "last words")
        server.process.send_signal(signal.SIGTERM)
        for raw in raws:
            raw.expect_close(1001)
        try:
            refused = Raw(server)
            refused.send(refused.request())
            assert b"101" not in bytes(refused.socket.recv(100)), "accepted while draining"
        except (ConnectionError, EOFError):
            pass
        equal(server.process.wait(10 * SLOW), 0)
        equal(silent.receive()[0], CLOSE)
        equal(silent.closed[0], 1001)


def test_drain_delivers_what_was_published():
    """What was published before the signal still arrives before the 1001."""
    with Server() as server:
        reader, writer = server.connect("/topic/d"), server.connect("/publish/d")
        until(lambda: server.stats()["subscriptions"] == 1, "the subscription")
        for number in range(2000):
            writer.text(f"{number}" + "." * 200)
        until(lambda: server.stats()["published"] == 2000, "2000 published")
        server.process.send_signal(signal.SIGTERM)
        for number in range(2000):
            equal(reader.receive_text().rstrip("."), str(number))
        reader.expect_close(1001)
        writer.expect_close(1001)


def test_stop_with_a_reader_that_stalls():
    with Server("--drain", "500ms") as server:
        stalled, writer = Raw(server, receive_buffer=4096).open("/topic/d"), server.connect("/publish/d")
        until(lambda: server.stats()["subscriptions"] == 1, "the subscription")
        for _ in range(3000):
            writer.text("." * 1000)
        until(lambda: server.stats()["published"] == 3000, "3000 published")
        server.stop()
        del stalled


def test_interrupt_is_the_same():
    with Server("--echo") as server:
        raw = server.connect()
        server.process.send_signal(signal.SIGINT)
        raw.expect_close(1001)
        equal(server.process.wait(10 * SLOW), 0)


def test_second_signal():
    """It waits for nobody any more: neither while draining, nor at any moment of the end."""
    with Server("--echo", "--drain", "60s") as server:
        silent = server.connect()
        server.process.send_signal(signal.SIGTERM)
        equal(silent.receive()[0], CLOSE)
        server.stop()
    for _ in range(20):
        with Server("--echo") as server:
            raw = server.connect()
            server.process.send_signal(signal.SIGTERM)
            raw.expect_close(1001)


def test_port_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refuses("--listen", f"127.0.0.1:{taken.getsockname()[1]}", words=(str(taken.getsockname()[1]),))


def test_it_says_where_it_listens():
    """As a URL, whatever else stands in the address; an inherited socket by its number."""
    with Server(listen=("proxy+127.0.0.1:0",)) as server:
        equal(server.url, f"ws://127.0.0.1:{server.port}")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with Server("--demo", listen=(f"fd:{listener.fileno()}",), inherit=(listener.fileno(),)) as server:
            equal(server.lines[0], f"listening on descriptor {listener.fileno()}\n")
            with Raw(listener.getsockname()) as raw:
                raw.open("/topic/t")
            assert not any("http" in line for line in server.lines), server.lines


def test_bad_flags():
    for flags in (("--no-such-flag",), ("--workers", "x"), ("--workers", "100000"), ("--listen", "nonsense"),
                  ("--listen", "127.0.0.1:99999"), ("--policy", "maybe"), ("--log-size", "1q"), ("--log-size", "5"),
                  ("--policy-for", "a*"), ("--handshake-timeout", "-1s"), ("--replay", "/no/such/file"), ("stray",),
                  ("--listen",), ("--congestion", "no-such-control")):
        if "--listen" not in flags:
            flags = ("--listen", "127.0.0.1:0") + flags
        line = refuses(*flags)
        assert flags[-1].lstrip("-") in line or flags[-2].lstrip("-") in line, f"{flags}: {line!r} does not name it"


def test_too_many_patterns():
    """64 in all. The demonstration wants two more: for every topic of the market, and for its order book."""
    def kept(count):
        return [word for number in range(count) for word in ("--keep-last", f"t{number}")]

    here = ("--listen", "127.0.0.1:0")
    refuses(*here, *kept(64), "--policy-for", "u=skip", words=("--keep-last 't63'", "64"))
    refuses(*here, *kept(64), "--deflate", "--cohort", "u", words=("--cohort", "64"))
    refuses(*here, *kept(64), "--demo", words=("--demo", "64"))
    refuses(*here, *kept(63), "--demo", words=("--demo", "64"))
    with Server(*kept(62), "--demo") as server:
        equal(server.get("/")[0], 200)


def test_low_descriptor_limit():
    """Either it cannot start, and says why and what to do, or it refuses what goes beyond and serves the rest."""
    def limit(count):
        return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))

    line = refuses("--listen", "127.0.0.1:0", "--workers", "4", preexec=limit(10))
    assert re.search(r"descriptor|RLIMIT_NOFILE|ulimit|nofile", line, re.I), line
    line = refuses("--listen", "127.0.0.1:0", "--connections-max", "100000", preexec=limit(256))
    assert re.search(r"descriptor|RLIMIT_NOFILE|ulimit|nofile", line, re.I), line


def test_descriptors_used_up():
    """Connections beyond the limit are refused; the others live, and there is room again when some have left."""
    with Server("--echo", workers=1,
                preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))) as server:
        held = []
        for _ in range(100):
            try:
                held.append(server.connect())
            except (AssertionError, EOFError, OSError):
                pass
        assert 10 < len(held) < 100, len(held)
        for raw in held:
            raw.text("alive")
            equal(raw.receive_text(), "alive")
        for raw in held:
            raw.close()

        def again():
            try:
                return server.connect()
            except (AssertionError, EOFError, OSError):
                return None

        until(again, "a place when others have left").close()


def test_many_come_and_go():
    """Connections opened and closed by several threads at once, while messages flow."""
    with Server("--relay", workers=3) as server:
        wrong = []

        def visit(seed):
            try:
                for number in range(40):
                    raw = server.connect(f"/relay/t{seed % 3}")
                    raw.text(f"{seed} {number}")
                    while raw.receive_text() != f"{seed} {number}":
                        pass
                    if number % 3:
                        raw.close()
                    else:
                        raw.socket.close()
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=visit, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        equal(wrong, [])
        until(lambda: server.stats()["connections"] <= 1, "all gone")
        stats = server.stats()
        equal(stats["subscriptions"], 0)
        equal(stats["published"], 240)


def test_idle_server_sleeps():
    """No work, no processor time: a worker waits in the kernel."""
    with Server("--echo", workers=2) as server:
        held = [server.connect() for _ in range(20)]
        ticks = server.stats()["ticks"]
        time.sleep(1)
        assert server.stats()["ticks"] - ticks < 200, "workers spin"
        del held


def test_probe():
    done = subprocess.run([PROGRAM, "probe"], capture_output=True, text=True, timeout=10 * SLOW)
    equal(done.returncode, 0, done.stderr)
    assert len(done.stdout.splitlines()) >= 5, done.stdout


def test_help():
    done = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True, timeout=10 * SLOW)
    equal(done.returncode, 0)
    for verb in ("serve", "sub", "pub", "load", "replay", "probe"):
        assert verb in done.stdout, verb
        one = subprocess.run([PROGRAM, verb, "--help"], capture_output=True, text=True, timeout=10 * SLOW)
        equal(one.returncode, 0, verb)
        assert verb in one.stdout and not one.stderr, one
    for wrong in ([], ["no-such-verb"]):
        done = subprocess.run([PROGRAM, *wrong], capture_output=True, text=True, timeout=10 * SLOW)
        assert done.returncode > 0 and done.stderr, wrong


run(globals())
