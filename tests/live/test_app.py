# SPDX-License-Identifier: MIT
"""The dialect of `ringcast app`, message by message: rooms, people, reliability, feeds, batches, errors, limits, and
the HTTP interface."""
import json
import re
import signal
import threading

from app import App, Client
from harness import CLOSE, SLOW, Raw, equal, run, until


def test_welcome_and_ping():
    with App() as server:
        for path in ("/ws", "/ws/alice"):
            client = server.client(path)
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", client.welcome["serverTime"]), client.welcome
            assert client.welcome["clientId"]
            for timestamp in (0, 1700000000000, 1.1, 0.1 + 0.2, "now", None, [1, {"a": 2}], -5, 1e300, 5e-324):
                client.say("ping", timestamp=timestamp).expect("pong", timestamp=timestamp)
            client.say("ping", id="x").expect("pong", id="x")
            equal(client.close(), 1000)
        equal(server.client("/ws/alice").welcome["userId"], "alice")
        ids = {server.client().welcome["clientId"] for _ in range(20)}
        equal(len(ids), 20, "client ids")


def test_subprotocol():
    with App() as server:
        raw = Raw(server).open("/ws", Sec_WebSocket_Protocol="other, ringcast.json")
        equal(raw.headers.get("sec-websocket-protocol"), "ringcast.json")
        raw = Raw(server).open("/ws", Sec_WebSocket_Protocol="other")
        equal(raw.headers.get("sec-websocket-protocol"), None)


def test_rooms():
    with App() as server:
        a, b, c = server.clients("a", "b", "c")
        a.say("join_room", room="r", id=7).expect("room_joined", room="r", id=7)
        b.in_room("r")
        a.expect("user_joined", userId="b", room="r")
        c.in_room("r")
        for other in (a, b):
            other.expect("user_joined", userId="c", room="r")
        # To the others, not to the sender: what the sender hears next is what another says next.
        a.say("room_message", room="r", content="one")
        for other in (b, c):
            message = other.expect("room_message", room="r", content="one")
            equal(message["from"], "a")
            assert message["id"] and isinstance(message["timestamp"], int), message
        b.say("room_message", room="r", content={"any": ["value", 1.5, None]})
        for other in (a, c):
            other.expect("room_message", content={"any": ["value", 1.5, None]})
        a.say("members", room="r")
        equal(sorted(a.expect("members", room="r", count=3)["members"]), ["a", "b", "c"])
        b.say("leave_room", room="r").expect("room_left", room="r")
        for other in (a, c):
            other.expect("user_left", userId="b", room="r")
        b.say("room_message", room="r", content="x").expect_error("NOT_A_MEMBER")
        # A connection that dies leaves too.
        c.socket.close()
        a.expect("user_left", userId="c", room="r")
        a.say("join_room", room="r").expect("room_joined", room="r")  # it is there already: no harm
        a.say("members", room="r").expect("members", members=["a"], count=1)


def test_many_senders_hear_all_but_themselves():
    """Senders who are members too, on several workers, all at once: each hears every message but its own, in one order."""
    users, count = 12, 40
    with App(workers=3) as server:
        clients = [server.client(f"/ws/u{n}").in_room("r") for n in range(users)]
        for n, client in enumerate(clients):
            for later in range(n + 1, users):
                client.expect("user_joined", userId=f"u{later}")
        heard = [[] for _ in clients]
        wrong = []

        def talk(n):
            try:
                for number in range(count):
                    clients[n].say("room_message", room="r", content=number)
                while len(heard[n]) < (users - 1) * count:
                    message = clients[n].expect("room_message")
                    heard[n].append((message["id"], message["from"], message["content"]))
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=talk, args=(n,)) for n in range(users)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        equal(wrong, [])
        for n in range(users):
            assert all(sender != f"u{n}" for _, sender, _ in heard[n]), f"u{n} heard itself"
            for m in range(users):
                mine = [item for item in heard[n] if item[1] not in (f"u{n}", f"u{m}")]
                equal(mine, [item for item in heard[m] if item[1] not in (f"u{n}", f"u{m}")], "the order")
                if m != n:
                    equal([x for _, sender, x in heard[n] if sender == f"u{m}"], list(range(count)))


def test_devices_of_one_user():
    with App() as server:
        one, two, other = server.clients("a", "a", "b")
        other.in_room("r")
        one.in_room("r")
        other.expect("user_joined", userId="a")
        two.in_room("r")  # nobody hears of a second device ...
        one.say("room_message", room="r", content="hello")
        two.expect("room_message", content="hello")  # ... which is a member like any other
        other.expect("room_message", content="hello")
        one.say("leave_room", room="r").expect("room_left")
        two.say("leave_room", room="r").expect("room_left")
        other.expect("user_left", userId="a")
        other.say("members", room="r").expect("members", count=1)


