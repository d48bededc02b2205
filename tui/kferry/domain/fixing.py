"""What kferry itself can do about findings: from findings and facts to changes, as few as close them.

Topics and configs are changed on the target only, rights of kferry's own principal are granted on both clusters. All
else that has to be done on the source is the words of the finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from kferry.domain.acls import AclRule, least
from kferry.domain.connectors import looks_like_heartbeats
from kferry.domain.holds import KAFKA_DEFAULTS, final_configs
from kferry.domain.model import Finding, Role, Topic
from kferry.domain.preflight.facts import PreflightFacts
from kferry.domain.preflight.records import AFTER_KEYS, BEFORE_KEYS, refused_by
from kferry.domain.preflight.security import right_of
from kferry.domain.preflight.target import same_policy

_UNLIMITED_MS = str(2**63 - 1)
_BROKER_KEYS = {"log.retention.ms": "retention.ms", "message.max.bytes": "max.message.bytes"}


class FixAction(StrEnum):
    """What is done; `present` is done already and only shown."""

    CREATE_TOPIC = "create topic"
    GROW_TOPIC = "grow topic"
    SET_CONFIG = "set config"
    GRANT = "grant"
    PRESENT = "present"


@dataclass(frozen=True, slots=True)
class FixChange:
    """One change that closes findings (`closes` holds their ids), with what is before and after it.

    `partitions` and `configs` are those of a topic to be made or grown; `rule` is the right to be granted.
    """

    action: FixAction
    role: Role
    resource: str
    name: str
    key: str
    before: str | None
    after: str
    closes: tuple[str, ...]
    partitions: int = 0
    configs: Mapping[str, str] = field(default_factory=dict)
    rule: AclRule | None = None


@dataclass(frozen=True, slots=True)
class FixPlan:
    """Changes in the order in which they are made, sentences that the operator has to know, and what stays open."""

    changes: tuple[FixChange, ...]
    words: tuple[str, ...] = ()
    left: tuple[str, ...] = ()  # ids of findings that kferry cannot close

    @property
    def to_do(self) -> tuple[FixChange, ...]:
        """The changes that change something."""
        return tuple(change for change in self.changes if change.action is not FixAction.PRESENT)


@dataclass(slots=True)
class _Wishes:
    """What is wanted of one topic of the target, gathered from all findings about it."""

    topic: Topic
    closes: set[str] = field(default_factory=set)
    configs: dict[str, str] = field(default_factory=dict)
    make: bool = False
    grow: bool = False


@dataclass(slots=True)
class _Draft:
    facts: PreflightFacts
    wishes: dict[str, _Wishes] = field(default_factory=dict)
    grants: dict[AclRule, set[str]] = field(default_factory=dict)
    present: list[FixChange] = field(default_factory=list)

    def about(self, topic: Topic, finding: Finding) -> _Wishes:
        wishes = self.wishes.setdefault(topic.name, _Wishes(topic))
        wishes.closes.add(finding.finding_id)
        return wishes


Fixer = Callable[[Finding, _Draft], None]


def plan(findings: Iterable[Finding], facts: PreflightFacts) -> FixPlan:
    """The changes that close these findings, as far as kferry can; each topic is changed once for all of them."""
    draft, left = _Draft(facts), []
    for finding in findings:
        if not _draft(finding, draft):
            left.append(finding.finding_id)
    # rights first: the topics may need them
    changes = [_grant(rule, closes) for rule, closes in draft.grants.items()]
    changes += [change for name in sorted(draft.wishes) for change in _of_topic(draft.wishes[name], facts)]
    return FixPlan((*changes, *draft.present), _words(changes), tuple(left))


def marked(findings: Iterable[Finding], facts: PreflightFacts) -> list[Finding]:
    """The findings, those that kferry can do something about marked as fixable."""
    return [replace(finding, fixable=_changes_something(finding, facts)) for finding in findings]


def _changes_something(finding: Finding, facts: PreflightFacts) -> bool:
    draft = _Draft(facts)
    return _draft(finding, draft) and not draft.present


def _draft(finding: Finding, draft: _Draft) -> bool:
    """Put down what closes a finding; False where kferry has no means."""
    fixer = _FIXERS.get(finding.check)
    if fixer is None:
        return False
    before = _size(draft)
    fixer(finding, draft)
    return _size(draft) != before


def _size(draft: _Draft) -> int:
    """Grows with every wish that a finding adds."""
    return (
        sum(len(wishes.closes) for wishes in draft.wishes.values())
        + sum(len(closes) for closes in draft.grants.values())
        + len(draft.present)
    )


# ---- what each finding wants ----------------------------------------------------------------------------------------


def _make_missing(finding: Finding, draft: _Draft) -> None:
    for topic in draft.facts.topics:
        if topic.name not in draft.facts.target_topics and topic.partitions:
            draft.about(topic, finding).make = True


def _grow(finding: Finding, draft: _Draft) -> None:
    """An empty topic that has too few partitions grows; one with too many is not made anew by kferry."""
    topic, there = _pair(finding.subject, draft.facts)
    if topic is None or there is None or topic.name in draft.facts.owned_topics:
        return
    if 0 < there.partition_count < topic.partition_count and _is_empty(there):
        draft.about(topic, finding).grow = True


def _raise_size(finding: Finding, draft: _Draft) -> None:
    topic, there = _pair(finding.subject, draft.facts)
    wanted = topic.effective.get("max.message.bytes") if topic is not None else None
    if topic is None or there is None or wanted is None or not wanted.isdecimal():
        return
    now = there.effective.get("max.message.bytes", "")
    if now.isdecimal() and int(now) < int(wanted):
        draft.about(topic, finding).configs["max.message.bytes"] = wanted


def _raise_limit(keys: tuple[str, ...], is_past: bool) -> Fixer:
    """Let the target's topic take timestamps that lie too far behind (or ahead of) the clock."""

    def fixer(finding: Finding, draft: _Draft) -> None:
        facts = draft.facts
        topic = facts.source_topics.get(finding.subject)
        at_ms = None if topic is None else topic.first_timestamp_ms if is_past else topic.last_timestamp_ms
        if topic is None or at_ms is None:
            return
        refused = refused_by(topic, facts.now_ms - at_ms if is_past else at_ms - facts.now_ms, keys, facts)
        if refused is not None:
            wishes = draft.about(topic, finding)
            wishes.configs[refused[0]] = _UNLIMITED_MS
            wishes.make = topic.name not in facts.target_topics

    return fixer


