# SPDX-License-Identifier: MIT
"""Hooks: a backend over HTTP decides who comes in, joins, follows and says what; what becomes of its answers, right and
wrong, late and missing; and what a stranger with bad sessions takes from others."""
import json
import os
import re
import socket
import subprocess
import tempfile
import threading
import time

from app import SECRET, App, Client, Stream, poll, token
from backend import Backend
from harness import CLOSE, SLOW, Raw, Skip, command, equal, run, until

SHOWN = "a-secret-of-the-backend"


def session(question):
    """Users by a cookie `session=NAME`, or a token NAME."""
    cookie = question.get("headers", {}).get("cookie", "")
    name = question.get("token") or (cookie[8:] if cookie.startswith("session=") else "")
    if not name:
        return {"user": None}
    return (401, {"message": "no such session"}) if name.startswith("bad") else {"user": name}


def enter(server, name, path="/ws"):
    return server.client(path, Cookie="session=" + name)


def refused(server, code, path="/ws", **headers):
    """The words with which a client is closed that was not let in."""
    client = Client(server).open(path, **headers)
    client.expect_close(code)
    return client.closed[1]


# ---- who connects ----

def test_connect():
    with Backend(connect=session) as backend, \
            App("--hook-connect", backend.url, "--hook-secret", SHOWN, "--hook-header", "X-Device") as server:
        client = server.client("/ws?page=4&x=%20", Cookie="session=alice", X_Device="d1", User_Agent="tester")
        equal(client.welcome["userId"], "alice")
        question = backend.asked[0]
        equal((question["hook"], question["user"], question["path"], question["query"]),
              ("connect", None, "/ws", "page=4&x=%20"))
        equal(question["headers"], {"cookie": "session=alice", "host": "localhost", "user-agent": "tester",
                                    "X-Device": "d1"})
        equal(question["address"], "127.0.0.1")
        equal(backend.secrets, ["Bearer " + SHOWN])
        equal(refused(server, 3401, Cookie="session=bad"), "no such session")
        equal(refused(server, 3403, "/ws/bob", Cookie="session=alice"), "The session is another user's")
        equal(server.client("/ws/bob", Cookie="session=bob").welcome["userId"], "bob")
        # Nobody yet: a token in band is asked about as well.
        late = server.client()
        equal(late.welcome.get("userId"), None)
        late.say("join_room", room="r").expect_error("AUTH_REQUIRED")
        late.say("auth", token="bad", id=1).expect_error("AUTH_FAILED", message="no such session", id=1)
        late.say("auth", token="carol").say("join_room", room="r")
        late.expect("auth_success", userId="carol")
        late.expect("room_joined")
        equal(backend.asked[-1]["token"], "carol")


def test_connect_rights():
    def answer(question):
        return {"user": "u", "permissions": ["read"], "rooms": ["a*"], "expires": time.time() + 1}
    with Backend(connect=answer) as backend, \
            App("--hook-connect", backend.url, "--refresh-time", "200ms") as server:
        client = server.client()
        client.say("join_room", room="b").expect_error("PERMISSION_DENIED")
        client.in_room("ab")
        client.say("room_message", room="ab", content="x").expect_error("PERMISSION_DENIED")
        client.expect("auth_expired")
        client.expect_close(1008)
        backend.answers["connect"] = {"user": "u", "expires": time.time() - 1}
        equal(refused(server, 3401), "The session has expired")
        # Many a backend counts in milliseconds.
        backend.answers["connect"] = {"user": "u", "expires": (time.time() + 60) * 1000}
        equal(server.client().welcome["userId"], "u")
        backend.answers["connect"] = {"user": "u", "permissions": 7}
        equal(refused(server, 1013), "The application's answer is wrong")
        backend.answers["connect"] = {"allow": True}
        equal(server.client("/ws/guest").welcome["userId"], "guest")
        guest = server.client()
        equal(guest.welcome["userId"], guest.welcome["clientId"])
        backend.answers["connect"] = {"allow": False, "message": "not today"}
        equal(refused(server, 3403), "not today")
        backend.answers["connect"] = (429, {})
        equal(refused(server, 3429), "Refused by the application")


