# SPDX-License-Identifier: MIT
"""wss: the server against Python's ssl, openssl s_client, curl, npm's ws, python3-websockets and its own client; what
is wrong on a TLS port; certificates by name, by reload and of clients."""
import asyncio
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import warnings

from app import Client
from harness import PROGRAM, SLOW, Raw, Server, Skip, command, die_with_parent, equal, run, until

HERE = os.path.dirname(os.path.abspath(__file__))
DIRECTORY = tempfile.TemporaryDirectory()


def openssl(*words, stdin=None, check=True):
    if not shutil.which("openssl"):
        raise Skip("openssl is not installed")
    return subprocess.run(["openssl", *words], input=stdin, capture_output=True, check=check, text=True,
                          timeout=15 * SLOW)


class Pair:
    """A certificate and its key in files: of an authority, or signed by one."""

    def __init__(self, name, *names, authority=None, kind="EC"):
        self.path, self.key = (os.path.join(DIRECTORY.name, f"{name}{end}") for end in (".pem", ".key"))
        key = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "EC" else ["rsa:2048"]
        make = ["req", "-newkey", *key, "-nodes", "-keyout", self.key, "-subj", f"/O=Example/CN={name}"]
        if not authority:
            openssl(*make, "-x509", "-days", "7", "-out", self.path)
            return
        request, extensions = self.path + ".csr", self.path + ".ext"
        openssl(*make, "-out", request)
        with open(extensions, "w", encoding="ascii") as file:
            file.write("basicConstraints=CA:FALSE\n")
            file.write("subjectAltName=" + ",".join(names) + "\n" if names else "")
        openssl("x509", "-req", "-in", request, "-CA", authority.path, "-CAkey", authority.key, "-days", "7",
                "-extfile", extensions, "-out", self.path)

    @property
    def flags(self):
        return "--tls-cert", self.path, "--tls-key", self.key


made = {}


def pair(name, *names, authority="authority", **more):
    if name not in made:
        made[name] = Pair(name, *names, authority=authority and pair(authority, authority=None), **more)
    return made[name]


def here():
    return pair("here", "DNS:localhost", "IP:127.0.0.1")


def authority():
    return pair("authority", authority=None)


class Both(Server):
    """With a wss and a ws listener; figures come through the latter."""

    def __init__(self, *flags, certificates=None, **more):
        for one in certificates or [here()]:
            flags += one.flags
        super().__init__(*flags, listen=("127.0.0.1:0", "wss://127.0.0.1:0"), **more)
        self.secure_url = self.urls()[1]
        assert self.secure_url.startswith("wss://"), self.secure_url
        self.secure_port = int(self.secure_url.rsplit(":", 1)[1])

    def figure(self, name, value):
        until(lambda: self.stats()[name] == value, f"{name} of {value}, it is {self.stats()[name]}", 5)


def trusting(version=None, verified=True):
    context = ssl.create_default_context(cafile=authority().path)
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if version:
        context.minimum_version = context.maximum_version = version
    return context


class Secure(Raw):
    """The same client over TLS. An end without close_notify is an error."""

    def __init__(self, server, context=None, name="localhost", session=None, **more):
        super().__init__(("127.0.0.1", server.secure_port), **more)
        self.bare = self.socket
        self.socket = (context or trusting()).wrap_socket(self.socket, server_hostname=name, session=session,
                                                          suppress_ragged_eofs=False)


def test_versions():
    with Both("--echo", "--relay") as server:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with Secure(server, trusting(version)) as raw:
                raw.open("/echo")
                for size in (0, 1, 125, 126, 16384, 65535, 65536, 1 << 20):
                    data = os.urandom(size)
                    raw.binary(data)
                    assert raw.receive()[1] == data, f"{version}: binary of {size} bytes"
                equal(raw.close(), 1000)
        context = trusting(verified=False)
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        try:
            Secure(server, context)
            raise AssertionError("TLS 1.1 was accepted")
        except ssl.SSLError:
            pass
        server.figure("tls_handshakes", 2)
        server.figure("tls_failed", 1)
        server.figure("tls_errors", 0)
        server.figure("tls_truncated", 0)


