"""clusters.yml and inventory/hosts.yml: what is read, and what is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import ClusterConfig, ClusterKind, Role, TlsNameWaiver
from kferry.store.clusters_file import load_clusters, require_cluster
from kferry.store.hosts_file import HostEntry, Jump, load_hosts
from kferry.store.paths import Layout

SOURCE = "kferry_clusters:\n  source:\n    kind: msk\n    bootstrap_servers: a.example:9092\n"
SASL = SOURCE + "    security_protocol: SASL_SSL\n    sasl_mechanism: SCRAM-SHA-512\n    sasl_username: u\n"

IAM = SOURCE + "    security_protocol: SASL_SSL\n    sasl_mechanism: AWS_MSK_IAM\n"
TLS = SOURCE + "    security_protocol: SSL\n    ssl_ca: /ca.pem\n"
ALIBABA = TLS.replace("msk", "alibaba")
WAIVER = "    tls_name_waiver: {until: 2026-12-31, why: no names in the certificate}\n"


def _clusters(tmp_path: Path, text: str | bytes) -> Layout:
    layout = Layout(tmp_path)
    layout.clusters.parent.mkdir(parents=True, exist_ok=True)
    layout.clusters.write_bytes(text if isinstance(text, bytes) else text.encode())
    return layout


def _hosts(tmp_path: Path, text: str) -> Layout:
    layout = Layout(tmp_path)
    layout.inventory.mkdir(exist_ok=True)
    (layout.inventory / "hosts.yml").write_text(text)
    return layout


def test_both_clusters_are_read(tmp_path: Path) -> None:
    text = SASL + (
        "    sasl_password: env:SOURCE_PASSWORD\n"
        "    ssl_ca: file:/etc/ca.pem\n"
        "    extra: {client.dns.lookup: use_all_dns_ips, retries: 3}\n"
        "  target:\n"
        "    kind: automq\n"
        "    bootstrap_servers: [b1:9092, '[::1]:9093']\n"
    )
    found = load_clusters(_clusters(tmp_path, text))
    assert found == {
        Role.SOURCE: ClusterConfig(
            role=Role.SOURCE,
            kind=ClusterKind.MSK,
            bootstrap_servers="a.example:9092",
            security_protocol="SASL_SSL",
            sasl_mechanism="SCRAM-SHA-512",
            sasl_username="u",
            sasl_password="env:SOURCE_PASSWORD",
            ssl_ca="/etc/ca.pem",
            extra={"client.dns.lookup": "use_all_dns_ips", "retries": "3"},
        ),
        Role.TARGET: ClusterConfig(Role.TARGET, ClusterKind.AUTOMQ, "b1:9092,[::1]:9093"),
    }
    assert require_cluster(found, Role.TARGET).kind is ClusterKind.AUTOMQ


def test_a_waiver_ends_with_its_day(tmp_path: Path) -> None:
    waiver = load_clusters(_clusters(tmp_path, ALIBABA + WAIVER))[Role.SOURCE].tls_name_waiver
    assert waiver == TlsNameWaiver("2026-12-31", 1_798_761_600_000, "no names in the certificate")


def test_roles_and_admins_are_read(tmp_path: Path) -> None:
    arn = "arn:aws:iam::123456789012:role/path/kferry-{task}"
    found = load_clusters(_clusters(tmp_path, f"{IAM}    aws_role_arn: {arn}\n    aws_region: eu-west-1\n"))
    assert (found[Role.SOURCE].aws_role_arn, found[Role.SOURCE].aws_region) == (arn, "eu-west-1")
    admin = "    sasl_password: env:A\n    admin_username: root\n    admin_password: file:/root-password\n"
    found = load_clusters(_clusters(tmp_path, SASL + admin))
    assert (found[Role.SOURCE].admin_username, found[Role.SOURCE].admin_password) == ("root", "file:/root-password")


def test_a_vaulted_password_stays_a_reference(tmp_path: Path) -> None:
    text = SASL + "    sasl_password: !vault |\n      $ANSIBLE_VAULT;1.1;AES256\n      6231\n"
    found = load_clusters(_clusters(tmp_path, text))
    assert found[Role.SOURCE].sasl_password == "vault:$ANSIBLE_VAULT;1.1;AES256\n6231\n"


def test_a_missing_role_is_a_sentence(tmp_path: Path) -> None:
    found = load_clusters(_clusters(tmp_path, SOURCE))
    assert list(found) == [Role.SOURCE]
    with pytest.raises(KferryError, match=r"clusters.yml has no target cluster. Add target:"):
        require_cluster(found, Role.TARGET)


CLUSTER_MISTAKES = [
    (SOURCE.replace("bootstrap_servers", "bootstrap_server"), "line 4, column 5", "Did you mean 'bootstrap_servers'?"),
    (
        SOURCE.replace("msk", "Kafka"),
        "line 3, column 11",
        "Did you mean 'apache_kafka'? Valid values: apache_kafka, msk",
    ),
    (SOURCE.replace("source", "sorce"), "line 2, column 3", "Did you mean 'source'?"),
    (SOURCE.replace("kferry_clusters", "kferry_cluster"), "line 1, column 1", "Did you mean 'kferry_clusters'?"),
    ("", "line 1", "the key 'kferry_clusters' is missing"),
    ("kferry_clusters:\n  source: {kind: msk}\n", "line 2", "has no bootstrap_servers"),
    (SOURCE.replace("a.example:9092", "a.example"), "line 4, column 24", "Write host:port"),
    (SOURCE.replace("a.example:9092", "a:0"), "line 4", "a port of 1 to 65535"),
    (SOURCE.replace("a.example:9092", "a:1,,b:2"), "line 4", "'' is not a bootstrap server"),
    (SOURCE.replace("a.example:9092", "[]"), "line 4", "bootstrap_servers is empty"),
    (SOURCE.replace("a.example:9092", "kafka://a:1"), "line 4", "is not a bootstrap server"),
    (SOURCE.replace("a.example:9092", "'{{ host }}:1'"), "line 4, column 24", "Jinja"),
    (SOURCE + "    extra: {'{% x %}': 1}\n", "line 5", "Jinja"),
    (SOURCE + "    security_protocol: sasl_sll\n", "line 5", "Did you mean 'SASL_SSL'?"),
    (SOURCE + "    security_protocol: SASL_SSL\n", "line 3", "needs a sasl_mechanism"),
    (SOURCE + "    sasl_username: u\n", "line 5, column 5", "has no effect with security_protocol PLAINTEXT"),
    (SOURCE + "    ssl_ca: /x\n", "line 5, column 5", "Write SSL or SASL_SSL"),
    (SOURCE + "    security_protocol: SSL\n    ssl_key: /k\n", "line 3", "only one of ssl_certificate and ssl_key"),
    (SASL, "line 3", "has no sasl_password"),
    (SASL + "    sasl_password: hunter2\n", "line 8, column 20", "Write a reference: env:NAME"),
    (SASL + "    sasl_password: env:NOT-A-NAME\n", "line 8", "Write a reference"),
    (SASL + "    sasl_password:\n", "line 8", "sasl_password is empty"),
    (SASL + "    sasl_password: env:A\n    ssl_ca: '-----BEGIN X'\n", "line 9", "Save it as a file"),
    (SASL.replace("SCRAM-SHA-512", "GSSAPI"), "line 6", "Kerberos (GSSAPI) is not supported"),
    (SASL.replace("SCRAM-SHA-512", "OAUTHBEARER"), "line 6", "OAUTHBEARER is not supported"),
    (SASL.replace("SASL_SSL", "SASL_PLAINTEXT").replace("SCRAM-SHA-512", "AWS_MSK_IAM"), "line 3", "port 9098"),
    (SASL + "    sasl_password: env:A\n    aws_region: eu-west-1\n", "line 9", "without sasl_mechanism AWS_MSK_IAM"),
    (IAM + "    aws_role_arn: kferry\n", "line 7", "is not an aws_role_arn"),
    (IAM + "    aws_region: Ireland\n", "line 7", "Write a region such as"),
    (IAM + "    admin_username: root\n", "line 7", "has no effect"),
    (SASL + "    sasl_password: env:A\n    admin_username: root\n", "line 9", "belong together"),
    (SASL + "    sasl_password: env:A\n    admin_password: root\n    admin_username: b\n", "line 9", "reference"),
    (TLS + "    tls_name_waiver: {until: 2026-12-31, why: x}\n", "line 7", "always checked for a cluster of kind msk"),
    (ALIBABA.replace("    ssl_ca: /ca.pem\n", "") + WAIVER, "line 6", "needs ssl_ca"),
    (ALIBABA + "    tls_name_waiver: {until: 2026-12-31}\n", "line 7", "has no why"),
    (ALIBABA + "    tls_name_waiver: {until: tomorrow, why: x}\n", "line 7", "'tomorrow' is not a day"),
    (ALIBABA + "    tls_name_waiver: {until: 9999-12-31, why: x}\n", "line 7", "is not a day"),
    (ALIBABA + "    tls_name_waiver: {until: 2026-12-31, why: x, how: y}\n", "line 7", "unknown key 'how'"),
    (SOURCE + "    tls_name_waiver: {until: 2026-12-31, why: x}\n", "line 5", "Write SSL or SASL_SSL"),
    (SOURCE + "    extra: {ssl.key.password: x}\n", "line 5", "looks like a secret"),
    (SOURCE + "    kind: msk\n", "line 5, column 5", "is here twice (first in line 3)"),
    ("kferry_clusters:\n\tsource: 1\n", "line 2, column 1", "not valid YAML"),
    ("kferry_clusters: &a\n  source: *a\n", "line 1", "nested too deeply"),
    ("kferry_clusters: !!python/object:os.system {}\n", "line 1, column 18", "is not allowed here"),
    ("kferry_clusters: !unsafe x\n", "line 1", "is not allowed here"),
    ("a: 1\n---\nb: 2\n", "line 2", "not valid YAML"),
    ("? [a]\n: 1\n", "line 1", "a key must be a word"),
    (b"kferry_clusters:\n  source: \xff\n", "line 2", "not UTF-8"),
    (b"kferry_clusters:\n  source: \x07\n", "line 2", "not valid YAML"),
]


@pytest.mark.parametrize(("text", "place", "words"), CLUSTER_MISTAKES)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str | bytes, place: str, words: str) -> None:
    layout = _clusters(tmp_path, text)
    with pytest.raises(KferryError) as caught:
        load_clusters(layout)
    assert f"{layout.clusters}, {place}" in caught.value.title
    assert words in str(caught.value)
    assert caught.value.kind is ErrorKind.USAGE


def test_a_password_never_stands_in_the_complaint(tmp_path: Path) -> None:
    with pytest.raises(KferryError) as caught:
        load_clusters(_clusters(tmp_path, SASL + "    sasl_password: hunter2\n"))
    assert "hunter2" not in str(caught.value.as_dict())


def test_no_file_and_no_permission(tmp_path: Path) -> None:
    with pytest.raises(KferryError, match=r"There is no clusters.yml"):
        load_clusters(Layout(tmp_path))
    layout = Layout(tmp_path)
    layout.clusters.mkdir(parents=True)
    with pytest.raises(KferryError, match="cannot be read"):
        load_clusters(layout)


def test_workers_are_read_with_inherited_variables(tmp_path: Path) -> None:
    text = """\
