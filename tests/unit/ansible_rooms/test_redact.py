"""What leaves a machine in a diagnostics archive holds no secret, in whatever spelling it stands there."""

from __future__ import annotations

import base64
import json
import time
from types import ModuleType
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kferry.ansible.content import find_content


def redact_module() -> ModuleType:
    path = find_content().roles / "diagnostics" / "module_utils" / "kferry_redact.py"
    module = ModuleType("kferry_redact")
    exec(compile(path.read_text(), path, "exec"), module.__dict__)  # noqa: S102  (hypothesis takes no fixtures)
    return module


REDACT = redact_module()
CANARY = "cAn4ry-S3cret"
PEM = f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----"


@pytest.mark.parametrize(
    "text",
    [
        f"sasl.password={CANARY}",
        f"  ssl.key.password = {CANARY} and more",
        f"producer.ssl.keystore.key=abc\\\n   {CANARY}\nnext=1",
        f"ssl.truststore.password: {CANARY}",
        f"# old: password={CANARY}",
        f'sasl.jaas.config=org.x.ScramLoginModule required username="u" password="{CANARY}";',
        json.dumps({"config": {"sasl.jaas.config": f'x.PlainLoginModule required password="{CANARY}";'}}),
        json.dumps({"text": json.dumps({"password": CANARY})}),
        json.dumps({"password": f'a"b{CANARY}'}),
        f'"password":"cut off {CANARY}',
        f"Authorization: Basic {base64.b64encode(CANARY.encode()).decode()}",
        f"curl -H 'authorization: Bearer {CANARY}'",
        f"http://user:{CANARY}@host/path",
        f"java -Djavax.net.ssl.keyStorePassword={CANARY} -cp x",
        f"KFERRY_SECRET_SOURCE_JAAS={CANARY}",
        f"AWS_SECRET_ACCESS_KEY={CANARY}",
        f"password={{{CANARY}}}",
        f"password=${{x}}{CANARY}",
        f"password=***{CANARY}",
        f"INFO login with token: {CANARY}, ok",
        "x.key=" + PEM.replace("\n", "\\n"),
        PEM,
        f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY}",
    ],
)
def test_values_that_look_like_secrets_are_replaced_though_nobody_named_them(text: str) -> None:
    found = REDACT.redact(text)
    assert CANARY not in found and base64.b64encode(CANARY.encode()).decode() not in found
    assert REDACT.MARK in found


@pytest.mark.parametrize(
    "text",
    [
        "key.converter=org.apache.kafka.connect.converters.ByteArrayConverter\ngroup.id=kferry-k3f9x2-shop",
        "sasl.jaas.config=${file:/opt/kferry/tasks/shop/secrets.properties:source_jaas}",
        '{"sasl.jaas.config":"${file:/opt/kferry/tasks/shop/secrets.properties:source_jaas}","topics":"a,b"}',
        '{"ssl.key.password": null, "tasks.max": "2"}',
        "INFO Kafka version: 3.9.2 (org.apache.kafka.common.utils.AppInfoParser:125)",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert REDACT.redact(text) == text


@given(st.text(min_size=4, max_size=30), st.text(max_size=30), st.text(max_size=30))
@pytest.mark.thorough
def test_a_known_secret_is_found_in_every_spelling(secret: str, before: str, after: str) -> None:
    assume(len(secret.strip()) >= 4 and len(secret.splitlines()) == 1 and "*" not in secret)
    assume(secret not in before + after)
    spellings = [
        secret,
        json.dumps(secret),
        json.dumps(secret, ensure_ascii=False),
        json.dumps(json.dumps(secret)),
        quote(secret, safe=""),
        base64.b64encode(secret.encode("utf-8", "surrogatepass")).decode(),
        base64.b64encode(f"kferry:{secret}".encode()).decode(),
    ]
    for spelling in spellings:
        assert spelling.strip('"') not in REDACT.redact(f"{before} {spelling} {after}", [secret])


def test_the_password_within_a_jaas_line_is_a_secret_by_itself() -> None:
    jaas = 'org.x.PlainLoginModule required username="u" password="pa\\"ss word";'
    assert REDACT.redact('rejected: pa"ss word / pa\\"ss word', [jaas]) == "rejected: *** / ***"


def test_each_line_of_a_key_is_a_secret_by_itself() -> None:
    assert "MIIEvQ" not in REDACT.redact(
        "MIIEvQIBADANBgkqh", ["-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqh\n-----END"]
    )


def test_of_a_file_that_is_all_secrets_only_key_names_are_left() -> None:
    text = f"# revision {CANARY}\nsource_jaas=a\\=b {CANARY}\nkferry: {CANARY},admin\n{CANARY}\n\n"
    assert REDACT.key_names(text) == "source_jaas=***\nkferry=***\n"


@pytest.mark.parametrize(
    "text", ["a" * 100_000, "password" * 10_000, 'password="' * 10_000, "-----BEGIN PRIVATE KEY-----" * 4_000]
)
def test_a_hostile_log_does_not_take_long(text: str) -> None:
    started = time.monotonic()
    REDACT.redact(text, [CANARY])
    assert time.monotonic() - started < 60
