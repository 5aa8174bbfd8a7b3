#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""cluster.py PROGRAM [--nodes N] [--verb app|serve] [--port PORT] [--kill] [-- FLAGS...]: several nodes on this machine,
to look at: a Redis on a free port with its data in a folder of its own, nodes that share it, and HAProxy before them. It
prints where they are, says what ends, and ends all of them with the first signal. --kill ends one node with -9 now and
then, and starts it again.

HAProxy keeps a client at the node that it had first, by a cookie; a client without cookies goes anywhere, and goes on
there. Under /node/1 each node can be asked by itself. Whoever comes by HAProxy has the key to the figures and to /api:
this is a cluster to look at, on loopback alone.
"""
import argparse
import ctypes
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HAPROXY = """
global
  maxconn 2000
defaults
  mode http
  timeout connect 5s
  timeout client 150s
  timeout server 150s
  timeout tunnel 150s
frontend all
  bind 127.0.0.1:{port}
  option forwardfor
  http-request set-header Authorization "Bearer {key}" unless {{ req.hdr(Authorization) -m found }}
{choices}
  default_backend nodes
backend nodes
  balance roundrobin
  cookie NODE insert indirect nocache
  option httpchk GET /readyz
  default-server check inter 500ms fall 2 rise 1
{servers}
{backends}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def need(name):
    found = shutil.which(name, path="/usr/bin:/usr/sbin:/usr/local/bin:/bin:/sbin")
    if not found:
        sys.exit(f"run-cluster needs {name}: apt-get install {'haproxy' if name == 'haproxy' else 'redis-server'}")
    return found


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    os.setpgid(0, 0)  # the terminal's Ctrl-C is for us: we end them in turn


class Cluster:
    def __init__(self, options, directory):
        self.options, self.directory = options, directory
        self.running = {}
        self.ports = [free_port() for _ in range(options.nodes)]
        self.redis_port, self.port = free_port(), options.port or free_port()
        self.key, self.key_path = secrets.token_hex(16), os.path.join(directory, "key")
        with open(self.key_path, "w", encoding="ascii", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(self.key + "\n")

    def start(self, name, *command):
        output = open(os.path.join(self.directory, name + ".log"), "ab")
        self.running[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                              preexec_fn=die_with_parent)
        output.close()

    def wait_for(self, name, port):
        end = time.monotonic() + 20
        while not answers(port):
            if self.running[name].poll() is not None or time.monotonic() > end:
                with open(os.path.join(self.directory, name + ".log"), encoding="utf-8", errors="replace") as log:
                    sys.exit(f"{name} does not start: {log.read()[-600:]}")
            time.sleep(0.02)

    def start_node(self, index):
        self.start(f"node {index + 1}", self.options.program, self.options.verb, "--listen", f"127.0.0.1:{self.ports[index]}",
                   "--workers", "1", "--trust-proxy", "127.0.0.1",
                   "--api-key-file" if self.options.verb == "app" else "--operator-key-file", self.key_path, "--backplane",
                   f"redis://127.0.0.1:{self.redis_port}/0?prefix=cluster", *self.options.flags)

    def start_all(self):
        self.start("redis", need("redis-server"), "--port", str(self.redis_port), "--bind", "127.0.0.1", "--dir",
                   self.directory, "--appendonly", "yes", "--save", "")
        self.wait_for("redis", self.redis_port)
        for index in range(self.options.nodes):
            self.start_node(index)
        for index, port in enumerate(self.ports):
            self.wait_for(f"node {index + 1}", port)
        path = os.path.join(self.directory, "haproxy.cfg")
        numbered = list(enumerate(self.ports, 1))
        with open(path, "w", encoding="utf-8") as file:
            file.write(HAPROXY.format(
                port=self.port, key=self.key,
                choices="\n".join(f"  use_backend node{n} if {{ path_beg /node/{n}/ }}" for n, _ in numbered),
                servers="\n".join(f"  server node{n} 127.0.0.1:{port} cookie node{n}" for n, port in numbered),
                backends="\n".join(f"backend node{n}\n  http-request replace-path /node/{n}(/.*) \\1\n"
                                   f"  server node{n} 127.0.0.1:{port}" for n, port in numbered)))
        self.start("haproxy", need("haproxy"), "-db", "-f", path)
        self.wait_for("haproxy", self.port)

    def say_where(self):
        here = f"127.0.0.1:{self.port}"
        print(f"all of them     http://{here}/  ws://{here}/" + ("ws" if self.options.verb == "app" else "topic/NAME"))
        if self.options.verb == "app":
            print(f"the dashboard   http://{here}/")
        for index, port in enumerate(self.ports):
            print(f"node {index + 1}          http://127.0.0.1:{port}/")
        print(f"the engine      redis-cli -p {self.redis_port} XINFO STREAM cluster:stream")
        print(f"what they say   {self.directory}/*.log\nCtrl-C ends all of them.", flush=True)

    def look(self):
        """Returns once something has ended that should not have."""
        next_kill = time.monotonic() + random.uniform(2, 5)
        while True:
            ended = [name for name, process in self.running.items() if process.poll() is not None]
            if ended:
                sys.exit(f"{ended[0]} has ended: see {self.directory}/{ended[0]}.log")
            if self.options.kill and time.monotonic() > next_kill:
                index = random.randrange(self.options.nodes)
                self.running[f"node {index + 1}"].kill()
                self.running[f"node {index + 1}"].wait()
                print(f"node {index + 1} was killed, and starts again", flush=True)
                self.start_node(index)
                next_kill = time.monotonic() + random.uniform(2, 5)
            time.sleep(0.1)

    def end(self):
        for name in sorted(self.running, key=lambda name: (name == "redis", name != "haproxy")):
            process = self.running[name]
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def main():
    words = sys.argv[1:]
    flags = words[words.index("--") + 1:] if "--" in words else []
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--verb", choices=("app", "serve"), default="app")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--kill", action="store_true")
    options = parser.parse_args(words[:words.index("--")] if "--" in words else words)
    options.flags = flags
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="ringcast-cluster-") as directory:
        cluster = Cluster(options, directory)
        try:
            cluster.start_all()
            cluster.say_where()
            cluster.look()
        finally:
            cluster.end()


if __name__ == "__main__":
    main()
