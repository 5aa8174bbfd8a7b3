# SPDX-License-Identifier: MIT
"""The readers of the soak of several nodes: clients of `ringcast app` on one thread, each with some topics and a room, that
come back on any node when theirs is gone and read on from where they were. They judge nothing but what one client can see:
what comes twice, behind its place, after a hole, or is another message than others saw there. What is lost is seen when
all of it is put together, by found()."""
import heapq
import json
import random
import selectors
import time
from collections import Counter

from backplane_plan import END, Broken, Frames, dial, dumps, handshake, mask_frame, place, pong_frame

HELD_MS = 30000  # who has waited for so long for an answer hangs


class Channel:
    """What one client has of one topic or room."""
    __slots__ = ("last", "seen", "ended", "told", "read")

    def __init__(self):
        self.last, self.seen, self.ended, self.told = None, [], False, False
        self.read = (0, 0)  # up to where a history was read: what stands in it comes by itself as well


class Reader:
    def __init__(self, number, plan, all_of):
        self.number, self.all = number, all_of
        self.topics = {f"t{topic}": Channel() for topic in plan.topics_of(number)}
        self.room_name = f"r{plan.room_of(number)}"
        self.room = Channel()
        self.node, self.link, self.frames = number % len(all_of.ports), None, None
        self.waiting, self.held, self.asked_at = None, [], 0

    # ---- the connection ----

    def connect(self):
        try:
            self.link = dial(self.all.ports[self.node])
            self.link.sendall(handshake(f"u{self.number}"))
        except OSError:
            self.link = None
            self.all.later(self, random.uniform(0.05, 0.3))
            self.node = random.randrange(len(self.all.ports))
            return
        self.link.setblocking(False)
        self.frames = Frames()
        self.all.selector.register(self.link, selectors.EVENT_READ, self)
        self.waiting, self.held, self.asked_at = {"welcome"}, [], time.monotonic()

    def broken(self, why):
        if self.waiting is None or "closed with" in why:
            self.all.counts["connections that ended"] += 1
        if "closed with" in why:
            self.all.words[why] += 1
        self.all.selector.unregister(self.link)
        self.link.close()
        self.link = None
        self.node = random.randrange(len(self.all.ports))
        self.all.later(self, random.uniform(0.01, 0.2))

    def readable(self):
        try:
            data = self.link.recv(1 << 18)
            if not data:
                raise Broken("the end")
            messages, pings = self.frames.feed(data)
            for payload in pings:
                self.link.sendall(pong_frame(payload))
            for message in messages:
                self.take(json.loads(message))
        except BlockingIOError:
            pass
        except (OSError, Broken) as why:
            self.broken(str(why))

    def say(self, **message):
        self.link.sendall(mask_frame(dumps(message)))

    # ---- what is heard ----

    def take(self, message):
        kind = message["type"]
        if kind == "update":
            self.update(message)
        elif kind == "room_message":
            if self.waiting:
                self.held.append(message)
            else:
                self.room_message(message)
        elif kind in ("gap", "resync"):
            self.told(kind, message)
        elif kind == "welcome":
            self.begin()
        elif kind == "subscribed":
            self.subscribed(message)
        elif kind == "room_joined":
            self.joined()
        elif kind == "history":
            self.history(message)
        elif kind == "user_joined":
            if message["userId"] == f"u{self.number}" and self.waiting and "room" in self.waiting:
                self.all.wrong("user_joined before room_joined", self.room_name, self.node)
        elif kind == "error":
            self.all.words[f"error {message['code']}: {message['message'][:80]}"] += 1
            self.all.later_ask(self)
        elif kind not in ("user_left", "going_away"):
            self.all.words[f"a message of the type {kind}"] += 1

    def begin(self):
        self.waiting = {"subscribed", "room"}
        known = {name: channel.last for name, channel in self.topics.items() if channel.last}
        more = {"since": {name: last[1] for name, last in known.items()},
                "epoch": {name: last[0] for name, last in known.items()}} if known else {}
        self.say(type="subscribe", topics=list(self.topics), **more)
        self.say(type="join_room", room=self.room_name)

    def subscribed(self, message):
        self.waiting.discard("subscribed")
        for topic in message["topics"]:
            channel = self.topics[topic["topic"]]
            if not channel.last:
                channel.last = (topic["epoch"], topic["seq"])
        self.settled()

    def joined(self):
        """room_joined has no number, as `subscribed` has: who has had nothing in the room yet asks for all of it. It would
        miss what was said first, if that was while it was away."""
        self.waiting.discard("room")
        self.waiting.add("history")
        self.ask_history("%x-%d" % self.room.last if self.room.last else 0)

    def ask_history(self, since):
        self.say(type="history", room=self.room_name, since=since, limit=500)

    def history(self, message):
        for one in message["messages"]:
            self.room_message(one, True)
        self.room.read = max(self.room.read, (message["epoch"], message["seq"]))
        if message.get("more"):
            self.ask_history(message["seq"])
            return
        self.waiting.discard("history")
        self.settled()

    def settled(self):
        if self.waiting:
            return
        held, self.held = self.held, []
        self.waiting = None
        for one in held:
            self.room_message(one, True)

    def told(self, kind, message):
        if "room" in message:
            self.all.counts["resets of rooms told"] += 1
            self.room.told = True
            return
        channel = self.topics[message["topic"]]
        reset = kind == "resync" or message.get("reset")
        self.all.counts["resets told" if reset else "gaps told"] += 1
        channel.told = True
        channel.last = (message["epoch"], message["seq"] if kind == "resync" else message.get("to", 0))
        if reset and kind == "gap":
            channel.last = (message["epoch"], 0)

    def update(self, message):
        channel = self.topics[message["topic"]]
        where = (message["epoch"], message["seq"])
        last = channel.last
        if last and where[0] == last[0] and message["prev"] > last[1] and last[1]:
            self.all.wrong("hole", message["topic"], self.node, f"u{self.number}: {last}, then {where} after {message['prev']}")
        self.arrived(channel, message["topic"], where, message["data"])

    def room_message(self, message, again=False):
        epoch, sequence = message["id"].split("-")
        where = (int(epoch, 16), int(sequence))
        channel = self.room
        if channel.last and where <= channel.last and (again or where <= channel.read):
            return  # it stands in the history and came by itself
        if not channel.last or channel.last[0] < where[0]:
            if channel.last:
                channel.told = True
                self.all.counts["rooms that began anew"] += 1
        self.arrived(channel, self.room_name, where, message["content"])

    def arrived(self, channel, name, where, data):
        last, at = channel.last, place(*where)
        self.all.delivered.value += 1
        # Who was told to begin anew, and has had nothing since, knows no order with another epoch.
        if last and where <= last and (last[1] or last[0] == where[0]):
            twice = at in channel.seen
            self.all.wrong("doubled" if twice else "out of order", name, self.node)
            return
        channel.last = where
        channel.seen.append(at)
        number = (data["p"], data["n"])
        if self.all.known.setdefault(name, {}).setdefault(at, number) != number:
            self.all.wrong("another message at the same place", name, self.node)
        if data["n"] == END and not channel.ended:
            channel.ended = True
            self.all.ended += 1


