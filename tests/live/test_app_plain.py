# SPDX-License-Identifier: MIT
"""Feeds without WebSocket: server-sent events, read as the standard says, and long polling; what each resumes from, who
may, and what becomes of them when the server goes or they do not read."""
import json
import signal
import threading
import time
import urllib.parse

from app import SECRET, App, Stream, poll, token
from harness import Raw, equal, run, until


def publish(server, topic, *data):
    for each in data:
        # 503 while readers who begin far back still hold what a large message needs the room of.
        until(lambda each=each: server.api("publish", {"topic": topic, "data": each})[0] == 200, "room in the log")


def after(page):
    """The query that goes on from a page."""
    return "since=" + ",".join(str(one["seq"]) for one in page["topics"]) + \
        "&epoch=" + ",".join(str(one["epoch"]) for one in page["topics"])


# ---- server-sent events ----

def test_events():
    with App(workers=3) as server:
        publish(server, "a", "before")
        streams = [Stream(server, "/sse/a,b") for _ in range(12)]
        for stream in streams:
            equal([(one["topic"], one["seq"]) for one in stream.expect("subscribed")["topics"]], [("a", 1), ("b", 0)])
            equal(stream.headers["cache-control"], "no-cache")
            equal(stream.headers["connection"], "close")
        other = server.client().say("subscribe", topics=["a", "b"])
        other.expect("subscribed")
        for number in range(50):
            publish(server, "ab"[number % 2], {"n": number, "text": "two\nlines \r\n\u00e4"})
        for stream in streams + [other]:
            for number in range(50):
                message = stream.expect("update", topic="ab"[number % 2])
                equal(message["data"], {"n": number, "text": "two\nlines \r\n\u00e4"})
        equal(len({stream.last_id for stream in streams}), 1, "one id, because it is one encoding")
        equal(server.figures()["connectedClients"], 13)
        for stream in streams:
            stream.socket.close()
        until(lambda: server.figures()["connectedClients"] == 1, "the streams' end")
        equal(server.stats()["closed_abnormal"], 0)


def test_events_resume():
    with App(workers=2) as server:
        publish(server, "a", *range(10))
        publish(server, "b", *range(10))
        publish(server, "unheard", *range(100))
        stream = Stream(server, "/sse/a,b?since=7,9")
        stream.expect("subscribed")
        stream.updates(7, 8, 9, 9)
        place = stream.last_id
        stream.socket.close()
        publish(server, "b", *range(10, 14))
        publish(server, "a", *range(10, 14))
        # Behind its last event, in the order of all topics; the address, which is as old as the stream, does not count.
        stream = Stream(server, "/sse/a,b?since=7,9", headers=f"Last-Event-ID: {place}\r\n")
        stream.expect("subscribed")
        for number in range(10, 14):
            stream.expect("update", topic="b", data=number)
        for number in range(10, 14):
            stream.expect("update", topic="a", data=number)
        # Another start's id: by the address if that says something, or else all that there is.
        stream = Stream(server, "/sse/a?since=12", headers="Last-Event-ID: 1-2\r\n")
        stream.expect("subscribed")
        stream.updates(12, 13)
        stream = Stream(server, "/sse/a", headers="Last-Event-ID: 1-2\r\n")
        stream.expect("subscribed")
        stream.expect("gap", topic="a", reset=True, to=0)
        stream.updates(*range(14))
        for wrong in ("x", "1", "", "zz-1"):
            Stream(server, "/sse/a", headers=f"Last-Event-ID: {wrong}\r\n").expect("subscribed")
        stream = Stream(server, "/sse/a?last=1")
        stream.expect("subscribed")
        stream.updates(13)


def test_events_resume_beyond_the_log():
    with App("--log-size", "1M") as server:
        publish(server, "a", 0)
        stream = Stream(server, "/sse/a?since=0")
        stream.expect("subscribed")
        stream.updates(0)
        place = stream.last_id
        stream.socket.close()
        publish(server, "a", *["x" * 20000] * 200)
        for path in ("/sse/a", "/sse/a?since=1"):
            stream = Stream(server, path, headers=f"Last-Event-ID: {place}\r\n")
            stream.expect("subscribed")
            gap = stream.expect("gap", topic="a")
            for sequence in range(gap["to"] + 1, 202):
                stream.expect("update", seq=sequence)
        # An event larger than its encoding takes is made for each reader.
        readers = [Stream(server, "/sse/big") for _ in range(3)]
        for reader in readers:
            reader.expect("subscribed")
        publish(server, "big", "small", "y" * 200000, "small")
        for reader in readers:
            reader.updates("small", "y" * 200000, "small")


