"""Everything the Plan screen knows, put together off the loop: plan, scan, sizes, and what the plan tears apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakKeyDictionary

from kferry.client import files, plan_edit
from kferry.client.session import Session
from kferry.domain.applications import Application
from kferry.domain.errors import KferryError
from kferry.domain.model import Batch, Group, Plan, Scan, Topic
from kferry.domain.planning.estimate import Estimate, Estimator, Rates
from kferry.domain.planning.graph import Bridge, Graph
from kferry.domain.planning.rules import PlanningRules
from kferry.domain.planning.violations import violations_in
from kferry.store.views import BatchView, PlanView

# The key of the pile of what stays behind; no batch can be called so.
LEFT_OUT = "\0left out"


def topic_key(name: str) -> str:
    """The key of a topic's card, in whichever batch it is."""
    return f"topic\0{name}"


def group_key(group_id: str) -> str:
    return f"group\0{group_id}"


def of_key(key: str) -> tuple[str, str]:
    """Kind ("topic" or "group") and name of a card."""
    kind, _, name = key.partition("\0")
    return kind, name


@dataclass(frozen=True, slots=True)
class Violation:
    """Something the plan tears apart, as a sentence, with the cards and batches it is about."""

    words: str
    cards: frozenset[str]
    batches: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class ScanIndex:
    """A scan by name, with its graph under the operator's rules. `readers` are the groups of each topic, `writers` its
    transactional ids, `applications` what each group belongs to."""

    scan: Scan
    graph: Graph
    topics: Mapping[str, Topic]
    groups: Mapping[str, Group]
    readers: Mapping[str, tuple[str, ...]]
    writers: Mapping[str, tuple[str, ...]]
    applications: Mapping[str, Application]
    _bridges: list[tuple[Bridge, ...]] = field(default_factory=list)
    rules_error: KferryError | None = None
    """Why rules.yml could not be read; then no rules hold."""

    @classmethod
    def of(cls, scan: Scan, rules: PlanningRules | None = None, rules_error: KferryError | None = None) -> ScanIndex:
        readers: dict[str, list[str]] = defaultdict(list)
        writers: dict[str, list[str]] = defaultdict(list)
        for group in scan.groups:
            for topic in sorted(group.topics):
                readers[topic].append(group.group_id)
        for one in scan.transactional_ids or ():
            for topic in sorted(one.topics):
                writers[topic].append(one.transactional_id)
        graph = Graph(scan, rules)
        return cls(
            scan,
            graph,
            {topic.name: topic for topic in scan.topics},
            {group.group_id: group for group in scan.groups},
            {name: tuple(found) for name, found in readers.items()},
            {name: tuple(found) for name, found in writers.items()},
            {name: one for one in graph.applications for name in one.groups},
            rules_error=rules_error,
        )

    def bridges(self) -> tuple[Bridge, ...]:
        """The bridges of the graph, looked for once."""
        if not self._bridges:
            self._bridges.append(self.graph.bridges())
        return self._bridges[0]


@dataclass(frozen=True, slots=True, eq=False)
class PlanFacts:
    """What is shown. `plan` is None where there is none or it cannot be read, `index` where nothing was scanned."""

    view: PlanView
    plan: Plan | None = None
    index: ScanIndex | None = None
    by_hand: bool = False
    homes: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[Violation, ...] = ()
    by_batch: Mapping[str, tuple[Violation, ...]] = field(default_factory=dict)
    figures: Mapping[str, Estimate] = field(default_factory=dict)

    @property
    def newer_scan(self) -> Scan | None:
        """The scan, where it is another than the plan was made from."""
        if self.plan is None or self.index is None or self.index.scan.scan_id == self.plan.scan_id:
            return None
        return self.index.scan

    def batch(self, name: str) -> Batch | None:
        return self.plan.batch(name) if self.plan is not None else None

    def shown(self, name: str) -> BatchView | None:
        return next((batch for batch in self.view.batches if batch.name == name), None)

    def violations_of(self, batch: str) -> tuple[Violation, ...]:
        return self.by_batch.get(batch, ())


