"""The tables of playbooks and their variables in docs/fleet.md are what the playbooks and the roles' specs say.

`python tests/unit/frame/test_playbook_pages.py` writes the table of the roles' variables anew.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
PLAYBOOKS, ROLES, PAGE = ROOT / "playbooks", ROOT / "roles", ROOT / "docs" / "fleet.md"
NAMES = sorted(path.name for path in PLAYBOOKS.glob("*.yml"))
BEGIN, END = "<!-- variables of the roles, from their meta/argument_specs.yml -->\n", "<!-- end of variables -->\n"
FILE = re.compile(r"(?:import_playbook|include_tasks): (\S+\.yml)|(vars/\w+\.yml)")
ROLE = re.compile(r"(?:include_role:\s+name|role): (\w+)")
# what a person may give: names of ours, and those of a playbook's own that have no prefix
NAME = re.compile(r"(?<![\w'/.])(?!kferry_workers\b)(kferry_[a-z_]*[a-z]|rollback)\b(?!')")
# a task's own words: keys of vars and set_fact, what is registered, and what a loop is at
SET = re.compile(r"^ *(?:- )?(kferry_[a-z_]+):|(?:register|loop_var|key): (kferry_[a-z_]+)", re.MULTILINE)
OF_A_MACHINE = re.compile(r"^\| `(kferry_\w+)` \|", re.MULTILINE)


def files(path: Path) -> dict[Path, str]:
    """A playbook and everything of ours that it reads, without comments."""
    found: dict[Path, str] = {}
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found[current] = re.sub(r"^ *#.*\n", "", current.read_text("utf-8"), flags=re.MULTILINE)
            names = ("".join(match) for match in FILE.findall(found[current]))
            waiting += [next(p for p in (current.parent / name, PLAYBOOKS / name) if p.is_file()) for name in names]
    return found


def own_variables(name: str) -> set[str]:
    """What a playbook reads and nothing of ours sets: it can only come from the person who runs it."""
    text = "\n".join(files(PLAYBOOKS / name).values())
    everything = "\n".join(path.read_text("utf-8") for path in PLAYBOOKS.rglob("*.yml"))
    ours = {left or right for left, right in SET.findall(everything)}
    of_machines = set(OF_A_MACHINE.findall(PAGE.read_text("utf-8").partition("## 3.")[0]))
    return set(NAME.findall(text)) - ours - of_machines


def roles(name: str) -> set[str]:
    return set(ROLE.findall("\n".join(files(PLAYBOOKS / name).values())))


def free_variables(role: str) -> list[tuple[str, str, str]]:
    """Name, default and meaning of each variable of a role that no playbook, no task and no template sets."""
    specs = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text("utf-8"))["argument_specs"]
    texts = [path.read_text("utf-8") for path in (*PLAYBOOKS.rglob("*.yml"), *ROLES.glob("*/tasks/*.yml"))]
    ours = set(re.findall(rf"^ *(?:- )?({role}_\w+):", "\n".join(texts), re.MULTILINE))
    return [
        (variable, default_of(role, option["default"]), option["description"])
        for variable, option in specs["main"]["options"].items()
        if "default" in option and variable not in ours and "{{" not in str(option["default"])
    ]


def default_of(role: str, value: object) -> str:
    return f"in [its README](../roles/{role}/README.md)" if isinstance(value, dict) and value else f"`{value}`"


def table() -> str:
    """The variables of the roles that a person may give to a playbook."""
    lines = ["| variable | playbooks | default | meaning |\n", "| --- | --- | --- | --- |\n"]
    for role in sorted(path.name for path in ROLES.iterdir() if (path / "meta").is_dir()):
        users = ", ".join(f"`{name}`" for name in NAMES if role in roles(name))
        lines += [
            f"| `{variable}` | {users} | {default} | {meaning} |\n"
            for variable, default, meaning in free_variables(role)
        ]
    return "".join(lines)


@pytest.mark.parametrize("name", NAMES)
def test_a_playbook_is_documented_with_what_it_reads(name: str) -> None:
    section = PAGE.read_text("utf-8").partition("## The playbooks on their own")[2].partition("\n## ")[0]
    assert f"playbooks/{name}" in section, "no example"
    (row,) = re.findall(rf"^\| `{re.escape(name)}` \|.*$", section, re.MULTILINE)
    *_, variables, _ = row.split("|")
    assert set(re.findall(r"`(\w+)`", variables)) == own_variables(name)


def test_the_variables_of_the_roles_are_those_of_their_specs() -> None:
    text = PAGE.read_text("utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    assert text.partition(BEGIN)[2].partition(END)[0] == table()


if __name__ == "__main__":
    found = PAGE.read_text("utf-8")
    PAGE.write_text(found.partition(BEGIN)[0] + BEGIN + table() + END + found.partition(END)[2], "utf-8")
