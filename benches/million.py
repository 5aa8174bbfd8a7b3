# SPDX-License-Identifier: MIT
"""million.py [N]: real connections over loopback, both ends on this machine, and then broadcasts to all of them.

`ringcast serve` and `ringcast load` get as many workers as the descriptor limit asks for: a ring's table of sockets is
bounded by it, the process is not. Sysctls that stand in the way are raised when we are root and put back afterwards;
otherwise they are printed. --growth runs 1k, 10k, 100k ... up to N and draws what a connection and a delivery cost.
Invariant: whatever happens, sysctls are as before and no process of ours is left.
"""
import argparse
import ctypes
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import time

import chart
import proc
from proc import Failed

SOURCE_PORTS = 20000  # connections from one source address: well below its range, so that a free port is found at once
DELIVERIES_MIN = 1000000
MEMORY_MIN = 2 << 30  # abort below: the machine must stay usable


def wanted_sysctls(count):
    pages = max(count * 2, 1 << 18)
    return {
        "net.ipv4.ip_local_port_range": "1024 65535",
        "net.core.somaxconn": "65535",
        "net.ipv4.tcp_max_syn_backlog": "65535",
        "net.ipv4.tcp_mem": f"{pages} {pages * 3 // 2} {pages * 2}",
        "net.ipv4.tcp_max_orphans": str(max(count, 65536)),
        "net.ipv4.tcp_max_tw_buckets": "16384",  # who leaves at the end need not be remembered
        "net.netfilter.nf_conntrack_max": str(count * 2 + 65536),
    }


class Sysctls:
    """Raised for as long as the with block lasts."""

    def __init__(self, wanted):
        self.wanted, self.before = wanted, {}

    @staticmethod
    def path(name):
        return "/proc/sys/" + name.replace(".", "/")

    def __enter__(self):
        left = []
        for name, value in self.wanted.items():
            try:
                with open(self.path(name), encoding="ascii") as file:
                    before = " ".join(file.read().split())
            except OSError:
                continue  # not in this kernel
            if before == value:
                continue
            try:
                with open(self.path(name), "w", encoding="ascii") as file:
                    file.write(value)
                self.before[name] = before
            except OSError:
                left.append(f"{name}='{value}'")
        if left:
            print("not root, so these stay as they are; if connections fail: sysctl -w " + " ".join(left))
        return self

    def __exit__(self, *_):
        for name, value in self.before.items():
            with open(self.path(name), "w", encoding="ascii") as file:
                file.write(value)


class OwnNetwork:
    """A network namespace of our own, with a table of connections as large as they need: that of the machine is sized at
    boot for far fewer, and each packet would look through a list of them. Only root may; nothing is lost without."""

    SYSCTL = Sysctls.path("net.ipv4.tcp_child_ehash_entries")  # Linux 6.1: of namespaces made from now on
    NEWNET = 0x40000000
    SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1

    def __init__(self, count):
        self.entries, self.home = 1 << (8 * count).bit_length(), None
        self.libc = ctypes.CDLL(None)

    def _enter(self, namespace):
        if self.libc.setns(namespace, self.NEWNET):
            raise Failed("cannot change the network namespace")

    def __enter__(self):
        if os.geteuid() != 0 or not os.path.exists(self.SYSCTL):
            return self
        home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        with Sysctls({"net.ipv4.tcp_child_ehash_entries": str(min(self.entries, 1 << 24))}):
            if self.libc.unshare(self.NEWNET):
                os.close(home)
                return self
            own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            self._enter(home)
        self._enter(own)
        os.close(own)
        self.home = home
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            request = bytearray(struct.pack("16sh22x", b"lo", 0))
            fcntl.ioctl(any_socket, self.SIOCGIFFLAGS, request)
            flags = struct.unpack_from("h", request, 16)[0] | self.IFF_UP
            struct.pack_into("h", request, 16, flags)
            fcntl.ioctl(any_socket, self.SIOCSIFFLAGS, request)
        return self

    def __exit__(self, *_):
        if self.home is not None:
            self._enter(self.home)
            os.close(self.home)


def snapshot(server):
    memory, sockets = proc.meminfo(), proc.sockstat()
    return {"available": memory["MemAvailable"], "slab": memory["Slab"], "kernel_stack": memory.get("KernelStack", 0),
            "page_tables": memory.get("PageTables", 0), "sockets": sockets["inuse"], "queues": sockets["mem"],
            "server_rss": proc.status(server.pid), "server_cpu_ns": proc.cpu_ns(server.pid)}


