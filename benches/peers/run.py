# SPDX-License-Identifier: MIT
"""run.py: ringcast, the kernel's floor and other servers side by side, over the same workloads and by the same client.

Every server has one processor and the client the other. The servers of a workload are all up at once and take turns, A B
C C B A, so that a noisy minute hits all of them; a figure is the median over the rounds, its ratio is made within a round
and its spread is that of the ratios. The figure is processor time of the server a delivery, ksoftirqd's included where
the kernel says it, because throughput of a two-processor machine says more about the client. What is missing is
installed, after a line that says so; what cannot be is left out with a word. Ends only what it started.
"""
import argparse
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import chart  # noqa: E402
import proc  # noqa: E402
from proc import Failed  # noqa: E402
from inbound import Inbound  # noqa: E402
from rooms import Dialect, Packed, Rooms, SocketIo  # noqa: E402

PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
GO = dict(os.environ, GO111MODULE="off", GOPATH="/usr/share/gocode", GOFLAGS="")
JARS = "/usr/share/java/netty-*.jar"
JETTY = [f"/usr/share/java/jetty9-{name}.jar" for name in (
    "server", "servlet", "http", "io", "util", "security", "websocket-api", "websocket-common", "websocket-server",
    "websocket-servlet", "websocket-client")] + ["/usr/share/java/servlet-api.jar"]
UWS = os.path.abspath(os.environ["UWS"]) if os.environ.get("UWS") else ""


class Peer:
    """A server: how its needs are found, what installs them, how it is built and begun, and what it can do."""

    def __init__(self, name, about, needs, packages, command, build=None, can=("relay", "deflate", "tls")):
        self.name, self.about, self.needs, self.packages = name, about, needs, packages
        self.command, self.build, self.can = command, build, set(can)
        self.remedy = ""  # where no package has it
        self.version = ""


def python(name, about, module, packages):
    version = f"import {module} as m; print(getattr(m, '__version__', None) or m.version)"
    return Peer(name, about, [PYTHON, "-c", version], packages, lambda b: [PYTHON, f"{HERE}/python_{name}.py"])


def go(name, about, package, folder):
    build = lambda b: ["go", "build", "-o", f"{b}/{name}", f"{HERE}/{name}.go"]
    needs = ["sh", "-c", f"go version && dpkg-query -Wf '${{Version}}' {package} 2>/dev/null; test -d "
                         f"/usr/share/gocode/src/{folder}"]
    return Peer(name, about, needs, ["golang-go", package], lambda b: [f"{b}/{name}"], build)


def cxx(name, about, header, packages, libraries):
    build = lambda b: ["g++", "-O2", "-o", f"{b}/{name}", f"{HERE}/{name}.cpp", "-pthread", *libraries]
    needs = ["sh", "-c", f"echo '#include <{header}>' | g++ -E -x c++ - >/dev/null && dpkg-query -Wf '${{Version}}' "
                         f"{packages[0]}"]
    return Peer(name, about, needs, ["g++", *packages], lambda b: [f"{b}/{name}"], build, can=["relay"])


def uws():
    """From source alone; no package has it."""
    objects = (f"cd {{b}} && cc -O3 -DLIBUS_NO_SSL -I {UWS}/uSockets/src -c {UWS}/uSockets/src/*.c "
               f"{UWS}/uSockets/src/eventing/*.c {UWS}/uSockets/src/crypto/*.c")
    program = (f"g++ -std=c++20 -O3 -DLIBUS_NO_SSL -DUWS_NO_ZLIB -I {UWS}/src -I {UWS}/uSockets/src -o {{b}}/uws "
               f"{HERE}/uws.cpp {{b}}/uws.o/*.o")
    build = lambda b: ["sh", "-ec", "mkdir -p {b}/uws.o; (".format(b=b) + objects.format(b=f"{b}/uws.o") + "); "
                       + program.format(b=b)]
    found = Peer("uws", "uWebSockets, C++, its own topics",
                 ["sh", "-c", f"test -f '{UWS}/src/App.h' && test -f '{UWS}/uSockets/src/libusockets.h' && "
                  f"{{ git -C '{UWS}' describe --always --tags 2>/dev/null || echo source; }}"], [],
                 lambda b: [f"{b}/uws"], build, can=["relay"])
    found.remedy = (f"{UWS} has no src/App.h, or no uSockets/src" if UWS else
                    "its source is not here: UWS=FOLDER names a clone of uWebSockets with its submodules")
    return found


