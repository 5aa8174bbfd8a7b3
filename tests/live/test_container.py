# SPDX-License-Identifier: MIT
"""The program where containers put it: behind Docker's default filter of system calls with and without io_uring's three, as
nobody in particular, and in an image of nothing but itself and what it links."""
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile

from harness import BUILD, PROGRAM, SANITIZED, SLOW, TOP, Server, Skip, command, die_with_parent, equal, run, until

PACKAGE = os.path.join(TOP, "tools/package/container")
SHIPPED = os.path.join(PACKAGE, "seccomp.json")
DEBIAN = "/usr/share/gocode/src/github.com/docker/docker/profiles/seccomp/default.json"
CALLS = ["io_uring_setup", "io_uring_enter", "io_uring_register"]
FOLDER = tempfile.TemporaryDirectory()


def profile(*flags, source=SHIPPED):
    """A profile as seccomp.py prints it, in a file that anybody may read."""
    done = subprocess.run([sys.executable, "-B", os.path.join(PACKAGE, "seccomp.py"), *flags, source], capture_output=True,
                          text=True, check=True)
    path = os.path.join(FOLDER.name, "profile" + "".join(flags))
    with open(path, "w", encoding="utf-8") as file:
        file.write(done.stdout)
    os.chmod(FOLDER.name, 0o755)
    return path


def confined(path, *arguments):
    """What it takes to run the program behind a profile."""
    if not importlib.util.find_spec("seccomp"):
        raise Skip("python3-seccomp is not installed")
    if SANITIZED:
        raise Skip("a sanitizer makes calls of its own")
    reachable = os.path.join(FOLDER.name, "ringcast")
    if not os.path.exists(reachable):
        shutil.copy(PROGRAM, reachable)
    return [sys.executable, "-B", os.path.join(TOP, "tests/live/confine.py"), path, reachable, *arguments]


class Confined(Server):
    def __init__(self, path, *flags):
        self._launch(confined(path, "serve", "--listen", "127.0.0.1:0", "--workers", "2", "--drain", "500ms", "--echo", *flags))


def serves(server):
    """A message to a topic, one back, and the answer to a health check."""
    with server.connect("/topic/t") as reader, server.connect("/publish/t") as writer, server.connect("/echo") as echo:
        until(lambda: server.stats()["subscriptions"] == 1, "the subscription")
        for number in range(100):
            writer.text(f"{number} " + "x" * 3000)
        for number in range(100):
            equal(reader.receive_text().split(" ")[0], str(number))
        echo.text("hello")
        equal(echo.receive_text(), "hello")
    equal(command("health", f"http://127.0.0.1:{server.port}").returncode, 0)


def test_profile():
    """What is shipped is a default and three calls, as the page says: nothing else was opened."""
    with open(SHIPPED, encoding="utf-8") as file:
        shipped = json.load(file)
    equal(shipped["defaultAction"], "SCMP_ACT_ERRNO")
    *others, added = shipped["syscalls"]
    equal((added["names"], added["action"]), (CALLS, "SCMP_ACT_ALLOW"))
    assert not any(call in rule["names"] for rule in others for call in CALLS)


def test_profile_is_made_of_debians():
    if not os.path.exists(DEBIAN):
        raise Skip("golang-github-docker-docker-dev is not installed")
    with open(profile(source=DEBIAN), encoding="utf-8") as made, open(SHIPPED, encoding="utf-8") as ours:
        equal(ours.read(), made.read())


def test_with_io_uring():
    with Confined(profile()) as server:
        serves(server)
        with open(f"/proc/{server.pid}/status", encoding="ascii") as status:
            text = status.read()
        equal(re.search(r"Seccomp:\s+(\d)", text).group(1), "2", "behind a filter")
        if os.getuid() == 0:
            equal(re.search(r"CapEff:\s+(\d+)", text).group(1), "0" * 16)
            equal(re.search(r"Uid:\s+(\d+)", text).group(1), "65532")