def test_empty_rooms_vanish():
    with App() as server:
        a, b = server.clients("a", "b")
        a.in_room("r").in_room("s")
        equal(server.api("rooms")[1]["count"], 2)
        b.in_room("r").say("room_message", room="r", content="secret")
        a.expect("user_joined")
        a.expect("room_message")
        a.close()
        b.expect("user_left")
        b.close()
        until(lambda: server.api("rooms")[1] == {"rooms": [], "count": 0}, "no room")
        # What was said in it has gone with it.
        c = server.client("/ws/c").in_room("r")
        c.say("history", room="r").expect("history", messages=[])


def test_direct():
    with App() as server:
        a, one, two = server.clients("a", "b", "b")
        a.say("direct", to="b", content="both")
        for device in (one, two):
            message = device.expect("direct", content="both")
            equal(message["from"], "a")
            assert message["id"] and message["timestamp"], message
        a.say("direct", to="a", content="me").expect("direct", content="me")


def test_direct_to_who_is_away():
    with App() as server:
        a = server.client("/ws/a")
        for number in range(50):
            a.say("direct", to="b", content=number)
        a.settle()
        equal(server.figures()["stored"], 50)
        b = server.client("/ws/b")
        for number in range(50):
            b.expect("direct", content=number)
        again = server.client("/ws/b").settle()  # delivered once
        again.close()
        b.close()
        until(lambda: server.figures()["users"] == 1, "b is away")
        a.say("direct", to="b", content="after").settle()
        server.client("/ws/b").expect("direct", content="after")


def test_store_is_bounded():
    with App("--store-count", "3", "--store-size", "2k") as server:
        a = server.client("/ws/a")
        for number in range(5):
            a.say("direct", to="b", content=number)
        a.settle()
        b = server.client("/ws/b")
        for number in (2, 3, 4):
            b.expect("direct", content=number)
        b.settle()
        for number in range(4):
            a.say("direct", to="c", content="x" * 800)
        a.settle()
        c = server.client("/ws/c")
        c.expect("direct")
        c.expect("direct")
        c.settle()
        equal(server.figures()["storeDropped"], 4)
    with App("--store-count", "0") as server:
        server.client("/ws/a").say("direct", to="b", content=1).expect_error("NOT_DELIVERED")
    with App("--store-age", f"{600 * SLOW}ms") as server:  # the second must live until b is there
        a = server.client("/ws/a").say("direct", to="b", content=1).settle()
        threading.Event().wait(0.7 * SLOW)
        a.say("direct", to="b", content=2).settle()
        server.client("/ws/b").expect("direct", content=2)


def test_broadcast():
    with App("--permissions", "read,write,broadcast") as server:
        clients = server.clients("a", "b", "c")
        clients[0].say("broadcast", content="all")
        for client in clients:
            equal(client.expect("broadcast", content="all")["from"], "a")
    with App() as server:
        client = server.client()
        client.say("broadcast", content="all", id="q").expect_error("PERMISSION_DENIED", id="q")


def test_permissions():
    with App("--permissions", "read") as server:
        a = server.client("/ws/a").in_room("r")
        for type_, members in (("room_message", {"room": "r", "content": 1}), ("direct", {"to": "b", "content": 1}),
                               ("broadcast", {"content": 1}), ("DATA", {"id": "1", "data": 1})):
            a.say(type_, **members).expect_error("PERMISSION_DENIED")
    with App("--permissions", "write") as server:
        a = server.client("/ws/a")
        for type_, members in (("join_room", {"room": "r"}), ("subscribe", {"topics": ["t"]}),
                               ("history", {"topic": "t"}), ("members", {"room": "r"})):
            a.say(type_, **members).expect_error("PERMISSION_DENIED")
        a.say("direct", to="a", content=1).expect("direct")
    with App("--permissions", "admin") as server:
        a = server.client("/ws/a").in_room("r")
        a.say("broadcast", content=1).expect("broadcast")


