# SPDX-License-Identifier: MIT
"""Producers: processes that publish through shared memory. What they publish arrives once and in order, whatever another
of them does: die within a record, scribble over all it shares, flood, say nothing, come in crowds, or be nobody who may."""
import errno
import fcntl
import json
import os
import random
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import threading
import time

from app import App
from harness import BUILD, SANITIZED, SLOW, TOP, Server, Skip, command, die_with_parent, equal, run, until
from producer import ASLEEP, BYTES_AT, GONE, REASON, REFUSED, Producer, Refused, STATE

PEER = os.path.join(BUILD, "tests/producer_peer")
DIES = 300 if SANITIZED else 2200  # about half of them are killed within a record


class Place:
    """A directory for a socket, which every user may look into."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory()
        os.chmod(self.directory.name, 0o755)
        self.path = os.path.join(self.directory.name, "producers")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.directory.cleanup()

    def serve(self, *flags, mode="", verb=Server, **more):
        return verb("--producers", f"unix:{self.path}{mode}", *flags, **more)


def figures(server):
    return json.loads(server.get("/stats")[2])["producers"]


def stands_still(pid):
    return all(open(f"/proc/{pid}/task/{task}/stat", encoding="ascii").read().rsplit(")", 1)[1].split()[0] == "T"
               for task in os.listdir(f"/proc/{pid}/task"))


def peer(place, topic, *words):
    return subprocess.Popen([PEER, place.path, topic, *(str(word) for word in words)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent)


def ended(process, limit=60):
    out, err = process.communicate(timeout=limit * SLOW)
    equal(process.returncode, 0, f"the peer's exit status ({err.strip()})")
    return out


class Honest:
    """A producer whose every message must arrive: it publishes numbers at a pace while the block runs, and a subscriber
    counts along. `slowest` is the longest time between a publish and its arrival."""

    def __init__(self, place, server, topic="honest", pace=0.002):
        self.producer, self.reader = Producer(place.path), server.connect("/topic/" + topic)
        self.topic, self.pace = self.producer.topic(topic), pace
        self.sent, self.slowest, self.wrong, self.done = [], 0, None, False
        self.threads = [threading.Thread(target=self.write), threading.Thread(target=self.read)]

    def write(self):
        while not self.done:
            self.sent.append(time.monotonic())
            if not self.producer.publish(self.topic, str(len(self.sent) - 1)):
                self.wrong = "the ring is full"
            time.sleep(self.pace)
        self.sent.append(time.monotonic())
        self.producer.publish(self.topic, "end")

    def read(self):
        number = 0
        try:
            while (text := self.reader.receive_text()) != "end":
                equal(text, str(number))
                self.slowest = max(self.slowest, time.monotonic() - self.sent[number])
                number += 1
            equal(number, len(self.sent) - 1, "messages")
        except BaseException as error:
            self.wrong = self.wrong or repr(error)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        if not kind:
            until(lambda: len(self.sent) > 50, "it to publish enough")
        self.done = True
        for thread in self.threads:
            thread.join(20 * SLOW)
        self.producer.close()
        if not kind:
            equal(self.wrong, None, "the honest producer")


def test_examples():
    """C, C++ and Python: each as its head says."""
    folder = os.path.join(TOP, "tools/examples/producer")
    built = os.path.join(BUILD, "examples/producer")
    with Place() as place, place.serve("--producer-topics", "quote.*") as server:
        for words in ([os.path.join(built, "quotes")], [os.path.join(built, "quotes_cpp")],
                      ["/usr/bin/python3", "-B", os.path.join(folder, "quotes.py")]):
            with server.connect("/topic/quote.EURUSD") as reader:
                done = subprocess.run([*words, place.path, "500"], capture_output=True, text=True, timeout=30 * SLOW)
                equal((done.returncode, done.stderr), (0, ""), words[-1])
                for tick in range(500):
                    assert reader.receive_text().startswith('{"tick":%d' % tick), tick
        until(lambda: figures(server)["producers"] == 0, "that they have gone")
        equal(figures(server)["producer_records"], 500 * 4)


def test_all_arrive_though_the_socket_closes_at_once():
    with Place() as place, place.serve() as server, server.connect("/topic/t") as reader:
        for turn in range(20):
            with Producer(place.path) as producer:
                topic = producer.topic("t")
                for number in range(300):
                    assert producer.publish(topic, f"{turn}.{number}")
            for number in range(300):
                equal(reader.receive_text(), f"{turn}.{number}")


def test_text_and_binary_of_every_size():
    with Place() as place, place.serve() as server, server.connect("/topic/t") as reader, Producer(place.path) as producer:
        topic, most = producer.topic("t"), producer.ring_size // 4 - 24
        for size in (0, 1, 7, 8, 9, 125, 126, 65535, 65536, most - 1, most):
            for binary in (False, True):
                payload = os.urandom(size) if binary else b"x" * size
                assert producer.publish(topic, payload, flags=1 if binary else 0)
                opcode, got = reader.receive()
                equal((opcode, got == payload), (2 if binary else 1, True), size)


def test_a_server_that_sleeps_is_woken():
    with Place() as place, place.serve() as server, server.connect("/topic/t") as reader, Producer(place.path) as producer:
        topic = producer.topic("t")
        for number in range(20):
            until(lambda: producer.state() == ASLEEP, "that the server sleeps")
            time.sleep(random.random() / 50)
            assert producer.publish(topic, str(number))
            equal(reader.receive_text(), str(number))


def test_a_full_ring_says_so_and_loses_nothing():
    with Place() as place, place.serve("--producer-ring", "64k") as server, server.connect("/topic/t") as reader, \
            Producer(place.path) as producer:
        topic, number = producer.topic("t"), 0
        equal(producer.ring_size, 65536)
        server.process.send_signal(signal.SIGSTOP)
        until(lambda: stands_still(server.process.pid), "the server to stand still")
        while producer.publish(topic, f"{number:0100}"):
            number += 1
        assert 400 < number <= 512, number
        server.process.send_signal(signal.SIGCONT)
        until(lambda: producer.publish(topic, "last"), "room")
        for each in range(number):
            equal(reader.receive_text(), f"{each:0100}")
        equal(reader.receive_text(), "last")


def test_an_answer_that_comes_late_is_nobodys():
    with Place() as place, place.serve() as server:
        asks = subprocess.Popen([PEER, place.path, "t", "late", "0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                text=True, preexec_fn=die_with_parent)
        equal(asks.stdout.readline(), "open\n")
        server.process.send_signal(signal.SIGSTOP)
        until(lambda: stands_still(server.process.pid), "the server to stand still")
        asks.stdin.write("\n")
        asks.stdin.flush()
        equal(int(asks.stdout.readline()), -errno.ETIMEDOUT)
        server.process.send_signal(signal.SIGCONT)
        until(lambda: figures(server)["producers"] == 0, "that it has gone")
        equal(int(asks.communicate("\n", timeout=20 * SLOW)[0]), -errno.EPIPE)


def test_a_log_without_room_holds_the_producer_back():
    count = 10000 if SANITIZED else 100000
    with Place() as place, place.serve("--log-size", "64k", "--policy", "skip", workers=2) as server:
        with server.connect("/topic/t"):
            ended(peer(place, "t", "flood", count))
            until(lambda: figures(server)["producer_records"] == count, "all to be published")


def test_killed_within_a_record():
    seed = int(os.environ.get("RC_SEED") or random.randrange(1 << 32))
    print(f"    RC_SEED={seed}")
    with Place() as place, place.serve("--log-size", "256m") as server, Honest(place, server):
        kept = int(ended(peer(place, "t", "die", DIES, seed), limit=100))
        assert kept > DIES / 2.2, kept
        until(lambda: figures(server)["producers"] == 1, "that they have gone")
        now = figures(server)
        assert DIES / 2 < now["producers_accepted"] <= DIES + 1, now  # some die before they are let in
        equal(now["producers_cut"], 0)
        # What each had published before it died is there: the first message of those that said so.
        assert now["producer_records"] >= kept, (now, kept)


def test_what_was_published_before_a_kill_is_there():
    with Place() as place, place.serve() as server, server.connect("/topic/t") as reader:
        done = subprocess.run(["/usr/bin/python3", "-B", "-c", f"""
