# SPDX-License-Identifier: MIT
"""Certificates for tests of TLS between a node and its engine: an authority, what it has signed for 127.0.0.1, and another
authority that signed nothing."""
import os
import subprocess

CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")


class Authority:
    """Files in a folder: ca, cert and key of a server, client_cert and client_key of one who may come in, other_ca."""

    def __init__(self, folder):
        self.folder = folder
        self.ca, self.cert, self.key, self.client_cert, self.client_key, self.other_ca = (
            os.path.join(folder, name + ".pem") for name in ("ca", "cert", "key", "client", "client-key", "other"))
        self.authority(self.ca, "ca-key")
        self.authority(self.other_ca, "other-key")
        self.sign("/CN=a server", self.cert, self.key, "IP:127.0.0.1")
        self.sign("/CN=a client", self.client_cert, self.client_key, "DNS:client")

    def openssl(self, *words):
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)

    def authority(self, path, key):
        self.openssl("req", "-x509", *CURVE, "-subj", f"/CN={key}", "-keyout", key, "-out", path)

    def sign(self, subject, cert, key, name):
        self.openssl("req", *CURVE, "-subj", subject, "-addext", f"subjectAltName={name}", "-keyout", key, "-out", "request")
        self.openssl("x509", "-req", "-in", "request", "-CA", self.ca, "-CAkey", "ca-key", "-CAcreateserial", "-days", "2",
                     "-copy_extensions", "copy", "-out", cert)