def show(done, total, began):
    terminal = sys.stdout.isatty()
    share = min(1.0, done / total)
    bar = "#" * int(40 * share) + "." * (40 - int(40 * share))
    rate = done / max(0.001, time.monotonic() - began)
    words = f"[{bar}] {done:,} of {total:,}  {rate:,.0f}/s  {proc.meminfo()['MemAvailable'] / 2**30:.1f} GB left"
    print(f"\r\033[K{words}" if terminal else words, end="" if terminal else "\n", flush=True)


def settle():
    """Sockets of the step before may still be going; they are no part of this one, nor is the work of their end."""
    last = float("inf")
    while (now := proc.sockstat()["inuse"]) < last:
        last = now
        time.sleep(0.5)


def watch(client, server, total, before):
    """Follows the client to its end. Returns the state of the machine when all were open."""
    began, shown, full = time.monotonic(), 0.0, None
    while client.poll() is None:
        now = time.monotonic()
        if proc.meminfo()["MemAvailable"] < MEMORY_MIN:
            client.kill()
            raise Failed("aborted: less than 2 GB of memory are left")
        if server.process.poll() is not None:
            client.kill()
            raise Failed("the server ended: " + server.words())
        done = max(0, proc.sockstat()["inuse"] - before["sockets"]) // 2
        if not full and done >= total - total // 200 - 20:  # other sockets of the machine come and go
            time.sleep(0.4)  # the last handshakes; the client itself waits half a second
            full = snapshot(server)
            show(total, total, began)
        elif not full and now - shown >= (0.2 if sys.stdout.isatty() else 5):
            show(done, total, began)
            shown = now
        time.sleep(0.05)
    if sys.stdout.isatty():
        print()
    return full


