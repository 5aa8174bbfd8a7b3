# SPDX-License-Identifier: MIT
"""Who may come in to `ringcast app`, and with what: tokens, origins, proxies; and where its settings come from."""
import json
import os
import re
import signal
import socket
import struct
import subprocess
import tempfile
import time

from app import SECRET, App, Client, b64, equal, token, until
from harness import CLOSE, PROGRAM, Raw, Skip, command, die_with_parent, run


def status_of(server, path="/ws", **headers):
    raw = Raw(server)
    raw.send(raw.request(path, **headers))
    return raw.response()[0]


def openssl(*arguments, data=None):
    try:
        return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True).stdout
    except FileNotFoundError:
        raise Skip("needs openssl") from None


def test_token_places():
    """The Authorization header, the query, a cookie, a second subprotocol; all say who it is."""
    with App("--token-secret", SECRET) as server:
        good = token(sub="alice", permissions=["read"])
        for path, headers in (("/ws", {"Authorization": "Bearer " + good}), ("/ws?token=" + good, {}),
                              ("/ws", {"Cookie": "other=1; token=" + good, "Origin": "http://localhost"}), ("/ws/alice?token=" + good, {}),
                              ("/ws", {"Sec_WebSocket_Protocol": "ringcast.json, " + good})):
            client = server.client(path, **headers)
            equal(client.welcome["userId"], "alice", path)
            client.in_room("r").say("room_message", room="r", content=1).expect_error("PERMISSION_DENIED")
            client.close()
        equal(status_of(server, "/ws/bob?token=" + good), 403)
        raw = Raw(server)
        raw.send(raw.request("/ws?token=nonsense"))
        status, headers, _ = raw.response()
        equal((status, headers["www-authenticate"]), (401, "Bearer"))


def test_tokens_refused():
    with App("--token-secret", SECRET) as server:
        head, body, signature = token(sub="a").split(".")
        none = b64(b'{"alg":"none"}')
        for bad in (token("x" * 32, sub="a"), token(sub="a", exp=-1), token(sub="a", exp=0), token(sub="a", nbf=60),
                    token(exp=60), token(sub=5), token(sub="x" * 129), token(sub="a", exp="later"),
                    f"{none}.{body}.", f"{none}.{body}.{signature}", f"{head}.{body}", f"{head}.{body}.",
                    f"{head}.{b64(b'{}')}.{signature}", token(sub="a", header={"alg": "RS256"}),
                    token(sub="a", header={"alg": "HS256", "crit": ["x"]}), token(sub="a", header={}),
                    token(sub="a", permissions=5), token(sub="a", rooms="r"), "..", "a", head + "." + body + "." + signature + "."):
            equal(status_of(server, "/ws", Authorization="Bearer " + bad), 401, bad)
        for good in (token(sub="a", exp=60), token(sub="a", nbf=-1), token(sub="a", exp=3600.5),
                     token(sub="x" * 128), token(sub="a", header={"alg": "HS256", "kid": "7", "typ": "at+jwt"})):
            equal(status_of(server, "/ws", Authorization="Bearer " + good), 101, good)


