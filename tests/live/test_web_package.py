# SPDX-License-Identifier: MIT
"""ringcast.js as a package of npm: its types are those of its comments, and in a fresh project it is imported, required,
compiled by TypeScript, bundled, and used by React. Packages of npm that this takes are kept under build/node."""
import glob
import json
import os
import re
import shutil
import subprocess
import tempfile

from app import App
from harness import BUILD, SLOW, TOP, Skip, equal, run
from nodetest import MODULES, NODE, need_npm, node

WEB = os.path.join(TOP, "tools", "web")
BUILT = os.path.join(BUILD, "tools", "web")
TYPESCRIPT = "typescript@7.0.2"
FILES = ["LICENSE", "README.md", "package.json", "react.d.ts", "react.js", "ringcast.cjs", "ringcast.d.cts", "ringcast.d.ts", "ringcast.js",
         "ringcast.min.d.mts", "ringcast.min.js", "ringcast.min.mjs"]


def did(*command, cwd=None, **more):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60 * SLOW, check=False,
                          env=dict(os.environ, **more))
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


class Project:
    """A fresh folder in which the package was installed, as `make npm` and `npm pack` made it."""

    def __enter__(self):
        if not shutil.which("npm") or not shutil.which("make"):
            raise Skip("there is no npm, or no make")
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = self.temporary.name
        package = os.path.join(self.folder, "package")
        os.mkdir(package)
        version = json.loads(read(os.path.join(WEB, "package.json")))["version"]
        names = [name for name in FILES if name.startswith("ringcast.") and not name.endswith(("ts", ".mts", ".cts"))]
        for source in [os.path.join(BUILT, name) for name in names] + [os.path.join(TOP, "LICENSE")] + \
                glob.glob(os.path.join(WEB, "*.d.*ts")) + [os.path.join(WEB, name) for name in ("package.json", "README.md", "react.js")]:
            shutil.copy(source, package)
        shutil.copy(os.path.join(WEB, "ringcast.d.ts"), os.path.join(package, "ringcast.d.cts"))
        packed = json.loads(did("npm", "pack", "--json", "--offline", cwd=package))
        # npm 12 tells one package by its name, those before in a list.
        packed = packed[0] if isinstance(packed, list) else list(packed.values())[0]
        equal(sorted(file["path"] for file in packed["files"]), FILES)
        self.write("package.json", '{"name": "fresh", "version": "1.0.0", "private": true}')
        did("npm", "install", "--offline", "--no-audit", "--no-fund", "--silent", "--legacy-peer-deps",
            os.path.join(package, f"ringcast-{version}.tgz"), cwd=self.folder)
        return self

    def __exit__(self, *_):
        self.temporary.cleanup()

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def link(self, *names):
        """What was fetched once, as if it were installed here."""
        for name in names:
            target = os.path.join(self.folder, "node_modules", name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.symlink(os.path.join(MODULES, name), target)

    def run(self, script, server):
        return did("node", script, f"ws://127.0.0.1:{server.port}/ws/me", cwd=self.folder, NODE_PATH="/usr/share/nodejs")


USE = """
const client = new Ringcast(process.argv[2]), pool = new Pool({ url: process.argv[2], max: 1 });
client.onMessage(message => message.type === "room_joined" && console.log("in", message.room));
client.join("lobby").then(() => pool.acquire()).then(lent => lent.direct("me", "x")).then(() => {
	console.log("sent", new RingcastError("A", "b").code);
	client.close();
	pool.close();
});
"""


def test_what_make_npm_makes():
    """The same files as are tested here, in BUILD/npm."""
    listed = re.search(r"^PACKAGE_BUILT := (.*)\nPACKAGE_FILES := (.*)$", read(os.path.join(TOP, "Makefile")), re.M)
    equal(sorted(listed[1].split() + listed[2].split() + ["README.md", "LICENSE", "ringcast.d.cts"]), FILES)
    program = re.search(r'#define RC_VERSION "(.*)"', read(os.path.join(TOP, "engine", "ringcast.h")))[1]
    equal(json.loads(read(os.path.join(WEB, "package.json")))["version"], program)


def test_types_are_those_of_the_comments():
    need_npm(TYPESCRIPT)
    made = did("sh", os.path.join(WEB, "types.sh"), BUILT, NODE)
    assert made == read(os.path.join(WEB, "ringcast.d.ts")), "tools/web/ringcast.d.ts is of older comments: run make types"


def test_names_that_are_shortened_are_nobody_elses():
    lists = re.findall(r"^OURS=(?:'|\"\$OURS\|)(.*)['\"]$", read(os.path.join(WEB, "small.sh")), re.M)
    names = set("|".join(lists).split("|"))
    assert "heardUpdate" in names and "emit" in names, names
    dialect = read(os.path.join(TOP, "tools", "app", "DIALECT.md"))
    types = read(os.path.join(WEB, "ringcast.d.ts"))
    public = ""
    for kind in ("class Ringcast ", "class PoolOf<", "class Keyed ", "class RingcastError ", "type Options ", "type PoolOptions ",
                 "type Keeping ", "type PoolHealth "):
        public += re.search(rf"^(export |declare )+{kind}.*?^}}", types, re.M | re.S)[0]
    members = set(re.findall(r"^ {4}(?:readonly |get |set )*(\w+)\??[(:]", public, re.M))
    assert {"join", "say", "ackTimeout", "healthy"} <= members, members
    equal(names & members, set(), "members that users see")
    fields = set(re.findall(r"[`{,\"](\w+)\??[`},\":]", dialect))
    assert {"content", "timestamp", "userId"} <= fields, fields
    equal(names & fields, set(), "members of messages")


def test_import_and_require():
    with Project() as project, App() as server:
        for name, head in (("a.mjs", 'import { Pool, Ringcast, RingcastError } from "ringcast";'),
                           ("b.mjs", 'import Ringcast from "ringcast";\nconst { Pool, RingcastError } = Ringcast;'),
                           ("c.cjs", 'const { Pool, Ringcast, RingcastError } = require("ringcast");'),
                           ("d.js", 'const Ringcast = require("ringcast"), { Pool, RingcastError } = Ringcast;'),
                           ("e.mjs", 'import { createRequire } from "node:module";\n'
                                     'globalThis.WebSocket ??= createRequire(import.meta.url)("ws");\n'
                                     'const { Pool, Ringcast, RingcastError } = await import("ringcast/min");')):
            project.write(name, head + USE)
            equal(project.run(name, server), "in lobby\nsent A\n", name)


def test_typescript():
    """`tsc --strict`, as a module and as CommonJS; and what is wrong is found."""
    need_npm(TYPESCRIPT)
    text = """import Main, { Keyed, Pool, Ringcast, RingcastError, type Message, type Options } from "ringcast";
import { Ringcast as Small } from "ringcast/min";
import { useRoom, useTopic } from "ringcast/react";

const options: Options = { token: async () => "t", batch: { count: 2, delay: 10 }, transports: ["websocket", "poll"] };
const client: Ringcast = new Main("wss://example.org/ws/me", options), small: Ringcast = new Small("/ws");
const stop: () => void = client.on("room_message", (message: Message) => console.log(message.type));
client.registerHandler("stock_price", ({ price }) => price);
client.onReconnecting(({ attempt, delay }) => console.log(attempt, delay));
client.subscribe(["a", "b"], (data, update) => console.log(data, update.seq), { last: true });
const book: Keyed = client.keyed("book"), map: Map<string, any> = book.map;
const pool = new Ringcast.Pool({ url: "wss://example.org/ws", max: 5, min: 1, options });
export async function use(): Promise<number> {
	const lent: Ringcast = await pool.acquire(1_000);
	await lent.say("room", { any: "thing" }).catch((error: RingcastError) => console.log(error.code));
	pool.release(lent);
	const price: { value: number } = useTopic("prices.EUR", { value: 0 }), { say } = useRoom("lobby", { max: 9 });
	await say(price.value);
	return pool.health().idle + map.size + (stop(), small.queued);
}
export const other: Pool = pool;
"""
    wrong = ('client.on("x");', 'client.state = "open";', "pool.acquire('soon');", 'const n: number = client.userId;',
             'new Ringcast("/ws", { maxDelays: 1 });', "client.nothing();")
    with Project() as project:
        for name in ("use.mts", "use.cts"):
            project.write(name, text if name == "use.mts" else "export {};\n" + text)
        project.write("wrong.mts", text + "".join(line + "\n" for line in wrong))
        tsc = [os.path.join(MODULES, ".bin", "tsc"), "--strict", "--target", "es2022", "--module", "nodenext", "--types", "", "--noEmit"]
        # CommonJS that requires a module: only the newest Node does that, and not for ringcast/min or ringcast/react.
        project.write("use.cts", text.replace('import { Ringcast as Small } from "ringcast/min";\n', "const Small = Ringcast;\n")
                      .replace('import { useRoom, useTopic } from "ringcast/react";\n', "declare const useRoom: any, useTopic: any;\n"))
        did(*tsc, "use.mts", "use.cts", cwd=project.folder)
        done = subprocess.run([*tsc, "wrong.mts"], cwd=project.folder, capture_output=True, text=True, timeout=60 * SLOW, check=False)
        lines = {int(at) for at in re.findall(r"^wrong\.mts\((\d+),", done.stdout, re.M)}
        equal(lines, {text.count("\n") + 1 + index for index in range(len(wrong))}, done.stdout)


def test_bundler():
    """One file for browsers: nothing of Node in it that a browser would miss."""
    esbuild = shutil.which("esbuild")
    if not esbuild:
        need_npm("esbuild@0.25")
        esbuild = os.path.join(MODULES, ".bin", "esbuild")
    with Project() as project, App() as server:
        for which in ("ringcast", "ringcast/min"):
            project.write("page.js", f'import {{ Pool, Ringcast, RingcastError }} from "{which}";' + USE)
            did(esbuild, "page.js", "--bundle", "--minify", "--platform=browser", "--outfile=out.cjs", "--log-level=warning", cwd=project.folder)
            project.write("socket.cjs", 'globalThis.WebSocket ??= require("ws"); require("./out.cjs");')
            equal(project.run("socket.cjs", server), "in lobby\nsent A\n", which)


def test_react():
    need_npm("react@19", "react-test-renderer@19")
    with Project() as project, App("--permissions", "read,write") as server:
        project.link("react", "react-test-renderer", "scheduler", "react-is")
        shutil.copy(os.path.join(TOP, "tests", "live", "web", "react.mjs"), project.folder)
        node(os.path.join(project.folder, "react.mjs"), f"127.0.0.1:{server.port}", limit=60)


run(globals(), limit=100, unsanitized="it packs files, which know nothing of how the program was built")
