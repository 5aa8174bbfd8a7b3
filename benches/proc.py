# SPDX-License-Identifier: MIT
"""What the benchmarks share: processes that are ended by their own id and never by name, `ringcast load` as the neutral
client, what a process and the kernel use, and the machine in words. Python's standard library alone; it knows nothing
of charts (chart.py) nor of any one benchmark.
"""
import ctypes
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Failed(Exception):
    """Something a benchmark cannot go on without; its words are for the user."""


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def pinned(cpu):
    """What a child does before it begins: die with us, and stay on one processor when there are two."""
    def before():
        die_with_parent()
        if cpu is not None and (os.cpu_count() or 1) > cpu:
            os.sched_setaffinity(0, {cpu})
    return before


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Process:
    """A server under test: started, waited for, ended. Its words are kept for when it fails."""

    def __init__(self, command, port=None, cpu=0, patience=20, cwd=None, environment=None):
        self.command, self.port = command, port
        self.log = os.memfd_create("log")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, cwd=cwd,
                                        env=environment, preexec_fn=pinned(cpu))
        end = time.monotonic() + patience
        while port and not accepts(port):
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise Failed(f"{command[0]} does not serve: {self.words()}")
            time.sleep(0.05)

    @property
    def pid(self):
        return self.process.pid

    def words(self):
        size = os.fstat(self.log).st_size
        return os.pread(self.log, 2000, max(0, size - 2000)).decode(errors="replace").strip()[-600:]

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        os.close(self.log)


def load(program, url, arguments, server=None, cpu=1, limit=120):
    """One run of the neutral client; its report, with "exit" and "said" added. None when it gave none."""
    command = [program, "load", url, "--json", "--quiet", *map(str, arguments)]
    if server:
        command += ["--server-pid", str(server.pid)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit,
                              preexec_fn=pinned(cpu))
    except subprocess.TimeoutExpired:
        return None, f"not done in {limit} s"
    said = (done.stderr.strip().splitlines() or [""])[-1][:200]
    try:
        report = json.loads(done.stdout)
    except ValueError:
        return None, said or f"ended with {done.returncode}"
    return dict(report, exit=done.returncode, said=said), said


def status(pid, field="VmRSS"):
    """Bytes of a field of /proc/PID/status."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            return int(re.search(rf"{field}:\s+(\d+) kB", file.read()).group(1)) << 10
    except (OSError, AttributeError):
        return 0


def cpu_ns(pid):
    """Processor time of all threads of a process that still live."""
    total = 0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
    except OSError:
        pass
    return total


def softirq_ns():
    """Processor time of ksoftirqd, of all processors: network work that no process was charged for."""
    total = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
                if not file.read().startswith("ksoftirqd/"):
                    continue
            with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
        except OSError:
            pass
    return total


def meminfo():
    with open("/proc/meminfo", encoding="ascii") as file:
        return {line.split(":")[0]: int(line.split()[1]) << 10 for line in file if line.rstrip().endswith("kB")}


def sockstat():
    """TCP sockets, and the bytes their queues hold."""
    with open("/proc/net/sockstat", encoding="ascii") as file:
        words = next(line for line in file if line.startswith("TCP:")).split()
    figures = dict(zip(words[1::2], map(int, words[2::2])))
    return {"inuse": figures["inuse"], "mem": figures["mem"] * os.sysconf("SC_PAGESIZE")}


def machine():
    """The machine in one line."""
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        model = re.search(r"^(?:model name|CPU part)\s*:\s*(.*)$", file.read(), re.M)
    try:
        with open("/proc/sys/net/ipv4/tcp_congestion_control", encoding="ascii") as file:
            congestion = file.read().strip()
    except OSError:
        congestion = "?"
    return (f"{os.cpu_count()} x {model.group(1) if model else platform.machine()}, "
            f"{meminfo()['MemTotal'] / 2**30:.0f} GB, Linux {platform.release()}, TCP {congestion}, loopback")


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def have(command):
    return shutil.which(command) is not None
