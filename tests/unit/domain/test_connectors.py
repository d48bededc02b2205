"""Connector and worker configs: names are literal, the dangerous defaults are overridden, secrets are references."""

from __future__ import annotations

import re
import string
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from kferry.domain import connectors
from kferry.domain.model import ClusterConfig, ClusterKind, Desired, Role, TaskSpec, TlsNameWaiver, WorkerSpec

SOURCE = ClusterConfig(Role.SOURCE, ClusterKind.APACHE_KAFKA, "old:9092")
TARGET = ClusterConfig(Role.TARGET, ClusterKind.AUTOMQ, "new:9092")
SECURE = ClusterConfig(
    Role.SOURCE, ClusterKind.MSK, "old:9096", "SASL_SSL", "SCRAM-SHA-512", "mm2", "env:SOURCE_PASSWORD"
)
WORKER = WorkerSpec("shop-1", "local", "127.0.0.1", 18083, 512 * 2**20)
SPEC = TaskSpec("shop", "abc123", "shop", 1, ("shop.orders",), ("billing",), (WORKER,), 4)
SECRETS = "/srv/kferry/tasks/shop/secrets.properties"


def java_matches(pattern: str, text: str) -> bool:
    r"""Match as Java would: `\x{h..h}` is Java's way to write a code point."""
    return (
        re.fullmatch(re.sub(r"\\x\{([0-9a-f]+)\}", lambda hit: re.escape(chr(int(hit[1], 16))), pattern), text)
        is not None
    )


@given(st.text(min_size=1, max_size=30))
def test_a_name_matches_itself_and_nothing_near_it(name: str) -> None:
    pattern = connectors.java_literal(name)
    assert java_matches(pattern, name)
    assert not java_matches(pattern, name + "x")
    assert set(pattern) <= set(string.ascii_letters + string.digits + "\\.{}_-")
    assert "${" not in pattern and "," not in pattern


def test_a_dot_is_a_dot() -> None:
    assert not java_matches(connectors.java_literal("a.b"), "axb")


def test_every_connector_keeps_bytes_and_names_its_own_aliases() -> None:
    for item in connectors.connectors(SPEC, SOURCE, TARGET, SECRETS):
        config = item["config"]
        for part in ("key", "value", "header"):
            assert config[f"{part}.converter"].endswith("ByteArrayConverter")
        assert config["source.cluster.alias"] == SPEC.source_alias
        assert config["replication.policy.class"].endswith("IdentityReplicationPolicy")
        assert all(isinstance(value, str) for value in config.values())


def test_defaults_that_lose_data_or_speed_are_overridden() -> None:
    source = connectors.source_config(SPEC, SOURCE, TARGET, SECRETS)
    assert source["source.consumer.isolation.level"] == "read_committed"
    assert source["errors.tolerance"] == "none"
    assert source["sync.topic.configs.enabled"] == "false"
    assert source["producer.override.max.in.flight.requests.per.connection"] == "5"
    assert source["producer.override.enable.idempotence"] == "true"
    checkpoint = connectors.checkpoint_config(SPEC, SOURCE, TARGET, SECRETS)
    assert "connect-" not in checkpoint["groups.exclude"]
    assert checkpoint["sync.group.offsets.enabled"] == "true"


def test_heartbeats_topics_get_their_own_name_back() -> None:
    spec = TaskSpec("iot", "abc123", "iot", 2, ("iot.device-heartbeats",), (), (WORKER,), 1)
    config = connectors.source_config(spec, SOURCE, TARGET, SECRETS)
    hit = re.fullmatch(config["transforms.ownname.regex"], f"{spec.source_alias}.iot.device-heartbeats")
    assert hit is not None and hit[1] == "iot.device-heartbeats"
    assert "transforms" not in connectors.source_config(SPEC, SOURCE, TARGET, SECRETS)


def test_large_records_widen_fetch_and_request() -> None:
    from dataclasses import replace

    config = connectors.source_config(replace(SPEC, max_record_bytes=20_000_000), SOURCE, TARGET, SECRETS)
    assert int(config["source.consumer.max.partition.fetch.bytes"]) == 20_000_000
    assert int(config["producer.override.max.request.size"]) == 200_000_000


def test_secrets_are_references_and_only_where_there_are_any() -> None:
    content = connectors.task_file(
        SPEC,
        SECURE,
        TARGET,
        install={"root": "/srv/kferry"},
        kafka={},
        java={},
        spec_data={},
        offset_flush_interval_ms=5000,
    )
    text = str(content)
    assert "SOURCE_PASSWORD" not in text and "${file:/srv/kferry/tasks/shop/secrets.properties:source_jaas}" in text
    assert content["workers"][0]["properties"]["config.providers"] == "file"
    plain = connectors.task_file(
        SPEC,
        SOURCE,
        TARGET,
        install={"root": "/srv/kferry"},
        kafka={},
        java={},
        spec_data={},
        offset_flush_interval_ms=5000,
    )
    assert "config.providers" not in plain["workers"][0]["properties"]


