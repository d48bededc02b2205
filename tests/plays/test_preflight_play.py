"""preflight.yml on this machine against a real broker with TLS and logins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from plays.harness import Migration, PlayOutcome
from support.broker import TestBroker, running_broker
from support.openssl_pairs import make_ca, sign

PASSWORD = "9o0d-p4ssw0rd"


@dataclass
class Secured:
    """A broker that wants TLS and a login, and the CA that signed its certificate."""

    broker: TestBroker
    ca: str

    def server(self, listener: str) -> str:
        return self.broker.addresses[listener]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    ca = make_ca(folder)
    pair = sign(ca, folder, "broker", alt_names="IP:127.0.0.1")
    store = folder / "broker-store.pem"
    store.write_text(pair.key_text + pair.certificate_text)
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    plain = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_me="{PASSWORD}";'
    properties = {
        "sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512,PLAIN",
        "listener.name.secure.ssl.keystore.type": "PEM",
        "listener.name.secure.ssl.keystore.location": str(store),
    }
    for listener in ("secure", "open"):
        for mechanism in ("scram-sha-256", "scram-sha-512"):
            properties[f"listener.name.{listener}.{mechanism}.sasl.jaas.config"] = scram
        properties[f"listener.name.{listener}.plain.sasl.jaas.config"] = plain
    accounts = []
    for number in ("256", "512"):
        accounts += ["--add-scram", f'SCRAM-SHA-{number}=[name="me",password="{PASSWORD}"]']
    with running_broker(
        folder / "broker",
        properties=properties,
        extra_listeners={"SECURE": "SASL_SSL", "OPEN": "SASL_PLAINTEXT"},
        format_arguments=tuple(accounts),
    ) as broker:
        yield Secured(broker, ca.certificate_text)


def measure(
    migration: Migration,
    server: str,
    protocol: str,
    mechanism: str | None = None,
    role: str = "source",
    topics: tuple[str, ...] = (),
    **secrets: str,
) -> tuple[PlayOutcome, dict[str, Any]]:
    private = migration.root / ".kferry"
    private.mkdir(mode=0o700, exist_ok=True)
    security = {role: {"protocol": protocol, "mechanism": mechanism, "username": "me", "server_name_check": True}}
    request = {"schema": 1, "brokers": {role: [server]}, "security": security, "samples": {role: list(topics)}}
    (private / "fleet.json").write_text(json.dumps(request))
    env = {f"KFERRY_SECRET_{role.upper()}_{name.upper()}": value for name, value in secrets.items()}
    outcome = migration.play("preflight.yml", env=env)
    report = json.loads((private / "fleet" / "local-1.json").read_text())
    assert outcome.rc == 0 and outcome.changed == 0, outcome.output
    assert PASSWORD not in outcome.output + json.dumps(report)
    [found] = report["brokers"]
    return outcome, found


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_the_login_is_tried_really(migration: Migration, secured: Secured, mechanism: str) -> None:
    server = secured.server("SECURE")
    _, found = measure(migration, server, "SASL_SSL", mechanism, password=PASSWORD, ca=secured.ca)
    assert (found["step"], found["ok"]) == ("sasl", True), found
    _, found = measure(migration, server, "SASL_SSL", mechanism, password=f"{PASSWORD}x", ca=secured.ca)
    assert (found["step"], found["ok"]) == ("sasl", False) and "refuses the login" in found["words"], found


@pytest.mark.slow
def test_what_does_not_fit_the_listener_is_named(migration: Migration, secured: Secured) -> None:
    secure, unsecure, plaintext = (secured.server(name) for name in ("SECURE", "OPEN", "PLAINTEXT"))
    _, found = measure(migration, unsecure, "SASL_PLAINTEXT", "SCRAM-SHA-512", password=PASSWORD)
    assert found["ok"], found
    for server, protocol, mechanism, step, words in (
        (secure, "SASL_SSL", "PLAIN", "tls", "not signed by a CA that this machine trusts"),
        (secure, "SASL_PLAINTEXT", "PLAIN", "tcp", "TLS"),
        (unsecure, "PLAINTEXT", None, "tcp", "login (SASL)"),
        (unsecure, "SASL_SSL", "PLAIN", "tls", "doesn't speak TLS"),
        (unsecure, "SASL_PLAINTEXT", "AWS_MSK_IAM", "sasl", "doesn't offer AWS_MSK_IAM, but PLAIN, SCRAM-SHA-256"),
        (plaintext, "SASL_PLAINTEXT", "PLAIN", "sasl", "no login"),
    ):
        _, found = measure(migration, server, protocol, mechanism, password=PASSWORD)
        assert (found["step"], found["ok"]) == (step, False) and words in found["words"], found


@pytest.mark.slow
def test_the_speed_of_the_way_is_measured(migration: Migration, secured: Secured) -> None:
    server, secrets = secured.server("SECURE"), {"password": PASSWORD, "ca": secured.ca}
    plain = {"bootstrap.servers": secured.broker.bootstrap_servers, "log_level": 0}
    admin = AdminClient(plain)
    admin.create_topics([NewTopic("sample", 2, 1)])["sample"].result(20)
    producer = Producer(plain)
    for _ in range(2000):
        producer.produce("sample", b"x" * 1000)
    assert producer.flush(20) == 0
    _, found = measure(migration, server, "SASL_SSL", "PLAIN", topics=("sample", "absent"), **secrets)
    assert found["ok"] and found["bytes_per_second"] > 0, found
    _, found = measure(migration, server, "SASL_SSL", "PLAIN", topics=("absent",), **secrets)
    assert found["ok"] and found["bytes_per_second"] is None, found
    _, found = measure(migration, server, "SASL_SSL", "PLAIN", role="target", **secrets)
    assert found["ok"] and found["bytes_per_second"] > 0, found
