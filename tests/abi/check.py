#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""check.py BUILD [--freeze]: whether a program that was built against the frozen headers still runs with the library in
BUILD, as far as a comparison can tell. README.md says what is frozen and when. Each line is "ok abi ...", or "FAIL abi
...", behind what was found.

  abidiff     of the library's functions and their types, with what growing.abignore lets pass
  layout      each member is where it was and what it was; only structs that may grow did; and no new member lies where an
              older program has padding: nobody sets that, and it would be read
  constants   each macro and enumerator of the frozen headers is there, and has the same value: programs have it inside
  sizes       who takes a struct from its caller takes its size, unless the struct keeps its size for ever (FIXED)

--freeze makes what the library is today the one to compare with.
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
FROZEN = os.path.join(HERE, "ringcast.abi")
FROZEN_HEADERS = os.path.join(HERE, "include")
GROWING = os.path.join(HERE, "growing.abignore")
COMPILER = (os.environ.get("CC") or "gcc").split()
# Structs that a caller hands over without a size, since they never grow: engine/ringcast.h says so, "Versions".
FIXED = {"rc_error", "rc_event_id"}
# What a version may change without harm.
VARIES = re.compile(r"^RC_(API|VERSION(_\w+)?)$")


def headers_of(folder):
    return sorted(glob.glob(os.path.join(folder, "ringcast*.h")))


def library_of(build):
    found = glob.glob(os.path.join(build, "libringcast.so.*.*.*"))
    if len(found) != 1:
        sys.exit(f"FAIL abi: {len(found)} shared libraries in {build}: run make")
    return found[0]


def dump(library, headers, output):
    """What a library shows, as XML, without what differs from machine to machine."""
    subprocess.run(["abidw", "--exported-interfaces-only", "--drop-private-types", "--headers-dir", headers,
                    "--no-architecture", "--no-corpus-path", "--no-comp-dir-path", "--no-show-locs", "--no-elf-needed",
                    "--short-locs", "--out-file", output, library], check=True)


