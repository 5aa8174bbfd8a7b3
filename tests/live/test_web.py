# SPDX-License-Identifier: MIT
"""The browser side without a browser: the files that `ringcast app` serves, how ringcast.js is joined from its modules, and
ringcast.js under Node, against a server that misbehaves and against ours, killed and started again."""
import gzip
import os
import re
import shutil
import subprocess
import tempfile

from app import App
from harness import BUILD, PROGRAM, TOP, Server, Skip, equal, run
from nodetest import node

WEB = os.path.join(TOP, "tools", "web")
SOURCES = os.path.join(WEB, "client")
BUILT = os.path.join(BUILD, "tools", "web")
CLIENT = os.path.join(BUILT, "ringcast.js")
SMALL_MAX = 8192
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/dashboard.js": ("dashboard.js", "text/javascript; charset=utf-8"),
    "/charts.js": ("charts.js", "text/javascript; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/ringcast.js": ("ringcast.js", "text/javascript; charset=utf-8"),
    "/ringcast.min.js": ("ringcast.min.js", "text/javascript; charset=utf-8"),
    "/ringcast.min.mjs": ("ringcast.min.mjs", "text/javascript; charset=utf-8"),
}


def content_of(name):
    with open(os.path.join(BUILT if name.startswith("ringcast") else WEB, name), "rb") as file:
        return file.read()


def test_files_are_sent_compressed():
    with App() as server:
        for path, (name, kind) in FILES.items():
            content = content_of(name)
            plain = server.get(path)[1]
            equal(plain["vary"], "Accept-Encoding")
            for wanted in ("gzip", "GZIP", "br, gzip;q=0.5", "deflate , gzip", "*", "br;q=1,*;q=0.1", "gzip;q=1.0"):
                status, headers, body = server.get(path, headers=f"Accept-Encoding: {wanted}\r\n")
                equal((status, headers["content-encoding"], headers["content-type"]), (200, "gzip", kind), wanted)
                assert gzip.decompress(body) == content, path
                assert len(body) < len(content), path
                assert headers["etag"] != plain["etag"], "two forms of a file have one tag"
            status, again, body = server.get(path, headers=f"Accept-Encoding: gzip\r\nIf-None-Match: {headers['etag']}\r\n")
            equal((status, again["etag"], again["vary"], body), (304, headers["etag"], "Accept-Encoding", b""))
            equal(server.get(path, headers=f"Accept-Encoding: gzip\r\nIf-None-Match: {plain['etag']}\r\n")[0], 200)
            for unwanted in ("identity", "br", "gzip;q=0", "gzip; q=0.000", "*;q=0", "*, gzip;q=0", "xgzip, gzips", "", ",;=,"):
                _, headers, body = server.get(path, headers=f"Accept-Encoding: {unwanted}\r\n")
                assert "content-encoding" not in headers and body == content, (path, unwanted)
            status, headers, _ = server.get(path, "HEAD", "Accept-Encoding: gzip\r\n")
            equal((status, headers["content-encoding"]), (200, "gzip"))


def test_the_servers_of_books_have_the_client_too():
    with Server("--demo") as server:
        for path in ("/ringcast.js", "/ringcast.min.js", "/ringcast.min.mjs"):
            status, headers, body = server.get(path, headers="Accept-Encoding: gzip\r\n")
            equal((status, gzip.decompress(body)), (200, content_of(path[1:])))
            equal(server.get(path, headers=f"Accept-Encoding: gzip\r\nIf-None-Match: {headers['etag']}\r\n")[0], 304)


def test_the_small_file_is_small():
    sizes = {}
    for name in ("ringcast.js", "ringcast.min.js", "ringcast.min.mjs"):
        with open(os.path.join(BUILT, name + ".gz"), "rb") as file:
            sizes[name] = len(file.read())
        print(f"{name}: {len(content_of(name))} bytes, {sizes[name]} compressed")
    if not shutil.which("esbuild"):
        raise Skip("there is no esbuild, so it is not small")
    assert max(sizes["ringcast.min.js"], sizes["ringcast.min.mjs"]) <= SMALL_MAX, sizes


