"""The plan as columns of a board, and what is said of the batch or card under the cursor."""

from __future__ import annotations

from collections.abc import Mapping

from kferry.client import filters, formats
from kferry.domain.applications import ApplicationClass
from kferry.domain.model import Batch, Topic
from kferry.domain.planning.estimate import Estimate
from kferry.domain.words import counted
from kferry.store.views import BatchView
from kferry.ui.cells import Cell, Line, line
from kferry.ui.plan_facts import LEFT_OUT, PlanFacts, group_key, topic_key
from kferry.ui.plan_making import Making
from kferry.ui.rows import common
from kferry.ui.widgets.board_model import BoardColumn, Card, Field

FIELDS = (
    Field("batch", 14, flex=1),
    Field("size", 9, right=True),
    Field("time", 11, right=True),
    Field("risk", 5, right=True),
    Field("phase", 13),
    Field("trouble", 11),
)

# What / can ask for on the board.
FILTER_FIELDS = (
    filters.Field("kind"),
    filters.Field("batch"),
    filters.Field("phase"),
    filters.Field("class"),
    filters.Field("risk", filters.FieldKind.NUMBER),
    filters.Field("size", filters.FieldKind.BYTES),
    filters.Field("records", filters.FieldKind.NUMBER),
    filters.Field("rate", filters.FieldKind.NUMBER),
    filters.Field("partitions", filters.FieldKind.NUMBER),
    filters.Field("members", filters.FieldKind.NUMBER),
    filters.Field("torn", filters.FieldKind.FLAG),
    filters.Field("pinned", filters.FieldKind.FLAG),
    filters.Field("canary", filters.FieldKind.FLAG),
)


def is_open(phase: str) -> bool:
    """Whether the plan still decides: a batch that is under way is changed by its migration task."""
    return phase == "planned"


# ---- the board --------------------------------------------------------------------------------------------------


def board_columns(
    facts: PlanFacts, kept: dict[str, tuple[object, BoardColumn]] | None = None
) -> tuple[BoardColumn, ...]:
    """One column for each batch in order, and one for what stays behind. `kept` holds those of the look before: an edit
    changes one or two of 200."""
    kept = {} if kept is None else kept
    columns = []
    for shown in facts.view.batches:
        batch, torn = facts.batch(shown.name), facts.violations_of(shown.name)
        made_of = (shown, batch, facts.figures.get(shown.name), torn, facts.index)
        if shown.name not in kept or kept[shown.name][0] != made_of:
            kept[shown.name] = (made_of, _batch_column(facts, shown))
        columns.append(kept[shown.name][1])
    if facts.view.left_out:
        columns.append(_left_out_column(facts))
    return tuple(columns)


def _batch_column(facts: PlanFacts, shown: BatchView) -> BoardColumn:
    batch = facts.batch(shown.name)
    figures = facts.figures.get(shown.name)
    torn = facts.violations_of(shown.name)
    torn_cards = {card for one in torn for card in one.cards}
    warnings = batch.warnings if batch is not None else ()
    title = Cell(f"{shown.position + 1} {shown.name}", "title")
    marks = _marks(batch)
    trouble = _trouble(len(torn), len(warnings))
    head: tuple[Line, ...] = (
        line(title, *marks),
        line(_size_words(figures)),
        line(_time_words(figures)),
        line(Cell(f"risk {shown.risk:.1f}  "), common.state(shown.phase)),
    )
    if torn:
        head = (*head, line(Cell(f"✗ {torn[0].words}", "bad")))
    elif warnings:
        head = (*head, line(Cell(f"▲ {warnings[0]}", "warn")))
    cards = (
        *(_topic_card(facts, name, shown, torn_cards) for name in shown.topics),
        *(_group_card(facts, name, shown, torn_cards) for name in shown.groups),
    )
    fields = (
        Cell(title.text + "".join(mark.text for mark in marks), "title"),
        common.figure(formats.byte_count(figures.size.bytes if figures else None)),
        common.figure(_time(figures)),
        Cell(f"{shown.risk:.1f}"),
        common.state(shown.phase),
        trouble,
    )
    rule = f"{counted(len(shown.topics), 'topic')}, {counted(len(shown.groups), 'group')}"
    values: dict[str, filters.Value] = {
        "batch": shown.name,
        "phase": shown.phase,
        "risk": shown.risk,
        "pinned": batch is not None and batch.pinned,
        "canary": batch is not None and batch.canary,
    }
    return BoardColumn(shown.name, head, fields, cards, rule, shown.name.lower(), values)