def jars():
    return ":".join(sorted(glob.glob(JARS)))


def bun(build):
    return shutil.which("bun") or os.environ.get("BUN") or f"{build}/node_modules/.bin/bun"


def peers(build):
    lws = Peer("lws", "libwebsockets, C", ["sh", "-c", "echo '#include <libwebsockets.h>' | cc -E - >/dev/null && "
               "dpkg-query -Wf '${Version}' libwebsockets-dev"], ["gcc", "libwebsockets-dev"], lambda b: [f"{b}/lws"],
               lambda b: ["cc", "-O2", "-o", f"{b}/lws", f"{HERE}/lws.c", "-lwebsockets"], can=["relay"])
    netty = Peer("netty", "Netty, Java", ["sh", "-c", f"ls {JARS} >/dev/null && javac -version && dpkg-query -Wf '${{Version}}' "
                 "libnetty-java"], ["default-jdk-headless", "libnetty-java"],
                 lambda b: ["java", "-XX:+UseSerialGC", "-cp", f"{b}:{jars()}", "Netty"],
                 lambda b: ["javac", "-nowarn", "-cp", jars(), "-d", b, f"{HERE}/Netty.java"], can=["relay"])
    jetty = Peer("jetty", "Jetty 9, Java", ["sh", "-c", f"ls {' '.join(JETTY)} >/dev/null && javac -version && dpkg-query -Wf "
                 "'${Version}' libjetty9-extra-java"],
                 ["default-jdk-headless", "libjetty9-java", "libjetty9-extra-java", "libservlet-api-java"],
                 lambda b: ["java", "-XX:+UseSerialGC", "-cp", f"{b}:{':'.join(JETTY)}", "Jetty"],
                 lambda b: ["javac", "-nowarn", "-cp", ":".join(JETTY), "-d", b, f"{HERE}/Jetty.java"], can=["relay"])
    channels = python("channels", "Django Channels under daphne, Python", "channels",
                      ["python3-django-channels", "python3-daphne"])
    channels.can = {"relay"}
    socketio = Peer("socketio", "socket.io on Node (npm)", ["sh", "-c", "node -p \"require("
                    f"'{build}/node_modules/socket.io/package.json').version\""], ["npm:socket.io"],
                    lambda b: ["env", f"NODE_PATH={b}/node_modules", "node", f"{HERE}/socketio.js"], can=["rooms"])
    return [
        Peer("bun", "Bun (npm), its own topics", [bun(build), "--version"], ["npm:bun"],
             lambda b: [bun(b), f"{HERE}/bun.js"]),
        Peer("ws", "ws on Node", ["sh", "-c", "node --version && NODE_PATH=/usr/share/nodejs node -p \"require("
             "'ws/package.json').version\""], ["nodejs", "node-ws"], lambda b: ["node", f"{HERE}/ws.js"],
             can=["relay", "deflate", "tls", "rooms"]),
        go("gorilla", "gorilla/websocket, Go", "golang-github-gorilla-websocket-dev", "github.com/gorilla/websocket"),
        go("nhooyr", "nhooyr.io/websocket, Go", "golang-nhooyr-websocket-dev", "nhooyr.io/websocket"),
        python("websockets", "websockets, Python", "websockets.version", ["python3-websockets"]),
        python("fastapi", "FastAPI on uvicorn, Python", "fastapi", ["python3-fastapi", "uvicorn", "python3-uvloop"]),
        channels,
        python("tornado", "Tornado, Python", "tornado", ["python3-tornado"]),
        python("aiohttp", "aiohttp, Python", "aiohttp", ["python3-aiohttp"]),
        cxx("websocketpp", "websocketpp, C++", "websocketpp/server.hpp", ["libwebsocketpp-dev", "libboost-dev",
                                                                         "libboost-system-dev"], ["-lboost_system"]),
        cxx("beast", "Boost.Beast, C++", "boost/beast.hpp", ["libboost-dev"], []),
        uws(),
        lws,
        netty,
        jetty,
        socketio,
    ]


