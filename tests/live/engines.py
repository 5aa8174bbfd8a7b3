# SPDX-License-Identifier: MIT
"""The engines behind a backplane, as Debian has them: each started on free ports of loopback with a folder of its own,
killed and started again as a test wishes, and ended by its pid. Between a node and its engine a test can put a Cut.

An engine knows how ringcast is told of it (url), and nothing else of ringcast.
"""
import base64
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from authority import Authority
from harness import BUILD, SLOW, Skip, die_with_parent, until
from proxies import free_port

RABBIT = "/usr/lib/rabbitmq/lib"


def find(name, word=None):
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if not found:
        raise Skip(f"needs {word or name}")
    return found


class Engine:
    """A server process that can be killed, and started again with what it has on its disk."""

    limit = 10
    memory = None  # a folder in which it starts faster, if there is one

    def __init__(self):
        within = self.memory if self.memory and os.access(self.memory, os.W_OK) else None
        self.directory = tempfile.TemporaryDirectory(prefix="ringcast-engine-", dir=within)
        self.folder = self.directory.name
        self.port = free_port()
        self.process = None
        self.output = open(os.path.join(self.folder, "output"), "w+", encoding="utf-8", errors="replace")

    def arguments(self):
        raise NotImplementedError

    def environment(self):
        return None

    def begin(self):
        self.process = subprocess.Popen(self.arguments(), stdin=subprocess.PIPE, stdout=self.output,
                                        stderr=subprocess.STDOUT, env=self.environment(), cwd=self.folder,
                                        preexec_fn=self.before)

    @staticmethod
    def before():
        os.setsid()
        die_with_parent()

    def start(self):
        self.begin()
        until(self.answers, f"{type(self).__name__} on port {self.port}", limit=self.limit)
        return self

    def said(self):
        self.output.seek(0)
        return self.output.read()[-600:]

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{type(self).__name__} ended: {self.said()}")
        return self.listens()

    def listens(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self):
        """Ends it at once, with all that it started: its process group."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.process:
            self.process.wait()
        if self.process and self.process.stdin:
            self.process.stdin.close()
        if self.process:
            # What it started may die a moment later.
            until(lambda: not self.listens(), f"the end of {type(self).__name__}")
        self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.kill()
        self.output.close()
        self.directory.cleanup()

    def address(self, port=None):
        return f"127.0.0.1:{port or self.port}"


class Nats(Engine):
    scheme = "nats"

    def __init__(self, *flags, jetstream=True):
        super().__init__()
        self.program = find("nats-server")
        self.flags = flags
        self.jetstream = ["-js", "-sd", os.path.join(self.folder, "store")] if jetstream else []

    def arguments(self):
        return [self.program, "-a", "127.0.0.1", "-p", str(self.port), *self.jetstream, *self.flags]

    def ask(self, subject, data=b"", headers=None):
        """One request, by the bare protocol: the answer's payload."""
        head = "".join(["NATS/1.0\r\n", *(f"{key}: {value}\r\n" for key, value in (headers or {}).items()), "\r\n"]).encode()
        with socket.create_connection(("127.0.0.1", self.port), 5 * SLOW) as link:
            file = link.makefile("rwb")
            file.write(b'CONNECT {"verbose":false,"headers":true}\r\nSUB answer 1\r\n')
            if headers:
                file.write(b"HPUB %s answer %d %d\r\n%s\r\n" % (subject.encode(), len(head), len(head + data), head + data))
            else:
                file.write(b"PUB %s answer %d\r\n%s\r\n" % (subject.encode(), len(data), data))
            file.flush()
            while line := file.readline():
                if line.startswith(b"MSG"):
                    return file.read(int(line.split()[-1]))
        raise AssertionError(f"no answer to {subject}")

    def delete(self, prefix):
        """The stream, as an operator would by mistake."""
        if b'"success":true' not in self.ask(f"$JS.API.STREAM.DELETE.{prefix}"):
            raise AssertionError("the stream was not deleted")

    def empty(self, prefix):
        """The stream stays, and goes on numbering; all that it holds goes."""
        if b'"success":true' not in self.ask(f"$JS.API.STREAM.PURGE.{prefix}"):
            raise AssertionError("the stream was not emptied")

    def url(self, prefix, port=None, more=""):
        return f"nats://{self.address(port)}?prefix={prefix}{more}"


