# SPDX-License-Identifier: MIT
"""/metrics of both commands by Prometheus' own rules, and what is made from it: the dashboard and the alert rules of
tools/package ask for nothing that is not there."""
import json
import os
import re
import shutil
import struct
import subprocess
import tempfile
import time

from app import App
from harness import PONG, SLOW, TEXT, TOP, Server, Skip, command, equal, frame, run, until

PACKAGE = os.path.join(TOP, "tools", "package")


def promtool(*words, stdin=None):
    if not shutil.which("promtool"):
        raise Skip("promtool is not installed")
    return subprocess.run(["promtool", *words], input=stdin, capture_output=True, text=True, timeout=15 * SLOW)


def scrape(server):
    """Text, and the values by name and labels. Whatever stands there twice, or without its type before it, is wrong."""
    status, headers, body = server.get("/metrics")
    equal(status, 200)
    equal(headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
    text, values, types = body.decode(), {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert name not in types, f"{name} twice"
            types[name] = kind
        elif not line.startswith("#"):
            series, value = line.rsplit(" ", 1)
            assert series not in values, f"{series} twice"
            family = re.sub(r"_(bucket|sum|count)$", "", series.split("{")[0])
            kind = types.get(series.split("{")[0]) or types.get(family)
            assert kind, f"{series} has no type"
            equal(kind == "counter", series.split("{")[0].endswith("_total"), series)
            values[series] = float(value)
    return text, values, types


def total(values, name):
    return sum(value for series, value in values.items() if series.split("{")[0] == name)


def certificate(directory):
    path, key = os.path.join(directory, 'pair"\\.pem'), os.path.join(directory, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                    "-subj", "/O=Example/CN=localhost", "-keyout", key, "-out", path], check=True, capture_output=True)
    return path, ("--tls-cert", path, "--tls-key", key)


def test_promtool_finds_nothing():
    with tempfile.TemporaryDirectory() as directory:
        _, flags = certificate(directory)
        for kind in (Server, App):
            with kind(*flags) as server:
                text, _, _ = scrape(server)
                done = promtool("check", "metrics", stdin=text)
                equal((done.returncode, done.stdout + done.stderr), (0, ""), kind.verb)


def test_one_set():
    """What `serve` has, `app` has under the same name and as the same kind; its own names say so."""
    with Server() as serve, App() as app:
        of_serve, of_app = scrape(serve)[2], scrape(app)[2]
        equal({name: of_app.get(name) for name in of_serve}, of_serve)
        more = set(of_app) - set(of_serve)
        assert more and all(name.startswith("ringcast_app_") for name in more), more


def test_what_they_say():
    with tempfile.TemporaryDirectory() as directory, Server("--relay", "--memory-max", "8m") as server:
        before = scrape(server)[1]
        client = server.connect("/relay/a")
        client.text("one")
        equal(client.receive_text(), "one")
        values = scrape(server)[1]
        equal(total(values, "ringcast_messages_published_total") - total(before, "ringcast_messages_published_total"), 1)
        equal(total(values, "ringcast_published_bytes_total"), 3)
        equal(total(values, "ringcast_subscriptions"), 1)
        equal(values["ringcast_handshake_seconds_count"], 1)
        equal(values["ringcast_lag_seconds_count"], 1)
        for name in ("ringcast_handshake_seconds", "ringcast_lag_seconds"):
            assert 0 < values[name + "_sum"] < 5, values[name + "_sum"]
            buckets = [value for series, value in values.items() if series.startswith(name + "_bucket{")]
            equal(buckets, sorted(buckets), name)
            equal(buckets[-1], values[name + "_count"], name)
        equal(values["ringcast_memory_limit_bytes"], 8 << 20)
        equal(values["ringcast_ready"], 1)
        assert abs(values["process_start_time_seconds"] - time.time()) < 60 * SLOW, values["process_start_time_seconds"]
        assert 0 < values["process_open_fds"] < values["process_max_fds"]
        assert values["process_resident_memory_bytes"] > 1 << 20 and values["process_cpu_seconds_total"] > 0
        version = server.get("/stats")[2]
        assert any(f'version="{json.loads(version)["version"]}"' in series for series in values if "build_info" in series)
        client.close()
        assert "ringcast_certificate_expiry_timestamp_seconds" not in scrape(server)[2], "there is none"
        path, flags = certificate(directory)
        with Server(*flags) as other:
            ((series, ends),) = [item for item in scrape(other)[1].items() if "certificate_expiry" in item[0]]
            assert abs(ends - time.time() - 30 * 86400) < 600, ends
            quoted = path.replace("\\", "\\\\").replace('"', '\\"')
            equal(series, f'ringcast_certificate_expiry_timestamp_seconds{{file="{quoted}",subject="CN=localhost,O=Example"}}')


def test_round_trips():
    """A silent client's Pong is timed once for each Ping. What nobody asked for counts for nothing."""
    with Server("--echo", "--idle-timeout", "1s") as server:
        client, stranger = server.connect(), server.connect()
        for wrong in (b"", b"12345678", struct.pack("<Q", time.monotonic_ns()), os.urandom(8)):
            stranger.send(frame(PONG, wrong))
        fin, opcode, mark = client.receive_frame()
        equal((fin, opcode, len(mark)), (True, 9, 8))
        assert abs(int.from_bytes(mark, "little") - time.monotonic_ns()) > 10**12, "a clock of ours is nobody's business"
        time.sleep(0.1)
        client.send(frame(TEXT, "a sign of life is no Pong"))
        equal(client.receive_text(), "a sign of life is no Pong")
        for _ in range(5):
            client.send(frame(PONG, mark))
        until(lambda: scrape(server)[1]["ringcast_round_trip_seconds_count"] == 1, "the round trip")
        took = scrape(server)[1]["ringcast_round_trip_seconds_sum"]
        assert 0.1 <= took < 1, took
        time.sleep(0.2)
        equal(scrape(server)[1]["ringcast_round_trip_seconds_count"], 1, "once")


def names_in(text):
    return set(re.findall(r"\b(?:ringcast|process)_[a-z_]+", text))


def test_dashboard_and_alerts_ask_for_what_is_there():
    with tempfile.TemporaryDirectory() as directory:
        with App(*certificate(directory)[1]) as server:
            there = {series.split("{")[0] for series in scrape(server)[1]}
        # The names are there also when the engine is not. A build without Redis has other engines, or none.
        if re.search(r"^backplane redis +yes", command("probe").stdout.decode(), re.M):
            with Server("--backplane", "redis://127.0.0.1:1", "--backplane-wait", "1ms") as server:
                there |= {series.split("{")[0] for series in scrape(server)[1]}
        else:
            with open(os.path.join(TOP, "tools", "backplane", "report.c"), encoding="utf-8") as file:
                source = file.read()
            named = re.findall(r'FIGURE\(\w+, "(\w+)"', source) + re.findall(r'"backplane_(\w+)"', source)
            there |= {f"ringcast_backplane_{name}" for name in named}
    with open(os.path.join(PACKAGE, "grafana.json"), encoding="utf-8") as file:
        dashboard = json.load(file)
    asked = "\n".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    assert len(names_in(asked)) > 30, names_in(asked)
    equal(names_in(asked) - there, set(), "the dashboard")
    of_backplane = {name[len("ringcast_backplane_"):] for name in names_in(asked) if name.startswith("ringcast_backplane_")}
    equal({"up", "lag_seconds", "reconnects_total", "repairs_total", "sent_bytes_total", "received_bytes_total"} - of_backplane,
          set(), "of the backplane")
    places = [tuple(panel["gridPos"][name] for name in "xy") for panel in dashboard["panels"]]
    equal(len(set(places)), len(places), "panels at one place")
    with open(os.path.join(PACKAGE, "alerts.yml"), encoding="utf-8") as file:
        rules = file.read()
    assert len(names_in(rules)) > 10, names_in(rules)
    equal(names_in(rules) - there, set(), "the rules")


ALERTS = """
rule_files: [%s]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'ringcast_ready{instance="a"}', values: '1 0 0 0 0'}
      - {series: 'ringcast_ready{instance="b"}', values: '1 1 1 1 1'}
      - {series: 'ringcast_certificate_expiry_timestamp_seconds{instance="a",file="c"}', values: '1000000x5'}
      - {series: 'ringcast_certificate_expiry_timestamp_seconds{instance="b",file="c"}', values: '10000000x5'}
      - {series: 'ringcast_certificate_expiry_timestamp_seconds{instance="c",file="c"}', values: '10x5'}
      - {series: 'ringcast_memory_held_bytes{instance="a",worker="0"}', values: '40x5'}
      - {series: 'ringcast_memory_held_bytes{instance="a",worker="1"}', values: '40x5'}
      - {series: 'ringcast_memory_limit_bytes{instance="a"}', values: '100x5'}
      - {series: 'ringcast_last_reload_successful{instance="a"}', values: '1 0 0 0 0'}
    alert_rule_test:
      - {eval_time: 1m, alertname: RingcastNotReady, exp_alerts: []}
      - eval_time: 4m
        alertname: RingcastNotReady
        exp_alerts: [{exp_labels: {severity: critical, instance: a}, exp_annotations: {summary: "a is not ready: it drains, or a worker is stuck; /readyz says which"}}]
      - eval_time: 1m
        alertname: RingcastCertificateExpires
        exp_alerts: [{exp_labels: {severity: warning, instance: a, file: c}, exp_annotations: {summary: "c on a expires in 11d 13h 45m 40s"}}]
      - eval_time: 1m
        alertname: RingcastCertificateExpired
        exp_alerts: [{exp_labels: {severity: critical, instance: c, file: c}, exp_annotations: {summary: "c on c has expired: clients refuse it"}}]
      - eval_time: 4m
        alertname: RingcastMemoryShort
        exp_alerts: [{exp_labels: {severity: warning, instance: a}, exp_annotations: {summary: "a holds 80%% of --memory-max; from 75 %% on it closes connections"}}]
      - eval_time: 4m
        alertname: RingcastReloadRefused
        exp_alerts: [{exp_labels: {severity: warning, instance: a}, exp_annotations: {summary: "a did not take all of its last reload; its log says which part, and why"}}]
"""


def test_alert_rules():
    rules = os.path.join(PACKAGE, "alerts.yml")
    done = promtool("check", "rules", rules)
    equal(done.returncode, 0, done.stdout + done.stderr)
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        file.write(ALERTS % rules)
        file.flush()
        done = promtool("test", "rules", file.name)
        equal(done.returncode, 0, done.stdout + done.stderr)


run(dict(globals()), limit=30)