def differences(old, new):
    """What abidiff has to say of two dumps; nothing where all is well."""
    done = subprocess.run(["abidiff", "--no-default-suppression", "--suppressions", GROWING, "--no-added-syms", old, new],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout.splitlines() or ["abidiff ended with %d" % done.returncode] if done.returncode else []


class Types:
    """The types of a dump in words, typedefs resolved. A struct is its name, so that a change of it is told once."""

    def __init__(self, dumped):
        self.tree = ElementTree.parse(dumped)
        self.by_id = {element.get("id"): element for element in self.tree.iter() if element.get("id")}

    def words(self, identity):
        element = self.by_id[identity]
        kind, of = element.tag, element.get("type-id")
        if kind == "typedef-decl":
            return self.words(of)
        if kind == "pointer-type-def":
            return "*" + self.words(of)
        if kind == "qualified-type-def":
            return "const " + self.words(of)
        if kind == "array-type-def":
            return f"{element.get('size-in-bits')} bits of {self.words(of)}"
        if kind == "function-type":
            parameters = [self.words(parameter.get("type-id")) for parameter in element.iter("parameter")]
            return f"{self.words(element.find('return').get('type-id'))}({', '.join(parameters)})"
        if element.get("is-anonymous"):
            return ", ".join(f"{where} {what} {name}" for name, (where, what) in self.members(element).items())
        return element.get("name")

    def members(self, struct):
        """name: (offset in bits, type)"""
        return {member.find("var-decl").get("name"): (int(member.get("layout-offset-in-bits")),
                                                      self.words(member.find("var-decl").get("type-id")))
                for member in struct.findall("data-member")}

    def structs(self):
        """name: (size in bits, members), of ours that have a body."""
        return {struct.get("name"): (int(struct.get("size-in-bits")), self.members(struct))
                for struct in self.tree.iter("class-decl")
                if struct.get("size-in-bits") and struct.get("name").startswith("rc_")}


def growing():
    """What the suppressions name, as a pattern."""
    with open(GROWING, encoding="utf-8") as file:
        return re.compile(re.search(r"^\s*name_regexp = (.*)$", file.read(), re.M).group(1))


def moved(old, new):
    """With a suppression abidiff looks at nothing else in that struct, nor at what is reached through it alone."""
    lines, now, may_grow = [], Types(new).structs(), growing()
    for name, (size, members) in sorted(Types(old).structs().items()):
        if name not in now:
            lines.append(f"struct {name} is gone")
            continue
        if now[name][0] != size and not may_grow.match(name):
            lines.append(f"struct {name} had {size // 8} bytes, and has {now[name][0] // 8}: it is not one that may grow")
        for member, (offset, words) in now[name][1].items():
            if member in members and (offset, words) != members[member]:
                was = members[member]
                lines.append(f"struct {name}: `{member}` was {was[1]} at byte {was[0] // 8}, "
                             f"and is {words} at {offset // 8}")
            elif member not in members and offset < size:
                lines.append(f"struct {name}: the new member `{member}` is at byte {offset // 8}, inside the {size // 8} of "
                             "before: put padding with a name in front of it, or make it wider")
        lines += [f"struct {name}: `{member}` is gone" for member in members if member not in now[name][1]]
    return lines


def constants_of(folder):
    """name: value, of each object-like macro and each enumerator that the headers of a folder define."""
    text = "".join(f'#include "{os.path.basename(path)}"\n' for path in headers_of(folder))
    call = [*COMPILER, "-I", folder, "-x", "c"]
    macros = subprocess.run([*call, "-E", "-dM", "-"], input=text, capture_output=True, text=True, check=True).stdout
    names = set(re.findall(r"^#define (RC_\w+)(?= .)", macros, re.M))
    for path in headers_of(folder):
        with open(path, encoding="utf-8") as file:
            code = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
        for body in re.findall(r"\benum\b[^{;]*\{(.*?)\}", code, re.S):
            names |= set(re.findall(r"\bRC_\w+(?=\s*(?:=|,|$))", body))
    names = sorted(name for name in names if not VARIES.match(name))
    with tempfile.TemporaryDirectory() as scratch:
        program = os.path.join(scratch, "constants")
        text += "#include <stdio.h>\nint main(void)\n{\n"
        text += "".join(f'printf("{name} %lld\\n", (long long)({name}));\n' for name in names)
        subprocess.run([*call, "-o", program, "-"], input=text + "}\n", check=True, text=True)
        shown = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return dict(line.split() for line in shown.splitlines())


def changed_constants(old, new):
    before, now = constants_of(old), constants_of(new)
    return [f"{name} was {value}" + (f", and is {now[name]}" if name in now else ", and is gone")
            for name, value in before.items() if now.get(name) != value]


def declarations(folder):
    """(name, the whole declaration, comments left out) of each function, and name: expansion of each macro like one."""
    functions, macros = [], {}
    for path in headers_of(folder):
        with open(path, encoding="utf-8") as file:
            code = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
        functions += [(re.search(r"\b(rc_\w+)\(", declared).group(1), declared)
                      for declared in re.findall(r"^RC_API\s+([^;]*?\))\s*;", code, re.M)]
        macros.update(re.findall(r"^#define (rc_\w+)\(\.\.\.\) (.*)$", code, re.M))
    return functions, macros


def unsized(folder):
    functions, macros = declarations(folder)
    lines = []
    for name, declared in functions:
        parameters = re.sub(r"\(\*\w+\)\([^()]*\)", "", declared[declared.index(name + "("):])
        taken = [struct for struct in re.findall(r"\bstruct (rc_\w+) \*", parameters) if struct not in FIXED]
        if taken and f"{name}(__VA_ARGS__, sizeof(struct {taken[0]}))" != macros.get(name):
            lines.append(f"{name}: needs a last parameter `size_t struct_size`, and behind it\n"
                         f"    #define {name}(...) {name}(__VA_ARGS__, sizeof(struct {taken[0]}))")
        if taken and not growing().match(taken[0]):
            lines.append(f"struct {taken[0]} is neither in growing.abignore nor in FIXED of check.py")
        if len(taken) > 1:
            lines.append(f"{name}: takes {' and '.join(taken)} with one size")
        if bool(taken) != parameters.endswith("size_t struct_size)"):
            lines.append(f"{name}: `struct_size` stands last where a struct is taken that may grow, and only there")
    return lines


def compare(old, new, old_headers, new_headers):
    """[(check, what it found)], of two dumps and the headers that belong to them."""
    return [("abidiff", differences(old, new)), ("layout", moved(old, new)),
            ("constants", changed_constants(old_headers, new_headers)), ("sizes", unsized(new_headers))]


def copy_headers(folder):
    for room in ("engine", "uring"):
        for path in headers_of(os.path.join(TOP, room)):
            shutil.copy(path, folder)


def freeze(build):
    for path in headers_of(FROZEN_HEADERS):
        os.remove(path)
    copy_headers(FROZEN_HEADERS)
    dump(library_of(build), FROZEN_HEADERS, FROZEN)
    print(f"frozen: {os.path.basename(library_of(build))} as {os.path.relpath(FROZEN, TOP)}")


def main(arguments):
    build = arguments[0]
    if "--freeze" in arguments:
        freeze(build)
        return 0
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        today = os.path.join(scratch, "today.abi")
        headers = os.path.join(scratch, "include")
        os.mkdir(headers)
        copy_headers(headers)
        dump(library_of(build), headers, today)
        for check, found in compare(FROZEN, today, FROZEN_HEADERS, headers):
            print("".join(f"  {line}\n" for line in found) + ("FAIL" if found else "ok"), "abi", check)
            failed |= bool(found)
    if failed:
        print("  a program built before would not survive this: take it back, or see tests/abi/README.md")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
