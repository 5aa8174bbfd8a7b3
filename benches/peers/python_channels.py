# SPDX-License-Identifier: MIT
"""Django Channels under daphne, with its channel layer in memory: /relay/NAME, /topic/NAME[,NAME...], /publish/NAME and
/echo."""
import django
from django.conf import settings

import peer

settings.configure(SECRET_KEY="of no use here", ALLOWED_HOSTS=["*"], INSTALLED_APPS=["channels"], CHANNEL_LAYERS={
    "default": {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 1 << 20}}})
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter  # noqa: E402
from daphne.server import Server  # noqa: E402


class Serve(AsyncWebsocketConsumer):
    names, published, echoes = (), None, False

    async def connect(self):
        self.echoes = self.scope["path"] == "/echo"
        if not self.echoes:
            self.names, self.published = peer.jobs(self.scope["path"])
        for name in self.names:
            await self.channel_layer.group_add(name, self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        for name in self.names:
            await self.channel_layer.group_discard(name, self.channel_name)

    async def receive(self, text_data=None, bytes_data=None):
        if self.published:
            await self.channel_layer.group_send(self.published, {"type": "told", "text": text_data})
        elif self.echoes:
            await self.send(text_data=text_data)

    async def told(self, event):
        await self.send(text_data=event["text"])


application = ProtocolTypeRouter({"websocket": Serve.as_asgi()})
Server(application, endpoints=[f"tcp:port={peer.PORT}:interface=127.0.0.1:backlog=4096"], ping_interval=3600,
       websocket_handshake_timeout=60, verbosity=0).run()
