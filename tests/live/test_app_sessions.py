# SPDX-License-Identifier: MIT
"""Users who poll for what is theirs: who is in the room between two polls, what was said meanwhile, what an answer that got
lost costs; and who opens sessions and does not come again, or guesses those of others."""
import json
import random
import signal
import threading
import time

from app import SECRET, App, token
from harness import Raw, equal, run, until


class Poller:
    """A user who polls, each time over a connection of its own, and so on whichever worker."""

    def __init__(self, server, query="", path="", headers="", status=200):
        self.server, self.headers, self.session, self.heard = server, headers, None, []
        got, page, _ = self.get(f"{path}?me=1&{query}")
        equal(got, status, f"the first poll: {page}")
        if status == 200:
            self.take(page)

    def get(self, path, limit=20):
        with Raw(self.server, limit=limit) as raw:
            raw.send(f"GET /poll{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{self.headers}\r\n".encode())
            status, headers, body = raw.response()
        if status != 204:
            equal(headers["content-type"], "application/json")
        return status, json.loads(body) if body else None, headers

    def take(self, page):
        self.session = page["session"]
        self.heard += page["messages"]

    def poll(self, query="wait=0"):
        status, page, _ = self.get(f"?session={self.session}&{query}")
        if status == 200:
            self.take(page)
        return status

    def expect(self, type_, **members):
        """The next message, whenever it comes."""
        while not self.heard:
            assert self.poll("wait=10") in (200, 204), "its session is over"
        message = self.heard.pop(0)
        wanted = {"type": type_, **members}
        equal({name: message.get(name) for name in wanted}, wanted, f"a message ({message})")
        return message

    def nothing(self):
        equal((self.poll(), self.heard), (204, []))


def members(client, room):
    return sorted(client.say("members", room=room).expect("members")["members"])


def test_between_two_polls():
    """It is in its rooms all the time, and others hear once that it came and once that it went."""
    with App("--poll-timeout", "2s", "--permissions", "read,write,broadcast", workers=3) as server:
        talker = server.client("/ws/talker").in_room("r")
        bob = Poller(server, "user=bob&rooms=r,s")
        talker.expect("user_joined", userId="bob", room="r")
        bob.expect("room_joined", room="r")
        bob.expect("room_joined", room="s")
        for number in range(5):
            equal(members(talker, "r"), ["bob", "talker"])
            talker.say("room_message", room="r", content=number).say("direct", to="bob", content=number)
            talker.say("broadcast", content=number).expect("broadcast")
            equal(bob.poll(), 200)
            said = [(message["type"], message["content"]) for message in bob.heard]
            equal(sorted(said), sorted((type_, number) for type_ in ("room_message", "direct", "broadcast")))
            bob.heard = []
            bob.nothing()
        equal(server.api("clients?user=bob")[1]["clients"][0]["transport"], "poll")
        # It comes no more.
        talker.expect("user_left", userId="bob", room="r")
        equal(bob.poll(), 410)
        equal(bob.get(f"?session={bob.session}")[1]["code"], "SESSION_OVER")
        until(lambda: server.figures()["connectedClients"] == 1, "it is gone")
        equal(server.api("presence?user=bob")[1]["count"], 0)
        equal(server.stats()["subscriptions"], 2, "the talker's: everybody's, and a room's")


