# SPDX-License-Identifier: MIT
"""`make install` as an embedder meets it: C and C++ programs built by pkg-config against the installed tree, statically
and shared, the symbols that the shared library shows, and the README's own example."""
import errno
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile

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
    headers = ["include/" + os.path.basename(path) for path in glob.glob(os.path.join(TOP, "[eu]*/ringcast*.h"))]
    for path in (*headers, "bin/ringcast", "lib/libringcast.a", "lib/libringcast.so", "lib/pkgconfig/ringcast.pc",
                 "share/man/man1/ringcast.1", "share/man/man3/rc_publish.3", "share/man/man7/ringcast-latency.7",
                 "share/ringcast/ringcast.js", "share/ringcast/package.json", "share/ringcast/ringcast.min.js",
                 "share/ringcast/ringcast.cjs", "share/ringcast/ringcast.d.ts", "share/ringcast/ringcast.d.cts", "share/ringcast/react.js", "lib/systemd/system/ringcast.service",
                 "share/bash-completion/completions/ringcast", "share/zsh/site-functions/_ringcast",
                 "share/fish/vendor_completions.d/ringcast.fish", "share/doc/ringcast/SECURITY.md",
                 "share/doc/ringcast/examples/nginx.conf"):
        assert os.path.isfile(here.at(path)), path
    done = subprocess.run([here.at("bin/ringcast"), "--version"], capture_output=True, text=True)
    version = here.flags("--modversion")[0] if shutil.which("pkg-config") else done.stdout.split()[1]
    lines = done.stdout.splitlines()
    equal(lines[0], f"ringcast {version}")
    for line, form in zip(lines[1:], (r"commit ([0-9a-f]{12,40}(, and changes)?|unknown)", r"compiled by (gcc|clang) \d\S* for \S+",
                                      r"OpenSSL 3\.\S+, compiled against 3\.\S+", r"liburing \d+\.\d+"), strict=True):
        assert re.match(form, line), line
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


def test_each_error_in_words():
    """Each error that a header names is told in words of ours, with what helps behind a colon; others in the system's."""
    here = tree()
    named = set()
    for header in headers():
        with open(header, encoding="utf-8") as file:
            named |= set(re.findall(r"-(E[A-Z0-9]{2,})\b", file.read()))
    assert {"EINVAL", "EAGAIN", "EEXIST"} <= named, named
    source, output = os.path.join(here.root, "errors.c"), os.path.join(here.root, "errors")
    with open(source, "w", encoding="ascii") as file:
        file.write("#include <errno.h>\n#include <limits.h>\n#include <ringcast.h>\n#include <stdio.h>\nint main(void)\n{\n")
        for name in sorted(named):
            file.write(f'printf("{name}\\t%s\\t%s\\n", rc_strerror(-{name}), rc_strerror({name}));\n')
        file.write('printf("%s\\n%s\\n%d\\n", rc_strerror(-EXDEV), rc_strerror(0), rc_strerror(INT_MIN) != NULL);\n}\n')
    here.build(os.environ.get("CC") or "gcc", source, output)
    done = subprocess.run([output], env=here.environment(), capture_output=True, text=True, check=True)
    *lines, other, none, least = done.stdout.splitlines()
    texts = {}
    for line in lines:
        name, text, positive = line.split("\t")
        equal(text, positive)
        assert text != os.strerror(getattr(errno, name)), f"{name}: only the system's words, {text!r}"
        assert re.match(r"[a-z][^:]+: .{10,}[^.]$", text) and len(text) < 120, f"{name}: {text!r}"
        texts[text] = name
    equal(sorted(texts.values()), sorted(named), "errors with words of their own")
    equal((other, none, least), (os.strerror(errno.EXDEV), os.strerror(0), "1"))


def test_c_program():
    check_program(os.environ.get("CC") or "gcc", ".c")


def test_c_program_static():
    check_program(os.environ.get("CC") or "gcc", ".c", "--static")


def test_cplusplus_program():
    check_program("g++", ".cc")


