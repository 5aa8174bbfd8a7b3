# SPDX-License-Identifier: MIT
"""Messages of one's own types, what passes, who is left out, what a sender is told, and the shapes of tutorials."""
import json
import subprocess
import threading
import time

from app import SECRET, App, Client, equal, token, until
from backend import Backend
from harness import BINARY, CLOSE, PROGRAM, Raw, needs_pace, run

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
    needs_pace()
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
        for empty in ("", " \n\t"):
            a.say("room_message", room="r", content=empty, id=1).expect_error("INVALID_FIELD", id=1)
            a.say("chat", room="r", message=empty).expect_error("INVALID_FIELD")
        for content in (0, False, "x", [], {}, [""]):
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


# ---- in pieces ----


def partial(client, part, **more):
    return client.say("partial", part=part, room="r", id="p", **more)


def test_a_message_in_pieces():
    """Begin, pieces, end; who joins late gets what there is, and then each piece once; the history has it whole."""
    with App() as server:
        a, b = pair(server)
        partial(a, "begin").expect("status", id="p", status="accepted", count=1)
        b.expect("partial", part="begin", id="p", room="r", index=0, content="", **{"from": "a"})
        for number, piece in enumerate(("Once ", "upon\n", "\u20ac \"time\"")):
            partial(a, "piece", content=piece)
            b.expect("partial", part="piece", id="p", index=number + 1, content=piece)
        c = server.client("/ws/c").say("join_room", room="r")
        c.expect("room_joined")
        c.expect("partial", part="begin", id="p", index=3, content='Once upon\n\u20ac "time"', **{"from": "a"})
        for client in (a, b):
            client.expect("user_joined")
        a.say("history", room="r").expect("history", messages=[])
        partial(a, "piece", content=".")
        partial(a, "end", content="!").expect("status", id="p", status="accepted")
        whole = 'Once upon\n\u20ac "time".!'
        for client in (b, c):
            client.expect("partial", part="piece", index=4, content=".")
            message = client.expect("partial", part="end", id="p", content=whole)
            assert "incomplete" not in message, message
        equal(a.say("history", room="r").expect("history")["messages"], [message])
        d = server.client("/ws/d").in_room("r").settle()
        for client in (a, b, c):
            client.expect("user_joined", userId="d")
        partial(a, "piece", content="x").expect_error("INVALID_FIELD", id="p")
        # Another of the same id, and each sender has ids of its own.
        partial(a, "begin", content="2").expect("status")
        for client in (b, c, d):
            client.expect("partial", part="begin", content="2")
        partial(b, "end")
        b.expect_error("INVALID_FIELD")
        partial(a, "begin").expect_error("INVALID_FIELD", id="p")
        for wrong, code in (({"part": "x"}, "INVALID_FIELD"), ({"part": "piece"}, "MISSING_FIELD"), ({}, "MISSING_FIELD"),
                            ({"part": "piece", "content": 5}, "INVALID_FIELD"),
                            ({"part": "piece", "content": "x" * 1001}, "TOO_LONG"),
                            ({"part": "end", "room": "s"}, "NOT_A_MEMBER")):
            a.say("partial", **{"room": "r", "id": "p", **wrong}).expect_error(code)
        a.say("partial", part="begin", room="r").expect_error("MISSING_FIELD")


def test_pieces_end_with_their_sender():
    with App() as server:
        for leave in (lambda a: a.say("leave_room", room="r"), lambda a: a.socket.close(), lambda a: a.close()):
            a, b = pair(server)
            partial(a, "begin", content="so far")
            b.expect("partial", part="begin", content="so far")
            leave(a)
            b.expect("partial", part="end", content="so far", incomplete=True)
            b.expect("user_left")
            assert b.say("history", room="r").expect("history")["messages"][0]["incomplete"]
            c = server.client("/ws/c").in_room("r").settle()
            a.socket.close()
            for client in (b, c):
                client.close()
            until(lambda: server.figures()["activeRooms"] == 0, "the room ends")


def test_pieces_end_in_silence():
    with App("--partial-timeout", "200ms") as server:
        a, b = pair(server)
        partial(a, "begin", content="x").expect("status")
        b.expect("partial", part="begin")
        for _ in range(4):  # each piece puts the end off
            time.sleep(0.1)
            partial(a, "piece", content=".")
            b.expect("partial", part="piece")
        b.expect("partial", part="end", content="x....", incomplete=True)
        partial(a, "piece", content=".").expect_error("INVALID_FIELD")


