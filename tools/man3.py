#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""man3.py OUT HEADER...: the manual's section 3, made from the comments of the public headers. With --list instead of OUT it
prints the names of the pages that it would write.

What it takes for granted of a header:
  - A line `/* ---- title -- */` begins a section. A comment with a blank line before and after it speaks of all functions
    that follow in its section.
  - A comment right above declarations is theirs, up to the next blank line or comment. Together they are one page, named
    after its first function (or else its first type); the others' names lead to it.
  - A sentence that begins with "Returns", "Null with", "Otherwise" or "Or" is of the return value. The words in brackets
    behind a code there say when it comes; so does a table of codes, indented. "What rc_x() does" and "as rc_x() does" take over the errors of rc_x().
  - A sentence that speaks of threads, or says from where a function may be called, is of the threads. Where there is none,
    the convention at the head of ringcast.h holds.
"""
import os
import re
import sys
import textwrap

WIDTH = 78
NO_THREADS = "One thread at a time, and not while the workers run."
DECLARED = re.compile(r"^RC_API\b[^;(]*?\b(rc_\w+)\(", re.M)
TYPED = re.compile(r"^(?:struct|enum|union) (rc_\w+) \{|^typedef .*?\b(rc_\w+);|^#define (RC_\w+)", re.M)
CONSTANT = re.compile(r"^#define RC_\w+ [^_].*\n", re.M)
SENTENCE = re.compile(r"(?<=[.]) +(?=[A-Z\"`])|(?<=[.])(?<!\.\.\.) +(?=[*a-z]\w* (?:may|is|runs)\b)")
ABOUT_THREADS = re.compile(r"\b[Aa]ny thread\b|\bthread of its own\b|\bsignal handler\b|^Inside handlers|^Only from "
                           r"|^Not from a callback|^On the worker")
RETURNED = re.compile(r"(Returns|Null with|Otherwise|Or)\b")
ERROR = re.compile(r"-(E[A-Z0-9]+)\b(?: \(((?:[^()]|\([^()]*\))*)\)|(?: is)?(?: also)? (?:for|when|if) ([^,.;]+))?")
ROW = re.compile(r"^ {2,}-(E[A-Z0-9]+) +(.*)", re.M)
SAME_ERRORS = re.compile(r"(?:what|as) (rc_\w+)\(\) does")
COMMON = {  # for codes that a comment leaves without words
    "EAGAIN": "the system lacks a resource for now", "EACCES": "the system does not permit it",
    "EADDRINUSE": "the address is in use", "EBUSY": "it is too late for that", "EMFILE": "no descriptor is left",
    "ENOENT": "there is no such file", "ENOMEM": "memory is short", "ENOSYS": "the kernel has no io_uring",
    "ENOTCONN": "the connection is no more, or is closing", "EPERM": "the system does not permit it",
}


class Page:
    """What one comment says, and the declarations below it."""

    def __init__(self, header, section, common, comment, code):
        self.header, self.section, self.comment, self.code = header, section, comment, code
        self.functions = DECLARED.findall(code)
        self.types = [a or b or c for a, b, c in TYPED.findall(code) if not (c and c.lower() in self.functions)]
        self.names = list(dict.fromkeys(self.functions + [name for name in self.types if name.startswith("rc_")]))
        self.name = self.names[0] if self.names else None
        self.common = [] if "%s()" % self.name in " ".join(common) else SENTENCE.split(" ".join(common))
        self.prose, self.returns, self.threads, self.errors = [], [], [], {}
        for paragraph in paragraphs(comment):
            self.sort_out(paragraph)
        # What a table of errors stood behind.
        self.returns = [re.sub(r", or$|, of which$", ", or one of the errors below.", text) for text in self.returns]

    def sort_out(self, paragraph):
        """A paragraph is a list of lines, of which those that are indented keep their shape."""
        prose = []
        for kind, text in blocks(paragraph):
            if kind == "shape":
                rows = ROW.findall(re.sub(r"\n +(?=[^ -])", " ", "\n".join(text)))
                if rows:
                    self.errors.update(rows)
                else:
                    prose.append((kind, text))
                continue
            for sentence in SENTENCE.split(text):
                if RETURNED.match(sentence):
                    self.returns.append(sentence)
                    self.note(ERROR.findall(sentence))
                elif ABOUT_THREADS.search(sentence):
                    self.threads.append(sentence)
                else:
                    prose.append(("text", sentence))
        if prose:
            self.prose.append(prose)

    def note(self, found):
        for code, *words in found:
            when = [text for text in (self.errors.get(code), *words) if text]
            self.errors[code] = ", or ".join(when)

    def summary(self):
        """One line for NAME: the first sentence up to where it begins to tell more."""
        kind, text = next(((kind, text) for prose in self.prose for kind, text in prose if kind == "text"), ("text", ""))
        text = re.split(r"[.:;] |[.:;]$|, (?:and|which|with|or|if|as|from|before|on|at) | \(", text)[0].replace("`", "")
        return text if re.match(r"[A-Z]{2}", text) else text[:1].lower() + text[1:]

    def gives(self):
        """What a function returns whose comment begins with that: "The path, percent-decoded." """
        first = next((text for prose in self.prose for kind, text in prose if kind == "text"), "")
        if re.match(r"(The|Whether|What|How) ", first) and re.search(r"^RC_API (?!void )", self.code, re.M):
            return [first]
        return []


# -------------------------------------------------------------------------------------------------------- reading --

def bare(comment):
    """The lines of a comment without what makes them one."""
    lines = comment.strip()[2:-2].split("\n")
    return [re.sub(r"^ \* ?", "", line).rstrip() for line in [lines[0].strip(), *lines[1:]]]


def paragraphs(lines):
    part = []
    for line in [*lines, ""]:
        if line:
            part.append(line)
        elif part:
            yield part
            part = []


def blocks(lines):
    """("text", a string) or ("shape", lines that are indented), in their order."""
    shape = None
    for line in lines:
        if line.startswith("  ") != shape:
            if shape is not None:
                yield ("shape", part) if shape else ("text", " ".join(part))
            shape, part = line.startswith("  "), []
        part.append(line)
    if shape is not None:
        yield ("shape", part) if shape else ("text", " ".join(part))


def items(text):
    """The header from its first banner on, as (kind, text): "comment", "code" (one declaration each) or "blank"."""
    pattern = re.compile(r"(?P<blank>\n+)|(?P<comment>/\*.*?\*/\n)|(?P<code>(?:#(?:[^\n]*\\\n)*[^\n]*|[^;{]*(?:\{.*?^\})?[^;]*;"
                         r"[^\n]*)(?:\n(?=\s+\* )[^\n]*)*\n)", re.S | re.M)
    for match in pattern.finditer(text):
        yield match.lastgroup, match.group()


def pages_of(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    text = text[text.index("#endif", text.index("__cplusplus")) + len("#endif"):text.rindex("#ifdef __cplusplus")]
    pages, section, common, comment, code, before = [], "", [], [], "", "blank"
    sequence = [*items(text.lstrip("\n")), ("blank", "\n")]
    for index, (kind, part) in enumerate(sequence):
        if kind != "code" and code:
            page = Page(os.path.basename(path), section, common, comment, code)
            if pages and page.name and page.name == pages[-1].name:  # a struct, and the function of its name
                page = Page(page.header, section, common, pages.pop().comment + [""] + comment, pages_code + code)
            pages.append(page)
            pages_code, comment, code = page.code, [], ""
        banner = re.match(r"/\* -{5,} *(.*?) *-- \*/", part)
        if banner:
            section, common = banner.group(1), []
        elif kind == "comment":
            alone = before == "blank" and sequence[index + 1][1].startswith("\n")
            common, comment = (bare(part), []) if alone else (common, bare(part))
        elif kind == "code":
            code += part
        before = kind
    return pages


# -------------------------------------------------------------------------------------------------------- writing --

def escaped(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.M)


def prose(text, names):
    text = escaped(text)
    text = re.sub(r"\b(rc_\w+)\(\)", lambda match: f"\\fB{match.group(1)}\\fP(3)" if match.group(1) in names
                  else f"\\fB{match.group(1)}\\fP()", text)
    return re.sub(r"`([^`]+)`", r"\\fI\1\\fP", text)


def shaped(lines):
    return [".PP", ".nf", *(escaped(line) or "\\&" for line in textwrap.dedent("\n".join(lines)).split("\n")), ".fi", ".PP"]


def narrow(code):
    """Declarations within WIDTH columns: prototypes broken behind commas, comments above what they speak of."""
    out = []
    for line in joined(code):
        indent = re.match(r"\s*", line).group()
        remark = re.match(r"^(.*?)\s*/\* (.*?) ?\*/$", line)
        if len(line) <= WIDTH:
            out.append(line)
        elif remark:
            words = textwrap.wrap(remark.group(2), WIDTH - len(indent) - 6)
            out += [indent + ("/* " if not index else " * ") + part + (" */" if index == len(words) - 1 else "")
                    for index, part in enumerate(words)]
            out += [remark.group(1)] if remark.group(1).strip() else []
        else:
            kept = indent + re.sub(r"(?<!,) ", "\0", line.lstrip())  # a line ends behind a comma
            out += [part.replace("\0", " ") for part in textwrap.wrap(kept, WIDTH, subsequent_indent=indent + "        ",
                                                                      break_long_words=False, break_on_hyphens=False)]
    return out


def joined(code):
    """Logical lines: a declaration, or a member with its remark, on one line each; tabs as four blanks."""
    code = re.sub(r"\n\s+\* ?(?=[^/\n])", " ", code.expandtabs(8).replace(" " * 8, "    "))
    code = re.sub(r"\n\s+\*/", " */", code)
    code = re.sub(r"^RC_API ", "", code, flags=re.M)
    code = re.sub(r",\n\s+(?=[^\n]*\);)", ", ", code)
    return [re.sub(r"(\S) +/\*", r"\1 /*", line).rstrip() for line in code.strip("\n").split("\n")]


def synopsis(page):
    return ["#include <%s>" % page.header, "", *narrow(re.sub(r"^#define rc_\w+\(\.\.\.\).*\n", "", page.code, flags=re.M))]


def all_errors(page, pages, seen=()):
    errors = dict(page.errors)
    for name in SAME_ERRORS.findall(" ".join(page.returns)):
        other = next((other for other in pages if name in other.names), None)
        if other and other not in seen:
            for code, when in all_errors(other, pages, (*seen, page)).items():
                errors[code] = ", or ".join(dict.fromkeys(text for text in (when, errors.get(code)) if text))
    return errors


def written(page, pages, version):
    names = {name for other in pages for name in other.functions}
    lines = ['.\\" Made from %s by tools/man3.py: change it there.' % page.header,
             '.TH %s 3 "" "ringcast %s" "ringcast"' % (page.name, version), ".SH NAME",
             ", ".join(page.names) + " \\- " + escaped(page.summary()), ".SH SYNOPSIS", ".nf",
             *(escaped(line) for line in synopsis(page)), ".fi"]
    lines += [".PP", "Link with \\fI\\-lringcast\\fP.", ".SH DESCRIPTION"]
    told = [*page.prose]
    told.append([("text", text) for text in page.common if text and not ABOUT_THREADS.search(text)])
    if "struct_size" in page.code:
        told.append([("text", "A caller in C or C++ leaves `struct_size` out: a macro of the function's name passes it.")])
    first = True
    for part in filter(None, told):
        lines += [] if first else [".PP"]
        first = False
        for kind, text in part:
            lines += [prose(text, names)] if kind == "text" else shaped(text)
    returns = page.returns or page.gives()
    if page.functions and returns:
        lines += [".SH RETURN VALUE", *(prose(text, names) for text in returns)]
    errors = all_errors(page, pages)
    if page.functions and errors:
        lines.append(".SH ERRORS")
        for code in sorted(errors):
            when = errors[code] or COMMON.get(code) or sys.exit("%s: -%s of %s has no words" % (page.header, code, page.name))
            when = when[:1].upper() + when[1:] if not re.match(r"[a-z]\w*_|wss:", when) else when
            lines += [".TP", ".B \\-" + code, prose(when.rstrip(".") + ".", names)]
    if page.functions:
        lines += [".SH THREADS", *(prose(text, names) for text in page.threads or
                                    list(filter(ABOUT_THREADS.search, page.common)) or [NO_THREADS])]
    near = [other.name for other in pages if other is not page and other.section == page.section and
            other.header == page.header]
    near = near[:9] + [name for other in pages for name in other.types if name.startswith("rc_") and other is not page and
                       re.search(r"\b%s\b" % name, page.code) and other.name not in near]
    lines += [".SH SEE ALSO", *(".BR %s (3)," % name for name in sorted({*near, "ringcast"})[:-1]),
              ".BR %s (3)" % sorted({*near, "ringcast"})[-1]]
    return "\n".join(lines).replace("\n.PP\n.PP\n", "\n.PP\n").replace("\n.PP\n.SH", "\n.SH") + "\n"


def overview(path, pages, bounds, version):
    """ringcast(3): the conventions at the head of the header, every function by section, and the bounds."""
    with open(path, encoding="utf-8") as file:
        head = bare(file.read().split("*/", 1)[0] + "*/")
    lines = ['.\\" Made from the public headers by tools/man3.py: change it there.',
             '.TH ringcast 3 "" "ringcast %s" "ringcast"' % version, ".SH NAME",
             "ringcast \\- a WebSocket fan\\-out server to embed", ".SH SYNOPSIS", ".nf",
             *("#include <%s>" % name for name in dict.fromkeys(page.header for page in pages)), "",
             "cc program.c $(pkg\\-config \\-\\-cflags \\-\\-libs ringcast)", ".fi", ".SH DESCRIPTION"]
    names = {name for page in pages for name in page.functions}
    for paragraph in list(paragraphs(head))[1:]:
        if not any(line.startswith("  ") for line in paragraph):
            lines += [".PP", prose(" ".join(paragraph), names)]
            continue
        lines += [".SH CONVENTIONS"]
        for part in re.split(r"\n(?=  \S)", "\n".join(line for line in paragraph if line.startswith("  "))):
            word, text = part.split(None, 1)
            lines += [".TP", ".B " + word, prose(" ".join(text.split()), names)]
    lines = [line for index, line in enumerate(lines) if not (line == ".PP" and lines[index - 1].startswith(".SH"))]
    for header, section in dict.fromkeys((page.header, page.section) for page in pages):
        lines += [".SH " + (section.upper() or (header if header != os.path.basename(path) else "TYPES"))]
        for page in pages:
            if (page.header, page.section) == (header, section):
                lines += [".TP", ".BR %s (3)" % page.name, escaped(page.summary())]
    constants = "".join(text for page in bounds for text in CONSTANT.findall(page.code))
    lines += [".SH CONSTANTS", ".nf", *(escaped(line) for line in narrow(constants)), ".fi"]
    return "\n".join(lines + [".SH SEE ALSO", ".BR ringcast (1)"]) + "\n"


def main(arguments):
    out, *headers = arguments
    pages = [page for path in headers for page in pages_of(path)]
    with open(headers[0], encoding="utf-8") as file:
        version = re.search(r'^#define RC_VERSION "(.*)"', file.read(), re.M).group(1)
    bounds = [page for page in pages if not page.names]
    pages = [page for page in pages if page.names]
    files = {page.name: written(page, pages, version) for page in pages}
    for page in pages:
        files.update((name, ".so man3/%s.3\n" % page.name) for name in page.names[1:])
    files["ringcast"] = overview(headers[0], pages, bounds, version)
    if out == "--list":
        print("\n".join(sorted(name + ".3" for name in files)))
        return
    os.makedirs(out, exist_ok=True)
    for name, text in files.items():
        with open(os.path.join(out, name + ".3"), "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main(sys.argv[1:])
