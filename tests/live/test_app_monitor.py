# SPDX-License-Identifier: MIT
"""What a monitor of `ringcast app` sees: figures pushed to it, what clients measured themselves, who came back, how long
things took, and heartbeats as messages."""
import http.server
import json
import threading
import time

from app import SECRET, SLOW, App, equal, token, until
from harness import Raw, command, run

REPORT = "metrics/websocket"


def test_reports_of_clients():
    with App() as server:
        equal(server.api(REPORT, {"latency": 12, "messagesSent": 5, "errors": 0, "x y": 1, "name": "text"}),
              (200, {"taken": 3, "leftOut": 1}))
        equal(server.api(REPORT, {"latency": [2, 4.5], "net": {"rtt": 7}})[1], {"taken": 3, "leftOut": 0})
        values = server.figures()["clientMetrics"]
        equal(values["latency"], {"count": 3, "mean": 6.16667, "min": 2, "max": 12, "last": 4.5})
        equal(values["net.rtt"]["last"], 7)
        equal(json.loads(server.get("/stats")[2])["app"]["clientMetrics"]["messagesSent"]["last"], 5)
        text = server.get("/metrics")[2].decode()
        assert 'ringcast_app_client_value_last{name="latency"} 4.5' in text, text
        for body in b"", b"[]", b"7", b"{", b'{"a":1,"a":2}':
            equal(server.api(REPORT, body)[0], 400, body)


def test_reports_are_bounded():
    with App() as server:
        equal(server.api(REPORT, b" " * 9000)[0], 413)
        equal(server.api(REPORT, {"v": list(range(300))})[1], {"taken": 256, "leftOut": 44})
        for first in range(0, 400, 100):
            server.post(REPORT, **{f"junk{number}": 1 for number in range(first, first + 100)})
        equal(server.api(REPORT, {"latency": 1, "more": 1})[1], {"taken": 1, "leftOut": 1}, "the usual names keep their places")
        equal(server.api(REPORT, b'{"latency":1e308}')[1], {"taken": 0, "leftOut": 1})
        assert len(server.figures()["clientMetrics"]) <= 64
        equal(server.api(REPORT, {}, headers="Origin: https://elsewhere.example\r\n")[0], 403)
    with App("--requests-per-second", "2", limits=True) as server:
        statuses = [server.api(REPORT, {"latency": 1})[0] for _ in range(20)]
        assert statuses[0] == 200 and 429 in statuses, statuses
    with App("--token-secret", SECRET) as server:
        equal(server.api(REPORT, {"latency": 1})[0], 401)
        equal(server.api(REPORT, {"latency": 1}, headers=f"Authorization: Bearer {token(sub='a')}\r\n")[0], 200)


