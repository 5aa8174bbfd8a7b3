# SPDX-License-Identifier: MIT
"""`ringcast app` among strangers: what one client, address or sender may cost the others by messages, polls and requests.
Honest clients beside the attacker are the judges."""
import json
import threading
import time
import urllib.parse

from app import SECRET, App, token
from harness import CLOSE, SANITIZED, SLOW, Raw, equal, needs_pace, run, until

KEY = "a key of the application"


class Reader(threading.Thread):
    """A user who asked for reliable messages: it acknowledges each, and keeps what it heard, each once."""

    def __init__(self, client, wanted):
        super().__init__(daemon=True)
        self.client, self.wanted, self.contents, self.ids, self.wrong = client, wanted, [], set(), None
        self.start()

    def run(self):
        try:
            while len(self.contents) < self.wanted:
                message = self.client.expect("DATA")
                self.client.say("ACK", data={"messageId": message["id"]})
                if message["id"] not in self.ids:
                    self.ids.add(message["id"])
                    self.contents.append(message["data"]["content"])
        except Exception as error:  # pylint: disable=broad-except
            self.wrong = error

    def done(self):
        self.join(15)
        equal((self.wrong, len(self.contents)), (None, self.wanted))
        return self.contents


# ---- who is sent more than it can acknowledge ----

def test_nobody_is_locked_out_by_what_waits():
    """A hundred messages wait for a user who may have 64 unacknowledged: it comes in, and gets them all."""
    with App() as server:
        attacker = server.client("/ws/m")
        for number in range(100):
            attacker.say("direct", to="victim", content=number)
        attacker.settle()
        victim = server.client("/ws/victim?reliable=1")
        equal(Reader(victim, 100).done(), list(range(100)))
        victim.close()
        # Also one that leaves in the middle, time and again: nothing is lost, and the order stays.
        for number in range(100):
            attacker.say("direct", to="other", content=number)
        attacker.settle()
        heard = []
        while len(heard) < 100:
            client = server.client("/ws/other?reliable=1")
            heard += Reader(client, 10).done()
            client.settle_after("DATA").close()
            until(lambda: server.figures()["users"] == 1, "it has left")
        equal(heard, list(range(100)))


def test_nobody_is_closed_by_a_row_of_directs():
    """65 and more in a row to a user who is there: those that fit come, the others when there is room; who did not ask
    to acknowledge gets all of them at once."""
    needs_pace()
    with App() as server:
        attacker, victim, plain = server.client("/ws/m"), server.client("/ws/victim?reliable=1"), server.client("/ws/p")
        for number in range(160):
            attacker.say("direct", to="victim", content=number)
            attacker.say("direct", to="p", content=number)
            if number < 150:
                server.post("send", to="p", content=number, reliable=True)
        attacker.settle()
        heard = [plain.hear() for _ in range(310)]
        equal([m["content"] for m in heard if m["type"] == "direct" and m["from"] == "m"], list(range(160)))
        equal([m.get("data", m)["content"] for m in heard if m.get("data", m)["from"] == "server"], list(range(150)))
        equal(sum(m["type"] == "DATA" for m in heard), 64)
        equal(Reader(victim, 160).done(), list(range(160)))
        equal(server.figures()["unacknowledged"], 0)
        # One that never acknowledges is not closed either. What is beyond its store is the attacker's own loss.
        mute = server.client("/ws/mute?reliable=1")
        for number in range(300):
            attacker.say("direct", to="mute", content=number)
        attacker.settle()
        equal([mute.expect("DATA")["data"]["content"] for _ in range(64)], list(range(64)))
        mute.settle()
        mute.say("ACK", data={"messageId": "0-0"}).settle().close()
        until(lambda: server.figures()["users"] == 3, "it has left")
        assert Reader(server.client("/ws/mute?reliable=1"), 100).done()[-1] == 299