class Workload:
    """What the client does, and which figure of its report counts. The floor is left out where what it does once a
    message is the work itself, and where it would need a protocol."""

    def __init__(self, name, about, arguments, figure="cpu", relay=True, needs="relay", floor=True, fresh=False):
        self.name, self.about, self.arguments, self.figure = name, about, arguments, figure
        self.relay, self.needs, self.floor, self.fresh = relay, needs, floor, fresh


def workloads(options, feeds):
    quick = options.quick
    span = ["--duration", "400ms" if quick else "2s", "--warmup", "200ms" if quick else "700ms"]
    crowd = ["--connections", 50 if quick else 1000]
    half = ["--connections", 50 if quick else 500]
    json_size = ["--size", 450]
    echo = ["--mode", "echo", *span]
    found = [
        Workload("fan-128", "fan-out, 128 B, one at a time", crowd + span),
        Workload("fan-128x32", "fan-out, 128 B, bursts of 32", crowd + span + ["--burst", 32]),
        Workload("fan-4k", "fan-out, 4 KB, one at a time", crowd + span + ["--size", "4k"]),
        Workload("fan-4kx32", "fan-out, 4 KB, bursts of 32", half + span + ["--size", "4k", "--burst", 32]),
        Workload("echo-128", "echo, 128 B", echo + ["--connections", 100]),
        Workload("echo-16k", "echo, 16 KB", echo + ["--connections", 10, "--size", "16k"], floor=False),
        Workload("echo-1m", "echo, 1 MB", echo + ["--connections", 2, "--size", "1000000"], floor=False),
        Workload("inbound", "64 B messages in, nothing back", {"connections": 50 if quick else 1000, "size": 64,
                                                              "rate": 5000 if quick else 100000,
                                                              "seconds": 0.4 if quick else 3}, floor=False),
        Workload("connect", "opening and closing", ["--mode", "connect", "--connections", 50, *span]),
        Workload("idle", "idle connections: memory", ["--mode", "idle", "--duration", "500ms", "--connections",
                                                      500 if quick else 15000], "rss", fresh=True),
        Workload("deflate", "compressed fan-out, 450 B, one at a time", half + span + json_size + ["--deflate"],
                 needs="deflate", floor=False),
        Workload("deflate-x32", "compressed fan-out, 450 B, bursts of 32",
                 half + span + json_size + ["--deflate", "--burst", 32], needs="deflate", floor=False),
        Workload("tls", "TLS fan-out, 128 B, one at a time", half + span + ["--insecure"], needs="tls", floor=False),
        Workload("tls-x32", "TLS fan-out, 128 B, bursts of 32", half + span + ["--insecure", "--burst", 32],
                 needs="tls", floor=False),
        Workload("tls-connect", "TLS: opening and closing", ["--mode", "connect", "--connections", 50, "--insecure", *span],
                 needs="tls", floor=False),
        Workload("tls-memory", "TLS: idle connections: memory",
                 ["--mode", "idle", "--duration", "500ms", "--connections", 200 if quick else 5000, "--insecure"], "rss",
                 needs="tls", floor=False, fresh=True),
    ]
    for at_once in 1, 100, 1000:
        about = {1: "one message", 100: "one message in each", 1000: "one message of each user"}[at_once]
        found.append(Workload(f"rooms-{at_once}", f"100 rooms of 10 users, {about} at a time, in JSON",
                              {"rooms": 10 if quick else 100, "members": 10, "at_once": min(at_once, 100) if quick else at_once,
                               "seconds": 0.4 if quick else 3, "size": 100}, needs="rooms", floor=False))
    for batch, members in ((1, 2), (100, 2), (100, 10)):
        found.append(Workload(f"{'batches' if batch > 1 else 'talks'}-{members}",
                              f"rooms of {members} users, {'batches of 100 messages' if batch > 1 else 'a message'} of one in each",
                              {"rooms": 4 if quick else 20, "members": members, "at_once": 4 if quick else 20, "batch": batch,
                               "seconds": 0.4 if quick else 3, "size": 64}, needs="batches", floor=False))
    for path in feeds:
        name = os.path.splitext(os.path.basename(path))[0]
        found.append(Workload(f"feed-{name}", f"the recorded feed {name}, 20 times its speed, 5 topics each",
                              ["--feed", path, "--speed", 20, "--topics-per-connection", 5, "--warmup", "200ms",
                               "--connections", 50 if quick else 500, "--duration", "1s" if quick else "5s"],
                              relay=False, floor=False))
    return found