def test_connect_and_own_tokens():
    """A token that our own key signed costs no question; any other is the backend's."""
    with Backend(connect=session) as backend, \
            App("--hook-connect", backend.url, "--token-secret", SECRET) as server:
        equal(server.client(f"/ws?token={token(sub='own')}").welcome["userId"], "own")
        equal(backend.asked, [])
        equal(enter(server, "theirs").welcome["userId"], "theirs")


def test_cookies_of_other_pages():
    """A page that is not known has its visitor's cookies sent by the browser: they are not handed on."""
    with Backend(connect=session) as backend, \
            App("--hook-connect", backend.url, "--origin", "*", "--origin", "https://ours.example") as server:
        equal(server.client(Cookie="session=a", Origin="https://evil.example").welcome.get("userId"), None)
        assert "cookie" not in backend.asked[0]["headers"]
        equal(server.client(Cookie="session=a", Origin="https://ours.example").welcome["userId"], "a")


def test_said_before_the_answer():
    """What a client says before it is let in is handled then, in its order; and there is a bound."""
    def slow(question):
        time.sleep(0.3)
        return session(question)
    with Backend(connect=slow) as backend, App("--hook-connect", backend.url) as server:
        client = Client(server).open("/ws", Cookie="session=a")
        client.say("join_room", room="r")
        for number in range(20):
            client.say("ping", timestamp=number)
        equal(client.hear()["type"], "welcome")
        client.expect("room_joined", room="r")
        for number in range(20):
            client.expect("pong", timestamp=number)
        flood = Client(server).open("/ws", Cookie="session=b")
        for number in range(80):
            flood.say("ping", timestamp=number)
        flood.expect_close(1008)


# ---- joining, following ----

def test_join_and_subscribe():
    def join(question):
        room = question["room"]
        if room == "secret":
            return {"allow": False, "message": "members only"}
        return (403, {}) if room == "closed" else (204, b"") if room == "bare" else {"allow": True}

    def subscribe(question):
        return {"allow": "hidden" not in question["topics"]}
    with Backend(join=join, subscribe=subscribe) as backend, \
            App("--hook-join", backend.url, "--hook-subscribe", backend.url) as server:
        client = server.client("/ws/u")
        client.in_room("open").in_room("bare")
        client.say("join_room", room="secret", id="x").expect_error("PERMISSION_DENIED", message="members only", id="x")
        client.say("join_room", room="closed").expect_error("PERMISSION_DENIED")
        equal(backend.asked[0], {"hook": "join", "user": "u", "authenticated": False, "address": "127.0.0.1",
                                 "room": "open"})
        # What the server refuses itself is asked of nobody.
        count = len(backend.asked)
        client.in_room("open").say("join_room", room="").expect_error("INVALID_FIELD")
        client.say("subscribe", topics=["room/1"]).expect_error("PERMISSION_DENIED")
        equal(len(backend.asked), count)
        client.say("subscribe", topics=["seen"]).expect("subscribed")
        client.say("subscribe", topics=["seen", "hidden"]).expect_error("PERMISSION_DENIED")
        server.post("publish", topic="hidden", data=1)
        client.say("history", topic="hidden").expect_error("PERMISSION_DENIED")
        client.say("history", topic="seen").expect("history")
        # The same holds for who has no WebSocket.
        equal(poll(server, "hidden")[0], 403)
        equal(poll(server, "seen?wait=0")[0], 200)
        equal(poll(server, "seen?since=0&wait=0")[0], 204)
        Stream(server, "/sse/hidden").expect("error", code="PERMISSION_DENIED")
        stream = Stream(server, "/sse/seen")
        stream.expect("subscribed")
        waiting = []
        waiter = threading.Thread(target=lambda: waiting.append(poll(server, "seen?since=0")[1]["messages"][0]["data"]))
        waiter.start()
        until(lambda: server.figures()["subscriptions"] >= 3, "the poll that waits")
        server.post("publish", topic="seen", data=2)
        stream.expect("update", data=2)
        client.expect("update", data=2)
        waiter.join()
        equal(waiting, [2])