def test_what_waits_grows_old():
    """A message that comes back from one connection after the other keeps its time."""
    with App("--store-age", "1500ms", "--resend-time", "10s") as server:
        attacker = server.client("/ws/m").say("direct", to="victim", content="old").settle()
        begin = time.monotonic()
        while time.monotonic() - begin < 2:
            client = server.client("/ws/victim?reliable=1")
            client.settle_after("DATA").close()
            until(lambda: server.figures()["users"] == 1, "it has left")
            time.sleep(0.1)
        attacker.say("direct", to="victim", content="new").settle()
        equal(server.client("/ws/victim?reliable=1").expect("DATA")["data"]["content"], "new")


# ---- what is kept for those who are away ----

def test_nobody_pushes_out_what_another_sent():
    with App("--token-secret", SECRET) as server:
        friend, attackers = server.client("/ws/friend", Authorization="Bearer " + token(sub="friend")), []
        for number in range(20):
            friend.say("direct", to="victim", content=f"friend {number}")
        friend.settle()
        for name in ("x", "y", "z", "w"):
            attacker = server.client("/ws", Authorization="Bearer " + token(sub=name))
            for number in range(200):
                attacker.say("direct", to="victim", content="x" * 900)
            attackers.append(attacker.settle_after("error"))
        victim = server.client("/ws", Authorization="Bearer " + token(sub="victim"))
        heard = []
        while len(heard) < 20:
            message = victim.expect("direct")
            if message["from"] == "friend":
                heard.append(message["content"])
        equal(heard, [f"friend {number}" for number in range(20)])


def test_all_that_is_kept_has_a_bound():
    """One sender writes to thousands of invented users: its share is used up, and a friend's messages are still kept."""
    with App("--token-secret", SECRET, "--store-total", "4M", "--store-share", "1M") as server:
        def enter(name):
            return server.client("/ws", Authorization="Bearer " + token(sub=name))
        friend, attacker = enter("friend"), enter("m")
        friend.say("direct", to="victim", content="before").settle()
        before, refused = server.memory(), 0
        for number in range(3000):
            attacker.say("direct", to=f"nobody {number}", content="x" * 1000)
        attacker.say("ping")
        friend.say("direct", to="victim", content="after")
        while (message := attacker.hear())["type"] == "error":
            equal(message["code"], "NOT_DELIVERED")
            refused += 1
        assert 1900 < refused < 2400, refused
        friend.settle()
        assert SANITIZED or server.memory() - before < 8 << 20
        victim = enter("victim")
        for content in ("before", "after"):
            victim.expect("direct", content=content)


def test_who_is_waited_for_is_not_forgotten_for_others():
    with App("--users-kept", "100") as server:
        friend, attacker = server.clients("friend", "m")
        friend.say("direct", to="victim", content="kept").settle()
        for number in range(300):
            attacker.say("direct", to=f"nobody {number}", content=1)
            server.client(f"/ws/passer{number}").say("DATA", id="1", data=1).expect("ACK")
        attacker.settle_after("error")
        server.client("/ws/victim").expect("direct", content="kept")


# ---- what messages cost ----

def kinds(client, count):
    return [client.hear()["type"] for _ in range(count)]


def test_messages_cost_their_size():
    """Of 64 KB messages far fewer are read than of small ones, whatever is in them, and who goes on is closed soon."""
    with App("--messages-per-second", "1", "--burst", "100", "--trust-proxy", "127.0.0.1", limits=True) as server:
        for number, text in enumerate(('{"type":"ping","x":"%s"}' % ("x" * 60000), "[" + "0," * 30000 + "0]", "{" * 60000)):
            client = server.client(X_Forwarded_For=f"192.0.2.{number}")
            for _ in range(4):
                client.text(text)
            client.say("ping")
            # One is read; of the 100 units that takes 59 or 60.
            heard = [client.hear() for _ in range(5)]
            equal([m.get("code") for m in heard[1:4]], ["RATE_LIMIT_EXCEEDED"] * 3, text[:20])
            equal((heard[0].get("code", "INVALID_JSON"), heard[4]["type"]), ("INVALID_JSON", "pong"))
        # A thousand units of refusals are 17 of these.
        client, count = server.client(X_Forwarded_For="192.0.2.66"), 0
        try:
            while count < 100:
                client.text("x" * 60000)
                count += 1
        except (BrokenPipeError, ConnectionResetError):
            pass
        refused = 0
        while client.receive()[0] != CLOSE:
            refused += 1
        equal((client.closed[0], refused <= 20), (1008, True))
        # An honest client is not held to any of it.
        client = server.client()
        for number in range(100):
            client.say("ping", timestamp=number)
        equal(kinds(client, 100), ["pong"] * 100)


