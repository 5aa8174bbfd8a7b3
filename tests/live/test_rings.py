# SPDX-License-Identifier: MIT
"""Two rings: io_uring, and epoll where that is forbidden. The filters are those of libseccomp, and answer what Docker's
default profile (EPERM) or an older one (ENOSYS) does; whoever starts a server there gets one that runs, and one line that
says on what. (The other live tests run on epoll with RC_RING=epoll: `make test-epoll`.)"""
import ctypes
import errno
import json
import os
import resource
import statistics
import subprocess
import sys
import time

from harness import PROGRAM, SLOW, Raw, Server, Skip, command, die_with_parent, equal, frame, run, until

URING = "io_uring_setup", "io_uring_enter", "io_uring_register"
LINE = "epoll serves in place of io_uring"
os.environ.pop("RC_RING", None)


def forbid(code, *calls):
    """Of this process and what it starts."""
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p

    def program():
        filters = ctypes.c_void_p(library.seccomp_init(0x7FFF0000))  # all else is allowed
        for call in calls:
            number = library.seccomp_syscall_resolve_name(call.encode())
            if number < 0 or library.seccomp_rule_add(filters, 0x00050000 | code, number, 0):
                os._exit(99)
        if library.seccomp_load(filters):
            os._exit(99)
        die_with_parent()
    return program


def try_filters():
    try:
        equal(subprocess.run(["true"], preexec_fn=forbid(errno.EPERM, *URING), check=False).returncode, 0)
    except OSError as error:
        raise Skip(f"needs libseccomp2: {error}") from error


def ended(filters, *words):
    """`ringcast WORDS` behind the filters, when it has ended by itself."""
    return subprocess.run([PROGRAM, *words], capture_output=True, text=True, check=False, timeout=10 * SLOW,
                          preexec_fn=filters)


def ring_of(server):
    status, _, body = server.get("/stats")
    equal(status, 200)
    _, _, metrics = server.get("/metrics")
    ring = json.loads(body)["ring"]
    assert f'ringcast_ring_info{{ring="{ring}"}} 1'.encode() in metrics, metrics[-400:]
    return ring


def has_uring():
    with Server() as server:
        return ring_of(server) == "io_uring"


def it_serves(server):
    """Messages of all sizes there and back, a feed, and the end of a connection."""
    with server.connect("/relay/a") as reader, server.connect() as echo:
        for size in 1, 125, 4000, 70000, 700000:
            text = "x" * size
            echo.text(text)
            equal(echo.receive_text(), text)
        with server.connect("/publish/a") as writer:
            for number in range(300):
                writer.text(str(number))
            for number in range(300):
                equal(reader.receive_text(), str(number))
        equal(echo.close(), 1000)


def lines_about(server):
    return [line for line in server.errors if "epoll" in line]


def test_where_it_is_forbidden():
    """As under Docker's default profile, and as where the kernel has none: one line, and a server that serves."""
    try_filters()
    for code, why in (errno.EPERM, "kernel.io_uring_disabled"), (errno.ENOSYS, "built without io_uring"):
        with Server("--echo", "--relay", preexec=forbid(code, *URING)) as server:
            equal(ring_of(server), "epoll")
            it_serves(server)
            said = until(lambda: lines_about(server), "a line that says so")
            equal(len(said), 1, said)
            assert LINE in said[0] and why in said[0], said


def test_where_one_call_is_forbidden():
    """Any one of the three is reason enough; none is met only when somebody connects."""
    try_filters()
    for call in URING:
        with Server("--echo", workers=1, preexec=forbid(errno.EPERM, call)) as server:
            equal(ring_of(server), "epoll")
            with server.connect() as raw:
                raw.text("x")
                equal(raw.receive_text(), "x")
            equal(len(lines_about(server)), 1, call)


def test_who_insists_is_told_the_remedies():
    try_filters()
    for code in errno.EPERM, errno.ENOSYS:
        for words in ("serve",), ("app", "--auth", "off"):
            done = ended(forbid(code, *URING), *words, "--ring", "uring", "--listen", "127.0.0.1:0")
            equal(done.returncode, 1, done.stderr)
            assert "io_uring" in done.stderr and "--ring epoll" in done.stderr, done.stderr
            assert code != errno.EPERM or "kernel.io_uring_disabled" in done.stderr, done.stderr
            assert "listening" not in done.stdout, done.stdout


def test_by_choice():
    """Nothing is forbidden, so nothing is said."""
    with Server("--echo", "--relay", "--ring", "epoll") as server:
        equal(ring_of(server), "epoll")
        it_serves(server)
        equal(lines_about(server), [])
    if not has_uring():
        raise Skip("there is no io_uring here")
    for ring in "auto", "uring":
        with Server("--echo", "--relay", "--ring", ring) as server:
            equal(ring_of(server), "io_uring")
            it_serves(server)
            equal(lines_about(server), [])