def _same_policy(finding: Finding, draft: _Draft) -> None:
    topic, there = _pair(finding.subject, draft.facts)
    if topic is None or there is None or same_policy(topic, there) or not _is_empty(there):
        return
    draft.about(topic, finding).configs["cleanup.policy"] = topic.effective["cleanup.policy"]


def _keep_codec(finding: Finding, draft: _Draft) -> None:
    default = draft.facts.default(Role.TARGET, "compression.type")
    for topic in draft.facts.topics:
        there = draft.facts.target_topics.get(topic.name)
        codec = there.effective.get("compression.type", default) if there is not None else default
        if codec == "zstd" and topic.effective.get("compression.type") != "zstd":
            wishes = draft.about(topic, finding)
            wishes.configs["compression.type"] = topic.effective.get("compression.type", "producer")
            wishes.make = there is None


def _grant_missing(finding: Finding, draft: _Draft) -> None:
    for role in Role:
        granted = draft.facts.granted.get(role) or {}
        for rule in least(rule for rule in granted if not rule.is_optional):
            if granted[rule] is False and f"{role.value} {right_of(rule)}" == finding.subject:
                draft.grants.setdefault(rule, set()).add(finding.finding_id)


def _own_name(finding: Finding, draft: _Draft) -> None:
    """Nothing is to be done: the source connector of every task brings the transform, which is shown."""
    facts = draft.facts
    batches = {name: batch.name for batch in facts.plan.batches for name in batch.topics} if facts.plan else {}
    for topic in facts.topics:
        if looks_like_heartbeats(topic.name):
            task = batches.get(topic.name, "its task")
            words = "RegexRouter: <alias>.(.*heartbeats) becomes $1"
            draft.present.append(
                FixChange(
                    FixAction.PRESENT,
                    Role.TARGET,
                    "connector",
                    f"source connector of {task}",
                    f"transforms.ownname for {topic.name}",
                    words,
                    words,
                    (finding.finding_id,),
                )
            )


