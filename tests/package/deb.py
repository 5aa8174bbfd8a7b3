# SPDX-License-Identifier: MIT
"""deb.py BUILD: the packages of `make deb` in a bare Debian 12, which debootstrap makes in BUILD/bare: installed by apt from
Debian's own archive, used, upgraded, removed, purged. It skips where debootstrap, root or the archive is not to be had.

The bare system is kept from one run to the next, and copied for each. Mounts are made in a namespace of their own, so that
none is left behind.
"""
import glob
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "live"))

from harness import BUILD, SLOW, Server, Skip, equal, run  # noqa: E402 (the path comes first)

BARE = os.path.join(BUILD, "bare")
ROOT = os.path.join(BARE, "root")
PACKAGES = ["ringcast", "libringcast1", "libringcast-dev"]
USER = "ringcast"


def packages():
    found = {re.match(r"[^_]+", os.path.basename(path)).group(): path for path in glob.glob(os.path.join(BUILD, "deb/*.deb"))}
    if not set(PACKAGES) <= set(found):
        raise Skip("no packages: make deb")
    return [found[name] for name in PACKAGES]


def archive():
    """Where apt gets Debian from here."""
    for path in ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"):
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                found = re.search(r"^(?:URIs: *|deb (?:\[[^]]*\] )?)(\S+)", file.read(), re.M)
            if found:
                return path, found.group(1)
    raise Skip("no Debian archive in apt's sources")


def pristine():
    """Debian 12 with nothing but what every Debian has."""
    path = os.path.join(BARE, "pristine")
    if os.path.exists(path + ".done"):
        return path
    if os.getuid() != 0 or not shutil.which("debootstrap"):
        raise Skip("needs root and debootstrap")
    sources, mirror = archive()
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(BARE, exist_ok=True)
    print("# making a bare Debian 12", flush=True)
    done = subprocess.run(["debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", path, mirror],
                          capture_output=True, text=True)
    if done.returncode:
        raise Skip("debootstrap: " + (done.stderr or done.stdout).strip().splitlines()[-1])
    # The machine's own way to the archive, whatever it is.
    if os.path.exists(path + "/etc/apt/sources.list"):
        os.remove(path + "/etc/apt/sources.list")
    shutil.copy(sources, path + os.path.dirname(sources))
    for name in glob.glob("/etc/apt/apt.conf.d/*") + ["/etc/ssl/certs/ca-certificates.crt"]:
        shutil.copy(name, path + name)
    open(path + ".done", "w", encoding="ascii").close()
    return path


def inside(*arguments):
    """What it takes to run a command in the bare system."""
    script = (f'mount --make-rprivate / && cd "{ROOT}" && mount -t proc proc proc && mount --rbind /dev dev && '
              f'mount --rbind /sys sys && exec chroot . /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root '
              f'DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"')
    return ["unshare", "-m", "sh", "-c", script, "sh", *arguments]


def do(*arguments, status=0):
    done = subprocess.run(inside(*arguments), capture_output=True, text=True, stdin=subprocess.DEVNULL)
    equal(done.returncode, status, f"{' '.join(arguments)}: {done.stdout[-600:]} {done.stderr[-600:]}")
    return done.stdout


def ours():
    """Every file in the bare system whose path names us."""
    return sorted(os.path.relpath(os.path.join(here, name), ROOT) for here, folders, names in os.walk(ROOT)
                  for name in folders + names if "ringcast" in name and not here.startswith(os.path.join(ROOT, "root")))


def made():
    if not os.path.exists(os.path.join(ROOT, "usr/bin/ringcast")):
        raise Skip("nothing was installed")


def test_lintian():
    """Debian's own checker has no complaint. That an upload must close a bug of Debian's is not for us."""
    if not shutil.which("lintian"):
        raise Skip("lintian is not installed")
    packages()
    changes, = glob.glob(os.path.join(BUILD, "deb/*.changes"))
    done = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", "--suppress-tags", "initial-upload-closes-no-bugs",
                           changes], capture_output=True, text=True)
    equal((done.returncode, done.stdout), (0, ""), done.stderr)


def test_install():
    names = packages()
    base = pristine()
    shutil.rmtree(ROOT, ignore_errors=True)
    subprocess.run(["cp", "-a", base, ROOT], check=True)
    for path in ("/etc/resolv.conf", "/etc/hosts"):
        if os.path.exists(path):
            shutil.copy(path, ROOT + path)
    os.makedirs(ROOT + "/root/packages")
    for name in names:
        shutil.copy(name, ROOT + "/root/packages")
    updated = subprocess.run(inside("apt-get", "update", "-qq"), capture_output=True, text=True)
    if updated.returncode:
        raise Skip("the archive does not answer: " + updated.stderr.strip()[-200:])
    equal(ours(), [])
    do("sh", "-c", "apt-get install -y -qq --no-install-recommends /root/packages/*.deb")
    user = do("getent", "passwd", USER).strip().split(":")
    assert 100 <= int(user[2]) < 1000 and user[6] == "/usr/sbin/nologin" and user[5] == "/nonexistent", user
    for name in PACKAGES:
        equal(do("dpkg", "-V", name), "", name)


