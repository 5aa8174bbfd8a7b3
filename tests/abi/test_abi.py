# SPDX-License-Identifier: MIT
"""A program that was built against the frozen headers runs with today's library; so does one of another version, older or
newer than the library; and check.py lets additions pass and finds whatever would harm a program built before, each change
made here in a copy of the headers."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "live")]
import check  # noqa: E402
from harness import BUILD, SANITIZED, SLOW, TOP, Skip, equal, run  # noqa: E402

HEADERS = os.path.join(TOP, "engine")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


class House:
    """Headers, changed or not, and a library without contents that shows what they declare."""

    def __init__(self, headers, changes=()):
        self.scratch = tempfile.TemporaryDirectory()
        self.root = self.scratch.name
        self.headers = os.path.join(self.root, "include")
        os.mkdir(self.headers)
        texts = {os.path.basename(path): read(path) for path in check.headers_of(headers)}
        for before, after in changes:
            holders = [name for name, text in texts.items() if before in text]
            equal(len(holders), 1, f"files with {before!r}")
            equal(texts[holders[0]].count(before), 1, before)
            texts[holders[0]] = texts[holders[0]].replace(before, after)
        for name, text in texts.items():
            with open(os.path.join(self.headers, name), "w", encoding="utf-8") as file:
                file.write(text)
        self.texts = texts

    def at(self, name):
        return os.path.join(self.root, name)

    def compile(self, *arguments):
        done = subprocess.run([*check.COMPILER, "-g", "-Wall", "-Werror", "-I", self.headers, *arguments],
                              capture_output=True, text=True)
        equal(done.returncode, 0, done.stderr)

    def library(self):
        """Each function aborts: what matters is its name, its version and its type."""
        lines = [f'#include "{name}"' for name in self.texts]
        for name, declared in check.declarations(self.headers)[0]:
            lines.append(declared.replace(f"{name}(", f"({name})(", 1) + "\n{\n\t__builtin_abort();\n}")
        with open(self.at("library.c"), "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        self.compile("-shared", "-fPIC", "-Wno-return-type", "-Wl,-soname," + soname(check.library_of(BUILD)),
                     "-Wl,--version-script=" + os.path.join(TOP, "uring/ringcast.map"), "-o", self.at("libringcast.so"),
                     self.at("library.c"))
        return self.at("libringcast.so")

    def dump(self):
        if not os.path.exists(self.at("dumped.abi")):
            check.dump(self.library(), self.headers, self.at("dumped.abi"))
        return self.at("dumped.abi")

    def run_program(self, *changes):
        """Builds program.c here, against the library without contents, and runs it with the one in BUILD."""
        source, today, folder = read(os.path.join(HERE, "program.c")), check.library_of(BUILD), self.at("today")
        for before, after in changes:
            equal(source.count(before), 1, before)
            source = source.replace(before, after)
        with open(self.at("program.c"), "w", encoding="utf-8") as file:
            file.write(source)
        self.compile("-o", self.at("program"), self.at("program.c"), self.library())
        os.mkdir(folder)
        os.symlink(today, os.path.join(folder, soname(today)))
        done = subprocess.run([self.at("program")], env=dict(os.environ, LD_LIBRARY_PATH=folder), capture_output=True,
                              text=True, timeout=20 * SLOW)
        equal(done.returncode, 0, done.stderr)


def soname(library):
    shown = subprocess.run(["readelf", "-d", library], capture_output=True, text=True, check=True).stdout
    return re.search(r"SONAME.*\[(.*)\]", shown).group(1)


def house(headers=HEADERS, changes=()):
    if SANITIZED:
        raise Skip("the sanitizer builds have no shared library")
    return House(headers, changes)


def struct(name):
    """The lines of a struct in today's headers."""
    found = [body for path in check.headers_of(HEADERS)
             for body in re.findall(rf"^struct {name} \{{\n.*?^\}};\n", read(path), re.M | re.S)]
    equal(len(found), 1, f"structs {name}")
    return found[0]


