# SPDX-License-Identifier: MIT
"""The benchmarks do what they say, in a size that says nothing about speed: every figure is there, nothing is lost, and
nothing is left behind."""
import json
import os
import re
import subprocess
import sys
import tempfile
import xml.dom.minidom

from harness import BUILD, PROGRAM, SLOW, TOP, Server, Skip, die_with_parent, equal, run

sys.path.insert(0, os.path.join(TOP, "benches"))
import chart  # noqa: E402
import proc  # noqa: E402


def bench(script, *arguments, limit=100):
    done = subprocess.run([sys.executable, "-B", os.path.join(TOP, "benches", script), *arguments], capture_output=True,
                          text=True, timeout=limit * SLOW, preexec_fn=die_with_parent, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout + done.stderr


def drawings(path):
    """The charts of a page, each well-formed."""
    with open(path, encoding="utf-8") as file:
        found = re.findall(r"<svg.*?</svg>", file.read(), re.S)
    for drawing in found:
        xml.dom.minidom.parseString(drawing)
    return found


def test_peers():
    """ringcast, the floor and one peer that is here, over a fan-out, an echo and idle connections."""
    if not os.path.exists(os.path.join(BUILD, "benches", "floor")):
        raise Skip("the floor is not built")
    with tempfile.TemporaryDirectory() as folder:
        status, said = bench("peers/run.py", "--quick", "--no-install", "--build", BUILD, "--out", folder, "--only",
                             "websockets,fan-128x32,echo-128,inbound,idle")
        equal(status, 0, said)
        with open(os.path.join(folder, "peers.json"), encoding="utf-8") as file:
            document = json.load(file)
        names = {"ringcast", "floor", "websockets"} - set(document["left_out"])
        for name, workload in document["workloads"].items():
            equal(set(workload["rows"]), names - ({"floor"} if name == "inbound" else set()), name)
            for who, row in workload["rows"].items():
                assert "error" not in row, (name, who, row)
                assert row["figure"] > 0 and not row["wrong"] and not row["closed"], (name, who, row)
                equal(row["ratio"] == 1.0 or who != "ringcast", True, "ringcast's ratio to itself")
        equal(len(drawings(os.path.join(folder, "peers.html"))), 4, "charts")


def test_peers_that_may_be_here():
    """Those that few have do what the others do; where one is missing, a word says so and what to do."""
    if not os.path.exists(os.path.join(BUILD, "benches", "floor")):
        raise Skip("the floor is not built")
    with tempfile.TemporaryDirectory() as folder:
        status, said = bench("peers/run.py", "--quick", "--no-install", "--build", BUILD, "--out", folder, "--only",
                             "jetty,channels,uws,echo-128,inbound")
        equal(status, 0, said)
        with open(os.path.join(folder, "peers.json"), encoding="utf-8") as file:
            document = json.load(file)
        for name, why in document["left_out"].items():
            assert name == "uws" and "UWS=" in why or why.startswith("not installed"), (name, why)
        for name, workload in document["workloads"].items():
            for who, row in workload["rows"].items():
                assert "error" not in row and row["figure"] > 0 and not row["wrong"], (name, who, row)


def test_inbound_client():
    """It says how many connections were not read to the end: one whose sending side is shut has no Close."""
    sys.path.insert(0, os.path.join(TOP, "benches", "peers"))
    from inbound import Inbound
    with Server("--relay") as server:
        inbound = Inbound(server.port, 10)
        sent = inbound.send(0.3, 2000, 64)
        assert 0 < sent <= 600, sent
        equal(inbound.close(), 0)
        equal(server.stats()["messages_received"], sent)
        deaf = Inbound(server.port, 3)
        deaf.sockets[1].shutdown(1)
        equal(deaf.close(), 1)


def test_peers_unknown():
    status, said = bench("peers/run.py", "--no-install", "--build", BUILD, "--only", "nobody")
    equal(status, 1, said)
    assert "nobody" in said, said


def sysctls():
    names = ("net/ipv4/ip_local_port_range", "net/ipv4/tcp_mem", "net/core/somaxconn")
    return [open(f"/proc/sys/{name}", encoding="ascii").read() for name in names if os.path.exists(f"/proc/sys/{name}")]


def test_million_small():
    """The same with 2,000 on several workers: all open, all get all, the sysctls are as before."""
    before = sysctls()
    with tempfile.TemporaryDirectory() as folder:
        status, said = bench("million.py", "2000", "--workers", "3", "--broadcasts", "3", "--growth", "--program",
                             PROGRAM, "--out", folder)
        equal(status, 0, said)
        with open(os.path.join(folder, "million.json"), encoding="utf-8") as file:
            runs = json.load(file)["runs"]
        equal([one["connections"] for one in runs], [1000, 2000])
        for one in runs:
            equal(one["deliveries"], one["published"] * one["connections"])
            assert one["published"] >= 3, one
            equal(sum(one["wrong"].values()), 0)
            assert one["last_s"] > 0 and one["rss_per_connection"] < 65536, one
        equal(len(drawings(os.path.join(folder, "million.html"))), 4, "charts")
    equal(sysctls(), before, "sysctls")


def test_million_idle():
    status, said = bench("million.py", "500", "--mode", "idle", "--program", PROGRAM)
    equal(status, 0, said)
    assert "RSS grew" in said and "broadcasts" not in said, said


def test_latency():
    """Rates as shares of the capacity that was found, each with its percentiles."""
    with tempfile.TemporaryDirectory() as folder:
        status, said = bench("latency.py", "--quick", "--no-install", "--build", BUILD, "--out", folder, "--only", "none",
                             "--shares", "20,50")
        equal(status, 0, said)
        with open(os.path.join(folder, "latency.json"), encoding="utf-8") as file:
            document = json.load(file)
        for name in ("ringcast", "ringcast --busy-poll"):
            points = document["servers"][name]["points"]
            equal([point["share"] for point in points], [20, 50], name)
            for point in points:
                assert 0 < point["p50_ns"] <= point["p99_ns"] <= point["p9999_ns"], point
        assert len(drawings(os.path.join(folder, "latency.html"))) >= 3


def test_topics():
    """Every scenario: nothing is lost, every side has its figure and its ratio."""
    if not os.path.exists(os.path.join(BUILD, "benches", "topics")):
        raise Skip("its server is not built")
    with tempfile.TemporaryDirectory() as folder:
        status, said = bench("topics.py", "--quick", "--no-install", "--build", BUILD, "--out", folder)
        equal(status, 0, said)
        with open(os.path.join(folder, "topics.json"), encoding="utf-8") as file:
            document = json.load(file)
        equal(set(document["scenarios"]), {"each", "twenty", "quiet", "growth", "sets"})
        for name, scenario in document["scenarios"].items():
            for who, row in scenario["rows"].items():
                assert "error" not in row, (name, who, row)
                assert row["figure"] > 0 and row["ratio"] > 0, (name, who, row)
                equal((row["wrong"], row["closed"]), (0, 0), f"{name}, {who}")
                equal(row["ratio"] == 1.0 or who != scenario["base"], True, "the ratio of the base to itself")
        equal(len(drawings(os.path.join(folder, "topics.html"))), 5, "charts")


def test_topics_unknown():
    status, said = bench("topics.py", "--no-install", "--build", BUILD, "--only", "nothing")
    equal(status, 1, said)
    assert "nothing" in said, said


def test_charts():
    """A drawing is well-formed whatever is drawn, and brings both colour schemes when it stands alone."""
    for drawing in (chart.bars("a < b & c", [("x", 0, "", 0), ('"y"', 3e9, "1.00", 9)], "ns"), chart.bars("none", [], ""),
                    chart.lines("none", [("a", [])], "x", "y"),
                    chart.lines("log", [("a", [(1, 1), (1000000, 0.001)]), ("b", [(5, 0)])], "x", "y", True, True),
                    chart.lines("one", [("a", [(3, 7)])], "x", "y", True)):
        xml.dom.minidom.parseString(drawing)
        alone = chart.alone(drawing)
        xml.dom.minidom.parseString(alone)
        assert "prefers-color-scheme: dark" in alone
    for value, want in ((0, "0"), (5.4321, "5.43"), (99.96, "100"), (1234, "1.23k"), (999950, "1M"), (2.5e6, "2.5M")):
        equal(chart.number(value), want)


def test_median():
    equal(proc.median([3, 1, 2]), 2)
    equal(proc.median([4, 1, 2, 3]), 2.5)


def test_app():
    """What a publish and a message cost the application server: a figure each."""
    status, said = bench("app.py", "--quick", "--build", BUILD)
    equal(status, 0, said)
    for name in "publish", "floor", "batch", "msgpack", "alone":
        assert re.search(rf"^{name} +\d+ ns of the server", said, re.M), said


if __name__ == "__main__":
    run(globals(), limit=120, unsanitized="what the benchmarks measure is not what a sanitizer slows down")
