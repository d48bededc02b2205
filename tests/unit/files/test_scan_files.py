"""Kept scans: whole, private, few, and found by what an operator types."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Role, Scan
from kferry.store import scan_files
from kferry.store.paths import Layout
from support.scans import lab_scan


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def made(number: int, scan_id: str = "") -> Scan:
    return replace(lab_scan(), scan_id=scan_id or f"{number:012x}", taken_at_ms=1_000_000 + number)


def test_a_kept_scan_comes_back_as_it_was(layout: Layout) -> None:
    path = scan_files.keep(layout, Role.SOURCE, made(1))
    (item,) = scan_files.kept(layout, Role.SOURCE)
    assert item.path == path
    assert scan_files.load(item) == made(1)
    assert scan_files.kept(layout, Role.TARGET) == []


def test_only_the_newest_are_kept_and_nobody_else_may_read_them(layout: Layout) -> None:
    old = os.umask(0)
    try:
        for number in range(scan_files.KEPT + 3):
            scan_files.keep(layout, Role.SOURCE, made(number))
    finally:
        os.umask(old)
    found = scan_files.kept(layout, Role.SOURCE)
    assert [item.taken_at_ms for item in found] == [1_000_022 - number for number in range(scan_files.KEPT)]
    assert {item.path.stat().st_mode & 0o777 for item in found} == {0o600}
    assert scan_files.folder(layout, Role.SOURCE).stat().st_mode & 0o777 == 0o700
    assert {path.name for path in scan_files.folder(layout, Role.SOURCE).iterdir()} == {
        item.path.name for item in found
    }


def test_a_hostile_id_stays_in_the_folder(layout: Layout) -> None:
    path = scan_files.keep(layout, Role.SOURCE, made(1, "../../../tmp/x\x1b[31m"))
    assert path.parent == scan_files.folder(layout, Role.SOURCE)
    assert len(scan_files.kept(layout, Role.SOURCE)) == 1


@pytest.mark.parametrize("content", [b"", b"not gzip", b"\x1f\x8b\x08\x00half"])
def test_a_damaged_file_is_named(layout: Layout, content: bytes) -> None:
    path = scan_files.keep(layout, Role.SOURCE, made(1))
    path.write_bytes(content)
    with pytest.raises(KferryError) as caught:
        scan_files.load(scan_files.kept(layout, Role.SOURCE)[0])
    assert str(path) in caught.value.title
    assert caught.value.next_step


def test_a_scan_is_found_by_number_and_by_the_beginning_of_its_id(layout: Layout) -> None:
    for number, scan_id in ((1, "aaa111"), (2, "aab222"), (3, "bbb333")):
        scan_files.keep(layout, Role.SOURCE, made(number, scan_id))
    find = scan_files.find
    assert find(layout, Role.SOURCE, "newest").scan_id == "bbb333"
    assert find(layout, Role.SOURCE, "3").scan_id == "aaa111"
    assert find(layout, Role.SOURCE, "AAB").scan_id == "aab222"
    for word in ("aa", "ccc", "", "99"):
        with pytest.raises(KferryError) as caught:
            find(layout, Role.SOURCE, word)
        assert caught.value.kind is ErrorKind.USAGE
