# SPDX-License-Identifier: MIT
"""Zero-copy sends (--zero-copy-min), on this very kernel: what arrives is what was published though the log comes around
under it, the counters say what the kernel did, and who acknowledges nothing is cut off before publishers have to wait."""
import os
import tempfile

from harness import Raw, Server, Skip, command, equal, run, until


def zero_copy_server(*flags, **more):
    """Linux 6.14 says whether it copied; before, and on epoll, the flag does nothing."""
    if os.environ.get("RC_RING"):
        raise Skip("zero copy is for the newest io_uring")
    release = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
    if release < (6, 14):
        raise Skip("zero copy begins with Linux 6.14")
    return Server(*flags, **more)


def test_content_and_order():
    with zero_copy_server("--zero-copy-min", "1", "--log-size", "1m") as server:
        readers = [server.connect("/topic/T") for _ in range(20)]
        until(lambda: server.stats()["subscriptions"] == 20, "subscriptions")
        with server.connect("/publish/T") as writer:
            for number in range(60):  # the log comes around three times
                texts = [f"{number} {index} ".encode() + os.urandom(15000).hex().encode() for index in range(2)]
                for text in texts:
                    writer.text(text)
                for reader in readers:
                    for text in texts:
                        equal(reader.receive()[1], text)
        stats = server.stats()
        assert stats["sends_zero_copy"] >= 20, stats["sends_zero_copy"]
        # Loopback copies in the end, the kernel says so, and nobody is sent to like this again.
        until(lambda: server.stats()["zero_copies_copied"] >= 20, "the kernel's word")
        equal(server.stats()["sends_zero_copy"], stats["sends_zero_copy"])


def test_the_probe_tells_what_happens():
    """It tries one, and says of it what the kernel says of a server's."""
    with zero_copy_server("--zero-copy-min", "1") as server:
        with server.connect("/topic/T") as reader, server.connect("/publish/T") as writer:
            until(lambda: server.stats()["subscriptions"] == 1, "a subscription")
            writer.text("x" * 20000)
            reader.receive()
            # Until the kernel has let go of the bytes, its word is not there.
            until(lambda: server.stats()["sends_zero_copy"] == 1, "a zero-copy send")
        copied = bool(until(lambda: server.stats()["zero_copies_copied"] or not server.stats()["connections"] > 1, "the end"))
    said, = (line for line in command("probe").stdout.decode().splitlines() if line.startswith("zero-copy send"))
    assert said.split()[2] == "yes" and "tried here" in said, said
    equal("was copied after all" in said, copied, said)


def test_not_below_the_size():
    with zero_copy_server("--zero-copy-min", "10k") as server:
        with server.connect("/topic/T") as reader, server.connect("/publish/T") as writer:
            until(lambda: server.stats()["subscriptions"] == 1, "a subscription")
            writer.text(b"x" * 9000)
            equal(len(reader.receive_text()), 9000)
            equal(server.stats()["sends_zero_copy"], 0)
            writer.text(b"x" * 11000)
            equal(len(reader.receive_text()), 11000)
            equal(server.stats()["sends_zero_copy"], 1)


def test_over_a_unix_socket_it_copies():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "s")
        with zero_copy_server("--zero-copy-min", "1", listen=("unix:" + path, "127.0.0.1:0")) as server:
            with Raw(path).open("/topic/T") as reader, Raw(path).open("/publish/T") as writer:
                for text in ("one", "two"):
                    writer.text(text)
                    equal(reader.receive_text(), text)


def test_who_acknowledges_nothing_is_cut_off():
    """Its window is shut, so the kernel holds the log's bytes; publishers go on, and the other reader misses nothing."""
    with zero_copy_server("--zero-copy-min", "1", "--log-size", "1m", "--notsent-lowat", "1m") as server:
        stalled = Raw(server, receive_buffer=2048)
        stalled.open("/topic/T")
        reader = server.connect("/topic/T")
        until(lambda: server.stats()["subscriptions"] == 2, "subscriptions")
        text = os.urandom(60000).hex()
        with server.connect("/publish/T") as writer:
            for _ in range(40):  # twice the log and more
                writer.text(text)
                equal(reader.receive_text(), text)
        stats = server.stats()
        equal(stats["publish_refused"], 0)
        until(lambda: server.stats()["connections"] == 2, "the end of the stalled one")  # the reader, and who asks
        equal(server.stats()["slow_closed"], 1)
        stalled.socket.close()
        reader.close()


run(globals())