def test_waiting():
    with App("--permissions", "read,write,broadcast", workers=3) as server:
        talker = server.client("/ws/talker").in_room("r")
        bob = Poller(server, "user=bob&rooms=r")
        talker.expect("user_joined")
        bob.expect("room_joined")
        for said in ({"type": "room_message", "room": "r"}, {"type": "direct", "to": "bob"}, {"type": "broadcast"}):
            answers = []
            waiting = threading.Thread(target=lambda kept=answers: kept.append(bob.poll("wait=20")))
            waiting.start()
            until(lambda: server.figures()["connectedClients"] == 3, "it waits")
            talker.say(said.pop("type"), content="now", **said)
            waiting.join()
            equal(answers, [200])
            equal([message["content"] for message in bob.heard], ["now"])
            bob.heard = []
            talker.settle_after("broadcast")
        begin = time.monotonic()
        equal(bob.poll("wait=1"), 204)
        assert 0.8 < time.monotonic() - begin < 10
        # Over one connection, and of two polls at once the newer counts.
        with Raw(server, limit=20) as first, Raw(server, limit=20) as second:
            get = f"GET /poll?session={bob.session}&wait=20 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            first.send(get)
            until(lambda: server.figures()["connectedClients"] == 3, "the first waits")
            second.send(get)
            equal(first.response()[0], 204)
            talker.say("direct", to="bob", content="second")
            status, _, body = second.response()
            equal((status, json.loads(body)["messages"][0]["content"]), (200, "second"))
            bob.session = json.loads(body)["session"]
            second.send(f"GET /poll?session={bob.session}&wait=20 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            talker.say("direct", to="bob", content="third")
            status, _, body = second.response()
            equal((status, json.loads(body)["messages"][0]["content"]), (200, "third"))


def test_nothing_is_lost():
    """A talker in a room and to a user, and polls of which some answers get lost: each message once, in order."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance, count = random.Random(seed), 400
    with App("--store-count", "1000", workers=2) as server:
        talker = server.client("/ws/talker").in_room("r")
        bob = Poller(server, "user=bob&rooms=r")
        bob.expect("room_joined")

        def talk():
            for number in range(count):
                talker.say("room_message", room="r", content=number)
                talker.say("direct", to="bob", content=number)

        talking = threading.Thread(target=talk)
        talking.start()
        heard = {"room_message": [], "direct": []}
        deadline = time.monotonic() + 60
        while len(heard["room_message"]) + len(heard["direct"]) < 2 * count and time.monotonic() < deadline:
            status, page, _ = bob.get(f"?session={bob.session}&wait=5")
            assert status in (200, 204), status
            if status == 204 or chance.random() < 0.3:
                continue  # the answer got lost
            bob.take(page)
            for message in page["messages"]:
                heard[message["type"]].append(message["content"])
        talking.join()
        equal(heard, {"room_message": list(range(count)), "direct": list(range(count))}, f"seed {seed}")


def test_going_on():
    """Rooms are changed from poll to poll; topics are named at the beginning; what waited comes first."""
    with App() as server:
        talker = server.client("/ws/talker").in_room("r")
        talker.say("direct", to="bob", content="before").settle()
        server.post("publish", topic="a", data=1)
        bob = Poller(server, "user=bob&rooms=r&since=0", "/a,n.*")
        bob.expect("subscribed")
        kinds = {bob.expect(None if not bob.heard else bob.heard[0]["type"])["type"] for _ in range(3)}
        equal(kinds, {"room_joined", "direct", "update"})
        talker.expect("user_joined", userId="bob")
        equal(bob.poll("rooms=q&wait=0"), 200)
        bob.expect("room_left", room="r")
        bob.expect("room_joined", room="q")
        talker.expect("user_left", userId="bob")
        talker.say("room_message", room="r", content="unheard").settle()
        bob.nothing()
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(bob.poll("wait=20")))
        waiting.start()
        until(lambda: server.figures()["connectedClients"] == 3, "it waits")
        server.post("publish", topic="n.new", data=2)  # a topic that was not there yet
        waiting.join()
        bob.expect("update", topic="n.new", data=2)
        equal(bob.poll("rooms=&wait=0"), 200)
        bob.expect("room_left", room="q")
        # A type that passes, and one that goes to each by itself.
        equal(bob.poll("rooms=r&wait=0"), 200)
        bob.expect("room_joined", room="r")
        talker.expect("user_joined")
        talker.say("room_message", room="r", content="typing", ephemeral=True).settle()
        bob.expect("room_message", content="typing", ephemeral=True)
        talker.say("room_message", room="r", content="apart", exclude=["eve"]).settle()
        bob.expect("room_message", content="apart")


def test_what_was_not_polled_for():
    """It waits for the user's next connection, unless another device has had it."""
    with App("--poll-timeout", "1s") as server:
        talker = server.client("/ws/talker")
        Poller(server, "user=bob")
        talker.say("direct", id=1, to="bob", content="kept").expect("status", status="delivered")
        until(lambda: server.figures()["connectedClients"] == 1, "the session's end")
        server.client("/ws/bob").expect("direct", content="kept")


def test_tokens():
    with App("--token-secret", SECRET) as server:
        def bearer(**claims):
            return f"Authorization: Bearer {token(**claims)}\r\n"

        bob = Poller(server, "rooms=r", headers=bearer(sub="bob", permissions=["read"]))
        bob.expect("room_joined")
        Poller(server, status=401)
        equal(server.api("presence?user=bob")[1]["count"], 1)
        # The session is that user's alone, also for who knows it.
        for stranger in (bearer(sub="eve"), bearer(sub="bob", secret="f" * 32), ""):
            bob.headers, own = stranger, bob.headers
            equal(bob.poll() in (401, 410), True)
            bob.headers = own
        bob.nothing()
        # Each poll brings a token of its own, and what that allows holds from then on.
        bob.headers = bearer(sub="bob", rooms=["other"])
        equal(bob.poll(), 200)
        bob.expect("room_left", room="r")
        # Without a token that holds nobody is answered; the session goes on when one comes in time.
        bob = Poller(server, headers=bearer(sub="carol", exp=2))
        until(lambda: bob.poll() == 401, "its end")
        bob.headers = bearer(sub="carol")
        until(lambda: bob.poll() in (200, 204), "another token")
        server.post("send", to="carol", content="hi")
        until(lambda: bob.poll() == 200 and bob.heard[-1]["type"] == "direct", "what was said")


def test_bounds():
    with App("--connections-per-user", "2", limits=True) as server:
        pollers = [Poller(server, "user=bob") for _ in range(2)]
        Poller(server, "user=bob", status=429)
        pollers[0].nothing()
        until(lambda: server.figures()["connectedClients"] == 2, "the third is gone")
    with App("--connections-per-address", "3", "--poll-timeout", "1s") as server:
        # A poll counts while it is asked; its session, from then on.
        first = [Poller(server, "user=a"), Poller(server, "user=b")]
        Poller(server, "user=c", status=429)
        # The connection before may still be on its way out.
        for poller in first:
            until(lambda poller=poller: poller.poll() == 204, "a poll of a session")
        # Who opens sessions and does not come again has them no longer than that.
        until(lambda: server.figures()["connectedClients"] == 0, "their end")
        Poller(server, "user=c").nothing()
    with App("--handshakes-per-second", "2") as server:
        statuses = set()
        for number in range(30):
            with Raw(server) as raw:
                raw.send(f"GET /poll?me=1&user=u{number} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                statuses.add(raw.response()[0])
        equal(statuses, {200, 429})
    with App("--poll-timeout", "60s", "--content-max", "60000", "--message-max", "100k") as server:
        # What is queued for a session is bounded: who is sent more is gone; a store's bound drops the oldest.
        talker = server.client("/ws/talker").in_room("r")
        bob = Poller(server, "user=bob&rooms=r")
        for _ in range(20):
            talker.say("room_message", room="r", content="x" * 60_000, exclude=["eve"])
        talker.settle_after("user_joined", "user_left")
        until(lambda: bob.poll() == 410, "its end")
    with App("--store-count", "3") as server:
        talker = server.client("/ws/talker")
        bob = Poller(server, "user=bob")
        for number in range(10):
            talker.say("direct", to="bob", content=number)
        talker.settle()
        until(lambda: bob.poll() == 200, "something came")
        assert len(bob.heard) <= 3, bob.heard


def test_guessing():
    """An id that is not there, and one that is another's number, say the same; and they cost what polls cost."""
    with App() as server:
        bob = Poller(server, "user=bob")
        name, number = bob.session.split(".")
        own = random.Random(7)
        for guess in [f"{own.getrandbits(128):032x}.1" for _ in range(20)] + [f"{name}.{int(number) + 1}", f"{name}.99"]:
            status, page, _ = bob.get(f"?session={guess}")
            equal((status, page["code"]), (410, "SESSION_OVER"), guess)
        for wrong in ("", "x", name, name + ".", name + ".0", name + ".x", name + ".1x", name[:-1] + ".1", name.upper() + "x.1",
                      name + ".99999999999999999999999"):
            equal(bob.get(f"?session={wrong}")[0], 400, wrong)
        for path in (f"/a?session={bob.session}", "?rooms=", "?rooms=" + ",".join(map(str, range(17)))):
            equal(bob.get(path)[0], 400, path)
        equal(server.get(f"/sse?session={bob.session}")[0], 400)
        equal(server.get("/poll")[0], 404)
        bob.get(f"?session={name}.{number}&user=eve")
        equal(bob.get(f"?session={bob.session}&user=eve&wait=0")[0], 410)
        bob.nothing()
    with App("--messages-per-second", "5", limits=True) as server:
        statuses = [server.get(f"/poll?session={'0' * 32}.1&wait=0")[0] for _ in range(30)]
        assert statuses[0] == 410 and statuses[-1] == 429, statuses


def test_who_leaves_while_waiting():
    with App("--poll-timeout", "1s", workers=2) as server:
        bob = Poller(server, "user=bob&rooms=r")
        for _ in range(5):
            with Raw(server) as raw:
                raw.send(f"GET /poll?session={bob.session} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                until(lambda: server.figures()["connectedClients"] == 2, "the poll")
            until(lambda: server.figures()["connectedClients"] == 1, "its end")
        until(lambda: server.figures()["connectedClients"] == 0, "the session's")
        equal(server.stats()["subscriptions"], 0)


def test_the_application_ends_it():
    with App() as server:
        bob = Poller(server, "user=bob&rooms=r")
        equal(server.post("disconnect", userId="bob"), {"disconnected": 1})
        until(lambda: bob.poll() == 410, "its end")
        bob = Poller(server, "user=bob&rooms=r")
        with Raw(server, limit=20) as raw:
            raw.send(f"GET /poll?session={bob.session}&wait=20 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            until(lambda: server.figures()["connectedClients"] == 2, "it waits")
            server.post("disconnect", userId="bob")
            equal(raw.response()[0], 410)
        bob = Poller(server, "user=bob&rooms=r")
        with Raw(server, limit=20) as raw:
            raw.send(f"GET /poll?session={bob.session}&wait=20 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            until(lambda: server.figures()["connectedClients"] == 2, "it waits")
            server.process.send_signal(signal.SIGTERM)
            assert raw.response()[0] in (410, 503)


run(globals())
