"""Pinned host keys: read and written as OpenSSH does, and never lost on the way."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kferry.domain.errors import KferryError
from kferry.domain.host_keys import HostKey, KeyState, compare, is_address, parse_key
from kferry.store.known_hosts import keys_of, pin, pinned_keys, unpin
from kferry.store.paths import Layout


def key(host: str, port: int = 22, kind: str = "ssh-ed25519", fill: int = 1) -> HostKey:
    blob = len(kind).to_bytes(4, "big") + kind.encode() + (32).to_bytes(4, "big") + bytes([fill] * 32)
    return HostKey(host, port, kind, base64.b64encode(blob).decode())


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_a_pinned_key_is_read_back_and_the_file_is_private(layout: Layout) -> None:
    keys = [key("w1"), key("10.0.0.7", 2222), key("2001:db8::1"), key("2001:db8::1", 2222)]
    pin(layout, keys)
    assert pinned_keys(layout) == keys
    assert layout.known_hosts.stat().st_mode & 0o777 == 0o600
    assert "[10.0.0.7]:2222 ssh-ed25519 " in layout.known_hosts.read_text()
    assert keys_of(layout, "10.0.0.7") == [] and keys_of(layout, "10.0.0.7", 2222) == [keys[1]]


def test_pinning_replaces_only_this_machine_and_keeps_what_is_not_ours(layout: Layout) -> None:
    other = key("w2", fill=9)
    kept = ["# by hand", "", f"@revoked * {other.type} {other.key}", "*.example ssh-ed25519 nonsense", other.line]
    shared = f"w1,alias {key('w1', fill=2).type} {key('w1', fill=2).key}"
    layout.known_hosts.write_text("\n".join([*kept, shared]) + "\n")
    layout.known_hosts.chmod(0o644)
    pin(layout, [key("w1"), key("w1")])
    lines = layout.known_hosts.read_text().splitlines()
    assert lines[:5] == kept and lines[5].startswith("alias ssh-ed25519 ") and lines[6:] == [key("w1").line]
    assert layout.known_hosts.stat().st_mode & 0o777 == 0o600
    unpin(layout, "w1")
    unpin(layout, "nobody")
    assert keys_of(layout, "w1") == [] and keys_of(layout, "w2") == [other] and keys_of(layout, "alias")


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no OpenSSH here")
def test_openssh_reads_it_and_agrees_on_the_fingerprint(layout: Layout, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "k")], check=True)
    kind, text, *_ = (tmp_path / "k.pub").read_text().split()
    made = parse_key("w1", 2222, kind, text)
    assert made is not None
    pin(layout, [made])
    asked = ["ssh-keygen", "-l", "-F", "[w1]:2222", "-f", str(layout.known_hosts)]
    assert made.fingerprint in subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    subprocess.run(["ssh-keygen", "-H", "-f", str(layout.known_hosts)], check=True, capture_output=True)
    assert "|1|" in layout.known_hosts.read_text()
    assert keys_of(layout, "w1", 2222) == [made] and keys_of(layout, "w1") == [] and pinned_keys(layout) == []
    unpin(layout, "w1", 2222)
    assert layout.known_hosts.read_text() == ""


def test_what_is_no_key_is_not_pinned(layout: Layout) -> None:
    good = key("w1")
    for bad in (
        HostKey("-oProxyCommand=x", 22, good.type, good.key),
        HostKey("w1\nw2", 22, good.type, good.key),
        HostKey("w1", 0, good.type, good.key),
        HostKey("w1", 22, "ssh-rsa", good.key),
        HostKey("w1", 22, good.type, good.key + " x\nw2 ssh-ed25519 y"),
    ):
        with pytest.raises(KferryError):
            pin(layout, [good, bad])
    assert not layout.known_hosts.exists()


def test_missing_and_different_keys_are_told_apart() -> None:
    ed, rsa = key("w1"), key("w1", kind="ssh-rsa")
    assert compare([], [ed]) is KeyState.MISSING
    assert compare([ed], [ed, rsa]) is KeyState.PINNED
    assert compare([ed, rsa], [ed, key("w1", kind="ssh-rsa", fill=7)]) is KeyState.DIFFERENT
    assert compare([rsa], [ed]) is KeyState.MISSING
    assert compare([ed], []) is KeyState.MISSING


@given(st.text(max_size=40))
def test_an_address_is_never_an_option_or_two_words(text: str) -> None:
    if is_address(text):
        assert not text.startswith("-") and not any(character in " \t\n,*?|@#%\"'$`;" for character in text)