def test_a_wrong_choice():
    done = command("serve", "--ring", "kqueue")
    equal(done.returncode, 2, done.stderr)
    assert b"auto|uring|epoll" in done.stderr, done.stderr


def test_probe_says_which():
    try_filters()
    for code in errno.EPERM, errno.ENOSYS:
        done = ended(forbid(code, *URING), "probe")
        equal(done.returncode, 0, done.stdout + done.stderr)
        lines = {line.split("  ")[0]: line for line in done.stdout.splitlines()}
        assert "epoll: io_uring" in " ".join(lines["ring"].split()) or "epoll: this kernel" in lines["ring"], lines["ring"]
        assert " no " in lines["io_uring"] and " yes " in lines["ring"], done.stdout
    done = ended(forbid(errno.EPERM, "epoll_create1", *URING), "probe")
    equal(done.returncode, 1, done.stdout + done.stderr)
    assert "ring is missing" in done.stderr, done.stderr


def test_nothing_is_left():
    """Neither ring: the error names what to allow."""
    try_filters()
    done = ended(forbid(errno.EPERM, "epoll_create1", *URING), "serve", "--listen", "127.0.0.1:0")
    equal(done.returncode, 1, done.stderr)
    assert "epoll_create1" in done.stderr and "seccomp" in done.stderr, done.stderr


def test_short_waits_on_an_older_kernel():
    """Without epoll_pwait2 (Linux 5.11), forbidden or not there, rounds keep their distance all the same."""
    try_filters()
    for code in errno.ENOSYS, errno.EPERM:
        with Server("--relay", "--ring", "epoll", "--round-interval", "2000",
                    preexec=forbid(code, "epoll_pwait2")) as server:
            with server.connect("/relay/a") as raw:
                begin = time.monotonic()
                for number in range(200):
                    raw.text(str(number))
                    equal(raw.receive_text(), str(number))
                took = time.monotonic() - begin
            assert took < 3 * SLOW, f"200 messages took {took:.1f} s"


FLOODER = """
import socket, sys
sys.path.insert(0, %r)
sys.argv = sys.argv[:1]
from harness import Raw, TEXT, frame
raw = Raw(("127.0.0.1", %d), receive_buffer=4096).open(%r)
data = frame(TEXT, "x" * 900, key=b"abcd") * 300
print("floods", flush=True)
while True:
    raw.socket.sendall(data)
"""


def test_who_floods_starves_nobody():
    """Clients that send as fast as they can, of whom none is ever read until it is empty."""
    with Server("--relay", "--echo", "--ring", "epoll", workers=1) as server, server.connect() as raw:
        floods = [subprocess.Popen([sys.executable, "-B", "-c", FLOODER % (os.path.dirname(os.path.abspath(__file__)),
                                                                           server.port, "/publish/flood")],
                                   stdout=subprocess.PIPE, preexec_fn=die_with_parent) for _ in range(3)]
        try:
            for flood in floods:
                equal(flood.stdout.readline(), b"floods\n")
            took = []
            for number in range(100):
                begin = time.monotonic()
                raw.text(str(number))
                equal(raw.receive_text(), str(number))
                took.append(time.monotonic() - begin)
            assert all(flood.poll() is None for flood in floods), "a flood ended"
            assert max(took) < 1 * SLOW and statistics.median(took) < 0.1 * SLOW, sorted(took)[-5:]
        finally:
            for flood in floods:
                flood.kill()
                flood.wait()


def test_no_descriptor_is_left():
    """Who is one too many is refused, the operator is told, and there is room again when others have gone."""
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    with Server("--echo", "--ring", "epoll", workers=1, preexec=few) as server:
        clients, refused = [], 0
        for _ in range(60):
            try:
                clients.append(server.connect())
            except (EOFError, ConnectionResetError):
                refused += 1
                break
        assert refused and len(clients) > 20, len(clients)
        until(lambda: any("ulimit -n" in line for line in server.errors), "a word to the operator")
        for client in clients[:10]:
            equal(client.close(), 1000)

        def room():
            try:
                return server.connect()
            except (EOFError, ConnectionResetError):
                return None

        again = until(room, "room for one more")
        again.text("x")
        equal(again.receive_text(), "x")


def test_half_a_request_many_ends():
    """Ends in every order: with unread bytes before it, right after it opened, both at once."""
    with Server("--echo", "--ring", "epoll", workers=1) as server:
        for _ in range(30):
            with server.connect() as raw:
                raw.send(frame(1, "y" * 30000) * 3)
                raw.socket.shutdown(1)
                for _ in range(3):
                    equal(raw.receive_text(), "y" * 30000)
            Raw(server).socket.close()
            with Raw(server) as raw:
                raw.send(b"GET / HT")
        until(lambda: server.stats()["connections"] == 1, "all of them gone")


run(globals(), limit=40)
