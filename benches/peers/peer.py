# SPDX-License-Identifier: MIT
"""What the Python peers share: the port, the certificate, whether to compress, and what a path asks for."""
import os
import ssl
import sys

PORT = int(sys.argv[1])
DEFLATE = os.environ.get("PEER_DEFLATE") == "1"
SIZE_MAX = 16 << 20
CERT, KEY = os.environ.get("PEER_CERT"), os.environ.get("PEER_KEY")


def tls():
    if not CERT:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERT, KEY)
    return context


def jobs(path):
    """The topics that a path subscribes to, and the one it publishes to or None: /relay/NAME does both."""
    _, job, names = path.split("/", 2)
    if job == "topic":
        return names.split(","), None
    return ([names], names) if job == "relay" else ([], names)