class FactsReader:
    """Reads the facts of one screen; what has not changed is not read or worked out again. Used by one thread."""

    def __init__(self) -> None:
        self._scan_key: int | None = None
        self._scan: Scan | None = None
        self._index_key: tuple[object, ...] = ()
        self._index: ScanIndex | None = None
        self._key: tuple[object, ...] = ()
        self._facts: PlanFacts | None = None
        self._figures: dict[tuple[str, ...], Estimate] = {}
        self._estimator: tuple[str, Rates, Estimator] | None = None

    def read(self, session: Session) -> PlanFacts:
        index = self.index(session)
        view = session.plan_view()
        key = (view, self._index_key)
        if self._facts is None or key != self._key:
            self._facts, self._key = self._assemble(session, view, index), key
        return self._facts

    def index(self, session: Session) -> ScanIndex | None:
        """The newest scan of the source by name, with the rules as they stand; None where there is no scan."""
        rows = session.reader.rows("select at_ms from document where kind='scan' and subject='source'")
        scan_key = rows[0]["at_ms"] if rows else None
        if scan_key != self._scan_key or (rows and self._scan is None):
            self._scan, self._scan_key = (session.reader.scan("source") if rows else None), scan_key
            self._estimator = None
        key = (scan_key, _signature(session.layout.rules))
        if key != self._index_key:
            self._index = _index(session, self._scan) if self._scan is not None else None
            self._index_key = key
        return self._index

    def _assemble(self, session: Session, view: PlanView, index: ScanIndex | None) -> PlanFacts:
        from kferry.store import plan_file

        if view.error or not view.revision:
            return PlanFacts(view, index=index)
        try:
            plan: Plan = files.read_plan(session.layout, view.revision)
        except KferryError as error:  # it was changed for the worse a moment ago
            return PlanFacts(PlanView(view.revision, (), error=error.as_dict()), index=index)
        by_hand = plan_file.edited_by_hand(session.layout)
        homes = homes_of(plan)
        if index is None:
            return PlanFacts(view, plan, by_hand=by_hand, homes=homes)
        violations = violations_of(plan, index, homes)
        by_batch: dict[str, list[Violation]] = defaultdict(list)
        for one in violations:
            for name in one.batches:
                by_batch[name].append(one)
        return PlanFacts(
            view,
            plan,
            index,
            by_hand,
            homes,
            violations,
            {name: tuple(found) for name, found in by_batch.items()},
            self._all_figures(session, plan, index),
        )

    def _all_figures(self, session: Session, plan: Plan, index: ScanIndex) -> dict[str, Estimate]:
        """An edit changes one batch or two: the others' figures are kept."""
        rates = plan_edit.rates(session)
        if self._estimator is None or self._estimator[:2] != (index.scan.scan_id, rates):
            self._estimator = (index.scan.scan_id, rates, Estimator(index.scan, rates))
            self._figures = {}
        estimator = self._estimator[2]
        keys = {batch.name: (*batch.topics, "", *batch.groups) for batch in plan.batches}
        self._figures = {
            keys[batch.name]: self._figures.get(keys[batch.name]) or estimator.of(batch) for batch in plan.batches
        }
        return {name: self._figures[key] for name, key in keys.items()}


def _signature(path: Path) -> tuple[int, int] | None:
    """What changes when a file is written; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size)


def _index(session: Session, scan: Scan) -> ScanIndex:
    from kferry.store.rules_file import load_rules

    try:
        return ScanIndex.of(scan, load_rules(session.layout))
    except KferryError as error:
        return ScanIndex.of(scan, rules_error=error)


def facts_reader(session: Session) -> FactsReader:
    """The one reader of a session: a scan of 100,000 partitions is held once, for the board and the graph."""
    if session not in _READERS:
        _READERS[session] = FactsReader()
    return _READERS[session]


_READERS: WeakKeyDictionary[Session, FactsReader] = WeakKeyDictionary()


def homes_of(plan: Plan) -> dict[str, str]:
    """The batch of each card."""
    homes = {topic_key(name): batch.name for batch in plan.batches for name in batch.topics}
    return homes | {group_key(name): batch.name for batch in plan.batches for name in batch.groups}


def violations_of(plan: Plan, index: ScanIndex, homes: Mapping[str, str]) -> tuple[Violation, ...]:
    """What the plan breaks, each with the cards and batches that it is about."""
    bound = {binding.name: binding.topics for binding in index.graph.bindings}
    names = {batch.name for batch in plan.batches}
    found = []
    for about, words in violations_in(plan, index.graph):
        cards = {group_key(about), *(topic_key(name) for name in (about, *bound.get(about, ())))}
        own = homes.get(group_key(about))
        # of what a group reads, what moves with it is not torn from it
        cards = {card for card in cards if card in homes and (homes[card] != own or card == group_key(about))}
        batches = {homes[card] for card in cards} | ({about} & names if not cards else set())
        found.append(Violation(words, frozenset(cards), frozenset(batches)))
    return tuple(found)
