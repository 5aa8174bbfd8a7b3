# SPDX-License-Identifier: MIT
"""Rooms and users over three nodes of `ringcast app` on a real redis-server: who is there, who hears what, what waits for
whom, and what becomes of it when a node dies or comes back."""
import json
import os
import random
import signal
import threading
import time

from app import App, SLOW, equal, until
from cluster import Nodes, members, until_members
from cutter import Cutter
from harness import Skip, run

SEED = int(os.environ.get("RC_SEED") or time.time())


def hear_of(client, type_, **wanted):
    """The next message that is this one; others are dropped."""
    while True:
        message = client.hear()
        if message["type"] == type_ and all(message.get(name) == value for name, value in wanted.items()):
            return message


def devices(node, user):
    users = node.api(f"presence?user={user}")[1]["users"]
    return len(users[0]["clients"]) if users else 0


def said_in(client, room):
    client.say("history", room=room)
    return [message["content"] for message in hear_of(client, "history")["messages"]]


def arrived(nodes, user, count=1):
    for node in nodes.nodes:
        until(lambda node=node: devices(node, user) == count, f"{count} devices of {user} on each node")


def test_rooms_over_three_nodes():
    with Nodes() as nodes:
        a, b, c = (nodes[n].client(f"/ws/{name}") for n, name in enumerate("abc"))
        a.in_room("r")
        until_members(a, "r", "a")
        b.in_room("r")
        a.expect("user_joined", userId="b", room="r")
        c.in_room("r")
        for other in (a, b):
            hear_of(other, "user_joined", userId="c", room="r")
        for client in (a, b, c):
            until_members(client, "r", "a", "b", "c")
        # To the others, and not to the sender.
        a.say("room_message", room="r", content="one")
        heard = [hear_of(other, "room_message") for other in (b, c)]
        equal(heard[0], heard[1], "what two nodes tell")
        equal((heard[0]["from"], heard[0]["content"]), ("a", "one"))
        b.say("room_message", room="r", content="two")
        equal(hear_of(a, "room_message")["content"], "two", "the first message that a hears: not its own")
        b.say("leave_room", room="r").expect("room_left", room="r")
        hear_of(a, "user_left", userId="b", room="r")
        hear_of(c, "user_left", userId="b", room="r")
        c.socket.close()
        hear_of(a, "user_left", userId="c", room="r")
        until_members(a, "r", "a")
        one_member = {"rooms": [{"room": "r", "members": 1}], "count": 1}
        until(lambda: nodes[1].api("rooms")[1] == one_member, "what another node says of the room")
    print("# what is said reaches all nodes, and its sender not")


def test_who_joins_hears_of_nothing_before_that():
    """On all nodes clients come and go, and talk, while another node begins and all say their members again: from
    room_left to room_joined nobody hears of the room, never of itself, and not what it says at once."""
    wrong = []

    def come_and_go(client, name):
        try:
            for turn in range(40):
                client.say("join_room", room="r").say("room_message", room="r", content=f"{name} {turn}")
                message = client.hear()
                equal((message["type"], message.get("room")), ("room_joined", "r"), f"what {name} hears first")
                client.say("leave_room", room="r")
                while (message := client.hear())["type"] != "room_left":
                    if name in (message.get("userId"), message.get("from")):
                        raise AssertionError(f"{name} hears of itself: {message}")
        except Exception as error:
            wrong.append(f"{name}: {error!r}")

    with Nodes() as nodes:
        clients = {f"u{n}": nodes[n % 3].client(f"/ws/u{n}") for n in range(9)}
        threads = [threading.Thread(target=come_and_go, args=(client, name)) for name, client in clients.items()]
        for thread in threads:
            thread.start()
        nodes.begin()
        for thread in threads:
            thread.join()
        equal(wrong, [])


