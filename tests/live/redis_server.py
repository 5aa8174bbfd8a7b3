# SPDX-License-Identifier: MIT
"""redis-server from the distribution, on a free port and in a folder of its own, and its protocol in a few lines."""
import os
import shutil
import signal
import socket
import subprocess
import tempfile

from harness import SLOW, Skip, die_with_parent, until
from proxies import free_port


class Redis:
    """Leaving the with block ends it. `lines` are added to its settings."""

    def __init__(self, *lines, port=None, sentinel=False):
        self.program = shutil.which("redis-server", path="/usr/bin:/usr/local/bin:/usr/sbin:/bin")
        if not self.program:
            raise Skip("needs redis-server")
        self.directory = tempfile.TemporaryDirectory()
        self.port = port or free_port()
        self.sentinel = sentinel
        self.path = os.path.join(self.directory.name, "redis.conf")
        with open(self.path, "w", encoding="utf-8") as file:
            file.write("\n".join((f"dir {self.directory.name}", "bind 127.0.0.1", 'logfile "output"', "daemonize no",
                                  *(() if sentinel else ('save ""',)), *([] if any(line.startswith("port") for line in lines)
                                                                         else [f"port {self.port}"]), *lines)) + "\n")
        self.start()

    def start(self):
        self.process = subprocess.Popen([self.program, self.path, *(["--sentinel"] if self.sentinel else [])],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        preexec_fn=die_with_parent)
        until(self.answers, "redis-server listening")

    def answers(self):
        if self.process.poll() is not None:
            with open(os.path.join(self.directory.name, "output"), encoding="utf-8") as file:
                raise AssertionError("redis-server ended: " + file.read()[-500:])
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10 * SLOW)

    def ask(self, *words, password=None):
        """One command; the answer as text, a number, a list, or None."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5 * SLOW) as link, link.makefile("rb") as reader:
            if password:
                self._say(link, "AUTH", password)
                self._read(reader)
            self._say(link, *words)
            return self._read(reader)

    @staticmethod
    def _say(link, *words):
        encoded = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        link.sendall(b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded))

    def _read(self, reader):
        line = reader.readline().decode().rstrip("\r\n")
        kind, rest = line[:1], line[1:]
        if kind == "$":
            return None if rest == "-1" else reader.read(int(rest) + 2)[:-2].decode("latin-1")
        if kind == "*":
            return None if rest == "-1" else [self._read(reader) for _ in range(int(rest))]
        if kind == "-":
            raise AssertionError("Redis: " + rest)
        return int(rest) if kind == ":" else rest

    def commands(self):
        """How often each command was called."""
        text = self.ask("INFO", "commandstats")
        return {line.split(":")[0][8:]: int(line.split("calls=")[1].split(",")[0])
                for line in text.splitlines() if line.startswith("cmdstat_")}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()
        self.directory.cleanup()
