# SPDX-License-Identifier: MIT
"""Messages of one's own types, what passes, who is left out, what a sender is told, and the shapes of tutorials."""
import json
import subprocess
import time

from app import App, Client, equal, until
from backend import Backend
from harness import PROGRAM, run

BROADCASTERS = ("--permissions", "read,write,broadcast")


def pair(server, room="r"):
    """Two users in a room, of whom each has heard all there was."""
    a = server.client("/ws/a").in_room(room)
    b = server.client("/ws/b").in_room(room)
    a.expect("user_joined")
    return a, b


# ---- types of one's own ----


def test_own_types_go_as_they_were_sent():
    with App("--types", "typing, stock_*", *BROADCASTERS) as server:
        a, b = pair(server)
        c = server.client("/ws/c")
        sent = {"type": "stock_price", "room": "r", "symbol": "X", "price": 1.25, "deep": {"a": [1, None, True, "\u20ac"]}}
        a.text(json.dumps(sent))
        equal(b.hear(), {**sent, "from": "a"})
        # To a user, and with both a user and a room to the user alone.
        a.text(json.dumps({"type": "typing", "to": "c", "room": "r"}))
        equal(c.hear(), {"type": "typing", "to": "c", "room": "r", "from": "a"})
        # To everybody.
        a.text(json.dumps({"type": "stock_open"}))
        for client in (a, b, c):
            equal(client.hear(), {"type": "stock_open", "from": "a"})
        b.settle()
        # It waits for who is away, and stands in the history of the room.
        a.text(json.dumps({"type": "typing", "to": "later", "n": 1}))
        a.settle()
        equal(server.client("/ws/later").hear(), {"type": "typing", "to": "later", "n": 1, "from": "a"})
        equal(a.say("history", room="r").expect("history")["messages"], [{**sent, "from": "a"}])


def test_own_types_cannot_lie():
    """Who says it is the server's to tell; and what only the server says, no client says."""
    with App("--types", "*", *BROADCASTERS) as server:
        a, b = pair(server)
        a.say("own", room="r", **{"from": "admin"})
        equal(b.hear(), {"type": "own", "room": "r", "from": "a"})
        for type_ in ("welcome", "user_joined", "user_left", "update", "auth_expired", "going_away", "error", "status"):
            a.say(type_, room="r", id="i").expect_error("UNKNOWN_TYPE", id="i")
        a.say("x" * 65, room="r").expect_error("UNKNOWN_TYPE")
        a.say("", room="r").expect_error("UNKNOWN_TYPE")
        a.say("a\x00b", room="r").expect_error("UNKNOWN_TYPE")
        a.say("own", room="s").expect_error("NOT_A_MEMBER")
        a.say("own", room=5).expect_error("INVALID_FIELD")
        a.say("own", to="").expect_error("INVALID_FIELD")
        b.settle()


def test_own_types_need_to_be_allowed():
    with App() as server:
        a, b = pair(server)
        a.say("typing", room="r", id=1).expect_error("UNKNOWN_TYPE", id=1)
        b.settle()
    with App("--types", "typing") as server:
        a, b = pair(server)
        a.say("typist", room="r").expect_error("UNKNOWN_TYPE")
        a.say("typing").expect_error("PERMISSION_DENIED")  # to everybody
        b.settle()
    with App("--types", "typing", "--permissions", "read") as server:
        a, b = pair(server)
        a.say("typing", room="r").expect_error("PERMISSION_DENIED")
        b.settle()