def test_messages_of_ones_own():
    """Other types, what passes, who is left out, and a message in pieces go over all nodes."""
    with Nodes(3, "--types", "typing,own", "--ephemeral", "typing") as nodes:
        a, b, c = (nodes[n].client(f"/ws/{name}").in_room("r") for n, name in enumerate("abc"))
        for client in (a, b, c):
            until_members(client, "r", "a", "b", "c")
        a.say("own", room="r", n=1)
        a.say("typing", room="r", n=2)
        for other in (b, c):
            equal(hear_of(other, "own"), {"type": "own", "room": "r", "n": 1, "from": "a"})
            equal(hear_of(other, "typing")["n"], 2)
        a.say("own", room="r", n=3, exclude=["b"]).say("own", room="r", n=4)
        equal([hear_of(c, "own")["n"] for _ in range(2)], [3, 4])
        equal(hear_of(b, "own")["n"], 4)
        for part, content in (("begin", "x"), ("piece", "y"), ("end", "z")):
            a.say("partial", part=part, id="p", room="r", content=content)
        for other in (b, c):
            equal([hear_of(other, "partial")["content"] for _ in range(3)], ["x", "y", "xyz"])
        equal([m["type"] for m in hear_of(b.say("history", room="r"), "history")["messages"]], ["own", "own", "partial"])


def test_one_user_on_two_nodes():
    with Nodes() as nodes:
        watcher = nodes[2].client("/ws/watcher").in_room("r")
        one, two = (nodes[n].client("/ws/u") for n in (0, 1))
        arrived(nodes, "u", 2)
        one.in_room("r")
        watcher.expect("user_joined", userId="u", room="r")
        two.in_room("r")
        until_members(watcher, "r", "u", "watcher")
        # A direct message is for all devices, wherever they are.
        watcher.say("direct", to="u", content="hi")
        equal(hear_of(one, "direct")["id"], hear_of(two, "direct")["id"])
        # The others hear of the last device that leaves alone.
        one.say("leave_room", room="r").expect("room_left")
        watcher.say("members", room="r").expect("members", count=2)
        two.say("leave_room", room="r").expect("room_left")
        hear_of(watcher, "user_left", userId="u", room="r")
        equal(getattr(watcher, "aside", []), [], "nothing was said before")


def test_direct_and_what_waits():
    with Nodes() as nodes:
        sender = nodes[0].client("/ws/sender")
        there = nodes[1].client("/ws/there")
        arrived(nodes, "there")
        sender.say("direct", to="there", content=1)
        there.expect("direct", content=1, **{"from": "sender"})
        # Nobody is there: it waits, and comes once, on whatever node.
        for number in range(5):
            sender.say("direct", to="away", content=number)
        sender.settle()
        equal(nodes[0].post("send", to="away", content=5), {"delivered": 0, "stored": True})
        equal(nodes[1].post("send", to="away", content=6, reliable=True), {"delivered": 0, "stored": True})
        time.sleep(0.2)
        away = nodes[2].client("/ws/away")
        # What two nodes said has the order in which the engine had it.
        heard = [away.hear() for _ in range(7)]
        equal([message["content"] for message in heard if message["type"] == "direct"], list(range(6)))
        equal([message["data"]["content"] for message in heard if message["type"] == "DATA"], [6])
        away.settle()
        arrived(nodes, "away")
        later = nodes[1].client("/ws/away").settle()
        arrived(nodes, "away", 2)
        later.settle()
        equal(nodes[0].post("send", to="away", content=7), {"delivered": 2, "stored": False})
        for device in (away, later):
            device.expect("direct", content=7)


def test_what_was_not_acknowledged_follows_the_user():
    with Nodes() as nodes:
        one = nodes[0].client("/ws/u?reliable=1")
        arrived(nodes, "u")
        nodes[1].post("send", to="u", content="x", reliable=True)
        first = one.expect("DATA")
        one.socket.close()
        arrived(nodes, "u", 0)
        two = nodes[2].client("/ws/u?reliable=1")
        again = two.expect("DATA")
        equal((again["id"], again["data"]), (first["id"], first["data"]))
        two.say("ACK", data={"messageId": again["id"]}).settle()
        two.socket.close()
        arrived(nodes, "u", 0)
        nodes[1].client("/ws/u?reliable=1").settle()


def test_broadcast_and_disconnect_from_anywhere():
    with Nodes() as nodes:
        clients = [nodes[n].client(f"/ws/u{n}") for n in range(3)]
        for n in range(3):
            arrived(nodes, f"u{n}")
        equal(nodes[1].post("broadcast", content="all"), {"ok": True})
        ids = {client.expect("broadcast", content="all")["id"] for client in clients}
        equal(len(ids), 1, "ids of one broadcast")
        equal(nodes[0].post("disconnect", userId="u2", reason="enough"), {"disconnected": 1})
        clients[2].expect_close(1008)
        arrived(nodes, "u2", 0)
        equal(nodes[0].api("disconnect", {"userId": "u2"})[0], 404)
        one, two = (nodes[n].client("/ws/v") for n in (1, 2))
        arrived(nodes, "v", 2)
        equal(nodes[0].post("disconnect", userId="v", clientId=two.welcome["clientId"]), {"disconnected": 1})
        two.expect_close(1008)
        one.settle()


