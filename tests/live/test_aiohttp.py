# SPDX-License-Identifier: MIT
"""The server against Debian's python3-aiohttp, a client that nobody here wrote."""
import asyncio
import os

from harness import Server, Skip, equal, run

try:
    import aiohttp
except ImportError:
    aiohttp = None


def on(*flags):
    """A test is a coroutine that is given a function to connect by, and a server with these flags."""
    def decorate(test):
        async def inside(server):
            async with aiohttp.ClientSession() as session:
                await test(session, server, lambda path, **more: session.ws_connect(
                    f"http://127.0.0.1:{server.port}{path}", max_msg_size=0, **more))

        def body():
            if not aiohttp:
                raise Skip("python3-aiohttp is not installed")
            with Server(*flags) as server:
                asyncio.run(inside(server))
        body.__name__ = test.__name__
        return body
    return decorate


@on("--echo")
async def test_echo(session, server, connect):
    async with connect("/echo", compress=15) as ws:
        equal(ws.compress, 0, "deflate, which it offers")
        for size in (0, 1, 125, 126, 65535, 65536, 1 << 20):
            data = os.urandom(size)
            await ws.send_bytes(data)
            assert await ws.receive_bytes() == data, f"binary of {size} bytes"
            text = ("\u00e4\u20ac" * size)[:size // 3]
            await ws.send_str(text)
            assert await ws.receive_str() == text, f"text of {size // 3} characters"


@on("--echo")
async def test_pings(session, server, connect):
    async with connect("/echo", autoping=False) as ws:
        for payload in (b"", b"payload", bytes(125)):
            await ws.ping(payload)
            message = await ws.receive(10)
            equal((message.type, bytes(message.data)), (aiohttp.WSMsgType.PONG, payload))


@on("--echo", "--idle-timeout", "600ms")
async def test_answers_our_pings(session, server, connect):
    async with connect("/echo") as ws:
        waiting = asyncio.ensure_future(ws.receive())
        await asyncio.sleep(1.2)  # twice what would end a peer that does not answer
        await ws.send_str("still here")
        equal((await waiting).data, "still here")


@on("--echo")
async def test_close_codes(session, server, connect):
    for code in (1000, 1001, 3000, 4999):
        ws = await connect("/echo")
        await ws.close(code=code, message=b"bye")
        equal(ws.close_code, code)
    ws = await connect("/echo")
    server.process.terminate()
    message = await ws.receive(10)
    equal((message.type, message.data), (aiohttp.WSMsgType.CLOSE, 1001))


@on("--relay")
async def test_topics(session, server, connect):
    async with connect("/topic/A,B") as both, connect("/publish/A") as to_a, connect("/publish/B") as to_b:
        for number in range(500):
            await to_a.send_str(f"{number}" * (number % 90))
            equal(await both.receive_str(), f"{number}" * (number % 90))
        await to_b.send_bytes(b"\x01\x02")
        equal(await both.receive_bytes(), b"\x01\x02")
        async with connect("/topic/A?since=499") as late:
            equal(await late.receive_str(), "499" * (499 % 90))
        async with connect("/relay/R") as relay:
            await relay.send_str("to myself")
            equal(await relay.receive_str(), "to myself")


@on("--echo")
async def test_plain_http(session, server, connect):
    base = f"http://127.0.0.1:{server.port}"
    async with session.get(base + "/healthz") as answer:
        equal((answer.status, (await answer.text()).strip()), (200, "ok"))
    async with session.get(base + "/stats") as answer:
        assert "published" in (await answer.json())["total"]
    async with session.get(base + "/echo") as answer:
        equal(answer.status, 426)
    async with session.get(base + "/none") as answer:
        equal(answer.status, 404)


run(globals())
