# SPDX-License-Identifier: MIT
"""`ringcast doctor` on machines made of files: one that is well, and then one with each thing wrong; and on this one."""
import json
import os
import shutil
import subprocess
import tempfile

from harness import command, equal, run

LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max open files            1024                 {0}              files
Max locked memory         8388608              8388608              bytes
"""
NET, CPU = "proc/sys/net/", "sys/devices/system/cpu/"
CLOCK = "sys/devices/system/clocksource/clocksource0/"
CARD = "sys/class/net/eth0/"
WELL = {
    "proc/self/limits": LIMITS.format(1048576), "proc/self/cgroup": "0::/app.slice/ringcast\n",
    "proc/meminfo": "MemTotal:       16000000 kB\n", "proc/sys/kernel/osrelease": "6.18.1-amd64\n",
    "proc/sys/kernel/io_uring_disabled": "0\n", "proc/sys/fs/nr_open": "1048576\n",
    "proc/sys/fs/file-max": "9223372036854775807\n", NET + "core/somaxconn": "4096\n",
    NET + "ipv4/tcp_max_syn_backlog": "4096\n", NET + "ipv4/tcp_mem": "200000 300000\t400000\n",
    NET + "ipv4/tcp_rmem": "4096 131072 6291456\n", NET + "ipv4/tcp_wmem": "4096 16384 4194304\n",
    NET + "ipv4/ip_local_port_range": "1024 65535\n", NET + "ipv4/tcp_congestion_control": "bbr\n",
    NET + "core/default_qdisc": "fq\n", NET + "ipv4/tcp_slow_start_after_idle": "0\n", NET + "core/busy_poll": "0\n",
    NET + "netfilter/nf_conntrack_max": "262144\n",
    "sys/fs/cgroup/app.slice/ringcast/memory.max": "max\n", "sys/fs/cgroup/app.slice/cpu.max": "max 100000\n",
    "sys/fs/cgroup/app.slice/ringcast/pids.max": "4096\n",
    CLOCK + "current_clocksource": "tsc\n", CLOCK + "available_clocksource": "tsc hpet acpi_pm \n",
    CPU + "online": "0-3\n", CPU + "isolated": "\n", CPU + "smt/active": "0\n",
    CPU + "cpu0/cpufreq/scaling_governor": "performance\n", CPU + "cpu1/cpufreq/scaling_governor": "performance\n",
    CPU + "cpu0/cpuidle/state0/name": "POLL\n", CPU + "cpu0/cpuidle/state0/latency": "0\n", CPU + "cpu0/cpuidle/state0/disable": "0\n",
    CPU + "cpu0/cpuidle/state1/name": "C1\n", CPU + "cpu0/cpuidle/state1/latency": "2\n", CPU + "cpu0/cpuidle/state1/disable": "0\n",
    CARD + "device/uevent": "DRIVER=mlx5\n", CARD + "device/msi_irqs/40": "msix\n", CARD + "device/msi_irqs/41": "msix\n",
    CARD + "queues/rx-0/rps_cpus": "0\n", CARD + "queues/rx-1/rps_cpus": "0\n",
    "proc/irq/40/effective_affinity_list": "0\n", "proc/irq/41/effective_affinity_list": "1\n",
    "sys/class/net/lo/queues/rx-0/rps_cpus": "0\n",
}


def examine(files, *flags):
    """The report on a machine of these files, and the exit status. None is a file that is not there."""
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            if text is not None:
                os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="ascii") as file:
                    file.write(text)
        done = command("doctor", "--json", "--root", root, *flags)
        equal(done.stderr, b"")
        return json.loads(done.stdout), done.returncode


def test_a_machine_that_is_well():
    report, status = examine(WELL)
    equal([(one["name"], one["found"]) for one in report["findings"] if one["verdict"] != "ok"], [])
    equal((status, report["change"], report["advice"], report["connections"], report["processors"], report["kernel"]),
          (0, 0, 0, 100000, 4, "6.18.1-amd64"))
    assert len(report["findings"]) >= 22, len(report["findings"])
    assert all(not one["why"] and not one["commands"] for one in report["findings"])


# What is changed, the finding's name, its verdict, a part of what it is now, and a part of a command.
WRONG = (
    ({"proc/self/limits": LIMITS.format(20000)}, "descriptor limit", "change", "20000", "ulimit -n 28524"),
    ({"proc/self/limits": LIMITS.format(100000), "proc/sys/kernel/osrelease": "6.1.0-13\n"}, "descriptor limit", "change",
     "100000", "LimitNOFILE=101024"),
    ({"proc/sys/fs/nr_open": "20000\n"}, "fs.nr_open", "change", "20000", "sysctl -w fs.nr_open=28524"),
    ({"proc/sys/fs/file-max": "100000\n"}, "fs.file-max", "change", "100000", "sysctl -w fs.file-max=111024"),
    ({"proc/meminfo": "MemTotal: 524288 kB\n"}, "memory", "change", "512 MiB", "MemoryMax=974M"),
    ({"sys/fs/cgroup/app.slice/memory.max": "268435456\n"}, "memory", "change", "256 MiB", "MemoryMax="),
    ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "268435456\n"}, "memory", "change", "256 MiB", "MemoryMax="),
    ({"sys/fs/cgroup/app.slice/cpu.max": "150000 100000\n"}, "processor quota", "change", "1.50 of 4", "serve --workers 1"),
    ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, "processor quota",
     "change", "2.00 of 4", "serve --workers 2"),
    ({"sys/fs/cgroup/app.slice/ringcast/pids.max": "5\n"}, "threads of the group", "change", "5", "TasksMax=20"),
    ({"proc/sys/kernel/io_uring_disabled": "1\n"}, "kernel.io_uring_disabled", "change", "1", "kernel.io_uring_group="),
    ({"proc/sys/kernel/io_uring_disabled": "2\n"}, "kernel.io_uring_disabled", "change", "2", "kernel.io_uring_disabled=0"),
    ({NET + "core/somaxconn": "128\n"}, "net.core.somaxconn", "change", "128", "net.core.somaxconn=4096"),
    ({NET + "ipv4/tcp_max_syn_backlog": "512\n"}, "net.ipv4.tcp_max_syn_backlog", "change", "512", "=4096"),
    ({NET + "ipv4/tcp_mem": "20000 30000 40000\n"}, "net.ipv4.tcp_mem", "change", "40000 pages (156 MiB)",
     "tcp_mem='100000 150000 200000'"),
    ({NET + "ipv4/tcp_rmem": "4096 87380 262144\n"}, "net.ipv4.tcp_rmem", "change", "262144", "='4096 87380 4194304'"),
    ({NET + "ipv4/tcp_wmem": "4096 1048576 4194304\n"}, "net.ipv4.tcp_wmem", "advice", "1048576", "='4096 131072 4194304'"),
    ({NET + "ipv4/ip_local_port_range": "32768 60999\n"}, "net.ipv4.ip_local_port_range", "advice", "28232", "'1024 65535'"),
    ({NET + "ipv4/tcp_congestion_control": "reno\n"}, "net.ipv4.tcp_congestion_control", "change", "reno", "=cubic"),
    ({NET + "core/default_qdisc": "pfifo_fast\n"}, "net.core.default_qdisc", "advice", "pfifo_fast", "default_qdisc=fq"),
    ({NET + "netfilter/nf_conntrack_max": "65536\n"}, "net.netfilter.nf_conntrack_max", "change", "65536", "=120000"),
    ({NET + "ipv4/tcp_slow_start_after_idle": "1\n"}, "net.ipv4.tcp_slow_start_after_idle", "advice", "1", "=0"),
    ({NET + "core/busy_poll": "50\n"}, "net.core.busy_poll", "advice", "50 us", "busy_poll=0"),
    ({CLOCK + "current_clocksource": "hpet\n"}, "clock", "change", "hpet", "echo tsc >"),
    ({CLOCK + "current_clocksource": "xen\n", CLOCK + "available_clocksource": "xen\n"}, "clock", "change", "xen", "boot with"),
    ({CPU + "cpu1/cpufreq/scaling_governor": "powersave\n"}, "governor", "advice", "powersave, on 1 of 2", "-g performance"),
    ({CPU + "cpu0/cpuidle/state2/name": "C6\n", CPU + "cpu0/cpuidle/state2/latency": "133\n"}, "sleep of processors", "advice",
     "C6, 133 us", "idle-set -D 50"),
    ({CPU + "smt/active": "1\n"}, "threads of a core (SMT)", "advice", "on", "thread_siblings_list"),
    ({"proc/irq/41/effective_affinity_list": "0\n"}, "interrupts of eth0", "change", "2, all on processor 0",
     "echo 1 >/proc/irq/41/smp_affinity_list"),
    ({CARD + "queues/rx-1/rps_cpus": None}, "receive queue of eth0", "advice", "one", "echo f >/sys/class/net/eth0/queues/rx-0/rps_cpus"),
)


def test_each_thing_that_is_wrong():
    """It is found, with a reason and a command, and nothing else is."""
    for files, name, verdict, found, wanted in WRONG:
        report, status = examine({**WELL, **files})
        others = [one for one in report["findings"] if one["verdict"] != "ok"]
        equal([(one["name"], one["verdict"]) for one in others], [(name, verdict)], f"{name}, {others}")
        assert found in others[0]["found"], (name, others)
        assert others[0]["why"] and any(wanted in line for line in others[0]["commands"]), (name, others)
        equal((status, report[verdict]), (1 if verdict == "change" else 0, 1), name)


def test_how_many_count():
    """The same machine is well for fewer, and not for more."""
    few = {**WELL, "proc/self/limits": LIMITS.format(2048), NET + "core/somaxconn": "128\n",
           NET + "ipv4/tcp_mem": "2000 3000 4000\n", "proc/meminfo": "MemTotal: 262144 kB\n"}
    equal(examine(few, "--connections", "1000")[1], 0)
    report, status = examine(WELL, "--connections", "10000000")
    equal(status, 1)
    for name in ("descriptor limit", "fs.nr_open", "memory", "net.ipv4.tcp_mem"):
        assert any(one["name"] == name and one["verdict"] == "change" for one in report["findings"]), name


def test_what_the_kernel_does_not_say():
    """A machine without any of the files is unknown, not well and not wrong; nonsense in them does no harm."""
    report, status = examine({})
    equal((status, report["change"]), (0, 0))
    assert sum(one["verdict"] == "unknown" for one in report["findings"]) >= 10, report
    for nonsense in ("", "\n", "x" * 5000, "-1 -1 -1\n", "99999999999999999999999 1 2\n", "0-\n"):
        examine({path: nonsense for path in WELL})
    examine({**WELL, CPU + "online": "0-4294967295,7\n"})


def test_an_isolated_processor_is_named():
    report, status = examine({**WELL, CPU + "isolated": "2-3\n"})
    equal(status, 0)
    assert "2-3 (for --cpus)" in [one["found"] for one in report["findings"]], report


def test_this_machine():
    """What it says of this machine is what this machine says, in both forms."""
    done = command("doctor", "--connections", "1000", "--json")
    report = json.loads(done.stdout)
    equal(done.returncode, 1 if report["change"] else 0)
    found = {one["name"]: one["found"] for one in report["findings"]}
    equal(report["kernel"], os.uname().release)
    equal(report["processors"], os.cpu_count())
    with open("/proc/sys/net/core/somaxconn", encoding="ascii") as file:
        equal(found["net.core.somaxconn"], file.read().strip())
    limit = subprocess.run(["sh", "-c", "ulimit -H -n"], capture_output=True, text=True, check=True).stdout.strip()
    equal(found["descriptor limit"], "none" if limit == "unlimited" else limit)
    text = command("doctor", "--connections", "1000").stdout.decode()
    for one in report["findings"]:
        assert any(line.startswith(one["verdict"]) and one["name"] in line and one["found"] in line
                   for line in text.splitlines()), one
    assert max(map(len, text.split("\n\n")[0].splitlines())) < 200, text


def test_for_people():
    """The text has the command below what is wrong, and how to keep it."""
    with tempfile.TemporaryDirectory() as root:
        for path, text in {**WELL, NET + "core/somaxconn": "128\n"}.items():
            os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="ascii") as file:
                file.write(text)
        done = command("doctor", "--root", root)
        equal((done.returncode, done.stderr), (1, b""))
        lines = done.stdout.decode().splitlines()
        at = next(index for index, line in enumerate(lines) if line.startswith("change "))
        equal(lines[at].split()[1:], ["net.core.somaxconn", "128"])
        command_at = next(index for index, line in enumerate(lines) if line.strip().startswith("# "))
        equal(lines[command_at].strip(), "# sysctl -w net.core.somaxconn=4096")
        assert at < command_at and all(line.startswith("     ") for line in lines[at + 1:command_at]), lines[at:command_at]
        assert "1 thing should change for 100000 connections." in done.stdout.decode()
        assert "/etc/sysctl.d/90-ringcast.conf" in lines[-1], lines[-1]
        shutil.rmtree(os.path.join(root, "proc"))
    for wrong in (["x"], ["--connections", "0"], ["--connections", "100000001"], ["--root", "x" * 2000]):
        equal(command("doctor", *wrong).returncode, 2, wrong)


if __name__ == "__main__":
    run(globals())
