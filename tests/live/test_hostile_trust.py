# SPDX-License-Identifier: MIT
"""Who is believed: places, proxies, names, keys, cookies and tokens that are not what they say. An attacker tries what he
should not be able to; where others can be hurt, honest clients beside him are the judges."""
import json
import os
import signal
import socket
import subprocess
import tempfile
import time

from app import SECRET, App, Client, b64, equal, token, until
from harness import Raw, Server, command, run

KEY, OTHER = "a key of 24 random bytes", "another of random bytes."
FORWARDED = ("Forwarded: for=1.2.3.4", "Via: 1.1 proxy", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https",
             "X-Forwarded-Host: example.org", "X-Real-IP: 1.2.3.4", "X-Client-IP: 1.2.3.4", "CF-Connecting-IP: 1.2.3.4",
             "True-Client-IP: 1.2.3.4", "x-real-ip:", "CDN-Loop: cdn.example")


def token_by(private, **claims):
    """One that an Ed25519 key signed."""
    claims.setdefault("exp", int(time.time()) + 3600)
    signed = b64(b'{"alg":"EdDSA"}') + "." + b64(json.dumps(claims).encode())
    with tempfile.NamedTemporaryFile() as file:
        file.write(signed.encode())
        file.flush()
        done = subprocess.run(["openssl", "pkeyutl", "-sign", "-inkey", private, "-rawin", "-in", file.name],
                              check=True, capture_output=True)
    return signed + "." + b64(done.stdout)