def test_messages_cost_their_audience():
    with App("--messages-per-second", "1", "--burst", "60", "--permissions", "read,write,broadcast",
             "--handshakes-per-second", "0", limits=True) as server:
        crowd = [server.client(f"/ws/u{number}") for number in range(250)]
        for client in crowd:
            client.say("join_room", room="r")
        member, loud, alone = (server.client("/ws/" + name) for name in ("member", "loud", "alone"))
        member.in_room("r")
        alone.in_room("mine")
        for number in range(60):
            member.say("room_message", room="r", content=number)
        heard = [member.hear() for _ in range(38)]
        assert all(m["code"] == "RATE_LIMIT_EXCEEDED" for m in heard), heard  # 2 by joining, 3 each
        for number in range(60):
            loud.say("broadcast", content=number, id=number)
        refused = 0
        while refused < 40:
            message = loud.hear()
            refused += message.get("code") == "RATE_LIMIT_EXCEEDED"
        for number in range(50):
            alone.say("room_message", room="mine", content=number)
        alone.settle_after("broadcast")
        for client in crowd:
            client.settle_after("room_joined", "user_joined", "room_message", "broadcast")


def drained(client):
    """How many of a row of messages are read before one is refused."""
    for _ in range(60):
        client.say("ping")
    read = sum(client.hear()["type"] == "pong" for _ in range(60))
    client.close()
    return read


def test_coming_back_brings_no_messages():
    """What a connection used up is missing to the next one of its address, or of its user wherever that one is."""
    needs_pace()
    def bearer(name):
        return {"Authorization": "Bearer " + token(sub=name)}
    with App("--messages-per-second", "10", "--burst", "40", "--token-secret", SECRET, "--auth", "optional", "--trust-proxy",
             "127.0.0.1", "--connections-per-user", "0", limits=True) as server:
        for bad, other in ((({}, "192.0.2.66"), ({}, "192.0.2.1")), ((bearer("m"), None), (bearer("a"), "192.0.2.66"))):
            begin, read = time.monotonic(), 0
            for number in range(12):
                # A user who wanders is the same one.
                read += drained(server.client(X_Forwarded_For=bad[1] or f"192.0.2.{100 + number}", **bad[0]))
            passed = time.monotonic() - begin
            assert 40 <= read <= 41 + 10 * passed, (read, passed)
            # Several at once, which go together: none of the next ones is better off.
            for wait in (0.2, 0):
                row = [server.client(X_Forwarded_For=bad[1] or "192.0.2.100", **bad[0]) for _ in range(4)]
                read = [drained(client) for client in row]
                begin = begin if wait else time.monotonic()
                time.sleep(wait)
            passed = time.monotonic() - begin
            assert sum(read) <= 4 + 10 * passed * 4, (read, passed)
            # An honest client elsewhere, or another user at the same place, has all that is his.
            assert drained(server.client(X_Forwarded_For=other[1], **other[0])) >= 40
        # It is an account of its user also if that one is named only later.
        client = server.client("/ws/m", X_Forwarded_For="192.0.2.200").say("auth", token=token(sub="m"))
        client.expect("auth_success")
        assert drained(client) < 30
        time.sleep(4.5 * SLOW)
        assert drained(server.client(X_Forwarded_For="192.0.2.67")) >= 40


