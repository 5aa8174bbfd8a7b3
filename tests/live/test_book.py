# SPDX-License-Identifier: MIT
"""`ringcast book`: short runs, plain and hostile, made up and recorded, and what it says of a wrong command line; keyed
recordings by `ringcast replay --keys`, and `ringcast sub --state --verify` with our server and with one that loses."""
import base64
import hashlib
import json
import os
import random
import re
import socket
import subprocess
import tempfile
import threading

from harness import GUID, PROGRAM, SANITIZED, SLOW, TOP, Server, Skip, command, die_with_parent, equal, frame, needs_pace, run, until

UPDATES, READERS, RATE = ("4000", "20", "1000") if SANITIZED else ("20000", "50", "5000")


def book(*arguments, status=0, limit=40):
    """What a run came to, by name."""
    done = command("book", "--quiet", *arguments, limit=limit)
    equal(done.returncode, status, f"book's exit status; it said {(done.stdout + done.stderr)[-1500:]!r}")
    lines = (re.fullmatch(r"(.*\S) +(\d+)", line) for line in done.stdout.decode().splitlines())
    return {match[1]: int(match[2]) for match in lines if match}


def expect_proven(sums, readers):
    for name in ("checksums wrong", "silent gaps", "malformed messages", "connections closed by the server"):
        equal(sums[name], 0, name)
    equal(sums["readers right at the end"], readers)
    assert sums["checksums compared"] > readers, sums


def test_steady_readers():
    sums = book("--updates", UPDATES, "--readers", READERS, "--books", "5")
    expect_proven(sums, int(READERS))
    equal(sums["updates published"], int(UPDATES))
    equal((sums["gaps told"], sums["server killed"], sums["stalls"], sums["breaks"]), (0, 0, 0, 0))


def test_hostile_readers():
    """They stall, break off, read slowly and ask for few updates, and the server is killed twice."""
    needs_pace()
    sums = book("--updates", UPDATES, "--readers", READERS, "--books", "5", "--rate", RATE, "--log-size", "256k",
                "--hostile", "--kills", "2")
    expect_proven(sums, int(READERS))
    equal((sums["server killed"], sums["gaps told"]), (2, 0))
    assert sums["states begun"] > 2 * int(READERS), sums
    assert sums["stalls"] and sums["breaks"] and sums["conflations told"], sums


RECORDED = {
    "coinbase": [{"type": "snapshot", "product_id": "A-B", "bids": [["1.01", "5"]], "asks": [["1.02", "3"], ["1.03", "1"]]},
                 {"type": "l2update", "product_id": "A-B", "changes": [["buy", "1.00", "2.5"], ["sell", "1.02", "0"]]},
                 {"type": "ticker", "product_id": "A-B"},
                 {"type": "snapshot", "product_id": "A-B", "bids": [["0.99", "5"]], "asks": [["1.03", "3"]]}],
    "binance": [{"e": "depthUpdate", "s": "XY", "b": [["10", "1"]], "a": [["11", "2"]]},
                {"e": "depthUpdate", "s": "XY", "b": [["10", "0"]], "a": []}],
}


def record(directory, name, lines):
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
    return path


def test_recordings_of_two_exchanges():
    with tempfile.TemporaryDirectory() as directory:
        for name, messages in RECORDED.items():
            path = record(directory, name, [f"0\tt\t{json.dumps(message)}" for message in messages])
            sums = book("--replay", path, "--readers", "5")
            # Of the first: 3 levels, 2 changes, then 3 that the second snapshot takes away, and its own 2.
            equal((sums["books"], sums["updates published"]), (1, 10 if name == "coinbase" else 3))
            equal(sums["readers right at the end"], 5)


def test_real_recordings():
    directory = os.path.join(TOP, "..", "shared", "data", "market")
    if not os.path.isdir(directory):
        raise Skip("no recordings in ../shared/data/market")
    for name, rate in (("coinbase.tsv", "20000"), ("binance.tsv", "0")):
        sums = book("--replay", os.path.join(directory, name), "--readers", READERS, "--rate", rate)
        expect_proven(sums, int(READERS))


def test_what_is_wrong_is_said():
    with tempfile.TemporaryDirectory() as directory:
        bad = record(directory, "bad", ['0\tt\t{"e":"depthUpdate","s":"XY","b":[[1,2]]}'])
        none = record(directory, "none", ['0\tt\t{"type":"ticker"}'])
        for words, status, *arguments in (("bad:1: a level is not", 1, "--replay", bad),
                                          ("there are no level-2 updates", 1, "--replay", none),
                                          ("No such file", 1, "--replay", os.path.join(directory, "gone")),
                                          ("--readers: 1 to", 2, "--readers", "0"),
                                          ("--books: 1 to 1000", 2, "--books", "1001"),
                                          ("is no option", 2, "more"),
                                          ("--kills has no effect without --hostile", 2, "--kills", "1"),
                                          ("beside --serve", 2, "--serve", "127.0.0.1:0", "--hostile"),
                                          ("is not an address to listen on", 1, "--serve", "nowhere")):
            done = command("book", *arguments)
            equal(done.returncode, status, f"{arguments}: {done.stderr!r}")
            assert words in done.stderr.decode(), (words, done.stderr)


