# SPDX-License-Identifier: MIT
"""`make install` as an embedder meets it: C and C++ programs built by pkg-config against the installed tree, statically
and shared, the symbols that the shared library shows, and the README's own example."""
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from harness import BUILD, SANITIZED, SLOW, TOP, Raw, Skip, die_with_parent, equal, run, until

EMBEDDER = r"""
#include <ringcast.h>
#include <ringcast_stats.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
	struct rc_config config;
	struct rc_error error;
	struct rc_stats stats;
	rc_config_init(&config);
	config.worker_count = 1;
	rc_server *server = rc_server_new(&config, &error);
	if (!server || rc_server_listen(server, "127.0.0.1:0", &error) <= 0 || rc_server_start(server, &error)) {
		fprintf(stderr, "%s\n", error.text);
		return 1;
	}
	if (rc_publish(server, "t", 1, "x", 1, 0) != 1)
		return 2;
	rc_server_stats(server, &stats);
	rc_server_stop(server, 100);
	rc_server_join(server);
	rc_server_free(server);
	return stats.published == 1 && !strcmp(rc_version(), RC_VERSION) ? 0 : 3;
}
"""


class Tree:
    """An installed tree; made once, used by all the tests here."""

    made = None

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory()
        self.root = self.directory.name
        self.make("install")

    def make(self, target):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        done = subprocess.run(["make", "--no-print-directory", target, f"BUILD={os.path.relpath(BUILD, TOP)}",
                               f"DESTDIR={self.root}", "PREFIX=/opt/ringcast"], cwd=TOP, env=environment, capture_output=True,
                              text=True)
        equal(done.returncode, 0, f"make {target}: {done.stderr}")

    def at(self, path):
        return os.path.join(self.root, "opt/ringcast", path)

    def flags(self, *which):
        environment = dict(os.environ, PKG_CONFIG_SYSROOT_DIR=self.root, PKG_CONFIG_LIBDIR=self.at("lib/pkgconfig"))
        return subprocess.run(["pkg-config", *which, "ringcast"], env=environment, capture_output=True, text=True,
                              check=True).stdout.split()

    def build(self, compiler, source, output, *which):
        done = subprocess.run([*compiler.split(), "-Wall", "-Wextra", "-Werror", source, "-o", output,
                               *self.flags("--cflags", "--libs", *which)], capture_output=True, text=True)
        equal(done.returncode, 0, f"{compiler}: {done.stderr}")

    def environment(self):
        return dict(os.environ, LD_LIBRARY_PATH=self.at("lib"))


def tree():
    if SANITIZED:
        raise Skip("the sanitizer builds are not for installing")
    Tree.made = Tree.made or Tree()
    return Tree.made


def need(command):
    if not shutil.which(command):
        raise Skip(f"{command} is not installed")


def headers():
    return sorted(glob.glob(tree().at("include/*.h")))


def check_program(compiler, suffix, *which):
    need("pkg-config")
    need(compiler.split()[0])
    here = tree()
    source, output = os.path.join(here.root, "program" + suffix), os.path.join(here.root, "program")
    with open(source, "w", encoding="ascii") as file:
        file.write(EMBEDDER)
    if which:
        # The static archive, and the system's libraries as they come.
        os.rename(here.at("lib/libringcast.so"), here.at("lib/hidden"))
    try:
        here.build(compiler, source, output, *which)
    finally:
        if which:
            os.rename(here.at("lib/hidden"), here.at("lib/libringcast.so"))
    linked = subprocess.run(["ldd", output], env=here.environment(), capture_output=True, text=True).stdout
    equal("libringcast" in linked, not which, linked)
    done = subprocess.run([output], env=here.environment(), capture_output=True, text=True, timeout=10 * SLOW)
    equal(done.returncode, 0, done.stderr)


def test_what_is_installed():
    here = tree()
    for path in ("bin/ringcast", "include/ringcast.h", "include/ringcast_client.h", "include/ringcast_ingest.h",
                 "include/ringcast_producer.h", "include/ringcast_stats.h",
                 "lib/libringcast.a", "lib/libringcast.so", "lib/pkgconfig/ringcast.pc", "share/man/man1/ringcast.1", "share/ringcast/ringcast.js",
                 "share/ringcast/package.json"):
        assert os.path.isfile(here.at(path)), path
    done = subprocess.run([here.at("bin/ringcast"), "--version"], capture_output=True, text=True)
    version = here.flags("--modversion")[0] if shutil.which("pkg-config") else done.stdout.split()[-1]
    equal(done.stdout, f"ringcast {version}\n")
    equal(os.path.basename(os.path.realpath(here.at("lib/libringcast.so"))), f"libringcast.so.{version}")


