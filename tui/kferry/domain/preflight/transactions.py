"""Checks of transactions: open ones, hanging ones, and those that bind topics together unseen."""

from __future__ import annotations

from collections.abc import Iterator

from kferry.domain.model import HangingTransaction
from kferry.domain.preflight.facts import PreflightFacts
from kferry.domain.preflight.registry import Family, check
from kferry.domain.preflight.result import Result, block, counted, duration, info, listed, unknown, warn

_LONGEST_TRANSACTION_MS = 900_000  # brokers end a transaction after transaction.max.timeout.ms, 15 minutes by default
_FEW_RECORDS = 100


@check(
    "transactions-topics",
    Family.TRANSACTIONS,
    "info",
    why="Markers and aborted records leave holes in the source's offsets, which the target does not have.",
)
def transactional(facts: PreflightFacts) -> Iterator[Result]:
    """Topics that are written in transactions."""
    found = {topic.name for topic in facts.topics if topic.has_transactions} | _named_by_ids(facts)
    if found:
        yield info(
            "topics",
            f"{counted(len(found), 'topic')} written in transactions",
            f"{listed(found)}: markers and aborted records leave holes, so offsets differ on the target.",
            "Nothing has to be done: only committed records are copied, and positions come from the records.",
        )


@check(
    "transactions-open",
    Family.TRANSACTIONS,
    "warn info",
    why="Nothing behind an open transaction is copied, and a hanging one never ends.",
    fix="Find it with kafka-transactions.sh and abort it, or let its owner end it.",
)
def open_transactions(facts: PreflightFacts) -> Iterator[Result]:
    """No transaction hangs: nothing behind it could be copied."""
    fresh: list[str] = []
    known = {one.topic for one in _hanging(facts)}
    for topic in facts.topics:
        waiting = [
            (part.partition, part.end_offset - part.last_stable_offset)
            for part in topic.partitions
            if part.last_stable_offset is not None
            and part.end_offset is not None
            and part.last_stable_offset < part.end_offset
        ]
        if not waiting or topic.name in known:
            continue  # transactions-hanging tells of those that are known
        records = sum(count for _, count in waiting)
        held = listed(f"{topic.name}-{number}" for number, _ in waiting)
        scanned_ms = facts.source.taken_at_ms if facts.source is not None else facts.now_ms
        idle_ms = scanned_ms - topic.last_timestamp_ms if topic.last_timestamp_ms is not None else None
        if idle_ms is not None and idle_ms > _LONGEST_TRANSACTION_MS:
            yield warn(
                topic.name,
                f"A transaction seems to hang in {topic.name}",
                f"{counted(records, 'record')} behind an open transaction in {held}; the newest record is"
                f" {duration(idle_ms / 1000)} old. They are not copied until it ends, and the batch cannot switch.",
                "Find it with `kafka-transactions.sh find-hanging` and abort it, or let its owner end it.",
            )
        else:
            fresh.append(held)
    if fresh:
        yield info(
            "topics",
            f"{counted(len(fresh), 'topic')} with an open transaction",
            f"{'; '.join(fresh)}. That is usual while producers write.",
            "Nothing has to be done: the switch waits until producers have stopped and every transaction has ended.",
        )


@check(
    "transactions-lso-lag",
    Family.TRANSACTIONS,
    "warn",
    why="Copies end at the last stable offset, so what is behind it arrives on the target only when it moves on.",
    fix="Find the transaction with kafka-transactions.sh and abort it, or let its owner end it.",
)
def stable_lag(facts: PreflightFacts) -> Iterator[Result]:
    """No transaction stays open longer than brokers allow, while others go on writing."""
    hanging = {(one.topic, one.partition) for one in _hanging(facts)}
    scanned_ms = facts.source.taken_at_ms if facts.source is not None else facts.now_ms
    for topic in facts.topics:
        if not topic.records_per_second or topic.last_timestamp_ms is None or not topic.partitions:
            continue
        if scanned_ms - topic.last_timestamp_ms > _LONGEST_TRANSACTION_MS:
            continue  # transactions-open tells of it
        longest = topic.records_per_second / topic.partition_count * _LONGEST_TRANSACTION_MS / 1000
        late = {
            part.partition: part.end_offset - part.last_stable_offset
            for part in topic.partitions
            if part.end_offset is not None
            and part.last_stable_offset is not None
            and part.end_offset - part.last_stable_offset > max(longest, _FEW_RECORDS)
            and (topic.name, part.partition) not in hanging
        }
        if late:
            yield warn(
                topic.name,
                f"A transaction has been open in {topic.name} for long",
                f"{counted(sum(late.values()), 'record')} behind it in"
                f" {listed(f'{topic.name}-{number}' for number in late)}: more than are written in"
                f" {duration(_LONGEST_TRANSACTION_MS / 1000)}. They are not copied until it ends.",
                "Find it with `kafka-transactions.sh find-hanging` and abort it, or let its owner end it.",
            )