def test_the_same_id_counts_once():
    """A DATA that is sent again to another node, because its ACK never came, is acknowledged there and counts once."""
    with Nodes() as nodes:
        watcher = nodes[2].client("/ws/watcher").in_room("r")
        one, two = (nodes[n].client("/ws/u").in_room("r") for n in (0, 1))
        hear_of(watcher, "user_joined", userId="u")
        for number in range(20):
            message = {"id": f"m{number}", "data": {"type": "room_message", "room": "r", "content": number}}
            first, second = (one, two) if number % 2 else (two, one)
            first.say("DATA", **message)
            second.say("DATA", **message)
            for client in (one, two):
                hear_of(client, "ACK", data={"messageId": f"m{number}"})
        for number in range(20):
            watcher.expect("room_message", content=number)
        one.say("DATA", id="direct", data={"type": "direct", "to": "watcher", "content": "d"})
        hear_of(one, "ACK", data={"messageId": "direct"})
        two.say("DATA", id="direct", data={"type": "direct", "to": "watcher", "content": "d"})
        hear_of(two, "ACK", data={"messageId": "direct"})
        watcher.expect("direct", content="d")
        watcher.settle()
        equal(sum(node.figures()["duplicates"] for node in nodes.nodes), 21)


def test_topics_that_are_delivered_at_once():
    """They need no engine where they are published, and come to the other nodes all the same, each with its own numbers."""
    with Nodes(2, "--backplane-local", "live.*", "--keep-last", "live.a") as nodes:
        here, there = (nodes[n].client(f"/ws/{name}").say("subscribe", topics=["live.a", "b"]) for n, name in enumerate("ab"))
        for client in (here, there):
            hear_of(client, "subscribed")
        publish = lambda node, data, topic="live.a", **more: nodes[node].api("publish", {"topic": topic, "data": data, **more})
        equal(publish(0, {"n": 1}, key="k")[1]["seq"], 1, "the node's own number")
        for client in (here, there):
            hear_of(client, "update", topic="live.a", seq=1, key="k", data={"n": 1})
        mixed = [{"topic": "live.a", "data": 1}, {"topic": "b", "data": 1}]
        status, answer = nodes[0].api("publish", json.dumps(mixed).encode())
        equal((status, "backplane-local" in answer["error"]), (400, True))
        nodes.redis.kill()
        for node in nodes.nodes:
            until(lambda node=node: nodes.backplane(node)["lag_seconds"] > 1.1, "it is away for more than a blink")
        equal(publish(0, None)[1]["seq"], 2)
        equal(publish(1, "other")[1]["seq"], 2)
        equal(publish(0, 1, "b")[0], 503)
        equal((hear_of(here, "update")["data"], hear_of(there, "update")["data"]), (None, "other"))
        nodes.redis.start()
        equal((hear_of(here, "update")["data"], hear_of(there, "update")["data"]), ("other", None))
        last = nodes[1].client("/ws/c").say("subscribe", topics=["live.*"], last=True)
        equal(hear_of(last, "update")["data"], None, "what this node has as the last")


SUMMED = ("connectedClients", "users", "activeRooms", "messagesReceived")


def sums(node):
    figures = node.figures()
    return {name: figures[name] for name in SUMMED}, figures["nodes"]


def until_sums(nodes, **wanted):
    """On each node: its sums, and that they are those of the nodes that it lists. Figures of others come with the next
    question."""
    for node in nodes.nodes:
        until(lambda node=node: sums(node)[0] == wanted, f"{wanted} on each node, not {sums(node)}", limit=20)
        sum_, each = sums(node)
        equal(len(each), len(nodes.nodes))
        for name in ("connectedClients", "messagesReceived"):
            equal(sum(one[name] for one in each), sum_[name], name)
        for one in each:
            equal((one["backplane"]["up"], one["age"] < 20 * SLOW), (True, True), one)
        equal({one["name"] for one in each}, {f"127.0.0.1:{other.port}" for other in nodes.nodes})
        equal([one["name"] for one in each if one["own"]], [f"127.0.0.1:{node.port}"])