def test_places():
    """Where Debian looks for each kind of file; and no unit was switched on unasked."""
    made()
    there = set(ours())
    triplet = os.path.basename(os.path.dirname(glob.glob(ROOT + "/usr/lib/*/libringcast.so")[0]))
    for path in ("usr/bin/ringcast", f"usr/lib/{triplet}/libringcast.so.1", f"usr/lib/{triplet}/libringcast.a", f"usr/lib/{triplet}/pkgconfig/ringcast.pc",
                 "usr/include/ringcast.h", "usr/share/man/man1/ringcast.1.gz", "usr/share/man/man7/ringcast-latency.7.gz",
                 "usr/share/man/man3/ringcast.3.gz", "etc/ringcast.conf", "usr/share/bash-completion/completions/ringcast",
                 "usr/share/zsh/vendor-completions/_ringcast", "usr/share/fish/vendor_completions.d/ringcast.fish"):
        assert path in there, f"{path} is not among {sorted(there)}"
    with open(glob.glob(ROOT + "/usr/lib/systemd/system/ringcast.service")[0], encoding="utf-8") as file:
        text = file.read()
    assert "ExecStart=/usr/bin/ringcast app --config /etc/ringcast.conf" in text and "\nUser=ringcast\n" in text, text
    equal([path for path in there if ".wants/" in path], [])


def test_program():
    """As its own user it takes the settings that come along, serves, and says that it is well."""
    made()
    with open(glob.glob(os.path.join(BUILD, "deb/ringcast-*/tools/package/commit"))[0], encoding="ascii") as file:
        equal(do("ringcast", "--version").splitlines()[1], "commit " + file.read().strip())
    do("ringcast", "config", "check", "/etc/ringcast.conf")

    class Installed(Server):
        def __init__(self):
            self._launch(inside("setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", "/usr/bin/ringcast", "app", "--config",
                                "/etc/ringcast.conf", "--listen", "127.0.0.1:0", "--log-format", "text"))

    with Installed() as server:
        do("ringcast", "health", f"http://127.0.0.1:{server.port}")
        with server.connect("/ws/a") as raw:
            assert '"welcome"' in raw.receive_text()


PROGRAM = """
#include <ringcast.h>
#include <stdio.h>
int main(void) { return printf("%s\\n", rc_version()) < 0; }
"""


def test_library():
    """A program built by what pkg-config says runs there, with the library of the package."""
    made()
    if not shutil.which("gcc") or not shutil.which("pkg-config"):
        raise Skip("needs gcc and pkg-config")
    source, program = os.path.join(BARE, "program.c"), ROOT + "/root/program"
    with open(source, "w", encoding="ascii") as file:
        file.write(PROGRAM)
    folder = glob.glob(ROOT + "/usr/lib/*/pkgconfig/ringcast.pc")[0]
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "--keep-system-libs", "--keep-system-cflags", "ringcast"], check=True,
                           capture_output=True, text=True, env={"PATH": os.environ["PATH"], "PKG_CONFIG_LIBDIR": os.path.dirname(folder),
                                                                "PKG_CONFIG_SYSROOT_DIR": ROOT}).stdout.split()
    equal([flag for flag in flags if "rpath" in flag], [])
    done = subprocess.run(["gcc", source, "-o", program, *flags, "-Wl,--allow-shlib-undefined"], capture_output=True, text=True)
    equal(done.returncode, 0, done.stderr)
    equal(do("/root/program").strip(), do("ringcast", "--version").split()[1])


def test_upgrade():
    """What the administrator wrote into the settings stays, and there is one user."""
    made()
    with open(ROOT + "/etc/ringcast.conf", "a", encoding="ascii") as file:
        file.write("# mine\n")
    do("sh", "-c", "apt-get install -y -qq --reinstall --no-install-recommends /root/packages/*.deb")
    with open(ROOT + "/etc/ringcast.conf", encoding="ascii") as file:
        assert file.read().endswith("# mine\n")
    equal(do("grep", "-c", "^ringcast:", "/etc/passwd").strip(), "1")


def test_remove():
    """Removing leaves the settings and the user, purging the user alone; it may own keys that the administrator made."""
    made()
    do("apt-get", "remove", "-y", "-qq", *PACKAGES)
    left = [path for path in ours() if not path.startswith(("var/lib/dpkg", "var/cache", "var/lib/systemd"))]
    equal(left, ["etc/ringcast.conf"])
    do("dpkg", "--purge", "ringcast")
    equal(ours(), [])
    do("getent", "passwd", USER)


run(globals(), limit=600 // SLOW)