def test_public_keys():
    """RS256, ES256 and EdDSA, signed by somebody else's program; and a public key is nobody's secret."""
    with tempfile.TemporaryDirectory() as directory:
        kinds = {"RS256": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
                 "ES256": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"), "EdDSA": ("-algorithm", "ED25519")}
        flags, keys = [], {}
        for kind, arguments in kinds.items():
            private, public = (os.path.join(directory, kind + end) for end in (".pem", ".pub"))
            openssl("genpkey", *arguments, "-out", private)
            openssl("pkey", "-in", private, "-pubout", "-out", public)
            keys[kind] = private
            flags += ["--token-key", public]

        def sign(kind, signed):
            path = os.path.join(directory, "signed")
            with open(path, "wb") as file:
                file.write(signed)
            if kind == "EdDSA":
                return openssl("pkeyutl", "-sign", "-inkey", keys[kind], "-rawin", "-in", path)
            der = openssl("dgst", "-sha256", "-sign", keys[kind], path)
            if kind == "RS256":
                return der
            size, at, parts = der[3], 4, []
            parts.append(der[at:at + size])
            parts.append(der[at + size + 2:])
            return b"".join(part.lstrip(b"\0").rjust(32, b"\0") for part in parts)

        with App(*flags) as server:
            for kind in kinds:
                signed = f"{b64(json.dumps({'alg': kind}).encode())}.{b64(json.dumps({'sub': kind, 'exp': 4e9}).encode())}"
                signature = sign(kind, signed.encode())
                good = f"{signed}.{b64(signature)}"
                equal(server.client("/ws?token=" + good).welcome["userId"], kind)
                wrong = bytes([signature[0] ^ 1]) + signature[1:]
                equal(status_of(server, f"/ws?token={signed}.{b64(wrong)}"), 401, kind)
            with open(os.path.join(directory, "RS256.pub"), encoding="ascii") as file:
                equal(status_of(server, "/ws?token=" + token(file.read(), sub="a")), 401, "the public key as a secret")


def test_auth_in_band():
    with App("--token-secret", SECRET, "--auth-timeout", "5s") as server:
        client = server.client("/ws")
        assert "userId" not in client.welcome
        client.say("join_room", room="r", id=1).expect_error("AUTH_REQUIRED", id=1)
        client.say("DATA", id="x", data=1).expect_error("AUTH_REQUIRED")
        client.say("ping").expect("pong")
        client.say("auth", token="nonsense", id=2).expect_error("AUTH_FAILED", id=2)
        client.say("auth", token=token(sub="alice"), id=3).expect("auth_success", userId="alice", id=3)
        client.in_room("r")
        # Who names a user must prove to be that one.
        client = server.client("/ws/bob")
        client.say("auth", token=token(sub="alice")).expect_error("AUTH_FAILED")
        client.say("auth", token=token(sub="bob")).expect("auth_success", userId="bob")


def test_auth_timeout():
    with App("--token-secret", SECRET, "--auth-timeout", "300ms") as server:
        slow, quick = server.client("/ws"), server.client("/ws")
        quick.say("auth", token=token(sub="q")).expect("auth_success")
        slow.expect_close(1008)
        quick.settle()


def test_messages_wait_for_auth():
    """What was stored for a user comes when the connection has shown to be that user's, and not before."""
    with App("--token-secret", SECRET) as server:
        server.client("/ws?token=" + token(sub="a")).say("direct", to="b", content="hello").settle()
        client = server.client("/ws/b").settle()
        client.say("auth", token=token(sub="b")).expect("auth_success")
        client.expect("direct", content="hello")


def test_expiry_and_refresh():
    with App("--token-secret", SECRET, "--refresh-time", "2s") as server:
        client = server.client("/ws?token=" + token(sub="a", exp=2)).in_room("r")
        other = server.client("/ws?token=" + token(sub="b", exp=2))
        client.expect("auth_expired")
        client.say("room_message", room="r", content=1).expect_error("AUTH_REQUIRED")
        client.say("auth", token=token(sub="a", exp=60)).expect("auth_success")
        client.say("members", room="r").expect("members", members=["a"])  # it has lost nothing
        other.expect("auth_expired")
        other.expect_close(1008)
        client.settle()


def test_another_user_on_the_same_connection():
    with App("--token-secret", SECRET) as server:
        watcher = server.client("/ws?token=" + token(sub="w")).in_room("r")
        client = server.client("/ws?token=" + token(sub="a")).in_room("r")
        watcher.expect("user_joined", userId="a")
        client.say("auth", token=token(sub="b")).expect("auth_success", userId="b")
        watcher.expect("user_left", userId="a")
        client.say("room_message", room="r", content=1).expect_error("NOT_A_MEMBER")
        watcher.say("direct", to="a", content="not for b").say("direct", to="b", content="for b")
        client.expect("direct", content="for b")


def test_rooms_of_a_token():
    with App("--token-secret", SECRET) as server:
        client = server.client("/ws?token=" + token(sub="a", rooms=["lobby", "team-*"]))
        client.in_room("lobby").in_room("team-1")
        for room in ("lobby2", "lobb", "team", "other"):
            client.say("join_room", room=room).expect_error("PERMISSION_DENIED")
        client.say("auth", token=token(sub="a", rooms=["lobby"])).expect("auth_success")
        client.expect("room_left", room="team-1")
        client.say("members", room="lobby").expect("members")
        server.client("/ws?token=" + token(sub="b", rooms=[])).say("join_room", room="x").expect_error("PERMISSION_DENIED")


def test_auth_optional():
    with App("--token-secret", SECRET, "--auth", "optional", "--permissions", "read") as server:
        nobody = server.client("/ws").in_room("r")
        nobody.say("room_message", room="r", content=1).expect_error("PERMISSION_DENIED")
        nobody.say("auth", token=token(sub="a", permissions="write read")).expect("auth_success")
        nobody.in_room("r").say("room_message", room="r", content=1).settle()
        server.client("/ws/a").say("join_room", room="r").expect_error("AUTH_REQUIRED")


def test_origins():
    with App("--origin", "https://example.org", "--origin", "https://*.example.com", "--origin", "null") as server:
        for origin in ("https://example.org", "https://a.example.com", "https://a.b.EXAMPLE.com", "null"):
            equal(status_of(server, Origin=origin), 101, origin)
        for origin in ("http://example.org", "https://example.org.evil", "https://example.com", "https://evilexample.com",
                       "https://example.org:444", "", "https://"):
            equal(status_of(server, Origin=origin), 403, origin)
        equal(status_of(server), 101)
    with App("--origin", "*") as server:
        equal(status_of(server, Origin="https://anywhere"), 101)


def test_forwarded_for():
    """Two connections an address; which address counts depends on who says so."""
    def held(server, *chains):
        return [status_of_held(server, chain) for chain in chains]

    kept = []

    def status_of_held(server, chain):
        raw = Raw(server)
        kept.append(raw)
        raw.send(raw.request("/ws", **({"X_Forwarded_For": chain} if chain else {})))
        return raw.response()[0]

    limit = ("--connections-per-address", "2")
    with App(*limit) as server:  # nobody is trusted: all come from loopback
        equal(held(server, "1.1.1.1", "2.2.2.2", "3.3.3.3"), [101, 101, 429])
    with App(*limit, "--trust-proxy", "127.0.0.0/8", "--trust-proxy", "10.0.0.1") as server:
        equal(held(server, "1.1.1.1", "1.1.1.1", "1.1.1.1"), [101, 101, 429])
        equal(held(server, "9.9.9.9, 2.2.2.2", "8.8.8.8, 2.2.2.2", "2.2.2.2"), [101, 101, 429], "who is left is a liar's")
        equal(held(server, "3.3.3.3, 10.0.0.1", "3.3.3.3,10.0.0.1", "3.3.3.3"), [101, 101, 429], "a chain of ours")
        equal(held(server, "2001:db8::1", "2001:db8:0::1", "2001:db8::2:3"), [101, 101, 429], "a /64 is one host's")
        equal(held(server, "not an address", "", "x"), [101, 101, 429], "then it is the proxy's own")


PROXY_V2 = bytes.fromhex("0d0a0d0a000d0a515549540a")


def test_proxy_protocol():
    with App("--connections-per-address", "2", "--trust-proxy", "127.0.0.1", listen=("proxy+127.0.0.1:0",)) as server:
        v1 = b"PROXY TCP4 1.1.1.1 2.2.2.2 1000 80\r\n"
        v2 = PROXY_V2 + b"\x21\x11\x00\x0c" + bytes([1, 1, 1, 2, 2, 2, 2, 2]) + b"\x03\xe8\x00\x50"
        v6 = PROXY_V2 + b"\x21\x21\x00\x28" + socket.inet_pton(socket.AF_INET6, "2001:db8::1") * 2 + b"\0\1\0\2" + b"\4\0\1x"
        kept = []

        def status(head, one_byte=False):
            raw = Client(server)
            kept.append(raw)
            data = head + raw.request("/ws")
            for piece in ([data[i:i + 1] for i in range(len(data))] if one_byte else [data]):
                raw.send(piece)
            try:
                return raw.response()[0]
            except (EOFError, ConnectionResetError):
                return None

        equal([status(v1, True), status(v1), status(v1)], [101, 101, 429])
        equal([status(v2, True), status(v2), status(v2)], [101, 101, 429])
        equal([status(v6), status(v6), status(v6)], [101, 101, 429])
        # LOCAL and UNKNOWN: the proxy speaks for itself.
        equal(status(PROXY_V2 + b"\x20\x00\x00\x00"), 101)
        equal(status(b"PROXY UNKNOWN whatever\r\n"), 101)
        for bad in (b"", b"PROXY TCP4 1.1.1.1\r\n", b"PROXY TCP9 1.1.1.1 2.2.2.2 1 2\r\n", b"PROXY " + b"x" * 200,
                    b"proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n", PROXY_V2 + b"\x31\x11\x00\x0c" + bytes(12),
                    PROXY_V2 + b"\x21\x11\x00\x04" + bytes(4), PROXY_V2 + b"\x21\x11\xff\xff" + bytes(64)):
            equal(status(bad), None, bad)
        for raw in kept:
            if getattr(raw, "headers", None):
                raw.settle()


def test_settings_layers():
    """File, over it the environment, over it flags; lists do not add up."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "ringcast.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write("# a comment\ncontent-max = 5\nrooms-per-connection = 1\norigin = https://file\napi-key = a key from the file\n"
                       "messages-per-second = 0\n")
        os.environ["RINGCAST_ROOMS_PER_CONNECTION"] = "2"
        os.environ["RINGCAST_CONTENT_MAX"] = "6"
        os.environ["RINGCAST_API_KEY"] = "the-first-key-of-two the-second-key-of-two"
        try:
            with App("--config", path, "--content-max", "7", limits=True) as server:
                a = server.client("/ws/a").in_room("x").in_room("y")
                a.say("join_room", room="z").expect_error("TOO_MANY_ROOMS")
                a.say("direct", to="a", content="1234567").expect("direct")
                a.say("direct", to="a", content="12345678").expect_error("TOO_LONG")
                equal(status_of(server, Origin="https://file"), 101)
                equal(status_of(server, Origin="https://other"), 403)
                for key, status in (("a key from the file", 401), ("the-first-key-of-two", 200), ("the-second-key-of-two", 200)):
                    equal(server.api("stats", headers=f"X-API-Key: {key}\r\n")[0], status, key)
        finally:
            for name in ("ROOMS_PER_CONNECTION", "CONTENT_MAX", "API_KEY"):
                del os.environ["RINGCAST_" + name]


def test_config_check():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "ringcast.conf")

        def check(text, status, words=""):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            done = command("config", "check", path)
            equal(done.returncode, status, text + done.stderr.decode())
            assert words in done.stderr.decode() and "\n" not in done.stderr.decode().strip(), done.stderr
            return done

        check("content-max = 5\n", 0)
        check("; nothing\n\n", 0)
        check("x = 1\n", 1, ":1: x: no such setting")
        check("content-max = 5\ncontent-max = many\n", 1, ":2: content-max: ")
        check("content-max\n", 1, ":1: ")
        check("[section]\ncontent-max = 5\n", 1, ":2: ")
        check("content-max = 0\n", 1, "content-max")
        check("history-max = 1000000\n", 0)
        check("history-max = 1000001\n", 1, "at most 1000000")
        check("history-max = 536870912\n", 1, "at most 1000000")
        check("\n# " + "x" * 300 + "\n", 1, ":2: a line is longer")
        check("origin = " + "x" * 180 + "://\n", 0)
        check("origin = example.org\n", 1, "origin 'example.org'")
        check("trust-proxy = 10.0.0.0/33\n", 1, "trust-proxy")
        check("token-key = /no/such/file\n", 1, "/no/such/file")
        check("token-secret = short\n", 1, "32 bytes")
        check("auth = required\n", 1, "key")
        check("permissions = read,fly\n", 1, "permissions")
        check("listen = 127.0.0.1:1\nlisten = 127.0.0.1:2\nidle-timeout = 30s\n", 0)
        equal(command("config").returncode, 2)
        equal(command("config", "check", "/no/such/file").returncode, 1)


def test_wrong_settings_do_not_start():
    for flags, words in ((("--content-max", "0"), "content-max"), (("--token-secret", "short"), "32 bytes"),
                         (("--config", "/no/such"), "/no/such"), (("--conf", "/no/such"), "--config"),
                         (("--listen", "nonsense"), "nonsense"),
                         (("--user", "no-such-user-here"), "no-such-user-here"), (("--workers", "x"), "--workers")):
        done = command("app", "--listen", "127.0.0.1:0", *flags)
        assert done.returncode in (1, 2) and words in done.stderr.decode(), (flags, done)


def open_files(server):
    return len(os.listdir(f"/proc/{server.pid}/fd"))


def test_reload():
    """SIGHUP: new settings for new and old connections; wrong ones are refused, and those of before stay."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "ringcast.conf")

        def write(text):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)

        write("content-max = 5\n")
        with App("--config", path) as server:
            a = server.client("/ws/a")
            a.say("direct", to="a", content="123456").expect_error("TOO_LONG")
            write("content-max = 6\nlog-size = 1m\n")
            server.process.send_signal(signal.SIGHUP)

            def grew():
                a.say("direct", to="a", content="123456")
                return a.hear()["type"] == "direct"

            until(grew, "the new limit")
            # Of each setting that is of no use before a restart there is a word.
            for count, line in enumerate(("", "memory-max = 64m", "handshake-timeout = 3s", "keep-last = t*", "kernel-tls = yes",
                                          "producers = unix:/no/such"), 1):
                if line:
                    write("content-max = 6\nlog-size = 1m\n" + line + "\n")
                    server.process.send_signal(signal.SIGHUP)
                until(lambda: sum("only with a restart" in line for line in server.errors) == count, line)
            write("content-max = nonsense\n")
            server.process.send_signal(signal.SIGHUP)
            until(lambda: any("the old ones stay" in line for line in server.errors), "a word about the error")
            a.say("direct", to="a", content="123456").expect("direct")
            os.remove(path)
            os.mkdir(path)
            before = open_files(server)
            for count in (1, 2, 3):
                server.process.send_signal(signal.SIGHUP)
                until(lambda: sum("cannot be read" in line for line in server.errors) == count, "a word about the file")
            equal(open_files(server), before)


