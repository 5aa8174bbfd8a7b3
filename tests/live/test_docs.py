# SPDX-License-Identifier: MIT
"""The documentation as it is built: every page is whole without a network, every reference leads somewhere, and every
command on it does what the page says."""
import functools
import html.parser
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

from harness import BUILD, SANITIZED, SLOW, TOP, Skip, die_with_parent, equal, run

sys.path.insert(0, os.path.join(TOP, "tools", "docs"))
import build as docs  # noqa: E402

FOLDER = tempfile.TemporaryDirectory()


@functools.cache
def site():
    if not shutil.which("pandoc"):
        raise Skip("pandoc is not installed")
    docs.build(FOLDER.name)
    return FOLDER.name


class Page(html.parser.HTMLParser):
    """What a page refers to, and the places in it that can be referred to."""

    def __init__(self, name):
        super().__init__()
        self.places, self.links, self.loaded, self.words = set(), [], [], ""
        with open(os.path.join(site(), name), encoding="utf-8") as file:
            self.text = file.read()
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.places.add(named.get("id"))
        if tag == "a" and "href" in named:
            self.links.append(named["href"])
        self.loaded += [named[key] for key in ("src", "href", "srcset", "data") if key in named and tag != "a"]

    def handle_data(self, data):
        self.words += data


def test_every_reference_leads_somewhere():
    """Nothing is loaded from elsewhere, and no page, picture or place in a page is missing."""
    names = os.listdir(site())
    pages = {name: Page(name) for name in names if name.endswith(".html")}
    assert len(pages) > 100, len(pages)
    for name, page in pages.items():
        for target in page.loaded:
            assert target in names, f"{name} loads {target}"
        for target in page.links:
            if re.match(r"https?:", target):
                continue  # an address to go to, and none to read this page
            file, _, place = target.partition("#")
            assert not file or file in names, f"{name} leads to {target}"
            assert not place or place in pages[file or name].places, f"{name} leads to {target}"
    for name in names:
        if name.endswith((".svg", ".css")):
            with open(os.path.join(site(), name), encoding="utf-8") as file:
                equal(re.findall(r"(?:url\(|href=|src=)[\"']?(?!#)[a-z]+:", file.read()), [], name)


def test_nothing_is_left_out():
    """Each section that was asked for is there, each function has a page, and no mark of the building is left."""
    for name, _ in docs.PAGES:
        page = Page(name + ".html")
        assert len(page.words) > 1000, name
        assert "{{" not in page.text and "@BODY@" not in page.text and "HEADER-LIST" not in page.text and "PAGE rc_" not in page.text and "Page rc_" not in page.text, name
        for other, _ in docs.PAGES:
            assert other + ".html" in page.links, (name, other)
    reference = Page("reference.html")
    for header in docs.headers():
        assert os.path.basename(header) + ".html" in reference.links, header
    with open(os.path.join(TOP, "engine", "ringcast.h"), encoding="utf-8") as file:
        functions = re.findall(r"^RC_API\b[^;(]*?\b(rc_\w+)\(", file.read(), re.M)
    assert len(functions) > 40, functions
    for function in functions:
        assert "Returns" in Page(function + ".3.html").words or os.path.exists(os.path.join(site(), function + ".3.html")), function
    for words, name in (("Every claim about speed", "compare"), ("What is trusted", "secure"), ("room_message", "protocol"),
                        ("--spin-us", "tune"), ("rc_publish_many", "embed"), ("registerHandler", "tutorials"), ("--lag-max", "operate")):
        assert words in Page(name + ".html").words, (name, words)


def follow(name):
    """Runs a page as a reader would."""
    site()
    if SANITIZED:
        raise Skip("the same commands run without a sanitizer")
    apart = ["unshare", "--net", "--pid", "--mount-proc", "--fork", "--kill-child"]
    apart += [] if os.geteuid() == 0 else ["--map-root-user"]
    try:
        allowed = subprocess.run([*apart, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        raise Skip("no namespaces can be had here")
    loopback = ("import fcntl,socket,struct;s=socket.socket();"
                "fcntl.ioctl(s,0x8914,struct.pack('16sh22x',b'lo',0x49))")  # SIOCSIFFLAGS: up, running
    inner = f"{sys.executable} -c \"{loopback}\" && exec {sys.executable} -B tests/live/docs_page.py '{BUILD}' {name}"
    done = subprocess.run([*apart, "sh", "-c", inner], cwd=TOP, capture_output=True, text=True, timeout=120 * SLOW,
                          preexec_fn=die_with_parent)
    lines = done.stdout.splitlines()
    assert lines, done.stderr[-2000:]
    found = json.loads(lines[-1])
    assert "error" not in found, found["error"]
    for why in found["left"]:
        assert len(why) > 20, f"a reason, not {why!r}"
    print(f"    {name}: {found['ran']} ran, {len(found['left'])} did not{''.join(': ' + why for why in found['left'][:1])}")
    return found["ran"], len(found["left"])


def test_start():
    equal(follow("start"), (8, 1))


def test_embed():
    equal(follow("embed"), (0, 2))


def test_operate():
    equal(follow("operate"), (8, 1))


def test_tune():
    equal(follow("tune"), (6, 0))


def test_secure():
    equal(follow("secure"), (8, 0))


def test_protocol():
    equal(follow("protocol"), (2, 2))


def test_the_rest():
    for name in ("index", "compare", "reference"):
        equal(follow(name), (0, 0), name)


def test_manual():
    equal(follow("man"), (3, 0))


if __name__ == "__main__":
    run(globals(), limit=90)
