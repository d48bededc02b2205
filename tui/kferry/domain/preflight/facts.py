"""What preflight judges: two scans, the plan, the machines and the settings that matter, all measured before."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from kferry.domain.access import Access
from kferry.domain.access_items import AccessPlan, Side, WantedUser
from kferry.domain.access_mapping import PrincipalMapping
from kferry.domain.access_plan import plan_access
from kferry.domain.access_scope import AccessScope
from kferry.domain.acls import AclRule
from kferry.domain.errors import KferryError
from kferry.domain.model import ClusterConfig, Group, Plan, Role, Scan, Topic, WorkerHost
from kferry.domain.planning.rules import PlanningRules
from kferry.domain.planning.scope import group_key, left_out_of


@dataclass(frozen=True, slots=True)
class PreflightSettings:
    """The settings of kferry.yml that a check asks for."""

    retention_hold: bool = True
    heap_bytes: int = 536_870_912
    rest_port_first: int = 0
    rest_port_last: int = 0
    scan_max_age_ms: int = 86_400_000


CONTROLLER = "this machine"  # the vantage point of the engine itself


@dataclass(frozen=True, slots=True)
class Probe:
    """What one machine saw of one broker, or of the way to a cluster: the last step it reached.

    `ok` None = it could not be told; `is_warning`: it works, but for what the words say; `bytes_per_second` from there
    (None = not measured): to a broker of the target, from one of the source.
    """

    vantage: str
    role: Role
    server: str
    step: str
    ok: bool | None
    words: str
    seconds: float | None = None
    is_warning: bool = False
    bytes_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class OwnDistribution:
    """A Kafka archive of the operator's own, in place of kferry's; its version is None before it was looked at."""

    location: str
    kafka_version: str | None


@dataclass(frozen=True)
class PreflightFacts:
    """Everything the checks may look at. None = not measured.

    `errors` says why a cluster has no scan. `hosts` None = the inventory could not be read (`hosts_error` says why).
    `rights` are the operations that a cluster allows kferry's principal on the cluster itself (None = it does not
    tell; no entry = not asked). `owned_topics` and `owned_groups` are those that running migration tasks copy
    already: finding them on the target is no surprise. `granted` says per right that the plan needs whether it was
    found to be there. `has_iam_jar` is about the distribution that workers get. `probes` are the brokers as each
    machine saw them (`vantage`), `clock_offsets_seconds` how far each machine's clock is from ours.
    `heartbeats_are_ours`: the target's topic of that name was made by kferry's connectors. `recreated` are topics that
    the last scan found to be others than the scan before, under the same name; `replaced` are clusters that answer
    with another id than before.
    """

    now_ms: int
    source: Scan | None = None
    target: Scan | None = None
    plan: Plan | None = None
    hosts: tuple[WorkerHost, ...] | None = None
    hosts_error: str = ""
    copy_bytes_per_second: float | None = None  # of one worker, as the planner reckons
    copy_speed_measured: bool = False
    workers_per_task: int = 1
    workers_of: Mapping[str, int] = field(default_factory=dict)  # batch: the workers that its task has already
    settings: PreflightSettings = field(default_factory=PreflightSettings)
    errors: Mapping[Role, str] = field(default_factory=dict)
    rights: Mapping[Role, tuple[str, ...] | None] = field(default_factory=dict)
    granted: Mapping[Role, Mapping[AclRule, bool | None] | None] = field(default_factory=dict)
    clusters: tuple[ClusterConfig, ...] = ()
    tasks_by_machine: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    has_iam_jar: bool | None = None
    distribution: OwnDistribution | None = None  # None: kferry's own
    owned_topics: frozenset[str] = frozenset()
    owned_groups: frozenset[str] = frozenset()
    migration_id: str = "xxxxxx"
    probes: tuple[Probe, ...] = ()
    clock_offsets_seconds: Mapping[str, float | None] = field(default_factory=dict)
    machines_checked_at_ms: int | None = None  # the last check of remote machines
    heartbeats_are_ours: bool = False
    recreated: Mapping[Role, frozenset[str]] = field(default_factory=dict)
    replaced: frozenset[Role] = frozenset()
    rules: PlanningRules = field(default_factory=PlanningRules)
    mapping: PrincipalMapping = field(default_factory=PrincipalMapping)  # what access.yml says
    wanted_users: Mapping[str, WantedUser] = field(default_factory=dict)
    access_of_all: bool = False  # of everything, not only of what moves
    access_error: str = ""  # why access.yml can't be read
    own_principals: frozenset[str] = frozenset()

    @cached_property
    def access_plan(self) -> AccessPlan | KferryError:
        """What access the target lacks, all of it where it does not tell; or what is wrong with the mapping."""
        if self.source is None or self.target is None:
            return AccessPlan(())
        there = self.target.access
        known = Access(there.acls or (), there.quotas or (), there.scram_users or ())
        moving = AccessScope(
            frozenset(topic.name for topic in self.topics), frozenset(group.group_id for group in self.groups)
        )
        try:
            return plan_access(
                Side(self.source.access),
                Side(known),
                self.mapping,
                AccessScope() if self.access_of_all else moving,
                users=self.wanted_users,
                own=self.own_principals,
            )
        except KferryError as error:
            return error

    def cluster(self, role: Role) -> ClusterConfig | None:
        """How a cluster is reached; None where clusters.yml does not name it."""
        return next((one for one in self.clusters if one.role is role), None)

    def version(self, role: Role) -> tuple[int, int] | None:
        """A lower bound of a cluster's version."""
        scan = self.scan(role)
        return release(scan.cluster.kafka_version) if scan is not None else None

    def default(self, role: Role, key: str) -> str | None:
        """A broker config of a cluster; None where it is not known."""
        scan = self.scan(role)
        return scan.cluster.broker_configs.get(key) if scan is not None else None

    @property
    def remote_hosts(self) -> tuple[WorkerHost, ...]:
        return tuple(host for host in self.hosts or () if not host.is_local)

    def scan(self, role: Role) -> Scan | None:
        return self.source if role is Role.SOURCE else self.target

    @cached_property
    def left_out(self) -> Mapping[str, str]:
        """What stays behind: by the plan, or by the planner's rules while there is no plan."""
        if self.plan is not None:
            return self.plan.left_out
        return left_out_of(self.source, self.rules) if self.source is not None else {}

    @cached_property
    def topics(self) -> tuple[Topic, ...]:
        """The source's topics that are to move, by name."""
        if self.source is None:
            return ()
        planned = None if self.plan is None else {name for batch in self.plan.batches for name in batch.topics}
        return tuple(
            sorted(
                (
                    topic
                    for topic in self.source.topics
                    if (topic.name not in self.left_out if planned is None else topic.name in planned)
                ),
                key=lambda topic: topic.name,
            )
        )

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The source's groups that are to move, by id."""
        if self.source is None:
            return ()
        planned = None if self.plan is None else {name for batch in self.plan.batches for name in batch.groups}
        return tuple(
            sorted(
                (
                    group
                    for group in self.source.groups
                    if (
                        group_key(group.group_id) not in self.left_out if planned is None else group.group_id in planned
                    )
                ),
                key=lambda group: group.group_id,
            )
        )

    @cached_property
    def source_topics(self) -> Mapping[str, Topic]:
        return {topic.name: topic for topic in self.source.topics} if self.source else {}

    @cached_property
    def target_topics(self) -> Mapping[str, Topic]:
        return {topic.name: topic for topic in self.target.topics} if self.target else {}

    @cached_property
    def target_groups(self) -> Mapping[str, Group]:
        return {group.group_id: group for group in self.target.groups} if self.target else {}

    @cached_property
    def units(self) -> tuple[tuple[str, tuple[Topic, ...]], ...]:
        """What is copied at one time: each batch of the plan, or all topics while there is none."""
        if self.plan is None:
            return (("everything", self.topics),) if self.topics else ()
        found = []
        for batch in self.plan.batches:
            members = tuple(self.source_topics[name] for name in batch.topics if name in self.source_topics)
            if members:
                found.append((f"batch {batch.name}", members))
        return tuple(found)


def release(text: str | None) -> tuple[int, int] | None:
    """Major and minor number of a version; None where it is none."""
    match = re.match(r"(\d+)\.(\d+)", text or "")
    return (int(match[1]), int(match[2])) if match else None
