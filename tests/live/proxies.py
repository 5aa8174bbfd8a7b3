# SPDX-License-Identifier: MIT
"""nginx and HAProxy from the distribution, started by a test on a free port of loopback and ended by it."""
import os
import shutil
import signal
import socket
import subprocess
import tempfile

from harness import SLOW, Skip, die_with_parent, until


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Proxy:
    """A proxy run in the foreground with a configuration of its own; ended by its pid."""

    def __init__(self, name, configure, arguments):
        self.program = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
        if not self.program:
            raise Skip(f"needs {name}")
        self.directory = tempfile.TemporaryDirectory()
        self.port = free_port()
        path = os.path.join(self.directory.name, "proxy.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(configure(self.port, self.directory.name))
        self.look_at(path)
        self.output = open(os.path.join(self.directory.name, "output"), "w+", encoding="utf-8")
        self.process = subprocess.Popen([self.program, *arguments(path, self.directory.name)], stdin=subprocess.DEVNULL,
                                        stdout=self.output, stderr=subprocess.STDOUT, preexec_fn=die_with_parent)
        until(self.answers, f"{name} listening")

    def look_at(self, path):
        """The file, before the proxy is started with it."""

    def answers(self):
        if self.process.poll() is not None:
            self.output.seek(0)
            raise AssertionError("the proxy ended: " + self.output.read()[-500:])
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5 * SLOW)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.output.close()
        self.directory.cleanup()


def nginx_with(http, connections=512):
    """nginx with these lines in its http block; `http` is a function of its port. Each client has two connections."""
    def configure(port, directory):
        return f"""
daemon off; master_process off; pid {directory}/pid; error_log stderr warn;
events {{ worker_connections {connections}; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/f;
  uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
{http(port)}
}}
"""
    return Proxy("nginx", configure, lambda path, directory: ["-p", directory, "-c", path, "-e", "stderr"])


def nginx(upstream, connections=512):
    return nginx_with(lambda port: f"""
  map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{upstream};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
  }}""", connections)


def plain_nginx(upstream):
    """proxy_pass and nothing else: HTTP/1.0 to the server, a connection a request."""
    return nginx_with(lambda port: f"  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{upstream}; }} }}")


def haproxy(upstream, mode="http", send=""):
    def configure(port, directory):
        forward = "option forwardfor" if mode == "http" else ""
        return f"""
global
  maxconn 512
defaults
  mode {mode}
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  timeout tunnel 1h
frontend in
  bind 127.0.0.1:{port}
  {forward}
  default_backend out
backend out
  server one 127.0.0.1:{upstream} {send}
"""
    return Proxy("haproxy", configure, lambda path, directory: ["-db", "-f", path])
