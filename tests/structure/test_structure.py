# SPDX-License-Identifier: MIT
"""tests/structure.py against houses built here with one fault each, and its search against trying every order."""
import itertools
import os
import random
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import structure  # noqa: E402

MARK = '__attribute__((visibility("default"))) '
# Each file calls those named; "data:" is a variable that it reads.
SOUND = {
    "engine/log.c": [],
    "tls/record.c": ["engine/log.c"],
    "uring/ring.c": ["tls/record.c"],
    "uring/worker.c": ["uring/ring.c", "engine/log.c"],
    "uring/server.c": ["uring/worker.c", "uring/ring.c"],
    "tools/main.c": ["tools/app/app.c", "uring/server.c"],
    "tools/app/app.c": ["tools/app/out.c"],
    "tools/app/out.c": [],
}
EXPORTED = ["uring/server.c"]


def symbol(path):
    return path[:-2].replace("/", "_")


def build(root, house):
    objects = {}
    for path, used in house.items():
        source, made = os.path.join(root, path), os.path.join(root, "build/obj", path[:-2] + ".o")
        os.makedirs(os.path.dirname(source), exist_ok=True)
        os.makedirs(os.path.dirname(made), exist_ok=True)
        with open(source, "w") as file:
            mark = MARK if path in EXPORTED else ""
            file.write("%sint %s_data = 1;\n" % (mark, symbol(path)))
            names = [symbol(name[5:]) + "_data" if name.startswith("data:") else symbol(name) for name in used]
            for name in names:
                file.write("extern int %s%s;\n" % (name, "" if name.endswith("_data") else "(void)"))
            calls = " + ".join(name if name.endswith("_data") else name + "()" for name in names) or "0"
            file.write("%sint %s(void);\nint %s(void)\n{\n\treturn %s;\n}\n" % (mark, symbol(path), symbol(path), calls))
        subprocess.run(["gcc", "-O2", "-fPIC", "-fvisibility=hidden", "-c", source, "-o", made], check=True)
        objects[path] = made
    library = [made for path, made in objects.items() if not path.startswith("tools/")]
    subprocess.run(["gcc", "-shared", *library, "-Wl,--unresolved-symbols=ignore-all", "-o",
                    os.path.join(root, "build/libringcast.so.0.0.0")], check=True)


def verdict(house, extra=()):
    """The status and the lines of structure.py over a house; extra: (path, text) of files that are not compiled."""
    with tempfile.TemporaryDirectory() as root:
        build(root, house)
        for path, text in extra:
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), "w") as file:
                file.write(text)
        done = subprocess.run([sys.executable, "-B", os.path.join(HERE, "../structure.py"), os.path.join(root, "build"),
                               "--root", root], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode, done.stdout.decode()


def with_uses(more):
    house = {path: list(used) for path, used in SOUND.items()}
    for path, used in more.items():
        house.setdefault(path, []).extend(used)
    return house


def refused(more, *said, extra=()):
    status, output = verdict(with_uses(more), extra)
    assert status == 1, output
    for text in said:
        assert text in output, "%r is not in\n%s" % (text, output)


def a_sound_house_passes():
    status, output = verdict(SOUND)
    assert status == 0 and "FAIL" not in output, output
    assert "ok structure: uring/: 3 files, 3 arrows, no circle\n" in output, output


def a_small_circle_of_uring_is_within_the_bounds():
    status, output = verdict(with_uses({"uring/ring.c": ["uring/server.c"]}))
    assert status == 0, output
    assert "ok structure: uring/: 3 files, 4 arrows, 1 back up, largest circle 3 files\n" in output, output


def a_circle_of_four_is_not():
    refused({"uring/ring.c": ["uring/plan.c"], "uring/plan.c": ["uring/server.c"]},
            "FAIL structure: uring/: 4 files, 5 arrows, 1 back up, largest circle 4 files",
            "circle of 4: plan.c ring.c server.c worker.c", "tied by", "remedy:")


def many_small_circles_are_too_many_back_arrows():
    pairs = {}
    for index in range(11):
        one, other = "uring/a%d.c" % index, "uring/b%d.c" % index
        pairs[one], pairs[other] = [other], [one]
    refused(pairs, "11 back up, largest circle 2 files", "tied by uring/b10.c -> a10.c: uring_a10")


def a_circle_by_a_variable_alone_counts():
    refused({"tools/app/out.c": ["data:tools/app/app.c"]},
            "tied by tools/app/out.c -> app.c: tools_app_app_data")


def a_circle_through_two_folders_is_found():
    refused({"tools/app/out.c": ["tools/main.c"]}, "files of several folders stand in one circle",
            "tied by tools/app/out.c -> tools/main.c: tools_main")


def an_arrow_up_between_rooms_is_found():
    refused({"engine/log.c": ["tls/record.c"]}, "FAIL structure: arrows that run up between rooms: 1",
            "engine/log.c -> tls/record.c: tls_record")


def a_program_behind_the_header_is_found():
    refused({"tools/app/out.c": ["uring/ring.c"]}, "FAIL structure: tools/ uses what the library does not export",
            "tools/app/out.c -> uring/ring.c: uring_ring")


def a_long_file_is_found():
    refused({}, "tools/web/page.js: 601 lines", extra=[("tools/web/page.js", "\n" * 601)])
    status, output = verdict(SOUND, [("tools/web/page.js", "\n" * 600), ("tests/unit/table.c", "\n" * 601)])
    assert status == 0, output


def a_source_without_object_is_said():
    refused({}, "not built: uring/new.c", extra=[("uring/new.c", "")])


def cost(order, weights):
    return sum(weights[below][above] for index, below in enumerate(order) for above in order[index + 1:])


def the_search_finds_the_least(rounds=60):
    seed = random.SystemRandom().randrange(1 << 32)
    chance = random.Random(seed)
    for _ in range(rounds):
        count = chance.randint(2, 6)
        weights = [[chance.choice([0, 0, 1, 2]) if a != b else 0 for b in range(count)] for a in range(count)]
        least = min(cost(order, weights) for order in itertools.permutations(range(count)))
        exact, good = structure.exact_order(weights), structure.good_order(weights)
        assert sorted(exact) == sorted(good) == list(range(count)), "seed %d: %s" % (seed, weights)
        assert cost(exact, weights) == least <= cost(good, weights), "seed %d: %s" % (seed, weights)
    return "seed %d" % seed


TESTS = [
    a_sound_house_passes,
    a_small_circle_of_uring_is_within_the_bounds,
    a_circle_of_four_is_not,
    many_small_circles_are_too_many_back_arrows,
    a_circle_by_a_variable_alone_counts,
    a_circle_through_two_folders_is_found,
    an_arrow_up_between_rooms_is_found,
    a_program_behind_the_header_is_found,
    a_long_file_is_found,
    a_source_without_object_is_said,
    the_search_finds_the_least,
]


def main():
    if os.environ.get("SANITIZE"):
        print("skip structure: nothing of it is in the sanitized build")
        return 77
    for command in ("gcc", "nm"):
        if shutil.which(command) is None:
            print("skip structure: %s is not here" % command)
            return 77
    failed = 0
    for test in TESTS:
        name = test.__name__.replace("_", " ")
        try:
            said = test()
            print("ok structure: %s%s" % (name, " (%s)" % said if said else ""), flush=True)
        except AssertionError as why:
            failed = 1
            print("FAIL structure: %s: %s" % (name, why), flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
