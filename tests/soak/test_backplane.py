# SPDX-License-Identifier: MIT
"""Three nodes of `ringcast app` on one engine, readers and writers at all of them, and everything goes wrong meanwhile:
connections to the engine are cut, the engine is killed and comes again with what it wrote down, nodes are killed and come
back, a Sentinel fails over. At the end: what was lost, what came twice, what came in another order, channel by channel and
node by node; which resets were told; and what its writer was not told of, which may be there or not.

ENGINE=redis|sentinel|nats|amqp|kafka, CLIENTS=1000, MESSAGES=200000, SECONDS=120; RC_SEED=number repeats the choices;
KINDS='cut,kill node' has these alone go wrong; LOGS=FOLDER keeps what the nodes say.
"""
import http.client
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "live")]
from backplane_plan import END, Plan, place  # noqa: E402
from backplane_readers import Readers  # noqa: E402
from backplane_writers import write_all  # noqa: E402
from engines import Cut, Kafka, Nats, Rabbit  # noqa: E402
from harness import PROGRAM, SLOW, Skip, die_with_parent, until  # noqa: E402
from redis_server import Redis  # noqa: E402

ENGINE = os.environ.get("ENGINE") or "redis"
SEED = int(os.environ.get("RC_SEED") or time.time())
NODES = 3
NODE = ("--workers", "1", "--log-level", "warning", "--log-size", "128m", "--messages-per-second", "0", "--flood", "100000000",
        "--connections-per-user", "0", "--connections-per-address", "0", "--handshakes-per-second", "0", "--requests-per-second",
        "0", "--history-max", "2000", "--rooms-per-connection", "200", "--topics-per-address", "0", "--drain", "50ms")


def lasting_port():
    """A free one that no connection takes as its own while who listens there is away."""
    while True:
        port = random.SystemRandom().randrange(12000, 32000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


class Node:
    """A node on a port of its own, which it has again when it comes back."""

    def __init__(self, number, url, folder):
        self.number, self.url, self.port, self.process = number, url, lasting_port(), None
        self.output = open(os.path.join(os.environ.get("LOGS") or folder, f"node{number}"), "w+", encoding="utf-8", errors="replace")

    def is_free(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port))

    def start(self):
        until(self.is_free, "the port of a node that was killed")  # the kernel ends its ring after it has ended
        self.process = subprocess.Popen([PROGRAM, "app", "--listen", f"127.0.0.1:{self.port}", "--backplane", self.url, *NODE],
                                        stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output,
                                        preexec_fn=die_with_parent)

    def get(self, path):
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            link.request("GET", path)
            return link.getresponse().read().decode()
        except (OSError, http.client.HTTPException):
            return ""
        finally:
            link.close()

    def is_well(self):
        return self.get("/healthz").strip() == "ok"

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def has_ended(self):
        return self.process is not None and self.process.poll() is not None

    def said(self):
        self.output.seek(0)
        return self.output.read()


# ---- engines, and what can be done to them ----

class Cuttable:
    """An engine with a Cut before each node. `deaths`: whether it keeps what it has when it is killed."""

    def __init__(self, engine, url, deaths, rest):
        self.engine, self.deaths, self.rest = engine, deaths, rest
        self.cuts = [Cut(engine.port, lasting_port()) for _ in range(NODES)]
        self.urls = [url(cut.port) for cut in self.cuts]

    def kinds(self):
        return ("cut",) * 6 + ("cut all", "kill node", "kill node", "late start") + (("kill engine",) if self.deaths else ())

    def kill(self, chance):
        self.engine.kill()
        time.sleep(chance.uniform(*self.rest))
        self.engine.start()

    def before(self):
        pass

    def close(self):
        for cut in self.cuts:
            cut.cut()


