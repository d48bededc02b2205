"""What is done to machines: measuring them, collecting from them, leaving them as they were."""

from __future__ import annotations

import json
import time
from pathlib import Path

from kferry.ansible.runs import PlayResult
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import ClusterConfig, Role, Scan, TaskState
from kferry.domain.runbook import OperationKind
from kferry.engine import fleet
from kferry.engine.context import Services, StepContext
from kferry.engine.placement import PORTS_LOOKED_AT
from kferry.engine.steps import Check, Step, step
from kferry.kafka.addresses import address
from kferry.kafka.secrets import value_of
from kferry.store import codec
from kferry.store.fleet_files import BrokerSecurity, FleetRequest, write_request
from kferry.store.hosts_file import HostEntry, load_hosts
from kferry.store.journal import now_ms

_SAMPLED_TOPICS = 20


@step((OperationKind.FLEET_CHECK, "measure"))
class Measure(Step):
    """Run preflight.yml and judge what it measured; a machine that failed is named, the others go on."""

    acts_always = True

    def act(self, ctx: StepContext) -> None:
        measure(ctx)

    def check(self, ctx: StepContext) -> Check:
        hosts = fleet.document(ctx.services)["hosts"]
        usable = [host["name"] for host in hosts if host["usable"]]
        reasons = {host["name"]: host["reasons"] for host in hosts if not host["usable"]}
        return Check(True, {"usable": usable, "left_out": reasons})


def measure(ctx: StepContext) -> None:
    """Measure every machine and keep the judgement as the document `fleet`."""
    services = ctx.services
    began_ms = now_ms()
    write_request(services.layout, _request(services))
    result = services.plays.run("preflight.yml", task="", operation_id=ctx.operation_id, step=ctx.step, partly=True)
    hosts = load_hosts(services.layout)
    body = {
        "checked_at_ms": now_ms(),
        "hosts": fleet.judge_all(services, hosts, since_ms=began_ms, failures=_failures(result)),
    }
    services.journal.put_document("fleet", "", json.dumps(body))


def _failures(result: PlayResult) -> dict[str, str]:
    """The first message of each machine that failed or could not be reached."""
    found: dict[str, str] = {}
    for failure in result.failures:
        found.setdefault(failure.host, failure.message)
    return found


def _request(services: Services) -> FleetRequest:
    """What the machines are to probe: every advertised broker, as the clusters name them from here."""
    brokers: dict[str, list[str]] = {}
    security: dict[str, BrokerSecurity] = {}
    for role in Role:
        try:
            config = services.clusters.config(role)
        except KferryError:
            continue  # machines can be checked before the clusters are known
        try:
            facts = services.clusters.admin(role).facts()
            brokers[role.value] = [address(broker.host, broker.port) for broker in facts.brokers]
        except KferryError:
            # not reachable from here; perhaps it is from there
            brokers[role.value] = [server.strip() for server in config.bootstrap_servers.split(",")]
        security[role.value] = _security(config)
    settings = services.settings().settings
    first = settings.rest_port_first or settings.remote_port_first
    last = settings.rest_port_last or first + PORTS_LOOKED_AT - 1
    return FleetRequest(brokers, security, range(first, last + 1), {Role.SOURCE.value: _samples(services)})


def _samples(services: Services) -> list[str]:
    """The source's largest topics, as far as the last scan knows: there is something to read on every broker."""
    body = services.journal.document("scan", Role.SOURCE.value)
    if body is None:
        return []
    ordinary = [topic for topic in codec.load(Scan, body).topics if not topic.is_internal and topic.record_span]
    ordinary.sort(key=lambda topic: (topic.size_bytes or 0, topic.record_span or 0), reverse=True)
    return [topic.name for topic in ordinary[:_SAMPLED_TOPICS]]


def _security(config: ClusterConfig) -> BrokerSecurity:
    return BrokerSecurity(
        config.security_protocol,
        config.sasl_mechanism,
        value_of(config.sasl_username) if config.sasl_username else None,
        config.tls_name_waiver is None,
    )


@step((OperationKind.DIAGNOSE, "collect"))
class Collect(Step):
    """Run diagnostics.yml; the archive is named in the evidence and in the document `diagnostics`."""

    def _path(self, ctx: StepContext) -> Path:
        return ctx.layout.reports / f"{ctx.operation_id}.tar.gz"

    def check(self, ctx: StepContext) -> Check:
        path = self._path(ctx)
        return Check(path.exists(), {"path": str(path), "bytes": path.stat().st_size if path.exists() else None})

    def act(self, ctx: StepContext) -> None:
        path = self._path(ctx)
        result = ctx.services.plays.run(
            "diagnostics.yml",
            task=ctx.operation.subject,
            operation_id=ctx.operation_id,
            step=ctx.step,
            options={"kferry_bundle": str(path)},
            partly=True,
        )
        if not path.exists():
            first = result.failures[0] if result.failures else None
            raise KferryError(
                "No diagnostics could be collected.",
                cause=f"{first.host}: {first.message}" if first else "No machine answered.",
                next_step="See the run's log; `kferry fleet check` names what is wrong with the machines.",
                log=str(ctx.layout.runs),
            )
        body = {
            "path": str(path),
            "bytes": path.stat().st_size,
            "made_at_ms": now_ms(),
            "hosts": [host.name for host in load_hosts(ctx.layout)],
            "failed": _failures(result),
        }
        ctx.journal.put_document("diagnostics", "", json.dumps(body))


@step((OperationKind.TEARDOWN_HOST, "teardown"))
class Teardown(Step):
    """Run teardown.yml on one machine that carries no worker of a living task."""

    acts_always = True

    def act(self, ctx: StepContext) -> None:
        name = ctx.operation.subject
        used_by = tasks_on(ctx.services, name)
        if used_by:
            raise in_use(name, used_by)
        options = {"kferry_keep_logs": "true"} if ctx.args.get("keep_logs") else {}
        ctx.services.plays.run(
            "teardown.yml", task="", operation_id=ctx.operation_id, step=ctx.step, limit=name, options=options
        )
        body = fleet.document(ctx.services)
        body["hosts"] = [host for host in body["hosts"] if host["name"] != name]  # what was measured is true no more
        ctx.journal.put_document("fleet", "", json.dumps(body))

    def check(self, ctx: StepContext) -> Check:
        return Check(True, {"machine": ctx.operation.subject, "at": time.strftime("%Y-%m-%dT%H:%M:%S%z")})


def tasks_on(services: Services, host: str) -> list[str]:
    """Living tasks with a worker on a machine."""
    return sorted(
        task.spec.name
        for task in services.tasks.all()
        if task.state is not TaskState.DELETED
        and any(worker.host == host for worker in (*task.spec.workers, *task.spec.leaving))
    )


def in_use(host: str, tasks: list[str]) -> KferryError:
    """The refusal to tear down a machine that works."""
    return KferryError(
        f"{host} carries workers of {', '.join(tasks)}.",
        next_step="Move them away first (`kferry task scale`), or delete the migration task.",
        kind=ErrorKind.NOT_READY,
    )


def known_host(services: Services, name: str) -> HostEntry:
    """A machine of hosts.yml. Raises KferryError for a name that is not there."""
    hosts = {host.name: host for host in load_hosts(services.layout)}
    if name not in hosts:
        raise KferryError(
            f"There is no machine {name!r} in inventory/hosts.yml.",
            next_step=f"Machines: {', '.join(hosts) or 'none'}.",
            kind=ErrorKind.USAGE,
        )
    return hosts[name]
