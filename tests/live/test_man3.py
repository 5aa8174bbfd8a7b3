# SPDX-License-Identifier: MIT
"""The manual's section 3, as tools/man3.py makes it from the public headers: a page for each function, which says what the
header says. This reads the headers in a way of its own, so that a function that the script overlooks is found."""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

from harness import TOP, Skip, die_with_parent, equal, run

HEADERS = sorted(glob.glob(os.path.join(TOP, "[eu]*/ringcast*.h")), key=len)
COMMENT = re.compile(r"/\*.*?\*/", re.S)
SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "RETURN VALUE", "ERRORS", "THREADS", "SEE ALSO"]


class Pages:
    made = None

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        done = subprocess.run([sys.executable, "-B", os.path.join(TOP, "tools/man3.py"), self.folder.name, *HEADERS],
                              capture_output=True, text=True, preexec_fn=die_with_parent, check=False)
        equal((done.returncode, done.stderr), (0, ""))
        self.text = {}
        for name in os.listdir(self.folder.name):
            with open(os.path.join(self.folder.name, name), encoding="utf-8") as file:
                self.text[name[:-2]] = file.read()

    def of(self, name):
        """The page of a name, through the .so that may stand for it: sections by title."""
        assert name in self.text, f"{name} has no page"
        text = self.text[name]
        if text.startswith(".so "):
            text = self.text[re.fullmatch(r"\.so man3/(\w+)\.3\n", text).group(1)]
        parts = re.split(r"^\.SH (.*)\n", text, flags=re.M)
        return dict(zip(parts[1::2], parts[2::2]))


def pages():
    Pages.made = Pages.made or Pages()
    return Pages.made


def header_text(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def functions():
    """(header, name, declaration) of each, as the compiler would read it."""
    for path in HEADERS:
        for declaration, name in re.findall(r"^RC_API ([^;]*?\b(rc_\w+)\([^;]*;)", COMMENT.sub("", header_text(path)), re.M):
            yield os.path.basename(path), name, squeezed(declaration)
        # What the header itself defines, but for what its comment calls inner, or says nothing of.
        for comment, declaration, name in re.findall(r"^(/\*(?:(?!\*/)[\s\S])*\*/)\nstatic inline ([^{;]*?\b(rc_\w+)\([^{;]*)\n\{",
                                                     header_text(path), re.M):
            if not comment.startswith("/* Inside: "):
                yield os.path.basename(path), name, squeezed(declaration)


def squeezed(text):
    return re.sub(r"\s+", " ", text).strip()


def plain(roff):
    return re.sub(r"\\f.", "", roff).replace("\\-", "-").replace("\\&", "").replace("\\e", "\\")


def test_each_function():
    """It has a page, whose synopsis is the header's declaration, with the header to include."""
    found = list(functions())
    assert len(found) > 50, found
    for header, name, declaration in found:
        page = pages().of(name)
        synopsis = squeezed(COMMENT.sub("", plain(page["SYNOPSIS"])))
        assert declaration in synopsis, f"{name}: {synopsis}"
        assert f"#include <{header}>" in synopsis, f"{name}: {synopsis}"
        assert re.match(r"(rc_\w+, )*rc_\w+ - [^ ].{3,}\n$", plain(page["NAME"])), f"{name}: {page['NAME']}"
        assert name in plain(page["NAME"]) and page["THREADS"].strip(), name
        equal([title for title in page if title not in SECTIONS], [], name)
        equal(list(page), [title for title in SECTIONS if title in page], name)


def test_each_struct():
    for path in HEADERS:
        for name in re.findall(r"^(?:struct|enum) (rc_\w+) \{", header_text(path), re.M):
            page = pages().of(name)
            assert re.search(rf"^(struct|enum) {name} {{", plain(page["SYNOPSIS"]), re.M), name
            assert re.search(r" - [^ ].{3,}\n$", plain(page["NAME"])), f"{name}: {page['NAME']}"


def test_what_it_returns():
    """Whoever declares a result says what it is."""
    for _, name, declaration in functions():
        page = pages().of(name)
        equal("RETURN VALUE" in page, not declaration.startswith("void "), name)


def test_errors():
    """Each error that a comment names stands among the errors of the function below it."""
    count = 0
    for path in HEADERS:
        for comment, code in re.findall(r"^(/\*(?:(?!\*/)[\s\S])*\*/)\n((?:(?!/\*)[^\n]+\n)*)", header_text(path), re.M):
            for name in re.findall(r"^RC_API [^;(]*?\b(rc_\w+)\(", code, re.M):
                errors = plain(pages().of(name).get("ERRORS", ""))
                for error in set(re.findall(r"-(E[A-Z0-9]{3,})\b", comment)):
                    assert f".B -{error}\n" in errors, f"{name}: -{error} of the header is not in its page"
                    count += 1
    assert count > 80, count


def test_inherited_errors():
    """ "What rc_publish() does" brings its errors along."""
    errors = plain(pages().of("rc_publish_with")["ERRORS"])
    for code in ("EAGAIN", "EMSGSIZE", "EILSEQ", "ENOSPC"):
        assert f".B -{code}\n" in errors, errors


def test_words_are_missing():
    """A header that names an error and does not say when it comes is refused, by name."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "ringcast.h")
        with open(path, "w", encoding="utf-8") as file:
            file.write(header_text(HEADERS[0]).replace("-EILSEQ (text that is not UTF-8)", "-EILSEQ", 1))
        done = subprocess.run([sys.executable, "-B", os.path.join(TOP, "tools/man3.py"), folder, path], capture_output=True,
                              text=True, preexec_fn=die_with_parent, check=False)
        equal((done.returncode, done.stderr), (1, "ringcast.h: -EILSEQ of rc_send has no words\n"))


def test_no_page_too_many():
    """A page is of a name that a header declares; the overview names every function that has a page of its own."""
    declared = {name for _, name, _ in functions()}
    for path in HEADERS:
        declared |= set(re.findall(r"^(?:struct|enum|typedef) (?:[^;{]* )?(rc_\w+)(?: \{|;)", header_text(path), re.M))
    equal(sorted(set(pages().text) - declared - {"ringcast"}), [])
    overview = pages().text["ringcast"]
    for name, text in pages().text.items():
        assert name == "ringcast" or text.startswith(".so ") or f".BR {name} (3)" in overview, name


def formatted(arguments):
    if not shutil.which(arguments[0]):
        raise Skip(f"{arguments[0]} is not installed")
    for name, text in sorted(pages().text.items()):
        if text.startswith(".so "):
            continue
        done = subprocess.run([*arguments, os.path.join(pages().folder.name, name + ".3")], capture_output=True, text=True,
                              preexec_fn=die_with_parent, check=False)
        # They bear no date: they are as old as the library whose version they show.
        said = [line for line in (done.stdout + done.stderr).splitlines() if "missing date" not in line]
        equal(said, [], name)


def test_groff():
    formatted(["groff", "-man", "-ww", "-z", "-Tutf8"])


def test_mandoc():
    formatted(["mandoc", "-T", "lint", "-W", "warning"])


run(globals(), limit=60, unsanitized="the pages are made from headers, by a script")