# ---- what is needed ----

def version_of(peer):
    try:
        done = subprocess.run(peer.needs, capture_output=True, text=True, timeout=60, env=GO)
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = " ".join((done.stdout + done.stderr).split())
    return re.sub(r"\bgo version |linux/\w+", "", words).strip() or "?" if done.returncode == 0 else None


def install(peer, build):
    """Says what it installs and does so. Returns whether it seems to have worked."""
    if not peer.packages:
        return False
    if peer.packages[0].startswith("npm:"):
        package = peer.packages[0][4:]
        print(f"bench-peers: for {peer.name}, installing {package} from npm", flush=True)
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", build, package]
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300).returncode == 0
    if not proc.have("apt-get"):
        return False
    become = [] if os.geteuid() == 0 else ["sudo", "-n"]
    print(f"bench-peers: for {peer.name}, installing from Debian's packages: {' '.join(peer.packages)}", flush=True)
    apt = become + ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"]
    command = apt + ["install", "-y", "--no-install-recommends", "--no-remove", *peer.packages]
    run = lambda words: subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=900).returncode
    return run(command) == 0 or (run(apt + ["update"]) == 0 and run(command) == 0)


def prepare(peer, build, may_install):
    """Finds, installs, builds. Returns None, or why it is left out."""
    try:
        peer.version = version_of(peer)
        if peer.version is None and may_install and install(peer, build):
            peer.version = version_of(peer)
        if peer.version is None and peer.remedy:
            return peer.remedy
        if peer.version is None:
            return "not installed" + ("" if may_install else " (and not asked to)")
        if peer.build:
            done = subprocess.run(peer.build(build), capture_output=True, text=True, timeout=600,
                                  env=dict(GO, GOCACHE=f"{build}/go"))
            if done.returncode:
                return "does not build: " + (done.stderr.strip().splitlines() or ["?"])[0][:160]
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None


def certificate(folder):
    cert, key = f"{folder}/cert.pem", f"{folder}/key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=localhost", "-keyout", key, "-out", cert], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return cert, key


# ---- running ----

OURS = "ringcast", "epoll", "beside", "msgpack"  # as it is, on its other ring, another build, and users who speak that
ROOMS = "rooms", "batches"  # what `ringcast app` serves; of the latter it is measured alone


def without_limits(program):
    """Everybody comes from one address. Another build may not have all of the limits."""
    known = subprocess.run([program, "app", "--help"], capture_output=True, text=True, check=True).stdout
    names = ("messages-per-second", "connections-per-user", "connections-per-address", "handshakes-per-second")
    return [word for name in names if f"--{name} " in known for word in (f"--{name}", "0")]


def start(name, workload, context):
    port = proc.free_port()
    environment = dict(os.environ, NODE_PATH="/usr/share/nodejs", GOMAXPROCS="1", PYTHONDONTWRITEBYTECODE="1")
    if workload.needs == "deflate":
        environment["PEER_DEFLATE"] = "1"
    if workload.needs == "tls":
        environment["PEER_CERT"], environment["PEER_KEY"] = context["certificate"]
    program = context["beside"] if name == "beside" else context["program"]
    if name == "epoll":
        environment["RC_RING"] = "epoll"
    if name in OURS and workload.needs in ROOMS:
        command = [program, "app", "--listen", f"127.0.0.1:{port}", "--workers", "1", "--log-level", "error",
                   *without_limits(program)]
    elif name == "floor":
        command = [context["floor"], str(port)]
    elif name in OURS:
        scheme = "wss://" if workload.needs == "tls" else ""
        command = [program, "serve", "--listen", f"{scheme}127.0.0.1:{port}", "--workers", "1", "--echo",
                   "--relay", "--quiet", "--message-max", "16m", "--send-max", "16m"]
        command += ["--deflate"] if workload.needs == "deflate" else []
        if workload.needs == "tls":
            command += ["--tls-cert", context["certificate"][0], "--tls-key", context["certificate"][1]]
        command += context["serve"]
    else:
        command = context["peers"][name].command(context["build"]) + [str(port)]
    return proc.Process(command, port, 0, environment=environment)


