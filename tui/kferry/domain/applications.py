"""Applications behind groups and producers: their class, what it was guessed from, and how they are cut over.

Guesses rest on what a cluster shows: ids, client ids, assignors, transactions and internal topics. That something does
not write can't be proved (older producers leave no trace): a guess says what it rests on, the operator's word wins.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kferry.domain.model import Group, GroupKind, Scan
from kferry.domain.name_patterns import matches_any
from kferry.domain.words import first_of

STREAMS_INTERNAL = re.compile(r".+-(changelog|repartition)(-[0-9]+)?")
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_STREAMS_TRANSACTION = re.compile(rf"-({_UUID}-[0-9]+|[0-9]+_[0-9]+)$")
_NUMBERED = re.compile(rf"([-_.]({_UUID}|[0-9]+))+$")
_FLINK_GROUP = re.compile(r"KafkaSource-?-[0-9]+|.*\bflink\b.*", re.IGNORECASE)
_FLINK_CLIENT = re.compile(r".*-enumerator-(consumer|admin-client)|.*\bflink\b.*", re.IGNORECASE)
_SPARK = re.compile(r"spark-(kafka-(source|relation)|executor)-.*|.*\bspark\b.*", re.IGNORECASE)
_REGISTRY_TOPIC = re.compile(r"_schemas([-_.].*)?|.*[-_.]schema-registry")
_MOST_NAMED = 6
_OFFSETS_TOPIC = "__consumer_offsets"
_LOOPBACK = ("127.", "::1", "localhost")


class ApplicationClass(StrEnum):
    """What an application does with topics; it decides the runbook of the cutover."""

    PURE_CONSUMER = "pure consumer"
    PURE_PRODUCER = "pure producer"
    READ_PROCESS_WRITE = "read-process-write"
    STREAMS = "streams"
    FLINK_OR_SPARK = "flink or spark"
    CONNECT = "connect"
    SCHEMA_REGISTRY = "schema registry"


class CutoverStyle(StrEnum):
    """How a batch with such applications is switched; the later a member stands, the more it asks of the owners."""

    CONSUMER_FIRST = "consumer-first"
    REGISTRY = "stop-drain-switch, read-only before"
    STOP_DRAIN_SWITCH = "stop-drain-switch"


STYLES: Mapping[ApplicationClass, CutoverStyle] = {
    ApplicationClass.PURE_CONSUMER: CutoverStyle.CONSUMER_FIRST,
    ApplicationClass.PURE_PRODUCER: CutoverStyle.CONSUMER_FIRST,
    ApplicationClass.CONNECT: CutoverStyle.CONSUMER_FIRST,
    ApplicationClass.SCHEMA_REGISTRY: CutoverStyle.REGISTRY,
    ApplicationClass.READ_PROCESS_WRITE: CutoverStyle.STOP_DRAIN_SWITCH,
    ApplicationClass.STREAMS: CutoverStyle.STOP_DRAIN_SWITCH,
    ApplicationClass.FLINK_OR_SPARK: CutoverStyle.STOP_DRAIN_SWITCH,
}

WARNINGS: Mapping[ApplicationClass, tuple[str, ...]] = {
    ApplicationClass.PURE_CONSUMER: (),
    ApplicationClass.PURE_PRODUCER: (),
    ApplicationClass.READ_PROCESS_WRITE: (
        "It writes what it read: stop it, drain its topics, then switch its reads and writes at once. What it writes to"
        " the target while the copy still runs breaks the order and the offset translation.",
    ),
    ApplicationClass.STREAMS: (
        "Stop it, drain its input and internal topics, then switch at once; its changelogs and repartition topics are"
        " not copied.",
        "Wipe its local state before it starts on the target: it rebuilds state from its input.",
    ),
    ApplicationClass.FLINK_OR_SPARK: (
        "Its offsets are in checkpoints or savepoints, which hold offsets of the source cluster: start it on the target"
        " with the state of its Kafka source dropped, from the group's translated offsets or from a time.",
    ),
    ApplicationClass.CONNECT: (
        "Its connectors move with their groups: stop them on the old Connect cluster before they start on the new one,"
        " under the same names, for a sink's group is called after it.",
    ),
    ApplicationClass.SCHEMA_REGISTRY: (
        "kferry never speaks to a schema registry. Before the cutover its owner sets it to mode READONLY and looks that"
        " clients register no new schema; the cutover then stops and drains it with the rest of its batch.",
        "When it is released, its owner points it at the target, and sets it to READWRITE once it answers from there.",
    ),
}


@dataclass(frozen=True, slots=True)
class ApplicationRule:
    """What the operator says of an application. All but `name` and `class_` are patterns."""

    name: str
    class_: ApplicationClass
    groups: tuple[str, ...] = ()
    transactional_ids: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Application:
    """An application with its class. `evidence` are sentences; `bound` are the topics that it ties together."""

    name: str
    class_: ApplicationClass
    groups: tuple[str, ...]
    transactional_ids: tuple[str, ...]
    reads: frozenset[str]
    writes: frozenset[str]
    evidence: tuple[str, ...]
    set_by_operator: bool = False
    bound: frozenset[str] = frozenset()

    @property
    def topics(self) -> frozenset[str]:
        return self.reads | self.writes

    @property
    def style(self) -> CutoverStyle:
        """The runbook that its cutover takes."""
        return STYLES[self.class_]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What its owner must know before the cutover."""
        return tuple(f"{self.name} ({self.class_.value}): {words}" for words in WARNINGS[self.class_])

    @property
    def binds(self) -> bool:
        """Whether it ties topics beyond what each of its groups and transactional ids does alone."""
        return len(self.bound) > 1

    @property
    def verb(self) -> str:
        if self.reads and self.writes:
            return "reads and writes"
        return "writes" if self.writes else "reads"

    @property
    def why_bound(self) -> str:
        return "as the operator says" if self.set_by_operator else (self.evidence[0] if self.evidence else "")