class Sentinel:
    """A master, two replicas and a sentinel; what is killed comes back as a replica. It may lose its tail, and then says so by
    another epoch."""
    cuts = ()

    def __init__(self):
        lines = ("appendonly yes", "appendfsync always", "repl-diskless-sync-delay 0", "repl-diskless-sync yes")
        self.servers = [Redis(*lines)]
        master = self.servers[0].port
        self.servers += [Redis(*lines, f"replicaof 127.0.0.1 {master}") for _ in range(2)]
        for one in self.servers[1:]:
            until(lambda one=one: "master_link_status:up" in one.ask("INFO", "replication"), "the replica follows")
        self.sentinel = Redis(f"sentinel monitor chief 127.0.0.1 {master} 1", "sentinel down-after-milliseconds chief 500",
                              "sentinel failover-timeout chief 4000", sentinel=True)
        until(lambda: len(self.sentinel.ask("SENTINEL", "replicas", "chief")) == 2, "the sentinel knows the replicas", limit=30)
        self.urls = [f"redis-sentinel://127.0.0.1:{self.sentinel.port}/chief/0?prefix=soak&keep=1000000"] * NODES

    def kinds(self):
        return ("kill engine",) * 2 + ("kill node",) * 2 + ("end connections",) * 3

    def master(self):
        port = int(self.sentinel.ask("SENTINEL", "get-master-addr-by-name", "chief")[1])
        return next(one for one in self.servers if one.port == port)

    def kill(self, chance):
        old = self.master()
        if chance.random() < 0.3:
            self.sentinel.ask("SENTINEL", "FAILOVER", "chief")
            until(lambda: self.master() is not old, "another master", limit=30)
            return
        old.kill()
        until(lambda: self.master() is not old, "another master", limit=30)
        time.sleep(chance.uniform(0, 1))
        old.start()
        until(lambda: len([one for one in self.servers if "master_link_status:up" in one.ask("INFO", "replication")]) == 2,
              "the replicas follow", limit=30)

    def end_connections(self):
        try:
            self.master().ask("CLIENT", "KILL", "TYPE", "normal")
        except (OSError, AssertionError):
            pass

    def before(self):
        pass

    def close(self):
        for one in [*self.servers, self.sentinel]:
            one.kill()


def redis():
    engine = Redis("appendonly yes", "appendfsync always")
    return Cuttable(engine, lambda port: f"redis://127.0.0.1:{port}/0?prefix=soak&keep=1000000", True, (0.05, 1.5))


def nats():
    engine = Nats().start()
    return Cuttable(engine, lambda port: engine.url("soak", port, "&keep=1000000"), True, (0.05, 1.5))


def amqp():
    engine = Rabbit().start()
    made = Cuttable(engine, lambda port: engine.url("soak", port), True, (0.1, 1))
    made.before = lambda: time.sleep(8)  # it writes down where a stream is some seconds after it was made
    return made


def kafka():
    engine = Kafka().start()
    return Cuttable(engine, lambda port: engine.url("soak", port), False, None)


ENGINES = {"redis": redis, "sentinel": Sentinel, "nats": nats, "amqp": amqp, "kafka": kafka}


# ---- what goes wrong ----

class Faults:
    def __init__(self, engine, nodes, chance, seconds):
        self.engine, self.nodes, self.chance = engine, nodes, chance
        self.counts = Counter()
        self.pauses = (0.3, 2.5) if seconds > 20 else (0.5, 1)
        self.due = time.monotonic() + 1

    def look(self):
        if time.monotonic() < self.due:
            return
        kind = self.chance.choice(self.engine.kinds())
        self.counts[kind] += 1
        getattr(self, kind.replace(" ", "_"))()
        self.due = time.monotonic() + self.chance.uniform(*self.pauses)

    def blip(self, cuts, longest):
        for cut in cuts:
            cut.cut()
        time.sleep(self.chance.uniform(0, longest))
        for cut in cuts:
            cut.mend()

    def cut(self):
        self.blip([self.chance.choice(self.engine.cuts)], self.chance.choice((0.05, 0.5, 2)))

    def cut_all(self):
        self.blip(self.engine.cuts, self.chance.choice((0.1, 1.5)))

    def end_connections(self):
        self.engine.end_connections()

    def trim(self):
        """One node is cut off for longer than Redis keeps what is said meanwhile: its clients are told."""
        cut = self.chance.choice(self.engine.cuts)
        cut.cut()
        time.sleep(self.chance.uniform(0.5, 2))
        self.engine.engine.ask("XTRIM", "soak:stream", "MAXLEN", "100")
        cut.mend()

    def late_start(self):
        """A node comes up while it cannot reach the engine, and is cut off again while it reads what it missed."""
        node = self.chance.choice(self.nodes)
        cut = self.engine.cuts[node.number]
        node.kill()
        cut.cut()
        node.start()
        time.sleep(6)
        cut.mend()
        time.sleep(self.chance.uniform(0, 0.3))
        self.blip([cut], 1)

    def kill_engine(self):
        self.engine.kill(self.chance)
        self.due += self.chance.uniform(1, 4)

    def kill_node(self):
        node = self.chance.choice(self.nodes)
        node.kill()
        time.sleep(self.chance.choice((0.05, 1, 5)))
        node.start()