def test_figures_are_of_all_nodes():
    """Known numbers of connections and messages on three nodes; one is killed, and its figures go."""
    with Nodes() as nodes:
        clients = {}
        for n, count in enumerate((1, 2, 4)):
            for index in range(count):
                clients[n, index] = nodes[n].client(f"/ws/u{n}{index}").in_room(f"r{n}")
            for index in range(count):
                for _ in range(10):
                    clients[n, index].settle_after("user_joined")
        # Each has joined, and said ten pings.
        until_sums(nodes, connectedClients=7, users=7, activeRooms=3, messagesReceived=77)
        twice = nodes[0].client("/ws/u20")
        until_sums(nodes, connectedClients=8, users=7, activeRooms=3, messagesReceived=77)
        twice.socket.close()
        nodes.kill(nodes[2])
        until_sums(nodes, connectedClients=3, users=3, activeRooms=2, messagesReceived=33)


def test_a_killed_node_takes_its_members_with_it():
    with Nodes() as nodes:
        left = nodes[0].client("/ws/left").in_room("r")
        also = nodes[1].client("/ws/also").in_room("r")
        gone = [nodes[2].client(f"/ws/g{n}").in_room("r") for n in range(5)]
        for client in (left, also):
            until_members(client, "r", "left", "also", *(f"g{n}" for n in range(5)))
        killed = nodes.kill(nodes[2])
        took = []
        for client in (left, also):
            client.socket.settimeout(20 * SLOW)
            names = {hear_of(client, "user_left", room="r")["userId"] for _ in gone}
            took.append(time.monotonic() - killed)
            equal(names, {f"g{n}" for n in range(5)})
            until_members(client, "r", "left", "also")
        print(f"# a killed node's members were gone after {max(took):.2f} s")
        assert max(took) < 10 * SLOW, f"{max(took):.2f} s"
        # What was for them waits for them now.
        equal(left.say("direct", to="g0", content="later").settle_after() and None, None)
        time.sleep(0.2)
        nodes[1].client("/ws/g0").expect("direct", content="later")


def stored(node):
    """By this node itself: its figures are those of all nodes together."""
    lines = node.get("/metrics")[2].decode().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("ringcast_app_stored_total "))


def stored_for(nodes, user, count, reliable=True):
    """So many messages wait for a user, on each node."""
    before = [stored(node) for node in nodes.nodes]
    for number in range(count):
        nodes[0].post("send", to=user, content=number, reliable=reliable)
    for node, had in zip(nodes.nodes, before):
        until(lambda node=node, had=had: stored(node) == had + count, f"{count} messages stored on each node")


def contents(client, count, acknowledges=False):
    """Of DATA, each once: what comes again meanwhile has an id that came before."""
    heard = {}
    while len(heard) < count:
        message = hear_of(client, "DATA")
        heard[message["id"]] = message["data"]["content"]
        if acknowledges:
            client.say("ACK", data={"messageId": message["id"]})
    return heard


def test_what_a_killed_node_had_taken_is_not_lost():
    """What waited for a user goes to a device whose node is killed before the device has acknowledged it: then it is for the
    user's next device, or for one that is there. What was acknowledged does not come again."""
    with Nodes(3, "--unacknowledged-max", "4") as nodes:
        for user in ("next", "there", "early"):
            stored_for(nodes, user, 9)
        stored_for(nodes, "had", 3)
        stored_for(nodes, "plain", 3, reliable=False)
        taker = {user: nodes[2].client(f"/ws/{user}?reliable=1") for user in ("next", "there", "early", "had")}
        first = {user: contents(taker[user], 4) for user in ("next", "there", "early")}
        contents(taker["had"], 3, True)
        taker["had"].settle_after("DATA")
        plain = nodes[2].client("/ws/plain")
        equal([plain.expect("direct")["content"] for _ in range(3)], [0, 1, 2])
        plain.settle()
        there = nodes[1].client("/ws/there?reliable=1")
        arrived(nodes, "there", 2)
        # What the third node says comes behind its word of what was acknowledged.
        watchers = [nodes[n].client(f"/ws/w{n}").in_room("r") for n in range(2)]
        for user in ("had", "plain"):
            taker.get(user, plain).in_room("r")
            for watcher in watchers:
                hear_of(watcher, "user_joined", userId=user)
        nodes.kill(nodes[2])
        # One that comes before anybody knows of the death gets it as soon as they do.
        early = nodes[0].client("/ws/early?reliable=1")
        equal(sorted(contents(there, 9, True).values()), list(range(9)))
        heard = contents(early, 9, True)
        equal(sorted(heard.values()), list(range(9)))
        equal(set(first["early"]) <= set(heard), True, "the ids that it had come again")
        for node in nodes.nodes:
            until(lambda node=node: all(devices(node, user) == 0 for user in ("next", "had", "plain")), "that they are gone")
        heard = contents(nodes[1].client("/ws/next?reliable=1"), 9, True)
        equal((sorted(heard.values()), set(first["next"]) <= set(heard)), (list(range(9)), True))
        for user in ("had", "plain"):
            nodes[0].client(f"/ws/{user}").settle()


