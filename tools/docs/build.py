#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""build.py OUT: the documentation as a site of plain HTML, to be read without a network. Made by pandoc from the pages in
this folder, README.md, the dialect, the manual pages and the public headers, so that nothing stands in two places.

A page is Markdown. A line `{{ FILE }}` puts another Markdown file in its place, `{{ FILE # HEADING }}` a section of one
with all that is below it, `{{ FILE.1 # SECTION }}` a section of a manual page. The heading
itself is left out: the page has its own. What a page's `sh` blocks do is run by tests/live/test_docs.py, which reads pages
by the functions of this file.

Invariant: whatever a page refers to is in OUT, or it is no link.
"""
import html
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
PAGES = (("index", "ringcast"), ("start", "Start"), ("embed", "Embed"), ("operate", "Operate"), ("tune", "Tune"),
         ("secure", "Secure"), ("protocol", "Protocol"), ("tutorials", "Tutorials"), ("compare", "Compare"), ("reference", "Reference"))
INCLUDE = re.compile(r"^\{\{ (\S+)(?: # (.+?))? \}\}$", re.M)
# Where the sources point to each other.
ELSEWHERE = {"tools/app/DIALECT.md": "protocol.html#the-dialect", "DIALECT.md": "protocol.html#the-dialect",
             "tools/app/TUTORIALS.md": "tutorials.html", "TUTORIALS.md": "tutorials.html",
             "tools/examples": "embed.html#examples", "tools/examples/README.md": "embed.html#examples", "README.md": "index.html"}


def read(path):
    with open(os.path.join(TOP, path), encoding="utf-8") as file:
        return file.read()


def without_fences(text):
    """The same text, with every line of a fenced block blank: a `#` in one begins no heading."""
    return re.sub(r"^```.*?^```$", lambda match: re.sub(r"[^\n]", " ", match.group()), text, flags=re.M | re.S)


def section(text, heading):
    """What stands below a heading of Markdown, up to the next one of its level. Its own sections come one level up or
    down, so that they are below that of the page."""
    bare = without_fences(text)
    found = re.search(rf"^(#+) {re.escape(heading)}$", bare, re.M)
    if not found:
        sys.exit(f"build.py: there is no heading '{heading}'")
    level = len(found.group(1))
    end = re.compile(rf"^#{{1,{level}}} ", re.M).search(bare, found.end())
    return text[found.end():end.start() if end else len(text)].strip("\n")


def man_section(text, heading):
    """The lines of a manual page below `.SH "HEADING"`."""
    found = re.search(rf'^\.SH "?{re.escape(heading)}"?$', text, re.M)
    if not found:
        sys.exit(f"build.py: there is no section '{heading}'")
    end = re.search(r"^\.SH ", text[found.end():], re.M)
    return text[found.end():found.end() + end.start() if end else len(text)]


def pandoc(text, *arguments):
    done = subprocess.run(["pandoc", "-t", "html", "--wrap=none", "--no-highlight", *arguments], input=text, capture_output=True, text=True)
    if done.returncode:
        sys.exit("build.py: " + done.stderr)
    return done.stdout


def lower(text, by):
    """Headings of HTML, each `by` levels further down."""
    return re.sub(r"(</?h)([1-6])", lambda match: match.group(1) + str(min(6, int(match.group(2)) + by)), text)


def speak(text):
    """Headings of a manual are words in capitals, which shout on a page. Each is a place that can be referred to."""
    def heading(match):
        words = match.group(2)
        words = words.capitalize() if words.isupper() else words
        name = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
        return f'<h{match.group(1)} id="{name}">{words}</h{match.group(1)}>'
    return re.sub(r"<h([1-6])>(.*?)</h\1>", heading, text, flags=re.S)


def from_man(text):
    """A manual page, or the inside of a section of one, as HTML. Its first headings are of the level below a page's, or
    below a section's."""
    return lower(speak(pandoc(text if ".TH" in text else ".TH X 1\n" + text, "-f", "man")), 1)


def expand(text):
    """A page with what it includes. A manual page comes as HTML, which Markdown lets through."""
    def put(match):
        path, heading = match.groups()
        source = read(path)
        if path.endswith(".md"):
            taken = section(source, heading) if heading else re.sub(r"\A# .*\n", "", source)
            # The first headings of what is included are of the second level.
            levels = [len(found) for found in re.findall(r"^(#+) ", without_fences(taken), re.M)]
            shift = 3 - min(levels, default=3)
            bare = without_fences(taken)
            for found in reversed(list(re.finditer(r"^#+(?= )", bare, re.M))):
                taken = taken[:found.start()] + "#" * max(2, len(found.group()) + shift) + taken[found.end():]
            return taken
        return "\n```{=html}\n" + from_man(man_section(source, heading) if heading else source) + "\n```\n"
    return INCLUDE.sub(put, text)


def page_text(name):
    """The Markdown of a page, before pandoc."""
    return expand(read(f"tools/docs/{name}.md"))