_FIXERS: Mapping[str, Fixer] = {
    "target-topics-missing": _make_missing,
    "target-partitions": _grow,
    "target-topic-config": _same_policy,
    "record-size": _raise_size,
    "record-timestamp": _raise_limit(BEFORE_KEYS, is_past=True),
    "record-future": _raise_limit(AFTER_KEYS, is_past=False),
    "record-compression": _keep_codec,
    "rights-missing": _grant_missing,
    "name-heartbeats": _own_name,
}


# What kferry does in any case: there is a plan to be seen, and nothing in it to be done.
_DONE_ANYWAY = frozenset({"name-heartbeats"})


def fixers() -> frozenset[str]:
    """The checks whose findings kferry may be able to close."""
    return frozenset(_FIXERS) - _DONE_ANYWAY


def has_plan(finding: Finding) -> bool:
    """Whether there is a plan to be seen for a finding."""
    return finding.fixable or finding.check in _DONE_ANYWAY


# ---- what is made of the wishes -------------------------------------------------------------------------------------


def _of_topic(wishes: _Wishes, facts: PreflightFacts) -> list[FixChange]:
    topic, closes = wishes.topic, tuple(sorted(wishes.closes))
    there = facts.target_topics.get(topic.name)
    if there is None:
        configs = final_configs(topic, _target_defaults(facts)) | wishes.configs
        return [
            FixChange(
                FixAction.CREATE_TOPIC,
                Role.TARGET,
                "topic",
                topic.name,
                "",
                None,
                f"{topic.partition_count} partitions",
                closes,
                topic.partition_count,
                configs,
            )
        ]
    changes = []
    if wishes.grow:
        changes.append(
            FixChange(
                FixAction.GROW_TOPIC,
                Role.TARGET,
                "topic_partitions",
                topic.name,
                "partitions",
                str(there.partition_count),
                str(topic.partition_count),
                closes,
                topic.partition_count,
            )
        )
    return changes + [
        FixChange(
            FixAction.SET_CONFIG,
            Role.TARGET,
            "topic_config",
            topic.name,
            key,
            there.effective.get(key, there.configs.get(key)),
            value,
            closes,
        )
        for key, value in sorted(wishes.configs.items())
    ]


def _grant(rule: AclRule, closes: set[str]) -> FixChange:
    return FixChange(
        FixAction.GRANT,
        rule.cluster,
        "acl",
        rule.name,
        f"{rule.resource.value} {rule.operation}",
        None,
        rule.words,
        tuple(sorted(closes)),
        rule=rule,
    )


def _words(changes: Iterable[FixChange]) -> tuple[str, ...]:
    found = {change.action for change in changes}
    words = []
    if FixAction.CREATE_TOPIC in found:
        words.append("A topic that is made here is empty; its undo deletes it while it is.")
    if FixAction.GROW_TOPIC in found:
        words.append("Partitions can't be taken away: the undo makes the topic anew while it is empty.")
    if FixAction.GRANT in found:
        words.append("Whoever uses kferry's principal can do these things on the cluster, and nothing more by them.")
    return tuple(words)


def _pair(name: str, facts: PreflightFacts) -> tuple[Topic | None, Topic | None]:
    """A topic on the source and on the target."""
    return facts.source_topics.get(name), facts.target_topics.get(name)


def _is_empty(topic: Topic) -> bool:
    """Whether nothing was ever written; not known counts as no."""
    return bool(topic.partitions) and all(part.end_offset == 0 for part in topic.partitions)


def _target_defaults(facts: PreflightFacts) -> dict[str, str]:
    """Broker defaults of the target by topic key."""
    found = facts.target.cluster.broker_configs if facts.target is not None else {}
    named = {_BROKER_KEYS.get(key, key): value for key, value in found.items()}
    return {key: value for key, value in named.items() if key in KAFKA_DEFAULTS}
