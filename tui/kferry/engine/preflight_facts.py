"""Measuring what preflight judges: scans and plan from the journal and files, hosts and rights now."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from kferry.ansible.dist import version_of_archive
from kferry.domain.acls import AclRule
from kferry.domain.errors import KferryError
from kferry.domain.heap import LEAST_HEAP_BYTES
from kferry.domain.model import BatchPhase, Role, Scan, TaskState, Topic
from kferry.domain.planning.estimate import Rates
from kferry.domain.preflight import OwnDistribution, PreflightFacts, PreflightSettings, Probe
from kferry.domain.scan_diff import ScanDiff
from kferry.engine import access, fleet, preflight_hosts
from kferry.engine.context import Services
from kferry.engine.granting import needed_rules
from kferry.engine.installation import of_task
from kferry.engine.phases import batch_phase
from kferry.kafka import rights
from kferry.store import codec
from kferry.store.access_file import AccessFile, ScopeWord, load_access
from kferry.store.copy_rates import copy_rates
from kferry.store.journal import now_ms
from kferry.store.plan_file import load_plan
from kferry.store.queries import Reader
from kferry.store.rules_file import load_rules

_ACCESS_CHANGES = ("acl", "quota", "scram_user")
_TOPIC_CHANGES = ("topic", "topic_partitions", "topic_config")
_IAM_JAR = re.compile(r"extras/msk-iam/[^/]+\.jar$")


def gather(services: Services) -> PreflightFacts:
    """All facts as they are now. A cluster that can't be reached is a fact too, not an error."""
    settings = services.settings().settings
    scans: dict[Role, Scan | None] = {}
    errors: dict[Role, str] = {}
    unconfigured: set[Role] = set()
    probes: list[Probe] = []
    for role in Role:
        body = services.journal.document("scan", role.value)
        scans[role] = codec.load(Scan, body) if body else None
        try:
            checked = services.clusters.admin(role).check()
            probes += preflight_hosts.controller_probes(role, checked.as_body()["lines"])
            if checked.error is not None:
                errors[role] = str(checked.error)
        except KferryError as error:
            errors[role] = str(error)
            unconfigured |= set() if _is_configured(services, role) else {role}
    hosts, hosts_error = preflight_hosts.hosts(services, settings.rest_port_first, settings.rest_port_last)
    tasks = services.tasks.all()
    running = [task for task in tasks if task.state is not TaskState.DELETED]
    own = [
        task.spec
        for task in tasks
        if task.state is not TaskState.DELETED or batch_phase(services.journal, task.spec.batch) is BatchPhase.FINISHED
    ]
    rates = _rates(services, settings.assumed_copy_bytes_per_second)
    diffs = _differences(services)
    access_file, access_error = _access_file(services)
    found = PreflightFacts(
        now_ms=now_ms(),
        source=scans[Role.SOURCE],
        target=_target(services, scans[Role.TARGET], errors),
        plan=load_plan(services.layout) if services.layout.plan.exists() else None,
        hosts=hosts,
        hosts_error=hosts_error,
        copy_bytes_per_second=rates.bytes_per_second_per_worker,
        copy_speed_measured=bool(rates.measured_in),
        workers_per_task=max(1, min(settings.max_workers_per_task, len(hosts or (None,)))),
        workers_of={task.spec.batch: len(task.spec.workers) for task in running if task.spec.workers},
        settings=PreflightSettings(
            retention_hold=settings.retention_hold,
            heap_bytes=settings.heap_bytes or LEAST_HEAP_BYTES,
            rest_port_first=settings.rest_port_first,
            rest_port_last=settings.rest_port_last,
        ),
        errors=errors,
        rights=_rights(services, errors),
        granted=_granted(services, errors),
        clusters=tuple(services.clusters.config(role) for role in Role if role not in unconfigured),
        tasks_by_machine=_tasks_by_machine(services),
        has_iam_jar=_has_iam_jar(services),
        distribution=_own_distribution(services),
        owned_topics=frozenset(name for spec in own for name in spec.topics),
        owned_groups=frozenset(name for spec in own for name in spec.groups),
        migration_id=services.settings().migration_id,
        probes=(*probes, *preflight_hosts.worker_probes(services)),
        clock_offsets_seconds=preflight_hosts.clock_offsets_seconds(services),
        recreated={role: frozenset(diff.topics_recreated) for role, diff in diffs.items()},
        replaced=frozenset(role for role, diff in diffs.items() if diff.another_cluster),
        machines_checked_at_ms=fleet.document(services).get("checked_at_ms"),
        heartbeats_are_ours=services.journal.document("heartbeats_are_ours", "") is not None,
        rules=load_rules(services.layout),
        mapping=access_file.mapping,
        wanted_users={name: user.wanted for name, user in access_file.users.items()},
        access_of_all=access_file.scope is ScopeWord.ALL,
        access_error=access_error,
        own_principals=_own_principals(services),
    )
    return found if settings.heap_bytes else preflight_hosts.with_own_heap(found)


