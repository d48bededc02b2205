"""The comparison of ACLs, quotas and SCRAM users, and what a probe found, as rows and lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kferry.client import formats
from kferry.client.access import ACTIONS, AccessView
from kferry.ui.bindings import first_key
from kferry.ui.cells import Cell, Line, line
from kferry.ui.rows import common
from kferry.ui.widgets.keyed_table import Column, Row

COLUMNS = (
    Column("action", 10),
    Column("what", 6),
    Column("who", 16, flex=2),
    Column("on", 16, flex=2),
    Column("target has", 14, flex=2, from_width=100),
    Column("source has", 14, flex=2, from_width=100),
    Column("why", 10, flex=2),
)
_KINDS = {"acls": "ACL", "quotas": "quota", "scram_users": "SCRAM"}
_MARKS = {"create": ("+", "ok"), "drift": ("≠", "warn"), "present": ("=", "dim"), "skipped": ("–", "dim")}
_WARNINGS_SHOWN = 3

# A comparison that is older than this says little about today, in milliseconds.
OLD_MS = 24 * 3_600_000

NEVER = "Not compared yet. Press {key} to compare source and target; nothing is changed by it."
FIRST = "Source and target are compared for the first time; what the target lacks is shown here."
NOTHING = "There is nothing to compare: neither side has ACLs, quotas or SCRAM users that concern the plan."
UNKNOWN = "No row could be made: what could not be read stands above. That is not the same as nothing to do."


def empty_words(view: AccessView | None = None, at_work: str | None = None) -> str:
    """Why the table is empty; what was not told is not taken for nothing."""
    if view is None:
        return NEVER.format(key=first_key("plan_access")) if at_work is None else FIRST
    return UNKNOWN if view.unknown else NOTHING


def rows(view: AccessView) -> tuple[Row, ...]:
    """What is to be done first; then what has drifted, what stays behind, and what is there."""
    order = {"create": 0, "drift": 1, "skipped": 2, "present": 3}
    numbered = sorted(enumerate(view.items), key=lambda pair: (order.get(str(pair[1]["action"]), 9), pair[0]))
    return tuple(_row(number, item) for number, item in numbered)


def _row(number: int, item: Mapping[str, Any]) -> Row:
    kind = _KINDS.get(str(item["what"]), str(item["what"]))
    was = f" (was {item['was']})" if item.get("was") else ""
    texts = [str(item.get(key) or "") for key in ("action", "subject", "name", "before", "after", "reason")]
    return Row(
        str(number),
        (
            action(str(item["action"])),
            Cell(kind, "dim"),
            Cell(f"{item['subject']}{was}", "strong"),
            Cell(str(item["name"])),
            Cell(texts[3] or formats.DASH, "dim"),
            Cell(texts[4] or formats.DASH, "dim"),
            Cell(texts[5], "warn" if item["action"] == "drift" else "dim"),
        ),
        " ".join([kind, was, *texts]),
    )


def action(word: str) -> Cell:
    mark, tone = _MARKS.get(word, ("?", "warn"))
    return Cell(f"{mark} {word}", tone)


def summary_lines(
    view: AccessView | None,
    error: Mapping[str, str] | None,
    at_work: str | None,
    now_ms: int,
    changed_at_ms: int | None = None,
) -> list[Line]:
    """What was compared and when, and the traps; above the table.

    `changed_at_ms` is when plan.yml or access.yml was changed last: a comparison from before that is of another scope.
    """
    lines: list[Line] = []
    if at_work is not None:
        lines.append(line(Cell(f"◐ {at_work}…", "busy")))
    elif error:
        lines += common.error_lines(error)
    if view is None:
        return lines
    counts = [Cell(f"  {count:,} {word}", _MARKS[word][1]) for word in ACTIONS if (count := view.total(word))]
    if view.unknown:
        counts.append(Cell(f"  ? {len(view.unknown)} not known", "warn"))
    scope = "plan.yml" if view.scope == "plan" else "everything"
    lines.append(
        line(Cell("compared ", "dim"), formats.age(view.made_at_ms, now_ms), Cell(f" for {scope}", "dim"), *counts)
    )
    old = _outdated(view, now_ms, changed_at_ms)
    if old and at_work is None:
        lines.append(line(Cell(f"▲ {old}: {first_key('plan_access')} compares again.", "warn")))
    for at, words in enumerate(view.warnings[:_WARNINGS_SHOWN]):
        # said first: in a small terminal there is no room below
        more = (
            f"{first_key('access_warnings')}: all {len(view.warnings)}  " if not at and len(view.warnings) > 1 else ""
        )
        lines.append(line(Cell("▲ ", "warn"), Cell(more, "dim"), words))
    return lines


def _outdated(view: AccessView, now_ms: int, changed_at_ms: int | None) -> str:
    if changed_at_ms is not None and changed_at_ms > view.made_at_ms:
        return "plan.yml or access.yml was changed since"
    return "This is old: either side may have changed since" if now_ms - view.made_at_ms > OLD_MS else ""


def warning_lines(view: AccessView) -> list[Line]:
    lines: list[Line] = []
    for words in view.warnings:
        lines += [line(Cell("▲ ", "warn"), words), line("")]
    return lines or [line(Cell("There is nothing to be warned of.", "dim"))]


def item_lines(
    item: Mapping[str, Any], probe: tuple[int, Sequence[Mapping[str, Any]]] | None, now_ms: int
) -> list[Line]:
    """Everything about one row, and what the last probe of its principal on the target found."""
    facts: list[tuple[str, Cell | str]] = [
        ("action", action(str(item["action"]))),
        ("who", Cell(str(item["subject"]), "strong")),
    ]
    if item.get("reason"):
        facts.insert(1, ("why", Cell(str(item["reason"]), "warn" if item["action"] == "drift" else "")))
    if item.get("was"):
        facts.append(("on the source", str(item["was"])))
    facts.append(("on", str(item["name"])))
    if item["action"] != "skipped" or item.get("before"):  # what is left behind was not looked for there
        facts.append(("target has", str(item.get("before") or "nothing")))
    if item["action"] != "drift" or item.get("after"):
        facts.append(("source has", str(item.get("after") or "nothing")))
    if principal_of(item) is None:
        return common.facts(facts)
    return [*common.facts(facts), line(""), *probe_lines(probe, now_ms)]


def probe_lines(probe: tuple[int, Sequence[Mapping[str, Any]]] | None, now_ms: int) -> list[Line]:
    """The rights of a principal as they were proven or computed."""
    if probe is None:
        key = first_key("probe_principal")
        return [line(Cell(f"never probed on the target   {key} proves what it may do there", "dim"))]
    at_ms, found = probe
    missing = sum(1 for right in found if right["is_missing"])
    verdict = Cell(f"{missing} rights are missing", "bad") if missing else Cell("no right is missing", "ok")
    lines = [line(Cell("probe ", "title"), Cell(formats.age(at_ms, now_ms), "dim"), "   ", verdict)]
    return lines + [_right_line(right) for right in found]


def _right_line(right: Mapping[str, Any]) -> Line:
    allowed = right["allowed"]
    mark, tone = ("?", "warn") if allowed is None else ("✓", "ok") if allowed else ("–", "dim")
    note = ""
    if right["is_missing"]:
        mark, tone, note = "✗", "bad", "   missing: the source's ACLs give it"
    elif right["is_more"]:
        note = "   more than the ACLs of the source give"
    proof = "" if right["is_proven"] else "   not proven"
    state = "unknown" if allowed is None else "allowed" if allowed else "denied"
    return line(
        Cell(f"  {mark} {state:<8}", tone),
        f"{right['operation']} ".replace("_", " "),
        Cell(f"{str(right['resource']).replace('_', ' ')} {right['name']}", "strong"),
        Cell(f"   {right['words']}", "dim"),
        Cell(note, "bad" if right["is_missing"] else "warn"),
        Cell(proof if "not proven" not in str(right["words"]) else "", "warn"),
    )


def principal_of(item: Mapping[str, Any]) -> str | None:
    """Whom a row is about, as a principal that can be probed; None for everybody and for quotas of no user."""
    subject = str(item["subject"])
    if item["what"] == "quotas":
        user = ((item.get("quota") or {}).get("entity") or {}).get("user")
        return f"User:{user}" if user else None
    return None if subject.endswith(":*") else subject