def test_socket_activation_and_notify():
    """What a service manager does: it listens, hands over, and is told when we are ready and when we stop."""
    with tempfile.TemporaryDirectory() as directory, socket.socket() as listener, \
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        notified.bind(os.path.join(directory, "notify"))
        notified.settimeout(10)

        def before():
            die_with_parent()
            os.dup2(listener.fileno(), 3)
            os.set_inheritable(3, True)
            os.environ["LISTEN_PID"] = str(os.getpid())

        environment = dict(os.environ, NOTIFY_SOCKET=os.path.join(directory, "notify"), LISTEN_FDS="1")
        script = 'export LISTEN_PID=$$; exec "$0" app --workers 2 --log-level error --drain 500ms'
        process = subprocess.Popen(["/bin/sh", "-c", script, PROGRAM], env=environment, preexec_fn=before, close_fds=False,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            equal(notified.recv(100), b"READY=1")
            client = Client(listener.getsockname()).join_in("/ws/a")
            client.settle()
            process.send_signal(signal.SIGHUP)
            assert notified.recv(200).startswith(b"RELOADING=1\nMONOTONIC_USEC="), "reloading"
            equal(notified.recv(100), b"READY=1")
            process.send_signal(signal.SIGTERM)
            equal(notified.recv(100), b"STOPPING=1")
            client.expect("going_away")
            client.expect_close(1001)
            equal(process.wait(10), 0, process.stderr.read())
        finally:
            process.kill()


def test_becomes_another_user():
    if os.geteuid() != 0:
        raise Skip("needs root")
    with App("--user", "nobody") as server:
        with open(f"/proc/{server.pid}/status", encoding="ascii") as file:
            uids = re.search(r"Uid:\s+(.*)", file.read()).group(1).split()
        import pwd
        equal(set(uids), {str(pwd.getpwnam("nobody").pw_uid)})
        server.client("/ws/a").settle()


def test_log():
    with App("--log-format", "json", "--log-level", "debug") as server:
        server.client("/ws/a%22%5C").close()
        until(lambda: any('"close"' in line for line in server.errors), "a line about the end")
        for line in list(server.errors):
            entry = json.loads(line)
            assert {"time", "level", "event", "message"} <= set(entry), entry
    with App("--log-level", "debug", "--log-rate", "5") as server:
        for _ in range(20):
            server.client("/ws/a").close()
        time.sleep(1)
        server.client("/ws/a").close()
        until(lambda: any("lines were left out" in line for line in server.errors), "the count of what was left out")
        assert len(server.errors) < 30, server.errors


run(globals())
