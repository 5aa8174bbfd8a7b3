# SPDX-License-Identifier: MIT
"""Tornado: /relay/NAME, /topic/NAME[,NAME...], /publish/NAME and /echo."""
import asyncio
from collections import defaultdict

import tornado.httpserver
import tornado.web
import tornado.websocket

import peer

topics = defaultdict(set)


class Echo(tornado.websocket.WebSocketHandler):
    def get_compression_options(self):
        return {} if peer.DEFLATE else None

    def on_message(self, message):
        self.write_message(message, binary=isinstance(message, bytes))


class Relay(Echo):
    def open(self, *_):
        self.names, self.published = peer.jobs(self.request.path)
        for name in self.names:
            topics[name].add(self)

    def on_message(self, message):
        for member in list(topics[self.published]):
            member.write_message(message, binary=isinstance(message, bytes))

    def on_close(self):
        for name in self.names:
            topics[name].discard(self)


async def main():
    app = tornado.web.Application([("/echo", Echo), ("/(?:relay|topic|publish)/.*", Relay)],
                                  websocket_max_message_size=peer.SIZE_MAX)
    server = tornado.httpserver.HTTPServer(app, ssl_options=peer.tls())
    server.listen(peer.PORT, "127.0.0.1", backlog=4096)
    await asyncio.Future()


asyncio.run(main())
