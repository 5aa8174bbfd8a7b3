# SPDX-License-Identifier: MIT
"""`ringcast app` with clients that others wrote: npm's ws, wscat, python3-websockets, websocket-client; and a thousand
users in a hundred rooms, none of whose messages may be lost, doubled or out of order (--seconds=60 for a long run, and one
more through nginx)."""
import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

from app import SECRET, SLOW, App, equal, token, until
from harness import Skip, die_with_parent, run
from nodetest import MODULES, need_npm, node
from proxies import nginx

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS = float(next((a[10:] for a in sys.argv if a.startswith("--seconds=")), 0))
ROOMS, MEMBERS = 100, 10


def test_npm_ws():
    program = shutil.which("node")
    environment = dict(os.environ, NODE_PATH="/usr/share/nodejs")
    if not program or subprocess.run([program, "-e", "require('ws')"], env=environment, capture_output=True).returncode:
        raise Skip("needs nodejs and node-ws")
    with App() as server:
        done = subprocess.run([program, os.path.join(HERE, "app_ws.js"), server.url, str(server.pid)], env=environment,
                              capture_output=True, text=True, timeout=40 * SLOW, preexec_fn=die_with_parent)
        equal((done.returncode, done.stdout.count("ok ")), (0, 3), done.stdout + done.stderr)
        equal(server.process.wait(10 * SLOW), 0)


def test_npm_msgpack():
    """The MessagePack of others in Node; both packages are pure JavaScript, and kept under build/node."""
    need_npm("@msgpack/msgpack@3", "msgpackr@1")
    with App("--content-max", "100000") as server:
        node("msgpack.mjs", server.url, MODULES, limit=15)


def test_wscat():
    wscat = shutil.which("wscat")
    environment = dict(os.environ, NODE_PATH="/usr/share/nodejs")
    if not wscat or subprocess.run([wscat, "--version"], env=environment, capture_output=True).returncode:
        raise Skip("needs wscat")
    with App("--token-secret", SECRET) as server:
        process = subprocess.Popen([wscat, "--no-color", "-c", server.url + "/ws", "-H", "Authorization: Bearer " + token(sub="cat")],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
                                   preexec_fn=die_with_parent)
        try:
            seen = ""
            while '"welcome"' not in seen:
                seen = process.stdout.readline()
                assert seen, "wscat ended"
            assert '"userId":"cat"' in seen, seen
            process.stdin.write('{"type":"ping","timestamp":"by wscat"}\n')
            process.stdin.flush()
            while "pong" not in seen:
                seen = process.stdout.readline()
                assert seen, "wscat ended"
            assert '"timestamp":"by wscat"' in seen, seen
        finally:
            process.kill()
            process.wait()


def test_websocket_client():
    try:
        import websocket
    except ImportError:
        raise Skip("needs python3-websocket") from None
    with App("--token-secret", SECRET) as server:
        one = websocket.create_connection(server.url + "/ws", timeout=10, subprotocols=["ringcast.json", token(sub="one")])
        two = websocket.create_connection(server.url + "/ws", timeout=10, cookie="token=" + token(sub="two"))
        equal(one.getsubprotocol(), "ringcast.json")

        def hear(ws, type_):
            message = json.loads(ws.recv())
            equal(message["type"], type_, message)
            return message

        equal([hear(ws, "welcome")["userId"] for ws in (one, two)], ["one", "two"])
        for number in range(100):
            one.send(json.dumps({"type": "direct", "to": "two", "content": number}))
        equal([hear(two, "direct")["content"] for _ in range(100)], list(range(100)))
        for ws in (one, two):
            ws.close()


def test_websockets():
    try:
        import websockets
    except ImportError:
        raise Skip("needs python3-websockets") from None

    async def talk(url):
        async with websockets.connect(url + "/ws/a", subprotocols=["ringcast.json"]) as a, \
                websockets.connect(url + "/ws/b") as b:
            equal(a.subprotocol, "ringcast.json")
            for ws in (a, b):
                equal(json.loads(await ws.recv())["type"], "welcome")
            for ws in (a, b):
                await ws.send('{"type":"subscribe","topics":["x*"]}')
                equal(json.loads(await ws.recv())["type"], "subscribed")
            await asyncio.get_running_loop().run_in_executor(None, lambda: server.post("publish", topic="x1", data=1))
            for ws in (a, b):
                equal(json.loads(await ws.recv())["data"], 1)

    with App() as server:
        asyncio.run(talk(server.url))