def test_reliable_from_clients():
    with App() as server:
        a, b = server.clients("a", "b")
        a.in_room("r")
        b.in_room("r")
        a.expect("user_joined")
        inner = {"type": "room_message", "room": "r", "content": "once"}
        for _ in range(3):
            a.say("DATA", id="m1", data=inner, timestamp=1).expect("ACK", data={"messageId": "m1"})
        b.expect("room_message", content="once")
        a.say("HEARTBEAT", id="h").expect("ACK", data={"messageId": "h"})
        a.say("HEARTBEAT").expect("ACK", data={"messageId": None})
        # The window is the user's: another connection sends it again after the first died.
        a.socket.close()
        b.expect("user_left")
        a = server.client("/ws/a").in_room("r")
        b.expect("user_joined")
        a.say("DATA", id="m1", data=inner).expect("ACK", data={"messageId": "m1"})
        a.say("DATA", id="m2", data={**inner, "content": "twice"}).expect("ACK", data={"messageId": "m2"})
        b.expect("room_message", content="twice")
        equal(server.figures()["duplicates"], 3)
        a.say("DATA", data=1).expect_error("MISSING_FIELD")
        a.say("DATA", id="m3").expect_error("MISSING_FIELD", id="m3")


def test_data_reaches_the_application():
    with App("--permissions", "admin") as server:
        a, backend = server.clients("a", "backend")
        backend.say("subscribe", topics=["data/*"]).expect("subscribed")
        for _ in range(2):
            a.say("DATA", id="x", data={"order": 5}).expect("ACK")
        a.say("DATA", id="y", data=[1]).expect("ACK")
        backend.expect("update", topic="data/a", data={"order": 5})
        backend.expect("update", topic="data/a", data=[1])


def test_reliable_to_clients():
    """DATA comes again, with the same id, until its ACK; what had none waits for the next connection."""
    with App("--resend-time", "200ms", "--resend-max", "20") as server:
        a = server.client("/ws/a")
        b = server.client("/ws/b?reliable=1")
        a.say("direct", to="b", content="important")
        first = b.expect("DATA")
        equal(first["data"]["content"], "important")
        again = b.expect("DATA")
        equal((again["id"], again["data"]), (first["id"], first["data"]))
        b.say("ACK", data={"messageId": first["id"]}).settle()
        a.say("direct", to="b", content="two")
        second = b.expect("DATA")
        assert second["id"] != first["id"]
        b.socket.close()
        until(lambda: server.figures()["users"] == 1, "b has left")
        b = server.client("/ws/b?reliable=1")
        third = b.expect("DATA")
        equal((third["id"], third["data"]["content"]), (second["id"], "two"))
        b.say("ACK", data={"messageId": third["id"]})
        b.say("ACK", data={"messageId": third["id"]})  # twice does no harm
        b.say("ACK").expect_error("MISSING_FIELD")
        b.say("ACK", data={"messageId": "zz-1"}).settle()
        until(lambda: server.figures()["resent"] >= 1, "a resend counted")


def test_resends_are_bounded():
    with App("--resend-time", "20ms", "--resend-max", "2", "--unacknowledged-max", "3") as server:
        b = server.client("/ws/b")
        server.post("send", to="b", content=1, reliable=True)
        ids = [b.expect("DATA")["id"] for _ in range(3)]
        equal(len(set(ids)), 1)
        until(lambda: server.figures()["unacknowledged"] == 1, "given up")
        b.close()
        # It is kept for the next connection. More than may wait for an ACK comes as it is, since nobody asked to wait.
        b = server.client("/ws/b")
        kept = b.expect("DATA")
        equal(kept["data"]["content"], 1)
        for number in range(5):
            server.post("send", to="b", content=number, reliable=True)
        heard = [kept["data"]["id"]]  # it may come again among the others
        while len(heard) < 6:
            message = b.hear()
            inner = message["data"] if message["type"] == "DATA" else message
            if inner["id"] not in heard:
                heard.append(inner["id"])
        b.settle_after("DATA")


def test_feeds():
    with App() as server:
        a = server.client("/ws/a")
        a.say("subscribe", topics=["f", "g"], id="s")
        equal([t["topic"] for t in a.expect("subscribed", id="s")["topics"]], ["f", "g"])
        for number in range(1, 6):
            equal(server.post("publish", topic="f", data={"n": number})["seq"], number)
        epoch = None
        for number in range(1, 6):
            message = a.expect("update", topic="f", seq=number, data={"n": number})
            epoch = epoch or message["epoch"]
            equal(message["epoch"], epoch)
        a.say("unsubscribe", topics=["f"]).expect("unsubscribed", topics=["f"])
        server.post("publish", topic="f", data=6)
        server.post("publish", topic="g", data="g")
        a.expect("update", topic="g", data="g")
        # Again, from where it stopped; another from the newest; a third from a number for each topic.
        a.say("subscribe", topics=["f"], since=5).expect("subscribed")
        a.expect("update", seq=6)
        b = server.client("/ws/b").say("subscribe", topics=["f"], last=True)
        b.expect("subscribed")
        b.expect("update", topic="f", seq=6)
        c = server.client("/ws/c").say("subscribe", topics=["f", "g"], since={"f": 4})
        c.expect("subscribed")
        c.expect("update", topic="f", seq=5)
        c.expect("update", topic="f", seq=6)
        server.post("publish", topic="g", data=2)
        c.expect("update", topic="g", seq=2)
        # Twice is once.
        c.say("subscribe", topics=["f"]).expect("subscribed")
        server.post("publish", topic="f", data=7)
        c.expect("update", seq=7)
        server.post("publish", topic="f", data=8)
        c.expect("update", seq=8)


