# SPDX-License-Identifier: MIT
"""Each program of tools/examples does what its first lines say. `make test` builds them; where one is not built, its test
skips."""
import glob
import json
import os
import subprocess
import time

from harness import BINARY, BUILD, SLOW, TEXT, TOP, Raw, Server, Skip, die_with_parent, equal, run, until

LINES_MAX = 120
SECRET = "a secret of the test's own"


class Example(Server):
    """A program of tools/examples on a free port, ended by SIGTERM; its exit status must be 0."""

    def __init__(self, name, *before, after=(), environment=None):
        self._launch(["env", *(f"{key}={value}" for key, value in (environment or {}).items()), built(name), *before,
                      "127.0.0.1:0", *after])


def built(name):
    program = os.path.join(BUILD, "examples", name)
    if not os.path.exists(program):
        raise Skip(f"examples/{name} is not built")
    return program


def receive_json(raw):
    return json.loads(raw.receive_text())


def test_size():
    """A reader takes one in at a sitting."""
    for path in glob.glob(os.path.join(TOP, "tools/examples/*.c")):
        with open(path, encoding="utf-8") as file:
            count = len(file.readlines())
        assert count < LINES_MAX, f"{path}: {count} lines"


def test_they_are_described():
    with open(os.path.join(TOP, "tools/examples/README.md"), encoding="utf-8") as file:
        text = file.read()
    for path in glob.glob(os.path.join(TOP, "tools/examples/*.c")):
        name = os.path.basename(path)[:-2]
        assert f"## {name}" in text, f"README.md does not describe {name}"


def test_wrong_address():
    """Each of them says in one line what is wrong, and ends with 1."""
    # What a program has when it gives up at its start goes with it: that is no leak.
    leaks = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    for path in sorted(glob.glob(os.path.join(BUILD, "examples", "*"))):
        if not os.path.isfile(path):
            continue
        before = {"bridge": ["ws://127.0.0.1:1/"]}.get(os.path.basename(path), [])
        done = subprocess.run([path, *before, "nonsense"], capture_output=True, text=True, timeout=10 * SLOW,
                              preexec_fn=die_with_parent, env=dict(os.environ, TOKENS_KEY=SECRET, ASAN_OPTIONS=leaks), check=False)
        name = os.path.basename(path)
        equal(done.returncode, 1, name)
        assert done.stderr.startswith(name + ": ") and done.stderr.count("\n") == 1, done.stderr


def test_market_data_last_values():
    """The status was published once; the log has been written over several times since, and it still comes first."""
    with Example("market_data") as example:
        time.sleep(3)
        with Raw(example).open("/quotes/EURUSD,USDJPY") as raw:
            first = [receive_json(raw) for _ in range(3)]
            assert {"market": "open"} in first, first
            seen = {receive_json(raw)["pair"] for _ in range(50)}
            equal(seen, {"EURUSD", "USDJPY"})


def test_market_data_conflation():
    """Who reads nothing for a while then gets what is new, with a gap where the old quotes were; who reads all along misses
    none."""
    with Example("market_data") as example:
        with Raw(example).open("/quotes/EURUSD") as quick, Raw(example, receive_buffer=4096).open("/quotes") as slow:
            numbers = []
            end = time.monotonic() + 3
            while time.monotonic() < end or len(numbers) < 500:
                quote = receive_json(quick)
                if "number" in quote:
                    numbers.append(quote["number"])
            equal(numbers, list(range(numbers[0], numbers[0] + len(numbers))), "a quick reader's numbers")

            newest, gap, last = numbers[-1], 0, {}
            while not last or min(last.values()) < newest:
                quote = receive_json(slow)
                if "number" in quote:
                    before = last.get(quote["pair"], quote["number"] - 1)
                    assert quote["number"] > before, "an old quote came after a newer one"
                    gap = max(gap, quote["number"] - before)
                    last[quote["pair"]] = quote["number"]
            assert gap > 100, f"the slow reader was sent everything: gap {gap}"
        example.stop()
        conflated = int(example.lines[-1].split(" deliveries, ")[1].split()[0])
        assert conflated > 100, example.lines[-1]


