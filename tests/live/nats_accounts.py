# SPDX-License-Identifier: MIT
"""What a nats-server with accounts needs, made as `nsc` would: an operator, two accounts, a user, each an Ed25519 key that
signs a JSON Web Token; and the user's credentials file. Only openssl is needed."""
import base64
import json
import os
import subprocess
import time

OPERATOR, ACCOUNT, USER, SEED = 14 << 3, 0, 20 << 3, 18 << 3
LIMITS = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1) | {"wildcards": True}
STREAMS = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)


def crc16(data):
    value = 0
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ 0x1021 if value & 0x8000 else value << 1) & 0xffff
    return value


def encoded(head, raw):
    data = bytes(head) + raw
    return base64.b32encode(data + crc16(data).to_bytes(2, "little")).decode().rstrip("=")


def base64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Key:
    def __init__(self, folder, name, kind):
        self.path = os.path.join(folder, name)
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", self.path], check=True, capture_output=True)
        seed, public = (subprocess.run(["openssl", "pkey", "-in", self.path, "-outform", "DER", *more], check=True,
                                       capture_output=True).stdout[-32:] for more in ((), ("-pubout",)))
        self.public = encoded((kind,), public)
        self.seed = encoded((SEED | kind >> 5, (kind & 31) << 3), seed)

    def sign(self, subject, name, nats):
        """A token about the subject, signed with this key."""
        claims = {"jti": name, "iat": int(time.time()), "iss": self.public, "name": name, "sub": subject.public,
                  "nats": nats | {"version": 2}}
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        text = ".".join(base64url(json.dumps(part).encode()) for part in (head, claims))
        with open(self.path + ".text", "w", encoding="ascii") as file:
            file.write(text)
        signature = subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self.path, "-in", file.name],
                                   check=True, capture_output=True).stdout
        return f"{text}.{base64url(signature)}"


def accounts(folder):
    """Paths: the server's settings (for -c), the user's credentials, and credentials that another account's key signed."""
    operator = Key(folder, "operator", OPERATOR)
    system, account, stranger = (Key(folder, name, ACCOUNT) for name in ("system", "account", "stranger"))
    user = Key(folder, "user", USER)
    tokens = {key: operator.sign(key, name, {"type": "account", "limits": LIMITS | streams})
              for key, name, streams in ((system, "SYS", {}), (account, "A", STREAMS))}
    lines = [f"operator: {operator.sign(operator, 'O', {'type': 'operator', 'system_account': system.public})}",
             f"system_account: {system.public}", "resolver: MEMORY", "resolver_preload: {",
             *(f"  {key.public}: {token}" for key, token in tokens.items()), "}"]
    settings = os.path.join(folder, "accounts.conf")
    with open(settings, "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
    files = []
    for name, signer in (("user.creds", account), ("stranger.creds", stranger)):
        token = signer.sign(user, "U", {"type": "user", "subs": -1, "data": -1, "payload": -1})
        files.append(os.path.join(folder, name))
        with open(files[-1], "w", encoding="ascii") as file:
            file.write(f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
                       f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n")
    return settings, *files