def test_feed_gap():
    """The log has turned over: the client is told which numbers it will not get."""
    with App("--log-size", "64k") as server:
        for number in range(1, 400):
            server.post("publish", topic="f", data="x" * 500)
        a = server.client("/ws/a").say("subscribe", topics=["f"], since=10)
        a.expect("subscribed")
        gap = a.expect("gap", topic="f")
        equal(gap["from"], 11)
        assert 11 < gap["to"] < 399, gap
        a.expect("update", seq=gap["to"] + 1)
        # Numbers that are not there yet: the topic began anew since, and all it has is new.
        server.post("publish", topic="n", data=1)
        a = server.client("/ws/b").say("subscribe", topics=["n"], since=1000)
        a.expect("subscribed")
        gap = a.expect("gap", topic="n")
        equal((gap["reset"], gap["to"]), (True, 0))
        a.expect("update", topic="n", seq=1)


def test_feed_conflated():
    """A reader that asked for it and fell behind hears the newest of each topic, in order, and of no number twice; one
    that keeps up hears all, though it asked for the same."""
    topics, rounds, filler = ["c.a", "c.b", "c.c"], 300, "." * 8000
    with App("--log-size", "4m") as server:
        stalled = Client(server, receive_buffer=4096).join_in("/ws/stalled")
        reader = server.client("/ws/reader")
        for client in (stalled, reader):
            client.say("subscribe", topics=topics, conflate=True).expect("subscribed")
        for number in range(1, rounds + 1):
            for topic in topics:
                server.post("publish", topic=topic, data={"n": number, "filler": filler})
                reader.expect("update", topic=topic, seq=number)
        until(lambda: server.stats()["conflated"] > 0, "conflation")
        heard = {topic: [] for topic in topics}
        while any(numbers[-1:] != [rounds] for numbers in heard.values()):
            update = stalled.expect("update")
            equal(update["data"]["n"], update["seq"], "what the number stands for")
            heard[update["topic"]].append(update["seq"])
        stalled.settle()
        for topic, numbers in heard.items():
            equal(numbers, sorted(set(numbers)), "order within " + topic)
        count = sum(map(len, heard.values()))
        equal(count + server.stats()["conflated"], len(topics) * rounds, "conflated and delivered")
        equal(server.stats()["slow_closed"], 0)


def test_feed_patterns():
    with App(workers=3) as server:
        server.post("publish", topic="q.old", data=0)
        server.post("publish", topic="other", data=0)
        clients = [server.client(f"/ws/u{n}") for n in range(6)]
        for client in clients:
            # The topics that are there are listed behind the pattern, each with where it stands.
            listed = client.say("subscribe", topics=["q.*"], last=True).expect("subscribed")["topics"]
            equal([(one["topic"], one.get("seq")) for one in listed], [("q.*", None), ("q.old", 1)])
            client.expect("update", topic="q.old", data=0)
        for name in ("q.new", "q.newer", "r", "q.old"):
            for number in range(5):
                server.post("publish", topic=name, data=number)
        for client in clients:
            heard = {}
            for _ in range(15):
                message = client.expect("update")
                heard.setdefault(message["topic"], []).append(message["data"])
            equal(heard, {"q.new": list(range(5)), "q.newer": list(range(5)), "q.old": list(range(5))})
        # Each topic of a pattern goes on from where its reader had come to, and says what is missing.
        epoch = listed[1]["epoch"]
        late = server.client("/ws/late")
        late.say("subscribe", topics=["q.*"], since={"q.old": 4, "q.new": 5}, epoch={"q.old": epoch, "q.new": epoch + 999})
        late.expect("subscribed")
        late.expect("gap", topic="q.new", reset=True)
        heard = [late.expect("update") for _ in range(2 + 5)]
        equal([one["seq"] for one in heard if one["topic"] == "q.old"], [5, 6])
        equal([one["seq"] for one in heard if one["topic"] == "q.new"], [1, 2, 3, 4, 5])
        # Given up: but what was asked for by its name stays.
        one = clients[0]
        one.say("subscribe", topics=["q.new"]).expect("subscribed")
        one.say("unsubscribe", topics=["q.*"]).expect("unsubscribed")
        for name in ("q.old", "q.newest", "q.new"):
            server.post("publish", topic=name, data="after")
        one.expect("update", topic="q.new", data="after")


