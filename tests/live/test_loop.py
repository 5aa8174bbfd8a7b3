# SPDX-License-Identifier: MIT
"""Workers inside an event loop of the program's own (rc_server_fd(), rc_worker_step()): loop.c, a program with an epoll
loop that nothing wakes but the descriptors of its workers. All that a worker does by itself must still happen: timers,
what other threads publish, the end."""
import os
import subprocess
import time

from harness import BUILD, PING, SANITIZED, SLOW, Raw, Skip, die_with_parent, equal, frame, run, until


class Loop:
    def __init__(self, workers=1, idle_ms=1200):
        self.process = subprocess.Popen([os.path.join(BUILD, "tests/loop"), str(workers), str(idle_ms)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
                                        preexec_fn=die_with_parent)
        self.address = ("127.0.0.1", int(self.process.stdout.readline().rsplit(":", 1)[1]))

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.process.kill()
            self.process.wait()
            return
        if self.process.poll() is None:
            self.say("stop 0")
        self.end()

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def steps(self):
        self.say("steps")
        return int(self.process.stdout.readline().split()[1])

    def end(self):
        if not self.process.stdin.closed:
            equal(self.process.stdout.readline(), "ended\n")
            self.process.stdin.close()
        equal(self.process.wait(10 * SLOW), 0, "exit status")

    def connect(self, path="/echo"):
        return Raw(self.address).open(path)


def test_it_serves():
    with Loop() as loop:
        clients = [loop.connect() for _ in range(20)]
        for number, client in enumerate(clients):
            client.text(f"message {number}")
        for number, client in enumerate(clients):
            equal(client.receive_text(), f"message {number}")
        big = "x" * 700000
        clients[0].text(big)
        equal(clients[0].receive_text(), big)
        for client in clients:
            equal(client.close(), 1000)


def test_what_another_thread_publishes_wakes_it():
    with Loop(workers=2) as loop:
        clients = [loop.connect("/t") for _ in range(8)]
        for number in range(50):
            loop.say(f"publish {number}")
            for client in clients:
                equal(client.receive_text(), str(number))
        for number in range(500):
            loop.say(f"publish {number}")
        for client in clients:
            for number in range(500):
                equal(client.receive_text(), str(number))


def test_timers_ring_while_nothing_else_happens():
    """A Ping after half of the silence, the end of who does not answer it, and of who never asks for anything."""
    with Loop() as loop:
        begin = time.monotonic()
        answers, silent, mute = loop.connect(), loop.connect(), Raw(loop.address)
        fin, opcode, payload = silent.receive_frame()
        equal(opcode, PING)
        waited = time.monotonic() - begin
        assert 0.5 < waited < 1.1 * SLOW, f"the Ping came after {waited:.2f} s"
        equal(mute.response()[0], 408)
        assert 0.5 < time.monotonic() - begin < 1.2 * SLOW
        while time.monotonic() - begin < 2:
            fin, opcode, payload = answers.receive_frame()
            equal(opcode, PING)
            answers.send(frame(10, payload))
        assert silent.at_end(), "who does not answer stays"
        answers.text("still here")
        equal(answers.receive_text(), "still here")


def test_it_sleeps_while_there_is_nothing_to_do():
    with Loop() as loop:
        client = loop.connect()
        client.text("x")
        equal(client.receive_text(), "x")
        time.sleep(0.1)
        before = loop.steps()
        time.sleep(1)  # a Ping falls into it
        steps = loop.steps() - before
        assert steps < 30, f"{steps} steps in an idle second"
        assert client.receive_frame()[1] == PING


def test_it_drains_and_ends():
    with Loop(workers=2) as loop:
        clients = [loop.connect("/t") for _ in range(6)]
        loop.say("publish last words")
        loop.say("stop 3000")
        for client in clients:
            equal(client.receive_text(), "last words")
            client.expect_close(1001)
        loop.end()


def test_who_does_not_answer_is_cut_off_when_the_time_is_up():
    with Loop() as loop:
        client = loop.connect()
        begin = time.monotonic()
        loop.say("stop 400")
        loop.end()
        waited = time.monotonic() - begin
        assert 0.3 < waited < 2 * SLOW, f"it ended after {waited:.2f} s"
        while client.receive()[0] != 8:
            pass
        equal(client.closed[0], 1001)


def test_its_receive_buffers_go_when_nothing_comes():
    def resident(loop):
        with open(f"/proc/{loop.process.pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * 4096

    if SANITIZED:
        raise Skip("a sanitizer keeps memory of its own")
    if os.environ.get("RC_RING") == "epoll":
        raise Skip("on epoll a worker has one receive buffer")
    with Loop(idle_ms=60000) as loop:
        clients = [loop.connect() for _ in range(64)]
        for client in clients:
            client.socket.sendall(frame(2, b"x" * 60000)[:50000])  # never whole, so what it holds stays
        time.sleep(0.3)
        high = resident(loop)
        until(lambda: resident(loop) <= high - (64 << 10), f"less than {high} bytes")


def with_ring(test, ring):
    """The same with what is used before Linux 6.14, and on epoll."""
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