def link(text, names):
    """What the manual writes as **name**(3) becomes a link, where there is such a page; links to what is not here go."""
    def manual(match):
        target = f"{match.group(1)}.{match.group(2)}"
        return f'<a href="{target}.html">{match.group(1)}</a>({match.group(2)})' if target in names else match.group()
    text = re.sub(r"<strong>([\w-]+)</strong>\((\d)\)", manual, text)
    text = re.sub(r"\b(ringcast-latency|ringcast)\((7|1)\)(?!</a>)", manual, text)

    def local(match):
        target, words = html.unescape(match.group(1)), match.group(2)
        if re.match(r"\w+\.html|#|https?:|[\w.-]+\.html", target):
            return match.group()
        return f'<a href="{ELSEWHERE[target]}">{words}</a>' if target in ELSEWHERE else words
    return re.sub(r'<a href="([^"]*)"[^>]*>(.*?)</a>', local, text, flags=re.S)


def write(out, name, title, body, names, here=None):
    frame = read("tools/docs/page.html")
    items = "\n".join(f'<a href="{page}.html"{" aria-current=page" if page == (here or name) else ""}>{words}</a>'
                      for page, words in PAGES)
    whole = frame.replace("@TITLE@", html.escape(title)).replace("@PAGES@", items).replace("@BODY@", link(body, names))
    with open(os.path.join(out, name + ".html"), "w", encoding="utf-8") as file:
        file.write(whole)


def manuals(folder):
    """Each page of section 3: its name, and HTML. One run of pandoc makes all of them: a mark stands before each."""
    pages, aliases = {}, {}
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            text = file.read()
        if text.startswith(".so "):
            aliases[name] = os.path.basename(text.split()[1])
        else:
            pages[name] = text
    made = pandoc("".join(f"{text}\n.SH PAGE {name}\n" for name, text in pages.items()), "-f", "man")
    parts = re.split(r"<h1>PAGE (.*?)</h1>\n?", made)
    return {name: lower(speak(body), 1) for body, name in zip(parts[0::2], parts[1::2])}, aliases


def headers():
    """The paths of what is installed, ringcast.h first."""
    found = [os.path.join(room, name) for room in ("engine", "uring") for name in os.listdir(os.path.join(TOP, room))
             if re.fullmatch(r"ringcast(_\w+)?\.hp?p?", name)]
    return sorted(found, key=os.path.basename)


def header_list():
    """A link to each header, with the first sentence of its head."""
    items = []
    for path in headers():
        name = os.path.basename(path)
        words = re.search(rf"^ \* {re.escape(name)} - ((?: ?.*\n)+?)(?: \*/| \*\n)", read(path), re.M)
        about = re.split(r"[.:;] ?", " ".join(re.sub(r"^ \* ?", "", words.group(1), flags=re.M).split()))[0] if words else ""
        items.append(f'<li><a href="{name}.html">{name}</a>: {html.escape(about)}</li>')
    return "<ul>\n" + "\n".join(items) + "\n</ul>\n"


def build(out):
    os.makedirs(out, exist_ok=True)
    for name in os.listdir(HERE):
        if name.endswith((".svg", ".css")):
            shutil.copy(os.path.join(HERE, name), out)
    with tempfile.TemporaryDirectory() as folder:
        files = [path for path in headers() if path.endswith(".h")]
        subprocess.run([sys.executable, "-B", "tools/man3.py", folder, *files], cwd=TOP, check=True)
        functions, aliases = manuals(folder)
    names = set(functions) | set(aliases) | {"ringcast.1", "ringcast-latency.7"}
    for name in sorted(functions):
        write(out, name, name[:-2], f"<h1>{name[:-2]}</h1>\n" + functions[name], names, "reference")
    for name, target in aliases.items():
        write(out, name, name[:-2], f'<h1>{name[:-2]}</h1>\n<p>See <a href="{target}.html">{target[:-2]}</a>.</p>', names, "reference")
    for name in ("ringcast.1", "ringcast-latency.7"):
        write(out, name, name[:-2], f"<h1>{name[:-2]}({name[-1]})</h1>\n" + from_man(read("tools/" + name)), names, "reference")
    for path in headers():
        name = os.path.basename(path)
        body = f"<h1>{name}</h1>\n<pre><code>{html.escape(read(path))}</code></pre>"
        write(out, name, name, body, names, "reference")
    for name, title in PAGES:
        body = pandoc(page_text(name), "-f", "markdown+auto_identifiers+gfm_auto_identifiers-smart+raw_attribute")
        if name == "reference":
            body = body.replace("<p>HEADER-LIST</p>", header_list())
            body += "<p class=names>" + "\n".join(f'<a href="{one}.html">{one[:-2]}</a>' for one in sorted(functions)) + "</p>"
        write(out, name, title, body, names)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if not shutil.which("pandoc"):
        sys.exit("build.py: pandoc is missing (on Debian: apt-get install pandoc)")
    build(sys.argv[1])