def measure(options, count):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # The kernel spreads connections over the workers by a hash: room for the fullest of them.
    workers = options.workers or max(1, -(-count // int(limit * 0.85)))
    port = proc.free_port()
    command = [options.program, "serve", "--listen", f"127.0.0.1:{port}", "--workers", str(workers), "--quiet",
               "--idle-timeout", "1h", "--handshake-timeout", "60s", "--drain", "1ms", *options.serve.split()]
    sources = max(1, -(-count // SOURCE_PORTS))
    last = 0x7F010001 + sources - 1
    load = [options.program, "load", f"ws://127.0.0.1:{port}", "--connections", str(count), "--workers", str(workers),
            "--sources", f"127.1.0.1-{'.'.join(str(last >> shift & 255) for shift in (24, 16, 8, 0))}",
            "--json", "--quiet", *options.load.split()]
    if options.mode == "idle":
        load += ["--mode", "idle", "--duration", "2s"]
    else:
        # A few thousand deliveries are over before anything is warm: to few, more often.
        messages = max(options.broadcasts, DELIVERIES_MIN // count if options.growth else 0)
        load += ["--size", str(options.size), "--messages", str(messages), "--warmup", "0", "--duration", "0"]
    print(f"{count:,} connections from {sources} addresses, {workers} workers on each side", flush=True)
    settle()
    with proc.Process(command, port, cpu=None) as server:
        before = snapshot(server)
        client = subprocess.Popen(load + ["--server-pid", str(server.pid)], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  preexec_fn=proc.die_with_parent)
        try:
            full = watch(client, server, count, before)
            out, said = client.communicate(timeout=60)
        finally:
            client.kill()
            client.wait()
        try:
            report = json.loads(out)
        except ValueError:
            raise Failed(said.strip()[-400:] or f"the client ended with {client.returncode}") from None
    return figures(count, workers, before, full or before, report)


def figures(count, workers, before, full, report):
    kernel = before["available"] - full["available"] - (full["server_rss"] - before["server_rss"])
    rss = report["server"]["rss_size_connected"] - report["server"]["rss_size_before"]
    published = report["published"] or 1
    return {
        "connections": report["connections"], "workers": workers,
        "connect_s": report["connecting_ns"] / 1e9, "connect_rate": count / (report["connecting_ns"] / 1e9),
        "connect_server_us": (full["server_cpu_ns"] - before["server_cpu_ns"]) / 1e3 / count,
        "rss_per_connection": rss / count, "rss_size": report["server"]["rss_size_connected"],
        "rss_before": report["server"]["rss_size_before"],
        "slab_per_connection": (full["slab"] - before["slab"]) / count,
        "all_per_connection": kernel / count,  # both ends' sockets, and the client process
        "page_tables": full["page_tables"] - before["page_tables"],
        "published": report["published"], "deliveries": report["deliveries"],
        "delivery_cpu_ns": report["server"]["cpu_ns_per_delivery"],
        "last_s": report["elapsed_ns"] / 1e9 / published, "last_worst_s": report["latency_ns"]["max"] / 1e9,
        "median_s": report["latency_ns"]["p50"] / 1e9, "skew_s": report["skew_ns"]["max"] / 1e9,
        "queues": full["queues"] - before["queues"],
        "wrong": {key: report[key] for key in ("lost", "duplicated", "reordered", "corrupt", "failed", "closed_early")},
        "stalled": report["stalled"],
    }


def tell(result):
    r = result
    print(f"""opened       {r['connections']:,} in {r['connect_s']:.1f} s, {r['connect_rate']:,.0f}/s; {r['connect_server_us']:.0f} us of the server's processors each
server       RSS grew by {r['rss_per_connection']:.0f} B a connection, to {r['rss_size'] / 2**20:.0f} MB ({r['rss_before'] / 2**20:.0f} MB before, {r['workers']} workers)
kernel       {r['slab_per_connection']:,.0f} B of slab a connection, both ends; with everything else on the machine {r['all_per_connection']:,.0f} B""")
    if r["published"]:
        print(f"""broadcasts   {r['published']} to all: the last got it {r['last_s']:.2f} s after the publish (worst {r['last_worst_s']:.2f} s, median subscriber {r['median_s']:.2f} s)
skew         {r['skew_s']:.2f} s from the first to the last; {r['delivery_cpu_ns']:.0f} ns of the server's processors a delivery""")
    print("wrong        " + ", ".join(f"{value} {key.replace('_', ' ')}" for key, value in r["wrong"].items()), flush=True)


def growth_page(results):
    line = lambda label, key, scale=1.0: (label, [(r["connections"], r[key] * scale) for r in results])
    drawings = [
        chart.lines("What one delivery costs", [line("server, ns", "delivery_cpu_ns")], "connections",
                    "ns of processor", True),
        chart.lines("What one connection costs", [line("server RSS", "rss_per_connection"),
                                                  line("kernel, both ends", "slab_per_connection")],
                    "connections", "bytes", True, True),
        chart.lines("Opening one", [line("server, us", "connect_server_us")], "connections", "us of processor", True),
        chart.lines("From publish to the last, a connection",
                    [("us", [(r["connections"], r["last_s"] * 1e6 / r["connections"]) for r in results])],
                    "connections", "us", True),
    ]
    head = ["connections", "workers", "open, s", "RSS B", "slab B", "ns a delivery", "last, s", "skew, s", "lost"]
    rows = [[f"{r['connections']:,}", r["workers"], f"{r['connect_s']:.2f}", f"{r['rss_per_connection']:.0f}",
             f"{r['slab_per_connection']:.0f}", f"{r['delivery_cpu_ns']:.0f}", f"{r['last_s']:.3f}", f"{r['skew_s']:.3f}",
             r["wrong"]["lost"]] for r in results]
    return chart.page("Growing to a million", [proc.machine(), "Flat is good: each costs what the first did."],
                      drawings + [chart.table(head, rows)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("connections", nargs="?", type=int, default=1000000)
    parser.add_argument("--program", default=os.path.join(proc.TOP, "build", "ringcast"))
    parser.add_argument("--mode", choices=("broadcast", "idle"), default="broadcast")
    parser.add_argument("--workers", type=int, default=0, help="on each side (as many as the descriptor limit asks for)")
    parser.add_argument("--broadcasts", type=int, default=5)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--growth", action="store_true", help="1k, 10k, 100k ... up to this many, and a page of plots")
    parser.add_argument("--serve", default="", help="flags more for the server")
    parser.add_argument("--load", default="", help="flags more for the client")
    parser.add_argument("--out", default="", help="directory for JSON and the page")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that with blocks end
    counts = [options.connections]
    if options.growth:
        counts = [n for n in (1000, 10000, 100000) if n < options.connections] + counts
    results = []
    try:
        wanted = wanted_sysctls(options.connections)
        # Some are the machine's, others of each network.
        with Sysctls(wanted), OwnNetwork(options.connections), Sysctls(wanted):
            for count in counts:
                results.append(measure(options, count))
                tell(results[-1])
    except Failed as why:
        print(f"million: {why}", file=sys.stderr)
        return 1
    if options.out:
        os.makedirs(options.out, exist_ok=True)
        with open(os.path.join(options.out, "million.json"), "w", encoding="utf-8") as file:
            json.dump({"machine": proc.machine(), "runs": results}, file, indent=1)
        if options.growth:
            with open(os.path.join(options.out, "million.html"), "w", encoding="utf-8") as file:
                file.write(growth_page(results))
        print(f"written to {options.out}")
    wrong = any(any(r["wrong"].values()) or r["stalled"] for r in results)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
