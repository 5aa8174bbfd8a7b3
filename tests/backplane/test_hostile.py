# SPDX-License-Identifier: MIT
"""The nodes of tools/backplane/ on an engine that is hostile on purpose (hostile.c), and the proof that this finds
something: each patch of defects/ puts one known defect into one file, in a copy, and the same program with it must fail.
RC_SEED=number begins with that seed; RC_SEEDS=number runs as many."""
import glob
import os
import shlex
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "build")
PROGRAM = os.path.join(BUILD, "tests", "backplane_hostile")
SEEDS = os.environ.get("RC_SEEDS") or "16"


def run(program, seeds, calm="20"):
    done = subprocess.run([program, "--seeds", seeds, "--calm", calm, "--quiet"], capture_output=True, text=True, timeout=500)
    return done.returncode, done.stdout + done.stderr


def with_defect(patch, folder):
    """The program with this defect: one object is compiled anew, the others are linked as they are."""
    with open(patch, encoding="utf-8") as text:
        file = next(line[6:].strip() for line in text if line.startswith("+++ b/"))
    name = os.path.basename(patch)[:-6]
    source, made = os.path.join(folder, os.path.basename(file)), os.path.join(folder, name + ".o")
    with open(os.path.join(TOP, file), encoding="utf-8") as good, open(source, "w", encoding="utf-8") as bad:
        bad.write(good.read())
    subprocess.run(["patch", "-s", "-F3", "--no-backup-if-mismatch", source, patch], check=True)
    with open(PROGRAM + ".compile", encoding="utf-8") as line:
        compile_ = shlex.split(line.read())
    with open(PROGRAM + ".link", encoding="utf-8") as line:
        link = shlex.split(line.read())
    subprocess.run([*compile_, "-Wno-error", "-w", "-iquote", os.path.dirname(file), "-c", source, "-o", made],
                   check=True, cwd=TOP)
    program = os.path.join(folder, name)
    objects = [made if part.endswith("/" + file[:-2] + ".o") else part for part in link]
    assert objects != link, f"{file} is not part of the program"
    subprocess.run([*objects, "-o", program], check=True, cwd=TOP)
    return program


def main():
    failed = 0
    if not os.path.exists(PROGRAM + ".link"):
        print("skip hostile: it was not built")
        return 77
    code, said = run(PROGRAM, SEEDS)
    failed += code != 0
    print(("ok" if code == 0 else "FAIL") + f" hostile: {said.strip().replace(chr(10), '; ')}")
    if os.environ.get("SANITIZE"):
        print("skip defects: they are found without a sanitizer")
        return failed
    with tempfile.TemporaryDirectory(prefix="ringcast-defects-") as folder:
        for patch in sorted(glob.glob(os.path.join(HERE, "defects", "*.patch"))):
            name = os.path.basename(patch)[:-6]
            code, said = run(with_defect(patch, folder), "200", "5")
            found = code == 1 and "\nseed" in said
            failed += not found
            line = next((line for line in said.splitlines() if line.startswith("seed")), said[-200:])
            print(f"ok defect {name}: {line}" if found else f"FAIL defect {name}: not found ({line})", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