# ---- the verdict ----

def judge(found, written):
    """What is wrong, as words and numbers, and what may be."""
    bad, told = Counter(), Counter()
    by_channel, by_node = Counter(), Counter()

    def blame(what, channel, node=None, count=1):
        bad[what] += count
        by_channel[what, channel] += count
        if node is not None:
            by_node[what, node] += count

    for (what, channel, node), count in found["wrong"].items():
        blame(what, channel, node, count)
    for (channel, node), count in found["missing"].items():
        blame("lost at some readers", channel, node, count)
    told["not at readers who were told to begin anew"] = sum(found["excused"].values())
    unsure = set(written["unsure"]) | set(written["left"])
    newest = max((at >> 64 for places in found["known"].values() for at in places), default=0)
    there = {}
    for channel, places in found["known"].items():
        last = {}
        for at in sorted(places):
            who = places[at]
            if who[1] == END:
                continue
            epoch = at >> 64
            if there.setdefault((channel, who), at) >> 64 == epoch and there[channel, who] != at:
                blame("doubled", channel)
            elif who[1] < last.get((epoch, who[0]), -1):
                blame("out of order, unacknowledged" if (channel, who) in unsure else "out of its writer's order", channel)
            last[epoch, who[0]] = max(who[1], last.get((epoch, who[0]), -1))
    for channel, who, epoch, sequence in written["sure"]:
        at = place(epoch, sequence)
        if found["known"].get(channel, {}).get(at) == who or who[1] == END:
            continue
        if (channel, who) in there:
            blame("not where its writer was told", channel)
        elif epoch < newest:
            told["lost with an epoch, and resets told"] += 1
        else:
            blame("lost", channel)
    for channel, who in written["said"]:
        if (channel, who) not in there and who[1] != END:
            if len({at >> 64 for at in found["known"].get(channel, ())}) > 1:
                told["lost with an epoch, and resets told"] += 1
            else:
                blame("lost", channel)
    told["not acknowledged"] = len(unsure)
    told["not acknowledged, and there"] = sum((channel, who) in there for channel, who in unsure)
    return bad, told, by_channel, by_node


def report(title, counter):
    if counter:
        print(f"    {title}: " + ", ".join(f"{' '.join(map(str, name)) if isinstance(name, tuple) else name} {count}"
                                           for name, count in Counter(counter).most_common(12)), flush=True)


def progress(begin, faults, delivered, ready, said, plan):
    print(f"    {time.monotonic() - begin:5.0f} s: {said.value} of {plan.posted + plan.said} acknowledged, "
          f"{delivered.value} delivered, {ready.value} of {plan.clients} clients in place; " +
          ", ".join(f"{kind} {count}" for kind, count in faults.counts.items()), flush=True)


def soak(name, clients, messages, seconds, faults_of=Faults, kinds=None):
    """Runs it. Returns what is wrong: an empty Counter is a success."""
    plan = Plan(SEED, clients, messages, seconds, *((500, 100) if clients >= 500 else (40, 10)))
    print(f"    {name}: {clients} clients, {messages} messages, {seconds:.0f} s, RC_SEED={SEED}", flush=True)
    engine = ENGINES[name]()
    if kinds:
        engine.kinds = lambda: tuple(kinds)
    with tempfile.TemporaryDirectory(prefix="ringcast-soak-") as folder:
        nodes = [Node(number, url, folder) for number, url in enumerate(engine.urls)]
        try:
            return run_on(plan, engine, nodes, faults_of)
        finally:
            for node in nodes:
                if node.process:
                    node.kill()
            engine.close()
            if isinstance(engine, Cuttable):
                engine.engine.__exit__()


