# SPDX-License-Identifier: MIT
"""tools/app/TUTORIALS.md, as its reader would do it: each section's server is started, its client is run in Node, or its page
in Chromium, and has to print what stands below it. Only the ports are others."""
import http.server
import os
import re
import shutil
import subprocess
import tempfile
import threading

from harness import BUILD, PROGRAM, SLOW, TOP, Skip, die_with_parent, equal, run, until
from nodetest import MODULES, need_npm, node
from proxies import Proxy, free_port

PAGE = os.path.join(TOP, "tools", "app", "TUTORIALS.md")
CHROMIUM = "/usr/bin/chromium"
BLOCK = re.compile(r"(<!-- in any order -->\n)?^```(\w+)\n(.*?)^```$", re.M | re.S)


def sections():
    """Of each section its name, its text and its blocks by kind."""
    with open(PAGE, encoding="utf-8") as file:
        parts = re.split(r"^## (.*)\n", file.read(), flags=re.M)[1:]
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        found = [(kind, body, bool(order)) for order, kind, body in BLOCK.findall(text)]
        kinds = [kind for kind, _, _ in found]
        equal(len(kinds), len(set(kinds)), f"{name}: blocks of one kind")
        yield name, {kind: (body, order) for kind, body, order in found}


class Reader:
    """A folder with the package, and the server of a section."""

    def __init__(self, blocks, ports):
        self.blocks, self.ports = blocks, ports

    def __enter__(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = self.temporary.name
        package = os.path.join(self.folder, "node_modules", "ringcast")
        os.makedirs(package)
        shutil.copy(os.path.join(TOP, "tools", "web", "package.json"), package)
        shutil.copy(os.path.join(BUILD, "tools", "web", "ringcast.js"), package)
        os.mkdir(os.path.join(self.folder, "bin"))
        os.symlink(PROGRAM, os.path.join(self.folder, "bin", "ringcast"))
        self.environment = dict(os.environ, PATH=os.path.join(self.folder, "bin") + ":" + os.environ["PATH"], NODE_PATH="/usr/share/nodejs")
        self.server = subprocess.Popen(["bash", "-c", "exec " + self.text("sh")], env=self.environment, stdout=subprocess.PIPE,
                                       stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, text=True, preexec_fn=die_with_parent)
        said = []
        for line in self.server.stdout:
            said.append(line)
            if "listening on" in line:
                break
        else:
            raise AssertionError("the server did not start: " + "".join(said)[-500:])
        threading.Thread(target=self.server.stdout.read, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.terminate()
        self.server.wait(10 * SLOW)
        self.temporary.cleanup()

    def text(self, kind):
        """A block, with ports of this test."""
        body = self.blocks[kind][0]
        for port, other in self.ports.items():
            body = re.sub(rf"(127\.0\.0\.1|localhost):{port}\b", rf"\g<1>:{other}", body)
        return body

    def run(self):
        path = os.path.join(self.folder, "client.mjs")
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.text("js"))
        done = subprocess.run(["node", path], env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=30 * SLOW, check=False, preexec_fn=die_with_parent)
        equal((done.returncode, done.stderr), (0, ""), done.stdout)
        wanted, any_order = self.blocks["text"]
        order = sorted if any_order else list
        equal(order(done.stdout.splitlines()), order(wanted.splitlines()))


def need_node():
    check = "process.exit(+process.versions.node.split('.')[0] >= 18 && (globalThis.WebSocket || require('ws')) ? 0 : 1)"
    if not shutil.which("node") or subprocess.run(["node", "-e", check], env=dict(os.environ, NODE_PATH="/usr/share/nodejs"),
                                                  check=False, capture_output=True).returncode:
        raise Skip("there is no node of version 18 with a WebSocket")


def in_node(blocks):
    def test():
        need_node()
        with Reader(blocks, {8080: free_port()}) as reader:
            reader.run()
    return test


def behind_nginx(blocks):
    def configure(port, directory):
        return f"""
daemon off; pid {directory}/pid; error_log {directory}/error.log; worker_processes 1;
events {{ worker_connections 64; }}
http {{
    access_log off; client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
    uwsgi_temp_path {directory}; scgi_temp_path {directory};
    server {{ listen 127.0.0.1:{port};
{location}
    }}
}}"""
    location = ""

    def test():
        nonlocal location
        need_node()
        ports = {8080: free_port()}
        location = Reader(blocks, ports).text("nginx")
        with Proxy("nginx", configure, lambda path, directory: ["-p", directory, "-c", path]) as proxy:
            with Reader(blocks, {**ports, 80: proxy.port}) as reader:
                reader.run()
    return test


def in_chromium(blocks):
    def test():
        if not os.path.exists(CHROMIUM) or not shutil.which("setpriv"):
            raise Skip("there is no " + CHROMIUM)
        need_npm("playwright-core@1")
        ports = {8080: free_port(), 3000: free_port()}
        with Reader(blocks, ports) as reader:
            page = reader.text("html").encode()

            class Site(http.server.BaseHTTPRequestHandler):
                def do_GET(self):
                    self.send_response(200)
                    self.send_header("Content-Type", "text/html")
                    self.end_headers()
                    self.wfile.write(page)

                def log_message(self, *_):
                    pass

            with http.server.ThreadingHTTPServer(("127.0.0.1", ports[3000]), Site) as site:
                threading.Thread(target=site.serve_forever, daemon=True).start()
                try:
                    node("tutorials.mjs", f"http://127.0.0.1:{ports[3000]}/", MODULES, CHROMIUM, limit=60)
                finally:
                    site.shutdown()
    return test


def test_each_section_is_run():
    names = []
    for name, blocks in sections():
        names.append(name)
        assert blocks["sh"][0].startswith("ringcast app --listen 127.0.0.1:8080"), name
        assert "html" in blocks or {"js", "text"} <= set(blocks), name
    with open(PAGE, encoding="utf-8") as file:
        listed = re.findall(r"^\| \[(.*?)\]\(#(.*?)\)", file.read(), re.M)
    equal([(name, name.lower().replace(" ", "-")) for name in names], listed, "the table at the top")


for section, its_blocks in sections():
    make = in_chromium if "html" in its_blocks else behind_nginx if "nginx" in its_blocks else in_node
    globals()["test_" + section.lower().replace(" ", "_")] = make(its_blocks)
    globals()["test_" + section.lower().replace(" ", "_")].__name__ = "test_" + section.lower().replace(" ", "_")

run(globals(), limit=70)