def test_plain_connect():
    with Backend(connect=session, subscribe={"allow": True}) as backend, \
            App("--hook-connect", backend.url, "--hook-subscribe", backend.url) as server:
        own = "Cookie: session=a\r\nSec-Fetch-Site: same-origin\r\n"
        bad = "Cookie: session=bad\r\nSec-Fetch-Site: same-origin\r\n"
        equal(poll(server, "t?wait=0", own)[0], 200)
        equal([question["hook"] for question in backend.asked], ["connect", "subscribe"])
        equal(backend.asked[1]["user"], "a")
        equal(poll(server, "t", bad)[:2], (401, {"error": "no such session"}))
        equal(poll(server, "t")[0], 401)
        Stream(server, "/sse/t", headers=own).expect("subscribed")
        Stream(server, "/sse/t", headers=bad).expect("error", code="AUTH_FAILED", message="no such session")


# ---- messages ----

def test_messages():
    def judge(question):
        content = question["message"].get("content")
        if content == "bad":
            return {"allow": False, "message": "mind your words"}
        if content == "swap":
            return {"content": "swapped"}
        if content == "slow":
            time.sleep(0.3)
        return {"allow": True}
    with Backend(message=judge) as backend, App("--hook-message", backend.url, "--types", "stock") as server:
        one, other = server.clients("one", "other")
        one.in_room("r")
        other.in_room("r")
        one.expect("user_joined")
        one.say("stock", room="r", price=3).say("stock", room="r", content="bad", id="s")
        other.expect("stock", price=3)
        one.expect_error("PERMISSION_DENIED", id="s")
        equal([question["message"]["type"] for question in backend.asked], ["stock", "stock"])
        backend.asked.clear()
        one.say("room_message", room="r", content="hello", id=7)
        other.expect("room_message", content="hello", ref=7)
        one.expect("status", id=7)
        equal(backend.asked[0]["message"], {"type": "room_message", "room": "r", "content": "hello", "id": 7})
        one.say("room_message", room="r", content="bad", id=8)
        one.expect_error("PERMISSION_DENIED", message="mind your words", id=8)
        one.say("direct", to="other", content="swap")
        other.expect("direct", content="swapped")
        # DATA is asked about as what it holds, and is refused and not acknowledged, or else once.
        one.say("DATA", id="d1", data={"type": "room_message", "room": "r", "content": "swap"})
        other.expect("room_message", content="swapped")
        one.expect("ACK")
        one.say("DATA", id="d2", data={"type": "room_message", "room": "r", "content": "bad"})
        one.expect_error("PERMISSION_DENIED", id="d2")
        # While one waits, all behind it do, the rest of its batch first.
        one.say("batch", messages=[{"type": "room_message", "room": "r", "content": "a"},
                                   {"type": "room_message", "room": "r", "content": "slow"},
                                   {"type": "ping", "timestamp": 1},
                                   {"type": "room_message", "room": "r", "content": "b"}])
        one.say("ping", timestamp=2)
        one.say("room_message", room="r", content="c")
        for content in ("a", "slow", "b", "c"):
            other.expect("room_message", content=content)
        one.expect("pong", timestamp=1)
        one.expect("pong", timestamp=2)
        # Other connections do not wait.
        one.say("room_message", room="r", content="slow")
        begin = time.monotonic()
        other.say("ping", timestamp=3).expect("pong", timestamp=3)
        assert time.monotonic() - begin < 0.25 * SLOW
        other.expect("room_message", content="slow")
        # Not a member: nobody is asked.
        count = len(backend.asked)
        one.say("room_message", room="elsewhere", content="x").expect_error("NOT_A_MEMBER")
        equal(len(backend.asked), count)


