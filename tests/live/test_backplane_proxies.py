# SPDX-License-Identifier: MIT
"""Several nodes behind nginx and HAProxy: a client that comes back lands on another node, or with stickiness on its own, and
resumes there; one whose node is gone resumes on another."""
import json
import sys

sys.dont_write_bytecode = True
import backplane_nodes as nodes  # noqa: E402
from harness import Raw, command, equal, run, until  # noqa: E402
from proxies import Proxy, nginx_with  # noqa: E402
from redis_server import Redis  # noqa: E402


class Engine(Redis):
    def url(self, prefix, port=None):
        return f"redis://127.0.0.1:{port or self.port}/0?prefix={prefix}"


def haproxy(ports, sticky):
    def configure(port, directory):
        cookie = "cookie NODE insert indirect nocache" if sticky else ""
        servers = "\n".join(f"  server n{i} 127.0.0.1:{each} check inter 100ms fall 1 {f'cookie n{i}' if sticky else ''}"
                            for i, each in enumerate(ports))
        return f"""
global
  maxconn 512
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
  timeout tunnel 1h
  option redispatch
frontend in
  bind 127.0.0.1:{port}
  default_backend out
backend out
  balance roundrobin
  option httpchk GET /healthz
  {cookie}
{servers}
"""
    return Proxy("haproxy", configure, lambda path, directory: ["-db", "-f", path])


def nginx(ports, sticky):
    servers = "".join(f"    server 127.0.0.1:{port} max_fails=1;\n" for port in ports)
    return nginx_with(lambda port: f"""
  map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
  upstream nodes {{
{'    ip_hash;' if sticky else ''}
{servers}  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://nodes;
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
    }}
  }}""")


class Client:
    """Reads the topic, and comes back from where it was, with the proxy's cookie if it gave one."""

    def __init__(self, port):
        self.port, self.cookie, self.last, self.texts = port, None, None, []

    def connect(self):
        where = "&since=%d&epoch=%d" % (self.last[1], self.last[0]) if self.last else ""
        self.link = Raw(("127.0.0.1", self.port))
        headers = {"Cookie": self.cookie} if self.cookie else {}
        self.link.open("/topic/A?form=json" + where, **headers)
        self.cookie = self.link.headers.get("set-cookie", self.cookie or "").split(";")[0] or None
        return self

    def take(self, count):
        for _ in range(count):
            message = json.loads(self.link.receive_text())
            if "m" in message:
                raise AssertionError(f"a mark: {message}")
            self.last = (message["e"], message["s"])
            self.texts.append(str(message["d"]))


def behind(proxy, sticky):
    with Engine() as engine:
        both = nodes.start(engine, 2, None, "proxied")
        with proxy([node.port for node in both], sticky) as front:
            if proxy is haproxy:
                until(lambda: all(node.get("/healthz")[0] == 200 for node in both), "healthy nodes")
            client = Client(front.port).connect()
            nodes.published(both[0], "A", "0")
            client.take(1)
            homes = []
            for turn in range(1, 7):
                homes.append(next(i for i, node in enumerate(both) if node.stats()["by_topic"].get("A", {}).get("subscribers")))
                client.link.socket.close()
                until(lambda: not any(node.stats()["by_topic"].get("A", {}).get("subscribers") for node in both), "its end")
                nodes.published(both[turn % 2], "A", str(turn))
                client.connect().take(1)
            equal(client.texts, [str(n) for n in range(7)], "all of them, once, in order")
            equal(len(set(homes)), 1 if sticky else 2, f"the nodes it was on: {homes}")
            # Its node dies.
            home = next(i for i, node in enumerate(both) if node.stats()["by_topic"].get("A", {}).get("subscribers"))
            both[home].kill()
            nodes.published(both[1 - home], "A", "after")

            def back():
                try:
                    return client.connect()
                except (AssertionError, OSError, EOFError):
                    return None
            until(back, "a way to the other node").take(1)
            equal(client.texts[-1], "after", "on the other node")
        both[1 - home].stop()


def test_haproxy():
    behind(haproxy, False)


def test_haproxy_sticky():
    behind(haproxy, True)


def test_nginx():
    behind(nginx, False)


def test_nginx_sticky():
    behind(nginx, True)


if __name__ == "__main__":
    if b"built without libhiredis" in command("probe").stdout:
        print("skip all of it: built without hiredis")
        sys.exit(77)
    run(globals(), limit=30)
