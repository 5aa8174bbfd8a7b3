# SPDX-License-Identifier: MIT
"""What the tests of several nodes share: a redis-server of its own in a folder of its own, and nodes of `ringcast app`
on it."""
import json
import shutil
import socket
import subprocess
import tempfile
import time

from app import App
from harness import SLOW, Skip, command, die_with_parent, until


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Redis:
    """A redis-server on a free port, which keeps what it was told over kill() and start()."""

    def __init__(self):
        if not shutil.which("redis-server"):
            raise Skip("there is no redis-server")
        if "redis" not in command("probe").stdout.decode():
            raise Skip("this build has no Redis")
        self.folder = tempfile.mkdtemp(prefix="ringcast-redis-")
        self.port = free_port()
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder, "--save", "",
             "--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
        until(self.answers, "the Redis server")

    def answers(self):
        try:
            return self.call("PING") == "PONG"
        except OSError:
            return False

    def call(self, *words):
        """One command, and its answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as peer:
            line = b"".join(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()) for word in words)
            peer.sendall(b"*%d\r\n" % len(words) + line)
            with peer.makefile("rb") as answer:
                return self.read(answer)

    def read(self, answer):
        line = answer.readline().decode()[:-2]
        if not line:
            raise OSError("the connection ended")
        kind, rest = line[0], line[1:]
        if kind == "-":
            if rest.startswith("LOADING"):
                raise OSError(rest)
            raise AssertionError(rest)
        if kind == "$":
            return None if rest == "-1" else answer.read(int(rest) + 2)[:-2].decode(errors="replace")
        if kind == "*":
            return [self.read(answer) for _ in range(int(rest))]
        return int(rest) if kind == ":" else rest

    def command_counts(self):
        """How often each command was called since the last CONFIG RESETSTAT."""
        lines = [line for line in self.call("INFO", "commandstats").splitlines() if line.startswith("cmdstat_")]
        return {line[8:].split(":")[0]: int(line.split("calls=")[1].split(",")[0]) for line in lines}

    def cut(self):
        """Ends all connections of clients."""
        self.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.close()

    def url(self, prefix="test"):
        return f"redis://127.0.0.1:{self.port}/0?prefix={prefix}"


class Nodes:
    """A Redis and some nodes on it."""

    def __init__(self, count=3, *flags, workers=2, redis=None):
        self.redis = redis or Redis()
        self.own_redis = redis is None
        self.flags, self.workers, self.nodes = flags, workers, []
        for _ in range(count):
            self.begin()
        self.meet(count)

    def begin(self):
        node = App("--backplane", self.redis.url(), *self.flags, workers=self.workers)
        self.nodes.append(node)
        return node

    def meet(self, count):
        """Until each node holds its lease and knows of all others."""
        for node in self.nodes:
            until(lambda node=node: self.backplane(node)["nodes"] == count, f"{count} nodes that know of each other")

    @staticmethod
    def backplane(node):
        return json.loads(node.get("/stats")[2])["backplane"]

    def kill(self, node):
        node.kill()
        self.nodes.remove(node)
        return time.monotonic()

    def __getitem__(self, index):
        return self.nodes[index]

    def __enter__(self):
        return self

    def __exit__(self, kind, *failure):
        try:
            for node in list(self.nodes):
                if kind:
                    node.kill()
                else:
                    node.stop()
        finally:
            if self.own_redis:
                self.redis.close()


def members(client, room):
    """Who is in the room, as this client is told; what else it hears meanwhile is put aside."""
    client.say("members", room=room)
    while True:
        message = client.hear()
        if message["type"] == "members":
            return sorted(message["members"])
        client.aside = getattr(client, "aside", []) + [message]


def until_members(client, room, *names):
    until(lambda: members(client, room) == sorted(names), f"{names} in {room}")


__all__ = ["Nodes", "Redis", "SLOW", "members", "until_members"]