def test_rest_costs_by_the_node():
    """With many members at rest, what the nodes ask of Redis does not grow with them."""
    counts = []
    with Nodes() as nodes:
        for many in (0, 60):
            clients = [nodes[n % 3].client(f"/ws/u{n}").in_room(f"r{n % 7}") for n in range(many)]
            for n in range(many):
                arrived(nodes, f"u{n}")
            time.sleep(1)
            nodes.redis.call("CONFIG", "RESETSTAT")
            time.sleep(3)
            calls = nodes.redis.command_counts()
            calls.pop("info", None)
            calls.pop("config|resetstat", None)
            counts.append(sum(calls.values()) / 3)
            print(f"# {many} members at rest: {counts[-1]:.1f} commands a second of three nodes: {calls}")
            assert len(clients) == many
    assert counts[1] <= counts[0] * 1.5 + 6, counts
    assert counts[1] <= 3 * 25, counts


def test_one_order_under_load():
    print(f"# RC_SEED={SEED}")
    chance = random.Random(SEED)
    users, each, rooms = 12, 60, 3
    with Nodes() as nodes:
        clients = [nodes[n % 3].client(f"/ws/u{n}") for n in range(users)]
        for client in clients:
            for room in range(rooms):
                client.in_room(f"r{room}") if False else client.say("join_room", room=f"r{room}")
        for client in clients:
            for room in range(rooms):
                hear_of(client, "room_joined", room=f"r{room}") if False else None
        for client in clients:
            until_members(client, "r2", *(f"u{n}" for n in range(users)))
        heard, wrong = [[] for _ in clients], []

        def listen(n):
            try:
                while len(heard[n]) < (users - 1) * each:
                    message = clients[n].hear()
                    if message["type"] == "room_message":
                        heard[n].append((message["room"], message["id"], message["from"], message["content"]))
            except Exception as error:
                wrong.append(f"u{n} after {len(heard[n])}: {error!r}")

        threads = [threading.Thread(target=listen, args=(n,)) for n in range(users)]
        for client in clients:
            heard_before = getattr(client, "aside", [])
            assert not [m for m in heard_before if m["type"] == "room_message"]
        for thread in threads:
            thread.start()
        said = [0] * users
        while sum(said) < users * each:
            n = chance.choice([n for n in range(users) if said[n] < each])
            clients[n].say("room_message", room=f"r{chance.randrange(rooms)}", content=said[n])
            said[n] += 1
        for thread in threads:
            thread.join()
        equal(wrong, [])
        for room in range(rooms):
            orders = [[m for m in each_heard if m[0] == f"r{room}"] for each_heard in heard]
            whole = max(orders, key=len)
            merged = {message[1]: message for order in orders for message in order}
            numbers = sorted(merged, key=lambda name: int(name.split("-")[1]))
            for n, order in enumerate(orders):
                own = {name for name in numbers if merged[name][2] == f"u{n}"}
                equal([message[1] for message in order], [name for name in numbers if name not in own],
                      f"the order of r{room} for u{n}")
            assert whole
            for n in range(users):
                order = [merged[name][3] for name in numbers if merged[name][2] == f"u{n}"]
                equal(order, sorted(order), f"what u{n} said, in its order")


