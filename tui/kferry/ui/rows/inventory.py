"""Scanned topics and consumer groups as rows that are made when they are drawn, and the details of one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kferry.client import formats, inventory
from kferry.client.filters import Field, FieldKind, Value
from kferry.client.inventory import Fact, Inventory
from kferry.domain.model import Group, Topic
from kferry.domain.planning.scope import group_key
from kferry.ui.cells import Cell, Line, line
from kferry.ui.rows import common, writers
from kferry.ui.widgets.table_rows import Column, Row

# Width, flex and the width of the terminal from which a column is shown unless the operator chose otherwise; the order
# is that of the screen. What isn't named here is shown only where it was chosen.
_TOPIC_LOOKS: dict[str, tuple[int, int, int]] = {
    "topic": (18, 3, 0),
    "parts": (5, 0, 0),
    "records": (11, 0, 0),
    "size": (9, 0, 0),
    "rate": (8, 0, 90),
    "idle": (8, 0, 0),
    "what": (9, 1, 0),
    "retention": (9, 0, 150),
    "batch": (10, 0, 120),
    "by": (12, 2, 140),
}
_GROUP_LOOKS: dict[str, tuple[int, int, int]] = {
    "group": (18, 2, 0),
    "state": (9, 1, 0),
    "kind": (8, 0, 0),
    "lag": (11, 0, 0),
    "behind": (8, 0, 90),
    "idle": (8, 0, 0),
    "members": (7, 0, 120),
    "batch": (10, 0, 130),
    "reads": (10, 3, 0),
}


def columns(facts: Sequence[Fact[Any]], names: Sequence[str] | None = None) -> tuple[Column, ...]:
    """The columns of these facts: those the operator chose, in that order, else the usual ones."""
    looks = _TOPIC_LOOKS if facts[0].name == "topic" else _GROUP_LOOKS
    by_name = {fact.name: fact for fact in facts}
    picked = []
    for name in names or looks:
        fact = by_name[name]
        is_text = fact.field.kind in (FieldKind.TEXT, FieldKind.FLAG)
        width, flex, from_width = looks.get(name, (max(9, len(fact.title)), int(fact.field.kind is FieldKind.TEXT), 0))
        picked.append(Column(fact.title, width, flex, not is_text, 0 if names else from_width, fact.name))
    return tuple(picked)


TOPIC_COLUMNS = columns(inventory.TOPIC_FACTS)
GROUP_COLUMNS = columns(inventory.GROUP_FACTS)


class FactSource:
    """Topics or groups of an inventory as the source of a table."""

    def __init__(
        self,
        found: Inventory,
        items: Sequence[Any],
        facts: Sequence[Fact[Any]],
        shown: Sequence[Column],
        key: Callable[[Any], str],
        text: Callable[[Inventory, Any], str],
        count: int | None = None,
    ) -> None:
        self._found = found
        self.items = items
        self._count = len(items) if count is None else count  # the list may grow while it is shown
        self._facts = {fact.name: fact for fact in facts}
        self._shown = [self._facts[column.called] for column in shown]
        self._key = key
        self._text = text
        self._texts: dict[int, str] = {}
        self.fields: Sequence[Field] = [fact.field for fact in facts]

    def __len__(self) -> int:
        return self._count

    def key(self, at: int) -> str:
        return self._key(self.items[at])

    def row(self, at: int) -> Row:
        item = self.items[at]
        return Row(self._key(item), tuple(_cell(fact, self._found, item) for fact in self._shown))

    def text(self, at: int) -> str:
        if at not in self._texts:
            self._texts[at] = self._text(self._found, self.items[at])
        return self._texts[at]

    def value(self, at: int, name: str) -> Value:
        return self._facts[name].of(self._found, self.items[at])

    sort_value = value


def topic_source(found: Inventory, shown: Sequence[Column]) -> FactSource:
    return FactSource(found, found.topics, inventory.TOPIC_FACTS, shown, _topic_key, inventory.topic_text)


def group_source(found: Inventory, shown: Sequence[Column]) -> FactSource:
    return FactSource(found, found.groups, inventory.GROUP_FACTS, shown, _group_key, inventory.group_text)


def _topic_key(topic: Topic) -> str:
    return topic.name


def _group_key(group: Group) -> str:
    return group.group_id


def _cell(fact: Fact[Any], found: Inventory, item: Any) -> Cell:
    value = fact.of(found, item)
    name = fact.name
    if name in ("topic", "group"):
        is_unused = (item.name if isinstance(item, Topic) else group_key(item.group_id)) in found.unused
        return Cell(str(value), "dim" if is_unused else "strong")
    if name == "state":
        return common.state(str(value))
    if name == "kind":
        return Cell(str(value), "dim" if value == "plain" else "warn")
    if name == "what" and item.error is not None:
        return Cell(f"✗ {item.error}", "bad")
    if name == "what" and isinstance(item, Topic) and item.name in found.unused:
        return Cell(", ".join(word for word in ("unused", str(value)) if word), "warn")
    if isinstance(value, tuple):
        return Cell(", ".join(value[:20]) or ("nobody" if name == "by" else "nothing"), "dim")
    if name == "findings" and value:
        return Cell(formats.records(float(value)), "warn")
    if fact.field.kind is FieldKind.TEXT:
        return Cell(formats.UNKNOWN if value is None else str(value), "dim")
    if fact.field.kind is FieldKind.FLAG:
        return common.figure(formats.yes_no(None if value is None else bool(value)))
    words = _figure(name, fact.field.kind, None if value is None else float(value), item)
    if name == "idle" and isinstance(item, Topic) and value is not None:
        words = f"{inventory.idle_bound(item, found.taken_at_ms) or ''}{words}"
    return common.figure(words)


def _figure(name: str, kind: FieldKind, value: float | None, item: Topic | Group) -> str:
    if kind is FieldKind.BYTES:
        measured = name != "size" or (isinstance(item, Topic) and item.size_bytes is not None)
        return ("" if measured or value is None else "~") + formats.byte_count(value)
    if kind is FieldKind.SECONDS:
        if value == float("inf"):
            return "unlimited"
        return " ".join(formats.duration(value, formats.DASH).split(" ")[:2])  # the larger unit is enough in a column
    if name == "rate":
        return formats.record_rate(value)
    # compaction and transactions leave holes: the span is an upper bound
    return ("≤" if name == "records" and value is not None else "") + formats.records(value)


def topic_lines(topic: Topic, found: Inventory) -> list[Line]:
    """Everything that is known of one topic."""
    lines = [line(Cell(topic.name, "strong"))]
    lines += _marks(topic.name, topic.error, found)
    lines += _facts(inventory.TOPIC_FACTS, _OWN_LINES, found, topic)
    lines += _ages(topic)
    readers = found.readers_of(topic)
    lines.append(line(Cell("read by", "title"), Cell("" if readers is None else f"  {len(readers)}", "dim")))
    lines += _names(readers, "nobody", "not read yet")
    lines += writers.lines(topic, found)
    lines += [line(Cell("set on the topic itself", "title"))]
    lines += [line(Cell(f"  {key} = ", "dim"), value) for key, value in sorted(topic.configs.items())] or [
        line(Cell("  nothing", "dim"))
    ]
    return lines


def _ages(topic: Topic) -> list[Line]:
    """Its first and last record; of which partitions, where these are not all, and what is known of the others."""
    times = [("first record", topic.first_timestamp_ms, "older"), ("last record", topic.last_timestamp_ms, "newer")]
    seen = inventory.seen_words(topic)
    cells: list[tuple[str, Cell | str]] = []
    for title, at_ms, other in times:
        words = formats.moment(at_ms, formats.UNKNOWN)
        if at_ms is not None and seen:
            words += f" or {other}"
        cells.append((title, common.figure(words)))
    if seen and any(at_ms is not None for _title, at_ms, _other in times):
        cells.append(("seen", Cell(f"records {seen}", "dim")))
    if topic.quiet_since_ms is not None:
        words = f"nothing since {formats.moment(topic.quiet_since_ms)}, in any partition"
        cells.append(("written", common.figure(words)))
    return common.facts(cells)


_OWN_LINES = frozenset({"by", "readers", "failed", "findings", "unused"})
# How many names, members and commits a pane shows before it says how many more there are.
_SHOWN_NAMES, _SHOWN_COMMITS = 50, 200


def _facts(facts: Sequence[Fact[Any]], hidden: frozenset[str], found: Inventory, item: Any) -> list[Line]:
    """All that is known by name; what has nothing to say is left out, what is unknown is not."""
    cells = [(fact.title, _cell(fact, found, item)) for fact in facts[1:] if fact.name not in hidden]
    return common.facts([(title, cell) for title, cell in cells if cell.text])


def _marks(key: str, error: str | None, found: Inventory) -> list[Line]:
    """What there is to know at once: errors, unused, findings."""
    lines = []
    if error:
        lines.append(line(Cell(f"✗ {error}", "bad")))
    if key in found.unused:
        lines.append(line(Cell(f"▲ unused: {found.unused[key]}", "warn"), Cell("  (d: leave it out)", "dim")))
    count = found.findings_of(key.removeprefix("group "))
    if count:
        lines.append(line(Cell(f"▲ {count} finding{'s' if count > 1 else ''} of preflight", "warn"), "  (f: see them)"))
    return lines


def _names(names: Sequence[str] | None, nobody: str, unknown: str) -> list[Line]:
    if names is None:
        return [line(Cell(f"  {unknown}", "dim"))]
    lines = [line("  ", name) for name in names[:_SHOWN_NAMES]] or [line(Cell(f"  {nobody}", "dim"))]
    if len(names) > _SHOWN_NAMES:
        lines.append(line(Cell(f"  … {len(names) - _SHOWN_NAMES:,} more", "dim")))
    return lines


def group_lines(group: Group, found: Inventory) -> list[Line]:
    """Everything that is known of one group."""
    lines = [line(Cell(group.group_id, "strong"))]
    lines += _marks(group_key(group.group_id), group.error, found)
    hidden = frozenset({"reads", "client", "host", "failed", "findings", "unused"})
    lines += _facts(inventory.GROUP_FACTS, hidden, found, group)
    lines.append(line(Cell("reads", "title"), Cell(f"  {len(group.topics)}", "dim")))
    lines += _names(sorted(group.topics), "nothing: neither commits nor assigned partitions", "")
    lines.append(line(Cell("members", "title")))
    lines += [line(f"  {member.client_id} ", Cell(member.host, "dim")) for member in group.members[:_SHOWN_NAMES]] or [
        line(Cell("  none", "dim"))
    ]
    if len(group.members) > _SHOWN_NAMES:
        lines.append(line(Cell(f"  … {len(group.members) - _SHOWN_NAMES:,} more", "dim")))
    lines.append(line(Cell("commits", "title")))
    lines += [
        line(f"  {commit.topic}/{commit.partition} ", Cell(formats.records(commit.offset), "dim"))
        for commit in group.committed[:_SHOWN_COMMITS]
    ] or [line(Cell("  none", "dim"))]
    if len(group.committed) > _SHOWN_COMMITS:
        lines.append(line(Cell(f"  … {len(group.committed) - _SHOWN_COMMITS:,} more", "dim")))
    return lines