def speak(server, body, path="/send", headers="", limit=20):
    data = json.dumps(body).encode()
    with Raw(server, limit=limit) as raw:
        raw.send(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {len(data)}\r\n\r\n"
                 .encode() + data)
        status, _, answer = raw.response()
    return status, json.loads(answer) if answer.startswith(b"{") else answer


def test_sending_by_http():
    """POST /send asks as a WebSocket does: about each message, and about a room that its user is not in."""
    def judge(question):
        content = question["message"].get("content")
        if content == "bad":
            return {"allow": False, "message": "mind your words"}
        if content == "slow":
            time.sleep(0.3)
        return {"content": "swapped"} if content == "swap" else {"allow": True}

    def door(question):
        return {"allow": question["room"] != "closed" or question["user"] == "member", "message": "this room is closed"}
    with Backend(message=judge, join=door) as backend, App("--hook-message", backend.url, "--hook-join", backend.url) as server:
        other = server.client("/ws/other").in_room("r")
        member = server.client("/ws/member").in_room("closed")
        backend.asked.clear()
        status, answer = speak(server, {"type": "room_message", "room": "r", "content": "swap", "id": 1}, "/send/one")
        equal((status, answer["messages"][0]["status"]), (200, "accepted"), answer)
        other.expect("room_message", **{"from": "one", "content": "swapped"})
        equal([(question["hook"], question["user"]) for question in backend.asked], [("join", "one"), ("message", "one")])
        equal(backend.asked[0]["room"], "r")
        # A room that is not open to it: nobody hears of that, and it is not asked about the message.
        backend.asked.clear()
        status, answer = speak(server, {"type": "room_message", "room": "closed", "content": "x", "id": 2}, "/send/one")
        equal((status, answer["code"], answer["error"]), (403, "PERMISSION_DENIED", "this room is closed"))
        equal([question["hook"] for question in backend.asked], ["join"])
        # Who is in it already is not asked whether it may be.
        equal(speak(server, {"type": "room_message", "room": "closed", "content": "x"}, "/send/member")[0], 200)
        member.expect("room_message", content="x")
        equal([question["hook"] for question in backend.asked], ["join", "message"])
        # One after the other, and all of them are in the answer.
        status, answer = speak(server, [{"type": "direct", "to": "other", "content": content, "id": content}
                                        for content in ("slow", "bad", "swap")], "/send/one")
        equal((status, answer["error"]), (403, "mind your words"))
        equal([(message["id"], message.get("status")) for message in answer["messages"]],
              [("slow", "delivered"), ("bad", "failed"), ("swap", "delivered")])
        other.expect("direct", content="slow")
        other.expect("direct", content="swapped")
        equal(speak(server, {"type": "room_message", "room": "nobody", "content": 1}, "/send/one")[0], 404)
        until(lambda: server.figures()["connectedClients"] == 2, "who spoke is gone")
        other.settle()
        # Who goes while it waits leaves nothing behind.
        with Raw(server) as raw:
            raw.send(b"POST /send/one HTTP/1.1\r\nHost: localhost\r\nContent-Length: 47\r\n\r\n"
                     b'{"type":"direct","to":"other","content":"slow"}')
            until(lambda: server.figures()["connectedClients"] == 3, "it waits")
        until(lambda: server.figures()["connectedClients"] == 2, "it is gone")
        equal(server.api("presence?user=one")[1]["count"], 0)


def test_history_by_http():
    with Backend(subscribe={"allow": False, "message": "not for you"}) as backend, \
            App("--hook-subscribe", backend.url) as server:
        status, answer = speak(server, {"type": "history", "topic": "t"}, "/send/one")
        equal((status, answer["error"]), (403, "not for you"))
        equal(speak(server, {"type": "ping"}, "/send/one")[0], 200)


