# SPDX-License-Identifier: MIT
"""A few seconds of tests/soak/test_backplane.py: sixty clients on three nodes, one cut of a connection to Redis and one node
that is killed and comes back; nothing is lost, doubled or out of order. RC_SEED=number repeats the choices."""
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "soak"))
from harness import Skip, command, equal, run  # noqa: E402
import test_backplane as soak  # noqa: E402


class OneOfEach:
    """A cut after a second, a dead node after two."""

    def __init__(self, engine, nodes, chance, seconds):
        self.engine, self.nodes, self.chance = engine, nodes, chance
        self.counts, self.begin = soak.Counter(), time.monotonic()
        self.left = [(1, "cut", self.cut), (2, "kill node", self.kill)]

    def look(self):
        if self.left and time.monotonic() - self.begin > self.left[0][0]:
            _, kind, do = self.left.pop(0)
            self.counts[kind] += 1
            do()

    def cut(self):
        cut = self.chance.choice(self.engine.cuts)
        cut.cut()
        time.sleep(0.2)
        cut.mend()

    def kill(self):
        node = self.chance.choice(self.nodes)
        node.kill()
        time.sleep(0.3)
        node.start()


def test_little_of_all():
    if "redis" not in command("probe").stdout.decode():
        raise Skip("this build has no Redis")
    equal(dict(soak.soak("redis", 60, 3000, 4, OneOfEach)), {})


if __name__ == "__main__":
    run(globals(), limit=60)