def test_a_node_that_comes_back_knows_it_all():
    with Nodes() as nodes:
        a, b = (nodes[n].client(f"/ws/{name}").in_room("r") for n, name in ((0, "a"), (1, "b")))
        until_members(b, "r", "a", "b")
        for number in range(10):
            a.say("room_message", room="r", content=number)
        for number in range(10):
            hear_of(b, "room_message", content=number)
        a.say("direct", to="away", content="kept").settle_after("user_joined")
        nodes.kill(nodes[2])
        node = nodes.begin()
        until(lambda: devices(node, "a") == 1 and devices(node, "b") == 1, "the users of the other nodes")
        c = node.client("/ws/c").in_room("r")
        until_members(c, "r", "a", "b", "c")
        c.say("history", room="r")
        history = hear_of(c, "history", room="r")
        equal([message["content"] for message in history["messages"]], list(range(10)))
        hear_of(a, "user_joined", userId="c")
        a.say("room_message", room="r", content="live")
        hear_of(c, "room_message", content="live")
        equal(node.client("/ws/away").hear().get("content"), "kept")


def test_a_room_that_is_made_again_is_another():
    with Nodes() as nodes:
        a = nodes[0].client("/ws/a").in_room("r")
        b = nodes[1].client("/ws/b").in_room("r")
        hear_of(a, "user_joined", userId="b")
        a.say("room_message", room="r", content="secret")
        hear_of(b, "room_message", content="secret")
        for client in (a, b):
            client.say("leave_room", room="r")
            hear_of(client, "room_left", room="r")
        for node in nodes.nodes:
            until(lambda node=node: node.api("rooms")[1]["count"] == 0, "no room on any node")
        c = nodes[2].client("/ws/c").in_room("r")
        until_members(c, "r", "c")
        c.say("history", room="r")
        equal(hear_of(c, "history")["messages"], [])
        d = nodes[0].client("/ws/d").in_room("r")
        hear_of(c, "user_joined", userId="d")
        d.say("room_message", room="r", content="new")
        hear_of(c, "room_message", content="new")
        for client in (c, d):
            until(lambda client=client: said_in(client, "r") == ["new"], "what was said, on its node too")


def test_what_the_engine_let_go_of_is_told():
    """A node that was cut off for too long: its clients, in feeds and rooms, hear that something is lost. Who comes from
    another node, and is ahead of this one, is not told what is not so."""
    with Nodes(2) as nodes, Cutter(nodes.redis.port) as way:
        node = App("--backplane", nodes.redis.url().replace(str(nodes.redis.port), str(way.port)))
        nodes.nodes.append(node)
        nodes.meet(3)
        a, b = (nodes[n].client(f"/ws/{name}").in_room("r") for n, name in ((2, "a"), (0, "b")))
        until_members(a, "r", "a", "b")
        a.say("subscribe", topics=["old"])
        hear_of(a, "subscribed")
        nodes[0].post("publish", topic="old", data=1)
        hear_of(a, "update", data=1)
        way.cut()
        until(lambda: not nodes.backplane(node)["up"], "a node that is cut off")
        place = nodes[0].post("publish", topic="new", data=1)
        late = node.client("/ws/late")
        late.say("subscribe", topics=["new"], since=place["seq"], epoch=place["epoch"])
        hear_of(late, "subscribed")
        late.settle()
        for number in range(5):
            nodes[0].post("publish", topic="new", data=number)
            b.say("room_message", room="r", content=number)
        b.settle()
        nodes.redis.call("XTRIM", "test:stream", "MAXLEN", "1")
        way.mend()
        heard = {}
        while len(heard) < 2:
            message = hear_of(a, "resync")
            heard[message.get("room") or message["topic"]] = message
        equal(sorted(heard), ["old", "r"])
        hear_of(late, "resync", topic="new")
        b.say("room_message", room="r", content="after")
        hear_of(a, "room_message", content="after")