def test_own_types_have_a_bound_and_a_price():
    with App("--types", "*") as server:
        a, b = pair(server)
        around = len(json.dumps({"type": "own", "room": "r", "x": "", "from": "a"}, separators=(",", ":")))
        a.say("own", room="r", x="\u20ac" * (2024 - around))
        b.expect("own")
        a.say("own", room="r", x="\u20ac" * (2025 - around), id=1).expect_error("TOO_LONG", id=1)
    with App("--types", "*", "--messages-per-second", "1", "--burst", "5", limits=True) as server:
        a, b = pair(server)
        for number in range(6):
            a.say("own", room="r", n=number, id=number)
        answers = [a.hear() for _ in range(6)]
        refused = [m["id"] for m in answers if m.get("code") == "RATE_LIMIT_EXCEEDED"]
        assert 1 <= len(refused) <= 3 and refused == sorted(refused) and refused[-1] == 5, answers


def test_wrong_lists_are_refused():
    for flag in ("--types", "--ephemeral"):
        for wrong in ("", ",", "a,,b", "a,"):
            done = subprocess.run([PROGRAM, "app", flag, wrong], capture_output=True, text=True, timeout=10)
            equal(done.returncode, 1, f"{flag} {wrong!r}")
            assert "expected names" in done.stderr, done.stderr


def test_own_types_are_asked_about():
    """A backend that decides about messages decides about these, too, under whatever name their content goes."""
    def judge(question):
        message = question["message"]
        said = message.get("message") or message.get("content") or message.get("symbol")
        if said == "bad":
            return {"allow": False, "message": "no"}
        return {"allow": True, "content": "better"} if said == "good" else {"allow": True}

    with Backend(message=judge) as backend, \
            App("--types", "*", "--hook-message", backend.url, "--permissions", "read,write,broadcast") as server:
        a, b = pair(server)
        for type_, field in (("chat", "message"), ("room_message", "message"), ("stock", "symbol")):
            a.say(type_, room="r", id=1, **{field: "bad"}).expect_error("PERMISSION_DENIED", id=1, message="no")
        a.say("DATA", id="d", data={"type": "chat", "room": "r", "message": "bad"}).expect_error("PERMISSION_DENIED", id="d")
        a.say("stock", symbol="bad").expect_error("PERMISSION_DENIED")
        a.say("chat", room="r", message="good")
        b.expect("chat", content="better")
        a.say("stock", room="r", symbol="X")
        b.expect("stock", symbol="X")
        count = len(backend.asked)
        a.say("ping").expect("pong")
        a.say("stock", room="s").expect_error("NOT_A_MEMBER")
        a.say("leave_room", room="r").expect("room_left")
        equal(len(backend.asked), count, "what it is asked about")


# ---- from the application ----


def test_api_takes_whole_messages():
    with App() as server:
        a, b = pair(server)
        c = server.client("/ws/c")
        whole = {"type": "stock_price", "symbol": "X", "price": 2, "room": "r"}
        equal(server.post("rooms/r", **whole)["delivered"], 2)
        for client in (a, b):
            equal(client.hear(), whole)
        equal(server.post("send", to="c", type="notification", reliable=False, n=1), {"delivered": 1, "stored": False})
        equal(c.hear(), {"type": "notification", "to": "c", "n": 1})
        server.post("broadcast", type="system", message="soon")
        for client in (a, b, c):
            equal(client.hear(), {"type": "system", "message": "soon"})
        # A content alone is put into a message.
        answer = server.post("rooms/r", content="hello")
        for client in (a, b):
            client.expect("room_message", room="r", content="hello", id=answer["id"], **{"from": "server"})
        equal([m["type"] for m in a.say("history", room="r").expect("history")["messages"]], ["stock_price", "room_message"])
        equal(server.post("rooms/nobody", content=1), {"ok": True, "delivered": 0})
        equal(server.post("rooms/%C3%A9t%C3%A9%2Fx", content=1)["delivered"], 0)
        for path, body in (("rooms/r", {}), ("rooms/", {"content": 1}), ("rooms/r", {"type": 5}), ("rooms/%0a", {"content": 1}),
                           ("rooms/" + "r" * 101, {"content": 1}), ("send", {"type": "x"}), ("broadcast", {"type": None}),
                           ("rooms/r", {"content": 1, "exclude": "a"}), ("broadcast", {"content": 1, "ephemeral": 1})):
            equal(server.api(path, body)[0], 400, f"{path} {body}")
    with App("--api-key", "k1" * 8) as server:
        equal(server.api("rooms/r", {"content": 1})[0], 401)