def test_events_by_pattern():
    with App(workers=2) as server:
        publish(server, "p/old", 0)
        stream = Stream(server, "/sse/p/*")
        equal([one["topic"] for one in stream.expect("subscribed")["topics"]], ["p/*", "p/old"])
        publish(server, "p/new", 1)
        publish(server, "q", 2)
        publish(server, "p/old", 3)
        heard = [(m["topic"], m["data"]) for m in (stream.expect("update") for _ in range(2))]
        equal(sorted(heard), [("p/new", 1), ("p/old", 3)])


def test_slow_reader_of_events():
    """It is what its topic's policy says: here it is skipped, and told so by the numbers; the others do not notice."""
    with App("--log-size", "1M", "--policy", "skip") as server:
        slow = Stream(server, "/sse/a", receive_buffer=4096)
        slow.expect("subscribed")
        fast = Stream(server, "/sse/a")
        fast.expect("subscribed")
        for number in range(400):
            publish(server, "a", {"n": number, "fill": "z" * 20000})
            equal(fast.expect("update")["data"]["n"], number)
        numbers = []
        while not numbers or numbers[-1] < 399:
            numbers.append(slow.expect("update")["data"]["n"])
        equal(numbers, sorted(set(numbers)))
        assert numbers[0] == 0 and len(numbers) < 400, numbers
        assert server.stats()["dropped"] > 0


def test_a_slow_stream_that_ends_is_told_of():
    with App("--log-size", "1M", "--policy", "close") as server:
        slow = Stream(server, "/sse/a", receive_buffer=4096)
        slow.expect("subscribed")
        for number in range(400):
            publish(server, "a", {"n": number, "fill": "z" * 20000})
        until(lambda: server.figures()["slowStreams"] == 1, "it is counted")
        until(lambda: any("read too slowly" in line and "127.0.0.1" in line for line in server.errors), "it is in the log")
        assert "ringcast_app_slow_streams_total 1" in server.get("/metrics")[2].decode()


def test_events_are_kept_alive():
    with App("--idle-timeout", "400ms") as server:
        stream = Stream(server, "/sse/a")
        stream.expect("subscribed")
        time.sleep(1.5)
        publish(server, "a", 1)
        stream.updates(1)
        assert 3 <= stream.comments <= 10, stream.comments
        # Who takes nothing for long is not there any more.
        stuck = Stream(server, "/sse/b", receive_buffer=4096)
        stuck.expect("subscribed")
        publish(server, "b", *["z" * 60000] * 120)
        until(lambda: server.stats()["timeouts"] == 1, "the end of who reads nothing")
        publish(server, "a", 2)
        stream.updates(2)


def test_drain():
    with App("--comeback", "20s") as server:
        stream = Stream(server, "/sse/a")
        stream.expect("subscribed")
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(poll(server, "a?since=0")))
        waiting.start()
        until(lambda: server.figures()["connectedClients"] == 2, "a poll that waits")
        server.process.send_signal(signal.SIGTERM)
        assert stream.expect("going_away")["reconnectAfter"] > 0
        assert stream.at_end()
        waiting.join()
        equal(answers[0][0], 503)


# ---- polls ----

def test_poll():
    with App(workers=3) as server:
        publish(server, "a", *range(5))
        # First where the topics stand, without messages.
        status, page, headers = poll(server, "a,b?wait=0")
        equal((status, page["messages"], headers["content-type"]), (200, [], "application/json"))
        equal([(one["topic"], one["seq"]) for one in page["topics"]], [("a", 5), ("b", 0)])
        equal(poll(server, "a,b?wait=0&" + after(page))[0], 204)
        publish(server, "b", 7, 8)
        status, page, _ = poll(server, "a,b?" + after(page))
        equal([(m["type"], m["topic"], m["seq"], m["data"]) for m in page["messages"]],
              [("update", "b", 1, 7), ("update", "b", 2, 8)])
        equal([(one["topic"], one["seq"]) for one in page["topics"]], [("a", 5), ("b", 2)])
        # A number for some only.
        page = poll(server, "a,b?since=3")[1]
        equal([m["data"] for m in page["messages"]], [3, 4])
        equal([m["data"] for m in poll(server, "a?last=1")[1]["messages"]], [4])
        # It waits, on whichever worker, and all who wait get the same.
        answers = []
        waiting = [threading.Thread(target=lambda: answers.append(poll(server, "b,a?since=2,5"))) for _ in range(12)]
        for thread in waiting:
            thread.start()
        until(lambda: server.figures()["connectedClients"] == 12, "those who wait")
        publish(server, "other", 1)
        assert not answers
        publish(server, "a", "now")
        for thread in waiting:
            thread.join()
        equal([(status, [m["data"] for m in page["messages"]]) for status, page, _ in answers], [(200, ["now"])] * 12)
        until(lambda: server.figures()["connectedClients"] == 0, "their end")
        begin = time.monotonic()
        equal(poll(server, "a?since=6&wait=1")[0], 204)
        assert 0.8 < time.monotonic() - begin < 10


