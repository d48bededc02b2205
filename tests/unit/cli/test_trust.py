"""`kferry fleet trust`: keys are shown and pinned by fingerprint, a changed one is refused, jump hosts come first.

ssh-keyscan and ssh are stand-ins on PATH; everything between them and the command line is real.
"""

from __future__ import annotations

import base64
import json
import os
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from kferry.cli import trusting
from kferry.cli.main import app
from kferry.domain.host_keys import HostKey
from kferry.store import known_hosts
from kferry.store.paths import Layout

pytestmark = pytest.mark.thorough

Run = Callable[..., Result]
HOSTS = """kferry_workers:
  hosts:
    w1: {ansible_host: 10.0.0.11}
    w2: {ansible_host: 10.0.0.12, ansible_port: 2222}
    w3: {ansible_host: 10.0.0.13, kferry_jump: ops@10.0.0.1}
    here: {ansible_connection: local}
"""
# What stands for ssh-keyscan: answers from files beside it, named by address.
KEYSCAN = """#!/bin/sh
for address in "$@"; do :; done
echo "keyscan $*" >> {folder}/asked
cat {folder}/keys-$address 2>/dev/null || {{ echo "$address: connection refused" >&2; exit 1; }}
"""
# What stands for ssh: notes how it was called, and runs the command here.
SSH = """#!/bin/sh
for command in "$@"; do :; done
echo "ssh $*" >> {folder}/asked
exec sh -c "$command"
"""


def key(address: str, fill: int, port: int = 22, kind: str = "ssh-ed25519") -> HostKey:
    """A well-formed key whose bytes are all `fill`."""
    name = kind.encode()
    blob = len(name).to_bytes(4, "big") + name + (32).to_bytes(4, "big") + bytes([fill]) * 32
    return HostKey(address, port, kind, base64.b64encode(blob).decode())


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the stand-ins; w1 and the jump host show keys, w2 two of them, w3 one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("ssh-keyscan", KEYSCAN), ("ssh", SSH)):
        (folder / name).write_text(text.format(folder=folder))
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    shows(folder, "10.0.0.1", key("10.0.0.1", 1))
    shows(folder, "10.0.0.11", key("10.0.0.11", 11))
    shows(folder, "10.0.0.12", key("10.0.0.12", 12, 2222), key("10.0.0.12", 112, 2222, "ssh-rsa"))
    shows(folder, "10.0.0.13", key("10.0.0.13", 13))
    return folder


def shows(folder: Path, address: str, *keys: HostKey) -> None:
    (folder / f"keys-{address}").write_text("# a comment\n" + "".join(f"{item.line}\n" for item in keys))


