"""Who writes a topic, as lines of its details."""

from __future__ import annotations

from kferry.client import formats
from kferry.client.inventory import Inventory
from kferry.client.writers import TopicWriters
from kferry.domain.model import ActiveProducer, HangingTransaction, Topic
from kferry.ui.cells import Cell, Line, line

_SHOWN = 20


def lines(topic: Topic, found: Inventory) -> list[Line]:
    """Transactional ids, hanging transactions and active producers; what is not known is said to be so."""
    scan = found.scan
    if scan is None:
        return [line(Cell("written by", "title")), line(Cell("  not read yet", "dim"))]
    writers = found.writers_of(topic) or TopicWriters()
    ids = None if scan.transactional_ids is None else writers.transactional_ids
    shown = [line("  ", one.transactional_id, Cell(f"  {one.state or ''}", "dim")) for one in writers.transactional_ids]
    result = _section("transactional ids", shown, ids is None)
    if scan.hanging_transactions is None or writers.hanging:
        hanging = [line(Cell(f"  ▲ {_hanging(one)}", "bad")) for one in writers.hanging]
        result += _section("hanging transactions", hanging, scan.hanging_transactions is None)
    producers = [line(Cell(f"  {_producer(one, scan.taken_at_ms)}", "")) for one in writers.producers]
    return result + _section("active producers", producers, scan.producers is None)


def _section(title: str, shown: list[Line], unknown: bool) -> list[Line]:
    if unknown:
        return [line(Cell(title, "title"), Cell("  not known", "dim"))]
    lines = [line(Cell(title, "title"), Cell(f"  {len(shown):,}" if shown else "  none", "dim")), *shown[:_SHOWN]]
    if len(shown) > _SHOWN:
        lines.append(line(Cell(f"  … {len(shown) - _SHOWN:,} more", "dim")))
    return lines


def _hanging(one: HangingTransaction) -> str:
    since = "" if one.start_offset is None else f" since offset {formats.records(one.start_offset)}"
    return f"producer {one.producer_id} in partition {one.partition}{since}, {formats.duration(one.age_seconds)} old"


def _producer(one: ActiveProducer, scanned_at_ms: int) -> str:
    opened = one.transaction_start_offset
    transaction = "" if opened is None else f", a transaction open since offset {formats.records(opened)}"
    ago = formats.age(one.last_timestamp_ms, scanned_at_ms, "at an unknown time")
    return f"producer {one.producer_id} in partition {one.partition}, wrote {ago}{transaction}"
