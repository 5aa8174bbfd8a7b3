# SPDX-License-Identifier: MIT
"""The files of tools/package as an operator uses them: nginx and HAProxy with our configurations, in front of a server and
with real traffic; the Kubernetes manifest against what the program does; the tarball, twice."""
import hashlib
import os
import re
import shutil
import ssl
import subprocess
import tarfile
import tempfile

from app import App, Client
from harness import SLOW, TOP, Raw, Skip, command, equal, run, until
from proxies import Proxy

PACKAGE = os.path.join(TOP, "tools/package")
HOST = "feed.example.org"
KEY = "a key of 24 random bytes"


def put(text, **changes):
    """The text with each old piece, which must stand in it, in the place of its name."""
    for old, new in changes.items():
        assert old in text, f"{old!r} is not in the file"
        text = text.replace(old, new)
    return text


def certificate(folder):
    key, chain = os.path.join(folder, "key.pem"), os.path.join(folder, "chain.pem")
    if not shutil.which("openssl"):
        raise Skip("openssl is not installed")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
                    "-subj", f"/CN={HOST}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", chain],
                   check=True, capture_output=True)
    return key, chain


class Front(Proxy):
    """A proxy in front of `ringcast app` with one of our files, in which nothing but places was changed."""

    def __init__(self, name, configure, check, start):
        self.check = check

        def begin(port, here):
            key, self.chain = certificate(here)
            self.server = App("--trust-proxy", "127.0.0.1", "--host", HOST, "--host", "localhost", "--api-key", KEY)
            return configure(self, here, key)

        super().__init__(name, begin, start)

    def look_at(self, path):
        checked = subprocess.run([self.program, *self.check(path, self.directory.name)], capture_output=True, text=True)
        equal(checked.returncode, 0, checked.stderr)
        assert "[warn" not in checked.stderr.lower(), checked.stderr

    def url(self, path, scheme="wss"):
        return f"{scheme}://localhost:{self.port}{path}"

    def __exit__(self, *error):
        super().__exit__(*error)
        self.server.__exit__(*error)