class Rabbit(Engine):
    """Called in its library folder: the wrapper in sbin wants a user of its own. Beside guest, who has the vhost /, there is
    `me` with the password se/cret and the vhost own; on the port `tls` it wants TLS, of the authority `trust`."""
    scheme = "amqp"
    limit = 100
    memory = "/dev/shm"

    def __init__(self):
        super().__init__()
        versions = sorted(os.listdir(RABBIT)) if os.path.isdir(RABBIT) else []
        if not versions:
            self.output.close()
            raise Skip("needs rabbitmq-server")
        self.home = os.path.join(RABBIT, versions[-1])
        self.epmd = free_port()
        self.names = None
        self.distribution = free_port()
        self.tls, self.trust = free_port(), Authority(self.folder)
        self.write("rabbitmq.conf", f"listeners.tcp.default = 127.0.0.1:{self.port}\nvm_memory_high_watermark.absolute = 1GB\n"
                                    "disk_free_limit.absolute = 50MB\n"
                                    f"load_definitions = {self.folder}/definitions.json\n"
                                    f"listeners.ssl.default = 127.0.0.1:{self.tls}\nssl_options.cacertfile = {self.trust.ca}\n"
                                    f"ssl_options.certfile = {self.trust.cert}\nssl_options.keyfile = {self.trust.key}\n"
                                    "ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = false\n")
        people = (("guest", "guest", "/"), ("me", "se/cret", "own"))
        self.write("definitions.json", json.dumps({
            "users": [{"name": name, "password_hash": self.hashed(password), "tags": "",
                       "hashing_algorithm": "rabbit_password_hashing_sha256"} for name, password, _ in people],
            "vhosts": [{"name": vhost} for _, _, vhost in people],
            "permissions": [{"user": name, "vhost": vhost, "configure": ".*", "write": ".*", "read": ".*"}
                            for name, _, vhost in people]}))
        self.write("plugins", "[].\n")

    @staticmethod
    def hashed(password):
        return base64.b64encode(b"salt" + hashlib.sha256(b"salt" + password.encode()).digest()).decode()

    def begin(self):
        # The server would leave one behind, as a daemon.
        if not self.names:
            self.names = subprocess.Popen([find("epmd", "erlang"), "-port", str(self.epmd), "-address", "127.0.0.1"],
                                          stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output,
                                          preexec_fn=die_with_parent)
            time.sleep(0.2)
        super().begin()

    def __exit__(self, *_):
        if self.names:
            self.names.kill()
            self.names.wait()
        super().__exit__()

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    def arguments(self):
        return [os.path.join(self.home, "sbin", "rabbitmq-server")]

    def environment(self):
        loopback = "-kernel inet_dist_use_interface {127,0,0,1}"
        return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": self.folder, "LANG": "C.UTF-8",
                "RABBITMQ_NODENAME": f"rc{self.port}@localhost",
                "RABBITMQ_CONFIG_FILE": os.path.join(self.folder, "rabbitmq.conf"),
                "RABBITMQ_MNESIA_BASE": os.path.join(self.folder, "mnesia"),
                "RABBITMQ_LOG_BASE": os.path.join(self.folder, "log"),
                "RABBITMQ_ENABLED_PLUGINS_FILE": os.path.join(self.folder, "plugins"),
                "RABBITMQ_DIST_PORT": str(self.distribution), "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": loopback,
                "ERL_EPMD_ADDRESS": "127.0.0.1", "ERL_EPMD_PORT": str(self.epmd)}

    def delete(self, prefix):
        """The queue, as an operator would by mistake."""
        try:
            import pika
        except ImportError:
            raise Skip("needs python3-pika") from None
        link = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.port))
        link.channel().queue_delete(f"{prefix}.packets")
        link.close()

    def url(self, prefix, port=None, more=""):
        return f"amqp://guest:guest@{self.address(port)}?prefix={prefix}{more}"


class Kafka(Engine):
    """librdkafka's own mock of a cluster, since Debian has no Kafka: it forgets everything when it is killed."""
    scheme = "kafka"

    def __init__(self):
        super().__init__()
        self.program = os.path.join(BUILD, "tests", "kafka_mock")
        if not os.path.exists(self.program):
            self.output.close()
            raise Skip("needs librdkafka")

    def arguments(self):
        return [self.program]

    def start(self):
        self.process = subprocess.Popen(self.arguments(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        cwd=self.folder, preexec_fn=self.before)
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])
        return self

    def tell(self, word):
        """One of the words that kafka_mock.c lists."""
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if answer != "0":
            raise AssertionError(f"the mock answered '{answer}' to '{word}'")

    def url(self, prefix, port=None, more=""):
        return f"kafka://{self.address(port)}?prefix={prefix}{more}"


class Cut:
    """Passes bytes between a node and its engine until it is told to cut: then every connection ends at once, and new
    ones are refused until mend()."""

    def __init__(self, port, listen=0):
        self.target = ("127.0.0.1", port)
        self.sockets = set()
        self.lock = threading.Lock()
        self.listener = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", listen))
            self.port = probe.getsockname()[1]
        self.mend()

    def mend(self):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        self.listener = listener
        threading.Thread(target=self.accept, args=(listener,), daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.socket()
            try:
                far.connect(self.target)
            except OSError:
                near.close()
                far.close()
                continue
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.sockets |= {near, far}
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self.pass_on, args=pair, daemon=True).start()

    def pass_on(self, source, target):
        try:
            while data := source.recv(1 << 16):
                target.sendall(data)
        except OSError:
            pass
        for one in (source, target):
            with self.lock:
                known = one in self.sockets
                self.sockets.discard(one)
            if known:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def cut(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            ended, self.sockets = self.sockets, set()
        for one in ended:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def blip(self, seconds=0.2):
        """Cut and mended again."""
        self.cut()
        time.sleep(seconds * SLOW)
        self.mend()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cut()
