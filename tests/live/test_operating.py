# SPDX-License-Identifier: MIT
"""What an operator sees of `serve` and `app`: the listener of his own, health, reloads, logs, certificates, profiles. And
what those see who are no operators."""
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import tempfile
import time

from app import SECRET, App, Client
from harness import SLOW, Raw, Server, besides_the_ring, command, equal, run, until
from scratch import at, write

KEY, OTHER = "operator-key-0123456789", "another-key-0123456789"
PATHS = ("/metrics", "/stats", "/profile?seconds=1")


def openssl(*words):
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def pair(name, days=90, kind=("ec", "-pkeyopt", "ec_paramgen_curve:P-256")):
    """A certificate that signed itself, and its key. Those that ended lately ended a day ago."""
    path, key = at(name + ".pem"), at(name + ".key")
    openssl("req", "-new", "-newkey", *kind, "-nodes", "-subj", "/CN=localhost", "-keyout", key, "-out", path + ".csr")
    openssl("x509", "-req", "-in", path + ".csr", "-signkey", key, "-days", str(days), "-out", path)
    return path, key


def ask(target, path, headers="", host="localhost", tls=False):
    """Status and body of a GET on a connection of its own."""
    with Raw(target) as raw:
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            raw.socket = context.wrap_socket(raw.socket)
        raw.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n".encode())
        status, _, body = raw.response()
        return status, body.decode()


def port_of(url):
    return "127.0.0.1", int(re.search(r":(\d+)$", url).group(1))


def said(server, words, count=1):
    return until(lambda: sum(words in line for line in list(server.errors)) >= count, words)


# ---------------------------------------------------------------------------------------------- the listener for operators --

def test_admin_listener():
    """Figures are read there and nowhere else; whether the server is well can be asked everywhere."""
    for kind in (Server, App):
        with kind("--admin-listen", "127.0.0.1:0", "--admin-listen", "unix:" + at("admin")) as server:
            until(lambda: len(server.urls()) == 3, "three listeners")
            clients, admin = port_of(server.url), port_of(server.urls()[1])
            assert sum("(admin)" in line for line in server.lines) == 2, server.lines
            for path in PATHS:
                equal(ask(clients, path)[0], 404, path)
            for where in (admin, at("admin")):
                equal([ask(where, path)[0] for path in PATHS[:2]], [200, 200])
                equal([ask(where, path) for path in ("/healthz", "/readyz")], [(200, "ok\n"), (200, "ready\n")])
            equal([ask(clients, path) for path in ("/healthz", "/readyz")], [(200, "ok\n"), (200, "ready\n")])
            # It is no place for clients, and neither a page of another site nor a proxy is this machine.
            for path in ("/topic/a", "/publish/a", "/ws", "/ws/a"):
                with Raw(admin) as raw:
                    raw.send(raw.request(path))
                    equal(raw.response()[0], 404, path)
            for headers in ("Origin: https://evil.example\r\n", "X-Forwarded-For: 1.2.3.4\r\n"):
                equal({ask(admin, path, headers)[0] for path in PATHS}, {401}, headers)
            equal(ask(admin, "/metrics", host="evil.example")[0], 401, "a name that somebody pointed here")


def test_admin_listener_with_key_and_tls():
    path, key = pair("tls")
    keys, tls = write("keys", KEY + "\n"), ("--tls-cert", path, "--tls-key", key, "--admin-listen", "wss://0.0.0.0:0")
    for kind in (Server, App):
        with kind("--operator-key-file", keys, *tls) as server:
            until(lambda: len(server.urls()) == 2, "two listeners")
            admin = port_of(server.urls()[1])
            for headers, status in (("", 401), ("X-API-Key: nope\r\n", 401), (f"X-API-Key: {KEY}0\r\n", 401),
                                    (f"Authorization: Bearer {KEY}\r\n", 200)):
                equal([ask(admin, path, headers, tls=True)[0] for path in PATHS[:2]], [status] * 2, headers)
            equal(ask(admin, PATHS[2], tls=True)[0], 401)
            equal(ask(admin, "/readyz", tls=True), (200, "ready\n"))