@pytest.fixture
def run(layout: Layout, answers: Path) -> Run:
    (layout.inventory / "hosts.yml").write_text(HOSTS)

    def call(*words: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, ["-C", str(layout.root), "fleet", "trust", *words], input=stdin)

    return call


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the operator sat there."""

    there = types.SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr(trusting, "sys", types.SimpleNamespace(stdin=there))


def states(result: Result) -> dict[str, str]:
    _, bracket, data = result.stdout.partition("[\n")  # the runner echoes what was typed
    return {item["names"][-1]: item["state"] for item in json.loads(bracket + data)}


def test_a_named_fingerprint_is_pinned_without_a_question_and_no_other_key(run: Run, layout: Layout) -> None:
    right = key("10.0.0.12", 12, 2222)
    result = run("w2", "--yes", "--fingerprint", right.fingerprint, "-o", "json")
    assert result.exit_code == 0, result.stderr
    assert states(result) == {"w2": "trusted"}
    assert known_hosts.keys_of(layout, "10.0.0.12", 2222) == [right]
    assert layout.known_hosts.stat().st_mode & 0o777 == 0o600
    again = run("w2", "--yes", "--fingerprint", right.fingerprint, "-o", "json")
    assert states(again) == {"w2": "pinned"}


def test_a_wrong_fingerprint_pins_nothing(run: Run, layout: Layout) -> None:
    result = run("w1", "--yes", "--fingerprint", "SHA256:nope")
    assert result.exit_code == 5
    assert "not trusted" in result.stdout
    assert not layout.known_hosts.exists()


@pytest.mark.parametrize("words", [["--yes"], ["--fingerprint", "MD5:aa"], ["w9"]])
def test_usage(run: Run, layout: Layout, words: list[str]) -> None:
    assert run(*words).exit_code == 2
    assert not layout.known_hosts.exists()


def test_where_nobody_can_be_asked_nothing_is_pinned(run: Run, layout: Layout) -> None:
    result = run("w1")
    assert result.exit_code == 2
    assert key("10.0.0.11", 11).fingerprint in result.stderr
    assert "--fingerprint" in result.stderr
    assert not layout.known_hosts.exists()


@pytest.mark.parametrize("words", [["--dry-run"], ["--read-only"]])
def test_a_dry_run_shows_and_pins_nothing(run: Run, layout: Layout, words: list[str]) -> None:
    result = run("w1", *words, "-o", "json")
    assert result.exit_code == 0
    assert states(result) == {"w1": "would be trusted"}
    assert key("10.0.0.11", 11).fingerprint in result.stdout
    assert not layout.known_hosts.exists()


def test_all_are_asked_one_by_one_jump_hosts_first(run: Run, layout: Layout, answers: Path, at_terminal: None) -> None:
    result = run("-o", "json", stdin="y\nn\nall\n")
    assert result.exit_code == 5, result.stderr
    assert states(result) == {
        "jump host 10.0.0.1": "trusted",
        "w1": "not trusted",
        "w2": "trusted",
        "w3": "trusted",
    }
    assert {item.host for item in known_hosts.pinned_keys(layout)} == {"10.0.0.1", "10.0.0.12", "10.0.0.13"}
    asked = (answers / "asked").read_text().splitlines()
    assert asked[0].endswith("10.0.0.1")
    through = [line for line in asked if line.startswith("ssh ")]
    assert len(through) == 1
    assert "StrictHostKeyChecking=yes" in through[0]
    assert "-l ops -- 10.0.0.1 ssh-keyscan" in through[0]


def test_a_changed_key_is_refused_with_both_fingerprints(run: Run, layout: Layout) -> None:
    old, new = key("10.0.0.11", 99), key("10.0.0.11", 11)
    known_hosts.pin(layout, [old])
    result = run("w1", "--yes", "--fingerprint", new.fingerprint)
    assert result.exit_code == 6
    assert old.fingerprint in result.stderr
    assert new.fingerprint in result.stderr
    assert "--replace" in result.stderr
    assert known_hosts.keys_of(layout, "10.0.0.11") == [old]
    assert run("w1", "--replace", "--yes", "--fingerprint", new.fingerprint).exit_code == 0
    assert known_hosts.keys_of(layout, "10.0.0.11") == [new]


def test_a_key_of_another_type_alone_does_not_get_around_the_pinned_one(run: Run, layout: Layout) -> None:
    old = key("10.0.0.11", 99, kind="ssh-rsa")
    known_hosts.pin(layout, [old])
    assert run("w1", "--yes", "--fingerprint", key("10.0.0.11", 11).fingerprint).exit_code == 6
    assert known_hosts.keys_of(layout, "10.0.0.11") == [old]


def test_replacing_wants_the_name_typed(run: Run, layout: Layout, at_terminal: None) -> None:
    old = key("10.0.0.11", 99)
    known_hosts.pin(layout, [old])
    assert run("w1", "--replace", stdin="y\n").exit_code == 5
    assert known_hosts.keys_of(layout, "10.0.0.11") == [old]
    assert run("w1", "--replace", stdin="w1\n").exit_code == 0
    assert known_hosts.keys_of(layout, "10.0.0.11") == [key("10.0.0.11", 11)]


def test_a_silent_machine_is_named_and_the_others_go_on(run: Run, layout: Layout, answers: Path) -> None:
    (answers / "keys-10.0.0.11").unlink()
    right = key("10.0.0.12", 12, 2222)
    result = run("w1", "w2", "--yes", "--fingerprint", right.fingerprint, "-o", "json")
    assert result.exit_code == 3
    assert states(result) == {"w1": "silent", "w2": "trusted"}
    assert "10.0.0.11 shows no host key" in result.stderr


def test_a_local_machine_needs_no_trust(run: Run, layout: Layout) -> None:
    (layout.inventory / "hosts.yml").write_text("kferry_workers:\n  hosts:\n    here: {ansible_connection: local}\n")
    result = run()
    assert result.exit_code == 0
    assert "nothing needs to be trusted" in result.stderr