def nginx():
    def configure(front, here, key):
        with open(os.path.join(PACKAGE, "nginx.conf"), encoding="utf-8") as file:
            text = put(file.read(), **{"127.0.0.1:8080": f"127.0.0.1:{front.server.port}",
                                       "listen 443 ssl": f"listen 127.0.0.1:{front.port} ssl",
                                       "/etc/ssl/certs/feed.example.org.pem": front.chain,
                                       "/etc/ssl/private/feed.example.org.key": key})
        paths = "\n".join(f"  {name}_temp_path {here}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        return f"daemon off; master_process off; pid {here}/pid; error_log stderr error;\nevents {{ worker_connections 512; }}\n" \
               f"http {{\n  access_log off;\n{paths}\n{text}\n}}\n"

    return Front("nginx", configure, lambda path, here: ["-p", here, "-e", "stderr", "-t", "-c", path],
                 lambda path, here: ["-p", here, "-e", "stderr", "-c", path])


def haproxy():
    def configure(front, here, key):
        both = os.path.join(here, "both.pem")
        with open(both, "w", encoding="ascii") as file:
            for part in (front.chain, key):
                with open(part, encoding="ascii") as source:
                    file.write(source.read())
        with open(os.path.join(PACKAGE, "haproxy.cfg"), encoding="utf-8") as file:
            return put(file.read(), **{"bind :443": f"bind 127.0.0.1:{front.port}", "127.0.0.1:8080": f"127.0.0.1:{front.server.port}",
                                       "/etc/haproxy/feed.example.org.pem": both, "maxconn 200000": "maxconn 500",
                                       "check inter 2s": "check inter 200ms"})

    return Front("haproxy", configure, lambda path, here: ["-c", "-f", path], lambda path, here: ["-db", "-f", path])


class Outside(Client):
    """A client that comes by TLS, and trusts the proxy's certificate."""

    def __init__(self, front):
        super().__init__(("127.0.0.1", front.port))
        self.socket = ssl.create_default_context(cafile=front.chain).wrap_socket(self.socket, server_hostname="localhost")


def passes(front):
    """Messages both ways over wss://, a page that may connect and one that may not, and nothing of what is not for the
    outside."""
    here = f"localhost:{front.port}"
    inside = front.server.client("/ws/inside").in_room("r")
    outside = Outside(front).join_in("/ws/outside", Host=here, Origin="https://" + here).in_room("r")
    inside.expect("user_joined", userId="outside")
    for number in range(100):
        inside.say("room_message", room="r", content=f"{number} " + "x" * 900)
        outside.say("room_message", room="r", content=f"{number} " + "y" * 900)
    for number in range(100):
        outside.expect("room_message", content=f"{number} " + "x" * 900)
        inside.expect("room_message", content=f"{number} " + "y" * 900)
    equal(outside.close(), 1000)
    inside.expect("user_left", userId="outside")
    with Outside(front) as strange:
        strange.send(strange.request("/ws/x", Host=here, Origin="https://elsewhere.example"))
        equal(strange.response()[0], 403)
    for path in ("/api/stats", "/api", "/stats", "/metrics", "/healthz", "/readyz", "/publish/x"):
        done = command("health", "--ca", front.chain, front.url(path, "https"))
        assert done.returncode == 1 and b" 404" in done.stderr, (path, done.stderr)
    equal(command("health", "--ca", front.chain, front.url("/", "https")).returncode, 0, "the dashboard's page")


def test_nginx():
    with nginx() as front:
        passes(front)


def test_haproxy():
    with haproxy() as front:
        passes(front)


def test_haproxy_sees_who_is_gone():
    """A server that ended is no longer asked; who comes then is told so at once."""
    with haproxy() as front:
        equal(command("health", "--ca", front.chain, front.url("/", "https")).returncode, 0)
        front.server.stop()
        done = until(lambda: (lambda done: b" 503" in done.stderr and done)(
            command("health", "--ca", front.chain, front.url("/", "https"))), "503 of HAProxy's own")
        equal(done.returncode, 1)


# ---- Kubernetes ----

def manifest():
    try:
        import yaml
    except ImportError as why:
        raise Skip("python3-yaml is not installed") from why
    with open(os.path.join(PACKAGE, "kubernetes.yaml"), encoding="utf-8") as file:
        documents = list(yaml.safe_load_all(file))
    return {each["kind"]: each for each in documents}, len(documents)


def test_manifest():
    """Each thing refers to what is there, a pod has no more rights than it needs, and the times fit into each other."""
    kinds, count = manifest()
    equal((sorted(kinds), count), (["ConfigMap", "Deployment", "Service"], 3))
    for kind, version in (("ConfigMap", "v1"), ("Deployment", "apps/v1"), ("Service", "v1")):
        equal(kinds[kind]["apiVersion"], version)
        equal(kinds[kind]["metadata"]["name"], "ringcast")
    spec = kinds["Deployment"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    equal((spec["selector"]["matchLabels"], kinds["Service"]["spec"]["selector"]), (labels, labels))
    equal(spec["replicas"], 1)
    pod = spec["template"]["spec"]
    container, = pod["containers"]
    rights, own = pod["securityContext"], container["securityContext"]
    assert rights["runAsNonRoot"] and rights["runAsUser"] == 65532 and rights["seccompProfile"]["type"] == "RuntimeDefault"
    assert own["readOnlyRootFilesystem"] and own["allowPrivilegeEscalation"] is False and own["capabilities"] == {"drop": ["ALL"]}
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    equal(kinds["Service"]["spec"]["ports"][0]["targetPort"], "http")
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        equal(container[probe]["httpGet"]["port"], "http")
    settings = dict(line.split(" = ", 1) for line in kinds["ConfigMap"]["data"]["ringcast.conf"].splitlines()
                    if line and not line.startswith("#"))
    equal(ports["http"], int(settings["listen"].rsplit(":", 1)[1]))
    equal(int(settings["workers"]), int(container["resources"]["limits"]["cpu"]))
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    equal(sorted(mounts), sorted(volume["name"] for volume in pod["volumes"]))
    equal(container["args"], ["app", "--config", mounts["settings"]])
    for name in ("token-key", "api-key-file"):
        assert settings[name].startswith(mounts["keys"] + "/"), settings[name]
    drained = container["lifecycle"]["preStop"]["sleep"]["seconds"] + int(settings["drain"].rstrip("s"))
    assert drained < pod["terminationGracePeriodSeconds"], "cut off while it drains"


def test_manifest_with_the_program():
    """Its settings are taken, the probes' paths answer as kubelet asks them, and SIGTERM drains."""
    kinds, _ = manifest()
    pod = kinds["Deployment"]["spec"]["template"]["spec"]
    with tempfile.TemporaryDirectory() as folder:
        key, _ = certificate(folder)
        subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", f"{folder}/token-key.pem"], check=True)
        with open(f"{folder}/api-keys", "w", encoding="ascii") as file:
            file.write(KEY + "\n")
        path = f"{folder}/ringcast.conf"
        with open(path, "w", encoding="utf-8") as file:
            file.write(put(kinds["ConfigMap"]["data"]["ringcast.conf"],
                           **{"/etc/ringcast/keys": folder, "listen = :8080": "listen = 127.0.0.1:0", "drain = 20s": "drain = 1s"}))
        checked = command("config", "check", path)
        equal(checked.returncode, 0, checked.stderr)
        with App("--config", path, "--log-format", "text") as server:
            probes = [pod["containers"][0][probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
            equal(probes, ["/healthz", "/healthz", "/readyz"])
            for probe in probes:
                if probe == "/readyz" and b"/readyz" not in command("app", "--help").stdout:
                    raise Skip("all but /readyz, which this program does not have")
                with Raw(server) as raw:
                    raw.send(f"GET {probe} HTTP/1.1\r\nHost: 10.1.2.3:8080\r\nUser-Agent: kube-probe/1.30\r\n"
                             "Connection: close\r\n\r\n".encode())
                    equal(raw.response()[0], 200, probe)


# ---- the tarball ----

def test_tarball():
    """The same bytes of the same commit, wherever it is made; what it holds is what was committed, and which commit."""
    if not shutil.which("git") or subprocess.run(["git", "rev-parse", "HEAD"], cwd=TOP, capture_output=True).returncode:
        raise Skip("needs a git checkout")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=TOP, capture_output=True, text=True, check=True).stdout.strip()
    sums = set()
    with tempfile.TemporaryDirectory() as folder:
        for umask, zone in ((0o022, "UTC"), (0o077, "Asia/Tokyo")):
            here = os.path.join(folder, zone.replace("/", ""))
            done = subprocess.run(["sh", "tools/package/dist.sh", here, "1.2.3"], cwd=TOP, capture_output=True, text=True,
                                  env=dict(os.environ, TZ=zone), umask=umask)
            equal(done.returncode, 0, done.stderr)
            equal(done.stdout.strip(), f"{here}/ringcast-1.2.3.tar.gz")
            with open(done.stdout.strip(), "rb") as file:
                sums.add(hashlib.sha256(file.read()).hexdigest())
        equal(len(sums), 1, "tarballs that differ")
        with tarfile.open(f"{here}/ringcast-1.2.3.tar.gz") as tarball:
            members = {member.name: member for member in tarball.getmembers()}
            assert all(name.startswith("ringcast-1.2.3") for name in members)
            equal(tarball.extractfile("ringcast-1.2.3/tools/package/commit").read().decode().strip(), commit)
            equal({member.uid for member in members.values()}, {0})
            assert "ringcast-1.2.3/engine/ringcast.h" in members and not any("/build/" in name for name in members)


def test_what_was_written():
    """The newest entry of the changes is of this version, and each page says where a hole goes."""
    with open(os.path.join(PACKAGE, "CHANGELOG.md"), encoding="utf-8") as file:
        newest = re.search(r"^## (\S+)", file.read(), re.M).group(1)
    equal(newest, command("--version").stdout.decode().split()[1])
    with open(os.path.join(PACKAGE, "SECURITY.md"), encoding="utf-8") as file:
        text = file.read()
    assert "in private" in text and "ringcast --version" in text and "ringcast probe" in text


run(globals(), limit=40)