def test_becoming_a_user_brings_no_messages():
    """What was said before a login stays with the address, or with the user before, whoever pays for what comes then."""
    def bearer(name):
        return {"Authorization": "Bearer " + token(sub=name)}
    with App("--messages-per-second", "10", "--burst", "40", "--token-secret", SECRET, "--auth", "optional", "--trust-proxy",
             "127.0.0.1", "--connections-per-user", "0", limits=True) as server:
        for headers, becomes, place in (({}, "b", "192.0.2.66"), (bearer("a"), "c", "192.0.2.67")):
            begin, read = time.monotonic(), 0
            for number in range(12):
                client = server.client(X_Forwarded_For=place if not headers else f"192.0.2.{100 + number}", **headers)
                for _ in range(30):
                    client.say("ping")
                read += sum(client.hear()["type"] == "pong" for _ in range(30))
                client.say("auth", token=token(sub=becomes))
                client.hear()
                client.close()
            passed = time.monotonic() - begin
            assert 30 <= read <= 41 + 10 * passed, (read, passed)
        # Who logs in at one address does not use it up for the others there.
        for number in range(20):
            client = server.client(X_Forwarded_For="192.0.2.99")
            client.say("auth", token=token(sub=f"user{number}")).expect("auth_success")
            client.close()
        assert drained(server.client(X_Forwarded_For="192.0.2.99")) >= 30


def test_strangers_say_little():
    """Before it has said who it is, a client may send a few messages, and small ones: tokens, and no work for anybody."""
    with App("--token-secret", SECRET) as server:
        stranger = server.client()
        for _ in range(4):
            stranger.text('{"type":"ping","x":"%s"}' % ("x" * 5000))
            stranger.expect_error("TOO_LONG")
        for _ in range(6):
            stranger.say("ping").expect("pong")
        stranger.say("ping").expect_close(1008)
        stranger = server.client()
        stranger.say("batch", messages=[{"type": "ping"}] * 50)
        equal(kinds(stranger, 9), ["pong"] * 9)
        stranger.expect_close(1008)
        honest = server.client()
        for _ in range(5):
            honest.say("HEARTBEAT").expect("ACK")
        honest.say("auth", token=token(sub="u", x="x" * 2000)).expect("auth_success")
        for _ in range(50):
            honest.say("ping", timestamp="x" * 5000).expect("pong")


def test_json_has_bounds():
    with App() as server:
        client = server.client("/ws/a")
        for depth, right in ((30, True), (31, True), (32, False), (2000, False)):
            client.text('{"type":"ping","timestamp":' + "[" * depth + "]" * depth + "}")
            client.expect(*(("pong",) if right else ("error",)))
        for count, right in ((9000, True), (10001, False), (30000, False)):
            client.text('{"type":"ping","x":[' + "1," * count + "1]}")
            client.expect(*(("pong",) if right else ("error",)))
        # What stands in a text counts for nothing.
        for text in ("[" * 1000, "," * 20000, '\\"[{' * 5000, "\\\\"):
            client.say("ping", timestamp=text).expect("pong", timestamp=text)


# ---- what is answered ----