@check(
    "transactions-hanging",
    Family.TRANSACTIONS,
    "block",
    why="Nobody ends a hanging transaction, so nothing written after it is ever copied, and the batch cannot switch.",
    fix="Abort it with kafka-transactions.sh, then scan again.",
)
def hanging_transactions(facts: PreflightFacts) -> Iterator[Result]:
    """No transaction hangs that the brokers know to be nobody's."""
    found: dict[str, list[HangingTransaction]] = {}
    for one in _hanging(facts):
        found.setdefault(one.topic, []).append(one)
    for topic in facts.topics:
        held = found.get(topic.name)
        if held:
            yield block(
                topic.name,
                f"{counted(len(held), 'transaction')} {'hangs' if len(held) == 1 else 'hang'} in {topic.name}",
                "; ".join(_words(one) for one in held) + ".",
                "Abort each with `kafka-transactions.sh abort --topic TOPIC --partition N --start-offset OFFSET`, then"
                " scan again.",
            )


def _hanging(facts: PreflightFacts) -> tuple[HangingTransaction, ...]:
    return (facts.source.hanging_transactions or ()) if facts.source is not None else ()


def _words(one: HangingTransaction) -> str:
    start = f"from offset {one.start_offset}" if one.start_offset is not None else "from an unknown offset"
    age = f", {duration(one.age_seconds)} old" if one.age_seconds is not None else ""
    return f"{one.topic}-{one.partition} {start}, producer {one.producer_id}{age}"


@check(
    "transactions-exactly-once",
    Family.TRANSACTIONS,
    "info",
    why="Exactly-once ends at the copy: after a worker dies, what was copied since its last save is copied again.",
)
def exactly_once(facts: PreflightFacts) -> Iterator[Result]:
    """Topics whose applications may rely on exactly-once, which a copy does not give."""
    found = {topic.name for topic in facts.topics if topic.has_transactions} | _named_by_ids(facts)
    if found:
        yield info(
            "topics",
            f"The copy of {counted(len(found), 'topic')} written in transactions is at-least-once",
            f"{listed(found)}: if a worker dies, some seconds of records are on the target twice.",
            "Nothing has to be done where consumers bear repeats: the certificate counts them. Else rebuild what is"
            " computed from these topics after the switch.",
        )


@check(
    "producer-idempotence",
    Family.TRANSACTIONS,
    "info",
    why="Brokers remember idempotent producers only: others can write after the switch without anybody seeing who.",
)
def idempotence(facts: PreflightFacts) -> Iterator[Result]:
    """Topics that are written by producers which leave no trace."""
    written = [topic.name for topic in facts.topics if topic.records_per_second]
    if facts.source is None or not written:
        return
    if facts.source.producers is None:
        yield info(
            "topics",
            f"It is not known who writes to {counted(len(written), 'topic')}",
            "The source could not be asked for its producers.",
            "Nothing has to be done: the switch watches the end of each partition. Keep a list of producers by hand.",
        )
        return
    seen = {producer.topic for producer in facts.source.producers}
    unseen = [name for name in written if name not in seen]
    if unseen:
        yield info(
            "topics",
            f"{counted(len(unseen), 'topic')} written by producers without idempotence",
            f"{listed(unseen)}: records arrive, and the brokers know no producer.",
            "Keep a list of these producers by hand: who still writes after the switch cannot be named.",
        )


@check(
    "transactions-ids",
    Family.TRANSACTIONS,
    "unknown",
    why="Topics of one transaction have to switch together, or half of it is written to the old cluster.",
    fix="Put topics of one transactional producer into one batch, then waive.",
)
def ids(facts: PreflightFacts) -> Iterator[Result]:
    """It is known which topics are written together in one transaction."""
    if facts.source is None or facts.source.transactional_ids is not None:
        return
    found = [topic.name for topic in facts.topics if topic.has_transactions]
    places = _places(facts, found)
    if len(found) > 1 and len(places) != 1:
        yield unknown(
            "transactional ids",
            "It is not known which topics are written in the same transactions",
            f"The source does not tell its transactional ids, and {listed(found)} are written in transactions.",
            "Put topics of one transactional producer into one batch, then waive this.",
            found,
        )


@check(
    "transactions-unknown",
    Family.TRANSACTIONS,
    "info",
    why="Topics written in one transaction belong into one batch.",
)
def undetermined(facts: PreflightFacts) -> Iterator[Result]:
    """It is known of every topic whether it is written in transactions."""
    found = [topic.name for topic in facts.topics if topic.has_transactions is None and topic.record_span != 0]
    if found:
        # the copy is right either way (only committed records): this is about planning alone
        yield info(
            "topics",
            f"Of {counted(len(found), 'topic')} it is not known whether transactions are used",
            f"{listed(found)}.",
            "Nothing has to be done for the copy. Ask the owners if producers write several topics at once.",
        )


def _named_by_ids(facts: PreflightFacts) -> set[str]:
    known = (facts.source.transactional_ids or ()) if facts.source is not None else ()
    written = {name for one in known for name in one.topics}
    return {topic.name for topic in facts.topics} & written


def _places(facts: PreflightFacts, topics: list[str]) -> set[str]:
    """The batches that hold the topics; empty while there is no plan."""
    if facts.plan is None:
        return set()
    return {batch.name for batch in facts.plan.batches if set(batch.topics) & set(topics)}
