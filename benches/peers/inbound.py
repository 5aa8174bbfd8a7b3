# SPDX-License-Identifier: MIT
"""inbound.py: many connections that only send, on a schedule, and are sent nothing back. What arrived is known at the end:
a server answers a Close after all that came before it."""
import base64
import os
import select
import socket
import time

LIMIT_S = 20
CLOSE = b"\x88\x82\0\0\0\0\x03\xe8"


def frame(size):
    """A text whose mask is zero: what is said is as it stands."""
    head = bytes([0x81, 0x80 | size]) if size < 126 else bytes([0x81, 0xFE]) + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + b"i" * size


class Inbound:
    def __init__(self, port, connections):
        self.sockets = []
        self.sent = 0
        for _ in range(connections):
            one = socket.create_connection(("127.0.0.1", port), LIMIT_S)
            self.sockets.append(one)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            key = base64.b64encode(os.urandom(16)).decode()
            one.sendall(f"GET /topic/inbound HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
            answer = b""
            while b"\r\n\r\n" not in answer:
                more = one.recv(4096)
                if not more:
                    break
                answer += more
            if not answer.startswith(b"HTTP/1.1 101"):
                raise OSError(f"no WebSocket: {answer[:60]!r}")

    def send(self, seconds, rate, size):
        """Each in its turn, so many a second in all. Who is late goes on from where it is. Returns how many were sent."""
        data, count, sockets = frame(size), 0, self.sockets
        begin = now = time.monotonic()
        while now < begin + seconds:
            due = min(int((now - begin) * rate), count + rate // 50)
            for number in range(self.sent + count, self.sent + due):
                sockets[number % len(sockets)].send(data)
            count = max(count, due)
            time.sleep(0.001)
            now = time.monotonic()
        self.sent += count
        return count

    def close(self):
        """Returns how many connections did not say that all of theirs had arrived."""
        for one in self.sockets:
            try:
                one.sendall(CLOSE)
            except OSError:
                pass  # then it gets no answer either
        wrong, end = 0, time.monotonic() + LIMIT_S
        for one in self.sockets:
            got = b""
            try:
                while b"\x88" not in got and select.select([one], [], [], max(0, end - time.monotonic()))[0]:
                    more = one.recv(4096)
                    if not more:
                        break
                    got += more
            except OSError:
                pass
            wrong += b"\x88" not in got
            one.close()
        self.sockets = []
        return wrong
