"""preflight.yml, diagnostics.yml and teardown.yml on a real machine over SSH, also where something is wrong there."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from kferry.ansible.content import find_content
from kferry.ansible.host_keys import JumpHost, Target, scan
from kferry.domain.errors import KferryError
from kferry.domain.fleet import Needs, judge
from kferry.domain.host_keys import KeyState, compare
from kferry.engine.clusters import Clusters
from kferry.engine.secrets import preflight_environment
from kferry.store.fleet_files import BrokerSecurity, FleetRequest, load_report, write_request
from kferry.store.known_hosts import keys_of, pin
from kferry.store.paths import Layout
from support.secured_brokers import SecuredBrokers
from support.test_hosts import ACCOUNT, TestHost, TestHosts

pytestmark = pytest.mark.hosts

CANARY = "cAn4ry-S3cret-value"
PASSWORD = "cAn4ry-rest"
LISTING = (
    "find /etc /opt /usr/local /home /var/lib/systemd /var/log -not -path '/var/log/journal*' | sort;"
    "cat /etc/passwd /etc/group"
)
# Stands for a worker: REST with a login, metrics, a log line with a secret, and an answer to SIGQUIT.
WORKER = r"""
import base64, http.server, signal, threading
DUMP = "Full thread dump of a stand-in\n" + CANARY + "\n Metaspace used 1K"
signal.signal(signal.SIGQUIT, lambda *_: print(DUMP, flush=True))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        wanted = "Basic " + base64.b64encode(("kferry:" + PASSWORD).encode()).decode()
        known = self.path == "/metrics" or self.headers.get("Authorization") == wanted
        self.send_response(200 if known else 401); self.end_headers()
        text = {"/connectors": '["a/b"]', "/metrics": "kferry_up 1\n"}.get(self.path)
        text = text or '{"sasl.password": "' + CANARY + '"}'
        self.wfile.write((text if known else "who are you?").encode())
    def log_message(self, *_): pass
for port in (18083, 19400):
    threading.Thread(target=http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever, daemon=True).start()
