# SPDX-License-Identifier: MIT
"""latency.py: how long a message takes to its subscribers while the publisher keeps its schedule (open loop), at 10 to 90
% of what each server can do; and how far apart its first and its last subscriber get it.

The capacity of a server is measured first, closed loop. Latency counts from the scheduled time, so that a server that
falls behind cannot hide it. ringcast comes as it is, with rounds that do not wait for each other, and spinning on a
processor of its own. Servers, installing and turns are those of peers/run.py.
"""
import argparse
import json
import os
import signal
import subprocess
import sys
import time

import chart
import proc
from proc import Failed

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers"))
import run as side  # noqa: E402

VARIANTS = {"ringcast": [], "ringcast --round-interval 0": ["--round-interval", "0"],
            "ringcast --busy-poll": ["--round-interval", "0", "--busy-poll"]}
PERCENTILES = ("p50", "p90", "p99", "p999", "p9999", "max")
PLAIN = side.Workload("latency", "", [])


def measure(program, server, options, arguments):
    arguments = ["--peer-protocol", "relay", "--connections", options.connections, "--size", options.size, *arguments]
    report, said = proc.load(program, f"ws://127.0.0.1:{server.port}", arguments, server)
    if report is None:
        raise Failed(said)
    return report


def capacity(program, server, options):
    """Messages a second when the next leaves as soon as one of 16 under way has arrived everywhere."""
    report = measure(program, server, options, ["--window", 16, "--warmup", options.warmup, "--duration", options.duration])
    if not report["published"] or report["stalled"]:
        raise Failed(report["first_failure"] or "nothing was delivered")
    return report["published"] / (report["elapsed_ns"] / 1e9)


def point(program, server, options, most, share):
    rate = max(1.0, most * share / 100)
    report = measure(program, server, options, ["--rate", f"{rate:.1f}", "--warmup", options.warmup, "--duration",
                                                options.duration])
    found = {"share": share, "rate": rate, "cpu_ns": report["server"]["cpu_ns_per_delivery"],
             "published_rate": report["published"] / max(1e-9, report["elapsed_ns"] / 1e9),
             "wrong": report["lost"] + report["duplicated"] + report["reordered"] + report["corrupt"],
             "closed": report["closed_early"], "stalled": report["stalled"]}
    found.update({f"{name}_ns": report["latency_ns"][name] for name in PERCENTILES})
    found.update({f"skew_{name}_ns": report["skew_ns"][name] for name in ("p50", "p99", "max")})
    return found


def run_server(name, context, options, shares):
    kind = "ringcast" if name in VARIANTS else name
    server = side.start(kind, PLAIN, dict(context, serve=VARIANTS.get(name, [])))
    with server:
        most = capacity(context["program"], server, options)
        print(f"\n{name}: {chart.number(most)} messages/s to {options.connections} subscribers each", flush=True)
        points = []
        for share in shares:
            points.append(point(context["program"], server, options, most, share))
            p = points[-1]
            print(f"  {share:3} % {p['rate']:>9.0f}/s  " + "  ".join(
                f"{title} {p[key + '_ns'] / 1e3:>7.0f}" for title, key in
                (("p50", "p50"), ("p99", "p99"), ("p99.9", "p999"), ("p99.99", "p9999"), ("skew", "skew_p50"))) +
                f" us{'  ' + str(p['wrong']) + ' lost' if p['wrong'] else ''}", flush=True)
    return {"capacity": most, "points": points}


def make_page(options, servers, version):
    parts = []
    for title, key in (("p50", "p50_ns"), ("p99", "p99_ns"), ("p99.99", "p9999_ns"),
                       ("from the first to the last subscriber (median)", "skew_p50_ns")):
        parts.append(chart.lines(title, [(name, [(p["rate"], p[key] / 1e3) for p in found["points"]])
                                         for name, found in servers.items()], "messages a second", "us", True, True))
    head = ["server", "%", "messages/s", "p50", "p90", "p99", "p99.9", "p99.99", "max", "skew", "ns a delivery", "lost"]
    rows = [[name, p["share"], f"{p['rate']:.0f}", *(f"{p[key + '_ns'] / 1e3:.0f}" for key in PERCENTILES),
             f"{p['skew_p50_ns'] / 1e3:.0f}", f"{p['cpu_ns']:.0f}", p["wrong"]]
            for name, found in servers.items() for p in found["points"]]
    intro = [f"{proc.machine()}. {version}, {time.strftime('%Y-%m-%d')}.",
             f"{options.connections} subscribers, {options.size} bytes, open loop at shares of each server's own capacity; "
             "microseconds from the scheduled time to each subscriber, and from the first to the last of them. One "
             "processor a server, the other is the client's."]
    return chart.page("Latency", intro, parts + [chart.heading("Each point"), chart.table(head, rows)])


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", default=os.path.join(proc.TOP, "build"))
    parser.add_argument("--out", default="", help="(BUILD/latency)")
    parser.add_argument("--only", default="", help="peers, separated by commas; 'none': ringcast alone")
    parser.add_argument("--shares", default="10,30,50,70,80,90", help="percent of the capacity")
    parser.add_argument("--connections", type=int, default=0, help="(300)")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--quick", action="store_true", help="small and short: does it work?")
    parser.add_argument("--no-install", action="store_true")
    options = parser.parse_args()
    options.build = os.path.abspath(options.build)
    options.out = options.out or os.path.join(options.build, "latency")
    options.connections = options.connections or (20 if options.quick else 300)
    options.warmup, options.duration = ("100ms", "300ms") if options.quick else ("500ms", "4s")
    return options


def run(options):
    work = os.path.join(options.build, "peers", "work")
    os.makedirs(work, exist_ok=True)
    words = [word for word in options.only.split(",") if word]
    ready, servers = {}, {}
    for peer in side.peers(work):
        if words and peer.name not in words:
            continue
        why = side.prepare(peer, work, not options.no_install)
        if why:
            print(f"bench-latency: without {peer.name}: {why}", flush=True)
        else:
            ready[peer.name] = peer
    program = os.path.join(options.build, "ringcast")
    context = {"program": program, "build": work, "peers": ready}
    for name in [*VARIANTS, *ready]:
        try:
            servers[name] = run_server(name, context, options, [int(share) for share in options.shares.split(",")])
        except Failed as why:
            print(f"bench-latency: without {name}: {why}", flush=True)
    version = subprocess.check_output([program, "--version"], text=True).strip()
    os.makedirs(options.out, exist_ok=True)
    with open(f"{options.out}/latency.json", "w", encoding="utf-8") as file:
        json.dump({"machine": proc.machine(), "ringcast": version, "servers": servers}, file, indent=1)
    with open(f"{options.out}/latency.html", "w", encoding="utf-8") as file:
        file.write(make_page(options, servers, version))
    print(f"\nwritten: {options.out}/latency.html, {options.out}/latency.json")
    return 0 if set(VARIANTS) <= set(servers) else 1


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return run(parse())


if __name__ == "__main__":
    sys.exit(main())
