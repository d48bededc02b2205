"""The checks of preflight as a list to read: for the command line, and for the page docs/checks.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.fixing import fixers
from kferry.domain.preflight import catalog

_SAYS = {
    "block": "stops, and cannot be waived",
    "warn": "stops until it is closed or waived",
    "unknown": "could not be told: stops until it is known or waived",
    "info": "stops nothing",
}


def as_data(check_id: str | None = None) -> list[dict[str, Any]]:
    """Every check, or the one that is named. Raises KferryError for one there is not."""
    found = [
        {
            "check": one.check_id,
            "family": one.family.value,
            "title": one.title,
            "why": one.why,
            "severities": [severity.value for severity in one.gives],
            "fix": one.fix,
            "kferry_can_fix": one.check_id in fixers(),
        }
        for one in catalog()
        if check_id in (None, one.check_id)
    ]
    if not found:
        raise KferryError(
            f"There is no check {check_id!r}.", next_step="See them all: kferry preflight checks", kind=ErrorKind.USAGE
        )
    return found


def as_text(one: Mapping[str, Any]) -> str:
    """One check with all that is told of it."""
    lines = [
        f"{one['check']}  ({one['family']})",
        "",
        f"  Looks at        {one['title']}",
        f"  Why it matters  {one['why']}",
        f"  How to close    {one['fix']}",
        *(f"  {severity:<14}  {_SAYS[severity]}" for severity in one["severities"]),
    ]
    if one["kferry_can_fix"]:
        lines.append("  kferry can      make the change that closes it: kferry preflight fix")
    return "\n".join(lines)


def page() -> str:
    """docs/checks.md: a section per check, by family."""
    parts = [
        "# Checks of preflight\n",
        "What `kferry preflight` looks at. A finding is named `<check>:<subject>`; ids of checks never change, so\n"
        "that scripts and waivers may rest on them. `kferry preflight checks` shows this list.\n",
        "| severity | meaning |\n| --- | --- |\n"
        + "\n".join(f"| `{severity}` | {words} |" for severity, words in _SAYS.items())
        + "\n",
        "A check that could not be carried out is `unknown`, never ok. Where the answer could not have stopped\n"
        "anything, not knowing it is `info`. A waiver (`kferry preflight waive ID --why TEXT`) says who, why and\n"
        "until when; it stands in reports and in the certificate of the batch. What kferry can fix, it shows as a\n"
        "plan first (`kferry preflight fix --dry-run`), and each change goes into the change ledger with its undo.\n",
    ]
    family = ""
    for one in as_data():
        if one["family"] != family:
            family = one["family"]
            parts.append(f"## {family.capitalize()}\n")
        can = "\n\nkferry can make the change that closes it: `kferry preflight fix`." if one["kferry_can_fix"] else ""
        severities = ", ".join(f"`{severity}`" for severity in one["severities"])
        parts.append(
            f"### `{one['check']}`\n\n{one['title']}\n\n- Can be: {severities}\n- Why it matters: {_code(one['why'])}\n"
            f"- How to close: {_code(one['fix'])}{can}\n"
        )
    return "\n".join(parts)


def _code(words: str) -> str:
    """Words in which a star or a placeholder stays what it is."""
    return words.replace("*", "\\*").replace("<", "&lt;")