def test_history_comes_in_pages():
    """Whoever asks for all there is gets pages of a bounded size, is told that there is more, and is not closed."""
    with App("--history-max", "1000", "--content-max", "60000", "--log-size", "64M") as server:
        talker, reader = (client.in_room("r") for client in server.clients("talker", "reader"))
        talker.expect("user_joined")
        for number in range(200):
            talker.say("room_message", room="r", content=f"{number} " + "x" * 20000)
            reader.expect("room_message")
            if number < 100:
                server.post("publish", topic="t", data=f"{number} " + "x" * 200000)
        for members, count, size in (({"room": "r"}, 200, 20000), ({"topic": "t"}, 100, 200000)):
            def numbers(page):
                assert sum(len(json.dumps(message)) for message in page["messages"]) < 300000, "a page is too large"
                return [int(m.get("content", m.get("data")).split()[0]) for m in page["messages"]]
            reader.say("history", **members)
            page = reader.expect("history", more=True, seq=count + ("room" in members))
            found = numbers(page)
            equal((found, len(found)), (list(range(count))[-len(found):], (256 << 10) // size))
            heard, since = [], 0
            while len(heard) < count:
                reader.say("history", since=since, **members)
                page = reader.expect("history", more=True) if len(heard) + len(found) < count else reader.expect("history")
                heard += numbers(page)
                since = page["seq"]
            equal((heard, page.get("more")), (list(range(count)), None))
        # Nothing is left that it asks for, or the log no longer has it: no page after page of nothing.
        for since in (since, since + 5):
            reader.say("history", topic="t", since=since)
            equal(reader.expect("history", messages=[]).get("more"), None)
        # A hundred at once, and read only then: those for which there is no room are refused, and none closes.
        for _ in range(100):
            reader.say("history", room="r")
        time.sleep(0.5)
        types = [reader.hear() for _ in range(100)]
        assert {m["type"] for m in types} <= {"history", "error"}, types
        assert all(m["code"] == "TRY_LATER" for m in types if m["type"] == "error")
        reader.settle()


def ask(server, path, headers=""):
    """Status and body of a poll."""
    with Raw(server) as raw:
        raw.send(f"GET /poll/{path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode())
        status, _, body = raw.response()
        return status, body


def test_a_poll_is_no_amplifier():
    """The same pattern again and again, patterns that overlap, names that patterns reach too: each message comes once."""
    with App() as server:
        for topic in range(100):
            for _ in range(5):
                server.post("publish", topic=f"topic {topic}", data="x" * 1000)
        topics = [f"topic {number}" for number in range(100)]
        for path in (",".join("*" * 250), "*,t*,to*,top*,topi*,topic*", ",".join(["*", *map(urllib.parse.quote, topics)]),
                     ",".join(map(urllib.parse.quote, topics * 2))):
            status, body = ask(server, path + "?since=" + ",".join("0" * (path.count(",") + 1)))
            equal(status, 200, body[:200])
            page = json.loads(body)
            equal(sorted(one["topic"] for one in page["topics"]), sorted(topics), path[:50])
            equal((len(page["messages"]), page.get("more")), (500, None))
        equal(ask(server, ",".join(letter + "*" for letter in "abcdefghijklmnopq"))[0], 400)
        equal(ask(server, ",".join(letter + "*" for letter in "abcdefghijklmnop") + "?wait=0")[0], 200)
        # A number behind a name that came before is still that of its place.
        page = json.loads(ask(server, "topic%201,topic%201,topic%202?since=4,,3")[1])
        equal([(m["topic"], m["seq"]) for m in page["messages"]], [("topic 1", 5), ("topic 2", 4), ("topic 2", 5)])
        # A subscribe names a topic once in its answer, too.
        client = server.client().say("subscribe", topics=["*", "t*", "topic 1", "topic 1", "t*"])
        equal(sorted(one["topic"] for one in client.expect("subscribed")["topics"] if "seq" in one), sorted(topics))


def test_pages_have_a_bound():
    with App("--subscriptions-max", "20") as server:
        for number in range(60):
            server.post("publish", topic=f"{number % 30}", data="x" * 100000)
        status, body = ask(server, "*?since=0")
        page = json.loads(body)
        assert page["more"] and len(body) < 1200000 and len(page["topics"]) == 20, body[-2000:]
        # What a page had no room for is in a later one.
        heard, since = [], [0] * 20
        while page.get("more"):
            page = json.loads(ask(server, ",".join(map(str, range(20))) + "?since=" + ",".join(map(str, since)))[1])
            heard += [(m["topic"], m["seq"]) for m in page["messages"]]
            since = [one["seq"] for one in page["topics"]]
        equal(sorted(heard), sorted((str(topic), seq) for topic in range(20) for seq in (1, 2)))


def test_requests_have_a_rate():
    """Polls and streams of one address, and of one user, come at a rate; leaving and coming back is no way around."""
    needs_pace()
    with App("--requests-per-second", "20", "--token-secret", SECRET, limits=True) as server:
        def statuses(count, name, path="a"):
            bearer = f"Authorization: Bearer {token(sub=name)}\r\n"
            return [ask(server, path + "?wait=0", bearer)[0] for _ in range(count)]
        begin = time.monotonic()
        found = statuses(200, "a")
        passed = time.monotonic() - begin
        assert found[:30] == [200] * 30 and 429 in found, found
        assert found.count(200) <= 41 + 21 * passed, (found.count(200), passed)
        with Raw(server) as raw:
            raw.send(f"GET /sse/a?token={token(sub='b')} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            status, headers, _ = raw.response()
            equal((status, headers.get("retry-after")), (429, "1"))
        # One who follows by WebSocket is not concerned, and polls that wait are within the rate.
        client = server.client("/ws", Authorization="Bearer " + token(sub="c"))
        client.say("subscribe", topics=["a"]).expect("subscribed")
        until(lambda: statuses(1, "a") == [200], "the next second")


# ---- what is made ----

def test_an_address_makes_so_many_topics():
    """What is there only because of one address has a bound, however many connections it has; others are not concerned."""
    with App("--topics-per-address", "300", "--rooms-per-connection", "1000", "--trust-proxy", "127.0.0.1") as server:
        honest = server.client("/ws/honest", X_Forwarded_For="192.0.2.1").in_room("honest")
        made, attackers = 0, []
        for number in range(6):
            attacker = server.client(f"/ws/m{number}", X_Forwarded_For="192.0.2.66")
            attackers.append(attacker)
            for room in range(50):
                attacker.say("join_room", room=f"{number} {room}")
                made += attacker.hear()["type"] == "room_joined"
            attacker.say("subscribe", topics=[f"{number} {topic}" for topic in range(100)])
            made += len(attacker.expect("subscribed")["topics"])
            attacker.settle_after("error")
        equal(made, 300)
        assert server.stats()["topics"] < 310
        # It may still enter what others made, and is told the others' words; and others may make what they like.
        attackers[5].in_room("honest").say("room_message", room="honest", content="hello")
        honest.expect("user_joined")
        honest.expect("room_message", content="hello")
        honest.say("subscribe", topics=[f"mine {number}" for number in range(100)])
        equal(len(honest.expect("subscribed")["topics"]), 100)
        for number in range(40):
            honest.in_room(f"mine {number}")
        # What it has left no longer counts, even if others are still there.
        honest.in_room("0 1")
        attackers[0].close()
        until(lambda: server.figures()["connectedClients"] == 6, "its end")
        attackers[5].say("subscribe", topics=[f"again {number}" for number in range(200)])
        equal(len(attackers[5].expect("subscribed")["topics"]), 150)


def test_nobody_keeps_what_others_made():
    """An accomplice makes topics, the attacker enters them, the accomplice leaves, time and again: what the attacker's
    address keeps alive has a bound all the same, in rooms and in feeds."""
    with App("--topics-per-address", "100", "--rooms-per-connection", "1000", "--trust-proxy", "127.0.0.1") as server:
        honest = server.client("/ws/honest", X_Forwarded_For="192.0.2.1").in_room("honest")
        honest.say("subscribe", topics=["quiet"]).expect("subscribed")
        server.post("publish", topic="told", data=1)
        for kind in ("feeds", "rooms"):
            keepers = [server.client(f"/ws/m{number}", X_Forwarded_For="192.0.2.66") for number in range(3)]
            kept = 0
            for number in range(6):
                maker = server.client("/ws/maker", X_Forwarded_For=f"192.0.2.{100 + number}")
                for client in (maker, keepers[number % 3]):
                    names = [f"{number} {topic}" for topic in range(100)]
                    if kind == "feeds":
                        client.say("subscribe", topics=names)
                        got = len(client.expect("subscribed")["topics"])
                    else:
                        for name in names:
                            client.say("join_room", room=name)
                        got = sum(client.hear()["type"] == "room_joined" for _ in names)
                    client.settle_after("error", "user_joined")
                    kept += got if client is not maker else 0
                    equal(got == 100, client is maker or number < 2)
                maker.close()
            equal(kept, 200)
            until(lambda: server.figures()["activeRooms"] <= 202, "rooms that nobody is in are over")
            assert kind == "rooms" or server.stats()["topics"] < 210
            # What has been published to is no burden, and who is elsewhere may follow and enter what he likes.
            keepers[0].say("subscribe", topics=["told"])
            equal(len(keepers[0].expect("subscribed")["topics"]), 1)
            honest.in_room("0 1" + kind).say("subscribe", topics=["0 2" + kind])
            equal(len(honest.expect("subscribed")["topics"]), 1)
            for keeper in keepers:
                keeper.close()
            until(lambda: server.figures()["connectedClients"] == 1, "their end")


def test_patterns_cost_what_they_look_at():
    """A pattern looks at all topics there are. One address makes as many as it may; it may not ask for patterns more often
    for that, a look at them takes little, and nobody's messages wait for it."""
    with App("--topics-per-address", "10000", "--subscriptions-max", "1000", "--requests-per-second", "100",
             "--trust-proxy", "127.0.0.1", limits=True) as server:
        attackers = []
        for number in range(10):
            attacker = server.client(f"/ws/m{number}", X_Forwarded_For="192.0.2.66")
            for part in range(4):
                attacker.say("subscribe", topics=[f"m{number} {part} {topic}" for topic in range(225)])
                attacker.expect("subscribed")
            attackers.append(attacker)
        assert server.stats()["topics"] >= 9000, server.stats()["topics"]
        honest, talker = (server.client(f"/ws/{name}", X_Forwarded_For="192.0.2.1").in_room("r") for name in "ab")
        honest.expect("user_joined")
        begin, statuses, slowest = time.monotonic(), [], 0
        for number in range(100):
            statuses.append(ask(server, "zzz*?wait=0&since=0", "X-Forwarded-For: 192.0.2.66\r\n")[0])
            if number % 5 == 0:
                sent = time.monotonic()
                talker.say("room_message", room="r", content=number)
                honest.expect("room_message", content=number)
                slowest = max(slowest, time.monotonic() - sent)
        passed = time.monotonic() - begin
        assert statuses.count(204) <= (200 + 100 * passed) / 11 + 1 and 429 in statuses, (statuses.count(204), passed)
        assert slowest < 0.25 * SLOW, slowest
        begin = time.monotonic()
        equal(ask(server, "zzz*?wait=0&since=0", "X-Forwarded-For: 192.0.2.2\r\n")[0], 204)
        assert time.monotonic() - begin < 0.25 * SLOW


def test_rooms_that_are_over_cost_nothing():
    with App() as server:
        client = server.client("/ws/a")
        for number in range(3000):
            client.say("join_room", room=f"{number}").say("leave_room", room=f"{number}")
            client.hear()
            client.hear()
        client.settle()
        assert server.stats()["topics"] < 100, server.stats()["topics"]


# ---- bodies ----

def test_a_body_waits_for_its_key():
    """Without a key the answer comes before the body, and the server's memory does not grow by what strangers send."""
    with App("--api-key", KEY, "--body-max", "16M") as server:
        for path, status in (("/api/publish", 401), ("/api/nothing", 401), ("/", 405), ("/ws", 405), ("/poll/a", 405), ("/nothing", 404)):
            for headers in ("", "X-API-Key: wrong\r\n", "Authorization: Bearer x\r\n"):
                with Raw(server) as raw:
                    raw.send(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n{headers}\r\n".encode())
                    equal(raw.response()[0], status, path + headers)
        before, raws = server.memory(), []
        for _ in range(20):
            raw = Raw(server)
            try:
                raw.send(b"POST /api/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 4000000)
            except (BrokenPipeError, ConnectionResetError):
                pass
            raws.append(raw)
        assert server.memory() - before < 40 << 20, "bodies of strangers are gathered"
        data = json.dumps({"topic": "t", "data": "x" * 100000}).encode()
        status, answer = server.api("publish", data, headers=f"X-API-Key: {KEY}\r\n")
        equal((status, answer["seq"]), (200, 1))


run(globals())