class Helper:
    """A process of ours, and what it says at the end."""

    def __init__(self, run, *arguments):
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=run, args=(*arguments, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def tell(self, word):
        try:
            self.pipe.send(word)
        except BrokenPipeError:
            pass  # it has said all, and ended

    def hear(self):
        try:
            return self.pipe.recv()
        except EOFError:
            raise AssertionError("a process of the test ended too early") from None

    def end(self):
        self.process.kill()
        self.process.join()


def read_all(plan, ports, delivered, ready, pipe):
    Readers(plan, ports, delivered, ready).run(pipe)


def run_on(plan, engine, nodes, faults_of):
    delivered, ready, said, stop = (multiprocessing.get_context("fork").Value("q", 0) for _ in range(4))
    begin = time.monotonic()
    for node in nodes:
        node.start()
    for node in nodes:
        until(node.is_well, "a node", limit=30)
    engine.before()
    ports = [node.port for node in nodes]
    readers = Helper(read_all, plan, ports, delivered, ready)
    until(lambda: ready.value == plan.clients, "all clients", limit=60)
    writers = Helper(write_all, plan, ports, said, stop)
    try:
        faults = faults_of(engine, nodes, random.Random(plan.seed), plan.seconds)
        return watch(plan, nodes, faults, readers, writers, (begin, delivered, ready, said, stop))
    finally:
        readers.end()
        writers.end()


def watch(plan, nodes, faults, readers, writers, shared):
    begin, delivered, ready, said, stop = shared
    ended, shown = [], time.monotonic()
    while not writers.pipe.poll(0.05):
        faults.look()
        for node in nodes:
            if node.has_ended():
                ended.append(f"node {node.number} ended by itself with {node.process.returncode}")
                node.start()
        if time.monotonic() - shown > 10:
            shown = time.monotonic()
            progress(begin, faults, delivered, ready, said, plan)
        if time.monotonic() - begin > plan.seconds * 4 + 120 * SLOW:
            stop.value = 1
            ended.append("the writers did not end")
            break
    writers.hear()
    progress(begin, faults, delivered, ready, said, plan)
    ill = []
    for node in nodes:
        try:
            until(node.is_well, "a node that is well", limit=30)
        except AssertionError:
            ill.append(f"node {node.number} stays {node.get('/healthz')!r}")
    writers.tell("the ends")
    written = writers.hear()
    readers.tell(40 * SLOW)
    found = readers.hear()
    bad, told, by_channel, by_node = judge(found, written)
    if found["not ended"]:
        bad["clients that never saw an end"] = len(found["not ended"])
    bad["nodes that ended or are ill"] += len(ended) + len(ill)
    bad["clients that hung"] += found["counts"]["clients that hung"]
    bad = +bad
    took = time.monotonic() - begin
    print(f"    {len(written['sure']) + len(written['said'])} acknowledged, {delivered.value} delivered in {took:.0f} s; "
          f"sent again {written['again']}", flush=True)
    report("faults", faults.counts)
    report("told", {**told, **found["counts"]})
    report("words to readers", found["words"])
    report("words to writers", written["words"])
    for line in ended + ill + found["examples"]:
        print(f"    {line}")
    report("by channel", by_channel)
    report("by node", by_node)
    if bad:
        for node in nodes:
            print(f"    node {node.number} said: {node.said()[-1500:]}")
    print(f"    verdict: {'lost 0, doubled 0, out of order 0' if not bad else ', '.join(f'{k} {v}' for k, v in bad.items())}",
          flush=True)
    return bad


if __name__ == "__main__":
    try:
        if "ENGINE" not in os.environ:
            raise Skip("it takes minutes: make soak-backplane; its small form is tests/live/test_backplane_soak.py")
        wrong = soak(ENGINE, int(os.environ.get("CLIENTS") or 1000), int(os.environ.get("MESSAGES") or 200000),
                     float(os.environ.get("SECONDS") or 120),
                     kinds=[kind for kind in os.environ.get("KINDS", "").split(",") if kind])
    except Skip as why:
        print(f"skip: {why}")
        sys.exit(77)
    sys.exit(1 if wrong else 0)