def applications_of(
    scan: Scan, rules: Sequence[ApplicationRule] = (), *, cut: Collection[str] = ()
) -> tuple[Application, ...]:
    """Every group, transactional id and seen producer of a scan in one application, sorted by name.

    Groups in `cut` stay in their application but no longer tie its topics together.
    """
    return _Classifier(scan, rules, frozenset(cut)).all()


def style_of(applications: Iterable[Application]) -> CutoverStyle:
    """The cutover that does for all of some applications: the most demanding one."""
    order = list(CutoverStyle)
    return max((one.style for one in applications), key=order.index, default=CutoverStyle.CONSUMER_FIRST)


class _Classifier:
    """Sorts the groups, transactional ids and producers of one scan into applications."""

    def __init__(self, scan: Scan, rules: Sequence[ApplicationRule], cut: frozenset[str]) -> None:
        self._scan = scan
        self._rules = rules
        self._cut = cut
        self._groups = {group.group_id: group for group in scan.groups}
        self._written = {one.transactional_id: one.topics for one in scan.transactional_ids or ()}
        self._topics = sorted(topic.name for topic in scan.topics)
        self._found: list[Application] = []
        self._taken_groups: set[str] = set()
        self._taken_ids: set[str] = set()

    def all(self) -> tuple[Application, ...]:
        for rule in self._rules:
            self._by_rule(rule)
        owned, clients = self._transactions_by_group(), self._internal_by_group()
        connect: dict[frozenset[str], list[Group]] = defaultdict(list)
        for group_id, group in sorted(self._groups.items()):
            if group_id in self._taken_groups:
                continue
            class_, evidence = _class_of(group, owned.get(group_id, ()), clients.get(group_id))
            hosts = _hosts(group) if class_ is ApplicationClass.CONNECT else frozenset()
            if hosts:
                connect[hosts].append(group)
            else:
                self._add(group_id, class_, [group_id], owned.get(group_id, ()), (), evidence)
        for hosts, groups in connect.items():
            self._connect(hosts, groups)
        self._transactions_alone()
        self._registries()
        self._producers()
        return tuple(sorted(self._found, key=lambda one: (one.name, one.class_)))

    def _add(
        self,
        name: str,
        class_: ApplicationClass,
        groups: Iterable[str],
        transactional_ids: Iterable[str],
        writes: Iterable[str],
        evidence: Sequence[str],
        *,
        set_by_operator: bool = False,
    ) -> None:
        members, ids = tuple(sorted(groups)), tuple(sorted(transactional_ids))
        self._taken_groups.update(members)
        self._taken_ids.update(ids)
        written = {topic for one in ids for topic in self._written[one]} - {_OFFSETS_TOPIC}
        written |= set(writes)
        ties = [self._groups[one].topics for one in members if one not in self._cut]
        ties += [self._written[one] for one in ids]
        bound = frozenset(written).union(*ties) - {_OFFSETS_TOPIC}
        if any(bound <= tie for tie in ties):
            bound = frozenset()  # that group or transactional id ties them already
        self._found.append(
            Application(
                name,
                class_,
                members,
                ids,
                frozenset(topic for one in members for topic in self._groups[one].topics),
                frozenset(written),
                tuple(evidence),
                set_by_operator,
                bound,
            )
        )

    def _by_rule(self, rule: ApplicationRule) -> None:
        groups = [one for one in self._groups if one not in self._taken_groups and matches_any(rule.groups, one)]
        ids = [one for one in self._written if one not in self._taken_ids and matches_any(rule.transactional_ids, one)]
        writes = [one for one in self._topics if matches_any(rule.writes, one)] if rule.writes else []
        if groups or ids or writes:
            evidence = ("set by the operator in rules.yml",)
            self._add(rule.name, rule.class_, groups, ids, writes, evidence, set_by_operator=True)

    def _transactions_by_group(self) -> dict[str, list[str]]:
        """The transactional ids that carry the name of a group, or of a member's client id, in front."""
        owner: dict[str, str] = {}
        for group_id, group in sorted(self._groups.items(), reverse=True):
            if group_id not in self._taken_groups:
                owner.update({member.client_id: group_id for member in group.members if len(member.client_id) > 3})
        owner.update({group_id: group_id for group_id in self._groups if group_id not in self._taken_groups})
        found: dict[str, list[str]] = defaultdict(list)
        for one in sorted(self._written):
            if one in self._taken_ids:
                continue
            mine = next((owner[start] for start in _starts(one) if start in owner), None)
            if mine is not None:
                found[mine].append(one)
        return found

    def _internal_by_group(self) -> dict[str, str]:
        """One changelog or repartition topic of each group that has some."""
        found: dict[str, str] = {}
        for topic in self._topics:
            if STREAMS_INTERNAL.fullmatch(topic):
                mine = next((start for start in _starts(topic) if start in self._groups), None)
                if mine is not None:
                    found.setdefault(mine, topic)
        return found

    def _connect(self, hosts: frozenset[str], groups: list[Group]) -> None:
        """Sink connectors whose tasks run on the same machines are taken for one Connect cluster."""
        ids = [group.group_id for group in groups]
        if len(ids) == 1:
            self._add(ids[0], ApplicationClass.CONNECT, ids, (), (), _class_of(groups[0], (), None)[1])
            return
        where = first_of(sorted(hosts), _MOST_NAMED)
        self._add(
            f"connect cluster on {where}",
            ApplicationClass.CONNECT,
            ids,
            (),
            (),
            (f"its connectors run on the same machines: {where}",),
        )

    def _transactions_alone(self) -> None:
        stems: dict[str, list[str]] = defaultdict(list)
        for one in sorted(self._written):
            if one not in self._taken_ids:
                stems[_NUMBERED.sub("", one) or one].append(one)
        for stem, ids in stems.items():
            if any(_OFFSETS_TOPIC in self._written[one] for one in ids):
                evidence = ("its transactions commit offsets of a group that its ids do not name",)
                self._add(stem, ApplicationClass.READ_PROCESS_WRITE, (), ids, (), evidence)
            elif _FLINK_GROUP.fullmatch(stem) or _SPARK.fullmatch(stem):
                self._add(stem, ApplicationClass.FLINK_OR_SPARK, (), ids, (), (f"transactional id {ids[0]}",))
            elif stem.startswith("connect-cluster-"):
                evidence = (f"transactional id {ids[0]} is that of a Connect cluster with exactly-once sources",)
                self._add(stem, ApplicationClass.CONNECT, (), ids, (), evidence)
            else:
                evidence = ("it writes in transactions, and no group has its name",)
                self._add(stem, ApplicationClass.PURE_PRODUCER, (), ids, (), evidence)

    def _registries(self) -> None:
        for topic in self._topics:
            if _REGISTRY_TOPIC.fullmatch(topic):
                evidence = (f"topic {topic} is where a schema registry keeps its schemas",)
                self._add(f"schema registry on {topic}", ApplicationClass.SCHEMA_REGISTRY, (), (), (topic,), evidence)

    def _producers(self) -> None:
        """Producers without a name: one application for each topic that nothing above writes and that grows."""
        written = {topic for one in self._found for topic in one.writes}
        ids: dict[int, set[str]] = defaultdict(set)
        for producer in self._scan.producers or ():
            ids[producer.producer_id].add(producer.topic)
        shared: dict[str, set[str]] = defaultdict(set)
        for topics in ids.values():
            for name in topics:
                shared[name] |= topics - {name}
        seen = {name for topics in ids.values() for name in topics}
        for topic in sorted(self._scan.topics, key=lambda one: one.name):
            if topic.name in written or topic.is_internal or STREAMS_INTERNAL.fullmatch(topic.name):
                continue
            if topic.name in seen:
                evidence = "its leaders know idempotent producers, which have no name"
                if shared[topic.name]:
                    # one process with one list of brokers: it can't write to both clusters by halves
                    evidence += f"; the same ones write {', '.join(sorted(shared[topic.name])[:_MOST_NAMED])}"
            elif topic.records_per_second:
                evidence = "it grows; its producers left no trace"
            else:
                continue
            self._add(f"producers of {topic.name}", ApplicationClass.PURE_PRODUCER, (), (), (topic.name,), (evidence,))


