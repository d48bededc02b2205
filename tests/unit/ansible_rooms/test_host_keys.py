"""Host keys are asked for with deadlines, through jump hosts that are trusted already, and nothing is trusted by it."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import pytest

from kferry.ansible import host_keys
from kferry.ansible.host_keys import JumpHost, Target, scan, scan_all
from kferry.domain.errors import ErrorKind, KferryError

BLOB = (11).to_bytes(4, "big") + b"ssh-ed25519" + (32).to_bytes(4, "big") + bytes(32)
KEY = base64.b64encode(BLOB).decode()


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in front of PATH for stand-ins of the OpenSSH tools, which note their arguments in `said`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


def stand_in(folder: Path, name: str, *, out: str = "", error: str = "", code: int = 0, then: str = "") -> None:
    path = folder / name
    path.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$0" "$@" >>{folder}/said\ncat <<\'E\'\n{out}\nE\n'
        f"cat >&2 <<'E'\n{error}\nE\n{then}\nexit {code}\n"
    )
    path.chmod(0o755)


def said(folder: Path) -> list[str]:
    return (folder / "said").read_text().splitlines()


def test_keys_carry_the_name_that_was_asked_for(tools: Path, tmp_path: Path) -> None:
    stand_in(
        tools, "ssh-keyscan", out=f"# banner\nother ssh-ed25519 {KEY}\nw1 ssh-ed25519 not-base64\nw1 ssh-rsa {KEY}"
    )
    [key] = scan(Target("w1", 2222), tmp_path / "known_hosts")
    assert (key.host, key.port, key.type, key.line) == ("w1", 2222, "ssh-ed25519", f"[w1]:2222 ssh-ed25519 {KEY}")
    assert key.fingerprint.startswith("SHA256:") and not key.fingerprint.endswith("=")
    assert said(tools)[1:] == ["-T", "5", "-p", "2222", "-t", "ed25519,ecdsa,rsa", "w1"]
    assert not (tmp_path / "known_hosts").exists()


def test_a_machine_behind_a_jump_host_is_asked_from_there_and_only_where_that_is_pinned(
    tools: Path, tmp_path: Path
) -> None:
    stand_in(tools, "ssh", out=f"w1 ssh-ed25519 {KEY}")
    known_hosts = tmp_path / "my dir" / "known_hosts"
    assert scan(Target("w1", jump=JumpHost("ops", "bastion", 2022, "/k")), known_hosts)
    words = said(tools)
    assert "StrictHostKeyChecking=yes" in words and f'UserKnownHostsFile="{known_hosts}"' in words
    assert words[-9:] == ["-i", "/k", "-p", "2022", "-l", "ops", "--", "bastion", words[-1]]
    assert words[-1] == "ssh-keyscan -T 5 -p 22 -t ed25519,ecdsa,rsa w1"


def test_an_unpinned_jump_host_is_named(tools: Path, tmp_path: Path) -> None:
    stand_in(tools, "ssh", error="No ED25519 host key is known for bastion\nHost key verification failed.", code=255)
    with pytest.raises(KferryError) as caught:
        scan(Target("w1", jump=JumpHost("ops", "bastion")), tmp_path / "known_hosts")
    assert "bastion" in caught.value.title and caught.value.cause == "Host key verification failed."
    assert "trust" in caught.value.next_step


def test_one_that_shows_nothing_does_not_stop_the_others(tools: Path, tmp_path: Path) -> None:
    stand_in(tools, "ssh-keyscan", then=f'case "$*" in *w2) echo "w2 ssh-ed25519 {KEY}";; esac')
    first, second = scan_all([Target("w1"), Target("w2")], tmp_path / "known_hosts")
    assert first.error is not None and first.error.kind is ErrorKind.CONNECT and "w1" in first.error.title
    assert len(second.keys) == 1 and second.error is None


def test_a_hanging_scan_ends_at_the_deadline(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tools, "ssh-keyscan", then="exec sleep 60")
    monkeypatch.setattr(host_keys, "DEADLINE_SECONDS", 0.3)
    with pytest.raises(KferryError) as caught:
        scan(Target("w1"), tmp_path / "known_hosts")
    assert caught.value.kind is ErrorKind.TIMEOUT


@pytest.mark.parametrize("host", ["-oProxyCommand=touch x", "", "a b", "w1;id", "$(id)", "w1\n"])
def test_what_is_no_address_reaches_no_command_line(tools: Path, tmp_path: Path, host: str) -> None:
    for name in ("ssh", "ssh-keyscan"):
        stand_in(tools, name)
    for target in (Target(host), Target("w1", jump=JumpHost("ops", host)), Target(host, jump=JumpHost("ops", "b"))):
        with pytest.raises(KferryError):
            scan(target, tmp_path / "known_hosts")
    with pytest.raises(KferryError):
        scan(Target("w1", jump=JumpHost("-oX", "b")), tmp_path / "known_hosts")
    assert not (tools / "said").exists()


def test_the_command_answers_in_json(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(tools, "ssh-keyscan", then=f'case "$*" in *w1) echo "w1 ssh-ed25519 {KEY}";; esac')
    question = {
        "known_hosts": str(tmp_path / "k"),
        "targets": [{"host": "w1"}, {"host": "w2", "port": 23, "jump": None}],
    }
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(question)))
    assert host_keys.main() == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["error"] is None and first["keys"][0]["key"] == KEY and first["port"] == 22
    assert second["keys"] == [] and second["error"]["kind"] == "connect"