def test_topics():
    with Both("--relay") as server:
        secure = [Secure(server).open("/topic/t") for _ in range(20)]
        plain = server.connect("/topic/t")
        writer = Secure(server).open("/publish/t")
        sizes = [0, 1, 200, 5000, 16384, 70000, 300000, 1 << 20] + [50] * 500
        for number, size in enumerate(sizes):
            writer.text(f"{number} " + "x" * (size - 8))
        for raw in secure + [plain]:
            for number, size in enumerate(sizes):
                text = raw.receive_text()
                equal(text, f"{number} " + "x" * (size - 8), "a message's text")
            equal(raw.close(), 1000)
        equal(server.stats()["deliveries"], 21 * len(sizes))


def test_slow_reader():
    """What a socket did not take is finished before anything else, whatever was published meanwhile."""
    with Both("--relay", "--log-size", "64m") as server:
        slow, quick = Secure(server, receive_buffer=8192).open("/topic/t"), Secure(server).open("/topic/t")
        writer = server.connect("/publish/t")
        texts = [f"{number} " + "y" * (number * 7919 % 30000) for number in range(1000)]
        sender = threading.Thread(target=lambda: [writer.text(text) for text in texts])
        sender.start()
        for text in texts:
            equal(quick.receive_text(), text)
        sender.join()
        assert server.stats()["sends_short"] > 0, "the slow one was never slow"
        for text in texts:
            equal(slow.receive_text(), text)
        equal(slow.close(), 1000)
        equal(server.stats()["behind"], 0)


def test_too_slow():
    for policy, figure in (("close", "slow_closed"), ("skip", "dropped"), ("conflate", "conflated")):
        with Both("--relay", "--policy", policy, "--lag-max", "256k") as server:
            slow = Secure(server, receive_buffer=4096).open("/topic/t")
            writer = server.connect("/publish/t")
            for number in range(3000):
                writer.text(f"{number} " + "z" * 4000)
            until(lambda: server.stats()[figure] > 0, figure)
            if policy == "close":
                slow.expect_close(1008)
                continue
            numbers = [-1]
            while numbers[-1] != 2999:
                numbers.append(int(slow.receive_text().split()[0]))
            equal(numbers, sorted(set(numbers)), "the order")
            equal(slow.close(), 1000)


class SecureClient(Secure, Client):
    """One that speaks the dialect of `ringcast app`, over TLS."""


