# SPDX-License-Identifier: MIT
"""A gate before librdkafka's mock of a cluster, which knows neither TLS nor SASL: it ends TLS, asks who comes in (PLAIN or
SCRAM-SHA-256, after a SaslHandshake of version 0), and passes on what comes then. In what the cluster says of itself it puts
its own port, so that clients come back to it, and that it has this handshake."""
import base64
import hashlib
import hmac
import os
import socket
import ssl
import struct
import threading

METADATA, HANDSHAKE, VERSIONS = 3, 17, 18
ROUNDS = 4096


def digest(key, text):
    return hmac.new(key, text, "sha256").digest()


class Gate:
    """Before the broker on `port`. trust: an Authority, if it wants TLS; user and password: if it wants to know."""

    def __init__(self, port, trust=None, mechanism=None, user="", password="", wants_certificate=False):
        self.target, self.mechanism = port, mechanism
        self.user, self.password = user.encode(), password.encode()
        self.context = None
        if trust:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(trust.cert, trust.key)
            if wants_certificate:
                self.context.load_verify_locations(trust.ca)
                self.context.verify_mode = ssl.CERT_REQUIRED
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(near,), daemon=True).start()

    def serve(self, near):
        """Requests and answers in turn, on one thread: a TLS connection is not for two."""
        try:
            if self.context:
                near = self.context.wrap_socket(near, server_side=True)
            with near, socket.create_connection(("127.0.0.1", self.target)) as far:
                request = self.frame(near)
                while self.mechanism and self.kind(request) == VERSIONS:
                    self.pass_one(request, near, far)
                    request = self.frame(near)
                if self.mechanism:
                    if not self.agree(near, request) or not self.is_known(near):
                        return
                    request = self.frame(near)
                while True:
                    self.pass_one(request, near, far)
                    request = self.frame(near)
        except (OSError, EOFError, ValueError, IndexError):
            near.close()

    @staticmethod
    def kind(request):
        return struct.unpack(">h", request[:2])[0]

    @staticmethod
    def frame(source):
        head = b""
        while len(head) < 4:
            head += source.recv(4 - len(head)) or Gate.end()
        body, size = b"", struct.unpack(">i", head)[0]
        while len(body) < size:
            body += source.recv(size - len(body)) or Gate.end()
        return body

    @staticmethod
    def end():
        raise EOFError

    @staticmethod
    def send(target, body):
        target.sendall(struct.pack(">i", len(body)) + body)

    def pass_one(self, request, near, far):
        self.send(far, request)
        answer = self.frame(far)
        if self.kind(request) == METADATA:
            answer = answer.replace(struct.pack(">i", self.target), struct.pack(">i", self.port))
        if self.kind(request) == VERSIONS and self.mechanism:
            answer = self.with_handshake(answer, struct.unpack(">h", request[2:4])[0])
        self.send(near, answer)

    @staticmethod
    def with_handshake(answer, version):
        """The list of requests and their versions, with one more; in the flexible form where that was asked for."""
        head, rest = answer[:6], answer[6:]
        if version >= 3 and head[4:] == b"\0\0":
            return head + bytes((rest[0] + 1,)) + struct.pack(">hhhb", HANDSHAKE, 0, 0, 0) + rest[1:]
        count = struct.unpack(">i", rest[:4])[0] + 1
        return head + struct.pack(">ihhh", count, HANDSHAKE, 0, 0) + rest[4:]

    def agree(self, near, request):
        wanted, offered = self.kind(request) == HANDSHAKE, self.mechanism.encode()
        good = wanted and request.endswith(struct.pack(">h", len(offered)) + offered)
        if wanted:
            self.send(near, request[4:8] + struct.pack(">hih", 0 if good else 33, 1, len(offered)) + offered)
        return good

    def is_known(self, near):
        first = self.frame(near)
        if self.mechanism == "PLAIN":
            if first != b"\0".join((b"", self.user, self.password)):
                return False
            self.send(near, b"")
            return True
        bare = first.decode().split(",", 2)[2]
        nonce, salt = bare.split("r=")[1] + "gate", os.urandom(16)
        challenge = f"r={nonce},s={base64.b64encode(salt).decode()},i={ROUNDS}"
        self.send(near, challenge.encode())
        last = self.frame(near).decode()
        without, proof = last.rsplit(",p=", 1)
        salted = hashlib.pbkdf2_hmac("sha256", self.password, salt, ROUNDS)
        key = digest(salted, b"Client Key")
        signed = ",".join((bare, challenge, without)).encode()
        wanted = bytes(a ^ b for a, b in zip(key, digest(hashlib.sha256(key).digest(), signed)))
        if bare.split(",")[0] != "n=" + self.user.decode() or base64.b64decode(proof) != wanted:
            self.send(near, b"e=invalid-proof")
            return False
        self.send(near, b"v=" + base64.b64encode(digest(digest(salted, b"Server Key"), signed)))
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
