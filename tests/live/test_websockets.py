# SPDX-License-Identifier: MIT
"""The server against Debian's python3-websockets, a client that nobody here wrote."""
import asyncio
import json
import os
import sys

from harness import Server, Skip, equal, run, until

try:
    import websockets
except ImportError:
    websockets = None


def on(*flags):
    """A test is a coroutine that is given a server with these flags."""
    def decorate(test):
        def body():
            if not websockets:
                raise Skip("python3-websockets is not installed")
            with Server(*flags) as server:
                asyncio.run(test(server))
        body.__name__ = test.__name__
        return body
    return decorate


def connect(server, path, **more):
    return websockets.connect(f"ws://127.0.0.1:{server.port}{path}", max_size=None, **more)


@on("--echo")
async def test_echo(server):
    async with connect(server, "/echo") as ws:
        equal(ws.extensions, [], "extensions, of which it offers deflate")
        for size in (0, 1, 125, 126, 65535, 65536, 1 << 20):
            data = os.urandom(size)
            await ws.send(data)
            assert await ws.recv() == data, f"binary of {size} bytes"
            text = ("\u00e4\u20ac" * size)[:size // 3]
            await ws.send(text)
            assert await ws.recv() == text, f"text of {size // 3} characters"


@on("--echo")
async def test_fragments_and_pings(server):
    async with connect(server, "/echo") as ws:
        await ws.send(["one ", "", "two ", "\u20ac" * 30000])
        equal(await ws.recv(), "one two " + "\u20ac" * 30000)
        await ws.send([b"\x00", b"\xff" * 70000])
        equal(await ws.recv(), b"\x00" + b"\xff" * 70000)
        for payload in (b"", b"payload", bytes(125)):
            await asyncio.wait_for(await ws.ping(payload), 10)


@on("--echo")
async def test_close_codes(server):
    for code, reason in ((1000, ""), (1001, "bye"), (3000, "\u20ac" * 41), (4999, "x" * 123)):
        ws = await connect(server, "/echo")
        await ws.close(code, reason)
        equal(ws.close_code, code)
    ws = await connect(server, "/echo")
    server.process.terminate()
    try:
        await ws.recv()
        raise AssertionError("a message after the end")
    except websockets.ConnectionClosed:
        pass
    equal(ws.close_code, 1001)


@on("--relay")
async def test_topics(server):
    async with connect(server, "/topic/A,B") as both, connect(server, "/topic/A") as one, \
            connect(server, "/publish/A") as to_a, connect(server, "/publish/B") as to_b:
        sent = []
        for number in range(500):
            sent.append(f"{number} " + "\u00e4" * (number * 7 % 300))
            await to_a.send(sent[-1])
        for text in sent:
            equal(await one.recv(), text)
            equal(await both.recv(), text)
        await to_b.send(b"\x01\x02")
        equal(await both.recv(), b"\x01\x02")
        async with connect(server, "/topic/A?since=490") as late:
            for text in sent[490:]:
                equal(await late.recv(), text)
        async with connect(server, "/topic/B?last=1") as late:
            equal(await late.recv(), b"\x01\x02")
        async with connect(server, "/relay/R") as relay:
            await relay.send("to myself")
            equal(await relay.recv(), "to myself")


@on("--echo")
async def test_subprotocols_nobody_chose(server):
    async with connect(server, "/echo", subprotocols=["chat.v2", "chat"]) as ws:
        equal(ws.subprotocol, None)


@on()
async def test_forms(server):
    """A keyed topic as JSON: the state first, then every change, each number behind the one before it."""
    async with connect(server, "/publish?form=json") as writer:
        await writer.send(json.dumps([{"t": "book", "k": f"k{number % 20}", "d": number} for number in range(100)]))
        until(lambda: server.stats()["published"] == 100, "all is published")
        async with connect(server, "/topic/book?form=json&state=1") as late, connect(server, "/topic/book?form=binary&since=0") as other:
            mark = json.loads(await late.recv())
            equal((mark["m"], mark["s"]), ("state", 100))
            values = {}
            while len(values) < 20:
                message = json.loads(await late.recv())
                values[message["k"]] = message["d"]
            equal(sorted(values.values()), list(range(80, 100)))
            await writer.send('{"t":"book","k":"k0","r":true}')
            message = json.loads(await late.recv())
            equal((message["s"], message["p"], message["k"], message["r"]), (101, 100, "k0", True))
            for number in range(100):
                data = await other.recv()
                equal((int.from_bytes(data[4:12], "big"), data[28:32]), (number + 1, b"book"))


run(globals())