def longer(name, member):
    return struct(name), struct(name)[:-len("};\n")] + f"\t{member};\n}};\n"


def changed(name, pattern, by):
    after, count = re.subn(pattern, by, struct(name), flags=re.M)
    equal(count, 1, f"{pattern} in struct {name}")
    return struct(name), after


def before(name, member):
    """As the struct was before this member came, and those behind it."""
    return changed(name, rf"^\t[^/\n]*\b{member}[;,\[](.*\n)*", "};\n")


# What may come in a later version, and what check.py must not complain of.
NUMBER = "RC_API unsigned rc_version_number(void);"
SUBSCRIBE = "rc_subscribe(__VA_ARGS__, sizeof(struct rc_start))"
BEHIND = "RC_API int rc_unsubscribe("
ADDITIONS = {
    "two counters": longer("rc_stats", "uint64_t later[2]"),
    "a setting": longer("rc_config", "size_t later_size"),
    "an option": longer("rc_connect_options", "void *later"),
    "an option of topics": longer("rc_topic_options", "uint64_t later"),
    "an option of TLS": longer("rc_tls_options", "const char *later"),
    "more of where to start": longer("rc_start", "uint64_t later"),
    "more to publish": longer("rc_publication", "uint64_t later"),
    "more of a topic": longer("rc_topic_stats", "uint64_t later"),
    "more of a lag": longer("rc_lag_stats", "uint64_t later"),
    "more of a message": longer("rc_message", "uint64_t later"),
    "more of an end": longer("rc_closing", "const char *later"),
    "more of the past": longer("rc_past", "uint64_t later"),
    "a function": (BEHIND, "RC_API int rc_later(void);\n" + BEHIND),
    "a policy": ("RC_POLICY_LAST = RC_POLICY_RESYNC,\n", "RC_POLICY_LAST = RC_POLICY_RESYNC,\n\tRC_POLICY_LATER,\n"),
    "a flag": ("\tRC_PUBLISH_UNCHECKED = 4,\n", "\tRC_PUBLISH_UNCHECKED = 4,\n\tRC_PUBLISH_LATER = 4096,\n"),
    "a version": ("#define RC_VERSION_MINOR", "#define RC_VERSION_LATER 1\n#define RC_VERSION_MINOR"),
}
# What a program built before would not survive, and which check must find it.
BREAKS = {
    "a function is gone": ("abidiff", (NUMBER, "")),
    "a parameter has come": ("abidiff", (NUMBER, NUMBER.replace("void", "int of"))),
    "a parameter is narrower": ("abidiff", ("bool rc_text_valid(const void *text, size_t size)",
                                            "bool rc_text_valid(const void *text, unsigned size)")),
    "another type comes back": ("abidiff", ("RC_API unsigned rc_conn_worker(", "RC_API uint64_t rc_conn_worker(")),
    "a counter is gone": ("layout", changed("rc_stats", r"^\tuint64_t lag_ns;.*\n", "")),
    "a counter has come in between": ("layout", changed("rc_stats", r"^\tuint64_t accepted;",
                                                         "\tuint64_t later;\n\tuint64_t accepted;")),
    "two counters changed places": ("layout", changed("rc_stats", r"^\tuint64_t accepted;\n(\tuint64_t connected;.*)\n",
                                                       r"\1\n\tuint64_t accepted;\n")),
    "a setting is wider": ("layout", changed("rc_config", r"^\tunsigned worker_count;", "\tuint64_t worker_count;")),
    "a member is signed": ("layout", changed("rc_past", r"^\tuint64_t age_ns;", "\tint64_t age_ns;")),
    "errors are longer": ("abidiff", changed("rc_error", r"text\[256\]", "text[512]")),
    "ids grew": ("abidiff", longer("rc_event_id", "uint64_t later")),
    "pairs grew, which lie in an array": ("layout", longer("rc_tls_pair", "const char *later")),
    "handlers grew, which lie inside": ("layout", longer("rc_handlers", "void (*later)(void)")),
    "compression grew, which lies inside": ("layout", longer("rc_deflate_options", "unsigned later[2]")),
    "a handler is called in another way": ("layout", changed("rc_handlers", r"\(\*report\)\(void \*context, const char \*",
                                                             "(*report)(void *context, int ")),
    "a setting lies in padding": ("layout", longer("rc_topic_options", "bool later")),
    "policies have other numbers": ("constants", ("\tRC_POLICY_CLOSE, ", "\tRC_POLICY_CLOSE = 7, ")),
    "a flag has another bit": ("constants", ("RC_PUBLISH_WAIT = 2,", "RC_PUBLISH_WAIT = 2048,")),
    "a close code is gone": ("constants", ("\tRC_CLOSE_TRY_LATER = 1013,\n", "")),
    "a struct is taken without its size": ("sizes", (
        BEHIND, "RC_API int rc_later(struct rc_start *start);\n" + BEHIND)),
    "a size is not handed in": ("sizes", (f"#define rc_subscribe(...) {SUBSCRIBE}\n", "")),
    "another's size is handed in": ("sizes", (SUBSCRIBE, SUBSCRIBE.replace("rc_start", "rc_stats"))),
    "nobody said whether it grows": ("sizes", (BEHIND, "struct rc_later {\n\tint of;\n};\n"
                                     "RC_API int rc_later(struct rc_later *later, size_t struct_size);\n"
                                     "#define rc_later(...) rc_later(__VA_ARGS__, sizeof(struct rc_later))\n" + BEHIND)),
    "names are shorter": ("constants", ("RC_TOPIC_NAME_MAX 255", "RC_TOPIC_NAME_MAX 127")),
}


