"""Findings of preflight as a tree that folds: severity, then checks that found much, then each finding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kferry.client import formats
from kferry.client.filters import Field, FieldKind, Value
from kferry.store.views import FindingView
from kferry.ui.cells import Cell, Line, line
from kferry.ui.rows import common
from kferry.ui.widgets.table_rows import Column, Row

if TYPE_CHECKING:
    from kferry.client.preflight_report import ActionNeeded

FINDING_COLUMNS = (
    Column("", 5),
    Column("what", 30, flex=3, name="title"),
    Column("about", 14, flex=1),
    Column("fix", 7, from_width=100, name="fixable"),
)

# The groups in the order of the screen, with what each means. A finding that was waived leaves its severity.
GROUPS: Mapping[str, str] = {
    "block": "blocking: the migration stops here until it is mended",
    "warn": "warnings: mend them, or waive them with a reason",
    "unknown": "unknown: a check could not run; it stops like a warning",
    "waived": "waived: accepted for a time, with who and why",
    "info": "good to know: stops nothing",
}
# What the Access screen sets up on the target, by check.
_ACCESS_CHECKS = frozenset({"access-acls", "access-quotas", "access-scram-users"})
# A check with at least so many findings gets a line of its own, folded.
_FOLDS_FROM = 4

FIELDS = (
    Field("severity"),
    Field("check"),
    Field("family"),
    Field("about", FieldKind.TEXT, ("subject",)),
    Field("title"),
    Field("evidence"),
    Field("fixable", FieldKind.FLAG),
    Field("stops", FieldKind.FLAG),
    Field("waived", FieldKind.FLAG),
)


@dataclass(frozen=True, slots=True)
class Branch:
    """A group of findings: `key` is that of its row; `level` 0 a severity, 1 a check in it."""

    key: str
    level: int
    name: str
    group: str
    findings: tuple[FindingView, ...]
    is_open: bool


Item = Branch | FindingView


def opens_access(finding: FindingView) -> bool:
    """Whether the Access screen shows what closes it."""
    return finding.check in _ACCESS_CHECKS and finding.severity == "warn"


def group_of(finding: FindingView) -> str:
    return "waived" if finding.waived_by else finding.severity if finding.severity in GROUPS else "unknown"


def tree(findings: Iterable[FindingView], turned: Set[str]) -> list[Item]:
    """What is shown, from top to bottom. `turned`: keys of branches that the operator folded or unfolded."""
    by_group: dict[str, list[FindingView]] = {}
    for finding in sorted(findings, key=lambda one: (one.check, one.subject)):
        by_group.setdefault(group_of(finding), []).append(finding)
    items: list[Item] = []
    for group in GROUPS:
        members = by_group.get(group)
        if not members:
            continue
        key = f"\0{group}"
        is_open = (group in ("block", "warn", "unknown") or len(members) < _FOLDS_FROM) is not (key in turned)
        items.append(Branch(key, 0, group, group, tuple(members), is_open))
        if is_open:
            items += _checks(group, members, turned)
    return items


def _checks(group: str, members: Sequence[FindingView], turned: Set[str]) -> list[Item]:
    by_check: dict[str, list[FindingView]] = {}
    for finding in members:
        by_check.setdefault(finding.check, []).append(finding)
    items: list[Item] = []
    for check, found in by_check.items():
        if len(found) < _FOLDS_FROM:
            items += found
            continue
        key = f"\0{group}\0{check}"
        is_open = key in turned
        items.append(Branch(key, 1, check, group, tuple(found), is_open))
        if is_open:
            items += found
    return items


def flat(findings: Iterable[FindingView]) -> list[Item]:
    """Only the findings, what stops first: for filters and sorting, which know no folds."""
    places = {group: at for at, group in enumerate(GROUPS)}

    def order(finding: FindingView) -> tuple[int, str, str]:
        return (places[group_of(finding)], finding.check, finding.subject)

    ordered = sorted(findings, key=order)
    return [*ordered]


def key_of(item: Item) -> str:
    return item.key if isinstance(item, Branch) else item.finding_id


class FindingSource:
    """The tree, or the flat list, as the source of a table."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self.fields: Sequence[Field] = FIELDS
        # what the border counts: findings, folded or not, rather than lines
        branches = [item for item in items if isinstance(item, Branch)]
        self.counted = sum(len(item.findings) for item in branches if item.level == 0) if branches else len(items)

    def __len__(self) -> int:
        return len(self.items)

    def key(self, at: int) -> str:
        return key_of(self.items[at])

    def row(self, at: int) -> Row:
        item = self.items[at]
        return _branch_row(item) if isinstance(item, Branch) else _finding_row(item)

    def text(self, at: int) -> str:
        item = self.items[at]
        if isinstance(item, Branch):
            return item.name
        return f"{item.severity} {item.check} {item.title} {item.subject} {item.evidence} {item.fix}".lower()

    def value(self, at: int, name: str) -> Value:
        item = self.items[at]
        if isinstance(item, Branch):
            return None
        values: dict[str, Value] = {
            "severity": item.severity,
            "check": item.check,
            "family": item.family,
            "about": item.subject,
            "title": item.title,
            "evidence": item.evidence,
            "fixable": item.fixable,
            "stops": item.stops,
            "waived": item.waived_by is not None,
        }
        return values.get(name)

    sort_value = value


