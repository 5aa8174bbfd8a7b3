# SPDX-License-Identifier: MIT
"""aiohttp: /relay/NAME, /topic/NAME[,NAME...], /publish/NAME and /echo."""
from collections import defaultdict

from aiohttp import WSMsgType, web

import peer

topics = defaultdict(set)


async def serve(request):
    socket = web.WebSocketResponse(compress=peer.DEFLATE, max_msg_size=peer.SIZE_MAX)
    await socket.prepare(request)
    names, published = ([], None) if request.path == "/echo" else peer.jobs(request.path)
    members = {socket} if request.path == "/echo" else topics[published]
    for name in names:
        topics[name].add(socket)
    try:
        async for message in socket:
            for member in list(members):
                if message.type == WSMsgType.TEXT:
                    await member.send_str(message.data)
                elif message.type == WSMsgType.BINARY:
                    await member.send_bytes(message.data)
    finally:
        for name in names:
            topics[name].discard(socket)
    return socket


app = web.Application()
app.router.add_get("/{path:.*}", serve)
web.run_app(app, host="127.0.0.1", port=peer.PORT, ssl_context=peer.tls(), access_log=None, print=None, backlog=4096)