import os, signal, sys
sys.path.insert(0, {os.path.join(TOP, "tests/live")!r})
from producer import Producer
producer = Producer({place.path!r})
topic = producer.topic("t")
for number in range(100):
    producer.publish(topic, str(number))
producer.write(topic, "never seen")
os.kill(os.getpid(), signal.SIGKILL)
"""], capture_output=True, text=True)
        equal(done.returncode, -signal.SIGKILL, done.stderr)
        with Producer(place.path) as producer:
            producer.publish(producer.topic("t"), "after")
        got = [reader.receive_text() for _ in range(101)]
        equal([text for text in got if text != "after"], [str(number) for number in range(100)])
        assert "after" in got


def test_scribbled_over():
    seed = int(os.environ.get("RC_SEED") or random.randrange(1 << 32))
    print(f"    RC_SEED={seed}")
    with Place() as place, place.serve("--log-size", "256m") as server, Honest(place, server):
        scribblers = [peer(place, "t", "scribble", 6, seed + index) for index in range(3)]
        rings = sum(int(ended(scribbler)) for scribbler in scribblers)
        until(lambda: figures(server)["producers"] == 1, "that they have gone")
        now = figures(server)
        assert now["producers_cut"] > 20, (rings, now)
        assert any("was let go" in line for line in server.errors), server.errors[:5]


def test_memory_cannot_be_cut_off():
    with Place() as place, place.serve(), Producer(place.path) as producer:
        for size in (0, 4096, BYTES_AT + producer.ring_size - 1, BYTES_AT + producer.ring_size + 1):
            try:
                os.ftruncate(producer.memory_fd, size)
                raise AssertionError(f"its size became {size}")
            except PermissionError:
                pass
        try:
            fcntl.fcntl(producer.memory_fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
            raise AssertionError("it took another seal")
        except PermissionError:
            pass


def test_a_ring_without_sense_is_let_go_with_a_reason():
    cases = (("shorter than its header", dict(size=3), None), ("longer than a quarter", dict(size=1 << 30), None),
             ("was not registered", dict(topic=7), None), ("unknown flags", dict(flags=8), None),
             ("head is nowhere", {}, 1 << 40), ("head is nowhere", {}, 12))
    for reason, wrong, head in cases:
        with Place() as place, place.serve() as server, Honest(place, server, pace=0.001):
            with Producer(place.path) as producer:
                topic = producer.topic("t")
                producer.write(**{"topic": topic, "payload": b"y" * 20, **wrong})
                producer.show(head)
                assert producer.is_let_go(), reason
                equal(producer.state(), GONE)
            until(lambda: any(reason in line for line in server.errors), f"the log to say {reason!r}")
            equal(figures(server)["producers_cut"], 1)
            time.sleep(0.1)


def test_what_cannot_be_published_is_counted_and_told():
    with Place() as place, place.serve("--log-size", "256k") as server, server.connect("/topic/t") as reader:
        with Producer(place.path) as producer:
            topic = producer.topic("t")
            for count, (reason, wrong) in enumerate(((errno.EILSEQ, dict(payload=b"\xff\xfe")),
                                                     (errno.EINVAL, dict(payload=b"k", size=25, key_size=1)),
                                                     (errno.EMSGSIZE, dict(payload=b"x" * 100000))), 1):
                assert producer.publish(topic, **wrong)
                assert producer.publish(topic, "good")
                equal(reader.receive_text(), "good")
                reason_seen = ctypes_signed(producer.load(REASON))
                equal((producer.load(REFUSED), reason_seen), (count, -reason))
        equal(figures(server)["producer_records_refused"], 3)
        until(lambda: any("not published to t" in line for line in server.errors), "a line about it")


def ctypes_signed(value):
    return struct.unpack("=q", struct.pack("=Q", value))[0]


def test_topics_by_prefix():
    with Place() as place, place.serve("--producer-topics", "quote.*", "--producer-topics", "clock",
                                       "--producer-topics-max", "3") as server, Producer(place.path) as producer:
        for name, code in (("quote.A", 0), ("quote.", 1), ("clock", 2), ("quote.D", -errno.ENOSPC), ("quot", -errno.EACCES),
                           ("clock2", -errno.EACCES), ("", -errno.EINVAL), ("quote." + "x" * 250, -errno.EINVAL),
                           (b"quote.\xff", -errno.EACCES), ("quote.\n", -errno.EACCES)):
            try:
                equal(producer.topic(name), code, name)
            except Refused as refused:
                equal(refused.code, code, name)
                assert refused.words, name
        producer.socket.send(struct.pack("=I", 99) + b"what")
        try:
            producer.hear()
            raise AssertionError("an unknown question was answered")
        except Refused as refused:
            equal(refused.code, -errno.EINVAL)
        equal(figures(server)["producer_topics_refused"], 8)


def test_questions_without_end():
    """Who asks and does not listen is let go, and nobody waits for it."""
    with Place() as place, place.serve() as server, Honest(place, server, pace=0.001) as honest:
        with Producer(place.path) as producer:
            producer.socket.settimeout(0.5)
            try:
                for number in range(100000):
                    producer.socket.send(struct.pack("=I", 1) + b"t%d" % number)
            except (BrokenPipeError, ConnectionResetError, socket.timeout):
                pass
            until(lambda: producer.state() == GONE, "that it was let go")
        until(lambda: any("does not read" in line for line in server.errors), "the reason")
        time.sleep(0.1)
    assert honest.slowest < 2 * SLOW, honest.slowest


def as_nobody(test):
    """Runs a function in a process of user 65534; it returns what is printed."""
    if os.getuid():
        raise Skip("only root can be somebody else")
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        try:
            words = test()
        except BaseException as error:
            words = repr(error)
        os.write(into, words.encode())
        os._exit(0)
    os.close(into)
    words = b""
    while data := os.read(out, 4096):
        words += data
    os.close(out)
    os.waitpid(child, 0)
    return words.decode()


def knock_at(path):
    try:
        with Producer(path) as producer:
            return f"let in {producer.topic('t')}"
    except Refused as refused:
        return f"refused {refused.code} {refused.words}"
    except PermissionError:
        return "kept out"


def test_users():
    with Place() as place:
        with place.serve():
            equal(stat.S_IMODE(os.stat(place.path).st_mode), 0o600)
            equal(as_nobody(lambda: knock_at(place.path)), "kept out")
        with place.serve(mode="?mode=0666") as server:
            equal(as_nobody(lambda: knock_at(place.path)), "let in 0")
        with place.serve("--producer-uids", "root", "--producer-uids", "65533", mode="?mode=0666") as server:
            equal(stat.S_IMODE(os.stat(place.path).st_mode), 0o666)
            equal(as_nobody(lambda: knock_at(place.path)), "refused -13 this user may not be a producer here")
            equal(knock_at(place.path), "let in 0")
            equal(figures(server)["producers_refused"], 1)
            until(lambda: any("user 65534) was refused" in line for line in server.errors), "a line about it")
        with place.serve("--producer-uids", "nobody", mode="?mode=0666"):
            equal(as_nobody(lambda: knock_at(place.path)), "let in 0")
            assert knock_at(place.path).startswith("refused -13"), "root was let in"


def test_as_many_as_the_bound_and_no_more():
    with Place() as place, place.serve("--producers-max", "80", "--producer-ring", "64k", workers=3) as server:
        with server.connect("/topic/t") as reader:
            producers = [Producer(place.path) for _ in range(80)]
            topics = [producer.topic("t") for producer in producers]
            assert knock_at(place.path).startswith(f"refused -{errno.EUSERS} "), knock_at(place.path)
            for turn in range(20):
                for index, producer in enumerate(producers):
                    assert producer.publish(topics[index], f"{index}.{turn}")
            got = sorted(reader.receive_text() for _ in range(80 * 20))
            equal(got, sorted(f"{index}.{turn}" for index in range(80) for turn in range(20)))
            producers.pop().close()
            until(lambda: knock_at(place.path) == "let in 0", "the room that one left")
            for producer in producers:
                producer.close()
        until(lambda: figures(server)["producers"] == 0, "that all have gone")
    with Place() as place, place.serve() as server:
        producers = [Producer(place.path) for _ in range(64)]
        assert knock_at(place.path).startswith(f"refused -{errno.EUSERS} ")
        for producer in producers:
            producer.close()


def test_a_flood_starves_nobody():
    with Place() as place, place.serve("--log-size", "256m", workers=1) as server, Honest(place, server) as honest:
        for process in [peer(place, "t", "flood", 20000 if SANITIZED else 400000) for _ in range(3)]:
            ended(process)
    assert honest.slowest < 1 * SLOW, honest.slowest


def test_the_end_of_the_server():
    """What is in the ring when the server is told to end is still published and sent; then the producer is let go."""
    with Place() as place, place.serve() as server, Producer(place.path) as producer:
        reader = server.connect("/topic/t")
        topic = producer.topic("t")
        server.process.send_signal(signal.SIGSTOP)
        for number in range(100):
            assert producer.publish(topic, str(number))
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGCONT)
        for number in range(100):
            equal(reader.receive_text(), str(number))
        assert producer.is_let_go()
        equal(producer.state(), GONE)
        reader.expect_close(1001)
        server.process.wait(10 * SLOW)
        assert not os.path.exists(place.path), "the socket's file stays"


def nobody_listens(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        return door.connect_ex(path) == errno.ECONNREFUSED


def test_the_socket_of_a_server_that_was_killed():
    with Place() as place:
        server = place.serve()
        producer = Producer(place.path)
        server.kill()
        assert os.path.exists(place.path)
        assert producer.is_let_go()
        until(lambda: nobody_listens(place.path), "the kernel to let go of the socket")
        with place.serve():
            equal(knock_at(place.path), "let in 0")


def test_wrong_settings():
    with Place() as place:
        with open(place.path + ".file", "w", encoding="ascii"):
            pass
        for flags, words in ((("--producers", "127.0.0.1:1"), "is not an address for producers: write unix:/PATH"),
                             (("--producers", "unix:"), "is not an address for producers"),
                             (("--producers", f"unix:{place.path}?mode=9"), "?mode=0600"),
                             (("--producers", f"unix:{place.path}?mode=0600x"), "?mode=0600"),
                             (("--producers", f"unix:{place.path}.file"), "is no socket"),
                             (("--producers", f"unix:{place.path}/no/such"), "cannot listen for producers"),
                             (("--producers", f"unix:{place.path}", "--producer-ring", "100k"), "power of two"),
                             (("--producers", f"unix:{place.path}", "--producers-max", "5000"), "at most 1024"),
                             (("--producers", f"unix:{place.path}", "--producer-topics-max", "99999"), "at most 65536"),
                             (("--producers", f"unix:{place.path}", "--producer-uids", "no-such-user"), "there is no user")):
            done = command("serve", "--listen", "127.0.0.1:0", *flags)
            equal(done.returncode, 1, f"{flags}: {done.stderr}")
            assert words in done.stderr.decode(), done.stderr


def test_in_the_application_server():
    with Place() as place, place.serve("--producer-topics", "news.*", "--producer-topics", "room/*", verb=App) as server:
        client = server.client("/ws/ann")
        client.say("subscribe", topics=["news.a", "news.*"])
        client.expect("subscribed")
        with Producer(place.path) as producer:
            topic = producer.topic("news.a")
            producer.publish(topic, '{"price": 1.5}')
            equal(client.expect("update", topic="news.a", seq=1)["data"], {"price": 1.5})
            for wrong in ("{", b"\xff"):
                producer.publish(topic, wrong)
            producer.publish(topic, "7")
            equal(client.expect("update", topic="news.a", seq=2)["data"], 7)
            equal(ctypes_signed(producer.load(REASON)), -errno.EBADMSG)
            producer.publish(producer.topic("news.b"), '"by pattern"')
            equal(client.expect("update", topic="news.b")["data"], "by pattern")
            for name in ("room/x", "data/x", "news\n"):
                try:
                    raise AssertionError(f"{name} was registered as {producer.topic(name)}")
                except Refused as refused:
                    equal(refused.code, -errno.EACCES)
        assert b"ringcast_producer_records_total 3" in server.get("/metrics")[2], server.get("/metrics")[2]


def test_config_check_says_who_may():
    with Place() as place:
        with open(place.path, "w", encoding="ascii") as file:
            file.write("producers = unix:/run/p.sock?mode=0660\nproducer-topics = news.*\nproducer-uids = root\n")
        done = command("config", "check", place.path)
        equal(done.returncode, 0, done.stderr)
        assert "root, by a socket of mode 0660 at unix:/run/p.sock" in done.stdout.decode(), done.stdout
        assert "publish to" in done.stdout.decode() and "news.*" in done.stdout.decode(), done.stdout


run(globals(), limit=60)