def test_who_sends_by_http():
    """Nobody speaks in a name that the backend did not give it."""
    def known(question):
        name = question["headers"].get("authorization", "")[7:]
        time.sleep(0.1 if name == "slow" else 0)
        return {"user": name} if name and name != "bad" else (401, {"message": "no such session"})
    with Backend(connect=known) as backend, App("--hook-connect", backend.url) as server:
        other = server.client("/ws", Authorization="Bearer other")
        for name in "alice", "slow":
            equal(speak(server, {"type": "direct", "to": "other", "content": 1}, headers=f"Authorization: Bearer {name}\r\n")[0], 200)
            other.expect("direct", **{"from": name})
        equal(speak(server, {"type": "direct", "to": "other", "content": 1}, "/send/alice")[0], 401)
        equal(speak(server, {"type": "ping"}, "/send/alice", "Authorization: Bearer slow\r\n")[0], 403)
        equal(speak(server, {"type": "ping"}, headers="Authorization: Bearer bad\r\n"), (401, {"error": "no such session"}))
        other.settle()
    with Backend(message={"allow": True}) as backend, App("--hook-message", backend.url, "--hook-timeout", "200ms") as server:
        backend.close()
        status, answer = speak(server, {"type": "direct", "to": "other", "content": 1}, "/send/one")
        equal((status, answer["code"]), (503, "TRY_LATER"))


def test_polls_ask():
    """A user who polls joins as the backend says, and his polls are asked about as any."""
    with Backend(join=lambda question: {"allow": question["room"] == "r", "message": "not here"}) as backend, \
            App("--hook-join", backend.url) as server:
        page = json.loads(server.get("/poll?me=1&user=bob&rooms=r,s")[2])
        heard = page["messages"]

        def more():
            nonlocal page
            status, _, body = server.get(f"/poll?session={page['session']}&wait=1")
            if status == 200:
                page = json.loads(body)
                heard.extend(page["messages"])
            return len(heard) == 2
        until(more, "both answers")
        equal([(message["type"], message.get("room"), message.get("message")) for message in heard],
              [("room_joined", "r", None), ("error", None, "not here")])


def test_bound_of_what_waits():
    free = threading.Event()

    def wait(question):
        free.wait(3)
        return {"allow": True}
    with Backend(message=wait) as backend, App("--hook-message", backend.url) as server:
        one, other = server.clients("one", "other")
        other.in_room("r")
        one.in_room("r")
        other.expect("user_joined")
        one.say("room_message", room="r", content="first")
        for number in range(70):
            one.say("ping", timestamp=number, id=number)
        for number in range(64, 70):
            one.expect_error("TRY_LATER", id=number)
        free.set()
        for number in range(64):
            one.expect("pong", timestamp=number)
        other.expect("room_message", content="first")
        one.settle()


# ---- what a backend does wrong ----

def test_wrong_answers():
    with Backend(message=b"{") as backend, App("--hook-message", backend.url, "--hook-timeout", "400ms") as server:
        one, other = server.clients("one", "other")
        one.in_room("r")
        other.in_room("r")
        one.expect("user_joined")

        def say(answer):
            backend.answers["message"] = answer
            one.say("room_message", room="r", content="x")
        for answer in (b"{", b"[]", b"{}", {"allow": 1}, {"allow": "yes"}, (500, {"allow": True}), (404, {}), (302, {}),
                       (307, {"allow": True}), {"allow": True, "more": "x" * 70000}, b'{"allow":true}' + b" " * 70000,
                       lambda question: time.sleep(0.7) or {"allow": True}):
            say(answer)
            one.expect_error("TRY_LATER", message="The application does not answer")
        equal(set(backend.paths), {"/hook"}, "no redirect is followed")
        assert "no answer" in server.get("/healthz")[2].decode()
        metrics = server.get("/metrics")[2].decode()
        assert 'ringcast_app_hook_answers_total{hook="message",verdict="away"} 12' in metrics
        assert 'ringcast_app_hook_away{hook="message"} 1' in metrics
        lines = [line for line in server.errors if "hook-message has no answer" in line]
        equal(len(lines), 1, "the log says it once in a while")
        say({"allow": True})
        other.expect("room_message")
        equal(server.get("/healthz")[2].decode(), "ok\n")