def _class_of(
    group: Group, transactions: Sequence[str], internal_topic: str | None
) -> tuple[ApplicationClass, tuple[str, ...]]:
    """The class of a group and the evidence for it."""
    class_, evidence = (
        _streams(group, transactions, internal_topic)
        or _framework(group)
        or (
            (ApplicationClass.READ_PROCESS_WRITE, f"transactional id {transactions[0]} carries its name")
            if transactions
            else (ApplicationClass.PURE_CONSUMER, "nothing shows that it writes")
        )
    )
    return class_, (evidence,)


def _streams(
    group: Group, transactions: Sequence[str], internal_topic: str | None
) -> tuple[ApplicationClass, str] | None:
    if group.kind is GroupKind.STREAMS:
        return ApplicationClass.STREAMS, "its clients or assignor are those of Kafka Streams"
    if internal_topic is not None:
        return ApplicationClass.STREAMS, f"topic {internal_topic} is its changelog or repartition topic"
    name = group.group_id
    for one in transactions:
        if one.startswith(f"{name}-") and _STREAMS_TRANSACTION.fullmatch(one[len(name) :]):
            return ApplicationClass.STREAMS, f"transactional id {one} is formed as Kafka Streams does"
    return None


def _framework(group: Group) -> tuple[ApplicationClass, str] | None:
    name, clients = group.group_id, [member.client_id for member in group.members]
    if group.kind is GroupKind.CONNECT or any(client.startswith("connector-consumer-") for client in clients):
        return ApplicationClass.CONNECT, "its id or clients are those of a sink connector"
    if name == "schema-registry":
        return ApplicationClass.SCHEMA_REGISTRY, "its id is that of a schema registry"
    for pattern, product in ((_FLINK_GROUP, "Flink"), (_SPARK, "Spark")):
        if pattern.fullmatch(name):
            return ApplicationClass.FLINK_OR_SPARK, f"its id is one that {product} makes"
    for pattern, product in ((_FLINK_CLIENT, "Flink"), (_SPARK, "Spark")):
        client = next((one for one in clients if pattern.fullmatch(one)), None)
        if client is not None:
            return ApplicationClass.FLINK_OR_SPARK, f"client id {client} is one that {product} makes"
    return None


def _starts(name: str) -> Iterable[str]:
    """A name, and what stands before each of its separators, the longest first."""
    yield name
    for index in range(len(name) - 1, 0, -1):
        if name[index] in "-_.":
            yield name[:index]


def _hosts(group: Group) -> frozenset[str]:
    """The machines of a group's members; none where any is this machine's own, which says nothing."""
    hosts = frozenset(member.host.lstrip("/") for member in group.members)
    return frozenset() if any(host == "" or host.startswith(_LOOPBACK) for host in hosts) else hosts