def test_certificates_are_references_and_names_are_checked_but_for_a_waiver() -> None:
    from dataclasses import replace

    tls = ClusterConfig(
        Role.TARGET, ClusterKind.OTHER, "new:9093", "SSL", ssl_ca="/ca", ssl_certificate="/crt", ssl_key="/key"
    )
    block = connectors.cluster_block("target.cluster.", tls, SECRETS)
    assert block == {
        "target.cluster.bootstrap.servers": "new:9093",
        "target.cluster.security.protocol": "SSL",
        "target.cluster.ssl.endpoint.identification.algorithm": "https",
        "target.cluster.ssl.truststore.type": "PEM",
        "target.cluster.ssl.truststore.certificates": f"${{file:{SECRETS}:target_ca}}",
        "target.cluster.ssl.keystore.type": "PEM",
        "target.cluster.ssl.keystore.key": f"${{file:{SECRETS}:target_key}}",
        "target.cluster.ssl.keystore.certificate.chain": f"${{file:{SECRETS}:target_certificate}}",
    }
    waived = replace(tls, tls_name_waiver=TlsNameWaiver("2026-12-31", 1, "why"))
    key = "ssl.endpoint.identification.algorithm"
    assert connectors.cluster_block("", waived, SECRETS)[key] == ""
    assert connectors.cluster_block("", replace(waived, ssl_ca=None), SECRETS)[key] == "https"
    worker = connectors.worker_properties(SPEC, WORKER, SOURCE, tls, SECRETS, offset_flush_interval_ms=1)
    assert worker["config.providers"] == "file"
    for prefix in ("", "producer.", "admin."):
        assert worker[f"{prefix}ssl.keystore.key"] == f"${{file:{SECRETS}:target_key}}"


def test_a_login_with_iam_names_its_handler() -> None:
    from dataclasses import replace

    iam = replace(SECURE, sasl_mechanism="AWS_MSK_IAM", sasl_username=None, sasl_password=None)
    block = connectors.cluster_block("source.cluster.", iam, SECRETS)
    assert block["source.cluster.sasl.jaas.config"] == f"${{file:{SECRETS}:source_jaas}}"
    assert block["source.cluster.sasl.client.callback.handler.class"].startswith("software.amazon.msk.")


def test_states_follow_desire_freeze_and_stop() -> None:
    from dataclasses import replace

    def states(spec: TaskSpec) -> list[str]:
        return list(connectors.connector_states(spec).values())

    assert states(SPEC) == ["running", "running", "running"]
    assert states(replace(SPEC, frozen_groups=("billing",))) == ["running", "stopped", "running"]
    assert states(replace(SPEC, source_stopped=True, frozen_groups=("billing",))) == ["stopped", "stopped", "running"]
    assert states(replace(SPEC, desired=Desired.STOPPED)) == ["stopped"] * 3
    assert states(replace(SPEC, desired=Desired.ABSENT)) == ["absent"] * 3


def test_names_differ_by_incarnation() -> None:
    from dataclasses import replace

    again = replace(SPEC, incarnation=2)
    assert again.offset_syncs_topic != SPEC.offset_syncs_topic
    assert set(again.connect_topics).isdisjoint(SPEC.connect_topics)


def test_a_remote_worker_asks_who_calls_its_rest() -> None:
    def properties(install: dict[str, str]) -> dict[str, str]:
        content = connectors.task_file(
            SPEC, SOURCE, TARGET, install=install, kafka={}, java={}, spec_data={}, offset_flush_interval_ms=5000
        )
        return dict(content["workers"][0]["properties"])

    basic = properties({"root": "/srv/kferry", "rest_auth": "basic"})
    assert basic["rest.extension.classes"].endswith("BasicAuthSecurityRestExtension")
    assert "rest.extension.classes" not in properties({"root": "/srv/kferry"})


def test_a_group_that_mirrormaker_cannot_follow_is_left_to_the_cutover() -> None:
    spec = replace(SPEC, groups=("billing", "a,b"))
    config = connectors.checkpoint_config(spec, SOURCE, TARGET, "/s")
    assert config["groups"] == "billing"
    only = replace(SPEC, groups=("a,b",))
    assert connectors.connector_states(only)[only.checkpoint_connector] == "stopped"