def test_without_io_uring():
    """Where the program has a second ring it serves on that one, and says so; where it has none, it says what to do."""
    path = profile("--without")
    if b"--ring" in command("serve", "--help").stdout:
        with Confined(path) as server:
            serves(server)
            assert any("epoll" in line for line in [*server.lines, *server.errors]), (server.lines, server.errors)
        with Confined(profile(), "--ring", "epoll") as server:
            serves(server)
        return
    done = subprocess.run(confined(path, "serve", "--listen", "127.0.0.1:0"), capture_output=True, text=True,
                          timeout=15 * SLOW, preexec_fn=die_with_parent)
    equal(done.returncode, 1, done.stdout)
    assert re.search(r"io_uring.*(seccomp|forbid)", done.stderr), done.stderr


def test_probe_without_io_uring():
    """probe says it, too, in the same words."""
    done = subprocess.run(confined(profile("--without"), "probe"), capture_output=True, text=True, timeout=15 * SLOW,
                          preexec_fn=die_with_parent)
    assert "io_uring" in done.stdout + done.stderr, done.stdout + done.stderr
    assert b"--ring" in command("serve", "--help").stdout or done.returncode == 1, done.stdout


# ---- the image ----

def root():
    """The image's root, made once."""
    if SANITIZED:
        raise Skip("a sanitized program is not for images")
    path = os.path.join(FOLDER.name, "root")
    if not os.path.exists(path):
        done = subprocess.run(["sh", os.path.join(PACKAGE, "root.sh"), PROGRAM, path], capture_output=True, text=True)
        equal(done.returncode, 0, done.stderr)
    return path


def test_what_is_in_the_image():
    """At most 30 MB: the program, libraries, and nothing that runs beside it."""
    files = [os.path.join(here, name) for here, _, names in os.walk(root()) for name in names]
    files = [path for path in files if not os.path.islink(path)]
    total = sum(os.path.getsize(path) for path in files)
    assert total < 30 << 20, total
    names = {os.path.relpath(path, root()) for path in files}
    assert "usr/bin/ringcast" in names
    strange = [name for name in names if not re.search(r"^usr/bin/ringcast$|\.so[.\d]*$|^etc/(passwd|group)$|"
                                                       r"^etc/ssl/certs/ca-certificates\.crt$|^usr/share/doc/[^/]+/copyright$", name)]
    equal(strange, [])


def test_it_runs_alone():
    """In a root of its own that nobody may write to, as the image's user."""
    if os.getuid() != 0 or not shutil.which("unshare"):
        raise Skip("needs root")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    script = (f'mount --bind "{root()}" "{root()}" && mount -o remount,ro,bind "{root()}" && exec chroot --userspec=65532:65532 '
              f'"{root()}" /usr/bin/ringcast "$@"')
    made = subprocess.run(["unshare", "-m", "sh", "-c", "mount --make-rprivate /"], capture_output=True)
    if made.returncode:
        raise Skip("no mount namespaces here")

    def inside(*arguments):
        return ["unshare", "-m", "sh", "-c", "mount --make-rprivate / && " + script, "sh", *arguments]

    class Alone(Server):
        def __init__(self):
            self._launch(inside("serve", "--listen", f"127.0.0.1:{port}", "--workers", "1", "--echo"))

    with Alone() as server:
        serves(server)
        done = subprocess.run(inside("health", f"http://127.0.0.1:{port}/healthz"), capture_output=True, text=True)
        equal((done.returncode, done.stderr), (0, ""))
    done = subprocess.run(inside("health", f"http://127.0.0.1:{port}/healthz"), capture_output=True, text=True)
    equal(done.returncode, 1)


def test_containerfile():
    """What the image promises stands in both stages' one file."""
    with open(os.path.join(PACKAGE, "Containerfile"), encoding="utf-8") as file:
        text = file.read()
    last = text[text.index("FROM scratch"):]
    for line in ("COPY --from=build /image /", "USER 65532:65532", 'ENTRYPOINT ["/usr/bin/ringcast"]'):
        assert line in last, line
    health = json.loads(re.search(r"HEALTHCHECK .* CMD (\[.*\])", last).group(1))
    words = json.loads(re.search(r"^CMD (\[.*\])", last, re.M).group(1))
    equal(words, ["serve", "--listen", ":8080"])
    help_text = command(*[health[1], "--help"]).stdout.decode()
    assert "http://127.0.0.1:8080/healthz" in help_text, "the health check asks elsewhere than the image listens"


