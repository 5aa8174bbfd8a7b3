# SPDX-License-Identifier: MIT
"""`ringcast health`: what it exits with, and the one line that it prints when the server is not well."""
import os
import re
import socket
import subprocess
import tempfile
import threading

from harness import SLOW, Server, Skip, command, equal, run

APP = "app"


def health(*arguments):
    """The exit status and the words of one call."""
    patience = () if "--timeout" in arguments else ("--timeout", f"{3 * SLOW}s")
    done = command("health", *patience, *arguments)
    equal(done.stdout, b"")
    text = done.stderr.decode()
    assert text.count("\n") == (done.returncode and 1) or done.returncode == 2, text
    return done.returncode, text.strip()


def fails(words, *arguments, status=1):
    got, text = health(*arguments)
    equal(got, status, text)
    assert re.search(words, text), text


def has_localhost():
    """Whether this machine knows the name; the oldest kernel's has no list of names."""
    try:
        return bool(socket.getaddrinfo("localhost", 80))
    except OSError:
        return False


class Answers:
    """A server that takes one connection, and sends what it is told to."""

    def __init__(self, data, stay=False):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.data, self.stay, self.got = data, stay, b""
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        peer, _ = self.listener.accept()
        self.listener.close()
        with peer:
            while b"\r\n\r\n" not in self.got:
                self.got += peer.recv(4096)
            peer.sendall(self.data)
            while self.stay and peer.recv(4096):
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.thread.join()


def test_a_server():
    with Server("--echo") as server:
        address = f"127.0.0.1:{server.port}"
        for url in (f"http://{address}", f"ws://{address}/healthz", f"http://{address}/healthz#x",
                    *([f"http://localhost:{server.port}/healthz"] if has_localhost() else [])):
            equal(health(url), (0, ""), url)
        fails(r"^ringcast: http://\S+/nowhere: 404 ", f"http://{address}/nowhere")
        port = server.port
    fails(r"Connection refused; does the server run", f"http://127.0.0.1:{port}/healthz")


def test_an_application_server():
    class App(Server):
        verb = APP

    with App() as server:
        equal(health(f"http://127.0.0.1:{server.port}"), (0, ""))


def test_unix_socket():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "s")
        with Server(listen=("unix:" + path, "127.0.0.1:0")):
            equal(health(f"ws+unix:{path}"), (0, ""))
            equal(health(f"ws+unix:{path}:/healthz"), (0, ""))
            fails("404", f"ws+unix:{path}:/nowhere")
        fails("does the server run", f"ws+unix:{path}.not")


def test_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as why:
        raise Skip("no IPv6 here") from why
    with Server(listen=("[::1]:0",)) as server:
        port = re.search(r":(\d+)$", server.url).group(1)
        equal(health(f"http://[::1]:{port}/healthz"), (0, ""))


def test_tls():
    """A certificate is looked at as everywhere: for its name, and its authority."""
    with tempfile.TemporaryDirectory() as folder:
        made = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                               "-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                               "-keyout", f"{folder}/key", "-out", f"{folder}/cert"], capture_output=True)
        equal(made.returncode, 0, made.stderr)
        with Server("--tls-cert", f"{folder}/cert", "--tls-key", f"{folder}/key", listen=("wss://127.0.0.1:0", "wss://127.0.0.2:0")) as server:
            url, other = server.urls()
            equal(health("--insecure", url), (0, ""))
            equal(health("--ca", f"{folder}/cert", url), (0, ""))
            if has_localhost():
                equal(health("--ca", f"{folder}/cert", url.replace("127.0.0.1", "localhost")), (0, ""))
            fails("self.signed certificate; name its authority by --ca", url)
            fails("mismatch; name its authority", "--ca", f"{folder}/cert", other)
            fails("not HTTP; if it expects TLS, write https", url.replace("wss", "ws"))
            fails("no-such-file: ", "--ca", f"{folder}/no-such-file", url)


def test_what_is_not_well():
    with Answers(b"HTTP/1.1 503 draining\r\n\r\n") as peer:
        fails(": 503 draining$", peer.url)
        assert peer.got.startswith(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:"), peer.got
    for data in (b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 ", b"\n" * 5000):
        with Answers(data) as peer:
            fails("the answer is not HTTP", peer.url)


def test_it_ends_in_time():
    """Whether the other end says nothing, or never comes to the end of its first line."""
    for data in (b"", b"HTTP/1.1"):
        with Answers(data, stay=True) as peer:
            fails(r"^ringcast: \S+: no answer within 300 ms$", "--timeout", "300ms", peer.url)


def test_wrong_calls():
    for url in ("127.0.0.1:8080", "ftp://x", "http://", "http://:80", "http://[::1", "http://x:y z", "ws+unix:", "http://a]b:x/"):
        got, text = health(url)
        assert got in (1, 2) and "ringcast: " in text, (url, got, text)
    fails("one URL", "http://a", "http://b", status=2)
    fails("--cert needs its --key", "--cert", "x", status=2)
    fails("more than 0", "--timeout", "0s", status=2)


run(globals())
