"""The table of variables in a role's README is what its argument_specs say, word for word.

`python tests/unit/ansible_rooms/test_role_pages.py` writes the tables anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = Path(__file__).resolve().parents[3] / "roles"
BEGIN, END = "<!-- variables, from meta/argument_specs.yml -->\n", "<!-- end of variables -->\n"
WITH_TABLE = tuple(sorted(path.parent.parent.name for path in ROLES.glob("*/meta/argument_specs.yml")))


def table(role: str) -> str:
    """The table of a role's variables."""
    specs = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]
    lines = ["| variable | type | default | meaning |\n", "| --- | --- | --- | --- |\n"]
    lines += [line(name, option) for name, option in specs["options"].items()]
    return "".join(lines)


def line(name: str, option: dict[str, Any]) -> str:
    choices = f" ({', '.join(option['choices'])})" if "choices" in option else ""
    if option.get("required"):
        default = "required"
    elif isinstance(option["default"], dict) and option["default"]:
        default = "; ".join(f"{key}: `{value}`" for key, value in option["default"].items())
    else:
        value = option["default"]
        default = f"`{value if isinstance(value, str) and value else json.dumps(value)}`"
    return f"| `{name}` | {option['type']}{choices} | {default} | {option['description'].replace('|', '/')} |\n"


def page(role: str) -> Path:
    return ROLES / role / "README.md"


@pytest.mark.parametrize("role", WITH_TABLE)
def test_the_page_says_what_the_specs_say(role: str) -> None:
    text = page(role).read_text()
    assert text.count(BEGIN) == text.count(END) == 1
    assert text.partition(BEGIN)[2].partition(END)[0] == table(role)


if __name__ == "__main__":
    for name in WITH_TABLE:
        found = page(name).read_text()
        page(name).write_text(found.partition(BEGIN)[0] + BEGIN + table(name) + END + found.partition(END)[2])
