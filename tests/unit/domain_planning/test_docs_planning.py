"""docs/planning.md says what there is: classes with their cutover, keys of rules.yml, commands that edit."""

from __future__ import annotations

import re
from pathlib import Path

import typer.main

from kferry.cli.commands.plan import app
from kferry.domain.applications import STYLES
from kferry.store.paths import Layout
from kferry.store.plan_revisions import KEPT
from kferry.store.rules_file import load_rules

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "planning.md").read_text("utf-8")


def test_each_class_is_there_with_its_cutover() -> None:
    rows = dict(re.findall(r"^\| `([^`]+)` \| .* \| ([^|]+) \|$", PAGE, re.MULTILINE))
    assert rows == {class_.value: style.value for class_, style in STYLES.items()}


def test_the_example_of_rules_is_whole_and_can_be_read(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "rules.yml").write_text(example)
    rules = load_rules(Layout(tmp_path))
    for section in ("systems", "together", "first", "last", "cuts", "applications", "patterns", "leave_out"):
        assert getattr(rules, section), section
    assert rules.patterns[0].limits.topics == 50


def test_every_command_is_told_of() -> None:
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert {name for name in commands - {"make"} if not re.search(rf"\b{name}\b", PAGE)} == set()


def test_the_number_of_revisions() -> None:
    assert f"the last {KEPT} revisions" in PAGE