def test_nobody_there():
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    url = f"http://127.0.0.1:{port}/hook"
    with App("--hook-connect", url, "--hook-join", url) as server:
        equal(refused(server, 1013), "The application does not answer")
        # Meanwhile nobody is made to wait; and when it is back, it is asked again.
        status, _, body = Raw(server), None, None
        status.send(status.request("/ws"))
        equal(status.response()[0], 503)
        with Backend(port, connect={"user": "a"}, join={"allow": True}):
            def comes_in():
                client = Raw(server)
                client.send(client.request("/ws"))
                if client.response()[0] != 101 or client.receive()[0] == CLOSE:
                    return False
                return True
            until(comes_in, "the backend is asked again")
    with App("--hook-connect", url, "--hook-join", url, "--hook-away", "allow") as server:
        client = server.client()
        equal(client.welcome["userId"], client.welcome["clientId"])
        client.in_room("r")
        # Nobody can say that it is this user.
        with Raw(server) as raw:
            raw.send(raw.request("/ws/alice"))
            equal(raw.response()[0], 503)
        metrics = server.get("/metrics")[2].decode()
        assert 'ringcast_app_hook_answers_total{hook="join",verdict="let_through"} 1' in metrics


def test_all_that_is_amiss_is_said():
    """A backend without answers and an engine that is away: each has its line, and the server lives."""
    if not re.search(r"^backplane redis +yes", command("probe").stdout.decode(), re.M):
        raise Skip("this build has no Redis")
    with App("--hook-connect", "http://127.0.0.1:1/", "--backplane", "redis://127.0.0.1:1", "--backplane-wait", "1ms") as server:
        def lines():
            with Raw(server) as raw:
                raw.send(raw.request("/ws"))
                raw.response()
            return server.get("/healthz")[2].decode().splitlines()
        until(lambda: len(lines()) == 2, "two lines")
        degraded, hook = lines()
        assert degraded.startswith("degraded: the backplane is away: ") and hook.startswith("hook-connect: no answer"), (degraded, hook)


# ---- what is kept ----

def test_kept():
    with Backend(connect={"user": "a", "keep": 60}, join={"allow": False, "keep": 0.3 * SLOW, "message": "no"}) as backend, \
            App("--hook-connect", backend.url, "--hook-join", backend.url, "--hook-cache", "2") as server:
        for _ in range(5):
            client = enter(server, "a")
            client.say("join_room", room="r").expect_error("PERMISSION_DENIED", message="no")
        equal((len(backend.of("connect")), len(backend.of("join"))), (1, 1))
        time.sleep(0.4 * SLOW)
        client.say("join_room", room="r").expect_error("PERMISSION_DENIED")
        equal(len(backend.of("join")), 2)
        # Another cookie is another question; the oldest answer made room.
        for name in "bcd":
            enter(server, name)
        equal(len(backend.of("connect")), 4)
        enter(server, "a")
        equal(len(backend.of("connect")), 5)
        # A refusal that is kept is told before the connection opens.
        backend.answers["connect"] = (401, {"keep": 60, "message": "who?"})
        equal(refused(server, 3401, Cookie="session=z"), "who?")
        with Raw(server) as raw:
            raw.send(raw.request("/ws", Cookie="session=z"))
            equal(raw.response()[::2], (401, b'{"error":"who?"}'))


# ---- strangers ----