def test_reliable_whole_message():
    with App() as server:
        b = server.client("/ws/b?reliable=1")
        server.post("send", to="b", type="order", n=1, reliable=True)
        equal(b.expect("DATA")["data"], {"to": "b", "type": "order", "n": 1})


# ---- what passes ----


def test_passing_is_not_kept():
    with App("--types", "typing,cursor", "--ephemeral", "typing") as server:
        a, b = pair(server)
        for number in range(3):
            a.say("typing", room="r", n=number)
            equal(b.hear(), {"type": "typing", "room": "r", "n": number, "from": "a"})
        a.say("cursor", room="r", x=1, ephemeral=True)
        b.expect("cursor", x=1, ephemeral=True)
        a.say("room_message", room="r", content="seen", ephemeral=True)
        b.expect("room_message", content="seen", ephemeral=True)
        a.say("typing", room="r", n="kept", ephemeral=False)  # what the message says counts
        b.expect("typing", n="kept")
        equal([m["n"] for m in a.say("history", room="r").expect("history")["messages"]], ["kept"])
        # Who comes later hears what comes from then on.
        c = server.client("/ws/c").in_room("r")
        for client in (a, b):
            client.expect("user_joined")
        b.say("typing", room="r", n=4)
        for client in (a, c):
            client.expect("typing", n=4)
        # Nothing waits for who is away; who is there hears it on all devices.
        a.say("typing", to="d").say("direct", to="d", content=1, ephemeral=True).settle()
        d = server.client("/ws/d").settle()
        a.say("typing", to="d", n=5)
        d.expect("typing", n=5)
        second = server.client("/ws/d")
        a.say("typing", to="d", n=6)
        for device in (d, second):
            device.expect("typing", n=6)
        c.say("leave_room", room="r").expect("room_left")
        b.expect("user_left")
        a.expect("user_left")
        a.say("typing", room="r", n=7)
        b.expect("typing", n=7)
        c.settle()
        a.say("typing", room="r", ephemeral=1).expect_error("INVALID_FIELD")


def test_passing_to_everybody():
    with App("--types", "presence", "--ephemeral", "pres*", *BROADCASTERS, workers=2) as server:
        clients = [server.client(f"/ws/u{n}") for n in range(5)]
        for number in range(3):
            clients[0].say("presence", n=number)
            for client in clients[1:]:
                client.expect("presence", n=number)
        late = server.client("/ws/late")
        clients[0].settle()
        server.post("broadcast", type="presence", n=9)
        for client in clients + [late]:
            client.expect("presence", n=9)


def test_passing_from_the_application():
    with App("--ephemeral", "price") as server:
        a, b = pair(server)
        equal(server.post("rooms/r", type="price", n=1)["delivered"], 2)
        equal(server.post("send", to="a", type="price", n=2), {"ok": True, "delivered": 1})
        equal(server.post("send", to="nobody", type="price", n=2)["delivered"], 0)
        a.expect("price", n=1)
        a.expect("price", n=2)
        b.expect("price", n=1)
        server.client("/ws/nobody").settle()
        a.say("history", room="r").expect("history", messages=[])


