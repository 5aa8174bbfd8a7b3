# SPDX-License-Identifier: MIT
"""`make run-cluster`: three nodes behind HAProxy over a Redis, each reached by itself too, and nothing left behind."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys

from harness import PROGRAM, SLOW, TOP, Raw, Skip, die_with_parent, equal, run, until


def start(*flags):
    for name in ("redis-server", "haproxy"):
        if not shutil.which(name, path="/usr/bin:/usr/sbin:/usr/local/bin:/bin:/sbin"):
            raise Skip(f"needs {name}")
    process = subprocess.Popen([sys.executable, "-B", os.path.join(TOP, "tools/package/cluster.py"), PROGRAM, *flags],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=die_with_parent)
    said = ""
    while "Ctrl-C" not in said:
        line = process.stdout.readline()
        if not line:
            raise AssertionError("it ended: " + said)
        said += line
    return process, said


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


def is_alive(pid):
    return os.path.exists(f"/proc/{pid}")


def get(port, path):
    with Raw(("127.0.0.1", port)) as raw:
        raw.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        status, _, body = raw.response()
    equal(status, 200, path)
    return body


def post(port, topic, text):
    with Raw(("127.0.0.1", port)) as raw:
        raw.send(f"POST /publish/{topic} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                 f"Content-Length: {len(text)}\r\n\r\n{text}".encode())
        equal(raw.response()[0], 200, "publishing")


def test_three_nodes_and_an_end():
    process, said = start("--verb", "serve")
    try:
        front = int(re.search(r"http://127\.0\.0\.1:(\d+)/", said).group(1))
        nodes = [int(port) for port in re.findall(r"node \d +http://127\.0\.0\.1:(\d+)/", said)]
        equal(len(nodes), 3)
        parts = children(process.pid)
        equal(len(parts), 5, "Redis, three nodes, HAProxy")
        readers = [Raw(("127.0.0.1", front)).open("/topic/A") for _ in range(6)]
        used = [json.loads(get(front, f"/node/{index + 1}/stats"))["total"]["subscriptions"] for index in range(3)]
        equal(used, [2, 2, 2], "without a cookie, everybody in turn")
        for index, port in enumerate(nodes):
            assert json.loads(get(front, f"/node/{index + 1}/stats"))["backplane"]["up"]
            post(port, "A", f"by {port}")
        for reader in readers:
            equal([reader.receive_text() for _ in nodes], [f"by {port}" for port in nodes])
            reader.socket.close()
        process.send_signal(signal.SIGINT)
        equal(process.wait(30 * SLOW), 0, process.stdout.read())
        until(lambda: not any(is_alive(pid) for pid in parts), "all of them ended")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


if __name__ == "__main__":
    run(globals(), limit=60)
