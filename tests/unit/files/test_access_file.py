"""access.yml: what it may say, and complaints with their place and the nearest valid word."""

from __future__ import annotations

from pathlib import Path

import pytest

from kferry.domain.access_items import WantedUser
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Role
from kferry.store.access_file import AccessFile, ScopeWord, load_access
from kferry.store.paths import Layout

WHOLE = r"""
schema: 1
scope: all
principals:
  map:
    User:a: User:b
    "User:CN=x,O=y": User:x
  patterns:
  - {match: 'User:CN=([^,]+),.*', to: 'User:\1'}
  - {match: 'User:old-.*', drop: true}
  drop: [User:admin]
  merge: [User:b]
users:
  billing:
    password: env:BILLING
    mechanisms: [SCRAM-SHA-256]
    iterations: 8192
  "on": {password: file:/run/pw}
probes:
- {principal: User:billing, sasl_username: billing, sasl_password: env:BILLING}
- principal: User:billing
  cluster: source
  security_protocol: SSL
  ssl_certificate: file:/c.pem
  ssl_key: /k.pem
"""


def load(tmp_path: Path, text: str) -> AccessFile:
    (tmp_path / "access.yml").write_text(text)
    return load_access(Layout(tmp_path))


def test_without_a_file_everything_keeps_its_name(tmp_path: Path) -> None:
    found = load_access(Layout(tmp_path))
    assert not found.exists
    assert found.mapping.of("User:a") == "User:a"
    assert found.scope is ScopeWord.PLAN


def test_a_whole_file(tmp_path: Path) -> None:
    found = load(tmp_path, WHOLE)
    names = ("User:a", "User:CN=x,O=y", "User:CN=p,O=y", "User:old-1", "User:admin", "User:z")
    assert [found.mapping.of(name) for name in names] == [
        "User:b", "User:x", "User:p", None, None, "User:z"
    ]  # fmt: skip
    assert found.users["billing"].wanted == WantedUser(("SCRAM-SHA-256",), 8192)
    assert found.users["on"].password == "file:/run/pw"
    on_target, on_source = (found.login_of("User:billing", role) for role in (Role.TARGET, Role.SOURCE))
    assert on_target is not None
    assert on_target.sasl_username == "billing"
    assert on_source is not None
    assert (on_source.ssl_certificate, on_source.sasl_username) == ("/c.pem", None)
    assert found.login_of("User:nobody", Role.TARGET) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1, column 1: the key 'schema'"),
        ("schema: 9\n", "written by a newer version"),
        ("schema: 1\nusrs: {}\n", "line 2, column 1: unknown key 'usrs'"),
        ("schema: 1\nscope: plans\n", "Did you mean 'plan'?"),
        ("schema: 1\nprincipals:\n  mapp: {}\n", "Did you mean 'map'?"),
        ("schema: 1\nprincipals:\n  map: {a: User:b}\n", "'a' is not a principal"),
        ("schema: 1\nprincipals:\n  map: {User:a: b}\n", "'b' is not a principal"),
        (
            "schema: 1\nprincipals:\n  map: {User:a: User:b}\n  drop: [User:a]\n",
            "line 4, column 10: User:a is under map",
        ),
        ("schema: 1\nprincipals:\n  patterns: [{match: '(', to: User:x}]\n", "not a regular expression"),
        ("schema: 1\nprincipals:\n  patterns: [{match: 'User:(.*)', to: 'User:\\2'}]\n", "names the group '2'"),
        ("schema: 1\nprincipals:\n  patterns: [{match: 'User:(.*)', to: 'User:\\q'}]\n", "names no group"),
        ("schema: 1\nprincipals:\n  patterns: [{match: a}]\n", "either to or drop"),
        ("schema: 1\nprincipals:\n  patterns: [{match: a, to: b, drop: true}]\n", "either to or drop"),
        ("schema: 1\nusers: {a: {password: geheim}}\n", "never stands in this file"),
        ("schema: 1\nusers: {a: {}}\n", "has no password"),
        ("schema: 1\nusers: {User:a: {password: env:A}}\n", "Write it without User:"),
        ("schema: 1\nusers: {ä: {password: env:A}}\n", "ASCII names only"),
        ("schema: 1\nusers: {a: {password: env:A, iterations: 1}}\n", "Write 4096 to"),
        ("schema: 1\nusers: {a: {password: env:A, mechanisms: [SCRAM-SHA-521]}}\n", "Did you mean 'SCRAM-SHA-512'?"),
        ("schema: 1\nusers: {a: {password: '{{ lookup() }}'}}\n", "Jinja"),
        ("schema: 1\nprobes: [{principal: User:a}]\n", "has no login"),
        ("schema: 1\nprobes: [{principal: 'User:*', sasl_username: a, sasl_password: env:A}]\n", "as everybody"),
        ("schema: 1\nprobes: [{principal: User:a, sasl_username: a}]\n", "belong together"),
        ("schema: 1\nprobes: [{principal: User:a, cluster: tarket, ssl_certificate: /a, ssl_key: /b}]\n", "'target'?"),
        (
            "schema: 1\nprobes:\n- {principal: User:a, ssl_certificate: /a, ssl_key: /b}\n"
            "- {principal: User:a, ssl_certificate: /a, ssl_key: /b}\n",
            "line 4, column 3: User:a is here twice (first in line 3)",
        ),
    ],
)
def test_complaints_say_where_and_what_to_write(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(KferryError) as caught:
        load(tmp_path, text)
    assert caught.value.kind is ErrorKind.USAGE
    assert words in str(caught.value)
    assert "access.yml, line " in str(caught.value)
    assert "geheim" not in str(caught.value)