def _marks(batch: Batch | None) -> tuple[Cell, ...]:
    canary = (Cell(" ◆canary", "ok"),) if batch is not None and batch.canary else ()
    return (*canary, *((Cell(" ■pinned", "key"),) if batch is not None and batch.pinned else ()))


def _trouble(torn: int, warnings: int) -> Cell:
    if torn:
        return Cell(f"✗ {torn} torn", "bad")
    return Cell(f"▲ {counted(warnings, 'note')}", "warn") if warnings else Cell("")


def _size_words(figures: Estimate | None) -> Cell:
    if figures is None or (figures.size.bytes is None and figures.size.records is None):
        return Cell("size unknown", "warn")
    size = formats.byte_count(figures.size.bytes, "size unknown")
    return Cell(f"{size} · {formats.short_count(figures.size.records, '?')} records")


def _time(figures: Estimate | None) -> str:
    """The expected time of copying; "never" where more arrives than workers copy."""
    if figures is None:
        return formats.DASH
    if figures.hours is None:
        never = bool(figures.copy_times) and all(one.never for one in figures.copy_times)
        return "never" if never else formats.DASH
    return f"~{formats.duration(figures.hours * 3600)}"


def _time_words(figures: Estimate | None) -> Cell:
    time = _time(figures)
    if time == formats.DASH or figures is None:
        return Cell("time unknown", "dim")
    if time == "never":
        return Cell(f"never copied by {counted(len(figures.copy_times), 'worker')}", "bad")
    return Cell(f"{time} · {counted(figures.workers or 1, 'worker')}")


def _topic_card(facts: PlanFacts, name: str, shown: BatchView, torn: set[str]) -> Card:
    key = topic_key(name)
    topic = facts.index.topics.get(name) if facts.index is not None else None
    right, tone = formats.byte_count(topic_bytes(topic), "?" if facts.index is not None else ""), "dim"
    if facts.index is not None and topic is None:
        right, tone = "gone", "bad"
    elif topic is not None and topic.error:
        right, tone = "not read", "warn"
    values: dict[str, filters.Value] = {
        "size": topic_bytes(topic),
        "records": topic.record_span if topic is not None else None,
        "rate": topic.records_per_second if topic is not None else None,
        "partitions": topic.partition_count if topic is not None and topic.partitions else None,
    }
    return _card(key, "t", name, Cell(right, tone), shown, torn, values)


def _group_card(facts: PlanFacts, name: str, shown: BatchView, torn: set[str]) -> Card:
    key = group_key(name)
    group = facts.index.groups.get(name) if facts.index is not None else None
    if facts.index is not None and group is None:
        right = Cell("gone", "bad")
    elif group is not None and group.error:
        right = Cell("not read", "warn")
    else:
        right = Cell(_class_words(facts, name), "dim")
    members = len(group.members) if group is not None and not group.error else None
    found = facts.index.applications.get(name) if facts.index is not None else None
    values: dict[str, filters.Value] = {"members": members, "class": found.class_.value if found is not None else None}
    return _card(key, "g", name, right, shown, torn, values)


def _card(
    key: str,
    kind: str,
    name: str,
    right: Cell,
    shown: BatchView,
    torn: set[str],
    values: Mapping[str, filters.Value],
) -> Card:
    mark = Cell(f"{kind}✗", "bad") if key in torn else Cell(f"{kind} ", "dim")
    word = "topic" if kind == "t" else "group"
    tone = "bad" if key in torn else "" if is_open(shown.phase) else "dim"
    held = {"kind": word, "torn": key in torn, **values}
    return Card(key, mark, Cell(name, tone), right, f"{word} {name.lower()} {right.text}", held)