def test_files():
    with App() as server:
        for path, (name, kind) in FILES.items():
            content = content_of(name)
            status, headers, body = server.get(path)
            equal((status, headers["content-type"], body), (200, kind, content), path)
            equal(headers["cache-control"], "no-cache")
            equal(headers["x-content-type-options"], "nosniff")
            tag = headers["etag"]
            assert re.fullmatch(r'"[0-9a-f]{16}"', tag), tag
            for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
                status, headers, body = server.get(path, headers=f"If-None-Match: {known}\r\n")
                equal((status, headers["etag"], body), (304, tag, b""), f"{path} with {known}")
            equal(server.get(path, headers='If-None-Match: "0123456789abcdef"\r\n')[0], 200)
            status, headers, _ = server.get(path, "HEAD")
            equal((status, int(headers["content-length"])), (200, len(content)), f"HEAD {path}")
            for method in ("DELETE", "POST"):
                equal(server.get(path, method, "Content-Length: 0\r\n")[0], 405, f"{method} {path}")
        # The client is for pages of other sites too, the dashboard is not, and is not to be framed.
        equal(server.get("/ringcast.js")[1]["access-control-allow-origin"], "*")
        headers = server.get("/")[1]
        assert "access-control-allow-origin" not in headers, headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"], headers
        for path in ("/index.html", "/style.css/", "/../etc/passwd", "//"):
            equal(server.get(path)[0], 404, path)


def test_names_of_topics_need_the_key():
    with App("--api-key", "k" * 16) as server:
        for path in ("/stats", "/api/stats"):
            equal(server.get(path)[0], 401, path)
            equal(server.get(path, headers="Authorization: Bearer " + "k" * 16 + "\r\n")[0], 200, path)
        equal(server.get("/")[0], 200)
    with App("--api-listen", "127.0.0.1:0") as server:
        equal([server.get(path)[0] for path in ("/stats", "/api/stats", "/")], [404, 404, 200])


def test_a_message_keeps_what_its_sender_called_it():
    """By `ref` a reader knows a message that was sent again to another server, which gave it another id."""
    with App("--permissions", "read,write,broadcast") as server:
        a, b = server.clients("a", "b")
        for client in (a, b):
            client.in_room("r")
        a.expect("user_joined")
        a.say("room_message", room="r", content=1, id="mine")
        assert b.expect("room_message", ref="mine")["id"] != "mine"
        a.say("DATA", id="again", data={"type": "direct", "id": "again", "to": "b", "content": 2})
        b.expect("direct", ref="again")
        a.say("broadcast", content=3, id=7)
        b.expect("broadcast", ref=7)
        b.say("room_message", room="r", content=4)
        a.expect("status", id="mine")
        a.expect("ACK", id="again")
        told = {message["type"]: message for message in (a.hear(), a.hear())}  # a send may pass what it follows
        equal((told["status"]["id"], told["broadcast"]["ref"]), (7, 7))
        assert "ref" not in a.expect("room_message", content=4)


def joined(**modules):
    """What join.awk makes of modules, of which `entry` is the entry: its exit status, output and words."""
    if not shutil.which("awk"):
        raise Skip("there is no awk")
    with tempfile.TemporaryDirectory() as directory:
        for name, text in modules.items():
            with open(os.path.join(directory, name + ".js"), "w", encoding="ascii") as file:
                file.write(text)
        done = subprocess.run(["awk", "-f", os.path.join(WEB, "join.awk"), os.path.join(directory, "entry.js")],
                              check=False, capture_output=True, text=True)
        return done.returncode, done.stdout.replace(directory, "D"), done.stderr.replace(directory, "D")


def test_modules_are_joined():
    entry = ('// SPDX\n/**\n * entry.js\n */\n/** @import { T } from "./types.js" */\nimport { b, B } from "./b.js";\n'
             'import { a } from "./a.js";\n\nclass Mine {\n\tb = b;\n}\n\nexport { a, B };\nexport default Mine;\n')
    types = '// SPDX\n/**\n * types.js\n * import { x } from "./nowhere.js";\n */\nexport {};\n'
    one = ("// SPDX\n/** a.js */\nconst hidden = 1;\n\n/** @returns {number} */\nexport async function a() {\n"
           "\treturn hidden;\n}\n")
    two = '// SPDX\nimport { a } from "./a.js";\n\nexport const b = (x, y) =>\n\tx + y;\nexport class B {\n}\n'
    status, output, words = joined(entry=entry, types=types, a=one, b=two)
    equal((status, words), (0, ""))
    equal(output, """// SPDX
/**
 * entry.js
 */

// This file is joined from the modules in D/: change it there.

/**
 * types.js
 * import { x } from "./nowhere.js";
 */

/** a.js */
const hidden = 1;

/** @returns {number} */
async function a() {
\treturn hidden;
}

const b = (x, y) =>
\tx + y;
class B {
}

class Mine {
\tb = b;
}

export { a, B };
export default Mine;
""")