def cost(workload, report):
    """The figure of a report, or None where it says nothing."""
    if workload.figure == "rss":
        return report["server"]["rss_size_per_connection"] or None
    if not report["deliveries"]:
        return None
    softirq = report["server"]["ksoftirqd_ns"] or 0
    return (report["server"]["cpu_ns"] + softirq) / report["deliveries"]


def run_rooms(name, workload, server):
    """The same users and the same talk for each, from the other processor."""
    kind = {"socketio": SocketIo, "msgpack": Packed}.get(name, Dialect)()
    wanted = dict(workload.arguments)
    said = wanted["at_once"], wanted["size"], wanted.get("batch", 1)
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {1} & processors or processors)
    try:
        rooms = Rooms(server.port, kind, wanted["rooms"], wanted["members"])
        try:
            rooms.talk(wanted["seconds"] / 4, *said)
            begin, begin_ns = time.monotonic(), proc.cpu_ns(server.pid)
            count = rooms.talk(wanted["seconds"], *said)
            used_ns, took = proc.cpu_ns(server.pid) - begin_ns, time.monotonic() - begin
        finally:
            rooms.close()
    except OSError as why:
        return {"error": str(why)}
    finally:
        os.sched_setaffinity(0, processors)
    rounds = count / (wanted["at_once"] * wanted.get("batch", 1) * (wanted["members"] - 1))
    return {"figure": used_ns / count, "p50_ns": took / rounds * 1e9, "p999_ns": 0, "skew_p50_ns": 0,
            "deliveries": count, "per_second": count / took, "rss_size": proc.status(server.pid), "wrong": 0, "closed": 0}


def run_inbound(workload, server):
    """The same schedule for each, from the other processor."""
    wanted = dict(workload.arguments)
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {1} & processors or processors)
    try:
        inbound = Inbound(server.port, wanted["connections"])
        inbound.send(wanted["seconds"] / 4, wanted["rate"], wanted["size"])
        begin, begin_ns = time.monotonic(), proc.cpu_ns(server.pid)
        count = inbound.send(wanted["seconds"], wanted["rate"], wanted["size"])
        used_ns, took = proc.cpu_ns(server.pid) - begin_ns, time.monotonic() - begin
        wrong = inbound.close()
    except OSError as why:
        return {"error": str(why)}
    finally:
        os.sched_setaffinity(0, processors)
    return {"figure": used_ns / max(count, 1), "p50_ns": 0, "p999_ns": 0, "skew_p50_ns": 0, "deliveries": count,
            "per_second": count / took, "rss_size": proc.status(server.pid), "wrong": wrong, "closed": 0}


def one_run(name, workload, server, context):
    if workload.needs in ROOMS:
        return run_rooms(name, workload, server)
    if workload.name == "inbound":
        return run_inbound(workload, server)
    scheme = "wss" if workload.needs == "tls" else "ws"
    has_topics = "echo" not in workload.arguments
    arguments = workload.arguments + (["--peer-protocol", "relay"] if workload.relay and has_topics else [])
    report, said = proc.load(context["program"], f"{scheme}://127.0.0.1:{server.port}", arguments, server)
    if report is None:
        return {"error": said}
    figure = cost(workload, report)
    run = {"figure": figure, "p50_ns": report["latency_ns"]["p50"], "p999_ns": report["latency_ns"]["p999"],
           "skew_p50_ns": report["skew_ns"]["p50"], "deliveries": report["deliveries"],
           "per_second": report["deliveries_per_second"], "rss_size": report["server"]["rss_size"],
           "wrong": report["lost"] + report["duplicated"] + report["reordered"] + report["corrupt"],
           "closed": report["closed_early"] + report["failed"]}
    if report["stalled"]:
        run["error"] = "deliveries stopped coming"
    if figure is None:
        run["error"] = run.get("error") or report["first_failure"] or said or "nothing came"
    return run


def run_workload(workload, names, rounds, context):
    """All rounds of a workload: name -> list of runs."""
    runs, servers = {name: [] for name in names}, {}
    try:
        for turn in range(rounds):
            for name in names if turn % 2 == 0 else reversed(names):  # nobody is always the first
                if runs[name] and "error" in runs[name][-1]:
                    continue  # once was enough
                try:
                    if workload.fresh and name in servers:
                        servers.pop(name).__exit__()
                    if name not in servers:
                        servers[name] = start(name, workload, context)
                    runs[name].append(one_run(name, workload, servers[name], context))
                except Failed as why:
                    runs[name].append({"error": str(why)})
                if "error" in runs[name][-1]:
                    print(f"  {name}: {runs[name][-1]['error']}", flush=True)
    finally:
        for server in servers.values():
            server.__exit__()
    return runs