def test_symbols():
    """The shared library shows what the headers declare, no more and no less; the archive's names begin with rc_."""
    need("nm")
    here = tree()
    shared = here.at("lib/libringcast.so")
    shown = subprocess.run(["nm", "-D", "--defined-only", shared], capture_output=True, text=True, check=True).stdout
    symbols = {line.split()[-1].split("@")[0] for line in shown.splitlines() if line.split()[-2] != "A"}
    declared = set()
    for header in headers():
        with open(header, encoding="utf-8") as file:
            text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
        declared |= set(re.findall(r"^RC_API\b[^;(]*?\b(rc_\w+)\(", text, re.M))
    equal(sorted(symbols), sorted(declared))
    dynamic = subprocess.run(["readelf", "-d", shared], capture_output=True, text=True, check=True).stdout
    assert re.search(r"SONAME.*\[libringcast\.so\.\d+\]", dynamic), dynamic
    inside = subprocess.run(["nm", "--defined-only", "--extern-only", here.at("lib/libringcast.a")],
                            capture_output=True, text=True, check=True).stdout
    names = [line.split()[-1] for line in inside.splitlines() if len(line.split()) == 3]
    # the one that is not ours is <sys/sdt.h>'s: hidden, and folded into one by the linker
    equal([name for name in names if not name.startswith("rc_") and name != "_.stapsdt.base"], [],
          "external names in the archive")


def check_headers(compiler, suffix):
    """Each header compiles alone, without a word from a strict compiler."""
    need("pkg-config")
    need(compiler.split()[0])
    here = tree()
    source = os.path.join(here.root, "alone" + suffix)
    for header in headers():
        with open(source, "w", encoding="ascii") as file:
            file.write(f"#include <{os.path.basename(header)}>\n")
        done = subprocess.run([*compiler.split(), "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only",
                               "-std=" + ("c11" if suffix == ".c" else "c++11"), source, *here.flags("--cflags")],
                              capture_output=True, text=True)
        equal(done.returncode, 0, f"{compiler} {header}: {done.stderr}")


def test_each_header_alone_in_c():
    check_headers(os.environ.get("CC") or "gcc", ".c")


def test_each_header_alone_in_cplusplus():
    check_headers("g++", ".cc")


def test_c_program():
    check_program(os.environ.get("CC") or "gcc", ".c")


def test_c_program_static():
    check_program(os.environ.get("CC") or "gcc", ".c", "--static")


def test_cplusplus_program():
    check_program("g++", ".cc")


def test_readme_example():
    need("pkg-config")
    here = tree()
    readme = os.path.join(TOP, "README.md")
    found = None
    if os.path.exists(readme):
        with open(readme, encoding="utf-8") as file:
            found = re.search(r"^```c\n(.*?)^```", file.read(), re.M | re.S)
    assert found, "README.md has no example in C"
    assert found.group(1).count("\n") < 60, "the example is 60 lines or longer"
    source, output = os.path.join(here.root, "example.c"), os.path.join(here.root, "example")
    with open(source, "w", encoding="utf-8") as file:
        file.write(found.group(1))
    here.build((os.environ.get("CC") or "gcc") + " -pthread", source, output)
    port = re.search(r'"(?:ws://)?(?:127\.0\.0\.1|0\.0\.0\.0|\[::\]|\[::1\]):(\d+)', found.group(1))
    port = int(port.group(1)) if port else 0
    if port:
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                taken.bind(("127.0.0.1", port))
            except OSError as why:
                raise Skip(f"compiles; not run, because port {port} is taken") from why
    process = subprocess.Popen([output], env=here.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               preexec_fn=die_with_parent)
    try:
        def serves():
            assert process.poll() is None, process.stderr.read()
            try:
                return Raw(("127.0.0.1", port))
            except ConnectionRefusedError:
                return None

        if port:
            with until(serves, "the example listening") as raw:
                raw.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert raw.response()[0] >= 200
        else:
            time.sleep(0.5)
            assert process.poll() in (None, 0), process.stderr.read()
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5 * SLOW)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def test_man_page():
    """It names every subcommand and every flag that --help shows, and the formatter has nothing to complain of."""
    here = tree()
    with open(here.at("share/man/man1/ringcast.1"), encoding="utf-8") as file:
        page = file.read().replace("\\-", "-")
    for verb in ("serve", "sub", "pub", "load", "replay", "probe"):
        text = subprocess.run([here.at("bin/ringcast"), verb, "--help"], capture_output=True, text=True).stdout
        for flag in re.findall(r"^  --(?!help)([a-z0-9-]+)", text, re.M):
            assert re.search(rf"--{flag}\b", page), f"ringcast {verb} --{flag} is not in the man page"
    if shutil.which("groff"):
        done = subprocess.run(["groff", "-man", "-ww", "-z", "-Tutf8", here.at("share/man/man1/ringcast.1")],
                              capture_output=True, text=True)
        equal(done.stderr, "")


def test_uninstall():
    here = tree()
    here.make("uninstall")
    left = [name for _, _, files in os.walk(here.at("")) for name in files]
    equal(left, [])


run(globals(), limit=60)
