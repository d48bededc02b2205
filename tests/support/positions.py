"""Whether stopped groups read next on the target exactly what they would have read next on the source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from confluent_kafka import Message

from kferry.lab import reader
from kferry.lab.ledger import parse_record_id, record_id
from kferry.lab.systems import GROUPS
from support.java_consumer import first_offsets
from support.lab_run import LabRun
from support.waiting import wait_until

JAVA_SECONDS = 90.0
# group, topic, partition
Place = tuple[str, str, str]


def check_exact_positions(run: LabRun, group_ids: Sequence[str]) -> None:
    """Compare record ids, with confluent-kafka and with a Java member of each group; looking moves no group."""
    wanted = _settled(run, group_ids)
    read_by = {(group_id, topic) for group_id in group_ids for topic in GROUPS[group_id].topics}
    assert {(group_id, topic) for group_id, topic, _ in wanted} == read_by
    there = {place: name for place, name in wanted.items() if name is not None}
    assert there, "every group is at the end: nothing can be compared"
    facts = run.home.read_facts()
    for group_id, topic in sorted(read_by):
        ids = {number: name for (group, of, number), name in there.items() if (group, of) == (group_id, topic)}
        if ids:
            got = first_offsets(facts, "target", group_id, topic, [int(number) for number in ids], JAVA_SECONDS)
            read = _ids_at(run, "target", topic, got)
            assert {number: read.get(number) for number in ids} == ids, (group_id, topic)
    after = _places(run, "target", group_ids)
    assert {place: after[place] for place in there} == there, "looking has moved a group"


def _places(run: LabRun, cluster: str, group_ids: Sequence[str]) -> dict[Place, str | None]:
    return {
        (group_id, topic, number): name
        for group_id, topics in run.next_records(cluster, group_ids).items()
        for topic, numbers in topics.items()
        # MirrorCheckpoint also commits for a group in the empty topic it renames because its name ends in `heartbeats`
        if topic in GROUPS[group_id].topics
        for number, name in numbers.items()
    }


def _settled(run: LabRun, group_ids: Sequence[str]) -> dict[Place, str | None]:
    """What is read next, once both sides agree.

    The groups are stopped, so an answer can only change from "the end" to the one record that is written there next.
    Where a group never committed, it would have begun with the first record: the cutover was told `earliest`.
    """
    differ: dict[Place, tuple[str | None, str | None]] = {}
    target: dict[Place, str | None] = {}

    def agree() -> bool:
        source = _places(run, "source", group_ids)
        target.clear()
        target.update(_places(run, "target", group_ids))
        for group_id, topic, number in target.keys() - source.keys():
            source[group_id, topic, number] = _ids_at(run, "source", topic, {int(number): 0}).get(number)
        differ.clear()
        differ.update(
            {
                place: (source.get(place), target.get(place))
                for place in source.keys() | target.keys()
                if source.get(place) != target.get(place)
            }
        )
        return not differ

    try:
        wait_until(agree, 60)
    except AssertionError:
        raise AssertionError(f"(source, target) differ: {differ}") from None
    return target


def _ids_at(run: LabRun, cluster: str, topic: str, offsets: Mapping[int, int]) -> dict[str, str]:
    """The ids of the first records at or after these offsets."""
    found: dict[str, str] = {}

    def add(message: Message) -> None:
        named = parse_record_id(message.headers())
        assert named is not None
        found[str(message.partition())] = record_id(*named)

    reader.read_first(run.bootstrap(cluster), {(topic, number): at for number, at in offsets.items()}, add)
    return found
