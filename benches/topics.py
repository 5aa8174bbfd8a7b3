# SPDX-License-Identifier: MIT
"""topics.py: what a delivery costs a server that has many topics and publishes by itself, so that no receiving disturbs
the figure: ringcast as a library with a thread of the embedder's, and Bun, both from a schedule (open loop).

Each server has processor 0 and each client processor 1. All servers of a scenario are up at once, each with a client whose
connections stay, and take turns, A B A B. The figure is processor time of the server's threads (and of ksoftirqd) a
delivered message; its ratio is made within a round. What was published and what arrived must agree after each turn. The
servers and the client are topics.c and peers/topics.js, and who is installed how is peers/run.py's.
"""
import argparse
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import chart
import proc
from proc import Failed

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "peers"))
import run as side  # noqa: E402

KEPT = 0.97      # of the deliveries a second that were asked for: below, the row says so
ANSWER_S = 60    # a client answers, and all its connections are open
SILENCE_S = 5    # after the last arrival: what has not come by then is lost
CONNECTIONS_MAX = 10000


class Side:
    """One server with its client: who, with how many connections of how many topics each, and what is published."""

    def __init__(self, label, kind, connections, per, topics, rate, hot_connections=0, hot=0.0):
        self.label, self.kind, self.connections, self.per, self.topics = label, kind, connections, per, topics
        self.rate, self.hot_connections, self.hot = rate, hot_connections, hot

    def wanted(self):
        """Deliveries a second."""
        spread = self.rate * self.connections * self.per / self.topics if self.topics else 0
        return spread + self.hot * self.hot_connections

    def words(self):
        parts = []
        if self.connections:
            parts.append(f"{self.connections} connections with {self.per} of {self.topics} topics each, "
                         f"{self.rate:.0f} messages a second")
        if self.hot_connections:
            parts.append(f"{self.hot_connections} subscribed to one topic with {self.hot:.0f} messages a second")
        return "; ".join(parts)


class Scenario:
    """Sides that take turns. Ratios are to the side named `base`. The figure is by delivery, or by message of the hot
    topic."""

    def __init__(self, name, about, base, sides, by_hot=False):
        self.name, self.about, self.base, self.sides, self.by_hot = name, about, base, sides, by_hot

    def unit(self):
        return "ns a message of the hot topic" if self.by_hot else "ns a delivery"