def test_admin_listener_without_key():
    """From outside nobody reads figures because somebody forgot a key."""
    for verb, status in (("serve", 2), ("app", 1)):
        for address in ("0.0.0.0:0", ":0", "[::]:0", "proxy+0.0.0.0:0"):
            done = command(verb, "--listen", "127.0.0.1:0", "--admin-listen", address)
            equal(done.returncode, status, done.stderr)
            for words in (address, "can be reached from other machines", "operator-key-file", "admin-open"):
                assert words in done.stderr.decode(), done.stderr
    for kind in (Server, App):
        with kind("--admin-listen", "0.0.0.0:0", "--admin-open") as server:
            until(lambda: len(server.urls()) == 2, "two listeners")
            admin = port_of(server.urls()[1])
            equal(ask(admin, "/metrics", host="evil.example")[0], 200, "it was said so")
            equal(ask(server, "/metrics")[0], 404)
            if kind is App:
                equal(ask(admin, "/api/rooms", host="evil.example")[0], 401, "that is more than figures")


def test_profile():
    with Server("--demo", "--speed", "50", workers=1) as server:
        equal(ask(server, "/profile"), (404, "begin one: /profile?seconds=10\n"))
        for wrong in ("0", "61", "-1", "1x", ""):
            equal(ask(server, "/profile?seconds=" + wrong)[0], 400, wrong)
        equal(ask(server, "/profile?seconds=1")[0], 202)
        equal([ask(server, path)[0] for path in ("/profile?seconds=1", "/profile")], [503, 503])
        reader = Raw(server).open("/topic/market")
        time.sleep(1.2)
        with Raw(server) as raw:
            raw.send(b"GET /profile HTTP/1.1\r\nHost: localhost\r\n\r\n")
            status, _, body = raw.response()
        equal(status, 200)
        equal(body[:40], b"".join(word.to_bytes(8, "little") for word in (0, 3, 0, 10000, 0)))
        assert b"ringcast\n" in body and b" r-xp " in body, body[-300:]
        # Where things lie in memory is not told.
        with open(f"/proc/{server.pid}/maps", encoding="ascii") as maps:
            for line in maps:
                assert line.split("-")[0].encode() not in body, line
        assert reader.receive_text(), "it goes on"


# -------------------------------------------------------------------------------------------------------------- health --

def test_ready_until_it_drains():
    for kind in (Server, App):
        server = kind("--drain-delay", "30s")
        equal(ask(server, "/readyz"), (200, "ready\n"))
        server.process.send_signal(signal.SIGTERM)
        until(lambda: ask(server, "/readyz")[0] == 503, "that it is not ready any more")
        equal(ask(server, "/readyz"), (503, "not ready: draining\n"))
        equal(ask(server, "/healthz"), (200, "ok\n"), "it lives all the same")
        assert "ringcast_ready 0" in ask(server, "/metrics")[1]
        client = Raw(server).open("/topic/a" if kind is Server else "/ws/a")
        server.stop()  # a second signal
        client.receive()
        said(server, "not ready any more") if kind is Server else None


