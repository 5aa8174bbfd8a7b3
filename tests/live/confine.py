# SPDX-License-Identifier: MIT
"""confine.py PROFILE PROGRAM...: runs a program as a container would: behind a seccomp profile of Docker's kind, as a user
who is not root and has no capability, and with the 8 MB of locked memory that systemd gives to services. What container tools do with such a profile, this
does by libseccomp: rules that want a capability are left out, and calls that libseccomp does not know, too."""
import json
import os
import platform
import resource
import sys

import seccomp

USER = 65532
ACTIONS = {"SCMP_ACT_ALLOW": seccomp.ALLOW}
OPERATORS = {"SCMP_CMP_NE": seccomp.NE, "SCMP_CMP_LT": seccomp.LT, "SCMP_CMP_LE": seccomp.LE, "SCMP_CMP_EQ": seccomp.EQ,
             "SCMP_CMP_GE": seccomp.GE, "SCMP_CMP_GT": seccomp.GT, "SCMP_CMP_MASKED_EQ": seccomp.MASKED_EQ}
MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]


def action(name, number):
    return ACTIONS.get(name) or seccomp.ERRNO(number or 1)


def holds(rule):
    """Whether a rule is for this machine, and for a process without capabilities."""
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    return (not includes.get("caps") and MACHINE in includes.get("arches", [MACHINE]) and
            MACHINE not in excludes.get("arches", []))


def arguments(rule):
    for each in rule.get("args") or []:
        if each["op"] == "SCMP_CMP_MASKED_EQ":
            yield seccomp.Arg(each["index"], seccomp.MASKED_EQ, each["value"], each.get("valueTwo", 0))
        else:
            yield seccomp.Arg(each["index"], OPERATORS[each["op"]], each["value"])


def load(profile):
    default = action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    rules = seccomp.SyscallFilter(default)
    for rule in filter(holds, profile["syscalls"]):
        for name in rule["names"]:
            try:
                rules.add_rule(action(rule["action"], rule.get("errnoRet")), name, *arguments(rule))
            except (RuntimeError, ValueError, OSError):
                pass
    rules.load()


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        profile = json.load(file)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (8 << 20, 8 << 20))
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(USER)
        os.setuid(USER)
    load(profile)
    os.execv(sys.argv[2], sys.argv[2:])


main()