def scenarios(options):
    small = 40 if options.quick else 1
    crowd = lambda count: count // small
    rate = lambda value: value / small

    def pair(*arguments):
        kinds = ["ringcast"] + (["beside"] if options.beside else []) + ["bun"]
        return [Side(kind, kind, *arguments) for kind in kinds]

    hot = options.hot_connections, rate(50000)
    quiet = crowd(2000)
    limit = crowd(min(CONNECTIONS_MAX, int(resource.getrlimit(resource.RLIMIT_NOFILE)[1] * 0.85) // 1000 * 1000))
    found = [
        Scenario("each", "8,000 connections with a topic each, 150,000 messages a second", "bun",
                 pair(crowd(8000), 1, crowd(8000), rate(150000))),
        Scenario("twenty", "4,000 connections with 20 of 4,000 topics each, 80,000 deliveries a second", "bun",
                 pair(crowd(4000), 20, crowd(4000), rate(4000))),
        Scenario("quiet", "50,000 messages a second of one topic: alone, beside 2,000 subscribers of topics without a "
                 "message, and of topics with 200 messages a second in all", "alone",
                 [Side("alone", "ringcast", 0, 0, 0, 0, *hot), Side("silent", "ringcast", quiet, 1, quiet, 0, *hot),
                  Side("quiet", "ringcast", quiet, 1, quiet, rate(200), *hot)], by_hot=True),
    ]
    for name, about, connections in (("growth", "each with its subscriber", lambda topics: min(topics, limit)),
                                     ("sets", "among 1,000 connections", lambda topics: crowd(1000))):
        sides = []
        for label, topics in (("1k", 1000), ("10k", 10000), ("100k", 100000)):
            count, topics = connections(crowd(topics)), crowd(topics)
            sides.append(Side(label, "ringcast", count, topics // count, topics, rate(50000)))
        found.append(Scenario(name, f"1,000, 10,000 and 100,000 topics {about}, 50,000 messages a second", "1k", sides))
    return found


# ---- a side at work ----

class Client:
    """`topics listen`: opened once, then asked for its counts."""

    def __init__(self, program, server, one):
        command = [program, "listen", *map(str, (server.port, one.connections, one.per, one.topics, one.hot_connections))]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, preexec_fn=proc.pinned(1))
        try:
            self._answer()
        except Failed:
            self.stop()
            raise

    def _answer(self):
        ready = select.select([self.process.stdout], [], [], ANSWER_S)[0]
        line = self.process.stdout.readline() if ready else ""
        if not line:
            self.process.kill()
            said = self.process.stderr.read().strip().splitlines()
            raise Failed(said[0][:200] if said else f"the client says nothing for {ANSWER_S} s")
        return json.loads(line)

    def counts(self):
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except OSError:
            pass  # it has ended, and said why
        return self._answer()

    def stop(self):
        self.process.kill()
        self.process.communicate()


class Pair:
    """A server and its client."""

    def __init__(self, one, context):
        self.one, self.client = one, None
        port = proc.free_port()
        if one.kind == "bun":
            command = [side.bun(context["work"]), os.path.join(HERE, "peers", "topics.js"), str(port)]
        else:
            command = [context["programs"][one.kind], "serve", str(port)]
        self.server = proc.Process(command, port, 0)
        try:
            self.client = Client(context["programs"]["ringcast"], self.server, one)
        except Failed:
            self.stop()
            raise

    def stop(self):
        if self.client:
            self.client.stop()
        self.server.__exit__()

    def ask(self, what):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.server.port}/{what}", timeout=ANSWER_S) as answer:
                return json.load(answer)
        except (OSError, ValueError, urllib.error.URLError) as why:
            raise Failed(f"/{what.split('?')[0]}: {why}; {self.server.words()}") from None

    def sample(self):
        return dict(self.client.counts(), cpu_ns=proc.cpu_ns(self.server.pid), softirq_ns=proc.softirq_ns(),
                    client_ns=proc.cpu_ns(self.client.process.pid))

    def turn(self, options, by_hot):
        """Publishes, measures a part of it, stops, and compares what left with what came."""
        one = self.one
        first, before = self.ask("state"), self.client.counts()
        self.ask(f"start?rate={one.rate}&hot={one.hot}&topics={one.topics}&size={options.size}")
        time.sleep(options.warmup)
        begin = self.sample()
        time.sleep(options.duration)
        end = self.sample()
        self.ask("stop")
        while (state := self.ask("state"))["running"]:
            time.sleep(0.02)
        published = {key: state[key] - first[key] for key in ("published", "hot", "skipped", "refused")}
        spread = one.connections * one.per // one.topics if one.topics else 0
        due = published["published"] * spread + published["hot"] * one.hot_connections
        came = lambda counts: counts["received"] + counts["hot"]
        last, moved = self.client.counts(), time.monotonic()
        while came(last) - came(before) < due and time.monotonic() - moved < SILENCE_S:
            time.sleep(0.02)
            now = self.client.counts()
            moved = time.monotonic() if came(now) > came(last) else moved
            last = now
        deliveries, took = came(end) - came(begin), (end["ns"] - begin["ns"]) / 1e9
        if not deliveries:
            raise Failed("nothing was delivered")
        cpu = end["cpu_ns"] - begin["cpu_ns"] + end["softirq_ns"] - begin["softirq_ns"]
        units = (end["hot"] - begin["hot"]) / one.hot_connections if by_hot else deliveries
        return {"figure": cpu / units, "per_second": deliveries / took, "wanted": one.wanted(), "cpu": cpu / 1e9 / took,
                "client_cpu": (end["client_ns"] - begin["client_ns"]) / 1e9 / took, "skipped": published["skipped"],
                "missing": due - (came(last) - came(before)), "refused": published["refused"],
                **{key: last[key] - before[key] for key in ("lost", "doubled", "closed")}}


def run_scenario(scenario, options, context):
    """All rounds: label -> list of turns."""
    runs, pairs = {one.label: [] for one in scenario.sides}, {}
    try:
        for _ in range(options.rounds):
            for one in scenario.sides:
                if runs[one.label] and "error" in runs[one.label][-1]:
                    continue  # once was enough
                try:
                    if one.label not in pairs:
                        pairs[one.label] = Pair(one, context)
                    runs[one.label].append(pairs[one.label].turn(options, scenario.by_hot))
                except Failed as why:
                    runs[one.label].append({"error": str(why)})
                    print(f"  {one.label}: {why}", flush=True)
    finally:
        for pair in pairs.values():
            pair.stop()
    return runs


# ---- the tables ----

def summarize(scenario, runs):
    """Median figure, and the ratios to the base within each round: median, lowest, highest."""
    rows, base = {}, [turn.get("figure") for turn in runs.get(scenario.base, [])]
    for one in scenario.sides:
        mine = runs[one.label]
        good = [turn for turn in mine if "error" not in turn]
        if not good:
            rows[one.label] = {"error": mine[-1]["error"], "about": one.words()}
            continue
        ratios = [turn["figure"] / figure for turn, figure in zip(mine, base) if figure and "error" not in turn]
        rows[one.label] = {
            "about": one.words(), "ratio": proc.median(ratios) if ratios else None, "low": min(ratios, default=None),
            "high": max(ratios, default=None), "turns": good,
            **{key: proc.median([turn[key] for turn in good]) for key in ("figure", "per_second", "cpu", "client_cpu")},
            "wanted": one.wanted(),
            "wrong": sum(turn["lost"] + turn["doubled"] + turn["refused"] + abs(turn["missing"]) for turn in good),
            "closed": sum(turn["closed"] for turn in good), "skipped": sum(turn["skipped"] for turn in good)}
        if "error" in mine[-1]:
            rows[one.label]["error"] = mine[-1]["error"]
    return rows


def ratio_words(row):
    return f"{row['ratio']:.2f} [{row['low']:.2f}, {row['high']:.2f}]" if row.get("ratio") is not None else ""


def trouble(row):
    words = []
    if row["per_second"] < row["wanted"] * KEPT:
        words.append(f"keeps {row['per_second']:.0f} of {row['wanted']:.0f} deliveries a second")
        if row["client_cpu"] > 0.95:
            words.append("the client is at its limit")
    if row["skipped"]:
        words.append(f"{row['skipped']} messages left out of the schedule")
    if row["wrong"]:
        words.append(f"{row['wrong']} messages lost or doubled")
    if row["closed"]:
        words.append(f"{row['closed']} closed")
    return "; ".join(words + ([row["error"]] if "error" in row else []))


def print_table(scenario, rows):
    print(f"\n{scenario.name}: {scenario.about}, {scenario.unit()}; ratio to {scenario.base}")
    for label, row in rows.items():
        if "figure" not in row:
            print(f"  {label:10} -          {row['error'][:90]}")
            continue
        print(f"  {label:10} {row['figure']:<8.0f} {ratio_words(row):20} {row['per_second']:>8.0f} deliveries/s  "
              f"server {row['cpu'] * 100:3.0f} %, client {row['client_cpu'] * 100:3.0f} %  {trouble(row)}", flush=True)


def make_page(options, version, results, left_out):
    parts = []
    for scenario, rows in results:
        bars = [(label, row["figure"], f"{ratio_words(row)} {trouble(row)}".strip(), index)
                for index, (label, row) in enumerate(rows.items()) if "figure" in row]
        table = [[label, row["about"], f"{row['per_second']:.0f}", f"{row['cpu'] * 100:.0f} %",
                  f"{row['client_cpu'] * 100:.0f} %", row["wrong"]]
                 for label, row in rows.items() if "figure" in row]
        parts += [chart.heading(scenario.about), chart.bars(f"Less is better; ratio to {scenario.base}", bars,
                                                            scenario.unit()),
                  chart.table(["", "what", "deliveries/s", "server", "client", "lost, doubled"], table)]
    if left_out:
        parts += [chart.heading("Left out"), chart.table(["", "why"], left_out)]
    intro = [f"{proc.machine()}. {version}, {time.strftime('%Y-%m-%d')}, {options.rounds} rounds, {options.size} B.",
             "Processor time of the server, publishing included, which is done by a thread of its own process. Behind each "
             "bar: its ratio within a round (median, and the lowest and highest of the rounds)."]
    return chart.page("Many topics", intro, parts)


def save(options, versions, results, left_out):
    os.makedirs(options.out, exist_ok=True)
    document = {"machine": proc.machine(), "versions": versions, "rounds": options.rounds, "quick": options.quick,
                "size": options.size, "left_out": dict(left_out),
                "scenarios": {s.name: {"about": s.about, "unit": s.unit(), "base": s.base, "rows": rows}
                              for s, rows in results}}
    with open(f"{options.out}/topics.json", "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
    with open(f"{options.out}/topics.html", "w", encoding="utf-8") as file:
        file.write(make_page(options, versions["ringcast"], results, left_out))
    print(f"\nwritten: {options.out}/topics.html, {options.out}/topics.json")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--build", default=os.path.join(proc.TOP, "build"))
    parser.add_argument("--out", default="", help="(BUILD/topics)")
    parser.add_argument("--only", default="", help="scenarios, separated by commas: each, twenty, quiet, growth, sets")
    parser.add_argument("--quick", action="store_true", help="small and short: does it work?")
    parser.add_argument("--rounds", type=int, default=0, help="(5; quick: 1)")
    parser.add_argument("--duration", type=float, default=0, help="seconds of a turn that are measured (4)")
    parser.add_argument("--warmup", type=float, default=0, help="seconds before that, 0.2 of silence among them (2)")
    parser.add_argument("--size", type=int, default=128, help="bytes of a message, at least 8 (128)")
    parser.add_argument("--hot-connections", type=int, default=1, help="subscribers of the one topic of 'quiet' (1)")
    parser.add_argument("--beside", default="", metavar="PROGRAM",
                        help="benches/topics of another build, measured in turn with this one")
    parser.add_argument("--no-install", action="store_true", help="leave out what is missing")
    options = parser.parse_args()
    options.build = os.path.abspath(options.build)
    options.out = options.out or os.path.join(options.build, "topics")
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.duration = options.duration or (0.4 if options.quick else 4)
    options.warmup = options.warmup or (0.4 if options.quick else 2)
    return options


def run(options):
    work = os.path.join(options.build, "peers", "work")
    os.makedirs(work, exist_ok=True)
    planned, words = scenarios(options), [word for word in options.only.split(",") if word]
    unknown = set(words) - {scenario.name for scenario in planned}
    if unknown:
        raise Failed(f"--only {unknown.pop()}: expected one of {', '.join(scenario.name for scenario in planned)}")
    planned = [scenario for scenario in planned if not words or scenario.name in words]
    context = {"work": work, "programs": {"ringcast": os.path.join(options.build, "benches", "topics"),
                                          "beside": os.path.abspath(options.beside)}}
    version = subprocess.check_output([os.path.join(options.build, "ringcast"), "--version"], text=True).strip()
    versions, left_out, results = {"ringcast": version}, [], []
    if any(one.kind == "bun" for scenario in planned for one in scenario.sides):
        bun = next(peer for peer in side.peers(work) if peer.name == "bun")
        why = side.prepare(bun, work, not options.no_install)
        versions["bun"] = bun.version
        if why:
            print(f"bench-topics: without bun: {why}", flush=True)
            left_out.append(("bun", why))
    for scenario in planned:
        scenario.sides = [one for one in scenario.sides if one.kind not in dict(left_out)]
        scenario.base = scenario.base if scenario.base not in dict(left_out) else scenario.sides[0].label
        rows = summarize(scenario, run_scenario(scenario, options, context))
        results.append((scenario, rows))
        print_table(scenario, rows)
    save(options, versions, results, left_out)
    return 1 if any("error" in row or row["wrong"] or row["closed"] for _, rows in results for row in rows.values()) else 0


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    try:
        return run(parse())
    except Failed as why:
        print(f"bench-topics: {why}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