def test_passing_is_conflated_for_a_slow_reader():
    """It is not closed, has nothing queued, and in the end has the newest of each sender and type."""
    filler, rounds = "." * 1000, 4000
    with App("--types", "cursor,typing", "--ephemeral", "cursor,typing", "--log-size", "4m") as server:  # it is overrun, too
        stalled = Client(server, receive_buffer=4096).join_in("/ws/stalled").in_room("r")
        senders = [server.client(f"/ws/s{n}").in_room("r") for n in range(3)]
        for number in range(rounds):
            for n, sender in enumerate(senders):
                sender.say(("cursor", "typing")[number % 2 if n else 0], room="r", n=number, filler=filler)
                if number % 50 == 0:  # no worker is to be a whole log behind
                    sender.settle_after("user_joined", "cursor", "typing")
        for sender in senders:
            sender.settle_after("user_joined", "cursor", "typing")
        until(lambda: server.stats()["conflated"] > 0, "conflation")
        newest = {}
        wanted = {("s0", "cursor"): rounds - 1, ("s1", "cursor"): rounds - 2, ("s1", "typing"): rounds - 1,
                  ("s2", "cursor"): rounds - 2, ("s2", "typing"): rounds - 1}
        while newest != wanted:
            message = stalled.hear()
            if message["type"] == "user_joined":
                continue
            key = (message["from"], message["type"])
            assert message["n"] > newest.get(key, -1), "order of each"
            newest[key] = message["n"]
        stalled.settle()
        equal(server.stats()["slow_closed"], 0)


def test_passing_in_batches():
    """A client that asked for batches gets the newest of each in each."""
    with App("--types", "cursor", "--ephemeral", "cursor") as server:
        a, b = pair(server)
        b.say("batching", count=10, delay=400).expect("batching")
        for number in range(50):
            a.say("cursor", room="r", n=number)
        a.settle()
        heard = []
        while not heard or heard[-1] != 49:
            heard += [m["n"] for m in b.expect("batch")["messages"]]
        assert len(heard) <= 3 and heard == sorted(heard), heard


def test_types_that_pass_are_bounded():
    with App("--types", "*", "--ephemeral", "*") as server:
        a, b = pair(server)
        for number in range(32):
            a.say(f"t{number}", room="r")
            b.expect(f"t{number}")
        a.say("t32", room="r", id="i").expect_error("TOO_MANY_TYPES", id="i")
        a.say("t31", room="r", n=1)
        b.expect("t31", n=1)


def test_passing_leaves_nothing_behind():
    """Neither keys nor topics stay when what passed has left the log."""
    with App("--types", "*", "--ephemeral", "*", "--log-size", "64k") as server:
        for round_ in range(5):
            a, b = server.client(f"/ws/a{round_}").in_room(f"r{round_}"), server.client(f"/ws/b{round_}").in_room(f"r{round_}")
            a.expect("user_joined")
            for number in range(20):
                a.say(f"t{number}", room=f"r{round_}")
                b.expect(f"t{number}")
            a.close()
            b.expect("user_left")
            b.close()
        for number in range(400):
            server.post("publish", topic="f", data="x" * 500)
        equal(server.stats()["keys"], 0)
        until(lambda: server.stats()["topics"] <= 2, "topics end")


# ---- who is left out ----


def test_exclude():
    with App("--types", "own", *BROADCASTERS, workers=2) as server:
        users = {name: server.client("/ws/" + name).in_room("r") for name in "abcd"}
        for name, client in users.items():
            for later in "abcd"["abcd".index(name) + 1:]:
                client.expect("user_joined", userId=later)
        a, b, c, d = users.values()
        a.say("room_message", room="r", content="not for b", exclude=["b", "nobody"], id="i")
        for client in (c, d):
            client.expect("room_message", content="not for b", ref="i")
        a.expect("status", id="i", status="accepted", count=2)
        a.say("own", room="r", n=1, exclude=["c"])
        for client in (b, d):
            equal(client.hear(), {"type": "own", "room": "r", "n": 1, "from": "a"})
        a.say("broadcast", content="all but d", exclude=["d"])
        for client in (a, b, c):
            client.expect("broadcast", content="all but d")
        equal(server.post("rooms/r", content=5, exclude=["a", "b"])["delivered"], 2)
        for client in (c, d):
            client.expect("room_message", content=5)
        equal(server.post("broadcast", type="x", exclude=["a", "b", "c"])["delivered"], 1)
        equal(d.hear(), {"type": "x"})
        for client in users.values():
            client.settle()
        # Not in the history, which all may read.
        a.say("history", room="r").expect("history", messages=[])
        for wrong in ("b", [5], [""], ["x"] * 33, {"a": 1}):
            a.say("room_message", room="r", content=1, exclude=wrong).expect_error("INVALID_FIELD")