def test_pieces_are_bounded():
    """Each message, each connection, each room and each address; and a bound that is reached ends what is too long."""
    with App("--content-max", "60000") as server:
        a, b = pair(server)
        a.say("partial", part="begin", room="r", id="long")
        a.expect("status")
        b.expect("partial")
        a.say("partial", part="piece", room="r", id="long", content="x" * 60000)
        b.expect("partial", part="piece")
        a.say("partial", part="piece", room="r", id="long", content="x" * 6000).expect_error("TOO_LONG", id="long")
        equal(len(b.expect("partial", part="end", incomplete=True)["content"]), 60000)
        for number in range(4):
            a.say("partial", part="begin", room="r", id=number).expect("status")
            b.expect("partial")
        a.say("partial", part="begin", room="r", id=5).expect_error("TOO_MANY_PARTIALS", id=5)
        others = [server.client(f"/ws/u{n}").say("join_room", room="r") for n in range(4)]
        for n, other in enumerate(others):
            for number in range(3):
                other.say("partial", part="begin", room="r", id=number)
        answers = []
        for other in others:
            other.say("ping", timestamp="end")
            while not answers or answers[-1]["type"] != "pong":
                answers.append(other.hear())
            answers.pop()
        equal(sum(m.get("code") == "TOO_MANY_PARTIALS" for m in answers), 0)
        other = server.client("/ws/v").say("join_room", room="r")
        other.say("partial", part="begin", room="r", id=1).say("ping", timestamp="end")
        while other.hear().get("code") != "TOO_MANY_PARTIALS":
            pass
    with App("--content-max", "60000", "--store-share", "1m") as server:
        # An address has a megabyte in all, whichever its connections and rooms.
        clients = [server.client(f"/ws/u{n}").in_room(f"r{n // 4}") for n in range(8)]
        refused = 0
        for n, client in enumerate(clients):
            for number in range(4):
                client.say("partial", part="begin", room=f"r{n // 4}", id=number, content="x" * 60000)
            client.say("ping", timestamp="end")
            while (message := client.hear())["type"] != "pong":
                refused += message.get("code") == "TRY_LATER" or message.get("code") == "TOO_MANY_PARTIALS"
        equal(32 - refused, (1 << 20) // 60512, "messages that were let begin")


def test_pieces_are_sanitized():
    with App("--sanitize", "strip") as server:
        a, b = pair(server)
        partial(a, "begin")
        partial(a, "piece", content="<scr")
        partial(a, "end", content="ipt>x")
        b.expect("partial", part="begin")
        b.expect("partial", part="piece", content="")
        b.expect("partial", part="end", content="ipt&gt;x")


def test_joining_while_it_is_said():
    """However the two fall together, who joins has each piece once."""
    count, joiners = 400, 12
    with App(workers=3) as server:
        a, b = pair(server)
        partial(a, "begin")
        wrong = []

        def join(n):
            try:
                time.sleep(n * 0.01)
                client = server.client(f"/ws/j{n}").say("join_room", room="r")
                text = None
                while True:
                    message = client.hear()
                    if message["type"] != "partial":
                        continue
                    if message["part"] == "end":
                        equal(text if text is not None else message["content"], message["content"], "what it put together")
                        return
                    text = message["content"] if message["part"] == "begin" else text + message["content"]
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=join, args=(n,)) for n in range(joiners)]
        for thread in threads:
            thread.start()
        for number in range(count):
            partial(a, "piece", content=f"{number},")
            time.sleep(0.0005)
        time.sleep(0.05)
        partial(a, "end")
        for thread in threads:
            thread.join()
        equal(wrong, [])


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
            # What a sender calls a message, a room or itself is shown as well.
            a.say("room_message", room="r", content=1, id=bold)
            b.expect("room_message", ref=clean)
            a.expect("status", id=bold)
            a.say("partial", part="begin", room="r", id=bold).expect("status", id=bold)
            b.expect("partial", id=clean)
            a.say("join_room", room=bold).expect_error("INVALID_FIELD")
            raw = Raw(server)
            raw.send(raw.request("/ws/%3Cb%3E"))
            equal(raw.response()[0], 400)
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


# ---- paths, subprotocols, and clients that speak no dialect ----


def agreed(server, path, *offered):
    raw = Raw(server)
    raw.send(raw.request(path, **({"Sec_WebSocket_Protocol": ", ".join(offered)} if offered else {})))
    status, headers, _ = raw.response()
    equal(status, 101, path)
    return headers.get("sec-websocket-protocol")


def test_protocols_of_ones_own():
    with App("--protocols", "chat, superchat") as server:
        for offered, chosen in (((), None), (("chat",), "chat"), (("superchat", "chat"), "superchat"), (("x", "chat"), "chat"),
                                (("x",), None), (("ringcast.json", "chat"), "ringcast.json"), (("chat", "ringcast.json"), "chat"),
                                (("chatter", "Chat"), None), ((",", "chat"), "chat")):
            equal(agreed(server, "/ws", *offered), chosen, offered)
        equal(agreed(server, "/echo", "chat"), "chat")
    for wrong in ("", "a,,b", "a b", "a/b", "\u20ac", ",".join(f"p{n}" for n in range(65))):
        done = subprocess.run([PROGRAM, "app", "--protocols", wrong], capture_output=True, text=True, timeout=10)
        assert done.returncode == 1 and "protocols" in done.stderr, (wrong, done.stderr)


