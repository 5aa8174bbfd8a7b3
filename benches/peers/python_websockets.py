# SPDX-License-Identifier: MIT
"""websockets on asyncio: /relay/NAME, /topic/NAME[,NAME...], /publish/NAME and /echo; its own broadcast()."""
import asyncio
from collections import defaultdict

import websockets

import peer

topics = defaultdict(set)


async def serve(socket, path):
    if path == "/echo":
        async for message in socket:
            await socket.send(message)
        return
    names, published = peer.jobs(path)
    for name in names:
        topics[name].add(socket)
    try:
        async for message in socket:
            websockets.broadcast(topics[published], message)
    finally:
        for name in names:
            topics[name].discard(socket)


async def main():
    async with websockets.serve(serve, "127.0.0.1", peer.PORT, ssl=peer.tls(), max_size=peer.SIZE_MAX, backlog=4096,
                                compression="deflate" if peer.DEFLATE else None, ping_interval=None):
        await asyncio.Future()


asyncio.run(main())