def test_exclude_costs_more():
    """To each by itself: a unit for each ten connections, instead of each hundred."""
    with App("--messages-per-second", "1", "--burst", "60", limits=True) as server:
        a = server.client("/ws/a").in_room("r")
        others = [server.client(f"/ws/u{n}").in_room("r") for n in range(29)]
        for _ in range(22):
            a.say("room_message", room="r", content=1, exclude=["b"])
        heard = []
        a.say("ping", timestamp="end")
        while len(heard) < 1 or heard[-1]["type"] not in ("pong", "error"):
            heard.append(a.hear())
        equal(heard[-1].get("code"), "RATE_LIMIT_EXCEEDED", "after 60 units, of which each took 4")
        others[0].settle_after("user_joined", "room_message")


# ---- what the sender is told ----


def test_status():
    with App("--types", "own", *BROADCASTERS) as server:
        a, b = pair(server)
        a.say("room_message", room="r", content=1, id="m")
        message = b.expect("room_message", ref="m")
        a.expect("status", id="m", status="accepted", count=1, messageId=message["id"])
        a.say("direct", to="b", content=1, id=5).expect("status", id=5, status="delivered", count=1)
        a.say("direct", to="away", content=1, id=6).expect("status", id=6, status="stored", count=0)
        a.say("own", room="r", id=7).expect("status", id=7, status="accepted", count=1)
        a.say("broadcast", content=1, id=8)
        equal(sorted(a.hear()["type"] for _ in range(2)), ["broadcast", "status"])
        a.say("room_message", room="s", content=1, id=9).expect_error("NOT_A_MEMBER", id=9, status="failed")
        # Who gave no id is told nothing.
        a.say("room_message", room="r", content=1).say("direct", to="b", content=1).settle()
    with App("--store-count", "0") as server:
        server.client("/ws/a").say("direct", to="b", content=1, id=1).expect_error("NOT_DELIVERED", id=1, status="failed")


def test_rate_limit_carries_the_id():
    with App("--messages-per-second", "1", "--burst", "1", "--flood", "1000", limits=True) as server:
        a = server.client("/ws/a")
        a.say("ping").expect("pong")
        for text, id_ in (('{"type":"ping","id":"x"}', "x"), ('{"id":-12,"type":"ping"}', -12),
                          ('{"a":{"id":"no"},"b":["id"],"id" : "yes" }', "yes"), ('{"type":"id","x":1}', None),
                          ('{"id":{"id":1}}', None), ('{"id":"' + "x" * 129 + '"}', None), ('{"id":"a\\"b"}', None),
                          ('["id","x"]', None), ('{"x":"\\"id\\":5","id":1.5}', None), ('{"id":123456789012345678901234567890}', None),
                          ("{" + " " * 1100 + '"id":1}', None), ('{"id"', None), ('{"id":', None), ('{"id":1', None), ('"', None)):
            a.text(text)
            error = a.expect_error("RATE_LIMIT_EXCEEDED")
            equal(error.get("id"), id_, text[:60])


