# SPDX-License-Identifier: MIT
"""rooms.py: users in rooms who talk, over WebSocket, in the dialect of the application server or in socket.io's. Each
hears what the others of its room say; a round is over when all have heard all."""
import base64
import json
import os
import selectors
import socket
import struct
import time

from proc import Failed

LIMIT_S = 30


def masked(text):
    """A frame whose mask is zero: what is said is as it stands. Bytes are binary."""
    data = text.encode() if isinstance(text, str) else text
    size, first = len(data), 0x81 if isinstance(text, str) else 0x82
    head = struct.pack("!BB", first, 0x80 | size) if size < 126 else struct.pack("!BBH", first, 0xFE, size)
    return head + b"\0\0\0\0" + data


def packed(value):
    """MessagePack of texts, lists and maps, which is all that is said here."""
    if isinstance(value, str):
        data = value.encode()
        head = bytes([0xA0 | len(data)]) if len(data) < 32 else struct.pack("!BH", 0xDA, len(data))
        return head + data
    count = struct.pack("!BH", 0xDE if isinstance(value, dict) else 0xDC, len(value))
    if isinstance(value, dict):
        value = [each for pair in value.items() for each in pair]
    return count + b"".join(packed(each) for each in value)


class Dialect:
    """The application server's own: objects with a type."""

    path = "/ws"
    protocol = None
    ready = b'{"type":"welcome"'
    heard = b'"room_message"'
    error = b'"error"'

    def hello(self):
        return []

    def say(self, type_, **members):
        return masked(json.dumps({"type": type_, **members}))


class Packed(Dialect):
    """The same as MessagePack."""

    protocol = "ringcast.msgpack"
    ready = packed("welcome")
    heard = packed("room_message")
    error = packed("error")

    def say(self, type_, **members):
        return masked(packed({"type": type_, **members}))


class SocketIo:
    """Engine.IO 4 over WebSocket: 0 open, 2 ping, 3 pong, 4 message; Socket.IO 5 in it: 0 connect, 2 event."""

    path = "/socket.io/?EIO=4&transport=websocket"
    protocol = None
    error = b'"error"'
    ready = b'40{'
    heard = b'42["room_message"'

    def hello(self):
        return [masked("40")]

    def say(self, type_, **members):
        return masked("42" + json.dumps([type_, members]))


class Member:
    def __init__(self, port, dialect):
        self.dialect, self.buffer, self.count, self.ready, self.joined = dialect, bytearray(), 0, False, False
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        protocol = f"Sec-WebSocket-Protocol: {dialect.protocol}\r\n" if dialect.protocol else ""
        self.socket.sendall(f"GET {dialect.path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{protocol}\r\n".encode())
        self.socket.settimeout(LIMIT_S)
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        if not self.buffer.startswith(b"HTTP/1.1 101"):
            raise Failed(f"the handshake was refused: {bytes(self.buffer)[:80]!r}")
        del self.buffer[:self.buffer.index(b"\r\n\r\n") + 4]
        for frame in dialect.hello():
            self.socket.sendall(frame)

    def _more(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise Failed("the server closed a connection")
        self.buffer += data

    def join(self, room):
        self._take_frames()  # what came with the handshake's answer
        while not self.ready:
            self.hear()
        self.socket.sendall(self.dialect.say("join_room", room=room))
        while not self.joined:
            self.hear()

    def hear(self):
        """Reads what there is."""
        self._more()
        self._take_frames()

    def _take_frames(self):
        buffer, at, end, heard = self.buffer, 0, len(self.buffer), self.dialect.heard
        while end - at >= 2:
            size, begin = buffer[at + 1], at + 2
            if size == 126:
                if end - at < 4:
                    break
                size, begin = buffer[at + 2] << 8 | buffer[at + 3], at + 4
            if begin + size > end:
                break
            if buffer.find(heard, begin, begin + min(size, 40)) >= 0:
                self.count += 1
            elif buffer.find(b"room_joined", begin, begin + min(size, 40)) >= 0:
                self.joined = True
            elif buffer.find(self.dialect.ready, begin, begin + min(size, 40)) >= 0:
                self.ready = True
            elif buffer[begin:begin + size] == b"2":
                self.socket.sendall(masked("3"))
            elif buffer[at] == 0x88 or buffer.find(self.dialect.error, begin, begin + size) >= 0:
                raise Failed(f"the server said {bytes(buffer[begin:begin + size])[:120]!r}")
            at = begin + size
        del buffer[:at]


class Rooms:
    """Users who stay for the whole run."""

    def __init__(self, port, dialect, rooms, members):
        self.members = []
        self.selector = selectors.DefaultSelector()
        for room in range(rooms):
            for _ in range(members):
                member = Member(port, dialect)
                member.join(f"r{room}")
                member.room = f"r{room}"
                self.members.append(member)
                self.selector.register(member.socket, selectors.EVENT_READ, member)
        self.per_room, self.heard = members, 0

    def close(self):
        self.selector.close()
        for member in self.members:
            member.socket.close()

    def _until(self, wanted):
        stop = time.monotonic() + LIMIT_S
        while True:
            for key, _ in self.selector.select(0.2):
                before = key.data.count
                key.data.hear()
                self.heard += key.data.count - before
            if self.heard >= wanted:
                return
            if time.monotonic() > stop:
                raise Failed(f"heard {self.heard} of {wanted} messages")

    def talk(self, seconds, at_once, size, batch=1):
        """Rounds of `at_once` messages, or batches, by other users each time. Returns how many deliveries there were."""
        stop, first, begin, turn = time.monotonic() + seconds, self.heard, self.heard, 0
        content = "." * size
        step = max(1, len(self.members) // at_once)
        while time.monotonic() < stop:
            speakers = [self.members[(turn + i * step) % len(self.members)] for i in range(at_once)]
            for member in speakers:
                message = {"room": member.room, "content": content}
                member.socket.sendall(
                    member.dialect.say("room_message", **message) if batch == 1 else
                    member.dialect.say("batch", messages=[{"type": "room_message", **message}] * batch))
            begin += at_once * batch * (self.per_room - 1)
            self._until(begin)
            turn += 1
        return self.heard - first