def test_reserved_topics():
    with App() as server:
        a = server.client("/ws/a").in_room("r")
        for topics in (["room/1/r"], ["room/*"], ["data/b"]):
            a.say("subscribe", topics=topics).expect_error("PERMISSION_DENIED")
        a.say("history", topic="room/1/r").expect_error("PERMISSION_DENIED")
        equal(server.api("publish", {"topic": "room/1/r", "data": 1})[0], 400)
        # A pattern that would match them does not reach them.
        b = server.client("/ws/b").say("subscribe", topics=["*"])
        b.expect("subscribed")
        a.say("room_message", room="r", content="private").settle()
        a.say("DATA", id="1", data={"x": 1}).expect("ACK")
        server.post("publish", topic="public", data=1)
        b.expect("update", topic="public")


def test_history():
    with App("--history-max", "5") as server:
        a, b = server.clients("a", "b")
        a.in_room("r")
        b.in_room("r")
        a.expect("user_joined")
        for number in range(10):
            a.say("room_message", room="r", content=number)
        messages = [b.expect("room_message", content=number) for number in range(10)]
        got = b.say("history", room="r", limit=3).expect("history", room="r")["messages"]
        equal(got, messages[7:])
        got = b.say("history", room="r", limit=100).expect("history")["messages"]
        equal(got, messages[5:], "at most history-max")
        got = b.say("history", room="r", since=messages[2]["id"], limit=2, id=9).expect("history", id=9)["messages"]
        equal(got, messages[3:5])
        server.client("/ws/c").say("history", room="r").expect_error("NOT_A_MEMBER")
        for number in range(4):
            server.post("publish", topic="f", data=number)
        answer = a.say("history", topic="f", since=2).expect("history", topic="f", seq=4)
        equal([m["data"] for m in answer["messages"]], [2, 3])
        a.say("history", topic="nothing").expect("history", messages=[])
        a.say("history", topic="f", since="x").expect_error("INVALID_FIELD")
        a.say("history", topic="f", limit=-1).expect_error("INVALID_FIELD")
        a.say("history").expect_error("MISSING_FIELD")


def test_batches():
    with App("--batch-max", "4") as server:
        a, b = server.clients("a", "b")
        a.in_room("r")
        b.in_room("r")
        a.expect("user_joined")
        a.say("batch", messages=[{"type": "ping", "timestamp": n} for n in range(3)]
              + [{"type": "room_message", "room": "r", "content": "in a batch"}])
        for n in range(3):
            a.expect("pong", timestamp=n)
        b.expect("room_message", content="in a batch")
        a.say("batch", messages=[{"type": "ping"}] * 5).expect_error("TOO_LONG")
        a.say("batch", messages={}).expect_error("INVALID_FIELD")
        a.say("batch").expect_error("MISSING_FIELD")
        a.say("batch", messages=[{"type": "batch", "messages": []}, 5, {"type": "ping"}])
        a.expect_error("INVALID_FIELD")
        a.expect_error("INVALID_JSON")
        a.expect("pong")


def test_batches_towards_a_client():
    """It asked for them: what is its own and what it follows from then on comes in batches, in order, all of it."""
    with App() as server:
        a, b = server.clients("a", "b")
        a.say("batching", count=10, delay=50).expect("batching", count=10, delay=50)
        a.say("subscribe", topics=["f"]).say("join_room", room="r")

        def unpack(wanted):
            found = []
            while len(found) < wanted:
                message = a.hear()
                equal(message["type"], "batch", message)
                assert 1 <= len(message["messages"]) <= 10, message
                found += message["messages"]
            return found

        equal([m["type"] for m in unpack(2)], ["subscribed", "room_joined"])
        b.in_room("r")
        equal([m["type"] for m in unpack(1)], ["user_joined"])
        for number in range(35):
            server.post("publish", topic="f", data=number)
        equal([m["data"] for m in unpack(35)], list(range(35)))
        a.say("room_message", room="r", content="mine")
        b.expect("room_message", content="mine")
        b.say("room_message", room="r", content="yours").say("direct", to="a", content="direct")
        equal(sorted(m["content"] for m in unpack(2)), ["direct", "yours"])
        # And back, without losing anything on the way.
        for number in range(20):
            server.post("publish", topic="f", data=number)
        a.say("batching", count=0)
        heard = []
        while len(heard) < 20:
            message = a.hear()
            heard += [m["data"] for m in message.get("messages", [message]) if m["type"] == "update"]
        equal(heard, list(range(20)))
        server.post("publish", topic="f", data="plain")
        while True:
            message = a.hear()
            if message["type"] == "update":
                break
        equal(message["data"], "plain")


