# SPDX-License-Identifier: MIT
"""The writers of the soak of several nodes: posters publish to topics by HTTP, speakers talk in rooms by DATA, which they
send again, with the same id, on another node until it is acknowledged. Each notes what was acknowledged, and what may be
there or not. One message of a speaker is on its way in a room at a time, so its own order is known."""
import http.client
import json
import random
import select
import threading
import time

from backplane_plan import END, Broken, Frames, dial, dumps, handshake, mask_frame, pong_frame

PAD = "x" * 40
ACK_S = 15  # for an acknowledgement; then the speaker goes elsewhere


class Poster(threading.Thread):
    def __init__(self, number, plan, ports, count, said, stop):
        super().__init__(daemon=True)
        self.number, self.plan, self.ports, self.count, self.said, self.stop = number, plan, ports, count, said, stop
        self.chance = random.Random(plan.seed * 1000 + number)
        self.next, self.sure, self.unsure, self.words = 0, [], [], {}
        self.link = None

    def post(self, messages):
        """The places, or None: nobody knows whether they are there."""
        try:
            if not self.link:
                self.link = http.client.HTTPConnection("127.0.0.1", self.chance.choice(self.ports), timeout=25)
            self.link.request("POST", "/api/publish", dumps(messages))
            answer = self.link.getresponse()
            body = answer.read()
            if answer.status == 200:
                return [(one["epoch"], one["seq"]) for one in json.loads(body)["results"]]
            self.words[body.decode()[:100]] = self.words.get(body.decode()[:100], 0) + 1
        except (OSError, http.client.HTTPException, ValueError):
            pass
        self.link.close()
        self.link = None
        return None

    def publish(self, topics, number=None):
        messages = []
        for topic in topics:
            messages.append({"topic": f"t{topic}", "data": {"p": self.number, "n": self.next if number is None else number,
                                                           "x": PAD}})
            self.next += number is None
        places = self.post(messages)
        noted = [(one["topic"], (one["data"]["p"], one["data"]["n"])) for one in messages]
        if places:
            self.sure += [(*one, *where) for one, where in zip(noted, places)]
        else:
            self.unsure += noted
        return places

    def run(self):
        begin, done = time.monotonic(), 0
        while done < self.count and not self.stop.value:
            many = min(self.count - done, self.chance.choice((1, 1, 2, 8, 16, 32)))
            if self.publish([self.chance.randrange(self.plan.topics) for _ in range(many)]):
                done += many
                with self.said.get_lock():
                    self.said.value += many
            else:
                time.sleep(self.chance.uniform(0.05, 0.2))
            if self.chance.random() < 0.02 and self.link:
                self.link.close()  # and on with another node
                self.link = None
            ahead = done * self.plan.seconds / self.count - (time.monotonic() - begin)
            if ahead > 0:
                time.sleep(ahead)

    def end(self, topics):
        while not self.publish(topics, END):
            time.sleep(0.2)