all:
  vars: {ansible_user: ops, something_else: 1}
  hosts:
    bastion:
  children:
    kferry_workers:
      vars: {ansible_connection: local}
      hosts:
        local-1:
        remote_2: {ansible_connection: ssh, ansible_host: 10.0.0.2}
      children:
        more:
          hosts:
            w3.example: {ansible_connection: ssh, ansible_port: 2222}
"""
    assert load_hosts(_hosts(tmp_path, text)) == [
        HostEntry("local-1", "127.0.0.1", True, user="ops", private_address="127.0.0.1"),
        HostEntry("remote_2", "10.0.0.2", False, user="ops", private_address="10.0.0.2", through_tunnel=True),
        HostEntry("w3.example", "w3.example", False, 2222, "ops", private_address="w3.example", through_tunnel=True),
    ]


def test_how_a_machine_is_reached(tmp_path: Path) -> None:
    text = """\
kferry_workers:
  hosts:
    w1:
      ansible_host: bastion-side.example
      ansible_ssh_private_key_file: keys/id_ed25519
      kferry_jump: ops@[2001:db8::1]:2200
      kferry_private_address: 10.0.0.5
      kferry_rest: direct
    w2: {kferry_jump: ops@jump.example, kferry_zone: eu-1a}
"""
    first, second = load_hosts(_hosts(tmp_path, text))
    assert first.jump == Jump("ops", "2001:db8::1", 2200)
    assert (first.private_address, first.through_tunnel) == ("10.0.0.5", False)
    assert first.key_file == "keys/id_ed25519"
    assert second.jump == Jump("ops", "jump.example") and second.zone == "eu-1a" and second.through_tunnel


def test_a_group_at_the_top_and_an_empty_group(tmp_path: Path) -> None:
    found = load_hosts(_hosts(tmp_path, "kferry_workers:\n  hosts:\n    10.1.2.3:\n"))
    assert found == [HostEntry("10.1.2.3", "10.1.2.3", False, private_address="10.1.2.3", through_tunnel=True)]
    assert load_hosts(_hosts(tmp_path, "kferry_workers:\n")) == []
    assert load_hosts(_hosts(tmp_path, "kferry_workers: {hosts: }\n")) == []


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("kferry_workers:\n  hosts:\n    -oProxyCommand=x:\n", "line 3, column 5", "cannot be the name of a host"),
        ("kferry_workers:\n  hosts:\n    'w[1:3]':\n", "line 3", "ranges like"),
        ("kferry_workers:\n  hosts:\n    a: {ansible_host: -x}\n", "line 3", "is no host name"),
        ("kferry_workers:\n  hosts:\n    a: {ansible_hots: b}\n", "line 3", "Did you mean 'ansible_host'?"),
        ("kferry_workers:\n  hosts:\n    a: {ansible_ssh_executable: b}\n", "line 3", "unknown key"),
        ("kferry_workers:\n  hosts:\n    a: {ansible_host: \"{{ lookup('pipe', 'id') }}\"}\n", "line 3", "Jinja"),
        ("kferry_workers:\n  hosts:\n    a: {kferry_jump: -oProxyCommand=x}\n", "line 3", "is not a jump host"),
        ("kferry_workers:\n  hosts:\n    a: {kferry_jump: 'ops@h -W'}\n", "line 3", "is not a jump host"),
        ("kferry_workers:\n  hosts:\n    a: {ansible_user: '-x'}\n", "line 3", "not the name of an account"),
        ("kferry_workers:\n  hosts:\n    a: {ansible_port: 70000}\n", "line 3", "is not a port"),
        ("kferry_workers:\n  hosts:\n    a: {kferry_rest: tunel}\n", "line 3", "tunnel or direct"),
        ("kferry_workers:\n  hosts:\n    a: {ansible_ssh_common_args: -A}\n", "line 3", "unknown key"),
        ("kferry_workers:\n  hosts: [a]\n", "line 2", "must be a mapping"),
        ("kferry_workers:\n  host: {a: }\n", "line 2", "Did you mean 'hosts'?"),
        ("all:\n  hosts: {a: }\n", "line 1", "there is no group 'kferry_workers'"),
    ],
)
def test_a_wrong_inventory_is_refused(tmp_path: Path, text: str, place: str, words: str) -> None:
    with pytest.raises(KferryError) as caught:
        load_hosts(_hosts(tmp_path, text))
    assert place in caught.value.title
    assert words in str(caught.value)