def test_application():
    """A room with members over wss and over ws: both hear of each other, and what is large comes in one piece."""
    class BothApp(Both):
        verb = "app"

    with BothApp("--messages-per-second", "0", "--content-max", "100000") as server:
        secure = [SecureClient(server).join_in("/ws/" + name) for name in ("a", "b")]
        plain = Client(server).join_in("/ws/c")
        for joined, client in enumerate(secure + [plain]):
            client.in_room("r")
            for earlier in secure[:joined]:
                earlier.expect("user_joined", userId="abc"[joined], room="r")
        for size in (1, 1000, 20000):
            content = "\u00e9" * (size // 2) + "x"
            secure[0].say("room_message", room="r", content=content)
            plain.expect("room_message", **{"from": "a"}, room="r", content=content)
            secure[1].expect("room_message", **{"from": "a"}, room="r", content=content)
        plain.say("room_message", room="r", content="over ws")
        for client in secure:
            client.expect("room_message", **{"from": "c"}, content="over ws")
            client.settle()
        equal(secure[1].close(), 1000)
        secure[0].expect("user_left", userId="b", room="r")
        server.figure("tls_handshakes", 2)
        server.figure("tls_errors", 0)


def test_plain_http_on_the_tls_port():
    with Both("--echo") as server:
        other = Secure(server).open("/echo")
        with Raw(("127.0.0.1", server.secure_port)) as raw:
            raw.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert raw.at_end() or raw.buffer[0] == 0x15, "an alert at most"
        with Raw(("127.0.0.1", server.secure_port)) as raw:
            raw.send(os.urandom(3000))
            while raw.more():
                pass
        server.figure("tls_failed", 2)
        other.text("still here")
        equal(other.receive_text(), "still here")
        equal(other.close(), 1000)


def test_tls_on_the_plain_port():
    with Both("--echo") as server:
        try:
            trusting().wrap_socket(socket.create_connection(("127.0.0.1", server.port)), server_hostname="localhost")
            raise AssertionError("it was answered")
        except (ssl.SSLError, ConnectionResetError):
            pass
        server.figure("handshakes_failed", 1)
        equal(server.connect().close(), 1000)


def test_garbage_after_the_handshake():
    with Both("--echo") as server:
        other = Secure(server).open("/echo")
        for count, junk in enumerate((b"\x17\x03\x03\x00\x20" + os.urandom(32), b"\x17\x03\x03\x48\x01" + os.urandom(900),
                                      b"plain words instead of records", b"\x16\x03\x03\x00\x04\x01\x00\x00\x00")):
            with Secure(server) as raw:
                raw.open("/echo")
                os.write(raw.socket.fileno(), junk)
                try:
                    while raw.more():
                        pass
                    raise AssertionError("an orderly end")
                except (ssl.SSLError, ConnectionResetError):
                    pass
            server.figure("tls_errors", count + 1)
        other.text("still here")
        equal(other.receive_text(), "still here")
        equal(other.close(), 1000)
        server.figure("connections", 1)


def test_end_without_notice():
    with Both("--echo") as server:
        raw = Secure(server).open("/echo")
        os.write(raw.socket.fileno(), b"\x17\x03\x03\x00\x20half")
        raw.socket.close()
        server.figure("tls_truncated", 1)
        server.figure("closed_abnormal", 1)
        raw = Raw(("127.0.0.1", server.secure_port))
        raw.send(b"\x16\x03\x01\x02\x00\x01")
        raw.socket.close()
        server.figure("tls_failed", 1)
        raw = Secure(server).open("/echo")
        try:
            raw.socket.settimeout(0.2)
            raw.socket.unwrap()  # a close_notify and no Close
        except (OSError, ssl.SSLError):
            pass
        raw.socket.close()
        server.figure("closed_abnormal", 2)
        server.figure("tls_truncated", 1)


def test_stalled_handshakes():
    with Both("--echo", "--handshake-timeout", "400ms") as server:
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(32)
        stalled = [Raw(("127.0.0.1", server.secure_port)) for _ in range(20)]
        for number, raw in enumerate(stalled):
            raw.send(hello[:number * 2])
        begun = Secure(server)  # TLS is there, the request is not
        with Secure(server) as raw:
            equal(raw.open("/echo").close(), 1000)
        for raw in stalled:
            assert raw.at_end(), "it was answered"
        equal(begun.response()[0], 408)
        server.figure("timeouts", 21)
        server.figure("tls_failed", 20)


def test_many_at_once():
    """More handshakes than a tick takes: all are done, and messages flow meanwhile."""
    with Both("--relay", workers=1) as server:
        listener, writer = server.connect("/topic/t"), server.connect("/publish/t")
        context, failed = trusting(), []

        def meet():
            try:
                equal(Secure(server, context, limit=20).open("/topic/other").close(), 1000)
            except Exception as error:  # in a thread: told below
                failed.append(error)

        threads = [threading.Thread(target=meet) for _ in range(100)]
        for thread in threads:
            thread.start()
        for number in range(50):
            writer.text(str(number))
            equal(listener.receive_text(), str(number))
        for thread in threads:
            thread.join()
        equal(failed, [])
        server.figure("tls_handshakes", 100)
        server.figure("tls_failed", 0)


def test_resumption():
    with Both("--echo", workers=3) as server:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context, session = trusting(version), None
            before = server.stats()["tls_resumed"]
            for turn in range(6):  # on whichever worker
                if turn == 4:
                    server.process.send_signal(signal.SIGHUP)
                    until(lambda: "read again" in "".join(server.errors), "the reload")
                with Secure(server, context, session=session) as raw:
                    raw.open("/echo").text("x")
                    equal(raw.receive_text(), "x")
                    equal(raw.socket.session_reused, turn > 0, f"{version} turn {turn}")
                    session = raw.socket.session
                    raw.close()
            equal(server.stats()["tls_resumed"] - before, 5)
            server.errors.clear()


def shown(server, name):
    """The subject of the certificate that this server name gets."""
    context = trusting(verified=False)
    with socket.create_connection(("127.0.0.1", server.secure_port)) as bare:
        with context.wrap_socket(bare, server_hostname=name) as tls:
            text = tls.getpeercert(True)
    return openssl("x509", "-noout", "-subject", stdin=ssl.DER_cert_to_PEM_cert(text)).stdout.split("CN = ")[-1].strip()


def test_names():
    several = [here(), pair("one", "DNS:one.example", "DNS:*.one.example"), pair("two", "DNS:two.example", kind="RSA")]
    with Both(certificates=several) as server:
        for asked, want in (("one.example", "one"), ("a.one.example", "one"), ("two.example", "two"),
                            ("localhost", "here"), ("unknown.example", "here"), (None, "here")):
            equal(shown(server, asked), want, f"asked for {asked}")
    with Both(certificates=several[2:]) as server:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            Secure(server, trusting(version), name="two.example").socket.close()


def test_reload_under_load():
    """New certificates, a bad one, good ones again: nobody who is there notices, and a bad one changes nothing."""
    used = Pair("used", "DNS:localhost", "IP:127.0.0.1", authority=authority())
    first, second = (Pair(name, "DNS:localhost", "IP:127.0.0.1", authority=authority()) for name in ("first", "second"))

    def use(source):
        for part in ("path", "key"):
            shutil.copy(getattr(source, part), getattr(used, part))

    def reload(word):
        server.errors.clear()
        server.process.send_signal(signal.SIGHUP)
        until(lambda: word in "".join(server.errors), word)

    use(first)
    with Both("--relay", certificates=[used]) as server:
        load = subprocess.Popen([PROGRAM, "load", server.secure_url, "--ca", authority().path, "--connections", "50",
                                 "--duration", "3s", "--warmup", "0ms", "--rate", "500", "--quiet"],
                                stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        until(lambda: server.stats()["deliveries"] > 0, "the load")
        equal(shown(server, "localhost"), "first")
        use(second)
        equal(shown(server, "localhost"), "first")
        reload("read again")
        equal(shown(server, "localhost"), "second")
        shutil.copy(first.key, used.key)
        reload("the certificates in use stay")
        assert "is not the key of its certificate" in "".join(server.errors), server.errors
        equal(shown(server, "localhost"), "second")
        os.remove(used.path)
        reload("No such file")
        equal(shown(server, "localhost"), "second")
        use(first)
        reload("read again")
        equal(shown(server, "localhost"), "first")
        said, _ = load.communicate(timeout=20 * SLOW)
        equal(load.returncode, 0, said)
        equal(server.stats()["tls_errors"], 0)


def test_client_certificates():
    member, stranger = pair("member"), Pair("stranger")

    def meet(server, who, path="/echo"):
        context = trusting()
        if who:
            context.load_cert_chain(who.path, who.key)
        raw = Secure(server, context)
        return raw.open(path)  # in TLS 1.3 a client's certificate is judged after its handshake is done

    def refused(server, who):
        try:
            meet(server, who)
        except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
            return
        raise AssertionError("let in")

    with Both("--echo", "--tls-client-ca", authority().path) as server:
        equal(meet(server, member).close(), 1000)
        refused(server, None)
        refused(server, stranger)
        server.figure("tls_handshakes", 1)
        server.figure("tls_failed", 2)
        said = command("sub", f"wss://localhost:{server.secure_port}/topic/t", "--ca", authority().path)
        assert said.returncode and b"certificate required" in said.stderr, said.stderr
    with Both("--tls-client-ca", authority().path, "--tls-client-optional", "--publish-from", "certified") as server:
        listener = meet(server, None, "/topic/t")
        writer = meet(server, member, "/publish/t")
        writer.text("signed")
        equal(listener.receive_text(), "signed")
        raw = Secure(server)
        raw.send(raw.request("/publish/t"))
        equal(raw.response()[0], 403)
        with Raw(server) as raw:
            raw.send(raw.request("/publish/t"))
            equal(raw.response()[0], 403)
        refused(server, stranger)
        done = command("pub", "--ca", authority().path, "--cert", member.path, "--key", member.key,
                       server.secure_url + "/publish/t", "by hand")
        equal(done.returncode, 0, done.stderr)
        equal(listener.receive_text(), "by hand")


def test_own_client():
    with Both("--echo") as server:
        url = server.secure_url + "/publish/t"
        for flags, status, words in (([], 1, "issuer"), (["--ca", authority().path], 0, ""), (["--insecure"], 0, ""),
                                     (["--ca", "/nowhere"], 1, "No such file"), (["--cert", here().path], 2, "without --key")):
            done = command("pub", *flags, url, "x")
            equal(done.returncode, status, f"{flags}: {done.stderr}")
            assert words in done.stderr.decode(), (flags, done.stderr)
        done = command("pub", "--ca", authority().path, url.replace("127.0.0.1", "localhost"), "x")
        equal(done.returncode, 0, done.stderr)
        other = Pair("elsewhere", "DNS:elsewhere.example", authority=authority())
        with Both(certificates=[other]) as elsewhere:
            done = command("pub", "--ca", authority().path, elsewhere.secure_url + "/publish/t", "x")
            equal(done.returncode, 1)
            assert b"mismatch" in done.stderr, done.stderr
        # A server that speaks no TLS.
        done = command("pub", "--insecure", server.url.replace("ws://", "wss://") + "/publish/t", "x")
        equal(done.returncode, 1, done.stderr)
        # And TLS that is not asked for.
        done = command("pub", server.secure_url.replace("wss://", "ws://") + "/publish/t", "x")
        equal(done.returncode, 1, done.stderr)
        for mode in (["--burst", "32"], ["--stalled", "3"], ["--mode", "echo", "--size", "100k"], ["--mode", "connect"], ["--mode", "idle"]):
            done = command("load", server.secure_url, "--insecure", "--connections", "20", "--duration", "300ms",
                           "--warmup", "100ms", "--quiet", *mode)
            equal(done.returncode, 0, f"{mode}: {done.stdout}{done.stderr}")


def test_s_client():
    with Both() as server:
        at = ["-connect", f"127.0.0.1:{server.secure_port}", "-servername", "localhost", "-CAfile", authority().path]
        for version, suite in (("-tls1_2", "ECDHE-ECDSA-AES128-GCM-SHA256"), ("-tls1_3", "TLS_AES_128_GCM_SHA256")):
            said = openssl("s_client", *at, version, "-alpn", "http/1.1", "-ign_eof",
                           stdin="GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").stdout
            assert f"Cipher is {suite}" in said and "Verify return code: 0 (ok)" in said, said
            assert "ALPN protocol: http/1.1" in said and "200 OK" in said, said
        assert openssl("s_client", *at, "-alpn", "h2", stdin="", check=False).returncode, "h2 was accepted"
        assert openssl("s_client", *at, "-tls1_2", "-cipher", "AES128-SHA", stdin="", check=False).returncode, "RSA keys"
        # Records with padding, new keys in the middle, and records as small as the client asked for.
        ask = "GET /stats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        said = openssl("s_client", *at, "-tls1_3", "-record_padding", "512", "-ign_eof", stdin=ask).stdout
        assert "200 OK" in said, said
        for version in "-tls1_2", "-tls1_3":
            said = openssl("s_client", *at, version, "-maxfraglen", "512", "-msg", "-ign_eof", stdin=ask).stdout
            sizes = [int(high + low, 16) for high, low in
                     re.findall(r"<<< .*RecordHeader.*\n\s+17 03 03 (\w\w) (\w\w)", said)]
            assert "200 OK" in said and len(sizes) > 2 and max(sizes) <= 512 + 24, (version, sizes)
        # R renegotiates, K and k update the keys.
        said = openssl("s_client", *at, "-tls1_2", stdin="R\n", check=False)
        assert said.returncode, said.stdout[-500:]
        server.figure("tls_errors", 1)


def test_curl():
    if not shutil.which("curl"):
        raise Skip("curl is not installed")
    with Both() as server:
        url = f"https://localhost:{server.secure_port}/healthz"
        for flags in (["--tlsv1.2", "--tls-max", "1.2"], ["--tlsv1.3"]):
            done = subprocess.run(["curl", "-sS", *flags, "--cacert", authority().path, url, url], text=True, check=False,
                                  capture_output=True, timeout=10 * SLOW)
            equal((done.returncode, done.stdout), (0, "ok\nok\n"), done.stderr)
        done = subprocess.run(["curl", "-sS", url], text=True, capture_output=True, check=False, timeout=10 * SLOW)
        equal(done.returncode, 60, "who does not know the authority")


def test_npm_ws():
    environment = dict(os.environ, NODE_PATH="/usr/share/nodejs", NODE_EXTRA_CA_CERTS=authority().path)
    if not shutil.which("node") or subprocess.run(["node", "-e", "require('ws')"], env=environment, check=False,
                                                  capture_output=True).returncode:
        raise Skip("node and its package ws are not installed")
    with Both("--echo", "--relay") as server:
        done = subprocess.run(["node", os.path.join(HERE, "ws.js"), f"wss://localhost:{server.secure_port}", str(server.pid)],
                              env=environment, timeout=60 * SLOW, preexec_fn=die_with_parent, check=False,
                              capture_output=True, text=True)
        equal(done.returncode, 0, done.stdout + done.stderr)
        assert done.stdout.count("ok ") > 3, done.stdout


def test_websockets():
    try:
        import websockets
    except ImportError:
        raise Skip("python3-websockets is not installed") from None

    async def talk(server):
        url = f"wss://localhost:{server.secure_port}"
        async with websockets.connect(url + "/echo", ssl=trusting(), max_size=None) as ws:
            for size in (0, 1, 126, 16384, 65536, 1 << 20):
                data = os.urandom(size)
                await ws.send(data)
                assert await ws.recv() == data, f"binary of {size} bytes"
        async with websockets.connect(url + "/relay/t", ssl=trusting()) as ws:
            for number in range(100):
                await ws.send(str(number))
            equal([await ws.recv() for _ in range(100)], [str(number) for number in range(100)])

    with Both("--echo", "--relay") as server:
        asyncio.run(talk(server))


def test_closing():
    """The server's Close, its close_notify and the end, in this order, whoever began."""
    with Both("--echo", "--message-max", "1000") as server:
        with Secure(server) as raw:
            equal(raw.open("/echo").close(4000), 4000)  # bytes after it, or no close_notify, would raise
        with Secure(server) as raw:
            raw.open("/echo").text("x" * 2000)
            raw.expect_close(1009)
        with Secure(server) as raw:
            raw.send(b"nonsense\r\n\r\n")
            equal(raw.response()[0], 400)
            assert raw.at_end()
        raw = Secure(server).open("/echo")
        server.process.send_signal(signal.SIGTERM)
        raw.expect_close(1001)


def test_refused():
    plain = ["--listen", "wss://127.0.0.1:0"]
    for flags, words in ((plain, "needs a certificate"), ([*plain, "--tls-cert", here().path], "--tls-key"),
                         ([*plain, "--tls-cert", "/nowhere", "--tls-key", here().key], "/nowhere"),
                         ([*plain, "--tls-cert", here().path, "--tls-key", pair("one").key], "not the key"),
                         (["--tls-client-ca", here().path], "--tls-cert"),
                         ([*here().flags, "--tls-client-optional"], "--tls-client-ca")):
        done = command("serve", *flags)
        assert done.returncode in (1, 2) and words in done.stderr.decode(), (flags, done.stderr)


if __name__ == "__main__":
    run(dict(globals()), limit=40)