class Speaker(threading.Thread):
    def __init__(self, number, plan, ports, count, said, stop):
        super().__init__(daemon=True)
        self.number, self.plan, self.ports, self.count, self.said, self.stop = number, plan, ports, count, said, stop
        self.name = f"s{number}"
        self.chance = random.Random(plan.seed * 1000 + 500 + number)
        self.rooms = plan.rooms_of(number)
        self.last_of = [room for room in self.rooms if number < plan.speakers // 2 or plan.speakers < 2]
        self.next, self.sure, self.again, self.words = 0, [], 0, {}
        self.flying = {}  # by room: its message
        self.refused = []
        self.link, self.frames, self.in_rooms = None, None, set()

    def connect(self):
        while not self.link and not self.stop.value:
            try:
                self.link = dial(self.chance.choice(self.ports))
                self.link.sendall(handshake(self.name))
                self.frames, self.in_rooms = Frames(), set()
                for room in self.rooms:
                    self.write({"type": "join_room", "room": f"r{room}"})
            except OSError:
                self.drop()
                time.sleep(self.chance.uniform(0.05, 0.3))
        self.heard = time.monotonic()

    def drop(self):
        if self.link:
            self.link.close()
        self.link = None

    def write(self, message):
        self.link.sendall(mask_frame(dumps(message)))

    def send(self, room):
        message = self.flying[room]
        self.write({"type": "DATA", "id": message["id"],
                    "data": {"type": "room_message", "room": f"r{room}", "content": message["content"]}})

    def say(self, room, number=None):
        content = {"p": 1000 + self.number, "n": self.next if number is None else number, "x": PAD}
        mark = f"{self.next}" if number is None else f"end{room}"
        self.next += number is None
        self.flying[room] = {"id": mark, "content": content, "at": time.monotonic()}
        if room in self.in_rooms:
            self.send(room)

    def take(self, message):
        kind = message["type"]
        if kind == "room_joined":
            room = int(message["room"][1:])
            self.in_rooms.add(room)
            if room in self.flying:
                self.again += 1
                self.send(room)
        elif kind == "ACK":
            for room, one in list(self.flying.items()):
                if one["id"] == message["data"]["messageId"]:
                    self.sure.append((f"r{room}", (one["content"]["p"], one["content"]["n"])))
                    del self.flying[room]
                    with self.said.get_lock():
                        self.said.value += one["content"]["n"] != END
        elif kind == "error":
            word = f"{message['code']}: {message['message'][:80]}"
            self.words[word] = self.words.get(word, 0) + 1
            room = next((room for room, one in self.flying.items() if one["id"] == message.get("id")), None)
            if room is not None:
                self.refused.append((time.monotonic() + self.chance.uniform(0.05, 0.3), room))

    def listen(self, seconds):
        if not select.select([self.link], [], [], seconds)[0]:
            return
        data = self.link.recv(1 << 16)
        if not data:
            raise Broken("the end")
        messages, pings = self.frames.feed(data)
        for payload in pings:
            self.link.sendall(pong_frame(payload))
        for message in messages:
            self.take(json.loads(message))

    def turn(self):
        now = time.monotonic()
        for due, room in [one for one in self.refused if one[0] <= now]:
            self.refused.remove((due, room))
            if room in self.flying and room in self.in_rooms:
                self.again += 1
                self.send(room)
        for one in self.flying.values():
            if now - one["at"] > ACK_S:
                one["at"] = now
                raise Broken("no acknowledgement came")

    def step(self, seconds):
        self.connect()
        try:
            self.turn()
            self.listen(seconds)
        except (OSError, Broken) as why:
            if "no ack" in str(why) or "closed" in str(why):
                self.words[str(why)] = self.words.get(str(why), 0) + 1
            self.refused.clear()
            self.drop()

    def run(self):
        begin, done = time.monotonic(), 0
        while (done < self.count or self.flying) and not self.stop.value:
            due = done * self.plan.seconds / self.count <= time.monotonic() - begin
            free = [room for room in self.rooms if room not in self.flying] if done < self.count else []
            if due and free and self.link:
                try:
                    self.say(self.chance.choice(free))
                    done += 1
                except OSError:
                    done += 1
                    self.drop()
            self.step(0 if due and free else 0.005)

    def end(self):
        for room in self.last_of:
            self.connect()
            try:
                self.say(room, END)
            except OSError:
                self.drop()
        while self.flying and not self.stop.value:
            self.step(0.02)


def write_all(plan, ports, said, stop, pipe):
    """All writers, in a process of its own; when they are done it waits for a word before the ends are said."""
    posters = [Poster(n, plan, ports, plan.posted // plan.posters, said, stop) for n in range(plan.posters)]
    speakers = [Speaker(n, plan, ports, plan.said // plan.speakers, said, stop) for n in range(plan.speakers)]
    for one in posters + speakers:
        one.start()
    for one in posters + speakers:
        one.join()
    pipe.send("done")
    pipe.recv()
    topics = plan.read_topics()
    for at in range(0, len(topics), 100):
        posters[0].end(topics[at:at + 100])
    for speaker in speakers:
        speaker.end()
    words = {}
    for one in posters + speakers:
        for word, count in one.words.items():
            words[word] = words.get(word, 0) + count
    pipe.send({"sure": [(*one[:2], *one[2:]) for poster in posters for one in poster.sure],
               "said": [one for speaker in speakers for one in speaker.sure],
               "left": [(f"r{room}", (one["content"]["p"], one["content"]["n"]))
                        for speaker in speakers for room, one in speaker.flying.items()],
               "unsure": [one for poster in posters for one in poster.unsure],
               "again": sum(speaker.again for speaker in speakers), "words": words})