def test_market_data_unknown():
    with Example("market_data") as example:
        equal(example.get("/quotes")[0], 404)
        with Raw(example) as raw:
            raw.send(raw.request("/quotes/XXXYYY"))
            equal(raw.response()[0], 404)


def token(name, seconds, key=SECRET):
    done = subprocess.run([built("tokens"), name, str(seconds)], env=dict(os.environ, TOKENS_KEY=key), capture_output=True,
                          text=True, timeout=10 * SLOW, check=True)
    return done.stdout.strip()


def test_tokens():
    """Both ways to bring a token; what is said bears the token's name."""
    with Example("tokens", environment={"TOKENS_KEY": SECRET}) as example:
        with Raw(example).open("/?token=" + token("ann", 60)) as ann, \
                Raw(example).open("/", Authorization="Bearer " + token("bob", 60)) as bob:
            ann.text("hello")
            equal(ann.receive_text(), "ann: hello")
            equal(bob.receive_text(), "ann: hello")
            bob.text("x" * 1000)
            equal(ann.receive_text(), "bob: " + "x" * 1000)
            bob.text("x" * 1001)
            bob.receive()
            bob.expect_close(1009)


def test_tokens_refused():
    """401 with words for each token that is none, and nobody gets in."""
    good = token("ann", 60)
    name, expiry, signature = good.split(".")
    wrong = {
        "": "missing",
        "nonsense": "no token",
        "." + signature: "signature is wrong",
        f"bob.{expiry}.{signature}": "signature is wrong",
        f"{name}.{int(expiry) + 1}.{signature}": "signature is wrong",
        f"{name}.{expiry}.{signature[:-1]}": "no token",
        f"{name}.{expiry}." + "0" * 64: "signature is wrong",
        token("ann", 60, key="another"): "signature is wrong",
        token("ann", -1): "expired",
    }
    with Example("tokens", environment={"TOKENS_KEY": SECRET}) as example:
        for text, words in wrong.items():
            with Raw(example) as raw:
                raw.send(raw.request("/", **({"Authorization": "Bearer " + text} if text else {})))
                status, headers, body = raw.response()
                equal((status, headers.get("www-authenticate")), (401, "Bearer"), text)
                assert words in body.decode(), (text, body)
        Raw(example).open("/", Authorization="Bearer " + good).close()


def test_tokens_without_a_key():
    done = subprocess.run([built("tokens")], env={}, capture_output=True, text=True, timeout=10 * SLOW, check=False)
    equal(done.returncode, 1)
    assert "TOKENS_KEY" in done.stderr, done.stderr


def test_game():
    """Twenty states a second, none left out; each player's own; and a course is kept until the next word."""
    with Example("game") as example:
        with Raw(example).open("/") as one, Raw(example).open("/") as two:
            begin, states = time.monotonic(), [receive_json(one) for _ in range(41)]
            took = time.monotonic() - begin
            assert 1.9 < took < 2.2 * SLOW, f"40 ticks took {took:.2f} s"
            ticks = [state["tick"] for state in states]
            equal(ticks, list(range(ticks[0], ticks[0] + 41)))
            equal(states[-1]["you"], [0, 0])
            equal(states[-1]["near"], [[4, 0]], "what the first player sees of the second")
            equal({tuple(receive_json(two)["you"]) for _ in range(20)}, {(4, 0)})

            two.text("down")
            until(lambda: receive_json(two)["you"] == [4, 5], "the second player going down")
            two.text("left")
            until(lambda: receive_json(two)["you"][0] == 63, "the second player beyond the edge")
            two.text("stop")
            places = [receive_json(two)["you"] for _ in range(20)]
            equal(places[-1], places[-5], "where it stopped")
        until(lambda: len(set(example_room(example))) == 1, "the first places free again")


