# SPDX-License-Identifier: MIT
"""Who is not let in to `ringcast app`: the log says who and why and cannot be filled, a page hears it in a Close, and the
opened refusal is no way around a limit. Logins that fail have a bound."""
import time

from app import SECRET, SLOW, App, equal, poll, token, until
from harness import Raw, needs_pace, run


def refused(server, path="/ws", **headers):
    """How a handshake ended: its status, or the code and words of the Close that it was opened for."""
    with Raw(server) as raw:
        raw.send(raw.request(path, **headers))
        status, _, _ = raw.response()
        if status != 101:
            return status
        return close_of(raw)


def close_of(raw):
    head = raw.take(2)
    equal(head[0], 0x88, "nothing but a Close comes")
    payload = raw.take(head[1])
    return int.from_bytes(payload[:2], "big"), payload[2:].decode()


def lines(server, words):
    return [line for line in list(server.errors) if words in line]


def test_the_log_says_who_and_why():
    with App("--token-secret", SECRET, "--connections-per-user", "1", limits=True) as server:
        good = token(sub="alice")
        held = server.client("/ws?token=" + good)
        for path, headers, status, words in (
                ("/ws?token=nonsense", {}, 401, "the token is refused"), ("/ws?token=" + good, {}, 429, "this user has too many connections"),
                ("/ws/bob?token=" + token(sub="carol"), {}, 403, "the token is another user's"),
                ("/ws", {"Origin": "https://elsewhere.example"}, 403, "this origin is not allowed"),
                ("/ws/a%01b", {}, 400, "a user's name has no control characters")):
            equal(refused(server, path, **headers), status, path)
            until(lambda words=words: lines(server, words), words)
            line = lines(server, words)[0]
            assert "refused" in line and "127.0.0.1" in line and str(status) in line, line
            assert good not in line and "nonsense" not in line, f"no token is in the log: {line}"
        held.close()
    with App("--connections-per-address", "1") as server:
        held = server.client()
        equal(refused(server), 429)
        until(lambda: lines(server, "127.0.0.1 /ws: 429 too many connections from this address"), "a line")
        held.close()


def test_nobody_fills_the_log():
    with App("--token-secret", SECRET, "--login-failures", "0", "--log-rate", "0") as server:
        for _ in range(300):
            equal(refused(server, "/ws?token=x"), 401)
        assert len(lines(server, "refused")) < 20, len(lines(server, "refused"))
        until(lambda: lines(server, "more were refused"), "the count of the others", limit=30)
        count = int(lines(server, "more were refused")[0].split(" more were")[0].split()[-1])
        assert count > 250, count


def test_a_page_hears_why():
    with App("--token-secret", SECRET, "--connections-per-user", "1") as server:
        held = server.client("/ws?token=" + token(sub="alice"))
        for path, headers, code, words in (
                ("/ws?refusals=1&token=x", {}, 3401, "the token is refused: "),
                ("/ws/bob?refusals=1&token=" + token(sub="carol"), {}, 3403, "the token is another user's"),
                ("/ws?refusals=1", {"Origin": "https://elsewhere.example"}, 3403, "this origin is not allowed"),
                ("/ws?refusals=1&token=" + token(sub="alice"), {}, 3429, "this user has too many connections"),
                ("/ws/a%01b?refusals=1", {}, 1008, "a user's name has no control characters")):
            got = refused(server, path, **headers)
            assert got[0] == code and got[1].startswith(words), (path, got)
        # The subprotocol is chosen: some clients end a handshake without it before they read the Close.
        with Raw(server) as raw:
            raw.send(raw.request("/ws?refusals=1&token=x", Sec_WebSocket_Protocol="ringcast.json"))
            equal(raw.response()[1].get("sec-websocket-protocol"), "ringcast.json")
        equal(refused(server, "/ws?token=x"), 401, "who does not ask for it gets the status")
        equal(refused(server, "/elsewhere?refusals=1"), 404, "and so does who is wrong here")
        held.close()
        figures = server.figures()
        assert figures["rejected"] >= 6 and figures["connectedClients"] <= 1, figures
    with App("--token-secret", SECRET, "--refuse-open") as server:
        equal(refused(server, "/ws?token=x")[0], 3401)


def test_it_is_over_whatever_the_peer_does():
    """Who never closes is gone after two seconds, held nothing meanwhile, and counts like any that is refused."""
    with App("--token-secret", SECRET, "--login-failures", "0") as server:
        raws = []
        for _ in range(20):
            raw = Raw(server)
            raw.send(raw.request("/ws?refusals=1&token=x"))
            raw.response()
            raws.append(raw)
        equal(server.figures()["connectedClients"], 0)
        equal(server.stats()["subscriptions"], 0)
        for raw in raws:
            try:
                raw.send(b"\x81\x80abcd" * 100)  # it goes on talking, and nobody answers
            except OSError:
                pass
        until(lambda: server.stats()["connections"] <= 1, "all are gone", limit=8)
        for raw in raws:
            close_of(raw)
            assert raw.at_end(), "nothing came behind the Close"
    with App("--token-secret", SECRET, "--connections-per-address", "5", "--login-failures", "0", limits=True) as server:
        raws, count = [], 0
        for _ in range(60):
            try:
                raw = Raw(server, limit=2)
                raw.send(raw.request("/ws?refusals=1&token=x"))
                raw.response()
                raws.append(raw)
                count += 1
            except (EOFError, OSError):
                pass
        assert count <= 30, f"{count} opened refusals at a time for an address that may have 5"


def test_failed_logins_have_a_bound():
    needs_pace()
    with App("--token-secret", SECRET, "--login-failures", "5", "--auth-timeout", "200ms") as server:
        waiting = [server.client() for _ in range(2)]  # time-outs count
        for client in waiting:
            client.expect_close(1008)
        for _ in range(3):
            equal(refused(server, "/ws?token=x"), 401)
        good = token(sub="a")
        equal(refused(server, "/ws?token=" + good), 429, "the right token is not looked at any more")
        equal(refused(server, "/ws?refusals=1&token=" + good), (3429, "too many failed logins from this address"))
        equal(poll(server, "a?token=" + good)[0], 429)
        equal(server.figures()["loginFailures"], 5)
        until(lambda: lines(server, "401 no token came in time"), "a line about the time-out")
    with App("--token-secret", SECRET, "--login-failures", "3") as server:
        client = server.client()
        for _ in range(3):
            client.say("auth", token="x").expect_error("AUTH_FAILED")
        client.say("auth", token=token(sub="a")).expect_error("AUTH_FAILED")
        client.expect_close(3429)
    with App("--token-secret", SECRET, "--login-failures", "60") as server:  # one flows back each second
        for _ in range(60):
            refused(server, "/ws?token=x")
        equal(refused(server, "/ws?token=" + token(sub="a")), 429)
        time.sleep(2 * SLOW)
        server.client("/ws?token=" + token(sub="a")).close()


run(globals())
