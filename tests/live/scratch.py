# SPDX-License-Identifier: MIT
"""A folder of a test's own, which ends with it."""
import os
import tempfile

DIRECTORY = tempfile.TemporaryDirectory()


def at(name):
    return os.path.join(DIRECTORY.name, name)


def write(name, text):
    with open(at(name), "w", encoding="utf-8") as file:
        file.write(text)
    return at(name)
