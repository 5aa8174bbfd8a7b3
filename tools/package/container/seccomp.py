#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""seccomp.py [--without] DEFAULT.json: prints a default profile of Docker's kind with the three calls of io_uring allowed in
a rule of their own; or, with --without, allowed nowhere, as today's defaults have it. Some older ones allow them.

seccomp.json beside this file was made so from the profile of Debian 12's Docker (package golang-github-docker-docker-dev,
Apache License 2.0). Where your Docker is newer, give this your own default profile.
"""
import json
import sys

CALLS = ["io_uring_setup", "io_uring_enter", "io_uring_register"]


def profile(default, allowed):
    """The default without the three calls, and with a rule for them behind the others if they are to be allowed."""
    rules = []
    for rule in default["syscalls"]:
        names = [name for name in rule["names"] if name not in CALLS]
        if names:
            rules.append(dict(rule, names=names))
    if allowed:
        rules.append({"names": CALLS, "action": "SCMP_ACT_ALLOW", "comment": "io_uring, for ringcast"})
    return dict(default, syscalls=rules)


def main():
    with open(sys.argv[-1], encoding="utf-8") as file:
        default = json.load(file)
    json.dump(profile(default, "--without" not in sys.argv), sys.stdout, indent="\t")
    print()


if __name__ == "__main__":
    main()