def test_paths_of_ones_own():
    with App("--path", "/chat", "--path", "/a/b", "--path", "/") as server:
        for path, user in (("/chat/eve", "eve"), ("/a/b/eve", "eve"), ("/ws/eve", "eve"), ("/chat/%C3%A9", "\u00e9")):
            equal(server.client(path).welcome["userId"], user)
        for path in ("/chat", "/chat/", "/a/b", "/", "/ws"):
            client = server.client(path)
            equal(client.welcome["userId"], client.welcome["clientId"], path)
        for path, status in (("/chatter", 404), ("/a", 404), ("/a/c", 404), ("/chat/a/b", 400), ("/eve", 404)):
            raw = Raw(server)
            raw.send(raw.request(path))
            equal(raw.response()[0], status, path)
        equal(server.get("/chat")[0], 426)
        equal(server.get("/")[0], 200)  # the dashboard
    with App("--token-secret", SECRET, "--path", "/chat") as server:
        equal(server.client("/chat?token=" + token(sub="t")).welcome["userId"], "t")
    for wrong in ("chat", "/chat/", "", "/a?b", "/a%20b"):
        done = subprocess.run([PROGRAM, "app", "--path", wrong], capture_output=True, text=True, timeout=10)
        assert done.returncode == 1 and "path" in done.stderr, (wrong, done.stderr)


def test_echo():
    with App() as server:
        echo = Raw(server).open("/echo")
        echo.text("hello")
        equal(echo.receive_text(), "hello")
        echo.binary(b"\x00\xff")
        equal(echo.receive()[:2], (BINARY, b"\x00\xff"))
        echo.text("{}")
        equal(echo.receive_text(), "{}")
        equal(server.get("/echo")[0], 426)
        server.client("/ws/a").settle()
    with App("--token-secret", SECRET) as server:  # where everybody needs an account
        raw = Raw(server)
        raw.send(raw.request("/echo"))
        equal(raw.response()[0], 404)
    with App("--messages-per-second", "1", "--burst", "3", "--flood", "20", limits=True) as server:
        echo = Raw(server).open("/echo")
        echo.text("x" * 3000)
        equal(len(echo.receive_text()), 3000)
        echo.text("more")
        equal(echo.receive_text(), "error: Rate limit exceeded")
        for _ in range(30):
            try:
                echo.text("more")
            except OSError:
                break
        while echo.receive()[0] != CLOSE:
            pass
        equal(echo.closed[0], 1008)


def test_plain_chat():
    with App("--plain-chat", "--path", "/chat", "--content-max", "20") as server:
        users = [Raw(server).open(path) for path in ("/", "/ws", "/chat")]
        for user in users:
            equal(user.receive_text(), "Welcome to the chat, 127.0.0.1")
        users[0].text("hello")
        for user in users[1:]:
            equal(user.receive_text(), "127.0.0.1: hello")
        users[1].text("a\r\n127.0.0.1: b\x00\n")  # begins no line in another's name
        equal(users[0].receive_text(), "127.0.0.1: a  127.0.0.1: b ")
        equal(users[2].receive_text(), "127.0.0.1: a  127.0.0.1: b ")
        users[1].text("x" * 21)
        equal(users[1].receive_text(), "error: this line is too long")
        users[1].binary(b"x")
        equal(users[1].receive_text(), "error: only text goes here")
        users[2].text('{"type":"join_room","room":"r"}'[:20])
        for user in users[:2]:
            equal(user.receive_text(), '127.0.0.1: {"type":"join_room",')
        # Who asks for the dialect has it, and none of the chat.
        client = server.client("/ws/a", Sec_WebSocket_Protocol="ringcast.json")
        users[0].text("x")
        client.settle()
        equal(server.figures()["users"], 1)
    with App("--plain-chat", "--sanitize", "escape", "--trust-proxy", "127.0.0.1") as server:
        users = [Raw(server).open("/", X_Forwarded_For=address) for address in ("1.2.3.4", "2001:db8::7")]
        equal(users[0].receive_text(), "Welcome to the chat, 1.2.3.4")
        equal(users[1].receive_text(), "Welcome to the chat, 2001:db8::7")
        users[1].text("<b>")
        equal(users[0].receive_text(), "2001:db8::7: &lt;b&gt;")
    for flags in (("--token-secret", SECRET), ("--hook-connect", "http://127.0.0.1:1/")):
        done = subprocess.run([PROGRAM, "app", "--plain-chat", *flags], capture_output=True, text=True, timeout=10)
        assert done.returncode == 1 and "plain-chat" in done.stderr, done.stderr


def test_plain_chat_is_counted():
    with App("--plain-chat", "--messages-per-second", "1", "--burst", "3", "--flood", "10", limits=True) as server:
        one, other = (Raw(server).open("/") for _ in range(2))
        for user in (one, other):
            user.receive_text()
        for number in range(4):
            one.text(str(number))
        for number in range(3):
            equal(other.receive_text(), f"127.0.0.1: {number}")
        equal(one.receive_text(), "error: Rate limit exceeded")
        one.close()
        again = Raw(server).open("/")  # what is missing is missing to the address
        again.receive_text()
        again.text("x")
        equal(again.receive_text(), "error: Rate limit exceeded")


run(globals())