def test_gorilla():
    go = shutil.which("go")
    if not go or not os.path.isdir("/usr/share/gocode/src/github.com/gorilla/websocket"):
        raise Skip("needs golang-go and golang-github-gorilla-websocket-dev")
    with tempfile.TemporaryDirectory() as directory, App() as server:
        environment = dict(os.environ, GOPATH="/usr/share/gocode", GO111MODULE="off", GOFLAGS="", GOTOOLCHAIN="local",
                           GOCACHE=directory)
        program = os.path.join(directory, "client")
        built = subprocess.run([go, "build", "-o", program, os.path.join(HERE, "app_gorilla.go")], env=environment,
                               capture_output=True, text=True, timeout=100 * SLOW)
        equal(built.returncode, 0, built.stderr)
        done = subprocess.run([program, server.url], capture_output=True, text=True, timeout=20 * SLOW)
        equal(done.stdout, "ok gorilla\n", done.stderr)


class User:
    """One of the thousand: it says its messages at its pace, and keeps count of everybody else's in its room."""

    def __init__(self, number):
        self.number = number
        self.room = f"room-{number % ROOMS}"
        self.others = {f"u{n}": 0 for n in range(number % ROOMS, ROOMS * MEMBERS, ROOMS) if n != number}
        self.heard = 0

    async def join(self, connect, url):
        self.ws = await connect(f"{url}/ws/u{self.number}", compression=None, ping_interval=None)
        await self.ws.recv()
        await self.ws.send(json.dumps({"type": "join_room", "room": self.room}))

    async def talk(self, begin, end, count, pace):
        await begin.wait()
        said = 0
        while said < count if count else time.monotonic() < end:
            await self.ws.send(json.dumps({"type": "room_message", "room": self.room, "content": said}))
            said += 1
            await asyncio.sleep(pace)
        await self.ws.send(json.dumps({"type": "room_message", "room": self.room, "content": "end"}))
        return said

    async def listen(self):
        ended = 0
        while ended < len(self.others):
            message = json.loads(await self.ws.recv())
            if message["type"] != "room_message":
                assert message["type"] in ("room_joined", "user_joined"), message
                continue
            sender, content = message["from"], message["content"]
            if content == "end":
                ended += 1
                continue
            assert content == self.others[sender], f"u{self.number} heard {content} of {sender}, not {self.others[sender]}"
            self.others[sender] += 1
            self.heard += 1


async def crowd(server, connect, url):
    users = [User(number) for number in range(ROOMS * MEMBERS)]
    for at in range(0, len(users), 100):
        await asyncio.gather(*(user.join(connect, url) for user in users[at:at + 100]))
    loop = asyncio.get_running_loop()
    while (await loop.run_in_executor(None, server.figures))["activeRooms"] != ROOMS:
        await asyncio.sleep(0.05)
    for user in users:  # the last to join is in: a room's first message may come
        await user.ws.send('{"type":"ping"}')
    begin, end = asyncio.Event(), time.monotonic() + SECONDS
    listeners = []
    for user in users:
        while json.loads(await user.ws.recv())["type"] != "pong":
            pass
        listeners.append(asyncio.create_task(user.listen()))
    talkers = [asyncio.create_task(user.talk(begin, end, 0 if SECONDS else 4, 3 if SECONDS else 0.1)) for user in users]
    begin.set()
    said = await asyncio.gather(*talkers)
    await asyncio.gather(*listeners)
    for user in users:
        for sender, count in user.others.items():
            equal(count, said[int(sender[1:])], f"what u{user.number} heard of {sender}")
    heard = sum(user.heard for user in users)
    equal(heard, sum(said) * (MEMBERS - 1), "deliveries")
    print(f"    {sum(said)} messages, {heard} deliveries, none lost", flush=True)
    await asyncio.gather(*(user.ws.close() for user in users))


@contextlib.contextmanager
def no_proxy(port):
    yield None


def run_crowd(*arguments, between=no_proxy):
    """`between` begins what stands before the server, given its port."""
    try:
        import websockets
    except ImportError:
        raise Skip("needs python3-websockets") from None
    with App(*arguments) as server, between(server.port) as proxy:
        asyncio.run(crowd(server, websockets.connect, f"ws://127.0.0.1:{proxy.port}" if proxy else server.url))
        until(lambda: server.figures()["activeRooms"] == 0, "all rooms gone")
        figures = server.figures()
        equal((figures["connectedClients"], figures["users"], figures["subscriptions"]), (0, 0, 0))


def test_a_thousand_users():
    run_crowd()


def test_a_thousand_users_through_nginx():
    if not SECONDS:
        raise Skip("`make soak`, or --seconds=60, runs it")
    run_crowd("--trust-proxy", "127.0.0.1", between=lambda port: nginx(port, connections=4 * ROOMS * MEMBERS))


run(globals(), limit=120 + int(SECONDS * 2))
