"""Why what is under the cursor of the board is where it is, and what goes with it."""

from __future__ import annotations

from kferry.client import formats
from kferry.domain.planning.estimate import CopyTime, Estimate
from kferry.domain.words import counted
from kferry.store.views import BatchView
from kferry.ui.cells import Cell, Line, line
from kferry.ui.plan_facts import LEFT_OUT, PlanFacts, group_key, of_key, topic_key
from kferry.ui.rows import common
from kferry.ui.rows.plan import is_open, topic_bytes

_NOT_HERE = "not edited here any more; o opens its migration task, e changes it there"


def detail_lines(facts: PlanFacts, column: str | None, card: str | None) -> list[Line]:
    """Why what is under the cursor is where it is, and what goes with it."""
    if facts.view.error:
        return common.error_lines(facts.view.error)
    if column is None:
        return []
    if column == LEFT_OUT:
        return _left_out_lines(facts, card)
    shown = facts.shown(column)
    if shown is None:
        return []
    return _card_lines(facts, shown, card) if card is not None else _batch_lines(facts, shown)


def _batch_lines(facts: PlanFacts, shown: BatchView) -> list[Line]:
    batch = facts.batch(shown.name)
    figures = facts.figures.get(shown.name)
    lines = [line(Cell(f"Why {shown.name} is one batch, and number {shown.position + 1}", "title"))]
    if not is_open(shown.phase):
        lines.append(line(common.state(shown.phase), Cell(f"  {_NOT_HERE}", "warn")))
    lines += _torn_lines(facts, shown.name, None)
    lines += [line(Cell("  ▲ ", "warn"), Cell(words, "warn")) for words in (batch.warnings if batch else ())]
    lines += [line("  · ", why) for why in shown.why] or [line(Cell("  no reason is written in the plan", "dim"))]
    if shown.note:
        lines.append(line(Cell("  note: ", "dim"), shown.note))
    return lines + (_figure_lines(figures) if figures is not None else [])


def _figure_lines(figures: Estimate) -> list[Line]:
    """Size, time by workers, window, repeats and retention races of a batch."""
    size = figures.size
    words = (
        formats.byte_count(size.bytes, "size unknown"),
        f"{formats.records(size.records, 'unknown')} records",
        f"{formats.records(size.partitions, 'unknown')} partitions",
    )
    pairs: list[tuple[str, Cell | str]] = [("  to copy", " · ".join(words))]
    if figures.copy_times:
        pairs.append(("  by workers", " · ".join(_by_workers(one) for one in figures.copy_times)))
    if figures.workers is not None:
        proposed = f"{counted(figures.workers, 'worker')}, tasks.max {figures.connector_tasks_max}"
        pairs.append(("  proposed", f"{proposed}; {figures.rates.words}"))
    pairs.append(("  window", f"producers wait about {formats.duration(figures.window_seconds)} at the switch"))
    repeats = [
        f"{one.group_id}: {formats.records(one.records, formats.UNKNOWN)}" + (f" ({one.why})" if one.why else "")
        for one in figures.repeats
    ]
    pairs.append(("  repeats", ", ".join(repeats) or "no group, so none"))
    lines = common.facts(pairs, width=14)
    for race in figures.races or ():
        lines.append(line(Cell("  ▲ ", "warn"), Cell(race.words, "bad" if race.lost else "warn")))
    if figures.races is None:
        lines.append(line(Cell("  ? whether retention is faster than the copy is unknown", "dim")))
    return lines


def _by_workers(one: CopyTime) -> str:
    if one.never:
        return f"{one.workers}: never"
    return f"{one.workers}: {formats.duration(None if one.hours is None else one.hours * 3600)}"


def _torn_lines(facts: PlanFacts, batch: str, card: str | None) -> list[Line]:
    about = [one for one in facts.violations_of(batch) if card is None or card in one.cards]
    return [line(Cell("  ✗ ", "bad"), Cell(one.words, "bad")) for one in about]