def test_poll_waits_for_the_next():
    """Without `since`: the next message, and not those before; and when none comes, where the topics stand."""
    with App() as server:
        publish(server, "a", 1, 2)
        with Raw(server) as raw:
            raw.send(b"GET /poll/a?wait=20 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            until(lambda: server.figures()["connectedClients"] == 1, "it waits")
            publish(server, "a", 3)
            status, _, body = raw.response()
        equal((status, [message["data"] for message in json.loads(body)["messages"]]), (200, [3]))
        status, page, _ = poll(server, "a,b?wait=1")
        equal((status, page["messages"], [topic["seq"] for topic in page["topics"]]), (200, [], [3, 0]))
        publish(server, "b", 4)
        equal([message["data"] for message in poll(server, "a,b?" + after(page))[1]["messages"]], [4])


def test_poll_loses_nothing():
    """One page after the other while others publish: each message once, in order."""
    with App(workers=2) as server:
        page = poll(server, "n,m?wait=0")[1]

        def talk(topic):
            for number in range(300):
                publish(server, topic, number)

        talkers = [threading.Thread(target=talk, args=(topic,)) for topic in ("n", "m")]
        for thread in talkers:
            thread.start()
        heard = {"n": [], "m": []}
        while len(heard["n"]) + len(heard["m"]) < 600:
            status, page, _ = poll(server, "n,m?" + after(page))
            equal(status, 200)
            for message in page["messages"]:
                heard[message["topic"]].append(message["data"])
        for thread in talkers:
            thread.join()
        equal(heard, {"n": list(range(300)), "m": list(range(300))})


def test_poll_gaps_and_pages():
    with App("--log-size", "1M") as server:
        publish(server, "a", *["x" * 20000] * 200)
        page = poll(server, "a?since=5")[1]
        gap, first = page["messages"][:2]
        equal((gap["type"], gap["from"]), ("gap", 6))
        equal(first["seq"], gap["to"] + 1)
        epoch = page["topics"][0]["epoch"]
        # Another epoch, and a number from the future: all that there is, as new.
        for query in (f"since=5&epoch={epoch + 1}", "since=100000"):
            page = poll(server, "a?" + query)[1]
            equal((page["messages"][0]["type"], page["messages"][0]["reset"]), ("gap", True))
        # More than a page: the next goes on where it ended.
        publish(server, "many", *range(1100))
        heard, since = [], 0
        while len(heard) < 1100:
            page = poll(server, f"many?since={since}&wait=0")[1]
            heard += [m["data"] for m in page["messages"]]
            since = page["topics"][0]["seq"]
            equal(since, len(heard))
        equal(heard, list(range(1100)))


def test_poll_by_pattern():
    with App() as server:
        publish(server, "p.a", 1)
        page = poll(server, "p.*?wait=0")[1]
        equal([(one["topic"], one["seq"]) for one in page["topics"]], [("p.a", 1)])
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(poll(server, "p.*,p.a?since=,1")))
        waiting.start()
        until(lambda: server.figures()["connectedClients"] == 1, "the poll")
        publish(server, "p.b", "new")  # a topic that was not there yet
        waiting.join()
        equal([(m["topic"], m["data"]) for m in answers[0][1]["messages"]], [("p.b", "new")])