def example_room(example):
    """Two players after one another: where each begins."""
    for _ in range(2):
        with Raw(example).open("/") as raw:
            yield tuple(receive_json(raw)["you"])
            raw.close()


def test_game_full():
    with Example("game") as example:
        players = [Raw(example).open("/") for _ in range(16)]
        with Raw(example) as late:
            late.send(late.request("/"))
            equal(late.response()[0], 503)
        states = [receive_json(player) for player in players]
        equal(len({tuple(state["you"]) for state in states}), 16)
        for player in players:
            player.close()


def upstream_on(port=0):
    """A server that the bridge follows."""
    return Server("--echo", listen=(f"127.0.0.1:{port}",))


def await_status(raw, beginning):
    return until(lambda: (text := raw.receive_text()).startswith(beginning) and text, beginning)


def test_bridge():
    """What the upstream says reaches each reader, binary messages too. It goes away and comes back: readers stay, and are
    told."""
    upstream = upstream_on()
    with Example("bridge", upstream.url + "/topic/ticks") as example, Raw(example).open("/") as one, \
            Raw(example).open("/") as two:
        for reader in (one, two):
            await_status(reader, "upstream: open")
        with upstream.connect("/publish/ticks") as publisher:
            publisher.text("first")
            publisher.binary(b"\0\xff")
            for reader in (one, two):
                equal(reader.receive(), (TEXT, b"first"))
                equal(reader.receive(), (BINARY, b"\0\xff"))
        upstream.kill()
        await_status(one, "upstream: closed with 1006")
        with Raw(example).open("/") as late:
            await_status(late, "upstream: closed")
        with upstream_on(upstream.port) as again:
            for reader in (one, two):
                await_status(reader, "upstream: open")
            with again.connect("/publish/ticks") as publisher:
                publisher.text("second")
                for reader in (one, two):
                    equal(reader.receive_text(), "second")


def test_bridge_greeting():
    """What exchanges call a subscription is sent each time that the upstream opens."""
    upstream = upstream_on()
    with Example("bridge", upstream.url + "/echo", after=['{"op":"subscribe"}']) as example, Raw(example).open("/") as reader:
        await_status(reader, "upstream: open")
        upstream.kill()
        await_status(reader, "upstream: closed")
        with upstream_on(upstream.port):
            await_status(reader, "upstream: open")
            equal(reader.receive_text(), '{"op":"subscribe"}')


def test_bridge_wrong_url():
    done = subprocess.run([built("bridge"), "http://127.0.0.1:1/", "127.0.0.1:0"], capture_output=True, text=True,
                          timeout=10 * SLOW, preexec_fn=die_with_parent, check=False)
    equal((done.returncode, done.stdout), (1, ""))
    assert done.stderr.startswith("bridge: http://127.0.0.1:1/: "), done.stderr


def test_uv():
    """The worker has no thread; timers, messages and the end all come by the loop's one."""
    with Example("uv") as example:
        equal(len(os.listdir(f"/proc/{example.pid}/task")), 1, "threads")
        with Raw(example).open("/") as one, Raw(example).open("/") as two:
            until(lambda: receive_json(one)["clients"] == 2, "two clients in the clock's message")
            clock = [receive_json(one)["ms"] for _ in range(11)]
            assert 900 < clock[-1] - clock[0] < 1100 + 2000 * (SLOW - 1), clock
            two.text("to and fro")
            until(lambda: two.receive_text() == "to and fro", "the echo")
            two.close()
            until(lambda: receive_json(one)["clients"] == 1, "one client in the clock's message")
            for size in (100000, 1000000):
                one.text("x" * size)
                until(lambda: len(one.receive_text()) == size, "a long echo")


def test_uv_ends():
    """SIGTERM tells the clients, and the loop ends when they have gone."""
    with Example("uv") as example:
        with Raw(example).open("/") as raw:
            raw.receive_text()
            example.process.terminate()
            raw.expect_close(1001)
        example.stop()


run(globals(), limit=30)