def _class_words(facts: PlanFacts, group_id: str) -> str:
    """The class of a group's application, where it asks for more than switching a consumer."""
    found = facts.index.applications.get(group_id) if facts.index is not None else None
    return "" if found is None or found.class_ is ApplicationClass.PURE_CONSUMER else found.class_.value


def _left_out_column(facts: PlanFacts) -> BoardColumn:
    cards = []
    for name, why in facts.view.left_out.items():
        is_group = name.startswith("group ")
        bare = name.removeprefix("group ") if is_group else name
        key = group_key(bare) if is_group else topic_key(bare)
        kind = "g" if is_group else "t"
        word = "group" if is_group else "topic"
        search = f"{word} {bare.lower()} {why.lower()}"
        held: dict[str, filters.Value] = {"kind": word, "torn": False}
        cards.append(Card(key, Cell(f"{kind} ", "dim"), Cell(bare, "dim"), Cell(""), search, held))
    count = len(cards)
    head = (line(Cell("left out", "title")), line(Cell("stays on the source", "dim")))
    fields = (Cell("left out", "title"), *(Cell("") for _ in range(3)), Cell("stays", "dim"), Cell(""))
    return BoardColumn(LEFT_OUT, head, fields, tuple(cards), counted(count, "name"), "left out", counted=False)


def topic_bytes(topic: Topic | None) -> float | None:
    """What a topic holds: as the brokers say it, else its records times their mean size; None where unknown."""
    if topic is None:
        return None
    if topic.size_bytes is not None:
        return topic.size_bytes
    span = topic.record_span if topic.partitions else None
    if span == 0:
        return 0
    return None if span is None or topic.mean_record_bytes is None else span * topic.mean_record_bytes


# ---- what stands above the board ----------------------------------------------------------------------------------


def notice_lines(facts: PlanFacts, making: Making) -> list[Line]:
    """What the operator must know of the whole plan; [] where there is nothing to say."""
    lines: list[Line] = []
    if making.is_running:
        lines.append(line(Cell("◐ The plan is being made from the last scan…", "busy")))
    lines += common.error_lines(making.error)
    if facts.violations:
        count = len(facts.violations)
        words = "1 thing is torn apart: " if count == 1 else f"{count} things are torn apart (N: the next). "
        lines.append(line(Cell(f"✗ {words}", "bad"), Cell(facts.violations[0].words, "bad")))
    if facts.index is not None and facts.index.rules_error is not None:
        error = facts.index.rules_error
        lines.append(
            line(Cell(f"✗ rules.yml cannot be read, so no rules hold: {error.title} {error.next_step}", "bad"))
        )
    newer = facts.newer_scan
    if newer is not None:
        at = formats.moment(newer.taken_at_ms)[:16]
        lines.append(
            line(
                Cell("▲ The plan is older than the scan ", "warn"),
                Cell(f"of {at}Z: what appeared since is not in it. p makes it anew.", "warn"),
            )
        )
    elif facts.plan is not None and facts.index is not None and not facts.index.scan.complete:
        lines.append(
            line(Cell("▲ The scan was cut off: what it lacks is unknown here. 3, then S scans again.", "warn"))
        )
    elif facts.plan is not None and facts.index is None:
        lines.append(
            line(Cell("▲ No scan is kept: sizes and what an edit tears apart are unknown. 3, then S.", "warn"))
        )
    return lines


def empty_words(facts: PlanFacts, making: Making) -> str:
    """Why there is no board, and what to do."""
    if making.is_running:
        return "The plan is being made; it is shown here at once."
    if facts.view.error:
        return "plan.yml cannot be read; what is wrong stands below.\nMend the file and it is shown at once."
    if facts.index is None:
        return "There is no plan yet, and no scan to make it from.\nPress 3, then S: it only reads both clusters."
    return "There is no plan yet. It is made from the scan once preflight is clear: press p."
