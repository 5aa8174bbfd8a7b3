# SPDX-License-Identifier: MIT
"""What the commands read of the environment, and what they refuse: variables that nobody reads, options without effect."""
import os
import tempfile

from app import SECRET, App, token
from harness import Server, besides_the_ring, command, equal, run

BARE = {name: value for name, value in os.environ.items() if not name.startswith("RINGCAST_")}


def said(*arguments, status=2, **variables):
    done = command(*arguments, stdin=b"", env=dict(BARE, **variables))
    equal(done.returncode, status, f"{arguments}: {done.stderr}")
    return "".join(besides_the_ring(done.stderr.decode().splitlines(keepends=True)))


def test_url():
    """RINGCAST_URL for a server that is not named, and for a path of it."""
    with Server() as server:
        publish = server.url + "/publish/T"
        said("pub", publish, "one", status=0)
        said("pub", "/publish/T", "two", status=0, RINGCAST_URL=server.url)
        said("pub", "/publish/T", "three", status=0, RINGCAST_URL=server.url + "/topic/U?x=1")
        done = command("pub", stdin=b"four\n", env=dict(BARE, RINGCAST_URL=publish))
        equal(done.returncode, 0, done.stderr)
        for words in (["/topic/T?since=0"], [server.url + "/topic/T?since=0"]):
            done = command("sub", "--count", "4", *words, env=dict(BARE, RINGCAST_URL=server.url))
            equal((done.returncode, done.stdout), (0, b"one\ntwo\nthree\nfour\n"), done.stderr)
        done = command("sub", "--count", "1", env=dict(BARE, RINGCAST_URL=server.url + "/topic/T?last=1"))
        equal((done.returncode, done.stdout), (0, b"four\n"), done.stderr)
        said("load", "--connections", "2", "--duration", "100ms", "--warmup", "0", "--quiet", status=0, RINGCAST_URL=server.url)
    for verb in ("sub", "pub", "load", "top"):
        assert "set RINGCAST_URL" in said(verb), verb
        assert "set RINGCAST_URL" in said(verb, RINGCAST_URL=""), verb
        assert "expected ws://HOST:PORT" in said(verb, RINGCAST_URL="localhost"), verb
        assert "'/topic/T' is a path" in said(verb, "/topic/T"), verb
        help_text = command(verb, "--help").stdout.decode()
        assert "RINGCAST_URL" in help_text and "RINGCAST_TOKEN" in help_text, verb


def test_token():
    """RINGCAST_TOKEN lets in by every command, is not shown when it is wrong, and gives way to a header."""
    with App("--token-secret", SECRET) as server:
        good, who = token(sub="ann"), dict(RINGCAST_URL=server.url)
        assert "401" in said("sub", "/ws", status=1, RINGCAST_TOKEN="wrong", **who)
        said("sub", "--count", "1", "/ws", status=0, RINGCAST_TOKEN=good, **who)
        said("pub", "/ws", status=0, RINGCAST_TOKEN=good, **who)
        for verb in (["sub"], ["pub"], ["load", "--mode", "idle", "--quiet", "--duration", "50ms", "--connections", "1"]):
            assert "401" in said(*verb, server.url + "/ws", status=1, RINGCAST_TOKEN="wrong"), verb
        done = command("load", "--mode", "idle", "--quiet", "--duration", "50ms", "--connections", "1", server.url + "/ws",
                       env=dict(BARE, RINGCAST_TOKEN=good))
        assert b"connections  1 open" in done.stdout, done
        assert "401" in said("sub", "--header", "authorization: Bearer wrong", "/ws", status=1, RINGCAST_TOKEN=good, **who)
    for wrong in ("x" * 4000, "a b", "a\nb", "\x7f"):
        for verb in ("sub", "pub", "load", "top"):
            words = said(verb, "ws://127.0.0.1:1/", status=1, RINGCAST_TOKEN=wrong)
            assert words.startswith("ringcast: RINGCAST_TOKEN: ") and words.count("\n") == 1 and wrong not in words, words


