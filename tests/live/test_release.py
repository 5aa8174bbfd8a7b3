# SPDX-License-Identifier: MIT
"""What a connection held is let go when it closes, whoever else stays: its descriptor, its socket in the kernel, its
end of the stream. (Up to Linux 6.12 a ring's own table keeps closed files behind idle older ones.)"""
import os
import socket

from harness import Raw, Server, equal, frame, run, until


def sockets_of(port):
    """States of the server's side of every connection at that port, but for those that only TIME_WAIT keeps."""
    states = []
    with open("/proc/net/tcp", encoding="ascii") as lines:
        for line in list(lines)[1:]:
            local, state = line.split()[1], line.split()[3]
            if int(local.split(":")[1], 16) == port and state not in ("06", "0A"):
                states.append(state)
    return states


def test_closed_sockets_go_while_others_stay():
    with Server("--echo", "--relay", workers=1) as server:
        idle, subscribed = server.connect(), server.connect("/relay/a")
        for _ in range(20):
            raw = server.connect()
            raw.text("x")
            equal(raw.receive_text(), "x")
            equal(raw.close(), 1000)
        for _ in range(20):
            with server.connect("/relay/a") as raw:
                raw.send(frame(3, "a reserved opcode"))
                raw.expect_close(1002)
        until(lambda: len(sockets_of(server.port)) == 2, "the sockets of those that closed gone")
        idle.text("still here")
        equal(idle.receive_text(), "still here")
        idle.close()
        subscribed.close()


def test_half_closed_peers_see_the_end():
    """With another connection idle, a peer that shuts its side down sees ours end too."""
    with Server("--echo", workers=1) as server, server.connect():
        for _ in range(5):
            with server.connect() as raw:
                raw.socket.shutdown(socket.SHUT_WR)
                assert raw.at_end() or raw.receive(), "no end"


def test_descriptors_do_not_grow():
    with Server("--echo", workers=1) as server, server.connect():
        def count():
            return len(os.listdir(f"/proc/{server.pid}/fd"))

        server.connect().close()
        before = until(count, "the first count")
        for _ in range(100):
            server.connect().close()
        for _ in range(20):
            with Raw(server) as raw:
                raw.send(b"GET / HTTP/1.1\r\n")
        until(lambda: count() <= before, "the descriptors of those that closed gone")


def with_ring(test, ring):
    """The same with what is used before Linux 6.14 (ordinary descriptors and one-shot accepts), and on epoll."""
    def run_it():
        os.environ["RC_RING"] = ring
        try:
            test()
        finally:
            del os.environ["RC_RING"]
    return run_it


if "RC_RING" not in os.environ:
    for name, function in [pair for pair in globals().items() if pair[0].startswith("test_")]:
        globals()[name + "_old_kernel"] = with_ring(function, "6.1")
        globals()[name + "_epoll"] = with_ring(function, "epoll")
run(globals())
