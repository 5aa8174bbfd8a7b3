# SPDX-License-Identifier: MIT
"""The systemd units, as `make install` leaves them, under the real service manager. They run only in the machine of
run.sh, because they take fixed names and ports."""
import os
import re
import signal
import subprocess
import time

from app import SECRET, SLOW, Client, equal, token, until
from harness import Raw, run

CONF = "/etc/ringcast.conf"
UNIT, SOCKET = "ringcast.service", "ringcast.socket"
DROP_IN = "/run/systemd/system/ringcast.service.d"
ADDRESS = ("127.0.0.1", 8080)
NET_BIND_SERVICE = 1 << 10


def systemctl(*arguments, status=0):
    done = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, timeout=60 * SLOW)
    if status is not None:
        log = "" if done.returncode == status else subprocess.getoutput(f"journalctl -u {UNIT} -o cat -n 12")
        equal(done.returncode, status, f"systemctl {' '.join(arguments)}: {done.stderr}{log}")
    return done.stdout.strip()


def show(name, unit=UNIT):
    return systemctl("show", "--value", "-p", name, unit)


def configure(*lines):
    with open(CONF, "w", encoding="ascii") as file:
        file.write("\n".join(("workers = 1", "drain = 500ms", *lines)) + "\n")


def said(text):
    return text in subprocess.run(["journalctl", "-u", UNIT, "-o", "cat"], capture_output=True, text=True, check=True).stdout


def settled():
    systemctl("stop", UNIT, SOCKET, status=None)
    systemctl("reset-failed", UNIT, SOCKET, status=None)


def client(path="/ws", address=ADDRESS, **headers):
    return Client(address).join_in(path, **headers)


def process_status():
    with open(f"/proc/{show('MainPID')}/status", encoding="ascii") as file:
        return dict(re.findall(r"^(\w+):\s+(.*)$", file.read(), re.M))


def test_is_started_once_it_can_be_reached():
    settled()
    configure("listen = 127.0.0.1:8080")
    systemctl("start", UNIT)
    client("/ws/a").settle()
    equal((show("ActiveState"), show("SubState")), ("active", "running"))


def test_has_no_more_than_it_needs():
    settled()
    configure("listen = 127.0.0.1:80")  # a privileged port
    systemctl("start", UNIT)
    client(address=("127.0.0.1", 80)).settle()
    status = process_status()
    assert 0 not in map(int, status["Uid"].split() + status["Gid"].split()), "it is root"
    equal(status["NoNewPrivs"], "1")
    equal(status["Seccomp"], "2", "system calls are filtered")
    for name in ("CapEff", "CapPrm", "CapBnd"):
        equal(int(status[name], 16), NET_BIND_SERVICE, name)


def test_reload():
    settled()
    configure("listen = 127.0.0.1:8080", "content-max = 5")
    systemctl("start", UNIT)
    main = show("MainPID")
    a = client("/ws/a").in_room("r")
    a.say("room_message", room="r", content="123456").expect_error("TOO_LONG")
    configure("listen = 127.0.0.1:8080", "content-max = 6")
    systemctl("reload", UNIT)

    def grew():
        a.say("direct", to="a", content="123456")
        return a.hear()["type"] == "direct"

    until(grew, "the new limit")
    configure("listen = 127.0.0.1:8080", "content-max = nonsense")
    systemctl("reload", UNIT, status=None)
    until(lambda: said("the old ones stay"), "a word about the error")
    a.settle()
    equal(show("MainPID"), main, "the process")


def test_wrong_settings_do_not_start():
    settled()
    configure("listen = 127.0.0.1:8080", "content-max = nonsense")
    systemctl("start", UNIT, status=1)
    assert said("content-max"), "the log does not name what is wrong"
    systemctl("stop", UNIT)
    systemctl("reset-failed", UNIT)
    configure("listen = 127.0.0.1:8080")
    systemctl("start", UNIT)
    client().settle()


def test_is_started_again_after_its_death():
    settled()
    configure("listen = 127.0.0.1:8080")
    systemctl("start", UNIT)
    main = int(show("MainPID"))
    os.kill(main, signal.SIGKILL)
    until(lambda: show("ActiveState") == "active" and int(show("MainPID")) not in (0, main), "another process")
    client().settle()


def test_stop_tells_the_clients():
    settled()
    configure("listen = 127.0.0.1:8080")
    systemctl("start", UNIT)
    a = client("/ws/a")
    a.settle()
    stop = subprocess.Popen(["systemctl", "stop", UNIT])
    a.expect("going_away")
    a.expect_close(1001)
    equal(stop.wait(60 * SLOW), 0)
    equal((show("ActiveState"), show("Result"), show("ExecMainStatus")), ("inactive", "success", "0"))


def test_socket():
    """The address is systemd's: the first connection starts the server, and none is refused while it is started anew."""
    settled()
    configure()
    systemctl("start", SOCKET)
    equal(show("ActiveState"), "inactive")
    client("/ws/a").settle()
    equal(show("ActiveState"), "active")
    restart = subprocess.Popen(["systemctl", "restart", UNIT])
    served = 0
    while restart.poll() is None:
        with Raw(ADDRESS, limit=60) as raw:
            raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            try:
                served += raw.response()[0] in (200, 503)
            except (EOFError, ConnectionResetError):
                pass  # it had come to the old one just before its end
        time.sleep(0.05)
    equal(restart.returncode, 0)
    assert served, "nothing was answered"
    client("/ws/a").settle()


def test_credentials():
    """A key that only root may read, as the unit explains."""
    settled()
    with open("/etc/ringcast.key", "w", encoding="ascii") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(SECRET)
    os.makedirs(DROP_IN, exist_ok=True)
    with open(DROP_IN + "/key.conf", "w", encoding="ascii") as file:
        file.write("[Service]\nLoadCredential=key:/etc/ringcast.key\n")
    configure("listen = 127.0.0.1:8080", "auth = required", f"token-secret-file = /run/credentials/{UNIT}/key")
    systemctl("daemon-reload")
    try:
        systemctl("start", UNIT)
        equal(client("/ws", Authorization="Bearer " + token(sub="ann", exp=600)).welcome["userId"], "ann")
    finally:
        os.remove(DROP_IN + "/key.conf")
        systemctl("daemon-reload")
        settled()


if not os.path.isdir("/run/systemd/system"):
    print("skip service: systemd is not the first program here")
    raise SystemExit(77)
run(globals(), limit=60)