def _target(services: Services, scan: Scan | None, errors: Mapping[Role, str]) -> Scan | None:
    """The scan of the target, with topics and access that kferry changed since as they are now."""
    if scan is None or Role.TARGET in errors:
        return scan
    since = [
        row for row in services.journal.changes() if row.scope == Role.TARGET.value and row.at_ms >= scan.taken_at_ms
    ]
    topics = {row.name for row in since if row.resource in _TOPIC_CHANGES}
    try:
        if topics:
            scan = with_topics(scan, topics, services.clusters.admin(Role.TARGET).topics(sorted(topics)))
        if any(row.resource in _ACCESS_CHANGES for row in since):
            scan = replace(scan, access=access.read_side(services, Role.TARGET).access)
    except KferryError:
        pass  # what was not read anew is as old as the scan says it is
    return scan


def _access_file(services: Services) -> tuple[AccessFile, str]:
    """access.yml, or why it can't be read."""
    try:
        return load_access(services.layout), ""
    except KferryError as error:
        return AccessFile(), str(error)


def _own_principals(services: Services) -> frozenset[str]:
    try:
        return access.own_principals(services)
    except KferryError:
        return frozenset()  # a cluster is not described: another finding tells


def _differences(services: Services) -> dict[Role, ScanDiff]:
    """Per cluster the newest scan against the one before, where there are two."""
    bodies = {role: services.journal.document("scan_diff", role.value) for role in Role}
    return {role: codec.load(ScanDiff, body) for role, body in bodies.items() if body}


def with_topics(scan: Scan, asked: Iterable[str], now: Mapping[str, Topic]) -> Scan:
    """A scan with these topics as they are now; those that are gone are left out."""
    renewed = set(asked)
    kept = [topic for topic in scan.topics if topic.name not in renewed]
    return replace(scan, topics=tuple(sorted([*kept, *now.values()], key=lambda topic: topic.name)))


def _rights(services: Services, errors: Mapping[Role, str]) -> dict[Role, tuple[str, ...] | None]:
    result: dict[Role, tuple[str, ...] | None] = {}
    for role in Role:
        if role not in errors:
            try:
                result[role] = services.clusters.admin(role).rights()
            except KferryError:
                result[role] = None
    return result


def _is_configured(services: Services, role: Role) -> bool:
    try:
        services.clusters.config(role)
    except KferryError:
        return False
    return True


def _granted(services: Services, errors: Mapping[Role, str]) -> dict[Role, dict[AclRule, bool | None] | None]:
    """Per cluster whether each right that the plan needs is there; nothing where it could not be asked."""
    result: dict[Role, dict[AclRule, bool | None] | None] = {}
    for role in Role if services.layout.plan.exists() else ():
        if role in errors:
            continue
        try:
            admin = services.clusters.admin(role)
            result[role] = rights.measure(admin.connection, needed_rules(services, role))
        except KferryError:
            result[role] = None
    return result


def _tasks_by_machine(services: Services) -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = {}
    for task in services.tasks.all():
        if task.state is not TaskState.DELETED:
            for worker in task.spec.workers:
                found.setdefault(worker.host, set()).add(task.spec.name)
    return {machine: tuple(sorted(names)) for machine, names in found.items()}


def _has_iam_jar(services: Services) -> bool | None:
    """Whether the distribution of the settings brings the library for AWS IAM; kferry's own does."""
    wanted = services.settings().settings.distribution
    if wanted.source == "maven":
        return True
    archive = of_task(services.journal, "")["kafka"].get("archive")
    if not archive or not Path(archive).is_file():
        return None
    with tarfile.open(archive) as tar:
        return any(_IAM_JAR.search(member.name) for member in tar)


def _own_distribution(services: Services) -> OwnDistribution | None:
    """The operator's own Kafka archive, as far as it can be looked at without fetching it; None: kferry's own."""
    wanted = services.settings().settings.distribution
    if wanted.source == "maven":
        return None
    location = wanted.path or ""
    if wanted.source == "file":
        return OwnDistribution(location, version_of_archive(Path(location).expanduser()))
    return OwnDistribution(location, of_task(services.journal, "")["kafka"].get("version"))


def _rates(services: Services, assumed_bytes_per_second: float) -> Rates:
    """The speed of one worker, as the planner knows it."""
    reader = Reader(services.layout.root)
    try:
        return copy_rates(reader, assumed_bytes_per_second=assumed_bytes_per_second)
    finally:
        reader.close()
