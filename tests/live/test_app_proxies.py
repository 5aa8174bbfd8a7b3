# SPDX-License-Identifier: MIT
"""`ringcast app` behind nginx and HAProxy from the distribution, each started here on a free port of loopback: messages
both ways, who is counted, a body by POST, and an end that is passed on."""
import signal
import time

from app import SLOW, App, Client, equal, until
from harness import Raw, run
from proxies import haproxy, nginx

KEY = "a key of 24 random bytes"


def through(proxy, path, **headers):
    return Client(("127.0.0.1", proxy.port)).join_in(path, **headers)


def talk(server, proxy):
    """A conversation with one end behind the proxy and one in front of the server."""
    a, b = through(proxy, "/ws/a"), server.client("/ws/b")
    a.in_room("r")
    b.in_room("r")
    a.expect("user_joined", userId="b")
    for number in range(200):
        a.say("room_message", room="r", content=f"{number} " + "x" * 500)
        b.say("room_message", room="r", content=f"{number} " + "y" * 500)
    for number in range(200):
        b.expect("room_message", content=f"{number} " + "x" * 500)
        a.expect("room_message", content=f"{number} " + "y" * 500)
    a.say("subscribe", topics=["f"]).expect("subscribed")
    server.post("publish", topic="f", data=list(range(1000)))
    a.expect("update", data=list(range(1000)))
    equal(a.close(), 1000)
    b.expect("user_left", userId="a")
    dying = through(proxy, "/ws/c").in_room("r")
    b.expect("user_joined", userId="c")
    dying.socket.close()
    b.expect("user_left", userId="c")


def post_through(proxy, key):
    body = b'{"topic":"f","data":"by the proxy"}'
    with Raw(("127.0.0.1", proxy.port)) as raw:
        raw.send(b"POST /api/publish HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-API-Key: " + key +
                 b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        return raw.response()[0]


def refused(proxy, path="/ws", **headers):
    raw = Raw(("127.0.0.1", proxy.port))
    raw.send(raw.request(path, **headers))
    return raw.response()[0]


def test_nginx():
    with App("--trust-proxy", "127.0.0.1", "--api-key", KEY) as server:
        server.post = lambda path, **body: server.api(path, body, f"X-API-Key: {KEY}\r\n")
        with nginx(server.port) as proxy:
            talk(server, proxy)
            equal(post_through(proxy, KEY.encode()), 200)
            equal(post_through(proxy, b"wrong"), 401)


def test_nginx_addresses():
    """What a client writes into X-Forwarded-For itself changes nothing: nginx adds who it is."""
    with App("--trust-proxy", "127.0.0.2", "--trust-proxy", "127.0.0.1", "--connections-per-address", "2") as server:
        with nginx(server.port) as proxy:
            held = [through(proxy, "/ws/a", X_Forwarded_For=f"1.1.1.{n}") for n in range(2)]
            # Every address of the chain is trusted here but the first, which then is the client's.
            third = through(proxy, "/ws/a", X_Forwarded_For="1.1.1.9")
            for client in [*held, third]:
                client.settle()
    with App("--connections-per-address", "2") as server:
        with nginx(server.port) as proxy:  # not trusted: all are the proxy
            held = [through(proxy, "/ws/a", X_Forwarded_For=f"1.1.1.{n}") for n in range(2)]
            equal(refused(proxy, X_Forwarded_For="1.1.1.9"), 429)
            held[0].settle()


def test_nginx_without_api_key():
    """Whoever comes through a proxy on this machine is not from this machine."""
    with App() as server, nginx(server.port) as proxy:
        equal(post_through(proxy, b"x"), 401)


def test_haproxy():
    with App("--trust-proxy", "127.0.0.1", "--api-key", KEY) as server:
        server.post = lambda path, **body: server.api(path, body, f"X-API-Key: {KEY}\r\n")
        with haproxy(server.port) as proxy:
            talk(server, proxy)
            equal(post_through(proxy, KEY.encode()), 200)


def test_haproxy_proxy_protocol():
    """Both versions, in TCP mode, with health checks that speak for the proxy itself."""
    for send in ("send-proxy check inter 200ms", "send-proxy-v2 check inter 200ms", "send-proxy-v2-ssl"):
        with App(listen=("proxy+127.0.0.1:0", "127.0.0.1:0")) as server:
            proxied, server.port = server.port, int(server.urls()[1].rsplit(":", 1)[1])
            with haproxy(proxied, "tcp", send) as proxy:
                talk(server, proxy)
                time.sleep(0.5 if "check" in send else 0)
                through(proxy, "/ws/a").settle()


def test_drain_behind_a_proxy():
    with App("--trust-proxy", "127.0.0.1") as server, nginx(server.port) as proxy:
        client = through(proxy, "/ws/a")
        server.process.send_signal(signal.SIGTERM)
        client.expect("going_away")
        client.expect_close(1001)
        equal(server.process.wait(10 * SLOW), 0)


run(globals(), limit=40)