def test_errors():
    """Each wrong message is answered, with its id where it has one, and none closes the connection."""
    long = "x" * 101
    with App() as server:
        a = server.client("/ws/a").in_room("r")
        for text, code, id_ in (
                ("", "INVALID_JSON", None), ("{", "INVALID_JSON", None), ("[]", "INVALID_JSON", None),
                ("5", "INVALID_JSON", None), ("null", "INVALID_JSON", None), ("{}{}", "INVALID_JSON", None),
                ("{'type':'ping'}", "INVALID_JSON", None), ('{"type":"ping",}', "INVALID_JSON", None),
                ('{"type":"ping","type":"ping"}', "INVALID_JSON", None), ("[" * 60000, "INVALID_JSON", None),
                ('{"type":"ping","n":1e999}', "INVALID_JSON", None),
                ("{}", "MISSING_FIELD", None), ('{"type":5}', "INVALID_FIELD", None),
                ('{"type":"nonsense","id":"q"}', "UNKNOWN_TYPE", "q"), ('{"type":"PING","id":3}', "UNKNOWN_TYPE", 3),
                ('{"type":"ping","id":[]}', "INVALID_FIELD", None), ('{"type":"ping","id":1.5}', "INVALID_FIELD", None),
                ('{"type":"ping","id":"%s"}' % ("x" * 129), "INVALID_FIELD", None),
                ('{"type":"join_room","id":1}', "MISSING_FIELD", 1), ('{"type":"join_room","room":5}', "INVALID_FIELD", None),
                ('{"type":"join_room","room":""}', "INVALID_FIELD", None),
                ('{"type":"join_room","room":"a\\u0000b"}', "INVALID_FIELD", None),
                ('{"type":"join_room","room":"%s"}' % long, "TOO_LONG", None),
                ('{"type":"room_message","room":"r"}', "MISSING_FIELD", None),
                ('{"type":"room_message","room":"s","content":1}', "NOT_A_MEMBER", None),
                ('{"type":"leave_room","room":"s"}', "NOT_A_MEMBER", None),
                ('{"type":"members","room":"s"}', "NOT_A_MEMBER", None),
                ('{"type":"direct","content":1}', "MISSING_FIELD", None), ('{"type":"direct","to":"b"}', "MISSING_FIELD", None),
                ('{"type":"subscribe"}', "MISSING_FIELD", None), ('{"type":"subscribe","topics":"f"}', "INVALID_FIELD", None),
                ('{"type":"subscribe","topics":[]}', "INVALID_FIELD", None),
                ('{"type":"subscribe","topics":[5]}', "INVALID_FIELD", None),
                ('{"type":"subscribe","topics":["%s"]}' % ("x" * 201), "TOO_LONG", None),
                ('{"type":"subscribe","topics":["f"],"since":-1}', "INVALID_FIELD", None),
                ('{"type":"subscribe","topics":["f"],"since":{"f":"x"}}', "INVALID_FIELD", None),
                ('{"type":"subscribe","topics":["f"],"last":1}', "INVALID_FIELD", None),
                ('{"type":"auth"}', "MISSING_FIELD", None), ('{"type":"auth","token":"a.b.c"}', "AUTH_FAILED", None)):
            a.text(text)
            message = a.expect_error(code)
            equal(message.get("id"), id_, text)
            assert message["message"], text
        a.binary(b'{"type":"ping"}')
        a.expect("pong")
        a.settle()


def test_content_length():
    """At the bound it goes, one more is too long; text counts in characters, not in bytes."""
    with App() as server:
        a, b = server.clients("a", "b")
        for content in ("x" * 1000, "\u20ac" * 1000, "\U0001f600" * 1000, ["x" * 996]):
            a.say("direct", to="b", content=content)
            b.expect("direct", content=content)
        for content in ("x" * 1001, "\u20ac" * 1001, ["x" * 997]):
            a.say("direct", to="b", content=content).expect_error("TOO_LONG")
        a.settle()
    with App("--content-max", "5") as server:
        a = server.client("/ws/a").say("direct", to="a", content="12345")
        a.expect("direct")
        a.say("direct", to="a", content="123456").expect_error("TOO_LONG")


def test_message_size():
    with App("--message-max", "1k") as server:
        a = server.client("/ws/a")
        base = json.dumps({"type": "ping", "timestamp": ""})
        a.text(json.dumps({"type": "ping", "timestamp": "x" * (1024 - len(base))}))
        a.expect("pong")
        a.text(json.dumps({"type": "ping", "timestamp": "x" * (1025 - len(base))}))
        a.expect_close(1009)


