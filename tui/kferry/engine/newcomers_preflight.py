"""Preflight of topics and groups that are about to join a running task: the same checks, on fresh measurements."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from kferry.domain.model import Batch, Finding, Group, Plan, Role, Scan, Severity, TaskSpec, Topic
from kferry.domain.planning.rules import PlanningRules
from kferry.domain.preflight import run_checks
from kferry.engine.preflight_facts import gather
from kferry.kafka.sample import TopicSample, sample_topics
from kferry.store.journal import now_ms

if TYPE_CHECKING:
    from kferry.engine.context import Services


def stopped_newcomers(
    services: Services, spec: TaskSpec, topics: Collection[str], groups: Collection[str], rules: PlanningRules
) -> dict[str, str]:
    """Those of these topics and groups that may not join, each with the reason.

    The findings are kept among those of preflight, so that a warning can be waived there. Raises KferryError where a
    cluster doesn't answer.
    """
    source, target = services.clusters.admin(Role.SOURCE), services.clusters.admin(Role.TARGET)
    found = {name: topic for name, topic in source.topics(topics).items() if topic.partitions}
    measured = _measured(found, sample_topics(services.clusters.config(Role.SOURCE), found.values()))
    on_target = target.topics(topics)
    readers = source.groups(groups, with_committed=True)
    stopped = {name: "it is gone again" for name in topics if name not in measured}
    stopped |= {name: f"it can't be read: {topic.error}" for name, topic in measured.items() if topic.error}
    stopped |= {name: f"it can't be read: {group.error}" for name, group in readers.items() if group.error}
    stopped |= _too_large(services, spec, measured, rules)
    facts = gather(services)
    if facts.source is None:
        return dict.fromkeys((*topics, *groups), "the source was never scanned")
    facts = replace(
        facts,
        source=_with(facts.source, measured.values(), readers.values()),
        target=_with(facts.target, on_target.values(), ()) if facts.target is not None else None,
        plan=_with_newcomers(facts.plan, spec, measured, readers) if facts.plan is not None else None,
    )
    names = {*topics, *groups}
    findings = [item for item in run_checks(facts) if item.subject in names]
    _keep(services, findings)
    waived = {row.finding_id for row in services.journal.waivers(now_ms())}
    for item in findings:
        if _stops(item, waived) and item.subject not in stopped:
            stopped[item.subject] = f"preflight {item.severity.value}: {item.title} [{item.finding_id}]"
    return stopped


def _stops(item: Finding, waived: Collection[str]) -> bool:
    if item.severity is Severity.INFO:
        return False
    return item.severity is Severity.BLOCK or item.finding_id not in waived


def _measured(topics: Mapping[str, Topic], samples: Mapping[str, TopicSample]) -> dict[str, Topic]:
    result = {}
    for name, topic in topics.items():
        sample = samples[name]
        errors = [text for text in (topic.error, sample.error) if text]
        result[name] = replace(
            topic,
            first_timestamp_ms=sample.first_timestamp_ms,
            last_timestamp_ms=sample.last_timestamp_ms,
            mean_record_bytes=sample.mean_record_bytes,
            has_transactions=sample.has_transactions,
            records_per_second=_rate(topic, sample),
            error="; ".join(errors) or None,
        )
    return result


def _rate(topic: Topic, sample: TopicSample) -> float | None:
    """The mean rate since its first record: it is new, so there is no longer past."""
    span = topic.record_span
    if span is None or (span and sample.first_timestamp_ms is None):
        return None
    seconds = (now_ms() - (sample.first_timestamp_ms or 0)) / 1000
    return span / max(1.0, seconds) if span else 0.0


def _too_large(
    services: Services, spec: TaskSpec, measured: Mapping[str, Topic], rules: PlanningRules
) -> dict[str, str]:
    """Topics beyond the bytes that the operator lets join by themselves; what joined before counts."""
    pattern = next((rules.pattern_of_topic(name) for name in measured), None)
    limit = pattern.limits.bytes if pattern is not None else None
    if limit is None:
        return {}
    planned = {name for batch in _plan_batches(services) if batch.name == spec.batch for name in batch.topics}
    before = [name for name in spec.topics if name not in planned and rules.pattern_of_topic(name) is not None]
    joined = services.clusters.admin(Role.SOURCE).topics(before)
    samples = sample_topics(services.clusters.config(Role.SOURCE), joined.values())
    used = sum(_size_bytes(topic) or 0 for topic in _measured(joined, samples).values())
    result = {}
    for name, topic in sorted(measured.items()):
        if name in spec.topics:
            continue
        size = _size_bytes(topic)
        if size is None:
            result[name] = f"its size is not known, and at most {limit} bytes may join by themselves"
        elif used + size > limit:
            result[name] = f"the limit of {limit} bytes that may join by themselves is reached"
        else:
            used += size
    return result


def _plan_batches(services: Services) -> tuple[Batch, ...]:
    from kferry.engine.newcomers_look import known_plan

    plan = known_plan(services)
    return plan.batches if plan is not None else ()


def _size_bytes(topic: Topic) -> int | None:
    span = topic.record_span
    if span == 0:
        return 0
    return None if span is None or topic.mean_record_bytes is None else round(span * topic.mean_record_bytes)


def _with(scan: Scan, topics: Iterable[Topic], groups: Iterable[Group]) -> Scan:
    """A scan in which these stand as they are now."""
    by_name = {item.name: item for item in scan.topics} | {item.name: item for item in topics}
    by_id = {item.group_id: item for item in scan.groups} | {item.group_id: item for item in groups}
    return replace(
        scan,
        topics=tuple(by_name[name] for name in sorted(by_name)),
        groups=tuple(by_id[name] for name in sorted(by_id)),
    )


def _with_newcomers(plan: Plan, spec: TaskSpec, topics: Iterable[str], groups: Iterable[str]) -> Plan:
    """The plan as if it had known them."""
    batches = tuple(
        replace(
            batch,
            topics=tuple(sorted({*batch.topics, *spec.topics, *topics})),
            groups=tuple(sorted({*batch.groups, *spec.groups, *groups})),
        )
        if batch.name == spec.batch
        else batch
        for batch in plan.batches
    )
    return replace(plan, batches=batches)


def _keep(services: Services, findings: Iterable[Finding]) -> None:
    """Put the findings among those of the last preflight, in place of what it said of the same subjects."""
    new = [asdict(item) for item in findings]
    if not new:
        return
    subjects = {item["subject"] for item in new}
    before = [
        item
        for item in json.loads(services.journal.document("findings", "") or "[]")
        if item["subject"] not in subjects
    ]
    services.journal.put_document("findings", "", json.dumps([*before, *new]))