def test_bad_sessions_beside_honest_users():
    """One address asks with bad sessions that the backend is slow to refuse: others come in as fast as ever."""
    def answer(question):
        if question["headers"].get("cookie") == "session=bad":
            time.sleep(1)
            return 401, {}
        return {"user": "honest"}
    with Backend(connect=answer) as backend, \
            App("--hook-connect", backend.url, "--hook-calls", "4", "--hook-queue", "40", "--trust-proxy", "127.0.0.1",
                "--hook-timeout", "5s", "--requests-per-second", "0") as server:
        bad, statuses = [], []
        for _ in range(30):
            client = Raw(server)
            client.send(client.request("/ws", Cookie="session=bad", X_Forwarded_For="192.0.2.1"))
            statuses.append(client.response()[0])
            bad.append(client)
        assert 10 <= statuses.count(101) <= 12, f"two of four calls, a quarter of the queue, and no more: {statuses}"
        until(lambda: len(backend.asked) == 2, "the attacker's calls")
        begin = time.monotonic()
        for number in range(20):
            client = enter_from(server, f"198.51.100.{number}")
            equal(client.welcome["userId"], "honest")
        took = time.monotonic() - begin
        assert took < 0.8 * SLOW, f"honest users waited {took:.2f} s"
        running = sum(1 for question in backend.asked if question["address"] == "192.0.2.1")
        assert running <= 4 * SLOW, f"{running} calls for one address"
        bad[0].expect_close(3401)


def enter_from(server, address):
    return server.client("/ws", X_Forwarded_For=address, Cookie="session=good")


def test_questions_cost():
    """Each question costs a unit; who has none left is told so, and the backend is not asked."""
    with Backend(join={"allow": True}) as backend, \
            App("--hook-join", backend.url, "--messages-per-second", "1", "--burst", "10", limits=True) as server:
        client = server.client("/ws/u")
        for number in range(5):
            client.in_room(f"r{number}")
        client.say("join_room", room="r5").expect_error("RATE_LIMIT_EXCEEDED")
        equal(len(backend.asked), 5)


# ---- TLS, settings ----

def test_tls():
    with tempfile.TemporaryDirectory() as folder:
        pem, key = os.path.join(folder, "pem"), os.path.join(folder, "key")
        made = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                               "-days", "1", "-subj", "/CN=backend", "-addext", "subjectAltName=IP:127.0.0.1",
                               "-keyout", key, "-out", pem], capture_output=True, check=False)
        if made.returncode:
            raise Skip("no openssl")
        with Backend(connect={"user": "a"}, tls=(pem, key)) as backend:
            with App("--hook-connect", backend.url, "--hook-ca", pem) as server:
                equal(server.client().welcome["userId"], "a")
            with App("--hook-connect", backend.url) as server:
                equal(refused(server, 1013), "The application does not answer")
                equal(backend.asked[1:], [])


def test_settings():
    from harness import command

    def says(words, *flags):
        done = command("app", *flags)
        assert done.returncode and words in done.stderr.decode(), done.stderr
    says("expected http://", "--hook-connect", "ftp://x/")
    says("expected http://", "--hook-join", "no url")
    says("at least 16 bytes", "--hook-join", "http://h/", "--hook-secret", "short")
    says("has no effect without", "--hook-secret", SHOWN)
    says("leave one of them out", "--hook-connect", "http://h/", "--auth", "off")
    says("No such file", "--hook-join", "http://h/", "--hook-secret-file", "/none")
    says("No such file", "--hook-join", "http://h/", "--hook-ca", "/none")
    says("must not be 0", "--hook-join", "http://h/", "--hook-calls", "0")
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file, tempfile.NamedTemporaryFile("w") as secret:
        secret.write(SHOWN + "\n")
        secret.flush()
        file.write(f"hook-message = http://127.0.0.1:9/\nhook-connect = http://127.0.0.1:9/\n"
                   f"hook-secret-file = {secret.name}\n")
        file.flush()
        done = command("config", "check", file.name)
        equal(done.returncode, 0, done.stderr)
        assert b"whom http://127.0.0.1:9/ knows" in done.stdout, done.stdout


if __name__ == "__main__":
    run(globals())