def test_data_is_refused_by_its_id():
    """What is refused is not acknowledged, and may come again under the same id; then it is handled once."""
    with App() as server:
        a, b = server.clients("a", "b")
        inner = {"type": "room_message", "room": "r", "content": "once", "id": "inner"}
        a.say("DATA", id="d1", data=inner).expect_error("NOT_A_MEMBER", id="d1", status="failed")
        a.settle()
        a.in_room("r")
        b.in_room("r")
        a.expect("user_joined")
        for _ in range(2):
            ack = a.say("DATA", id="d1", data=inner).expect("ACK", id="d1", data={"messageId": "d1"})
            assert abs(ack["timestamp"] / 1000 - time.time()) < 60, ack
        b.expect("room_message", content="once")
        ack = a.say("DATA", id="d2", data=inner).expect("ACK", id="d2", status="accepted", count=1)
        a.say("DATA", id="d3", data={"type": "nonsense"}).expect_error("UNKNOWN_TYPE", id="d3")
        a.say("batch", messages=[{"type": "DATA", "id": "d4", "data": {"type": "join_room"}},
                                 {"type": "DATA", "id": "d5", "data": {"type": "DATA", "id": "d6", "data": {"type": "ping"}}}])
        a.expect_error("MISSING_FIELD", id="d4")
        a.expect_error("UNKNOWN_TYPE", id="d5")  # too deep; told once
        b.expect("room_message")
        a.settle()
        b.settle()


def test_reconnect_and_acks_of_tutorials():
    with App("--resend-time", "60s") as server:
        b = server.client("/ws/b?reliable=1")
        server.post("send", to="b", content=1)
        first = b.expect("DATA")
        b.say("RECONNECT", id="rc", data={"lastMessageId": "x"}).expect("ACK", id="rc")
        equal(b.expect("DATA")["id"], first["id"])
        b.say("ACK", id=first["id"]).settle()  # by its id alone
        b.say("RECONNECT").expect("ACK")
        b.settle()
        server.post("send", to="b", content=2)
        b.say("ACK", messageId=b.expect("DATA")["id"]).settle()
        b.say("RECONNECT").expect("ACK")
        b.settle()


# ---- the shapes of tutorials ----


def test_shapes():
    with App(*BROADCASTERS) as server:
        a, b = pair(server)
        a.say("chat", room="r", sender="someone else", message="hi", time=5, id="i")
        heard = b.expect("chat", room="r", sender="a", message="hi", ref="i", **{"from": "a"})
        assert abs(heard["time"] - time.time()) < 60 and abs(heard["timestamp"] / 1000 - heard["time"]) < 2 and heard["id"], heard
        a.expect("status", id="i", status="accepted", messageId=heard["id"])
        a.say("message", to="b", text="private")
        b.expect("message", to="b", text="private", sender="a")
        a.say("message", content="all")
        for client in (a, b):
            client.expect("message", content="all")
        a.say("room_message", room="r", message="as content")
        b.expect("room_message", content="as content")
        equal(len(a.say("history", room="r").expect("history")["messages"]), 2)
        a.say("system", message="I am the server").expect_error("PERMISSION_DENIED")
        for empty in ("", " \n\t", [], {}):
            a.say("room_message", room="r", content=empty, id=1).expect_error("INVALID_FIELD", id=1)
            a.say("chat", room="r", message=empty).expect_error("INVALID_FIELD")
        for content in (0, False, "x", [0]):
            a.say("room_message", room="r", content=content)
            b.expect("room_message", content=content)
        a.say("chat", room="r").expect_error("MISSING_FIELD")
        a.say("chat", room="r", message="x" * 1001).expect_error("TOO_LONG")
    with App("--permissions", "admin") as server:
        a, b = pair(server)
        a.say("system", room="r", message="back soon")
        b.expect("system", message="back soon")
    with App("--types", "chat") as server:  # named, it is one's own
        a, b = pair(server)
        a.say("chat", room="r", message="hi", sender="nick")
        equal(b.hear(), {"type": "chat", "room": "r", "message": "hi", "sender": "nick", "from": "a"})


# ---- sanitising ----


