"""Who writes a topic, as a scan knows it: transactional ids, transactions that hang, and active producers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kferry.domain.model import ActiveProducer, HangingTransaction, Scan, TransactionalId


@dataclass(slots=True)
class TopicWriters:
    """What is known of one topic; whether that is all there is, the scan tells (None is "not known")."""

    transactional_ids: list[TransactionalId] = field(default_factory=list)
    hanging: list[HangingTransaction] = field(default_factory=list)
    producers: list[ActiveProducer] = field(default_factory=list)


def by_topic(scan: Scan) -> Mapping[str, TopicWriters]:
    """The writers of each topic that has any, in the order of their ids and partitions."""
    found: dict[str, TopicWriters] = {}
    for one in sorted(scan.transactional_ids or (), key=lambda item: item.transactional_id):
        for name in one.topics:
            found.setdefault(name, TopicWriters()).transactional_ids.append(one)
    for hanging in scan.hanging_transactions or ():
        found.setdefault(hanging.topic, TopicWriters()).hanging.append(hanging)
    for producer in sorted(scan.producers or (), key=lambda item: (item.partition, item.producer_id)):
        found.setdefault(producer.topic, TopicWriters()).producers.append(producer)
    return found


def notes_on(scan: Scan, words: Iterable[str]) -> list[str]:
    """What the scan could not find out about these, in its own words."""
    wanted = tuple(words)
    return [note for note in scan.notes if any(word in note.lower() for word in wanted)]
