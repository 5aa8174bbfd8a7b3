# SPDX-License-Identifier: MIT
"""The dashboard, ringcast.js and compressed streams in Debian's Chromium, driven by npm's playwright-core, which is installed
under build/node when it is not there. Pictures of the dashboard are left in BUILD/tests."""
import os
import shutil

from cluster import Redis
from harness import BUILD, PROGRAM, Server, Skip, run
from nodetest import MODULES, need_npm, node

CHROMIUM = "/usr/bin/chromium"


def need_chromium():
    if not os.path.exists(CHROMIUM) or not shutil.which("setpriv"):
        raise Skip("there is no " + CHROMIUM)
    need_npm("playwright-core@1")


def test_chromium():
    need_chromium()
    pictures = os.path.join(BUILD, "tests")
    os.makedirs(pictures, exist_ok=True)
    node("browser.mjs", PROGRAM, MODULES, CHROMIUM, pictures, limit=160)


def test_book():
    """The page of an order book, of `ringcast book --serve` and of the demonstration."""
    need_chromium()
    pictures = os.path.join(BUILD, "tests")
    os.makedirs(pictures, exist_ok=True)
    node("book.mjs", PROGRAM, MODULES, CHROMIUM, pictures, limit=100)


def test_nodes():
    """The dashboard of several nodes."""
    need_chromium()
    with Redis() as redis:
        node("nodes.mjs", PROGRAM, MODULES, CHROMIUM, os.path.join(BUILD, "tests"), redis.url(), str(redis.process.pid), limit=120)


def test_cohort():
    """The browser's own decoder of permessage-deflate."""
    need_chromium()
    with Server("--echo", "--deflate", "--cohort", "hot*") as server:
        node("cohort.mjs", f"ws://127.0.0.1:{server.port}", MODULES, CHROMIUM, limit=60)
        stats = server.stats()
        assert stats["compressed"] > 300 and stats["inflated"] > 0, stats


run(globals(), limit=170, unsanitized="what a browser sends, the other clients of the tests send as well")
