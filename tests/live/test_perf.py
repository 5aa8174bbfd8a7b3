# SPDX-License-Identifier: MIT
"""What looks into a running server: each bpftrace script sees its probes fire, and the flame graph is one."""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import xml.dom.minidom

from harness import PROGRAM, SANITIZED, SLOW, TOP, Server, Skip, Raw, command, die_with_parent, equal, run

PERF = os.path.join(TOP, "tools", "perf")
sys.path.insert(0, PERF)
import flame  # noqa: E402

PROBES = {"tick", "fanout", "short_send", "no_buffers", "overflow", "slow_consumer", "segment_recycled", "handshake", "close"}


def notes():
    if not shutil.which("readelf"):
        raise Skip("readelf is not installed")
    said = subprocess.run(["readelf", "-n", PROGRAM], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"Provider: ringcast\s+Name: (\w+)", said))


def test_probes():
    """Each is in the program and described in the header; none is only in one of them."""
    found = notes()
    if not found:
        raise Skip("built without <sys/sdt.h>")
    equal(found, PROBES)
    with open(os.path.join(TOP, "uring", "trace.h"), encoding="utf-8") as file:
        head = file.read().split("*/")[0]
    for probe in PROBES:
        assert re.search(rf"^ \*   {probe}\s", head, re.M), probe


def test_scripts_name_probes():
    for path in glob.glob(os.path.join(PERF, "*.bt")):
        with open(path, encoding="utf-8") as file:
            used = set(re.findall(r"usdt:\*:ringcast:(\w+)", file.read()))
        assert used and used <= PROBES, (path, used)


def busy(server, until_set):
    """Something of everything: subscribers who come and go, some that do not read, a log that comes around."""
    stalled = []
    with server.connect("/publish/T") as publisher:
        while not until_set.is_set():
            stalled.append(Raw(server, receive_buffer=4096).open("/topic/T"))
            with server.connect("/topic/T") as reader:
                for _ in range(100):
                    publisher.text("x" * 2000)
                reader.receive()
                reader.close()
            until_set.wait(0.02)
            if len(stalled) == 10:  # by then the log has come around
                stalled.pop(0).socket.close()
    for slow in stalled:
        slow.socket.close()


def trace(script, server):
    """A script for two seconds beside a busy server; what it printed."""
    if not shutil.which("bpftrace"):
        raise Skip("bpftrace is not installed")
    if not notes():
        raise Skip("built without <sys/sdt.h>")
    if os.geteuid():
        raise Skip("bpftrace wants root")
    with open(os.path.join(PERF, script), encoding="utf-8") as file:
        text = file.read().replace("s:10 ", "s:2 ")
    with tempfile.NamedTemporaryFile("w", suffix=".bt") as short:
        short.write(text)
        short.flush()
        stop = threading.Event()
        worker = threading.Thread(target=busy, args=(server, stop), daemon=True)
        worker.start()
        try:
            done = subprocess.run(["bpftrace", "-p", str(server.pid), short.name], capture_output=True, text=True,
                                  timeout=60 * SLOW, preexec_fn=die_with_parent)
        finally:
            stop.set()
            worker.join(10 * SLOW)
    if "@" not in done.stdout:
        why = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise Skip(f"bpftrace does not work here: {why}")
    return done.stdout


def check(script, *expected):
    with Server("--policy", "skip", "--log-size", "1m", workers=1) as server:
        said = trace(script, server)
        for words in expected:
            assert re.search(words, said), (words, said)


def test_ticks():
    check("ticks.bt", r"@ticks: [1-9]", r"@submissions\[\d+\]:")


def test_fanout():
    check("fanout.bt", r"@rounds\[T\]: [1-9]", r"@subscribers\[T\]: count [1-9]")


def test_trouble():
    check("trouble.bt", r"@short_sends: [1-9]", r"@slow\[T, 1\]: [1-9]")


def test_connections():
    check("connections.bt", r"@handshakes\[101\]: [1-9]", r"@closed\[1000, 1\]: [1-9]")


def test_log():
    check("log.bt", r"@segments: [1-9]")


def test_flame_graph():
    if not shutil.which("perf"):
        raise Skip("perf is not installed")
    with tempfile.TemporaryDirectory() as folder, Server("--relay", workers=1) as server:
        out = os.path.join(folder, "flame.svg")
        worker = threading.Thread(target=lambda: command("load", server.url, "--quiet", "--duration", "4s", limit=60))
        worker.start()
        done = subprocess.run(["sh", os.path.join(PERF, "flame.sh"), str(server.pid), "1", out], capture_output=True,
                              text=True, timeout=60 * SLOW, preexec_fn=die_with_parent)
        worker.join()
        if done.returncode:
            raise Skip(f"perf does not work here: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
        with open(out, encoding="utf-8") as file:
            drawing = file.read()
        xml.dom.minidom.parseString(drawing)
        assert SANITIZED or "rc_worker_run" in drawing, "the worker's function is in it"


STACKS = """ringcast-0  123  1.5:  1000 cpu-clock:
\tffff01 tcp_send<msg>+0x10 ([kernel.kallsyms])
\t  0aa1 send+0x4 (/lib/libc.so.6)
\t  0bb1 rc_ring_wait+0x20 (/usr/bin/ringcast)

ringcast-12 124/125 [001] 1.6:  1000 cpu-clock:
\t  0bb2 rc_ring_wait+0x24 (/usr/bin/ringcast)
\t  dead [unknown] ([unknown])

"""


def test_flame_stacks():
    """Samples with the same callers are one box; lost frames are left out; names are escaped."""
    root = flame.build(flame.read(STACKS.splitlines(True)))
    equal((root.count, list(root.children)), (2, ["ringcast"]), "threads of a kind are one")
    wait = root.children["ringcast"].children["rc_ring_wait"]
    equal((wait.count, wait.kind, list(wait.children)), (2, "o", ["send"]))
    equal(wait.children["send"].children["tcp_send<msg>"].kind, "k")
    drawing = flame.graph(root, "a < b")
    xml.dom.minidom.parseString(drawing)
    assert "tcp_send&lt;msg&gt; (50.0 %, 1 samples)" in drawing


if __name__ == "__main__":
    run(globals(), limit=60)
