# SPDX-License-Identifier: MIT
"""What a hostile peer may try against the library, and what an operator's mistakes may open to it. Honest clients beside
the attacker are the judges: they lose nothing, and nobody closes them."""
import ctypes
import errno
import json
import os
import resource
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time

from harness import BINARY, PROGRAM, SANITIZED, SLOW, Raw, Server, Skip, die_with_parent, equal, frame, needs_pace, run, until
from test_tls import DIRECTORY, Both, Pair, Secure, authority, openssl, pair, trusting


# ---- a kernel that forbids ----


def forbid_enter(code):
    """Lets this process and what it starts make a ring, but not enter it (io_uring_enter is 426 everywhere)."""
    def program():
        steps = struct.pack("HBBI" * 4, 0x20, 0, 0, 0, 0x15, 0, 1, 426, 0x06, 0, 0, 0x00050000 | code, 0x06, 0, 0, 0x7FFF0000)
        filters = ctypes.create_string_buffer(steps)
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        prctl(38, 1, 0, 0, 0)  # no new privileges
        if prctl(22, 2, struct.pack("HxxxxxxP", 4, ctypes.addressof(filters)), 0, 0):
            os._exit(99)
        die_with_parent()
    return program


def test_forbidden_enter():
    """Who insists on io_uring is told, and the server ends. (test_rings.py is about who does not insist.)"""
    for code in errno.EPERM, errno.ENOSYS:
        for words in (["serve"], ["app", "--auth", "off"]):
            done = subprocess.run([PROGRAM, *words, "--ring", "uring", "--listen", "127.0.0.1:0"], capture_output=True,
                                  text=True, check=False, timeout=10 * SLOW, preexec_fn=forbid_enter(code))
            said = done.stdout + done.stderr
            equal(done.returncode, 1, said)
            if "io_uring is too old" in said:
                raise Skip("this kernel's io_uring is too old")
            assert "io_uring_enter" in said and "seccomp" in said, said
            assert "listening" not in said, said


# ---- memory ----


