# SPDX-License-Identifier: MIT
"""`ringcast config check` finds what `ringcast app` finds: the same words, after the file and the line; and it leaves
whoever runs alone."""
import os
import subprocess

from app import App
from harness import command, equal, run, until
from scratch import DIRECTORY, at, write

KEY = "operator-key-0123456789"


# Two lines before the one that is wrong, what that one is, and what is said of it.
WRONG = [
    ("kernel-tls = maybe", "expected yes or no"),
    ("content-max = 1\ncontent-max = 2", "+1 content-max: given twice: line 3 has it already; keep one"),
    ("policy = open", "expected close|skip|conflate"),
    ("no-such-setting = 1", "no such setting"),
    ("words without meaning", "expected `name = value`"),
    ("log-size = 5m", "log-size: a log of 5242880 bytes: it must be a power of two"),
    ("message-max = 0", "message-max must not be 0"),
    ("message-max = 65m", "message-max: messages of 68157440 bytes: 1 to 67108864"),
    ("body-max = 17m", "body-max: "),
    ("memory-max = 5", "memory-max: "),
    ("subscriptions-max = 70000", "subscriptions-max 70000: at most 65535"),
    ("workers = 2000", "workers: 2000 workers: at most 1024"),
    ("connections-max = 4000000000", "connections-max: the descriptor limit allows"),
    ("handshake-timeout = 0", "handshake-timeout must not be 0"),
    ("handshake-timeout = 5", "expected a unit: ns, us, ms, s, m or h"),
    ("cpus = 2-1", "cpus '2-1'"),
    ("cpus = 1023", "cpus: worker 0 on processor 1023: this process may run on"),
    ("numa-node = 63", "numa-node: "),
    ("priority = 100", "priority: a thread priority of 100: 1 to 99"),
    ("listen = nonsense", "listen: 'nonsense' is not an address to listen on"),
    ("listen = 127.0.0.1:0\nlisten = 203.0.113.1:80", "+1 listen: cannot listen on 203.0.113.1:80: "),
    ("listen = unix:/no/such/folder/socket", "its directory does not exist"),
    ("listen = wss://127.0.0.1:0", "listen 'wss://127.0.0.1:0' needs a certificate and its key: tls-cert and tls-key"),
    ("listen = :0", "would let in everybody who reaches this machine"),
    ("admin-listen = 0.0.0.0:0", "can be reached from other machines, and there is no key for operators"),
    ("api-listen = 0.0.0.0:0", "can be reached from other machines, and there is no key for operators"),
    ("admin-listen = nonsense", "admin-listen: 'nonsense' is not an address"),
    ("backplane-local = live.*", "backplane-local has no effect without backplane"),
    ("backplane-local = d*\nbackplane = redis://127.0.0.1:1", "backplane-local 'd*': room/ and data/ have the order"),
    ("backplane-local = room/x\nbackplane = redis://127.0.0.1:1", "backplane-local 'room/x': room/ and data/ have"),
    ("tls-cert = /no/such", "each tls-cert needs its tls-key"),
    ("tls-cert = /no/such\ntls-key = /no/such", "the certificate '/no/such': No such file or directory"),
    ("tls-cert = GOOD.pem\ntls-key = OTHER.key", "+1 the key 'OTHER.key' is not the key of its certificate"),
    ("tls-cert = GOOD.pem\ntls-key = GOOD.key\ntls-client-ca = /no/such", "+2 the clients' authority '/no/such'"),
    ("tls-cert = GOOD.pem\ntls-key = GOOD.key\ntls-client-ca = GOOD.pem\ntls-crl = /no/such", "+3 the revocation list '/no/such'"),
    ("user = no-such-user", "there is no user 'no-such-user': `useradd --system no-such-user` makes one"),
    ("keep-last = ", "keep-last '': expected a topic, or a prefix and *"),
    ("trust-proxy = 10.0.0.0/8\ntrust-proxy = example.org", "+1 trust-proxy 'example.org': expected an address"),
    ("origin = example.org", "origin 'example.org': expected scheme://host"),
    ("host = example.org:80", "host 'example.org:80': expected a name"),
    ("permissions = everything", "permissions 'everything': expected none, read"),
    ("token-secret = short", "token-secret: a secret for HS256 has at least 32 bytes"),
    ("token-secret-file = /no/such", "/no/such: No such file or directory"),
    ("token-key = GOOD.key", "no public key in PEM"),
    ("auth = required", "auth needs a key for tokens"),
    ("api-key = 0123456789abcdef\napi-key = short", "+1 api-key: a key has at least 16 bytes"),
    ("producers = nonsense", "producers: "),
    ("producers = unix:/no/such/folder/socket", "producers: "),
    ("producers = unix:HERE/p\nproducer-uids = no-such-user", "+1 producers: producer-uids: there is no user 'no-such-user'"),
    ("producers = unix:HERE/p?mode=999", "producers: "),
    ("access-log = /no/such/file", "access-log /no/such/file: No such file or directory"),
]


