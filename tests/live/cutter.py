# SPDX-License-Identifier: MIT
"""A small TCP proxy that a test cuts: connections end at once, new ones are refused until it is mended."""
import select
import socket
import threading


class Cutter:
    """Listens on a free port of loopback and hands on to `target` (a port); `target` may be changed."""

    def __init__(self, target):
        self.target = target
        self.pairs, self.lock, self.down, self.over = [], threading.Lock(), False, False
        self.taken = 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                if self.down:
                    near.close()
                    continue
            try:
                far = socket.create_connection(("127.0.0.1", self.target), timeout=5)
            except OSError:
                near.close()
                continue
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                if self.down:
                    near.close(), far.close()
                    continue
                self.taken += 1
                self.pairs.append((near, far))
            threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near, far):
        try:
            while True:
                for end in select.select((near, far), (), ())[0]:
                    data = end.recv(1 << 16)
                    if not data:
                        return
                    (far if end is near else near).sendall(data)
        except (OSError, ValueError):
            pass
        finally:
            for end in (near, far):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                end.close()

    def cut(self):
        with self.lock:
            self.down = True
            for pair in self.pairs:
                for end in pair:
                    try:
                        end.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass
            self.pairs.clear()

    def mend(self):
        with self.lock:
            self.down = False

    def close(self):
        self.cut()
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