def test_modules_that_cannot_be_joined():
    """Each is refused in the line that is to blame, and nothing is written."""
    module = "// SPDX\nexport const a = 1;\nlet hidden = 2;\n"
    for line, why in (
            ("const a = 2;", "a is declared already, in D/m.js"),
            ("async function a() {}", "a is declared already, in D/m.js"),
            ("export class hidden {}", "hidden is declared already, in D/m.js"),
            ('import { x } from "./n.js";', "there is no module D/n.js"),
            ('/** @import { x } from "./n.js" */', "there is no module D/n.js"),
            ('import { hidden } from "./m.js";', "D/m.js does not export hidden"),
            ('import { a as b } from "./m.js";', "'a as b' is not a plain name"),
            ('import { x } from "./entry.js";', "D/entry.js needs this module itself: the imports go in a circle"),
            ("export { b };", "b is not declared"),
            ("export default b;", "b is not declared"),
            ("const b = 1, c = 2;", "only one name may be declared on a line"),
            ("const { b } = a;", "a declaration needs one plain name"),
            ("let b;", "a declaration needs one plain name"),
            ("import {", "such a line may not stand"),
            ('import all from "./m.js";', "such a line may not stand"),
            ('import * as m from "./m.js";', "such a line may not stand"),
            ('import "./m.js";', "such a line may not stand"),
            ('import { readFile } from "node:fs";', "such a line may not stand"),
            ('export { a } from "./m.js";', "such a line may not stand"),
            ('export * from "./m.js";', "such a line may not stand"),
            ("start();", "such a line may not stand"),
            ("var b = 1;", "such a line may not stand"),
            ('\tconst m = await import("./m.js");', "another module must be imported"),
            ("/* never ended", "a comment does not end")):
        entry = '// SPDX\n/** entry.js */\nimport { a } from "./m.js";\n' + line + "\n"
        status, output, words = joined(entry=entry, m=module)
        equal((status, output, words.count("\n")), (1, "", 1), line)
        assert words.startswith(f"D/entry.js:4: {why}"), (line, words)
    circle = '// SPDX\nimport { b } from "./entry.js";\nexport const a = 1;\n'
    status, output, words = joined(entry='// SPDX\n/** */\nimport { a } from "./m.js";\nexport const b = 1;\n', m=circle)
    equal((status, output, words), (1, "", "D/m.js:2: D/entry.js needs this module itself: the imports go in a circle\n"))
    equal(joined(entry="const a = 1;\n"), (1, "", "D/entry.js:1: the entry must begin with a comment\n"))
    equal(joined(m=module), (1, "", "join.awk:0: there is no module D/entry.js\n"))


def test_without_esbuild():
    """The small files say the same then, at full length."""
    tools = "sh awk sed cp rm mkdir dirname cat".split()
    if not all(shutil.which(tool) for tool in tools):
        raise Skip("a tool of the build is not here")
    with tempfile.TemporaryDirectory() as directory:
        here, out = os.path.join(directory, "bin"), os.path.join(directory, "out")
        os.mkdir(here)
        os.mkdir(out)
        for tool in tools:
            os.symlink(shutil.which(tool), os.path.join(here, tool))
        subprocess.run(["sh", os.path.join(WEB, "small.sh"), out], check=True, env={"PATH": here}, timeout=20)
        equal(sorted(os.listdir(out)), ["ringcast.cjs", "ringcast.min.js", "ringcast.min.mjs"])
        node("forms.mjs", out, limit=60)


def test_forms():
    node("forms.mjs", BUILT, limit=60)


def test_modules_under_node():
    node("modules.mjs", SOURCES, CLIENT, limit=60)


def test_client_under_node():
    node("client.mjs", CLIENT, limit=80)


def test_small_client_under_node():
    node("client.mjs", os.path.join(BUILT, "ringcast.min.mjs"), limit=80)


def test_names_of_tutorials():
    node("names.mjs", CLIENT, limit=60)


def test_pool():
    if not shutil.which("setpriv"):
        raise Skip("there is no setpriv")
    node("pool.mjs", CLIENT, PROGRAM, limit=60)


def test_keyed_feeds():
    """The Map of a keyed topic, by itself and against a server that does as it is told."""
    node("keyed.mjs", CLIENT, limit=60)


def test_keyed_feeds_and_server():
    if not shutil.which("setpriv"):
        raise Skip("there is no setpriv")
    node("keyed_live.mjs", PROGRAM, CLIENT, limit=60)


def test_client_in_modules():
    """The modules as they are, so that nobody need join them to try a change."""
    node("client.mjs", os.path.join(SOURCES, "ringcast.js"), limit=80)


def test_client_and_server():
    if not shutil.which("setpriv"):
        raise Skip("there is no setpriv")
    node("live.mjs", PROGRAM, CLIENT, limit=80)


run(globals(), limit=85)