def ask(server, path, *headers, method="GET", body=b"", host="localhost", source=None, port=None):
    """The status of a plain request; `source` is the address it comes from."""
    raw = Raw.__new__(Raw)
    raw.buffer, raw.closed = bytearray(), None
    raw.socket = socket.create_connection(("127.0.0.1", port or server.port), 10, (source, 0) if source else None)
    lines = "".join(line + "\r\n" for line in headers)
    size = f"Content-Length: {len(body)}\r\n" if body else ""
    raw.send(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{lines}{size}\r\n".encode("utf-8") + body)
    with raw:
        return raw.response()[0]


def status_of(server, path="/ws", *lines, host="localhost", port=None, head=b"", keep=None):
    """The status of an opening handshake with these header lines."""
    raw = Client(("127.0.0.1", port or server.port))
    request = raw.request(path, Host=host)
    raw.send(head + request[:-2] + "".join(line + "\r\n" for line in lines).encode() + b"\r\n")
    status = raw.response()[0]
    if keep is None:
        raw.socket.close()
    else:
        keep.append(raw)
    return status


POST = {"method": "POST", "body": b'{"topic":"t","data":1}'}


# ---- places ----

def test_what_a_proxy_hands_on_is_not_local():
    """Whoever comes through a proxy on this machine may not do what this machine may, whatever the proxy calls him."""
    with App() as server:
        honest = server.client("/ws/honest").say("subscribe", topics=["t"])
        honest.expect("subscribed")
        for line in FORWARDED:
            for path in ("/api/stats", "/stats", "/metrics"):
                equal(ask(server, path, line), 401, f"{path} with {line}")
            equal(ask(server, "/api/publish", line, **POST), 401, line)
        honest.settle()
        equal(ask(server, "/api/publish", **POST), 200, "this machine itself")
        honest.expect("update", seq=1)
    with Server() as server:
        with server.connect("/topic/t") as honest:
            for line in FORWARDED:
                equal(status_of(server, "/publish/t", line), 403, line)
                for path in ("/stats", "/metrics"):
                    equal(ask(server, path, line), 401, f"{path} with {line}")
            server.connect("/publish/t").text("from here")
            equal(honest.receive_text(), "from here")
        equal(ask(server, "/healthz", FORWARDED[0]), 200)


def test_a_listener_for_others_trusts_no_place():
    """Where others can come in, coming from loopback proves nothing."""
    for address in ("0.0.0.0:0", ":0", "*:0"):
        with App("--open", listen=(address,)) as server:
            server.port = int(server.url.rsplit(":", 1)[1])
            equal([ask(server, path) for path in ("/api/stats", "/stats", "/metrics")], [401, 401, 401])
            equal(ask(server, "/api/publish", **POST), 401)
            server.client("/ws/a").settle()
    with Server(listen=(":0", "127.0.0.1:0")) as server:
        ports = [int(url.rsplit(":", 1)[1]) for url in server.urls()]
        equal([status_of(server, "/publish/t", port=port) for port in ports], [403, 101])
        equal([ask(server, "/stats", port=port) for port in ports], [401, 200])
    with Server("--publish-from", "127.0.0.0/8", listen=("0.0.0.0:0",)) as server:
        equal(status_of(server, "/publish/t"), 101, "an address that was named")
        equal(status_of(server, "/publish/t", "Via: 1.1 proxy"), 403, "its neighbour's word for nobody")
        equal(status_of(server, "/publish/t", "X-Forwarded-For: 127.0.0.1"), 403, "a proxy that nobody named")


def test_a_socket_that_was_handed_over_is_asked_where_it_is():
    for address, wanted in (("127.0.0.1", 200), ("0.0.0.0", 401)):
        with socket.socket() as listener:
            listener.bind((address, 0))
            listener.listen()
            with App("--open", listen=(f"fd:{listener.fileno()}",), inherit=(listener.fileno(),)) as server:
                equal(ask(server, "/api/stats", port=listener.getsockname()[1]), wanted, address)


PROXY = b"PROXY TCP4 127.0.0.1 127.0.0.1 1000 80\r\n"


def test_a_proxy_header_makes_nobody_local():
    """And it names a client only if the proxy was named."""
    claim = b"PROXY TCP4 %d.1.1.1 2.2.2.2 1000 80\r\n"
    for flags in ((), ("--trust-proxy", "127.0.0.1")):
        with App(*flags, listen=("proxy+127.0.0.1:0",)) as server:
            for head in (PROXY, b"PROXY UNKNOWN\r\n"):
                raw = Raw(server)
                raw.send(head + b"GET /api/stats HTTP/1.1\r\nHost: localhost\r\n\r\n")
                equal(raw.response()[0], 401, f"{head} {flags}")
        with App(*flags, "--connections-per-address", "2", listen=("proxy+127.0.0.1:0",)) as server:
            kept = []
            found = [status_of(server, head=claim % number, keep=kept) for number in (1, 2, 3)]
            equal(found, [101, 101, 101 if flags else 429], "who is counted")
        with Server(*flags, "--publish-from", "10.1.1.1", listen=("proxy+127.0.0.1:0",)) as server:
            equal(status_of(server, "/publish/t", head=claim % 10), 101 if flags else 403, "an address that is claimed")
            equal(status_of(server, "/publish/t", head=claim % 11), 403)
        with Server(*flags, listen=("proxy+127.0.0.1:0",)) as server:
            equal(status_of(server, "/publish/t", head=PROXY), 403)


def test_names_that_were_pointed_here():
    """DNS rebinding: to the browser, a name of the attacker's is this machine, and its pages are of one site with us."""
    with App() as server, Server() as topics:
        for host in ("evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", "x", "[::2]",
                     "128.0.0.1", "::1", "localhost:8o", "0.0.0.0"):
            same = f"Origin: http://{host}"
            equal(ask(server, "/api/publish", same, host=host, **POST), 401, host)
            equal(ask(server, "/stats", host=host), 401, host)
            equal(ask(topics, "/stats", host=host), 401, host)
            equal(status_of(topics, "/publish/t", same, host=host), 403, host)
        for host in ("localhost", "LOCALHOST:1", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:8080"):
            equal(ask(server, "/api/publish", f"Origin: http://{host}", host=host, **POST), 200, host)
            equal(ask(topics, "/stats", host=host), 200, host)
            equal(status_of(topics, "/publish/t", f"Origin: http://{host}", host=host), 101, host)


def test_forwarded_for_on_several_lines():
    """A proxy may go on with the list on a line of its own: the client wrote the first."""
    with App("--trust-proxy", "127.0.0.1", "--trust-proxy", "10.0.0.1", "--connections-per-address", "2") as server:
        kept = []

        def held(*chains):
            return [status_of(server, "/ws", *("X-Forwarded-For: " + line for line in chain), keep=kept)
                    for chain in chains]

        equal(held(("9.9.9.1", "1.1.1.1"), ("9.9.9.2", "1.1.1.1"), ("9.9.9.3", "1.1.1.1")), [101, 101, 429], "the last line")
        equal(held(("9.9.9.1, 2.2.2.2", "10.0.0.1"), ("9.9.9.2", "2.2.2.2", "10.0.0.1"), ("2.2.2.2", "10.0.0.1, 10.0.0.1")),
              [101, 101, 429], "on to the line before, past our own")
        equal(held(("9.9.9.1",), ("9.9.9.2",)), [101, 101], "others")
        kept[0].expect("welcome")
        kept[0].settle()


# ---- keys ----

def test_short_keys_are_refused():
    """A blank `api-key =` was a key, and everybody has that."""
    with tempfile.TemporaryDirectory() as directory:
        conf, keys = (os.path.join(directory, name) for name in ("conf", "keys"))

        def write(path, text):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)

        for setting in ("api-key", "operator-key"):
            for value in ("", "short", "fifteen bytes.."):
                write(conf, f"{setting} = {value}\n")
                done = command("config", "check", conf)
                assert done.returncode == 1 and setting in done.stderr.decode() and "16 bytes" in done.stderr.decode(), done
                done = command("app", "--listen", "127.0.0.1:0", "--config", conf)
                equal(done.returncode, 1, done)
            for text in ("\n", KEY + "\nshort\n", ""):
                write(keys, text)
                write(conf, f"{setting}-file = {keys}\n")
                equal(command("config", "check", conf).returncode, 1, f"{setting}-file {text!r}")
            write(keys, KEY + "\n\n" + OTHER + "\n")
            equal(command("config", "check", conf).returncode, 0)
        write(keys, "short\n")
        equal(command("serve", "--listen", "127.0.0.1:0", "--operator-key-file", keys).returncode, 1)
    with App("--api-key", KEY) as server:
        for line in ("X-API-Key:", "X-API-Key: " + KEY[:-1], "X-API-Key: " + KEY + "x", "Authorization: Bearer",
                     "Authorization: Bearer " + KEY.upper(), "Authorization: Basic " + KEY):
            equal(ask(server, "/api/stats", line), 401, line)
        equal(ask(server, "/api/stats", "X-API-Key: " + KEY), 200)


def test_figures_are_for_operators():
    """/stats and /metrics name topics and tell the load: for a key, or for this machine."""
    with App("--operator-key", KEY) as server:
        for path in ("/stats", "/metrics", "/api/stats"):
            equal(ask(server, path), 401, path)
            equal(ask(server, path, "Authorization: Bearer " + KEY), 200, path)
            equal(ask(server, path, "Authorization: Bearer " + KEY, "X-Forwarded-For: 1.1.1.1", host="example.org"), 200, path)
            equal(ask(server, path, "Authorization: Bearer " + OTHER), 401, path)
        equal(ask(server, "/healthz", host="example.org"), 200)
        for path in ("/api/rooms", "/api/presence"):  # who is there is not for them
            equal(ask(server, path, "Authorization: Bearer " + KEY, host="example.org"), 401, path)
        equal(ask(server, "/api/publish", "Authorization: Bearer " + KEY, host="example.org", **POST), 401)
    with App("--api-key", OTHER) as server:
        equal([ask(server, path) for path in ("/stats", "/metrics")], [401, 401])
        equal([ask(server, path, "X-API-Key: " + OTHER) for path in ("/stats", "/metrics")], [200, 200])
    with tempfile.TemporaryDirectory() as directory:
        keys = os.path.join(directory, "keys")
        with open(keys, "w", encoding="ascii") as file:
            file.write(KEY + "\n")
        with Server("--operator-key-file", keys, listen=("0.0.0.0:0",)) as server:
            for path in ("/stats", "/metrics"):
                equal([ask(server, path), ask(server, path, "X-API-Key: " + KEY)], [401, 200], path)
            equal(ask(server, "/healthz"), 200)
            equal(command("top", "--count", "1", "--plain", f"ws://127.0.0.1:{server.port}").returncode, 1)
            done = command("top", "--count", "1", "--plain", "--key-file", keys, f"ws://127.0.0.1:{server.port}")
            equal(done.returncode, 0, done)


# ---- pages of others ----

def test_origins_that_nobody_named():
    """Without a list, only pages of the host itself connect."""
    with App("--host", "example.org", "--host", "a.b") as server:
        for host, origin in (("localhost", "http://localhost"), ("example.org", "https://example.org"),
                             ("example.org:443", "https://example.org"), ("EXAMPLE.org", "https://example.ORG"),
                             ("example.org", "http://example.org:80"), ("a.b:8080", "http://a.b:8080")):
            equal(status_of(server, "/ws", "Origin: " + origin, host=host), 101, origin)
        for host, origin in (("localhost", "https://evil.example"), ("example.org", "https://example.org.evil"),
                             ("example.org", "https://example.org:444"), ("example.org", "null"), ("example.org", ""),
                             ("example.org", "https://"), ("example.org:80", "https://example.org")):
            equal(status_of(server, "/ws", "Origin: " + origin, host=host), 403, origin)
            equal(ask(server, "/poll/t?wait=0", "Origin: " + origin, host=host), 403, origin)
        equal(status_of(server), 101, "no browser")
    with App("--origin", "*") as server:
        equal(status_of(server, "/ws", "Origin: https://anywhere"), 101)
        for path, handshake in (("/ws", True), ("/poll/t?wait=0", False)):  # it would come back in a header
            with Raw(server) as raw:
                request = raw.request(path, Origin="@") if handshake else b"GET %s HTTP/1.1\r\nHost: localhost\r\nOrigin: @\r\n\r\n" \
                    % path.encode()
                raw.send(request.replace(b"@", b"https://\xff\xfe"))
                equal(raw.response()[0], 403, path)


def test_names_that_strangers_point_here():
    """A page of a name whose owner points it at 127.0.0.1 is of the host that it asks. Where no token is needed, that name
    must be known, for WebSockets, and for plain requests, which carry no Origin then; honest pages and programs go on."""
    def tries(server, host, origin=None):
        lines = ["Origin: " + origin] if origin else []
        return [ask(server, "/poll/t?wait=0", *lines, host=host)] + \
            ([status_of(server, "/ws", *lines, host=host)] if origin else [])

    for flags in ((), ("--token-secret", SECRET, "--auth", "optional")):
        with App("--trust-proxy", "127.0.0.1", *flags) as server:
            for host in ("evil.example", f"evil.example:{server.port}", "localhost.evil.example", "127.0.0.1.evil.example",
                         "[::1].evil.example", "evillocalhost", "2130706433.evil", "localhost.", "127.0.0.1.xip.example"):
                equal(set(tries(server, host, "http://" + host)), {403}, host)
                equal(set(tries(server, host)), {403}, host)
                equal(ask(server, "/poll/t", "X-Forwarded-For: 192.0.2.1", host=host), 403, host)
            for host in ("localhost", f"127.0.0.1:{server.port}", "[::1]:80", "192.0.2.7", "LOCALHOST:1", "app.localhost"):
                equal(set(tries(server, host, "http://" + host)), {200, 101}, host)
            equal(status_of(server, "/ws", host="anything.example"), 101, "no browser")
    with App("--host", "here.example", "--host", "*.there.example", "--origin", "https://far.example:8443") as server:
        for host, known in (("here.example", True), ("HERE.example:8080", True), ("a.there.example", True),
                            ("there.example", False), ("x.here.example", False), ("far.example", True)):
            equal(tries(server, host)[0], 200 if known else 403, host)
        equal(tries(server, "far.example", "https://far.example:8443"), [200, 101])
        equal(tries(server, "here.example", "http://here.example"), [403, 403], "pages of --origin alone")
    # With a token nobody needs to be known by the place, nor where everybody is expected.
    bearer = "Authorization: Bearer " + token(sub="u")
    with App("--token-secret", SECRET) as server:
        equal(status_of(server, "/ws", "Origin: http://evil.example", bearer, host="evil.example"), 101)
    with App("--origin", "*") as server:
        equal(tries(server, "any.example", "http://any.example"), [200, 101])
    for name in ("*", "a/b", "http://a", "a:80"):
        done = command("app", "--host", name)
        equal((done.returncode, b"host" in done.stderr), (1, True), name)


def test_cookies_of_pages_of_others():
    """A browser shows the user's cookie on behalf of any page: it is a token only for pages that are known."""
    good = "Cookie: token=" + token(sub="alice")
    for flags in (("--origin", "*"), ()):
        with App("--token-secret", SECRET, *flags) as server:
            def poll(*lines, host="localhost"):
                return ask(server, "/poll/t?wait=0", *lines, host=host)

            equal(poll(good), 401, "no Origin")
            equal(poll(good, "Origin: https://evil.example"), 401 if flags else 403)
            equal(poll(good, "Origin: http://localhost"), 200)
            equal(poll(good, "Sec-Fetch-Site: same-origin"), 200, "a browser's plain GET to the page's own host")
            equal([poll(good, "Sec-Fetch-Site: " + site) for site in ("same-site", "cross-site", "none")], [401] * 3)
            with Raw(server) as raw:
                raw.send(raw.request("/ws", Cookie=good[8:], Origin="https://evil.example"))
                status, _, _ = raw.response()
                equal(status, 101 if flags else 403)
            evil = Client(server)
            evil.open("/ws", Cookie=good[8:])
            assert "userId" not in evil.expect("welcome"), "a cookie without an Origin"
            evil.say("direct", to="alice", content=1).expect_error("AUTH_REQUIRED")
            own = server.client("/ws", Cookie=good[8:], Origin="http://localhost")
            equal(own.welcome["userId"], "alice")
    with App("--token-secret", SECRET, "--origin", "https://app.example") as server:
        client = server.client("/ws", Cookie=good[8:], Origin="https://app.example")
        equal(client.welcome["userId"], "alice")


# ---- names ----

BAD_TEXT = ("%FF%FE", "a%FFb", "%C0%AF", "%ED%A0%80", "%F4%90%80%80", "%C3", "%E2%82")
CONTROLS = ("a%01", "%0D%0Ab", "%7F", "x%C2%85y", "%1B[2J")


def test_names_that_are_no_text():
    """One name that is no UTF-8 would close every strict client that hears it: it does not come in, by any way."""
    with App("--permissions", "read,write,broadcast") as server:
        honest = [server.client(f"/ws/honest{number}").in_room("r") for number in range(2)]
        honest[0].expect("user_joined")
        for name in BAD_TEXT + CONTROLS:
            for path in (f"/ws/{name}", f"/sse/{name}", f"/poll/{name}?wait=0", f"/poll/ok,{name}?wait=0"):
                raw = Raw(server)
                raw.send(raw.request(path) if path.startswith("/ws") else
                         f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                status, _, words = raw.response()
                equal(status, 400, path)
                assert len(words) > 10, words
            equal(ask(server, f"/api/presence?user={name}"), 400, name)
            equal(ask(server, "/" + name), 400 if name in BAD_TEXT else 404, name)
        for text in ("a\u0001", "\u0085", "a\nb", "\u007f"):
            equal(server.api("publish", {"topic": text, "data": 1})[0], 400, repr(text))
            equal(server.api("send", {"to": text, "content": 1})[0], 400, repr(text))
            for kind, field, value in (("join_room", "room", text), ("subscribe", "topics", [text]), ("direct", "to", text),
                                       ("history", "topic", text)):
                honest[0].say(kind, content=1, **{field: value}).expect_error("INVALID_FIELD")
        honest[0].say("room_message", room="r", content="still here").settle()
        honest[1].expect("room_message", content="still here")
        honest[1].settle()
        friendly = server.client("/ws/%C3%A9%E2%82%AC%F0%9F%98%80").in_room("r")
        equal(friendly.welcome["userId"], "\u00e9\u20ac\U0001f600")
        honest[1].expect("user_joined", userId="\u00e9\u20ac\U0001f600")
    with Server("--relay") as server, server.connect("/topic/t") as honest:
        for name in BAD_TEXT + CONTROLS:
            for path in ("/topic/" + name, "/topic/ok," + name, "/publish/" + name, "/relay/" + name):
                equal(status_of(server, path), 400, path)
        server.connect("/publish/t").text("x")
        equal(honest.receive_text(), "x")


def test_claims_that_are_no_names():
    with App("--token-secret", SECRET) as server:
        for claims in ({"sub": "a\u0001"}, {"sub": "a\u0085"}, {"sub": "a\n"}, {"sub": "a", "rooms": ["r\u0001"]},
                       {"sub": "a", "topics": ["t\u007f"]}, {"sub": "a", "topics": "t"}, {"sub": "a", "topics": [""]}):
            equal(status_of(server, "/ws?token=" + token(**claims)), 401, str(claims))


def test_settings_that_are_no_text():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "conf")
        for line in (b"origin = https://\xff\xfe", b"permissions = \xff", b"topics = a\x01b", b"token-issuer = \xc3("):
            with open(path, "wb") as file:
                file.write(line + b"\n")
            done = command("config", "check", path)
            assert done.returncode == 1 and b"UTF-8" in done.stderr, (line, done)
    done = command("app", "--listen", "127.0.0.1:0", "--topics", b"\xff\xfe")
    assert done.returncode == 2 and b"UTF-8" in done.stderr, done
    done = command("app", "--listen", "127.0.0.1:0", env=dict(os.environb, RINGCAST_TOPICS=b"\xff\xfe"))
    assert done.returncode == 2 and b"UTF-8" in done.stderr, done


def test_a_flag_that_says_no():
    """`open = no` in a file is a no."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "conf")
        for word, status in (("no", 1), ("false", 1), ("off", 1), ("yes", 0), ("true", 0), ("perhaps", 1), ("", 1)):
            with open(path, "w", encoding="ascii") as file:
                file.write(f"listen = 0.0.0.0:8080\nopen = {word}\n")
            equal(command("config", "check", path).returncode, status, word)


# ---- rights ----

def test_lesser_rights_take_back_what_was_given():
    """Another token with less: rooms, feeds, patterns, and what a pattern still waits for."""
    def may(*topics, rooms=("r",), **more):
        return token(sub="a", topics=list(topics), rooms=list(rooms), **more)

    with App("--token-secret", SECRET) as server:
        honest = server.client("/ws?token=" + token(sub="h"))
        for post in ("a.1", "b.1", "c"):
            server.post("publish", topic=post, data=0)
        honest.say("subscribe", topics=["*"]).expect("subscribed")
        for batching in (False, True):
            client = server.client("/ws?token=" + may("*", rooms=("r", "s"))).in_room("r").in_room("s")
            if batching:
                client.say("batching", count=100, delay=50).expect("batching")

            def heard(kind, count):
                found = []
                while len(found) < count:
                    message = client.hear()
                    every = message["messages"] if message["type"] == "batch" else [message]
                    found += [message for message in every if message["type"] == kind]
                return found

            client.say("subscribe", topics=["a.*", "b.*", "b.1", "c", "a.1"])
            heard("subscribed", 1)
            client.say("auth", token=may("a.*", rooms=("r",)))
            told = heard("unsubscribed", 1)[0]
            equal(sorted(told["topics"]), ["b.*", "b.1", "c"])
            for post in ("b.1", "c", "b.2", "a.1", f"a.new{batching}"):
                server.post("publish", topic=post, data=batching)
            equal(sorted(update["topic"] for update in heard("update", 2)), ["a.1", f"a.new{batching}"])
            client.say("members", room="s")
            equal(heard("error", 1)[0]["code"], "NOT_A_MEMBER")
            # And without the right to read, nothing is left.
            client.say("auth", token=may("a.*", permissions=["write"]))
            equal(sorted(heard("unsubscribed", 1)[0]["topics"])[0], "a.*")
            client.say("room_message", room="r", content=1)
            equal(heard("error", 1)[0]["code"], "NOT_A_MEMBER")
            server.post("publish", topic="a.1", data="not for a")
            client.say("ping", timestamp=1)
            equal([message["type"] for message in heard("pong", 1)], ["pong"])
            client.close()
        server.post("publish", topic="end", data=1)
        while honest.hear().get("topic") != "end":
            pass
    with App("--token-secret", SECRET) as server:  # what users sent as DATA is for administrators
        admin = server.client("/ws?token=" + token(sub="a", permissions=["admin"]))
        admin.say("subscribe", topics=["data/*"]).expect("subscribed")
        admin.say("auth", token=token(sub="a", permissions=["read"])).expect("auth_success")
        admin.expect("unsubscribed", topics=["data/*"], code="PERMISSION_DENIED")
        server.client("/ws?token=" + token(sub="b")).say("DATA", id="1", data="secret").expect("ACK")
        admin.settle()


def test_lesser_settings_take_back_what_was_given():
    """And so does a reload, for whom no token says otherwise."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "conf")

        def write(text):
            with open(path, "w", encoding="ascii") as file:
                file.write(text)

        write("")
        with App("--config", path) as server:
            clients = [server.client(f"/ws/{number}").in_room("r") for number in range(8)]
            for client in clients:
                client.say("subscribe", topics=["*", "market/a"])
                while client.hear()["type"] != "subscribed":
                    pass
            write("topics = market/*\nrooms = lobby\n")
            server.process.send_signal(signal.SIGHUP)
            for client in clients:
                found = []
                while len(found) < 2:
                    found += [message for message in [client.hear()] if message["type"] in ("unsubscribed", "room_left")]
                equal(found[0].get("room"), "r")
                equal(found[1].get("topics"), ["*"])
            server.post("publish", topic="other", data=1)
            server.post("publish", topic="market/a", data=1)
            write("permissions = write\n")
            for client in clients:
                client.expect("update", topic="market/a")
            server.process.send_signal(signal.SIGHUP)
            for client in clients:
                client.expect("unsubscribed", topics=["market/a"])
                client.say("join_room", room="lobby").expect_error("PERMISSION_DENIED")


def test_who_would_not_be_let_in_any_more():
    """A key that is taken away takes those with it whose tokens it signed, and so does a demand for tokens those who have
    none; who has a token of a key that stays hears nothing of it."""
    with tempfile.TemporaryDirectory() as directory:
        path, key = os.path.join(directory, "conf"), os.path.join(directory, "public.pem")
        private = os.path.join(directory, "private.pem")
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True, capture_output=True)
        subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", key], check=True, capture_output=True)

        def write(text):
            with open(path, "w", encoding="ascii") as file:
                file.write(text)

        write(f"token-key = {key}\ntoken-secret = {SECRET}\nauth = optional\n")
        with App("--config", path) as server:
            old = [server.client("/ws", Authorization="Bearer " + token(sub="old")).in_room("r") for _ in range(3)]
            anonymous, waiting = server.client(), Raw(server)
            waiting.send(f"GET /sse/a?token={token(sub='old')} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            waiting.response(has_body=False)
            new = server.client("/ws/new").say("auth", token=token_by(private, sub="new"))
            new.expect("auth_success")
            # What does not concern them leaves all of them where they are.
            write(f"token-secret = {SECRET}\ntoken-key = {key}\nauth = optional\nstore-age = 1h\n")
            server.process.send_signal(signal.SIGHUP)
            for client in old + [anonymous, new]:
                client.settle_after("user_joined")
            write(f"token-key = {key}\n")
            server.process.send_signal(signal.SIGHUP)
            for client in old + [anonymous]:
                client.expect_close(1008)
            equal({client.closed[1] for client in old}, {"the token's key is gone"})
            equal(anonymous.closed[1], "authentication required")
            while waiting.more():
                waiting.buffer.clear()
            new.settle()
            equal(ask(server, "/poll/a", f"Authorization: Bearer {token(sub='old')}"), 401)


def test_tokens_for_others():
    with App("--token-secret", SECRET, "--token-audience", "chat", "--token-audience", "feeds", "--token-issuer", "https://id") \
            as server:
        for claims, status in (({"aud": "chat"}, 101), ({"aud": ["x", "feeds"]}, 101), ({}, 401), ({"aud": "chats"}, 401),
                               ({"aud": []}, 401), ({"aud": ["x"]}, 401), ({"aud": {"chat": 1}}, 401)):
            equal(status_of(server, "/ws?token=" + token(sub="a", iss="https://id", **claims)), status, str(claims))
        for issuer in ("https://id/", "", 5, ["https://id"], None):
            equal(status_of(server, "/ws?token=" + token(sub="a", aud="chat", iss=issuer)), 401, str(issuer))
        client = server.client("/ws")
        client.say("auth", token=token(sub="a", aud="x", iss="https://id")).expect_error("AUTH_FAILED")
        equal(ask(server, "/poll/t?wait=0&token=" + token(sub="a", aud="x", iss="https://id")), 401)
    with App("--token-secret", SECRET) as server:  # RFC 7519, section 4.1.3: it names others, and not us
        equal(status_of(server, "/ws?token=" + token(sub="a", aud="somebody")), 401)
        equal(status_of(server, "/ws?token=" + token(sub="a", iss="anybody")), 101)


def test_tokens_without_an_end():
    for flags, status in (((), 401), (("--token-expiry", "optional"), 101)):
        with App("--token-secret", SECRET, *flags) as server:
            equal(status_of(server, "/ws?token=" + token(sub="a", exp=None)), status)
            equal(status_of(server, "/ws?token=" + token(sub="a", exp=60)), 101)


def test_tokens_without_permissions():
    with App("--token-secret", SECRET, "--token-permissions", "claim") as server:
        nothing = server.client("/ws?token=" + token(sub="a"))
        for kind, fields in (("join_room", {"room": "r"}), ("direct", {"to": "b", "content": 1}), ("subscribe", {"topics": ["t"]})):
            nothing.say(kind, **fields).expect_error("PERMISSION_DENIED")
        equal(ask(server, "/poll/t?wait=0&token=" + token(sub="a")), 403)
        server.client("/ws?token=" + token(sub="b", permissions=["read"])).in_room("r")


def check_topics(server, credentials, allowed, denied):
    """By every way to a feed; allowed and denied are names and patterns."""
    client = server.client("/ws" + credentials)
    for topic, error in [(topic, None) for topic in allowed] + [(topic, "PERMISSION_DENIED") for topic in denied]:
        client.say("subscribe", topics=[topic])
        if error:
            client.expect_error(error)
            client.say("subscribe", topics=[*allowed, topic]).expect_error(error)
        else:
            client.expect("subscribed")
        if "*" not in topic:
            client.say("history", topic=topic)
            if error:
                client.expect_error(error)
            else:
                client.expect("history", topic=topic)
        mark = "&" if "?" in credentials else "?"
        equal(ask(server, f"/poll/{topic}{credentials}{mark}wait=0"), 403 if error else 200, topic)
        with Raw(server) as raw:
            raw.send(f"GET /sse/{topic}{credentials} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            raw.more()
            equal(int(raw.buffer[9:12]), 403 if error else 200, "/sse/" + topic)
    client.close()


def test_feeds_by_topic():
    """A token for a room may not follow every feed; one for some feeds may follow those."""
    with App("--token-secret", SECRET) as server:
        def own(**claims):
            return "?token=" + token(sub="a", **claims)

        server.post("publish", topic="market/a", data=1)
        server.post("publish", topic="other", data=1)
        check_topics(server, own(topics=["market/*", "news"]), ["market/a", "market/*", "market/b*", "news"],
                     ["other", "*", "market*", "marke", "market", "news2", "new", "news*", "data/a"])
        check_topics(server, own(rooms=["team-a"]), [], ["other", "*", "market/a", "team-a"])
        check_topics(server, own(topics=[]), [], ["other", "*", "market/a"])
        check_topics(server, own(), ["other", "*", "market/a"], ["data/a"])
        client = server.client("/ws" + own(topics=["market/*"]))
        client.say("join_room", room="r").expect_error("PERMISSION_DENIED")
        # A pattern brings new topics, and only its own.
        client.say("subscribe", topics=["market/*"]).expect("subscribed")
        server.post("publish", topic="marketing", data=1)
        server.post("publish", topic="market/new", data=1)
        client.expect("update", topic="market/new")
        client.settle()
    with App("--topics", "market/*", "--topics", "news", "--rooms", "lobby") as server:
        check_topics(server, "", ["market/a", "news", "market/*"], ["other", "*", "market*"])
        client = server.client("/ws/a").in_room("lobby")
        client.say("join_room", room="team-a").expect_error("PERMISSION_DENIED")
    with App("--publish-topics", "market/*", "--publish-topics", "news") as server:
        for topic, status in (("market/a", 200), ("news", 200), ("market", 403), ("other", 403), ("news2", 403)):
            equal(server.api("publish", {"topic": topic, "data": 1})[0], status, topic)
    with App("--topics", "market/*", "--token-secret", SECRET) as server:
        check_topics(server, "?token=" + token(sub="a"), ["market/a"], ["other"])
        check_topics(server, "?token=" + token(sub="a", topics=["other"]), ["other"], ["market/a"])


# ---- defaults ----

def test_does_not_start_open_by_mistake():
    secret = ("--token-secret", SECRET)
    for flags in (("--listen", "0.0.0.0:0"), ("--listen", "127.0.0.1:0", "--listen", "[::]:0"), ("--listen", "0.0.0.0:0", "--auth", "off", *secret),
                  ("--listen", "0.0.0.0:0", "--api-key", KEY), ("--listen", "proxy+0.0.0.0:0",), ("--listen", ":0"),
                  ("--listen", "*:0"), ("--listen", "localhost:0", "--listen", "ws://:0"), ("--listen", "proxy+*:0")):
        done = command("app", *flags)
        equal(done.returncode, 1, str(flags))
        assert b"--open" in done.stderr or b"(open)" in done.stderr, done
    for flags in (secret, ("--open",), ("--auth", "optional", *secret)):
        with App(*flags, listen=("0.0.0.0:0",)):
            pass
    # A listener for operators wants a key, or that somebody says that it is meant so.
    done = command("app", "--listen", "127.0.0.1:0", "--api-listen", "0.0.0.0:0")
    equal(done.returncode, 1, done.stderr)
    assert b"admin-open" in done.stderr, done.stderr
    with App("--api-listen", "0.0.0.0:0", "--api-key", KEY) as server:
        until(lambda: len(server.urls()) == 2, "two listeners")
        equal(ask(server, "/api/stats", port=int(server.urls()[1].rsplit(":", 1)[1])), 401)


def test_a_reload_does_not_open_it():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "conf")

        def write(text):
            with open(path, "w", encoding="ascii") as file:
                file.write(text)

        write(f"token-secret = {SECRET}\n")
        with App("--config", path, listen=("0.0.0.0:0",)) as server:
            server.port = int(server.url.rsplit(":", 1)[1])
            write("auth = off\n")
            server.process.send_signal(signal.SIGHUP)
            until(lambda: any("the old ones stay" in line for line in server.errors), "a word about it")
            assert "userId" not in server.client("/ws/a").welcome
            write(f"token-secret = {SECRET}\npermissions = read\n")
            server.process.send_signal(signal.SIGHUP)
            until(lambda: server.client("/ws?token=" + token(sub="a")).say("direct", to="b", content=1, id=1).hear()["type"] == "error"
                  or time.sleep(0.05), "the new ones")


def test_handshakes_of_one_address_are_limited():
    """One address knocks as fast as it can; another gets in, and by default there is a limit."""
    with App("--handshakes-per-second", "2", "--trust-proxy", "127.0.0.1") as server:
        def knock(address):
            return status_of(server, "/ws", "X-Forwarded-For: " + address)

        found = [knock("1.1.1.1") for _ in range(40)]
        equal(found[:10], [101] * 10, "as many at once as five seconds have")
        assert found.count(429) >= 25, found
        equal([knock("1.1.1.2") for _ in range(5)], [101] * 5, "somebody else")
        equal(knock("2001:db8::1"), 101)
        assert 429 in [knock(f"2001:db8::{number}") for number in range(12)], "a /64 is one address"
        until(lambda: knock("1.1.1.1") == 101, "again, after a while")
    with App("--connections-per-user", "0", "--trust-proxy", "127.0.0.1", limits=True) as server:
        kept = []
        found = [status_of(server, "/ws", "X-Forwarded-For: 1.1.1.1", keep=kept) for _ in range(270)]
        assert 200 <= found.count(101) <= 256 and found[-1] == 429, (found.count(101), found[-1])
        equal(status_of(server, "/ws", "X-Forwarded-For: 1.1.1.2"), 101, "somebody else")


def begin(server, source, count, bytes_):
    """Connections from an address that say something, and no more."""
    found = []
    for _ in range(count):
        one = socket.socket()
        one.bind((source, 0))
        one.connect(("127.0.0.1", server.port))
        try:
            one.sendall(bytes_)
        except OSError:
            pass
        found.append(one)
    return found


def still_there(connections):
    """How many of them the server has not closed."""
    count = 0
    for one in connections:
        one.setblocking(False)
        try:
            count += one.recv(1000) != b""
        except BlockingIOError:
            count += 1
        except OSError:
            pass
    return count


def test_requests_that_never_end():
    """An address may have as many connections whose request does not end, or whose answer it does not read, as it may have
    open ones, and no more; honest clients elsewhere come in meanwhile, and so does who comes through a named proxy."""
    half, wrong = b"GET /ws HTTP/1.1\r\nHost: localhost\r\n", b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with App("--connections-per-address", "20", "--handshakes-per-second", "0", "--trust-proxy", "127.0.0.9",
             "--handshake-timeout", "3s", limits=True) as server:
        for bytes_ in (half, b"", b"GET"):
            slow = begin(server, "127.0.0.2", 200, bytes_)
            equal(server.client().say("ping").expect("pong")["type"], "pong")
            until(lambda: still_there(slow) == 20, "the end of those beyond the limit")
            time.sleep(0.3)
            equal(still_there(slow), 20)
            for one in slow:
                one.close()
            until(lambda: server.stats()["connections"] <= 1, "their end")
        proxied = begin(server, "127.0.0.9", 200, half)
        time.sleep(0.3)
        equal(still_there(proxied), 200)
        answered = begin(server, "127.0.0.2", 200, wrong)
        until(lambda: server.stats()["connections"] <= 200 + 20 + 2, "the end of those beyond the limit")
        equal(server.client().say("ping").expect("pong")["type"], "pong")
        for one in proxied + answered:
            one.close()
        # Open ones are counted apart, and one that has opened leaves its place to the next.
        row = [server.client(f"/ws/u{number}") for number in range(18)]
        slow = begin(server, "127.0.0.1", 15, half)
        time.sleep(0.3)
        equal(still_there(slow), 15)
        for client in row:
            client.settle()


def test_a_proxy_that_nobody_named_is_told_of():
    with App("--connections-per-address", "1") as server:
        kept = []
        equal([status_of(server, "/ws", f"X-Forwarded-For: 1.1.1.{number}", keep=kept) for number in (1, 2)], [101, 429])
        until(lambda: any("127.0.0.1" in line and "trust-proxy" in line for line in server.errors), "a word about it")


def test_config_check_says_what_is_open():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "conf")

        def check(text, *wanted, status=0):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            done = command("config", "check", path)
            equal(done.returncode, status, str(done))
            said = done.stdout.decode()
            for words in wanted:
                assert words in said, f"{words!r} is not in:\n{said}"
            return done

        check("", "everybody, under any name; may read, write", "the host that they ask", "this machine, by a listener", "nobody")
        check("listen = 0.0.0.0:8080\nopen = yes\n", "0.0.0.0:8080", "everybody who reaches it", "nobody: it has no key")
        check("listen = fd:3\n", "what is handed over")
        key, authority = os.path.join(directory, "key"), os.path.join(directory, "ca.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "90",
                        "-subj", "/CN=localhost", "-keyout", key, "-out", authority], check=True, capture_output=True)
        guarded = f"tls-cert = {authority}\ntls-key = {key}\ntls-client-ca = {authority}\n"  # who has none does not get in
        check("listen = wss://0.0.0.0:8443\nlisten = proxy+wss://0.0.0.0:8444\n" + guarded, f"a certificate of {authority}")
        assert b"0.0.0.0:8080" in check("listen = wss://0.0.0.0:8443\nlisten = 0.0.0.0:8080\n" + guarded, status=1).stderr
        for address in ("0.0.0.0:8080", ":8080", "*:8080"):
            assert b"(open)" in check(f"listen = {address}\n", status=1).stderr
        check(f"listen = 0.0.0.0:8080\ntoken-secret = {SECRET}\napi-key = {KEY}\norigin = https://example.org\n"
              "trust-proxy = 10.0.0.0/8\ntopics = market/*\ntoken-audience = chat\n", "who shows one that our key signed, until its end",
              "without a token             nobody", "https://example.org", "10.0.0.0/8", "market/*", "chat", "one of 1 keys",
              "256 connections", "50 handshakes a second")


run(globals())