def test_rooms_per_connection():
    with App("--rooms-per-connection", "3") as server:
        a = server.client("/ws/a")
        for name in "xyz":
            a.in_room(name)
        a.say("join_room", room="w").expect_error("TOO_MANY_ROOMS")
        a.say("leave_room", room="x").expect("room_left")
        a.in_room("w")


def test_subscriptions_per_connection():
    with App("--subscriptions-max", "4") as server:
        a = server.client("/ws/a")  # what goes to everybody is one
        a.say("subscribe", topics=["f", "g"]).expect("subscribed")
        a.in_room("r")
        a.say("subscribe", topics=["h"]).expect("subscribed", topics=[])
        a.expect_error("TOO_MANY_SUBSCRIPTIONS")
        a.say("join_room", room="s").expect_error("TOO_MANY_SUBSCRIPTIONS")
        equal(server.api("rooms")[1]["count"], 1)
        a.say("unsubscribe", topics=["f"]).expect("unsubscribed")
        a.in_room("s")
        a.say("subscribe", topics=["1", "2", "3", "4", "5"]).expect_error("TOO_MANY_SUBSCRIPTIONS")


def test_connections_per_user_and_address():
    with App("--connections-per-user", "2") as server:
        clients = server.clients("a", "a")
        status = Raw(server)
        status.send(status.request("/ws/a"))
        equal(status.response()[0], 429)
        server.clients("b", "b")
        clients[0].close()
        until(lambda: open_or_none(server, "/ws/a"), "a place")
    with App("--connections-per-address", "3") as server:
        held = server.clients("a", "b", "c")
        assert not open_or_none(server, "/ws/d")
        held[1].close()
        until(lambda: open_or_none(server, "/ws/d"), "a place")


def open_or_none(server, path, **headers):
    raw = Client(server)
    raw.send(raw.request(path, **headers))
    status, raw.headers, _ = raw.response()
    return raw if status == 101 else None


def test_strict_is_for_what_nobody_set():
    for flags, burst in (((), 1), (("--burst", "5"), 5)):
        with App("--preset", "strict", "--messages-per-second", "1", *flags, limits=True) as server:
            a = server.client("/ws/a")
            for _ in range(burst + 2):
                a.say("ping")
            types = [a.hear()["type"] for _ in range(burst + 2)]
            equal((types[:burst], types[-1]), (["pong"] * burst, "error"))


def test_rate_and_flood():
    """Over the rate a message is refused and told so; who goes on is closed with 1008."""
    with App("--messages-per-second", "1", "--burst", "5", "--flood", "20", limits=True) as server:
        a = server.client("/ws/a")
        for number in range(5):
            a.say("ping", timestamp=number).expect("pong", timestamp=number)
        for number in range(10):
            a.say("ping")
        types = [a.hear() for _ in range(10)]
        refused = [m for m in types if m["type"] == "error"]
        assert len(refused) >= 8 and all(m["code"] == "RATE_LIMIT_EXCEEDED" for m in refused), types
        try:
            for _ in range(100):
                a.text("{")
        except (BrokenPipeError, ConnectionResetError):
            pass
        while a.receive()[0] != CLOSE:
            pass
        equal(a.closed[0], 1008)
        equal(server.figures()["flooded"], 1)
        # A batch is no way around it.
        b = server.client("/ws/b")
        b.say("batch", messages=[{"type": "ping"}] * 20)
        kinds = [b.hear()["type"] for _ in range(20)]
        assert 3 <= kinds.count("pong") <= 6, kinds


def test_api():
    with App() as server:
        a = server.client("/ws/a").in_room("r")
        equal(server.post("send", to="a", content="hi"), {"delivered": 1, "stored": False})
        equal(a.expect("direct", content="hi")["from"], "server")
        equal(server.post("send", to="nobody", content="hi", **{"from": "x"}), {"delivered": 0, "stored": True})
        server.post("broadcast", content={"x": 1})
        a.expect("broadcast", content={"x": 1})
        figures = server.figures()
        for name in ("connectedClients", "activeRooms", "uptime", "messagesReceived", "messagesSent", "errors",
                     "reconnections", "latency"):
            assert name in figures, f"{name} in {figures}"
        equal((figures["connectedClients"], figures["activeRooms"]), (1, 1))
        equal(server.api("rooms")[1], {"rooms": [{"room": "r", "members": 1}], "count": 1})
        presence = server.api("presence")[1]
        equal(presence, {"users": [{"userId": "a", "clients": [a.welcome["clientId"]], "rooms": ["r"]}], "count": 1})
        equal(server.api("presence?user=a")[1], presence)
        equal(server.api("presence?user=b")[1]["count"], 0)
        equal(server.post("disconnect", userId="a", reason="bye"), {"disconnected": 1})
        a.expect_close(1008)
        equal(a.closed[1], "bye")
        equal(server.api("disconnect", {"userId": "a"})[0], 404)
        for path, body, status in (("publish", {}, 400), ("publish", {"topic": "", "data": 1}, 400), ("send", {}, 400),
                                   ("publish", b"{", 400), ("publish", b"[]", 400), ("broadcast", {}, 400),
                                   ("nothing", {}, 404), ("stats", {"x": 1}, 405)):
            equal(server.api(path, body)[0], status, f"{path} {body}")
        equal(server.api("publish")[0], 405)
        equal(server.get("/healthz")[0], 200)
        status, _, text = server.get("/metrics")
        equal(status, 200)
        assert b"ringcast_app_handling_seconds_bucket{le=" in text and b"ringcast_app_clients 0" in text, text
        for line in text.decode().splitlines():
            assert re.fullmatch(r"# (HELP|TYPE) \w+ .+|(ringcast|process)_\w+(\{[^}]*\})? [-+.\deInf]+", line), line


