# SPDX-License-Identifier: MIT
"""FastAPI on uvicorn, with uvloop where it is there: /relay/NAME, /topic/NAME[,NAME...], /publish/NAME and /echo."""
from collections import defaultdict

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

import peer

app = FastAPI()
topics = defaultdict(set)


@app.websocket("/echo")
async def echo(socket: WebSocket):
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        pass


@app.websocket("/{job}/{words}")
async def relay(socket: WebSocket, job: str, words: str):
    await socket.accept()
    names, published = peer.jobs(f"/{job}/{words}")
    members = topics[published]
    for name in names:
        topics[name].add(socket)
    try:
        while True:
            message = await socket.receive_text()
            for member in list(members):
                try:
                    await member.send_text(message)
                except (WebSocketDisconnect, RuntimeError):
                    members.discard(member)
    except WebSocketDisconnect:
        pass
    finally:
        for name in names:
            topics[name].discard(socket)


uvicorn.run(app, host="127.0.0.1", port=peer.PORT, log_level="error", ws_max_size=peer.SIZE_MAX, ws_ping_interval=None,
            ws_per_message_deflate=peer.DEFLATE, ssl_certfile=peer.CERT, ssl_keyfile=peer.KEY, backlog=4096)