class Talk(threading.Thread):
    """An honest client: says something and waits for its echo, until it is told to stop."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.raw, self.count, self.error, self.over = server.connect(), 0, None, False
        self.start()

    def run(self):
        try:
            while not self.over:
                text = f"{self.count} " + "x" * (self.count * 37 % 3000)
                self.raw.text(text)
                equal(self.raw.receive_text(), text)
                self.count += 1
                time.sleep(0.01)
            equal(self.raw.close(), 1000)
        except BaseException as error:
            self.error = error


def test_slow_readers_and_one_budget():
    """600 clients have echoes sent to them and read none: they go, and what they took is bounded. Nobody else goes."""
    budget, count = 48 << 20, 600
    with Server("--echo", "--memory-max", str(budget), "--quiet") as server:
        talks = [Talk(server) for _ in range(10)]
        listener, writer = server.connect("/topic/t"), server.connect("/publish/t")
        before = server.memory()
        slow = []
        for _ in range(count):
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.connect(("127.0.0.1", server.port))
            one.setblocking(False)
            one.send(writer.request("/echo"))
            slow.append([one, b""])
        message, most, held, number = frame(BINARY, b"x" * 300000), 0, 0, 0
        end = time.monotonic() + 6 * SLOW
        while slow and time.monotonic() < end:
            for one in list(slow):
                one[1] = one[1] or message
                try:
                    one[1] = one[1][one[0].send(one[1]):]
                except BlockingIOError:
                    pass
                except OSError:
                    one[0].close()
                    slow.remove(one)
            number += 1
            writer.text(str(number))
            equal(listener.receive_text(), str(number))
            most = max(most, server.memory())
            status, _, body = server.get("/stats")
            assert status in (200, 503), status
            if status == 200:
                held = max(held, json.loads(body)["total"]["memory_held"])
        for one, _ in slow:
            one.close()
        until(lambda: server.get("/healthz")[0] == 200, "an end of the shortage")
        stats = until(lambda: (lambda s: s["memory_held"] < budget // 8 and s)(server.stats()), "the memory")
        for talk in talks:
            talk.over = True
        for talk in talks:
            talk.join(20)
            assert not talk.error and talk.count > 20, (talk.count, talk.error)
        assert stats["memory_closed"] > 100, stats
        assert SANITIZED or most - before < budget * 5 // 4 + (24 << 20), f"{(most - before) >> 20} MB"
        assert held <= budget, held


# ---- crowds ----


def test_crowd_from_one_address():
    """All that wait are accepted in one tick, more than can be asked for their addresses: the limit holds for all."""
    count, limit = 2500, 10
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count + 200:
        raise Skip(f"{hard} descriptors are too few")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 200), hard))
    with Server("--echo", "--connections-per-address", str(limit), workers=1, listen=("127.0.0.1:0",)) as server:
        server.process.send_signal(signal.SIGSTOP)
        crowd = []
        try:
            for _ in range(count):
                one = socket.socket()
                one.bind(("127.0.0.2", 0))
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", server.port))
                crowd.append(one)
        finally:
            server.process.send_signal(signal.SIGCONT)
        honest = server.connect()
        for one in crowd:
            try:
                one.sendall(honest.request())
            except OSError:
                pass
        let_in = 0
        for one in crowd:
            one.settimeout(5 * SLOW)
            try:
                let_in += one.recv(64).startswith(b"HTTP/1.1 101")
            except OSError:
                pass
            one.close()
        assert let_in <= limit, f"{let_in} were let in"
        assert server.stats()["refused"] >= count - limit, server.stats()
        honest.text("here")
        equal(honest.receive_text(), "here")
        equal(server.get("/healthz")[0], 200)


def test_crowd_that_asks_for_nothing():
    """Beyond the limit of an address a few are told so; who never asks is not kept until his time is up."""
    with Server("--echo", "--connections-per-address", "10", listen=("127.0.0.1:0",)) as server:
        crowd = []
        for _ in range(400):
            one = socket.socket()
            one.bind(("127.0.0.2", 0))
            one.connect(("127.0.0.1", server.port))
            crowd.append(one)
        honest = server.connect()
        until(lambda: server.stats()["connections"] <= 10 + 64 + 2, "an end of the crowd", limit=3)
        honest.text("here")
        equal(honest.receive_text(), "here")
        for one in crowd:
            one.close()


def client_hello():
    """The first bytes of a TLS handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = trusting().wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        one.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def test_handshakes_that_wait_and_go():
    """Places of handshakes that were given up are taken by connections whose PROXY header comes in two pieces: what is
    there of it is no TLS."""
    needs_pace()
    crowd_count, honest_count = 900, 300
    slow = pair("slow", "DNS:localhost", kind="RSA")  # the longer a handshake takes, the longer the others wait
    address = "proxy+wss://127.0.0.1:0"
    with Server("--echo", *slow.flags, workers=1, listen=("127.0.0.1:0", address)) as server:
        port = int(server.urls()[1].rsplit(":", 1)[1])
        hello = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + client_hello()
        server.process.send_signal(signal.SIGSTOP)
        crowd = []
        try:
            for _ in range(crowd_count):
                one = socket.create_connection(("127.0.0.1", port))
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                one.sendall(hello)
                crowd.append(one)
        finally:
            server.process.send_signal(signal.SIGCONT)
        time.sleep(0.05)
        for one in crowd[450:]:
            one.close()  # a reset
        honest = [socket.create_connection(("127.0.0.1", port)) for _ in range(honest_count)]
        for one in honest:
            one.sendall(b"PROXY TCP4 198.51.100.7 ")
        time.sleep(1)  # until all turns were had
        failed = 0
        for one in honest:
            try:
                one.sendall(b"198.51.100.8 1 2\r\n")
                raw = Raw.__new__(Raw)
                raw.buffer, raw.closed = bytearray(), None
                one.settimeout(10 * SLOW)
                raw.socket = trusting().wrap_socket(one, server_hostname="localhost", suppress_ragged_eofs=False)
                raw.open().text("here")
                equal(raw.receive_text(), "here")
                raw.socket.close()
            except OSError:
                failed += 1
        for one in crowd[:450]:
            one.close()
        equal(failed, 0, "honest connections that failed")


# ---- records as small as a peer may ask for ----