def check_wrapper(compiler, *flags):
    """ringcast.hpp, in C++17, by a program that uses all of it."""
    need("pkg-config")
    need(compiler)
    here = tree()
    output = os.path.join(here.root, "wrapper")
    here.build(f"{compiler} -std=c++17 -Wpedantic -pthread {' '.join(flags)}", os.path.join(TOP, "tests/live/wrapper.cc"), output)
    done = subprocess.run([output], env=here.environment(), capture_output=True, text=True, timeout=60 * SLOW,
                          preexec_fn=die_with_parent)
    equal((done.returncode, done.stderr), (0, ""))


def test_wrapper():
    check_wrapper("g++")


def test_wrapper_without_exceptions():
    check_wrapper("g++", "-fno-exceptions", "-fno-rtti")


def test_wrapper_by_clang():
    check_wrapper("clang++")


def readme():
    """The README's example, and the commands below it that build and run it."""
    with open(os.path.join(TOP, "README.md"), encoding="utf-8") as file:
        text = file.read()
    found = re.search(r"^```c\n(.*?)^```\n\n((?:    [^\n]*\n)+)", text, re.M | re.S)
    assert found, "README.md has no example in C with its commands"
    assert found.group(1).count("\n") < 60, "the example is 60 lines or longer"
    return found.group(1), [line.strip() for line in found.group(2).splitlines()]


def serves(process, port):
    """Until it answers; then it ends as a user would end it."""
    def answers():
        assert process.poll() is None, process.communicate()[1]
        try:
            return Raw(("127.0.0.1", port))
        except ConnectionRefusedError:
            return None

    try:
        with until(answers, "the example listening") as raw:
            raw.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            equal(raw.response()[0], 404)
        with Raw(("127.0.0.1", port)).open("/topic/time") as raw:
            assert raw.receive_text().isdigit()
        process.send_signal(signal.SIGTERM)
        equal(process.wait(10 * SLOW), 0)
    finally:
        process.kill()
        process.wait()


def test_readme_steps():
    """To the letter, in a home of their own: installed to a prefix, built by pkg-config as C and as C++, run."""
    tree()
    need("pkg-config")
    need("cc")
    need("c++")
    example, lines = readme()
    port = int(re.search(r'"127\.0\.0\.1:(\d+)"', example).group(1))
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", port))
        except OSError as why:
            raise Skip(f"port {port} is taken") from why
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("MAKE", "MFLAGS", "PKG_CONFIG", "LD_", "DESTDIR", "LIBDIR"))}
    with tempfile.TemporaryDirectory() as home:
        environment = dict(kept, HOME=home, BUILD=os.path.relpath(BUILD, TOP))
        with open(os.path.join(home, "clock.c"), "w", encoding="utf-8") as file:
            file.write(example)
        exports, runs = [], 0
        for line in lines:
            if "./clock" in line:
                script = "\n".join(["set -e", *exports, line.replace("./clock", "exec ./clock")])
                serves(subprocess.Popen(["sh", "-c", script], cwd=home, env=environment, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent), port)
                runs += 1
            elif line.startswith("make "):
                made = subprocess.run(["sh", "-c", line], cwd=TOP, env=environment, capture_output=True, text=True)
                equal(made.returncode, 0, made.stderr)
            else:
                assert line.startswith("export "), line
                exports.append(line)
        equal(runs, 2, "as C and as C++")


def test_readme_example_without_a_word():
    """Strict compilers of C and C++ have nothing to say of it, shared or static."""
    need("pkg-config")
    here = tree()
    source, output = os.path.join(here.root, "example.c"), os.path.join(here.root, "example")
    with open(source, "w", encoding="utf-8") as file:
        file.write(readme()[0])
    for compiler in ((os.environ.get("CC") or "gcc") + " -std=c11 -D_GNU_SOURCE", "g++ -std=c++11 -x c++"):
        if shutil.which(compiler.split()[0]):
            here.build(compiler + " -Wpedantic", source, output)


def multiarch():
    """The folder of the architecture's libraries below /usr/lib, where the distribution has such folders."""
    done = subprocess.run([os.environ.get("CC") or "gcc", "-print-multiarch"], capture_output=True, text=True)
    return "/" + done.stdout.strip() if done.returncode == 0 and done.stdout.strip() else ""