def _card_lines(facts: PlanFacts, shown: BatchView, card: str) -> list[Line]:
    kind, name = of_key(card)
    lines = [line(Cell(f"{kind} ", "dim"), Cell(name, "title"), Cell(f"  in batch {shown.name}", "dim"))]
    if not is_open(shown.phase):
        lines.append(line(common.state(shown.phase), Cell(f"  {_NOT_HERE}", "warn")))
    lines += _torn_lines(facts, shown.name, card)
    if facts.index is None:
        return [*lines, line(Cell("  not scanned: nothing more is known of it", "dim"))]
    own = _topic_lines(facts, name) if kind == "topic" else _group_lines(facts, name)
    naming = [why for why in shown.why if name in why]
    return lines + own + [line("  · ", why) for why in naming]


def _topic_lines(facts: PlanFacts, name: str) -> list[Line]:
    assert facts.index is not None  # noqa: S101 -- asked by the caller
    topic = facts.index.topics.get(name)
    if topic is None:
        return [line(Cell("  ✗ The source no longer has it.", "bad"))]
    if topic.error:
        return [line(Cell("  ▲ could not be read: ", "warn"), Cell(topic.error, "warn"))]
    system = facts.index.graph.business_system(name)
    owned = f"{system.name}, owner {system.owner or formats.UNKNOWN}" if system is not None else ""
    words = (
        counted(topic.partition_count, "partition"),
        f"{formats.byte_count(topic_bytes(topic), 'size unknown')}",
        f"{formats.records(topic.record_span, 'unknown')} records",
        f"{formats.record_rate(topic.records_per_second, 'rate unknown')}",
        *(("compacted",) if topic.is_compacted else ()),
        *(("transactions",) if topic.has_transactions else ()),
    )
    return [
        line("  ", " · ".join(words)),
        *([line(Cell("  system      ", "dim"), owned)] if owned else []),
        _bound_line("read by", facts, [group_key(one) for one in facts.index.readers.get(name, ())], "no group"),
        *(
            [line(Cell("  written by  ", "dim"), ", ".join(facts.index.writers[name]), Cell(" (transactions)", "dim"))]
            if name in facts.index.writers
            else []
        ),
    ]


def _group_lines(facts: PlanFacts, name: str) -> list[Line]:
    assert facts.index is not None  # noqa: S101 -- asked by the caller
    group = facts.index.groups.get(name)
    if group is None:
        return [line(Cell("  ✗ The source no longer has it.", "bad"))]
    if group.error:
        return [line(Cell("  ▲ could not be read: ", "warn"), Cell(group.error, "warn"))]
    words = (f"{group.kind.value} group", f"{group.state.value}", counted(len(group.members), "member"))
    return [
        line("  ", " · ".join(words)),
        *_class_lines(facts, name),
        _bound_line("reads", facts, [topic_key(one) for one in sorted(group.topics)], "nothing"),
    ]


def _class_lines(facts: PlanFacts, group_id: str) -> list[Line]:
    """Which application a group belongs to, of which class, and what that rests on."""
    found = facts.index.applications.get(group_id) if facts.index is not None else None
    if found is None:
        return []
    rests = (
        "set in rules.yml" if found.set_by_operator else f"guessed: {'; '.join(found.evidence) or 'no sign of more'}"
    )
    return [line(Cell("  class       ", "dim"), f"{found.class_.value} ({rests.rstrip('.')})")]


def _bound_line(verb: str, facts: PlanFacts, keys: list[str], none: str) -> Line:
    """What a card is bound to, with the batch of each where it is another than its own."""
    found = []
    for key in keys:
        home = facts.homes.get(key)
        found.append(f"{of_key(key)[1]} ({home or 'stays'})")
    return line(Cell(f"  {verb:<11} ", "dim"), ", ".join(found) or none)


def _left_out_lines(facts: PlanFacts, card: str | None) -> list[Line]:
    if card is None:
        return [
            line(Cell("What stays on the source, each with its reason. m moves one into a batch after all.", "dim"))
        ]
    kind, name = of_key(card)
    why = facts.view.left_out.get(name if kind == "topic" else f"group {name}", formats.UNKNOWN)
    return [line(Cell(f"{kind} ", "dim"), Cell(name, "title")), line("  stays: ", why)]