def test_who_leaves_while_waiting():
    with App() as server:
        for _ in range(20):
            with Raw(server) as raw:
                raw.send(b"GET /poll/a?since=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
                until(lambda: server.figures()["connectedClients"] == 1, "the poll")
            until(lambda: server.figures()["connectedClients"] == 0, "its end")
        publish(server, "a", 1)
        equal(server.stats()["subscriptions"], 0)


# ---- who may ----

def test_tokens():
    with App("--token-secret", SECRET) as server:
        publish(server, "a", 1)
        good, mute = token(sub="u"), token(sub="u", permissions=["write"])
        for kind in ("sse", "poll"):
            path = f"/{kind}/a?wait=0"
            for headers, status in ((f"Authorization: Bearer {good}\r\n", 200), (f"Origin: http://localhost\r\nCookie: x=1; token={good}\r\n", 200),
                                    ("", 401), ("Authorization: Bearer x.y.z\r\n", 401),
                                    (f"Authorization: Bearer {mute}\r\n", 403)):
                equal(server.get(path, headers=headers)[0] if kind == "poll"
                      else Stream(server, path, status, headers).headers and status, status, headers)
            equal(server.get(f"{path}&token={token(sub='u', exp=-10)}")[0], 401)
        # A stream cannot show another token, so it ends with the one it has.
        stream = Stream(server, "/sse/a?token=" + token(sub="u", exp=2))
        stream.expect("subscribed")
        assert stream.at_end()


def test_addresses_and_origins():
    with App("--connections-per-address", "3", "--origin", "https://good.example") as server:
        streams = [Stream(server, "/sse/a") for _ in range(3)]
        Stream(server, "/sse/a", 429)
        equal(poll(server, "a?wait=0")[0], 429)
        streams[0].socket.close()
        until(lambda: server.figures()["connectedClients"] == 2, "one less")
        status, _, headers = poll(server, "a?wait=0", "Origin: https://good.example\r\n")
        equal((status, headers["access-control-allow-origin"], headers["vary"]),
              (200, "https://good.example", "Origin"))
        equal(poll(server, "a?wait=0", "Origin: https://bad.example\r\n")[0], 403)
        for origin, wanted in (("good", 204), ("bad", 403)):
            status, headers, _ = server.get("/sse/a", "OPTIONS", f"Origin: https://{origin}.example\r\n"
                                            "Access-Control-Request-Method: GET\r\n")
            equal(status, wanted)
        # A poll that had to wait has the header too.
        status, _, headers = poll(server, "a?since=0&wait=1", "Origin: https://good.example\r\n")
        equal((status, headers.get("access-control-allow-origin")), (204, "https://good.example"))


def test_wrong_addresses():
    with App("--subscriptions-max", "5") as server:
        long = "x" * 201
        for path, status in (("/sse/", 400), ("/poll/", 400), ("/sse/a,,b", 400), ("/sse/a,", 400), ("/poll/" + long, 400),
                             ("/sse/room/1/r", 403), ("/poll/data/u", 403), ("/sse/1,2,3,4,5,6", 400),
                             ("/poll/a?since=x", 400), ("/poll/a?since=-1", 400), ("/poll/a?since=1,2", 400),
                             ("/poll/a?since=1&epoch=1.5", 400), ("/poll/a?wait=x", 400), ("/poll/a?wait=", 400),
                             ("/poll/a?since=99999999999999999999", 400), ("/sse/%ff", 400), ("/sse", 404), ("/poll", 404)):
            equal(server.get(path)[0], status, path)
        for path in ("/sse/a", "/poll/a"):
            for method in ("POST", "PUT", "HEAD"):
                equal(server.get(path, method, "Content-Length: 0\r\n")[0], 405, f"{method} {path}")
        name = "a b/\u00e4\u20ac"
        stream = Stream(server, "/sse/" + urllib.parse.quote(name, safe=""))
        equal(stream.expect("subscribed")["topics"][0]["topic"], name)
        # What its reader says means nothing, and harms nobody.
        stream.send(b"GET / HTTP/1.1\r\n\r\n" * 100)
        publish(server, name, 1)
        stream.updates(1)


def test_messages_of_users():
    """Rooms and direct messages are for those who can answer; a stream takes none of them away."""
    with App() as server:
        stream = Stream(server, "/sse/a?token=x")
        stream.expect("subscribed")
        equal(server.post("broadcast", content="all"), {"ok": True})
        publish(server, "a", 1)
        stream.updates(1)
        equal(server.api("presence")[1]["count"], 0)


def send(server, body, path="/send", headers=""):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with Raw(server) as raw:
        raw.send(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {len(data)}\r\n\r\n".encode()
                 + data)
        status, _, answer = raw.response()
    return status, json.loads(answer)


def bearer(**claims):
    return f"Authorization: Bearer {token(**claims)}\r\n"


def test_sending_by_http():
    with App("--token-secret", SECRET, "--types", "stock_*") as server:
        bob = server.client("/ws?token=" + token(sub="bob")).in_room("r")
        alice = bearer(sub="alice", permissions=["read", "write"])
        equal(send(server, {"type": "direct", "to": "bob", "content": "hi"}, headers=alice), (200, {"messages": []}))
        bob.expect("direct", **{"from": "alice", "content": "hi"})
        status, answer = send(server, {"type": "room_message", "room": "r", "content": 7, "id": "x"}, headers=alice)
        equal((status, answer["messages"][0]["status"]), (200, "accepted"))
        bob.expect("room_message", **{"from": "alice", "room": "r", "content": 7})  # and nobody joined or left
        equal(send(server, [{"type": "stock_a", "to": "bob", "n": 1}, {"type": "ping"}], headers=alice)[1]["messages"], [{"type": "pong"}])
        bob.expect("stock_a", n=1)
        bob.say("members", room="r").expect("members", members=["bob"])
        for body, status, code in (({"type": "room_message", "room": "nobody", "content": 1}, 404, "NOT_A_MEMBER"),
                                   ({"type": "broadcast", "content": 1}, 403, "PERMISSION_DENIED"),
                                   ({"type": "subscribe", "topics": ["a"]}, 400, "INVALID_FIELD"),
                                   ({"type": "join_room", "room": "r"}, 400, "INVALID_FIELD"),
                                   ({"type": "DATA", "id": "1", "data": 1}, 400, "INVALID_FIELD"),
                                   ({"type": "nonsense"}, 400, "UNKNOWN_TYPE"), ({"x": 1}, 400, "MISSING_FIELD")):
            got, answer = send(server, body, headers=alice)
            equal((got, answer["code"]), (status, code), body)
        for body in b"", b"7", b"[]", b"[" * 40 + b"]" * 40:
            equal(send(server, body, headers=alice)[0], 400, body)
        equal(send(server, {"type": "ping"})[0], 401)
        equal(send(server, {"type": "ping"}, "/send/bob", alice)[0], 403)
        equal(send(server, {"type": "ping"}, headers=alice + "Origin: https://elsewhere.example\r\n")[0], 403)
        equal(send(server, {"type": "room_message", "room": "r", "content": 1}, headers=bearer(sub="eve", rooms=["other"]))[0], 404,
              "a room that is not hers")
        equal(server.figures()["connectedClients"], 1, "who sends so is nobody's device")
    with App("--messages-per-second", "2", limits=True) as server:
        statuses = [send(server, {"type": "ping"}, "/send/a")[0] for _ in range(10)]
        assert statuses[0] == 200 and statuses[-1] == 429, statuses
    with App("--message-max", "1k") as server:
        equal(send(server, {"type": "direct", "to": "a", "content": "x" * 2000}, "/send/b")[0], 413)


def test_a_stream_is_a_device():
    """Personal messages, rooms and broadcasts by /sse; and what was stored before."""
    with App("--token-secret", SECRET, "--connections-per-user", "2") as server:
        alice, bob = token(sub="alice", permissions=["read", "write", "broadcast"]), token(sub="bob")
        talker = server.client("/ws?token=" + alice).in_room("r")
        talker.say("direct", to="bob", content="before")
        talker.settle()
        stream = Stream(server, f"/sse?me=1&rooms=r,s&token={bob}")
        stream.expect("direct", content="before")
        stream.expect("room_joined", room="r")
        stream.expect("room_joined", room="s")
        talker.expect("user_joined", userId="bob", room="r")
        talker.say("room_message", room="r", content=1).say("direct", to="bob", content=2).say("broadcast", content=3)
        equal({stream.event()["content"] for _ in range(3)}, {1, 2, 3})
        publish(server, "feed", "x")
        both = Stream(server, f"/sse/feed?me=1&token={bob}")
        both.expect("subscribed")
        publish(server, "feed", 4)
        both.expect("update", data=4)
        third = Stream(server, f"/sse?me=1&token={bob}")
        assert third.at_end(), "the third device of who may have two"
        stream.socket.close()
        until(lambda: server.api("presence?user=bob")[1]["users"][0]["clients"] and
              len(server.api("presence?user=bob")[1]["users"][0]["clients"]) == 1, "it has left")
        for path in ("/sse?rooms=", "/sse?rooms=" + ",".join(map(str, range(17)))):
            equal(server.get(f"{path}&token={bob}")[0], 400, path)
        equal(server.get(f"/sse?token={bob}")[0], 404)
        stranger = Stream(server, "/sse?rooms=r&token=" + token(sub="eve", rooms=["other"]))
        stranger.expect("error", code="PERMISSION_DENIED")
    with App() as server:
        stream = Stream(server, "/sse?me=1&user=carol")
        equal(server.api("presence?user=carol")[1]["count"], 1)
        server.post("send", to="carol", content="hello")
        stream.expect("direct", content="hello")


run(globals())