def test_api_body_size():
    with App("--body-max", "2k") as server:
        base = len(json.dumps({"topic": "f", "data": ""}))
        for size, status in ((2048, 200), (2049, 413)):
            equal(server.api("publish", {"topic": "f", "data": "x" * (size - base)})[0], status, size)
        # In pieces, however small.
        data = json.dumps({"topic": "f", "data": "in pieces"}).encode()
        raw = Raw(server)
        for byte in (f"POST /api/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data):
            raw.send(bytes([byte]))
        equal(raw.response()[0], 200)


def test_api_key():
    with App("--api-key", "k1" * 8, "--api-key", "k2" * 8) as server:
        equal(server.api("stats")[0], 401)
        equal(server.api("stats", headers="X-API-Key: nope\r\n")[0], 401)
        equal(server.api("stats", headers="X-API-Key: " + "k1" * 8 + "\r\n")[0], 200)
        equal(server.api("stats", headers="Authorization: Bearer " + "k2" * 8 + "\r\n")[0], 200)
        equal(server.api("stats", headers="Authorization: Bearer " + "k2" * 8 + "2\r\n")[0], 401)
    with App() as server:  # without one: loopback, but neither through a proxy nor from another site's page
        equal(server.api("stats")[0], 200)
        equal(server.api("stats", headers="X-Forwarded-For: 1.2.3.4\r\n")[0], 401)
        equal(server.api("stats", headers="Origin: http://evil.example\r\n")[0], 401)
        equal(server.api("stats", headers="Origin: http://localhost\r\n")[0], 200)


def test_api_port():
    with App("--api-listen", "127.0.0.1:0", listen=("127.0.0.1:0",)) as server:
        until(lambda: len(server.urls()) == 2, "two listeners")
        api_port = int(server.urls()[1].rsplit(":", 1)[1])
        equal(server.api("stats")[0], 404)
        equal(server.get("/metrics")[0], 404)
        client = server.client("/ws/a")
        ws_port, server.port = server.port, api_port
        equal(server.api("stats")[0], 200)
        equal(open_or_none(server, "/ws/b"), None)
        server.port = ws_port
        client.settle()


def test_not_found():
    with App() as server:
        for path, status in (("/ws", 426), ("/ws/a", 426), ("/other", 404)):
            equal(server.get(path)[0], status, path)
        for path in ("/", "/other", "/wsx"):
            equal(open_or_none(server, path), None, path)
        raw = Raw(server)
        raw.send(raw.request("/ws/" + "u" * 129))
        equal(raw.response()[0], 400)
        for path in ("/ws/a%0ab", "/ws/a/b"):
            raw = Raw(server)
            raw.send(raw.request(path))
            equal(raw.response()[0], 400, path)
        equal(server.client("/ws/%C3%A9t%C3%A9").welcome["userId"], "\u00e9t\u00e9")


def test_drain_tells_when_to_come_back():
    with App("--comeback", "60s", "--drain", "5s") as server:
        clients = [server.client(f"/ws/u{n}").in_room("r") for n in range(20)]
        server.process.send_signal(signal.SIGTERM)
        times = []
        for client in clients:
            while True:
                message = client.hear()
                if message["type"] == "going_away":
                    break
                equal(message["type"], "user_joined", message)
            times.append(message["reconnectAfter"])
            client.expect_close(1001)
            assert str(times[-1]) in client.closed[1], client.closed
        assert all(6000 <= t <= 60000 for t in times), times
        assert len(set(times)) > 10, "not spread out: " + str(times)
        equal(server.process.wait(10), 0)


run(globals())
