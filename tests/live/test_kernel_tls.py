# SPDX-License-Identifier: MIT
"""--kernel-tls, where the kernel has it (Debian's 6.1 with its module tls in the virtual machine, say): everything that
test_tls.py asks of wss, asked again; and what is the kernel's alone. Where it has not, nothing changes but a counter."""
import os
import ssl
import subprocess

import test_tls
from harness import PROGRAM, Skip, equal, run, until
from test_tls import Both, Secure, trusting

FOUND = "kernel TLS" in "".join(line for line in subprocess.run([PROGRAM, "probe"], capture_output=True, text=True,
                                                                check=False).stdout.splitlines()
                                if "where --kernel-tls asks" in line)


class ByKernel(Both):
    def __init__(self, *flags, **more):
        super().__init__("--kernel-tls", *flags, **more)


def test_what_the_probe_says_is_what_happens():
    with ByKernel("--echo", "--relay") as server:
        with Secure(server, trusting(ssl.TLSVersion.TLSv1_3)) as raw, Secure(server, trusting(ssl.TLSVersion.TLSv1_2)) as old:
            for one in raw, old:
                one.open("/echo")
                for size in (0, 1, 16384, 70000, 1 << 20):
                    data = os.urandom(size)
                    one.binary(data)
                    assert one.receive()[1] == data, f"binary of {size} bytes"
            server.figure("tls_kernel", 1 if FOUND else 0)  # TLS 1.2 stays with us
            equal(raw.close(), 1000)
            equal(old.close(), 1000)


def test_broadcasts():
    with ByKernel("--relay") as server:
        readers = [Secure(server, trusting(ssl.TLSVersion.TLSv1_3)).open("/topic/t") for _ in range(20)]
        writer = server.connect("/publish/t")
        sizes = [0, 1, 200, 16384, 70000, 300000] + [50] * 300
        for number, size in enumerate(sizes):
            writer.text(f"{number} " + "x" * size)
        for reader in readers:
            for number, size in enumerate(sizes):
                equal(reader.receive_text(), f"{number} " + "x" * size)
        server.figure("tls_kernel", 20 if FOUND else 0)
        server.figure("tls_errors", 0)


def test_an_alert_is_a_record_of_its_own():
    """What the peer did wrong is answered by an alert, which it can read: a record that the kernel made."""
    if not FOUND:
        raise Skip("this kernel makes no TLS records")
    with ByKernel("--echo") as server:
        raw = Secure(server, trusting(ssl.TLSVersion.TLSv1_3)).open("/echo")
        raw.text("x")
        equal(raw.receive_text(), "x")
        os.write(raw.socket.fileno(), bytes((23, 3, 3, 0, 40)) + bytes(40))
        try:
            raw.socket.recv(1)
            raise AssertionError("no alert")
        except ssl.SSLError as error:
            assert "BAD_RECORD_MAC" in str(error) or "bad record mac" in str(error).lower(), error
        server.figure("tls_errors", 1)


def again(test):
    """A test of test_tls.py, with the flag."""
    def with_kernel():
        test_tls.Both = ByKernel
        try:
            test()
        finally:
            test_tls.Both = Both
    return with_kernel


if FOUND:
    for name, test in list(vars(test_tls).items()):
        if name.startswith("test_"):
            globals()[name] = again(test)

run(dict(globals()), limit=40)