def test_ready_while_its_workers_go_round():
    """A worker that stands still is told of by another. Here one thread of two is stopped by its debugger."""
    with Server(workers=2) as server:
        newest = max(int(task) for task in os.listdir(f"/proc/{server.pid}/task"))  # workers are made last
        tracer = subprocess.Popen(["/usr/bin/python3", "-c", (
            "import ctypes, sys, os, time\n"
            "libc = ctypes.CDLL(None, use_errno=True)\n"
            "task = int(sys.argv[1])\n"
            "libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]\n"
            "ok = libc.ptrace(0x4206, task, None, None) == 0 and libc.ptrace(0x4207, task, None, None) == 0\n"
            "print('stopped' if ok else 'no', flush=True)\n"
            "sys.stdin.read()\n"), str(newest)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            if tracer.stdout.readline().strip() != "stopped":
                tracer.kill()
                return  # threads may not be stopped here
            states = set()

            def answers():
                try:
                    with Raw(server, limit=1) as raw:
                        raw.send(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                        status, _, body = raw.response()
                except OSError:
                    return False  # it was for the one that stands still
                states.add((status, body))
                return status == 503

            until(answers, "a worker that stands still", limit=20)
            assert any(re.fullmatch(rb"not ready: worker \d+ does not go round\n", body) for status, body in states), states
        finally:
            tracer.stdin.close()
            tracer.wait(10)
        until(lambda: ask(server, "/readyz")[0] == 200, "that it goes round again")


# ------------------------------------------------------------------------------------------------------------- reloads --

def notified(directory):
    one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    path = os.path.join(directory, "notify")
    one.bind(path)
    one.settimeout(10 * SLOW)
    os.environ["NOTIFY_SOCKET"] = path
    return one


def test_serve_reloads():
    """Each part says for itself what became of it, in the log and to the service manager."""
    path, key = pair("reload")
    with tempfile.TemporaryDirectory() as directory, notified(directory) as service:
        try:
            keys, access = write("reload-keys", KEY + "\n"), at("reload-access")
            server = Server("--tls-cert", path, "--tls-key", key, "--operator-key-file", keys, "--access-log", access)
        finally:
            del os.environ["NOTIFY_SOCKET"]
        with server:
            equal(service.recv(400), b"READY=1\nSTATUS=serving on 1 listeners")

            def reload(*parts):
                server.process.send_signal(signal.SIGHUP)
                assert service.recv(400).startswith(b"RELOADING=1\nMONOTONIC_USEC="), "reloading"
                told = service.recv(400).decode()
                assert told.startswith("READY=1\nSTATUS="), told
                for part in parts:
                    assert part in told, f"{part!r} is not in {told!r}"
                return told

            def shown(what, key=KEY):
                return dict(line.rsplit(" ", 1) for line in ask(server, "/metrics", f"X-API-Key: {key}\r\n")[1].splitlines()
                            if not line.startswith("#"))[what]

            equal(shown("ringcast_last_reload_timestamp_seconds"), "0")
            os.rename(access, access + ".1")
            write("reload-keys", OTHER + "\n" + KEY + "x\n")
            told = reload("reloaded at ", "certificates taken", "keys of operators taken", "access log taken")
            assert "refused" not in told, told
            said(server, "keys of operators: taken: there are 2 now")
            equal(ask(server, "/metrics", f"X-API-Key: {KEY}\r\n")[0], 401, "the key is gone")
            equal(shown("ringcast_last_reload_successful", OTHER), "1")
            with open(access, encoding="utf-8") as log, open(access + ".1", encoding="utf-8") as old:
                assert "/metrics" in log.read() and "/metrics" in old.read(), "a new file for what came after"
            write("reload.pem", "nonsense")
            write("reload-keys", "short\n")
            reload("reloaded in part at ", "certificates refused", "keys of operators refused", "access log taken")
            said(server, "the certificates in use stay")
            said(server, "keys of operators: refused: the old ones stay")
            said(server, "a key has at least 16 bytes")
            equal(shown("ringcast_last_reload_successful", OTHER), "0")
            equal(shown('ringcast_reloads_total{result="refused"}', OTHER), "1")
            assert abs(int(shown("ringcast_last_reload_timestamp_seconds", OTHER)) - time.time()) < 60
        equal(service.recv(400), b"STOPPING=1\nSTATUS=draining")


def test_serve_survives_a_hangup():
    with Server("--relay") as server:
        client = server.connect("/relay/a")
        server.process.send_signal(signal.SIGHUP)
        said(server, "flags change only with a restart")
        client.text("still here")
        equal(client.receive_text(), "still here")


def test_app_reloads():
    """What was taken, what waits for a restart for as long as it does, and what was refused and why."""
    path, key = pair("app-reload")
    settings = f"tls-cert = {path}\ntls-key = {key}\ncontent-max = 5\n"
    conf = write("app-reload.conf", settings)
    with App("--config", conf, "--log-level", "info") as server:
        def reload(text, *words):
            before = len(server.errors)
            write("app-reload.conf", text)
            server.process.send_signal(signal.SIGHUP)
            until(lambda: any("reloaded" in line for line in server.errors[before:]), "the end of the reload")
            lines = "".join(server.errors[before:])
            for word in words:
                assert word in lines, f"{word!r} is not in {lines!r}"
            return lines

        reload(settings.replace("max = 5", "max = 6"), "settings: taken: changed: content-max", "certificates: taken: 1 were read again")
        for _ in range(2):
            reload(settings.replace("max = 5", "max = 6") + "log-size = 1m\nworkers = 3\n",
                   "these change only with a restart: log-size\n")
        lines = reload(settings + f"api-key = {KEY}\n", "changed: api-key, content-max", "1 for /api")
        assert "restart" not in lines, lines
        lines = reload(settings + "content-max = 7\n", f"{conf}:4: content-max: given twice: line 3", "settings: refused",
                       "not reloaded, all stays as it was")
        assert "taken" not in lines, lines
        write("app-reload.key", "nonsense")
        reload(settings, "settings: taken", "certificates: refused: the old ones stay", "reloaded in part: settings taken, certificates refused")


# ---------------------------------------------------------------------------------------------------------------- logs --

def all_json(server, *words):
    lines = list(server.errors) + list(server.lines)
    for line in lines:
        entry = json.loads(line)
        assert {"time", "level", "event"} <= set(entry), entry
    for word in words:
        assert any(word in line for line in lines), f"{word!r} is not in {lines}"


def test_every_line_is_json():
    conf = write("json.conf", "log-format = json\n")
    path, key = pair("json", days=3)
    for kind, more in ((Server, ()), (App, ("--config", conf, "--log-level", "info"))):
        flags = more or ("--log-format", "json")
        with kind(*flags, "--tls-cert", path, "--tls-key", key, "--access-log", "-", "--admin-listen", "unix:" + at("json")) as server:
            server.process.send_signal(signal.SIGHUP)
            said(server, "reloaded")
            ask(server, "/x%22%0a%ff")
            ask(server, '/x"\\')
        all_json(server, "listening on ws://", "(admin)", "expires in ", "reloaded", "certificates: taken", '"request"')
    for words in (("serve", "--log-format", "json", "--listen", "nonsense\n\""), ("serve", "--log-format=json", "--no-such-flag"),
                  ("serve", "--policy", "x", "--log-format", "json"), ("app", "--log-format", "json", "--listen", "nonsense"),
                  ("app", "--config", write("j1", "nonsense\nlog-format = json\n")),
                  ("app", "--config", write("j2", "log-format = json\ncontent-max = x\n")), ("app", "--config", conf, "--config=/no/such", "--log-format", "json")):
        done = command(*words)
        assert done.returncode in (1, 2) and done.stderr and not done.stdout, done
        for line in done.stderr.decode().splitlines():
            equal(json.loads(line)["level"], "error")
    done = command("app", "--config", conf, "--log-format", "text", "--listen", "nonsense")
    assert done.stderr.startswith(b"ringcast: "), done.stderr


def test_access_log():
    """A line a request and one for the end of each connection, with what helps to find both; no secret is in it, and nobody
    writes a line of his own into it."""
    for kind, path in ((Server, "/topic/a"), (App, "/ws/ann")):
        log = at("access-" + kind.verb)
        with kind("--access-log", log, "--trust-proxy", "127.0.0.1") as server:
            client = Raw(server).open(path + "?token=secret&last=1", Cookie="token=secret", User_Agent='curl "x"',
                                      X_Forwarded_For="192.0.2.7")
            client.close()
            ask(server, "/no%0a2026%20request%20forged%1b[31m")
            ask(server, "/readyz")
            until(lambda: open(log, encoding="utf-8").read().count("\n") >= 4, "four lines")
            with open(log, encoding="utf-8") as file:
                lines = file.read().splitlines()
        equal(len(lines), 4)
        number = re.search(r" request (\w{16}) 192\.0\.2\.7 GET \"" + path + r"\" 101 ", lines[0])
        assert number and lines[0].endswith('"curl \\"x\\""'), lines[0]
        assert any(f" end {number.group(1)} 1000 peer" in line for line in lines), lines
        assert any('"/no\\u000a2026 request forged\\u001b[31m" 404' in line for line in lines), lines
        assert any('GET "/readyz" 200' in line for line in lines), lines
        assert "secret" not in "".join(lines) and "\x1b" not in "".join(lines), lines
        assert os.stat(log).st_mode & 0o007 == 0, "it is not for everybody"
        done = command(kind.verb, "--listen", "127.0.0.1:0", "--access-log", "/no/such/file")
        equal(done.returncode, 1)
        assert b"/no/such/file: No such file or directory" in done.stderr, done.stderr


def test_access_log_that_nobody_reads():
    """A worker does not wait for the reader of a pipe: what it does not take is left out, and counted."""
    fifo = at("fifo")
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with Server("--access-log", fifo) as server:
        for _ in range(400):
            equal(ask(server, "/healthz?" + "x" * 100, "User-Agent: " + "y" * 100 + "\r\n")[0], 200)
        found = re.search(r"^ringcast_log_lines_left_out_total (\d+)$", ask(server, "/metrics")[1], re.M)
        written = len(os.read(reader, 1 << 20).splitlines())
        assert written > 100 and int(found.group(1)) + written in (400, 401), (written, found)
    os.close(reader)


# -------------------------------------------------------------------------------------------------------- certificates --

def test_words_about_certificates():
    """Weak and encrypted ones are refused, expired ones and those that soon will be are used and warned of: in those words."""
    weak, locked = pair("weak", kind=("rsa:1024",)), list(pair("locked"))
    openssl("pkey", "-in", locked[1], "-aes128", "-passout", "pass:word", "-out", at("locked.enc"))
    locked[1] = at("locked.enc")
    for name, words, (path, key) in (("weak", "is weak: its key is too small", weak), ("encrypted", "is encrypted", locked)):
        for verb in ("serve", "app"):
            done = command(verb, "--listen", "127.0.0.1:0", "--tls-cert", path, "--tls-key", key)
            equal(done.returncode, 1, name)
            assert words in done.stderr.decode(), done.stderr
        done = command("config", "check", write("words.conf", f"# first\ntls-cert = {path}\ntls-key = {key}\n"))
        equal(done.returncode, 1, name)
        line = 2 if name == "weak" else 3
        assert f"words.conf:{line}: " in done.stderr.decode() and words in done.stderr.decode(), done.stderr
    assert "openssl pkey -in" in done.stderr.decode(), "the remedy"
    for days, words in ((-1, "has expired, on "), (5, "expires in ")):
        path, key = pair("days", days=days)
        for kind in (Server, App):
            with kind("--tls-cert", path, "--tls-key", key, "--log-level", "warning") as server:
                said(server, f"the certificate '{path}' {words}")
        done = command("config", "check", write("words.conf", f"tls-cert = {path}\ntls-key = {key}\n"))
        equal(done.returncode, 0)
        assert words in done.stderr.decode(), done.stderr
    path, key = pair("days", days=30)
    with Server("--tls-cert", path, "--tls-key", key) as server:
        time.sleep(0.3)
        equal(besides_the_ring(server.errors), [])


run(dict(globals()), limit=60)