def summarize(runs):
    """Median figure, and the ratios to ringcast within each round: median, lowest, highest."""
    ours = [run.get("figure") for run in runs.get("ringcast", [])]
    rows = {}
    for name, mine in runs.items():
        good = [run for run in mine if run.get("figure") is not None and "error" not in run]
        ratios = [run["figure"] / base for run, base in zip(mine, ours)
                  if base and run.get("figure") is not None and "error" not in run]
        if not good:
            rows[name] = {"error": mine[-1].get("error", "nothing") if mine else "nothing"}
            continue
        rows[name] = {"figure": proc.median([run["figure"] for run in good]),
                      "ratio": proc.median(ratios) if ratios else None, "low": min(ratios, default=None),
                      "high": max(ratios, default=None), "p50_ns": proc.median([run["p50_ns"] for run in good]),
                      "p999_ns": proc.median([run["p999_ns"] for run in good]),
                      "wrong": sum(run["wrong"] for run in good), "closed": sum(run["closed"] for run in good)}
    return rows


# ---- telling ----

def unit(workload):
    if workload.figure == "rss":
        return "B of RSS a connection"
    return "ns of processor a " + {"connect": "connection", "echo": "echo", "inbound": "message"}.get(workload.name.split("-")[0], "delivery")


def ratio_words(row):
    if row.get("ratio") is None:
        return ""
    return f"{row['ratio']:.2f} ({row['low']:.2f}-{row['high']:.2f})"


def trouble(row):
    words = [f"{row[key]} {said}" for key, said in (("wrong", "lost or wrong"), ("closed", "closed")) if row.get(key)]
    return ", ".join(words)


def print_table(workload, rows):
    print(f"\n{workload.about}: {unit(workload)}, and as a ratio to ringcast")
    for name, row in sorted(rows.items(), key=lambda item: item[1].get("figure", float("inf"))):
        if "error" in row:
            print(f"  {name:12} -          {row['error'][:90]}")
            continue
        print(f"  {name:12} {row['figure']:<10.0f} {ratio_words(row):20} "
              f"{'p50 %-9.0f us' % (row['p50_ns'] / 1e3) if row['p50_ns'] else '':16}  "
              f"{'p99.9 %-9.0f us' % (row['p999_ns'] / 1e3) if row['p999_ns'] else '':18}  {trouble(row)}",
              flush=True)


def make_page(context, results, left_out):
    parts = []
    colours = {"ringcast": 0, "floor": 7}
    for workload, rows in results:
        good = sorted(((n, r) for n, r in rows.items() if "figure" in r), key=lambda item: item[1]["figure"])
        bars = [(name, row["figure"], f"{ratio_words(row)} {trouble(row)}".strip(), colours.get(name, 1))
                for name, row in good]
        parts += [chart.heading(workload.about), chart.bars("Less is better", bars, unit(workload))]
        bad = [f"{name}: {row['error']}" for name, row in rows.items() if "error" in row]
        if bad:
            parts.append(f"<p>{chart.html.escape('; '.join(bad))}</p>")
    versions = [[name, peer.about, peer.version] for name, peer in context["peers"].items()]
    parts += [chart.heading("Who they are"), chart.table(["", "what", "version"], versions)]
    if left_out:
        parts += [chart.heading("Left out"), chart.table(["", "why"], left_out)]
    intro = [f"{proc.machine()}. {context['version']}, {time.strftime('%Y-%m-%d')}.",
             "Each server on one processor, the same client on the other, in turns. Behind each bar: its ratio to ringcast "
             "(median, and the lowest and highest of the rounds). 'floor' is the kernel alone: the same sockets, sizes and "
             "batching without a protocol."]
    return chart.page("ringcast and its peers", intro, parts)