class Storage:
    """Images and containers in a folder of the test's own, and ringcast's image in it."""

    made = None

    def __init__(self):
        if os.getuid() != 0 or not shutil.which("buildah"):
            raise Skip("needs root and buildah: sh tools/setup.sh image")
        root()
        path = os.path.join(FOLDER.name, "storage.conf")
        with open(path, "w", encoding="ascii") as file:
            file.write(f'[storage]\ndriver = "vfs"\ngraphroot = "{FOLDER.name}/images"\nrunroot = "{FOLDER.name}/containers"\n')
        self.environment = dict(os.environ, CONTAINERS_STORAGE_CONF=path, STORAGE_DRIVER="vfs", BUILDAH_ISOLATION="chroot")
        self.do("sh", os.path.join(PACKAGE, "image.sh"), BUILD, "ringcast-test")

    @classmethod
    def get(cls):
        cls.made = cls.made or cls()
        return cls.made

    def call(self, *arguments):
        return subprocess.run(arguments, capture_output=True, text=True, env=self.environment, cwd=TOP)

    def do(self, *arguments):
        done = self.call(*arguments)
        equal(done.returncode, 0, done.stderr)
        return done.stdout


def test_image():
    """Built by buildah of nothing: its user, its words, its health check, its size; and the program runs in it."""
    storage = Storage.get()
    image = json.loads(storage.do("buildah", "inspect", "--type", "image", "ringcast-test"))
    assert sum(layer["size"] for layer in image["Manifest"] and json.loads(image["Manifest"])["layers"]) < 30 << 20
    config = image["Docker"]["config"]
    equal((config["User"], config["Entrypoint"], config["Cmd"]), ("65532:65532", ["/usr/bin/ringcast"], ["serve", "--listen", ":8080"]))
    equal(config["Healthcheck"]["Test"], ["CMD", "/usr/bin/ringcast", "health"])
    equal(list(config["ExposedPorts"]), ["8080/tcp"])
    storage.do("buildah", "from", "--pull-never", "--name", "test", "ringcast-test")
    try:
        done = storage.call("buildah", "run", "test", "--", "/usr/bin/ringcast", "--version")
        if "Operation not permitted" in done.stderr:
            raise Skip("buildah may not run anything here")
        equal((done.returncode, done.stdout), (0, command("--version").stdout.decode()), done.stderr)
    finally:
        storage.do("buildah", "rm", "test")


def test_image_in_podman():
    """As a stranger starts it: read-only, without capabilities; well by its own health check; and it ends by SIGTERM."""
    storage = Storage.get()
    if not shutil.which("podman"):
        raise Skip("podman is not installed: sh tools/setup.sh image")
    common = ["podman", "run", "--rm", "--read-only", "--cap-drop", "ALL", "--network", "host", "--security-opt", f"seccomp={SHIPPED}"]
    tried = storage.call(*common, "ringcast-test", "--version")
    if tried.returncode:
        raise Skip("podman runs nothing here: " + tried.stderr.strip().splitlines()[-1][:150])

    class Contained(Server):
        def __init__(self):
            self.storage = storage
            os.environ.update(CONTAINERS_STORAGE_CONF=storage.environment["CONTAINERS_STORAGE_CONF"], STORAGE_DRIVER="vfs")
            self._launch([*common, "--name", "test", "ringcast-test", "serve", "--listen", "127.0.0.1:0", "--workers", "1", "--echo"])

    with Contained() as server:
        serves(server)
        storage.do("podman", "exec", "test", "/usr/bin/ringcast", "health", f"http://127.0.0.1:{server.port}")


run(globals(), limit=60)
