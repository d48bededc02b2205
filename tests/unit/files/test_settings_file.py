"""kferry.yml: defaults, precedence, and complaints that name the line and the nearest key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from kferry.domain.errors import ErrorKind, KferryError
from kferry.store.paths import Layout
from kferry.store.settings_file import describe_settings, load_settings, variable_of, write_new

HEAD = "schema: 1\nmigration_id: abc123\nname: demo\n"


def _write(tmp_path: Path, text: str) -> Layout:
    layout = Layout(tmp_path)
    layout.settings.write_text(text, encoding="utf-8")
    return layout


def test_a_new_file_can_be_read_and_is_never_overwritten(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "new")
    made = write_new(layout, "my: move", settings={"still_seconds": 2}, owner_hooks={"stop_producers": ["p", "1"]})
    assert re.fullmatch(r"[a-z0-9]{6}", made.migration_id)
    assert (made.name, made.settings.still_seconds) == ("my: move", 2)
    assert made.owner_hooks == {"stop_producers": ["p", "1"]}
    assert load_settings(layout) == made
    before = layout.settings.read_text()
    with pytest.raises(KferryError, match="is there already"):
        write_new(layout, "other")
    assert layout.settings.read_text() == before


def test_a_new_file_that_would_be_wrong_is_not_left_behind(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with pytest.raises(KferryError, match="lag_treshold"):
        write_new(layout, "demo", settings={"lag_treshold": 1})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("migration_id", ["123456", "1e5555", "0x1234", "000000"])
def test_an_id_that_looks_like_a_number_stays_text(tmp_path: Path, migration_id: str) -> None:
    layout = Layout(tmp_path)
    write_new(layout, "demo", migration_id=migration_id)
    assert load_settings(layout).migration_id == migration_id
    hand = _write(tmp_path, f"schema: 1\nmigration_id: {migration_id}\nname: demo\n")
    assert load_settings(hand).migration_id == migration_id


def test_environment_beats_file_beats_default(tmp_path: Path) -> None:
    layout = _write(
        tmp_path,
        HEAD + "settings:\n  lag_threshold_records: 7\n  still_seconds: 9\n  distribution: {offline: true}\n",
    )
    environment = {
        "KFERRY_SETTINGS__STILL_SECONDS": "3",
        "KFERRY_SETTINGS__RETENTION_HOLD": "false",
        "KFERRY_SETTINGS__DISTRIBUTION__SOURCE": "maven",
        "KFERRY_NAME": "ignored",
    }
    found = load_settings(layout, environment)
    assert found.name == "demo"
    assert found.settings.lag_threshold_records == 7
    assert found.settings.still_seconds == 3
    assert found.settings.retention_hold is False
    assert found.settings.observe_interval_seconds == 2
    assert found.settings.distribution.offline is True
    assert load_settings(layout, {}).settings.still_seconds == 9


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("settings:\n  lag_treshold_records: 3\n", "line 5, column 3", "Did you mean 'lag_threshold_records'?"),
        ("settings:\n  still_seconds: 0\n", "line 5, column 18", "still_seconds: input should be greater than 0"),
        ("settings:\n  still_seconds: soon\n", "line 5, column 18", "valid number"),
        ("settings:\n  distribution:\n    ofline: true\n", "line 6, column 5", "Did you mean 'offline'?"),
        ("settings:\n  distribution: {source: file}\n", "line 5", "source file needs path and sha256"),
        ("settings:\n  distribution: {source: ftp}\n", "line 5", "'maven', 'file' or 'url'"),
        ("settings: {rest_port_first: 9, rest_port_last: 3}\n", "line 4", "must not be smaller"),
        ("setings: {}\n", "line 4, column 1", "Did you mean 'settings'?"),
        ("owner_hooks:\n  stop_consumer: [a]\n", "line 5, column 3", "Did you mean 'stop_consumers'?"),
        ("owner_hooks:\n  stop_consumers: []\n", "line 5", "has no command"),
        ("owner_hooks:\n  stop_consumers: sh -c x\n", "line 5, column 19", "must be a list"),
        ("settings: [1]\n", "line 4, column 11", "must be a mapping"),
        ("name: again\n", "line 4, column 1", "the key 'name' is here twice (first in line 3)"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, place: str, words: str) -> None:
    layout = _write(tmp_path, HEAD + text)
    with pytest.raises(KferryError) as caught:
        load_settings(layout, {})
    assert str(layout.settings) in caught.value.title
    assert place in caught.value.title
    assert words in str(caught.value)
    assert caught.value.kind is ErrorKind.USAGE


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("schema: 2\nwhatever: 1\n", "the directory of a newer version of kferry"),
        ("name: x\n", "the key 'schema' is missing"),
        ("", "the key 'schema' is missing"),
        ("schema: one\n", "schema must be a number"),
        ("schema: true\n", "schema must be a number"),
        ("schema: 1\nname: x\n", "the key 'migration_id' is missing"),
        ("schema: 1\nname: x\nmigration_id: UPPER1\n", "is not a migration_id"),
        ("schema: 1\nmigration_id: abc123\nname:\n", "name is empty"),
        ("schema: 1\nmigration_id: abc123\nname: [a\n", "not valid YAML"),
    ],
)
def test_a_directory_that_is_none_of_ours(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(KferryError) as caught:
        load_settings(_write(tmp_path, text), {})
    assert words in str(caught.value)
    assert caught.value.kind is ErrorKind.USAGE


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(KferryError, match=r"There is no migration directory here.*kferry init"):
        load_settings(Layout(tmp_path))


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("KFERRY_SETTINGS__LAG_THRESHOLD_RECORD", "3", "Did you mean 'KFERRY_SETTINGS__LAG_THRESHOLD_RECORDS'?"),
        ("KFERRY_SETTINGS__DISTRIBUTION", "maven", "names no setting"),
        ("KFERRY_SETTINGS__STILL_SECONDS", "x", "KFERRY_SETTINGS__STILL_SECONDS is wrong: still_seconds:"),
        ("KFERRY_SETTINGS__DISTRIBUTION__SHA256", "zz", "KFERRY_SETTINGS__DISTRIBUTION__SHA256 is wrong"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, variable: str, value: str, words: str) -> None:
    with pytest.raises(KferryError) as caught:
        load_settings(_write(tmp_path, HEAD), {variable: value})
    assert words in str(caught.value)


def test_every_setting_has_a_doc_and_its_default_is_valid(tmp_path: Path) -> None:
    described = describe_settings()
    assert {"still_seconds", "distribution.sha256"} <= {key for key, _, _ in described}
    assert all(doc.endswith(".") for _, _, doc in described)
    scalars = {key: yaml.safe_load(default) for key, default, _ in described if "." not in key and default}
    layout = _write(tmp_path, HEAD + yaml.safe_dump({"settings": scalars}))
    assert load_settings(layout, {}) == load_settings(_write(tmp_path, HEAD), {})
    assert variable_of("distribution.offline") == "KFERRY_SETTINGS__DISTRIBUTION__OFFLINE"