def save(context, options, results, left_out):
    os.makedirs(options.out, exist_ok=True)
    document = {"machine": proc.machine(), "ringcast": context["version"], "rounds": options.rounds,
                "quick": options.quick, "versions": {n: p.version for n, p in context["peers"].items()},
                "left_out": dict(left_out),
                "workloads": {w.name: {"about": w.about, "unit": unit(w), "rows": rows} for w, rows in results}}
    with open(f"{options.out}/peers.json", "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
    with open(f"{options.out}/peers.html", "w", encoding="utf-8") as file:
        file.write(make_page(context, results, left_out))
    print(f"\nwritten: {options.out}/peers.html, {options.out}/peers.json")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", default=os.path.join(proc.TOP, "build"))
    parser.add_argument("--out", default="", help="(BUILD/peers)")
    parser.add_argument("--only", default="", help="words, separated by commas: names of peers or of workloads; epoll: ringcast on that ring, too")
    parser.add_argument("--quick", action="store_true", help="small and short: does it work?")
    parser.add_argument("--rounds", type=int, default=0, help="(5; quick: 1)")
    parser.add_argument("--no-install", action="store_true", help="leave out what is missing")
    parser.add_argument("--serve", default="", help="flags more for ringcast")
    parser.add_argument("--beside", default="", metavar="PROGRAM",
                        help="another build of ringcast, to be measured in turn with this one: --only beside,fan")
    parser.add_argument("--feeds", default=os.path.join(os.path.dirname(proc.TOP), "shared", "data", "market"),
                        help="directory of recorded feeds, *.tsv")
    options = parser.parse_args()
    options.build = os.path.abspath(options.build)
    options.out = options.out or os.path.join(options.build, "peers")
    options.rounds = options.rounds or (1 if options.quick else 5)
    return options


def choose(options, all_peers, all_workloads):
    """--only: words that are no workload's are peers'; without a word of one kind, all of that kind."""
    words = [word for word in options.only.split(",") if word]
    names = {peer.name for peer in all_peers} | {"floor", *OURS}
    unknown = [word for word in words if word not in names and not any(word in w.name for w in all_workloads)]
    if unknown:
        raise Failed(f"--only {unknown[0]}: expected one of {', '.join(sorted(names))}, or of the workloads "
                     f"{', '.join(w.name for w in all_workloads)}")
    chosen = [peer for peer in all_peers if peer.name in words] if names & set(words) else all_peers
    some = [w for w in all_workloads if any(word in w.name for word in words if word not in names)]
    return chosen, some or all_workloads


def run(options):
    work = os.path.join(options.build, "peers", "work")
    os.makedirs(work, exist_ok=True)
    program = os.path.join(options.build, "ringcast")
    flags = subprocess.run([program, "serve", "--help"], capture_output=True, text=True, check=True).stdout
    feeds = sorted(glob.glob(os.path.join(options.feeds, "*.tsv")))
    chosen, planned = choose(options, peers(work), workloads(options, feeds))
    left_out, ready = [], {}
    for peer in chosen:
        why = prepare(peer, work, not options.no_install)
        if why:
            print(f"bench-peers: without {peer.name}: {why}", flush=True)
            left_out.append((peer.name, why))
        else:
            ready[peer.name] = peer
    if not feeds:
        print("bench-peers: without recorded feeds: none were found", flush=True)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        context = {"program": program, "floor": os.path.join(options.build, "benches", "floor"), "build": work,
                   "peers": ready, "serve": options.serve.split(), "beside": options.beside,
                   "version": subprocess.check_output([program, "--version"], text=True).strip()}
        for workload in planned:
            if workload.needs == "tls" and "--tls-cert" not in flags:
                print(f"bench-peers: without {workload.name}: this ringcast does not serve wss", flush=True)
                left_out.append((workload.name, "this ringcast does not serve wss"))
                continue
            if workload.needs == "tls" and "certificate" not in context:
                context["certificate"] = certificate(folder)
            names = ["ringcast"] + (["epoll"] if "epoll" in options.only.split(",") else [])
            names += ["msgpack"] if workload.needs in ROOMS else []
            names += (["beside"] if options.beside else []) + (["floor"] if workload.floor else [])
            names += [name for name, peer in ready.items() if workload.needs in peer.can]
            rows = summarize(run_workload(workload, names, options.rounds, context))
            results.append((workload, rows))
            print_table(workload, rows)
    save(context, options, results, left_out)
    return 1 if any("error" in rows["ringcast"] or rows["ringcast"]["wrong"] for _, rows in results) else 0


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    try:
        return run(parse())
    except Failed as why:
        print(f"bench-peers: {why}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
