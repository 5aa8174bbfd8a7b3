# SPDX-License-Identifier: MIT
"""What the soak of several nodes agrees on with itself: who reads and who writes what, how a place in a topic's order is
written, and a connection with frames that is fast enough for a thousand of them."""
import base64
import json
import os
import socket
import struct

END = -1  # the number of a channel's last message


class Plan:
    """Topics and rooms are channels: 0 to topics-1 are topics, the others rooms."""

    def __init__(self, seed, clients, messages, seconds, topics=500, rooms=100):
        self.seed, self.clients, self.seconds = seed, clients, seconds
        self.topics, self.rooms = topics, rooms
        self.posters, self.speakers = (8, 24) if clients >= 500 else (3, 6)
        self.posted = messages * 3 // 4
        self.said = messages - self.posted
        self.follows = 4

    def topics_of(self, client):
        return sorted({(client * self.follows + k) % self.topics for k in range(self.follows)})

    def room_of(self, client):
        return client % self.rooms

    def rooms_of(self, speaker):
        """Each room has two speakers."""
        half = max(1, self.speakers // 2)
        return [room for room in range(self.rooms) if room % half == speaker % half]

    def read_topics(self):
        return sorted({topic for client in range(self.clients) for topic in self.topics_of(client)})

    def read_rooms(self):
        return sorted({self.room_of(client) for client in range(self.clients)})


def place(epoch, sequence):
    return epoch << 64 | sequence


def mask_frame(text):
    """A text frame of a client."""
    data = text.encode()
    size, key = len(data), os.urandom(4)
    head = struct.pack("!BB", 0x81, 0x80 | size) if size < 126 else struct.pack("!BBH", 0x81, 0xFE, size)
    stream = int.from_bytes((key * (size // 4 + 1))[:size], "little")
    return head + key + (int.from_bytes(data, "little") ^ stream).to_bytes(size, "little")


def pong_frame(payload):
    return struct.pack("!BB", 0x8A, 0x80 | len(payload)) + bytes(4) + payload


def handshake(user):
    key = base64.b64encode(os.urandom(16)).decode()
    return (f"GET /ws/{user} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n").encode()


class Broken(Exception):
    """The connection is over."""


class Frames:
    """Bytes of a server, taken apart: first the answer to the handshake, then messages."""

    def __init__(self):
        self.buffer, self.open = bytearray(), False

    def feed(self, data):
        """The messages that have become whole, and the Pings."""
        buffer = self.buffer
        buffer += data
        messages, pings, at = [], [], 0
        if not self.open:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return messages, pings
            if not buffer.startswith(b"HTTP/1.1 101"):
                raise Broken(bytes(buffer[:end]).decode("latin-1").split("\r\n")[0])
            self.open, at = True, end + 4
        total = len(buffer)
        while total - at >= 2:
            kind, size, begin = buffer[at] & 15, buffer[at + 1], at + 2
            if size == 126:
                begin = at + 4
                size = int.from_bytes(buffer[at + 2:begin], "big") if total >= begin else total
            elif size == 127:
                begin = at + 10
                size = int.from_bytes(buffer[at + 2:begin], "big") if total >= begin else total
            if begin + size > total:
                break
            payload = bytes(buffer[begin:begin + size])
            if kind == 1:
                messages.append(payload)
            elif kind == 9:
                pings.append(payload)
            elif kind == 8:
                code = int.from_bytes(payload[:2], "big") if payload else 1005
                raise Broken(f"closed with {code} {payload[2:].decode(errors='replace')}")
            at = begin + size
        del buffer[:at]
        return messages, pings


def dial(port, timeout=2):
    link = socket.create_connection(("127.0.0.1", port), timeout)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


def dumps(value):
    return json.dumps(value, separators=(",", ":"))
