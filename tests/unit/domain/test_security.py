"""Rules about waived host names and cloud roles."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kferry.domain import security
from kferry.domain.errors import KferryError
from kferry.domain.model import ClusterConfig, ClusterKind, Role, TlsNameWaiver

PLAIN = ClusterConfig(Role.SOURCE, ClusterKind.ALIBABA, "b:9093", "SASL_SSL", "PLAIN", "me", "env:X", "/ca.pem")
WAIVED = replace(PLAIN, tls_name_waiver=TlsNameWaiver("2026-12-31", 1000, "the endpoint has no name of its own"))
IAM = ClusterConfig(Role.SOURCE, ClusterKind.MSK, "b-1.x.kafka.eu-west-1.amazonaws.com:9098", "SASL_SSL", "AWS_MSK_IAM")
ROLE = "arn:aws:iam::123456789012:role/kferry-{task}"


def test_a_waiver_holds_until_its_day_is_over() -> None:
    security.refuse_old_waiver(PLAIN, 10**15)
    security.refuse_old_waiver(WAIVED, 999)
    with pytest.raises(KferryError, match="until 2026-12-31") as caught:
        security.refuse_old_waiver(WAIVED, 1000)
    assert "no name of its own" in caught.value.cause and "tls_name_waiver" in caught.value.next_step


def test_every_report_can_tell_of_a_waiver() -> None:
    assert security.waiver_lines([PLAIN, IAM], 0) == []
    (now,) = security.waiver_lines([PLAIN, WAIVED], 999)
    assert "not checked, until 2026-12-31" in now and "no name of its own" in now
    (later,) = security.waiver_lines([WAIVED], 1000)
    assert "ended with 2026-12-31" in later


def test_a_role_can_carry_the_name_of_the_task() -> None:
    assert security.role_arn(IAM, "shop") is None
    assert security.role_arn(replace(IAM, aws_role_arn=ROLE), "shop") == "arn:aws:iam::123456789012:role/kferry-shop"
    assert security.session_name("abc123", "shop") == "kferry-abc123-shop"
    assert len(security.session_name("abc123", "s" * 100)) == 64


@pytest.mark.parametrize(
    ("servers", "region"),
    [
        ("b-1.x.kafka.eu-west-1.amazonaws.com:9098", "eu-west-1"),
        ("boot-1.kafka-serverless.us-east-1.amazonaws.com:9098", "us-east-1"),
        ("b-1.x.kafka.cn-north-1.amazonaws.com.cn:9098", "cn-north-1"),
        ("10.0.0.1:9098", None),
    ],
)
def test_the_region_stands_in_the_servers_names(servers: str, region: str | None) -> None:
    assert security.aws_region(replace(IAM, bootstrap_servers=servers)) == region
    assert security.aws_region(replace(IAM, bootstrap_servers=servers, aws_region="ap-east-1")) == "ap-east-1"


def test_one_machine_with_its_own_role_serves_one_task() -> None:
    machines = {"w1": ["shop", "iot"], "w2": ["shop", "shop"], "w3": []}
    assert security.shared_machine_roles([PLAIN, IAM], machines) == {"w1": ("iot", "shop")}
    assert security.shared_machine_roles([PLAIN], machines) == {}
    assert security.shared_machine_roles([replace(IAM, aws_role_arn=ROLE)], machines) == {}


def test_an_admin_takes_the_place_of_the_user_only_where_one_is_named() -> None:
    assert security.admin_settings(PLAIN) is PLAIN
    admin = security.admin_settings(replace(PLAIN, admin_username="root", admin_password="env:ROOT"))
    assert (admin.sasl_username, admin.sasl_password) == ("root", "env:ROOT")