print("login with password=" + CANARY, flush=True)
while True: signal.pause()
"""
INSTALL = r"""
set -e
R=/opt/kferry
useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin kferry-shop
install -d -m 755 $R $R/versions/kafka-3.9.2-ab/libs $R/tasks
install -d -m 700 -o kferry-shop -g kferry-shop $R/tasks/shop $R/shop-1 $R/shop-1/logs
echo k3f9x2 >$R/migration
S=$R/tasks/shop/secrets.properties
printf '# revision 1\ntarget_jaas=x.PlainLoginModule required password="%s";\nrest_password=%s\n' "$1" "$2" >$S
printf 'kferry=%s\n' "$2" >$R/tasks/shop/rest.users
printf 'listeners=http://127.0.0.1:18083\nssl.key.password=%s\n' "$1" >$R/shop-1/worker.properties
printf -- '-javaagent:/x.jar=127.0.0.1:19400:/y.yml\n-Dpassword=%s\n' "$1" >$R/shop-1/java.args
printf 'INFO rejected %s\n' "$1" >$R/shop-1/logs/worker.log
ln -s /etc/shadow $R/shop-1/logs/worker.log.1
ln -s ../versions/kafka-3.9.2-ab $R/shop-1/current
cat >$R/shop-1/worker.py
printf '[Service]\nRestart=no\n[Install]\nWantedBy=multi-user.target\n' >/etc/systemd/system/kferry-worker@.service
mkdir /etc/systemd/system/kferry-worker@shop-1.service.d
cat >/etc/systemd/system/kferry-worker@shop-1.service.d/kferry.conf <<U
# Written by kferry; changes are lost.
# migration k3f9x2, task shop, root $R
[Service]
User=kferry-shop
WorkingDirectory=$R/shop-1
ExecStart=/usr/bin/python3 $R/shop-1/worker.py @$R/shop-1/java.args
U
chown -h -R kferry-shop:kferry-shop $R/tasks/shop $R/shop-1
systemctl daemon-reload
systemctl enable --now --quiet kferry-worker@shop-1
"""


@dataclass
class Fleet:
    """A migration directory with one machine that is there and one that is not."""

    layout: Layout
    host: TestHost

    def play(self, playbook: str, *arguments: str, **secrets: str) -> tuple[int, str, dict[str, dict[str, int]]]:
        content = find_content()
        answer = subprocess.run(
            ["ansible-playbook", "-i", str(self.layout.inventory), str(content.playbook(playbook)), *arguments],
            capture_output=True,
            text=True,
            env=content.environment({**os.environ, **secrets}),
            cwd=self.layout.root,
            stdin=subprocess.DEVNULL,
            timeout=200,
        )
        output = answer.stdout + answer.stderr
        stats = {}
        for line in output.splitlines():
            if "changed=" in line and "unreachable=" in line:
                stats[line.split()[0]] = {
                    k: int(v) for k, v in (word.split("=") for word in line.split(":")[1].split())
                }
        return answer.returncode, output, stats

    def one(self, playbook: str, *arguments: str, **secrets: str) -> dict[str, int]:
        """A play on the machine that is there; it must succeed."""
        code, output, stats = self.play(playbook, "--limit", "f1", *arguments, **secrets)
        assert code == 0, output
        return stats["f1"]


@pytest.fixture(scope="module")
def machine(host_factory: TestHosts) -> Iterator[TestHost]:
    [host] = host_factory.start("f1")
    yield host
    host_factory.remove(host)


@pytest.fixture
def fleet(machine: TestHost, host_factory: TestHosts, tmp_path: Path) -> Fleet:
    layout = Layout(tmp_path / "my migration")
    layout.inventory.mkdir(parents=True)
    layout.private.mkdir(mode=0o700)
    layout.settings.write_text("schema: 1\nmigration_id: k3f9x2\nname: test\nsettings: {}\n")
    gone = {**host_factory.variables(machine), "ansible_host": f"{machine.address.rpartition('.')[0]}.250"}
    hosts = {"f1": host_factory.variables(machine), "gone": gone}
    (layout.inventory / "hosts.yml").write_text(yaml.safe_dump({"kferry_workers": {"hosts": hosts}}))
    host_factory.write_known_hosts(layout.known_hosts, [machine])
    machine.unblock()
    machine.exec(["sh", "-c", f"echo '{ACCOUNT} ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/{ACCOUNT}"])
    return Fleet(layout, machine)


def listing(host: TestHost) -> str:
    return host.exec(["sh", "-c", LISTING]).stdout


def install(host: TestHost) -> None:
    worker = WORKER.replace("CANARY", repr(CANARY)).replace("PASSWORD", repr(PASSWORD))
    host.exec(["sh", "-c", INSTALL, "sh", CANARY, PASSWORD], stdin=worker)


def test_a_machine_is_measured_and_left_as_it_is(fleet: Fleet, secured_brokers: SecuredBrokers) -> None:
    brokers = {broker.role: [broker.listener("SASL_SSL")] for broker in secured_brokers.both}
    security = {role: BrokerSecurity("SASL_SSL", "SCRAM-SHA-512", "kferry") for role in brokers}
    write_request(fleet.layout, FleetRequest(brokers, security, [22, 18083]))
    password, ca = secured_brokers.passwords["kferry"], secured_brokers.ca_path.read_text()
    secrets = {}
    for role in brokers:
        secrets |= {f"KFERRY_SECRET_{role.upper()}_PASSWORD": password, f"KFERRY_SECRET_{role.upper()}_CA": ca}
    before = listing(fleet.host)
    code, output, stats = fleet.play("preflight.yml", "--check", **secrets)
    assert code != 0 and stats["gone"]["unreachable"] == 1, output
    assert (stats["f1"]["changed"], stats["f1"]["failed"]) == (0, 0), output
    assert listing(fleet.host) == before
    assert password not in output

    path = fleet.layout.fleet / "f1.json"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert password not in path.read_text() and load_report(fleet.layout, "gone") is None
    report = load_report(fleet.layout, "f1")
    assert report is not None
    facts = report.facts
    assert (facts.os, facts.os_version, facts.systemd, facts.sudo) == ("debian", "12", True, True)
    assert facts.busy_ports == (22,) and facts.workers == () and facts.migration == "" and facts.java_version == ""
    assert facts.clock_offset_seconds is not None and abs(facts.clock_offset_seconds) < 0.5
    reached = {(probe.role, probe.step, probe.ok) for probe in report.brokers}
    assert reached == {("source", "sasl", True), ("target", "sasl", True)}, report.brokers
    verdict = judge(report, Needs("k3f9x2", 512 * 1024**2))
    assert verdict.usable is True, verdict

    fleet.host.block(port=int(brokers["target"][0].rpartition(":")[2]))
    fleet.one("preflight.yml", **{**secrets, "KFERRY_SECRET_SOURCE_PASSWORD": "wrong"})
    report = load_report(fleet.layout, "f1")
    verdict = judge(report, Needs("k3f9x2", 512 * 1024**2))
    assert verdict.usable is False
    assert any("refuses the login" in reason for reason in verdict.reasons), verdict
    assert any("does not answer" in reason for reason in verdict.reasons), verdict


def test_a_machine_shows_the_brokers_the_client_certificate(fleet: Fleet, secured_brokers: SecuredBrokers) -> None:
    certificate, key = secured_brokers.client_certificate("kferry")
    clusters = {
        broker.role: {
            "kind": "apache_kafka",
            "bootstrap_servers": broker.listener("SSL"),
            "security_protocol": "SSL",
            "ssl_ca": str(secured_brokers.ca_path),
            "ssl_certificate": str(certificate),
            "ssl_key": f"file:{key}",
        }
        for broker in secured_brokers.both
    }
    fleet.layout.clusters.parent.mkdir(parents=True)
    fleet.layout.clusters.write_text(yaml.safe_dump({"kferry_clusters": clusters}))
    brokers = {broker.role: [broker.listener("SSL")] for broker in secured_brokers.both}
    write_request(fleet.layout, FleetRequest(brokers, {role: BrokerSecurity("SSL") for role in brokers}))

    secrets = preflight_environment(Clusters(fleet.layout))  # what the engine hands to this play
    _, output, stats = fleet.play("preflight.yml", "--limit", "f1", **secrets)
    assert (stats["f1"]["changed"], stats["f1"]["failed"]) == (0, 0), output
    report = load_report(fleet.layout, "f1")
    assert report is not None and judge(report, Needs("k3f9x2", 512 * 1024**2)).usable is True, report
    assert {(probe.role, probe.ok) for probe in report.brokers} == {("source", True), ("target", True)}
    kept = (fleet.layout.fleet / "f1.json").read_text() + output
    assert key.read_text().splitlines()[1] not in kept, "the key stays in the environment"

    fleet.one("preflight.yml", **{name: text for name, text in secrets.items() if name.endswith("_CA")})
    verdict = judge(load_report(fleet.layout, "f1"), Needs("k3f9x2", 512 * 1024**2))
    assert verdict.usable is False and any("client certificate" in reason for reason in verdict.reasons), verdict


def test_a_machine_without_sudo_is_measured_all_the_same(fleet: Fleet) -> None:
    write_request(fleet.layout, FleetRequest({}))
    fleet.host.exec(["rm", f"/etc/sudoers.d/{ACCOUNT}"])
    for secrets in ({}, {"KFERRY_BECOME_PASSWORD": "wrong"}):
        fleet.one("preflight.yml", **secrets)
        report = load_report(fleet.layout, "f1")
        assert report is not None and report.facts.sudo is False and report.facts.memory_bytes
        assert judge(report, Needs("k3f9x2", 512 * 1024**2, roles=())).usable is False


def test_diagnostics_explain_a_worker_and_hold_no_secret(fleet: Fleet, tmp_path: Path) -> None:
    install(fleet.host)
    try:
        bundle = tmp_path / "bundle.tar.gz"
        _, output, stats = fleet.play("diagnostics.yml", "-e", f"kferry_bundle={bundle}")
        assert stats["f1"]["failed"] == stats["f1"]["changed"] == 0, output
        assert bundle.stat().st_mode & 0o777 == 0o600
        texts = read_bundle(bundle)
        manifest = json.loads(texts.pop("bundle/manifest.json"))
        assert manifest["hosts"]["f1"]["collected"] is True and manifest["hosts"]["gone"]["collected"] is False
        everything = "".join(texts.values()) + output
        for secret in (CANARY, PASSWORD):
            assert secret not in everything, [name for name, text in texts.items() if secret in text]
        assert "root:" not in texts.get("bundle/f1/workers/shop-1/logs/worker.log.1", "")
        worker = "bundle/f1/workers/shop-1"
        assert texts["bundle/f1/tasks/shop/secrets.properties"] == "target_jaas=***\nrest_password=***\n"
        assert "Full thread dump of a stand-in" in texts[f"{worker}/threads.txt"]
        assert "login with password=***" in texts[f"{worker}/journal.txt"]
        assert texts[f"{worker}/logs/worker.log"] == "INFO rejected ***\n"
        assert texts[f"{worker}/rest/connectors.json"] == '{"sasl.password": "***"}'
        assert (
            texts[f"{worker}/rest/offsets-0.json"].startswith("a/b\n{")
            and texts[f"{worker}/metrics.txt"] == "kferry_up 1\n"
        )
        assert "active (running)" in texts[f"{worker}/systemctl-status.txt"]
    finally:
        fleet.one("teardown.yml")


def read_bundle(path: Path) -> dict[str, str]:
    texts = {}
    with tarfile.open(path) as archive:
        for entry in archive:
            content = archive.extractfile(entry)
            assert content is not None and entry.mode == 0o600
            texts[entry.name] = content.read().decode()
    return texts


def test_teardown_leaves_the_machine_as_it_was(fleet: Fleet) -> None:
    before = listing(fleet.host)
    install(fleet.host)
    fleet.one("preflight.yml")
    report = load_report(fleet.layout, "f1")
    assert report is not None and report.facts.workers and report.facts.migration == "k3f9x2"
    assert (report.facts.workers[0].state, report.facts.workers[0].version) == ("running", "kafka-3.9.2-ab")
    installed = listing(fleet.host)
    assert fleet.one("teardown.yml", "--check", "--diff")["changed"] == 1
    assert listing(fleet.host) == installed
    assert fleet.one("teardown.yml")["changed"] == 1
    assert listing(fleet.host) == before
    assert fleet.one("teardown.yml")["changed"] == 0
    units = fleet.host.exec(["systemctl", "list-units", "--all", "--plain", "--no-legend", "kferry*"])
    assert units.stdout == ""


def test_teardown_keeps_logs_and_refuses_what_is_not_ours(fleet: Fleet) -> None:
    install(fleet.host)
    fleet.host.exec(["sh", "-c", "echo other1 >/opt/kferry/migration"])
    code, output, _ = fleet.play("teardown.yml", "--limit", "f1")
    assert code != 0 and "belongs to migration 'other1'" in output
    fleet.host.exec(["rm", "/opt/kferry/migration"])
    code, output, _ = fleet.play("teardown.yml", "--limit", "f1")
    assert code != 0 and "has no mark of a migration" in output
    fleet.host.exec(["sh", "-c", "echo k3f9x2 >/opt/kferry/migration"])
    claim = {"run": "somebody", "holder": "ann@laptop", "until": time.time() + 600}
    fleet.host.write_file("/opt/kferry/.lock", json.dumps(claim))
    code, output, _ = fleet.play("teardown.yml", "--limit", "f1")
    assert code != 0 and "ann@laptop" in output
    assert fleet.host.exec(["systemctl", "is-active", "kferry-worker@shop-1"]).stdout.strip() == "active"
    fleet.host.exec(["rm", "/opt/kferry/.lock"])
    assert fleet.one("teardown.yml", "-e", "kferry_keep_logs=true")["changed"] == 1
    kept = fleet.host.exec(
        ["sh", "-c", "cat /var/log/kferry-k3f9x2-*/shop-1/worker.log; stat -c %a:%U /var/log/kferry-k3f9x2-*"]
    )
    assert kept.stdout.splitlines() == [f"INFO rejected {CANARY}", "750:root"]
    assert fleet.host.exec(["test", "-e", "/opt/kferry"], check=False).code == 1
    assert fleet.host.exec(["stat", "-c", "%U", "/etc/shadow"]).stdout.strip() == "root"
    fleet.host.exec(["sh", "-c", "rm -r /var/log/kferry-k3f9x2-*"])


def test_host_keys_are_scanned_also_through_a_jump_host(
    fleet: Fleet, hosts: list[TestHost], host_factory: TestHosts
) -> None:
    inner = hosts[0]
    jump = JumpHost(ACCOUNT, fleet.host.address, key_file=str(host_factory.private_key))
    found = scan(Target(inner.address, jump=jump), fleet.layout.known_hosts)
    assert inner.host_key in {f"{key.type} {key.key}" for key in found}
    assert compare(keys_of(fleet.layout, inner.address), found) is KeyState.MISSING
    pin(fleet.layout, found)
    assert (
        compare(keys_of(fleet.layout, inner.address), scan(Target(inner.address), fleet.layout.known_hosts))
        is KeyState.PINNED
    )
    fleet.host.change_host_key()
    fleet.host.wait_ready()
    shown = scan(Target(fleet.host.address), fleet.layout.known_hosts)
    assert compare(keys_of(fleet.layout, fleet.host.address), shown) is KeyState.DIFFERENT
    with pytest.raises(KferryError, match=fleet.host.address):
        scan(Target(inner.address, jump=jump), fleet.layout.known_hosts)