class Readers:
    """All of them, in a process of its own. `ready` says how many are in place."""

    def __init__(self, plan, ports, delivered, ready):
        self.plan, self.ports = plan, ports
        self.delivered, self.ready = delivered, ready
        self.selector = selectors.DefaultSelector()
        self.counts, self.words, self.wrongs, self.known = Counter(), Counter(), Counter(), {}
        self.examples, self.due, self.turn, self.ended = [], [], 0, 0
        self.readers = [Reader(number, plan, self) for number in range(plan.clients)]

    def later(self, reader, seconds):
        self.turn += 1
        heapq.heappush(self.due, (time.monotonic() + seconds, self.turn, reader, reader.connect))

    def later_ask(self, reader):
        """It was refused something while it came back: it comes back once more."""
        self.turn += 1
        link = reader.link
        heapq.heappush(self.due, (time.monotonic() + 0.3, self.turn, reader,
                                  lambda: reader.broken("refused") if reader.link is link else None))

    def wrong(self, what, channel, node, more=""):
        self.wrongs[what, channel, node] += 1
        if len(self.examples) < 20:
            self.examples.append(f"{time.strftime('%H:%M:%S')} {what}: {channel} on node {node} {more}")

    def look(self):
        now = time.monotonic()
        settled = 0
        for reader in self.readers:
            if reader.link and reader.waiting is None:
                settled += 1
            elif reader.link and (now - reader.asked_at) * 1000 > HELD_MS:
                self.counts["clients that hung"] += 1
                self.words[f"a client waited for {sorted(reader.waiting)}"] += 1
                reader.broken("it hangs")
        self.ready.value = settled

    def run(self, pipe):
        random.seed(self.plan.seed + 1)
        for reader in self.readers:
            self.later(reader, 0)
        wanted = sum(len(reader.topics) + 1 for reader in self.readers)
        looked, limit = 0, None
        while self.ended < wanted:
            now = time.monotonic()
            while self.due and self.due[0][0] <= now:
                heapq.heappop(self.due)[3]()
            wait = min(0.1, max(0, self.due[0][0] - now)) if self.due else 0.1
            for key, _ in self.selector.select(wait):
                if key.data.link is key.fileobj:
                    key.data.readable()
            if now - looked > 0.2:
                looked = now
                self.look()
            if pipe.poll():
                limit = now + pipe.recv()
            if limit and now > limit:
                break
        pipe.send(self.found())

    def found(self):
        """What all of them together have, channel by channel, and who lacks what of it."""
        missing, excused = Counter(), Counter()
        for reader in self.readers:
            for name, channel in [*reader.topics.items(), (reader.room_name, reader.room)]:
                seen = set(channel.seen)
                if len(seen) == len(self.known.get(name, ())):
                    continue
                for at in self.known.get(name, {}):
                    if at not in seen:
                        (excused if channel.told else missing)[name, reader.node] += 1
        late = [(reader.number, name) for reader in self.readers for name, channel in
                [*reader.topics.items(), (reader.room_name, reader.room)] if not channel.ended]
        return {"known": self.known, "missing": missing, "excused": excused, "wrong": self.wrongs, "counts": self.counts,
                "words": self.words, "examples": self.examples, "not ended": late}