def test_small_records_in_a_full_stage():
    """Readers who share a stage and take 512 bytes a record: what that adds is counted, so that nobody is dropped."""
    with Both(workers=1) as server:
        at = ["-connect", f"127.0.0.1:{server.secure_port}", "-servername", "localhost", "-quiet", "-ign_eof"]
        for version in "-tls1_2", "-tls1_3":
            readers = []
            for _ in range(4):
                one = subprocess.Popen(["openssl", "s_client", *at, version, "-maxfraglen", "512"], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
                raw = Raw.__new__(Raw)
                raw.buffer, raw.closed = bytearray(), None
                one.stdin.write(raw.request("/topic/t"))
                one.stdin.flush()
                raw.more = lambda raw=raw, one=one: (raw.buffer.extend(one.stdout.read1(1 << 16)), raw.buffer)[1]
                readers.append((one, raw.check_open()))
            writer = server.connect("/publish/t")
            for size in range(59000, 66000, 250):
                text = os.urandom(size // 2).hex()
                writer.text(text)
                for one, raw in readers:
                    assert one.poll() is None, f"{version}: dropped at {size}"
                    equal(raw.receive_text(), text, f"{version}, {size}")
            for one, _ in readers:
                one.kill()
                one.communicate()
        equal(server.stats()["tls_errors"], 0)


# ---- certificates of clients ----


def revoke(path, *pairs):
    """Writes the authority's revocation list, which names these certificates."""
    there = os.path.join(DIRECTORY.name, "ca")
    os.makedirs(there, exist_ok=True)
    index, settings = os.path.join(there, "index"), os.path.join(there, "settings")
    with open(index, "w", encoding="ascii"):
        pass
    with open(settings, "w", encoding="ascii") as file:
        file.write(f"[ca]\ndefault_ca = here\n[here]\ndatabase = {index}\ndefault_md = sha256\ndefault_crl_days = 1\n")
    by = ["-config", settings, "-cert", authority().path, "-keyfile", authority().key]
    for one in pairs:
        openssl("ca", *by, "-revoke", one.path)
    openssl("ca", *by, "-gencrl", "-out", path)


def as_client(who, version=None):
    context = trusting(version)
    context.load_cert_chain(who.path, who.key)
    return context


def test_tickets_outlive_no_certificate():
    """Where clients show certificates, each of their connections is verified: no session is resumed."""
    member = pair("member")
    with Both("--echo", "--tls-client-ca", authority().path) as server:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context, session = as_client(member, version), None
            for _ in range(3):
                with Secure(server, context, session=session) as raw:
                    raw.open().text("a")
                    raw.receive()
                    assert not raw.socket.session_reused, version
                    session = raw.socket.session
                    equal(raw.close(), 1000)
        equal(server.stats()["tls_resumed"], 0)
        equal(server.stats()["tls_handshakes"], 6)


class HalfWay:
    """A TLS handshake that stops when the server has answered, and goes on when it is told to."""

    def __init__(self, server, context):
        self.socket = socket.create_connection(("127.0.0.1", server.secure_port), timeout=10 * SLOW)
        self.read, self.written = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.read, self.written, server_hostname="localhost")
        while not self.shaken():
            self.socket.sendall(self.written.read())
            self.read.write(self.socket.recv(65536))
        # What is written now holds the certificate, and waits.

    def shaken(self):
        try:
            self.tls.do_handshake()
            return True
        except ssl.SSLWantReadError:
            return False

    def lets_in(self):
        self.tls.write(b"GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            self.socket.sendall(self.written.read())
            while got := self.socket.recv(65536):
                self.read.write(got)
                try:
                    return self.tls.read(100).startswith(b"HTTP/1.1")
                except ssl.SSLWantReadError:
                    pass
        except (ssl.SSLError, OSError):
            pass
        return False


def test_revoked_certificates():
    good, bad = pair("good"), Pair("bad", authority=authority())
    path = os.path.join(DIRECTORY.name, "crl.pem")
    revoke(path)

    def meet(who):
        return Secure(server, as_client(who)).open()

    def lets_in(who):
        try:
            return meet(who).close() == 1000
        except (ssl.SSLError, ConnectionResetError, BrokenPipeError, EOFError):
            return False

    with Both("--echo", "--tls-client-ca", authority().path, "--tls-crl", path) as server:
        honest = meet(good)
        assert lets_in(bad), "nobody is revoked yet"
        there, waiting = [meet(bad) for _ in range(5)], Secure(server, as_client(bad))
        half, half_good = HalfWay(server, as_client(bad)), HalfWay(server, as_client(good))
        revoke(path, bad)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "read again" in "".join(server.errors), "the reload")
        assert not lets_in(bad), "revoked"
        # Who was there before goes too, and is told why; the log has it.
        for one in there:
            one.expect_close(1008)
            equal(one.closed, (1008, "the certificate was revoked"))
        assert waiting.at_end()
        assert half_good.lets_in() and not half.lets_in(), "a handshake that began before"
        until(lambda: "the certificate was revoked" in "".join(server.errors), "a line for the operator")
        assert lets_in(good)
        # A list that is none changes nothing.
        with open(path, "w", encoding="ascii") as file:
            file.write("nonsense\n")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "stay" in "".join(server.errors), "the refusal")
        assert not lets_in(bad) and lets_in(good)
        honest.text("still here")
        equal(honest.receive_text(), "still here")


if __name__ == "__main__":
    run(dict(globals()), limit=60)