class Monitor(http.server.BaseHTTPRequestHandler):
    got, status = [], 204

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append((self.path, self.headers.get("Authorization"), json.loads(body)))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_figures_are_pushed():
    monitor = http.server.HTTPServer(("127.0.0.1", 0), Monitor)
    threading.Thread(target=monitor.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{monitor.server_port}/in"
    with App("--push-url", url, "--push-interval", "1s", "--push-key", "k" * 16) as server:
        client = server.client("/ws/a")
        until(lambda: len(Monitor.got) >= 2, "two pushes", limit=15)
        path, key, figures = Monitor.got[-1]
        equal((path, key), ("/in", "Bearer " + "k" * 16))
        assert figures["connectedClients"] == 1 and "latency" in figures, figures
        Monitor.status = 500
        until(lambda: any("cannot be pushed" in line for line in server.errors), "it is said once", limit=15)
        Monitor.status = 204
        assert "ringcast_app_pushes_failed_total" in server.get("/metrics")[2].decode()
        client.close()
    monitor.shutdown()
    for wrong in "ftp://a/b", "nonsense":
        done = command("app", "--listen", "127.0.0.1:0", "--push-url", wrong)
        assert done.returncode and b"push-url" in done.stderr, done
    done = command("app", "--listen", "127.0.0.1:0", "--push-interval", "10ms")
    assert done.returncode and b"push-interval" in done.stderr, done


def test_who_came_back():
    def count():
        return server.figures()["reconnections"]

    with App("--token-secret", SECRET, "--auth", "optional") as server:
        one = server.client("/ws?token=" + token(sub="alice"))
        two = server.client("/ws?token=" + token(sub="alice"))
        equal(count(), 0, "a second device came, and nobody came back")
        two.close()
        server.client("/ws?token=" + token(sub="alice")).close()
        equal(count(), 0, "the user was there all the time")
        one.close()
        until(lambda: server.figures()["connectedClients"] == 0, "it has gone")
        server.client("/ws?token=" + token(sub="alice")).close()
        equal(count(), 1)
        stranger = server.client("/ws")
        stranger.close()
        until(lambda: server.figures()["connectedClients"] == 0, "it has gone")
        server.client("/ws").close()
        equal(count(), 1, "another stranger is nobody who came back")
        server.client("/ws?client=" + stranger.welcome["clientId"]).close()
        server.client("/ws?client=" + stranger.welcome["clientId"]).close()
        equal(count(), 2, "one came back, once")
        server.client("/ws?client=nobody").close()
        equal(count(), 2)


def test_latencies():
    with App() as server:
        client = server.client("/ws/a")
        for _ in range(200):
            client.say("ping")
            client.hear()
        latency = server.figures()["latency"]
        assert 0 < latency["p50Us"] <= latency["p90Us"] <= latency["p99Us"] <= latency["p999Us"], latency
        text = server.get("/metrics")[2].decode()
        assert 'ringcast_app_handling_quantile_seconds{quantile="0.99"}' in text, text


def test_heartbeats_as_messages():
    with App() as server:
        client = server.client("/ws/a?heartbeat=1")
        first = client.expect("ping")
        assert abs(first["timestamp"] / 1000 - time.time()) < 30 * SLOW, first
        client.say("pong", timestamp=first["timestamp"])
        client.expect("ping")
        client.say("hello", heartbeat=0, id=7)
        client.expect("hello", id=7, heartbeat=0)
        time.sleep(1.5)
        client.settle()  # and none came
        client.say("hello", heartbeat=True).expect("hello", heartbeat=25)
        for wrong in "x", -1, 301, 1.5:
            client.say("hello", heartbeat=wrong).expect_error("INVALID_FIELD")
        slow = server.client("/ws/b?heartbeat=3")  # who answers late is asked more often
        first = slow.expect("ping")
        time.sleep(1.1)
        slow.say("pong", timestamp=first["timestamp"])
        begin = time.monotonic()
        slow.expect("ping")
        assert time.monotonic() - begin < 1.5 * SLOW, "a third of three seconds after the one before it"
        with Raw(server) as raw:
            raw.send(b"GET /sse/t?heartbeat=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            raw.socket.settimeout(5 * SLOW)
            while b'"ping"' not in raw.buffer:
                assert raw.more(), bytes(raw.buffer)
    with App("--token-secret", SECRET) as server:
        client = server.client()
        client.say("auth", token=token(sub="a"), heartbeat=1).expect("auth_success")
        client.expect("ping")


def test_where_clients_are_from():
    with App("--token-secret", SECRET, "--operator-key", "o" * 16, "--trust-proxy", "127.0.0.1") as server:
        client = server.client("/ws?token=" + token(sub="alice", permissions=["read", "admin"]), User_Agent="Mozilla/5.0 \t(x)",
                               X_Forwarded_For="203.0.113.9").in_room("r")
        other = server.client("/ws?token=" + token(sub="bob")).in_room("r")
        client.expect("user_joined", userId="bob")
        key = "X-API-Key: " + "o" * 16 + "\r\n"
        status, answer = server.api("clients?user=alice", headers=key)
        equal((status, answer["count"]), (200, 1))
        info = answer["clients"][0]
        equal({name: info[name] for name in ("clientId", "userId", "address", "userAgent", "transport")},
              {"clientId": client.welcome["clientId"], "userId": "alice", "address": "203.0.113.9",
               "userAgent": "Mozilla/5.0 ?(x)", "transport": "websocket"})
        assert abs(info["connectedSince"] / 1000 - time.time()) < 60 * SLOW, info
        equal(server.api("clients", headers=key)[1]["count"], 2)
        equal(server.api("clients?limit=1", headers=key)[1]["clients"].__len__(), 1)
        equal(server.api("clients")[0], 401)
        client.say("members", room="r", clientInfo=True)
        seen = client.expect("members")["clientInfo"]
        equal({each["userId"] for each in seen}, {"alice", "bob"})
        other.say("members", room="r", clientInfo=True).expect_error("PERMISSION_DENIED")
        other.say("members", room="r")
        assert "clientInfo" not in other.expect("members")
        long = Raw(server)
        long.send(long.request("/ws?token=" + token(sub="carol"), User_Agent="x" * 400))
        long.check_open()
        until(lambda: server.api("clients?user=carol", headers=key)[1]["count"] == 1, "it is there")
        equal(len(server.api("clients?user=carol", headers=key)[1]["clients"][0]["userAgent"]), 200)


run(globals())