def test_where_programs_look():
    """pkg-config tells a program the folder, but not one where the loader looks anyway; LIBDIR may be elsewhere."""
    need("pkg-config")
    tree()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "PKG_CONFIG"))}
    for flags, libdir, rpath in ((("PREFIX=/usr/local",), "/usr/local/lib", False),
                                 (("PREFIX=/usr", "LIBDIR=/usr/lib/x86_64-linux-gnu"), "/usr/lib/x86_64-linux-gnu", False),
                                 (("PREFIX=/usr",), "/usr/lib" + multiarch(), False),
                                 (("PREFIX=/opt/rc",), "/opt/rc/lib", True),
                                 (("PREFIX=/opt/rc", "LIBDIR=/opt/rc/lib64"), "/opt/rc/lib64", True),
                                 (("PREFIX=/opt/rc", "LIBDIR=/srv/lib"), "/srv/lib", True)):
        with tempfile.TemporaryDirectory() as root:
            for target in ("install", "uninstall"):
                call = ["make", "--no-print-directory", target, f"BUILD={os.path.relpath(BUILD, TOP)}", f"DESTDIR={root}"]
                made = subprocess.run([*call, *flags], cwd=TOP, env=kept, capture_output=True, text=True)
                equal(made.returncode, 0, made.stderr)
                if target == "uninstall":
                    equal([name for _, _, files in os.walk(root) for name in files], [], flags)
                    continue
                assert os.path.exists(root + libdir + "/libringcast.so"), flags
                environment = dict(kept, PKG_CONFIG_LIBDIR=root + libdir + "/pkgconfig")
                shown = subprocess.run(["pkg-config", "--libs", "--keep-system-libs", "ringcast"], env=environment,
                                       capture_output=True, text=True, check=True).stdout.split()
                equal(shown, ["-L" + libdir, *(["-Wl,-rpath," + libdir] if rpath else []), "-lringcast"], flags)


def test_man_page():
    """It names every subcommand and every flag that --help shows, and the formatter has nothing to complain of."""
    here = tree()
    with open(here.at("share/man/man1/ringcast.1"), encoding="utf-8") as file:
        page = file.read().replace("\\-", "-")
    for verb in ("serve", "app", "sub", "pub", "load", "replay", "book", "top", "health", "probe", "doctor"):
        text = subprocess.run([here.at("bin/ringcast"), verb, "--help"], capture_output=True, text=True).stdout
        for flag in re.findall(r"^  --(?!help)([a-z0-9-]+)", text, re.M):
            assert re.search(rf"--{flag}\b", page), f"ringcast {verb} --{flag} is not in the man page"
    if shutil.which("groff"):
        done = subprocess.run(["groff", "-man", "-ww", "-z", "-Tutf8", here.at("share/man/man1/ringcast.1")],
                              capture_output=True, text=True)
        equal(done.stderr, "")


def test_latency_page():
    """Each setting in it is a flag of both servers, and the formatter has nothing to complain of."""
    here = tree()
    path = here.at("share/man/man7/ringcast-latency.7")
    with open(path, encoding="utf-8") as file:
        page = file.read().replace("\\-", "-")
    flags = set(re.findall(r"^\.B[IR] +\"?--([a-z-]+)", page, re.M))
    assert len(flags) >= 9, flags
    for verb in ("serve", "app"):
        text = subprocess.run([here.at("bin/ringcast"), verb, "--help"], capture_output=True, text=True).stdout
        for flag in flags:
            assert re.search(rf"^  --{flag}\b", text, re.M), f"ringcast {verb} has no --{flag}"
    if shutil.which("groff"):
        done = subprocess.run(["groff", "-man", "-ww", "-z", "-Tutf8", path], capture_output=True, text=True)
        equal(done.stderr, "")


def test_uninstall():
    here = tree()
    here.make("uninstall")
    left = [name for _, _, files in os.walk(here.at("")) for name in files]
    equal(left, [])


run(globals(), limit=60)