# ---- replay and sub ----

def keyed_recording(random_state):
    """Lines with keys, and the state that they lead to."""
    lines, state = [], {}
    for number in range(400):
        key = f"key {random_state.randrange(20)}"
        if random_state.random() < 0.2:
            lines.append(f"{number / 1000}\tlevels\t\t{key}")
            state.pop(key, None)
        else:
            payload = random_state.choice((json.dumps({"n": number}), f'"text\t{number}"', f"plain {number}"))
            lines.append(f"{number / 1000}\tlevels\t{payload}\t{key}")
            state[key] = payload
    lines.append("0.5\tlevels\tlast\tthe end")
    state["the end"] = "last"
    return lines, state


def table(state):
    return "".join(f"{key}\t{state[key]}\n" for key in sorted(state)).encode()


def test_replay_with_keys_and_a_state_kept():
    """Who was there from the beginning and who comes late end with the same table, byte for byte."""
    seed = random.randrange(1 << 30)
    print(f"# seed {seed}", flush=True)
    lines, state = keyed_recording(random.Random(seed))
    with tempfile.TemporaryDirectory() as directory, Server() as server:
        path, url = record(directory, "keyed.tsv", lines), server.url + "/topic/levels"
        early = subprocess.Popen([PROGRAM, "sub", "--state", "--verify", "--table", "--count", str(len(lines)), url],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=die_with_parent)
        until(lambda: server.stats()["subscriptions"] == 1, "the subscription")
        done = command("replay", path, "--keys", "--to", server.url, "--speed", "0")
        equal(done.returncode, 0, done.stderr)
        out, err = early.communicate(timeout=15 * SLOW)
        equal((early.returncode, out), (0, table(state)), err)
        assert f"{len(state)} keys, whole, at {len(lines)} of epoch".encode() in err, err
        until(lambda: server.stats()["subscriptions"] == 0, "the end of the first")
        done = command("sub", "--state", "--verify", "--table", "--count", str(len(state)), url)
        equal((done.returncode, done.stdout), (0, table(state)), done.stderr)
        done = command("sub", "--state", "--count", "1", url)
        first, second = [json.loads(line) for line in done.stdout.splitlines()]
        equal((first["m"], first["s"], second["t"]), ("state", len(lines), "levels"))


def test_bad_keys():
    with tempfile.TemporaryDirectory() as directory, Server() as server:
        path = record(directory, "bad.tsv", ["0\tt\tgood\tkey", "0\tt\tbad\t" + "k" * 65])
        done = command("replay", path, "--keys", "--to", server.url, "--speed", "0")
        equal(done.returncode, 1)
        assert b"bad.tsv:2: the key has more than 64 bytes" in done.stderr, done.stderr


def lossy(listener, messages):
    """One connection of a server that sends what it is told, and closes."""
    peer = listener.accept()[0]
    head = b""
    while b"\r\n\r\n" not in head:
        head += peer.recv(4096)
    key = re.search(rb"Sec-WebSocket-Key: (\S+)", head)[1]
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
    peer.sendall(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
    for message in messages:
        text = json.dumps(message).encode()
        peer.sendall(bytes([0x81, len(text)]) + text)
    peer.sendall(b"\x88\x02\x03\xe8")
    peer.recv(4096)
    peer.close()
    listener.request = head.split()[1].decode()


def test_a_server_that_loses_is_found_out():
    def update(sequence, previous, **more):
        return {"t": "T", "s": sequence, "e": 7, "p": previous, "k": "a", "d": sequence, **more}

    mark = {"m": "state", "t": "T", "s": 1, "e": 7}
    good = [mark, update(1, 0), update(2, 1), update(9, 2)]
    for messages, status, words in (
            (good, 0, "1 keys, whole, at 9 of epoch 7, 0 messages missing"),
            ([*good, update(12, 10)], 1, "1 messages are missing so far, the latest before 12 of epoch 7"),
            ([*good, {"m": "heartbeat", "t": "T", "s": 11, "e": 7}], 1, "2 messages are missing so far"),
            ([*good, update(1, 0, e=8)], 1, "are missing so far, the latest before 1 of epoch 8"),
            ([*good, {"m": "resync", "t": "T", "s": 20, "e": 7}, update(20, 19)], 0, "overrun; the state begins anew at 20"),
            ([{"x": 1}], 1, "not of the form json")):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            class Listening:
                accept, request = listener.accept, None
            thread = threading.Thread(target=lossy, args=(Listening, messages), daemon=True)
            thread.start()
            done = command("sub", "--state", "--verify", f"ws://127.0.0.1:{listener.getsockname()[1]}/topic/T?rate=5")
            equal(done.returncode, status, f"{messages[-1]}: {done.stderr!r}")
            assert words in done.stderr.decode(), (words, done.stderr)
            thread.join()
            equal(Listening.request, "/topic/T?rate=5&form=json&state=1")
    done = command("sub", "--table", "ws://127.0.0.1:1/")
    equal(done.returncode, 2)
    assert b"--table has no effect without --state" in done.stderr, done.stderr


run(globals(), limit=60)
