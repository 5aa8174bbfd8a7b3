# SPDX-License-Identifier: MIT
"""The flags for where microseconds count, as `serve` and `app` take them: what the kernel then says of the process, and
in which words an impossible wish is refused."""
import os
import re
import resource
import shutil
import subprocess
import tempfile
import time

from app import App
from harness import PROGRAM, SANITIZED, SLOW, Server, Skip, command, die_with_parent, equal, run

NOBODY = 65534


def workers_of(server):
    """The /proc/PID/task directory of each worker, by its index."""
    found = {}
    tasks = f"/proc/{server.pid}/task"
    for task in os.listdir(tasks):
        with open(f"{tasks}/{task}/comm", encoding="ascii") as comm:
            name = re.fullmatch(r"ringcast-(\d+)\n", comm.read())
        if name:
            found[int(name.group(1))] = int(task)
    return found


def status_of(server, task, name):
    with open(f"/proc/{server.pid}/task/{task}/status", encoding="ascii") as status:
        return re.search(rf"^{name}:\s+(.*)$", status.read(), re.M).group(1)


def refused(arguments, *words, status=1, before=die_with_parent):
    """Runs the program, which must end by itself and say all these words."""
    with tempfile.TemporaryDirectory() as directory:  # the tree may lie where only root gets
        os.chmod(directory, 0o755)
        program = shutil.copy(PROGRAM, directory) if before is not die_with_parent else PROGRAM
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=15 * SLOW, preexec_fn=before)
    equal(done.returncode, status, f"{arguments}: {done.stderr}")
    for word in words:
        assert word in done.stderr, f"{word!r} is not in {done.stderr!r}"


def unprivileged(limits):
    def before():
        die_with_parent()
        for limit, value in limits.items():
            resource.setrlimit(limit, (value, value))
        if os.geteuid() == 0:
            os.setuid(NOBODY)
    return before


def each():
    return ("serve", "--listen", "127.0.0.1:0"), ("app", "--listen", "127.0.0.1:0")


def test_cpus():
    mine = sorted(os.sched_getaffinity(0))
    cpus = mine[:2]
    for kind in (Server, App):
        with kind("--cpus", ",".join(map(str, cpus)), workers=0) as server:
            workers = workers_of(server)
            equal(len(workers), len(cpus), "workers")
            for index, task in workers.items():
                equal(os.sched_getaffinity(task), {cpus[index]}, f"worker {index}")
            equal(os.sched_getaffinity(server.pid), set(mine), "the main thread stays free")
    for verb in each():
        refused((*verb, "--cpus", "1,"), "--cpus" if verb[0] == "serve" else "cpus '1,'", "2,3",
                status=2 if verb[0] == "serve" else 1)
        refused((*verb, "--cpus", "1023"), "processor 1023", "this process may run on")
        refused((*verb, "--cpus", "5000"), "processor 5000")


def test_numa_node():
    with Server("--numa-node", "0", "--relay") as server:
        equal(len(workers_of(server)), 2)
        with server.connect("/relay/t") as client:
            client.text("x")
            equal(client.receive_text(), "x")
    if os.path.exists("/sys/devices/system/node/node9"):
        raise Skip("this machine has a node 9")
    for verb in each():
        refused((*verb, "--numa-node", "9"), "NUMA node 9: this machine has 0")


def test_priority():
    for verb in each():
        refused((*verb, "--priority", "100"), "1 to 99")
    if os.geteuid() == 0:
        with Server("--priority", "5", workers=1) as server:
            for task in workers_of(server).values():
                equal(os.sched_getscheduler(task), os.SCHED_FIFO)
                equal(os.sched_getparam(task).sched_priority, 5)
            equal(os.sched_getscheduler(server.pid), os.SCHED_OTHER, "the main thread")
    for verb in each():
        refused((*verb, "--priority", "5"), "CAP_SYS_NICE", "LimitRTPRIO=5",
                before=unprivileged({resource.RLIMIT_RTPRIO: 0}))


def test_the_log_in_memory():
    size = 16 << 20
    flags = ("--log-size", str(size))
    for kind in (Server, App):
        with kind(*flags, workers=1) as server:
            before = server.memory()
        with kind(*flags, "--log-prefault", "--log-huge-pages", "transparent", workers=1) as server:
            assert SANITIZED or server.memory() >= before + size, f"{before} without, {server.memory()} with it"
        if os.geteuid() == 0 and not SANITIZED:  # a sanitizer locks nothing
            with kind(*flags, "--log-lock", workers=1) as server:
                locked = int(status_of(server, server.pid, "VmLck").split()[0]) << 10
                assert locked >= size, f"{locked} bytes are locked"
    for verb in each():
        if not SANITIZED:
            refused((*verb, *flags, "--log-lock"), "RLIMIT_MEMLOCK allows 1024 KiB", "LimitMEMLOCK",
                    before=unprivileged({resource.RLIMIT_MEMLOCK: 1 << 20}))
        refused((*verb, "--log-size", "64g", "--log-huge-pages", "reserved"), "vm.nr_hugepages")
        refused((*verb, "--log-huge-pages", "yes"), "off|transparent|reserved", status=2)


def test_spinning():
    """A worker to which something comes all the time does not sleep between; without it, it does each time."""
    def switches(*flags):
        with Server("--echo", *flags, workers=1) as server, server.connect() as client:
            (task,) = workers_of(server).values()
            before = int(status_of(server, task, "voluntary_ctxt_switches"))
            for _ in range(200):
                client.text("x")
                client.receive_text()
                time.sleep(0.0005)
            return int(status_of(server, task, "voluntary_ctxt_switches")) - before

    without, spinning = switches(), switches("--spin-us", "200000")
    assert without > 150 and spinning < without // 3, f"{without} switches without, {spinning} with it"


def test_an_idle_worker_that_spun_sleeps():
    with Server("--echo", "--spin-us", "1000", workers=1) as server, server.connect() as client:
        client.text("x")
        client.receive_text()
        (task,) = workers_of(server).values()

        def ticks():
            with open(f"/proc/{server.pid}/task/{task}/stat", encoding="ascii") as stat:
                return sum(map(int, stat.read().rsplit(")", 1)[1].split()[11:13]))

        time.sleep(0.1)
        before = ticks()
        time.sleep(1)
        assert ticks() - before <= 10, "it goes on spinning"


def test_a_settings_file_has_them_too():
    cpu = min(os.sched_getaffinity(0))
    text = f"cpus = {cpu}\nspin-us = 50\nnuma-node = 0\nlog-prefault = yes\nlog-huge-pages = transparent\nround-interval = 0\nbusy-poll = no\n"
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        def write(words):
            file.seek(0)
            file.truncate()
            file.write(words)
            file.flush()
            return file.name

        write(text)
        equal(command("config", "check", file.name).returncode, 0)
        with App("--config", file.name, workers=0) as server:
            (task,) = workers_of(server).values()
            equal(os.sched_getaffinity(task), {cpu})
        refused(("config", "check", write(text.replace(f"cpus = {cpu}", "cpus = 2-1"))), f"{file.name}:1: cpus '2-1'")
        refused(("config", "check", write(text + "cpus = 1\n")), f"{file.name}:8: cpus: given twice: line 1 has it already")


run(globals(), limit=40)