NASTY = (
    # sent, escaped, stripped
    ("plain \u20ac \U0001f600", "plain \u20ac \U0001f600", "plain \u20ac \U0001f600"),
    ("a < b && c > d", "a &lt; b &amp;&amp; c &gt; d", "a &lt; b && c &gt; d"),
    ("<b>bold</b>", "&lt;b&gt;bold&lt;/b&gt;", "bold"),
    ("<script>alert(1)</script>x", "&lt;script&gt;alert(1)&lt;/script&gt;x", "x"),
    ("<SCRIPT src=//e>a<b</SCRIPT >x", None, "x"),
    ("<scr<script>ipt>alert(1)</script>", None, "ipt&gt;alert(1)"),
    ("<<b>script>", None, "&lt;script&gt;"),
    ('<img src=x onerror="alert(\'>\')">y', None, "y"),
    ("<img src=x onerror=alert(1)//", None, ""),
    ('" onmouseover="alert(1)', "&quot; onmouseover=&quot;alert(1)", "&quot; onmouseover=&quot;alert(1)"),
    ("' x='", "&#39; x=&#39;", "&#39; x=&#39;"),
    ("&lt;script&gt;&#60;b&#62;", "&amp;lt;script&amp;gt;&amp;#60;b&amp;#62;", "&lt;script&gt;&#60;b&#62;"),
    ("a<!-- <b> -- > -->z", None, "az"),
    ("a<!-- open", None, "a"),
    ("<style>p{}</styl", None, ""),
    ("<?php x ?><!DOCTYPE a>b</p", None, "b"),
    ("1<2 <3 <", "1&lt;2 &lt;3 &lt;", "1&lt;2 &lt;3 &lt;"),
    ("<a\u20ac>\u20ac</a>", None, "\u20ac"),
    ("<svg/onload=alert(1)>", None, ""),
    ("\u00ff\u0000<b", None, "\u00ff\u0000"),
)


def test_sanitize():
    with App("--sanitize", "escape", "--types", "own", "--content-max", "5000", *BROADCASTERS) as escaping, \
            App("--sanitize", "strip", "--types", "own", "--content-max", "5000", *BROADCASTERS) as stripping:
        for which, server in ((1, escaping), (2, stripping)):
            a, b = pair(server)
            for row in NASTY:
                if row[which] is None:
                    continue
                a.say("room_message", room="r", content=row[0])
                b.expect("room_message", content=row[which])
            bold, clean = "<b>x</b>", ("&lt;b&gt;x&lt;/b&gt;", "x")[which - 1]
            a.say("room_message", room="r", content={"k": [bold, 1, {"<i>": bold, "i": None}]})
            b.expect("room_message", content={"k": [clean, 1, {"&lt;i&gt;": clean, "i": None}]})
            a.say("direct", to="b", content=bold)
            b.expect("direct", content=clean)
            a.say("chat", room="r", message=bold)
            b.expect("chat", message=clean)
            a.say("own", room="r", any=[bold], id=bold)
            b.expect("own", any=[clean], id=clean)
            a.expect("status", id=bold)
            a.say("broadcast", content=bold)
            for client in (a, b):
                client.expect("broadcast", content=clean)
            for message in b.say("history", room="r").expect("history")["messages"]:
                assert "<" not in json.dumps(message), message
            # The application is believed.
            server.post("rooms/r", content=bold)
            b.expect("room_message", content=bold)
    with App() as server:
        a, b = pair(server)
        a.say("room_message", room="r", content="<b>")
        b.expect("room_message", content="<b>")


def test_sanitize_is_linear():
    """64 KB of the worst is done in the time of any other."""
    with App("--sanitize", "strip", "--content-max", "100000", "--message-max", "128k") as server:
        a, b = pair(server)
        begin = time.monotonic()
        for unit in ("<", "<a", "<!--", "<script>", "<a b='", "</", "&", '"'):
            a.say("room_message", room="r", content="x" + unit * (60000 // len(unit)))
            assert b.expect("room_message")["content"].startswith("x")
        assert time.monotonic() - begin < 10, "too long"


run(globals())