def test_unknown_variables():
    """A variable that nobody reads is named, with the remedy; those of Kubernetes are none of ours."""
    for verb in ("serve", "app", "sub", "pub", "load", "top", "probe", "doctor"):
        words = said(verb, RINGCAST_CONTENTMAX="5")
        assert "RINGCAST_CONTENTMAX is set" in words and "unset RINGCAST_CONTENTMAX" in words, words
        equal(command(verb, "--help", env=dict(BARE, RINGCAST_CONTENTMAX="5")).returncode, 0, verb)
    known = {"RINGCAST_CONTENT_MAX": "5", "RINGCAST_SERVICE_HOST": "10.0.0.1", "RINGCAST_SERVICE_PORT": "80",
             "RINGCAST_SERVICE_PORT_HTTP": "80", "RINGCAST_PORT": "tcp://10.0.0.1:80", "RINGCAST_PORT_80_TCP": "tcp://10.0.0.1:80",
             "RINGCAST_PORT_80_TCP_ADDR": "10.0.0.1", "RINGCAST_FEEDS_SERVICE_HOST": "10.0.0.2", "OTHER": "x"}
    said("probe", status=0, **known)
    for name in ("RINGCAST_PORT", "RINGCAST_SERVICE", "RINGCAST_", "RINGCAST_PORT_X"):
        assert name + " is set" in said("probe", **{name: "80"}), name


def test_useless_options():
    """An option that another one makes useless, or that needs one, is an error that says which."""
    for words, remedy in (
            ("serve --loop", "--loop has no effect without --replay: add that, or leave --loop out"),
            ("serve --speed 2", "--speed has no effect without --replay or --demo"),
            ("serve --seed 2 --replay x", "--seed has no effect without --demo"),
            ("serve --cohort x", "--cohort has no effect without --deflate"),
            ("serve --deflate-level 3", "--deflate-level has no effect without --deflate"),
            ("serve --producer-topics x", "--producer-topics has no effect without --producers"),
            ("serve --busy-poll --spin-us 5", "--spin-us has no effect beside --busy-poll: leave one of them out"),
            ("serve --kernel-tls", "--kernel-tls has no effect without --tls-cert"),
            ("sub --ca x ws://127.0.0.1:1/", "--ca has no effect without TLS: write wss:// in place of ws://"),
            ("pub --insecure ws://127.0.0.1:1/ x", "--insecure has no effect without TLS"),
            ("sub --cert x wss://127.0.0.1:1/", "--cert has no effect without --key"),
            ("sub --key x wss://127.0.0.1:1/", "--key has no effect without --cert"),
            ("top --ca x --insecure wss://127.0.0.1:1/", "--ca has no effect beside --insecure"),
            ("load --mode echo --topics 5 ws://127.0.0.1:1", "--topics has no effect without --mode broadcast"),
            ("load --mode idle --window 5 ws://127.0.0.1:1", "--window has no effect without --mode broadcast or --mode echo"),
            ("load --rate 5 --window 5 ws://127.0.0.1:1", "--window has no effect beside --rate"),
            ("load --speed 5 ws://127.0.0.1:1", "--speed has no effect without --feed")):
        found = said(*words.split())
        assert remedy in found, (words, found)
        assert found.splitlines()[1].startswith("try 'ringcast "), found
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        for line, remedy in (("producer-topics = a", "producer-topics has no effect without producers"),
                             ("busy-poll = yes\nspin-us = 5", "spin-us has no effect beside busy-poll"),
                             ("token-issuer = x", "token-issuer has no effect without token-key or token-secret-file or token-secret"),
                             ("token-expiry = optional", "token-expiry has no effect without token-key")):
            file.seek(0)
            file.truncate()
            file.write(line + "\n")
            file.flush()
            assert remedy in said("config", "check", file.name, status=1), line
            assert remedy in said("app", "--config", file.name, status=1), line


if __name__ == "__main__":
    run(globals())
