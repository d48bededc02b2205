"""Roles document and check their own arguments: meta/argument_specs.yml and defaults/main.yml say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir() and (path / "tasks").is_dir())


def load(path: Path) -> dict[str, Any]:
    return (yaml.safe_load(path.read_text("utf-8")) or {}) if path.is_file() else {}


def test_there_are_roles() -> None:
    assert {role.name for role in ROLES} >= {"java", "kafka_connect", "mirrormaker"}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_argument_specs_and_defaults_say_the_same(role: Path) -> None:
    options = load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]
    defaults = load(role / "defaults" / "main.yml")
    assert {name: option["default"] for name, option in options.items() if "default" in option} == defaults
    optional = [name for name, option in options.items() if not option.get("required") and "default" not in option]
    assert optional == [], "an argument is required or has a default"


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_argument_is_described_and_carries_the_roles_name(role: Path) -> None:
    main = load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]
    assert main["short_description"]
    for name, option in main["options"].items():
        assert name.startswith(f"{role.name}_"), name
        assert option.get("description"), f"{name} has no description"
        assert option.get("type"), f"{name} has no type"


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_role_has_a_page(role: Path) -> None:
    page = (role / "README.md").read_text("utf-8")
    assert role.name in page
    assert len(page.splitlines()) > 5