def test_the_api_answers_when_the_engine_has_it():
    """While Redis does nothing no call is answered with a success; then each is, as on one node. Where Redis is gone each is
    told so."""
    with Nodes(2, "--backplane-confirm", "5s", workers=1) as nodes:
        a, b = (nodes[n].client(f"/ws/{name}").in_room("r") for n, name in ((0, "a"), (1, "b")))
        until_members(a, "r", "a", "b")
        arrived(nodes, "b")
        calls = [("send", {"to": "b", "content": 1}, {"delivered": 1, "stored": False}),
                 ("send", {"to": "nobody", "content": 1}, {"delivered": 0, "stored": True}),
                 ("broadcast", {"content": 2}, {"ok": True}), ("rooms/r", {"content": 3}, {"ok": True, "delivered": 2}),
                 ("disconnect", {"userId": "b"}, {"disconnected": 1})]
        answers = {}

        def call(n, path, body):
            answers[n] = nodes[0].api(path, body)

        nodes.redis.process.send_signal(signal.SIGSTOP)
        try:
            threads = [threading.Thread(target=call, args=(n, *each[:2])) for n, each in enumerate(calls)]
            for thread in threads:
                thread.start()
            time.sleep(0.5)
            equal(answers, {}, "answers while Redis has nothing of it")
        finally:
            nodes.redis.process.send_signal(signal.SIGCONT)
        for thread in threads:
            thread.join()
        ids = answers[3][1].pop("id")
        equal([answers[n] for n in range(len(calls))], [(200, each[2]) for each in calls])
        equal(hear_of(a, "room_message", content=3)["id"], ids, "the id that the API told")
        # What there is nobody for is answered at once.
        nodes.redis.kill()
        equal(nodes[0].api("rooms/none", {"content": 1}), (200, {"ok": True, "delivered": 0}))
        equal(nodes[0].api("disconnect", {"userId": "nobody"})[0], 404)
        for path, body, _ in calls[:4]:
            equal(nodes[0].api(path, body)[0] in (503, 504), True, path)
        nodes.redis.start()


def test_redis_is_away_and_back():
    """Clients stay, what cannot be sent is refused, and members who came and went meanwhile are known afterwards."""
    with Nodes(3, "--backplane-confirm", "2s") as nodes:
        a, b = (nodes[n].client(f"/ws/{name}").in_room("r") for n, name in ((0, "a"), (1, "b")))
        until_members(a, "r", "a", "b")
        nodes.redis.kill()
        until(lambda: nodes.backplane(nodes[0])["up"] is False, "a node that knows it is alone")
        hear_of(a.say("room_message", room="r", content="no", id="x"), "error", code="TRY_LATER", id="x")
        c = nodes[2].client("/ws/c").in_room("r")
        b.say("leave_room", room="r")
        hear_of(b, "room_left", room="r")
        nodes.redis.start()
        until_members(a, "r", "a", "c")
        hear_of(c.say("room_message", room="r", content="again") and a, "room_message", content="again")


def moves_until(client, content):
    """Who comes and goes before it hears this message of a room."""
    moves = []
    while (message := client.hear()).get("content") != content:
        if message["type"] in ("user_joined", "user_left"):
            moves.append((message["type"], message["userId"]))
    return moves


def test_nobody_leaves_with_the_engine():
    """It was away for longer than leases last, and then loses all that it has: who stays is in the room all the time, and
    what waits for somebody is not lost, since the nodes know it."""
    with Nodes() as nodes:
        a, b, c = (nodes[n].client(f"/ws/{name}").in_room("r") for n, name in enumerate("abc"))
        for client in (a, b, c):
            until_members(client, "r", "a", "b", "c")
        a.say("direct", to="away", content="kept", id=1)
        equal("messageId" in hear_of(a, "status", id=1, status="stored"), False, "a direct message has no number of a room")
        b.say("room_message", room="r", content="before")
        for client in (a, c):
            hear_of(client, "room_message", content="before")

        def stays(words):
            nodes.meet(3)
            time.sleep(0.7)  # in which they look at each other's leases, twice
            b.say("room_message", room="r", content=words)
            for client in (a, c):
                equal(moves_until(client, words), [], f"who moved, {words}")

        nodes.redis.kill()
        for node in nodes.nodes:
            until(lambda node=node: nodes.backplane(node)["up"] is False, "a node that knows it is alone")
        time.sleep(3.2)
        for path in ("rooms/r", "broadcast"):
            equal(nodes[0].api(path, {"content": "no"})[0], 503, path)
        nodes.redis.start()
        for node in nodes.nodes:
            until(lambda node=node: nodes.backplane(node)["up"], "a node that is whole")
        stays("after it was away")
        nodes.redis.call("FLUSHALL")
        for node in nodes.nodes:
            until(lambda node=node: nodes.backplane(node)["epochs"] == 1, "a node that has begun anew")
        stays("after all was lost")
        equal(said_in(a, "r"), ["after all was lost"])
        for client in (a, b, c):
            until_members(client, "r", "a", "b", "c")
        nodes[2].client("/ws/away").expect("direct", content="kept")


if __name__ == "__main__":
    run(globals(), limit=60)