def pair(name):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "90",
                    "-subj", "/CN=localhost", "-keyout", at(name + ".key"), "-out", at(name + ".pem")], check=True, capture_output=True)


def test_it_finds_what_the_start_finds():
    pair("GOOD")
    pair("OTHER")
    for text, words in WRONG:
        for name in ("GOOD", "OTHER"):
            text, words = text.replace(name, at(name)), words.replace(name, at(name))
        text = text.replace("HERE", DIRECTORY.name)
        after = int(words[1]) if words[0] == "+" else 0
        words = words[3:] if words[0] == "+" else words
        conf = write("wrong.conf", "# one\n# two\n" + text + "\n")
        check, start = command("config", "check", conf), command("app", "--config", conf)
        equal((check.returncode, check.stdout), (1, b""), f"{text!r}: {check}")
        equal(start.returncode, 1, f"{text!r}: {start}")
        line = [line for line in check.stderr.decode().splitlines() if "ringcast: " in line][-1]
        assert line.startswith(f"ringcast: {conf}:{3 + after}: ") and words in line, f"{text!r}: {line!r}"
        equal(start.stderr.decode().splitlines()[-1], line, "the start says the same")


def test_where_it_was_set():
    """From the environment or a flag, that is what is named."""
    done = command("app", env=dict(os.environ, RINGCAST_TRUST_PROXY="10.0.0.0/8 nonsense"))
    equal((done.returncode, done.stderr), (1, b"ringcast: RINGCAST_TRUST_PROXY: trust-proxy 'nonsense': expected an address, or one with /BITS\n"))
    conf = write("flag.conf", "trust-proxy = 10.0.0.0/8\n")
    done = command("app", "--config", conf, "--trust-proxy", "nonsense")
    equal((done.returncode, done.stderr), (1, b"ringcast: trust-proxy 'nonsense': expected an address, or one with /BITS\n"))


def test_a_running_server_is_left_alone():
    """With its own settings: nobody is sent away, no socket is taken, no file is made."""
    conf = write("running.conf", f"admin-listen = unix:{at('admin')}\nproducers = unix:{at('producers')}\noperator-key = {KEY}\n")
    with App("--config", conf, "--access-log", at("log"), listen=("unix:" + at("clients"),)) as server:
        write("running.conf", f"listen = unix:{at('clients')}\nadmin-listen = unix:{at('admin')}\nproducers = unix:{at('producers')}\n"
                              f"operator-key = {KEY}\naccess-log = {at('new-log')}\n")
        before = {name: os.stat(at(name)).st_ino for name in ("clients", "admin", "producers")}
        done = command("config", "check", conf)
        equal(done.returncode, 0, done.stderr)
        assert b"good\n" in done.stdout and done.stderr.count(b"something listens there now") == 2, done
        equal({name: os.stat(at(name)).st_ino for name in before}, before)
        assert not os.path.exists(at("new-log"))
        equal(server.process.poll(), None)
        server.process.send_signal(1)
        until(lambda: not os.path.exists(at("none")), "it goes on")
        from app import Client
        Client(at("clients")).join_in("/ws/a").settle()


def test_what_is_handed_over_is_not_looked_at():
    done = command("config", "check", write("fd.conf", "listen = fd:3\nadmin-listen = fd:4\n"))
    equal(done.returncode, 0, str(done.stderr))


run(dict(globals()), limit=60)