def _branch_row(item: Branch) -> Row:
    mark = "▾" if item.is_open else "▸"
    count = f"  {len(item.findings):,}"
    fixable = sum(finding.fixable for finding in item.findings)
    fix = Cell(f"{fixable:,}" if fixable else "", "dim")
    if item.level == 0:
        symbol = common.symbol(item.group)
        title = Cell(f"{symbol.text} {GROUPS[item.group].partition(':')[0]}{count}", "title")
        return Row(item.key, (Cell(mark, "title"), title, Cell(""), fix))
    # what its findings are called, without what each is about
    words = item.name.replace("_", " ").replace("-", " ")
    subjects = ", ".join(finding.subject for finding in item.findings[:5])
    return Row(item.key, (Cell(f"  {mark}", "title"), Cell(f"{words}{count}", "strong"), Cell(subjects, "dim"), fix))


def _finding_row(finding: FindingView) -> Row:
    symbol = common.symbol("waived" if finding.waived_by else finding.severity)
    tone = "dim" if finding.waived_by else "strong" if finding.stops else ""
    return Row(
        finding.finding_id,
        (
            Cell(f"  {symbol.text}", symbol.tone),
            Cell(finding.title, tone),
            Cell(finding.subject, "dim"),
            Cell("f fixes" if finding.fixable else "f opens" if opens_access(finding) else "", "key"),
        ),
    )


def lines(item: Item | None) -> list[Line]:
    """One finding with evidence, why and fix; of a group, what it means and what it is made of."""
    if item is None:
        return []
    return _branch_lines(item) if isinstance(item, Branch) else finding_lines(item)


def _branch_lines(item: Branch) -> list[Line]:
    title, _, words = GROUPS[item.group].partition(": ")
    found = [line(Cell(f"{len(item.findings):,} {title}", "strong"), Cell(f"  {words}", "dim")), line("")]
    if item.level == 1:
        one = item.findings[0]
        found += common.facts([("check", one.check), ("family", one.family or formats.UNKNOWN)], width=10)
        found += [line(Cell("why  ", "dim"), one.why)] if one.why else []
        found += [line(Cell("fix  ", "dim"), Cell(one.fix, "strong")), line("")]
        found += [line("  ", finding.subject, Cell(f"  {finding.evidence}", "dim")) for finding in item.findings[:50]]
        more = len(item.findings) - 50
        return found + ([line(Cell(f"  … {more:,} more", "dim"))] if more > 0 else [])
    counts = Counter(finding.check for finding in item.findings)
    found += [line(f"  {count:>6,}  ", Cell(check, "dim")) for check, count in counts.most_common(30)]
    fixable = sum(finding.fixable for finding in item.findings)
    if fixable:
        found += [line(""), line(Cell(f"{fixable:,} of them kferry can fix: f shows the plan.", "ok"))]
    return found


def finding_lines(finding: FindingView) -> list[Line]:
    """One finding with everything one needs to close it."""
    found = [line(Cell(finding.title, "strong"))]
    found += common.facts(
        [
            ("severity", common.state(finding.severity)),
            ("about", finding.subject),
            ("evidence", finding.evidence),
            *((("why", finding.why),) if finding.why else ()),
            ("fix", Cell(finding.fix, "strong")),
        ],
        width=10,
    )
    if finding.waived_by:
        found += common.facts(
            [
                ("waived", Cell(f"by {finding.waived_by} until {formats.moment(finding.waived_until_ms)}", "dim")),
                ("reason", finding.waived_why or ""),
                *((("note", Cell(finding.waived_words, "dim")),) if finding.waived_words else ()),
            ],
            width=10,
        )
    elif finding.stops:
        found += [line(Cell(finding.outgrown, "warn"))] if finding.outgrown else []
        found.append(
            line(Cell("This stops the migration.", "bad"))
            if finding.severity == "block"
            else line(Cell("This stops the migration until it is mended or waived (w).", "warn"))
        )
    if finding.fixable and not finding.waived_by:
        found.append(line(Cell("kferry can fix this: f shows what it would change.", "ok")))
    elif opens_access(finding) and not finding.waived_by:
        found.append(line(Cell("kferry can set this up on the target: f goes to Access.", "ok")))
    found.append(line(Cell(f"check {finding.check}", "dim")))
    return found


def action_lines(needed: Sequence[ActionNeeded]) -> list[Line]:
    """What is to be done before the migration may go on, numbered, each with the ways to close it."""
    if not needed:
        return [line(Cell("Nothing stops the migration.", "ok"))]
    found: list[Line] = []
    for action in needed:
        symbol = common.symbol(action.severity)
        found.append(line(f"{action.number:>3}. ", Cell(f"{symbol.text} ", symbol.tone), Cell(action.title, "strong")))
        found.append(line("     ", Cell(action.finding_id, "dim")))
        found += [line("     - ", way) for way in action.ways]
        found.append(line(""))
    return found[:-1]


def finding_words(findings: Sequence[FindingView]) -> Line:
    """A summary one can act on."""
    blocks = sum(finding.severity == "block" for finding in findings)
    open_ones = sum(finding.stops for finding in findings) - blocks
    waived = sum(finding.waived_by is not None for finding in findings)
    fixable = sum(finding.fixable and finding.stops for finding in findings)
    cells = [Cell(f"✗ {blocks} blocking  " if blocks else "✓ nothing blocks  ", "bad" if blocks else "ok")]
    cells.append(Cell(f"▲ {open_ones} to mend or waive  " if open_ones else "", "warn"))
    cells.append(Cell(f"~ {waived} waived  " if waived else "", "dim"))
    cells.append(Cell(f"{fixable} kferry can fix  " if fixable else "", "ok"))
    return tuple(cells)