def needs_abigail():
    if not shutil.which("abidiff") or not shutil.which("abidw"):
        raise Skip("abigail-tools is not installed; `make lint` installs it")


def complaints(base, change):
    """The checks that find something in a changed copy of the headers, with their words."""
    here = House(HEADERS, [change])
    found = check.compare(base.dump(), here.dump(), base.headers, here.headers)
    return {name: lines for name, lines in found if lines}


def test_program_of_before():
    house(check.FROZEN_HEADERS).run_program()


def test_program_that_knows_less():
    """Since it was built, the structs have grown."""
    changes = [before("rc_stats", "log_oldest"), before("rc_lag_stats", "slowest_count"), before("rc_past", "size"),
               before("rc_topic_stats", "deliveries"), before("rc_config", "busy_poll"), before("rc_publication", "epoch"),
               before("rc_connect_options", "deflate")]
    house(HEADERS, changes).run_program(("lag.it.slowest_count <= RC_LAG_SLOWEST", "lag.it.ages[15] == 0"),
                                        (" && message.it.epoch", ""), (" && past->size == 3 && past->epoch", ""))


def test_program_that_knows_more():
    """It was built for a later version, and asks nothing of it that this one does not have."""
    names = ("rc_stats", "rc_lag_stats", "rc_topic_stats", "rc_config", "rc_connect_options", "rc_publication", "rc_start",
             "rc_topic_options", "rc_feature")
    house(HEADERS, [longer(name, "uint64_t later[9]") for name in names]).run_program()


def test_additions_pass():
    needs_abigail()
    base = house()
    for what, change in ADDITIONS.items():
        equal(complaints(base, change), {}, what)


def test_what_breaks_is_found():
    needs_abigail()
    base = house()
    for what, (check_name, change) in BREAKS.items():
        found = complaints(base, change)
        assert check_name in found, f"{what}: {check_name} does not find it, but {found}"


def test_frozen():
    """What make lint compares with is here, and in step with itself."""
    needs_abigail()
    frozen = house(check.FROZEN_HEADERS)
    there, here = (check.FROZEN, check.FROZEN_HEADERS), (frozen.dump(), frozen.headers)
    for old, new in ((there, here), (here, there)):
        equal([found for _, found in check.compare(old[0], new[0], old[1], new[1])], [[], [], [], []])


run(globals(), limit=120)
