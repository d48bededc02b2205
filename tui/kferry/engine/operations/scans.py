"""The steps of a scan: read one cluster, show what is found while it is found, keep it, and tell what has changed."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence

from kferry.domain import scan_diff
from kferry.domain.errors import KferryError
from kferry.domain.model import Group, Role, Scan, Topic
from kferry.domain.runbook import OperationKind
from kferry.domain.scan_progress import ScanMeter
from kferry.engine.context import StepContext
from kferry.engine.steps import Check, Step, step
from kferry.store import codec, scan_files

log = logging.getLogger(__name__)

_PROGRESS_SECONDS = 0.5
_PARTIAL_SECONDS = 2.0
# Writing a big scan takes its time: it gets this share of the whole at most.
_PARTIAL_SHARE = 0.1
# What is older than this is read anew, whatever was asked.
_RESUMABLE_MS = 6 * 3_600_000


class _ScanOne(Step):
    acts_always = True
    role: Role

    def act(self, ctx: StepContext) -> None:
        wanted = ctx.args.get("role")
        if wanted and wanted != self.role.value:
            ctx.notes["summary"] = {"left_out": f"only the {wanted} was to be scanned"}
            return
        started = time.monotonic()
        resumed, before = self._resumed(ctx), self._before(ctx)
        found = self._scan(ctx, resumed, before)
        diff = scan_diff.compare(before, found) if before is not None else None
        scan_files.keep(ctx.layout, self.role, found)
        with ctx.journal.transaction() as session:
            ctx.journal.put_document("scan", self.role.value, codec.dump(found), session)
            ctx.journal.put_document("scan_partial", self.role.value, "null", session)
            if diff is not None:
                ctx.journal.put_document("scan_diff", self.role.value, codec.dump(diff), session)
        ctx.notes["summary"] = {
            "topics": sum(1 for topic in found.topics if not topic.is_internal),
            "partitions": sum(topic.partition_count for topic in found.topics if not topic.is_internal),
            "groups": len(found.groups),
            "seconds": round(time.monotonic() - started, 1),
            "not_available": [name for name, value in found.cluster.capabilities.items() if value.value != "supported"],
            "taken_over": _whole(resumed.topics) if resumed is not None else 0,
            "changed": list(scan_diff.summary(diff)) if diff is not None else None,
        }

    def check(self, ctx: StepContext) -> Check:
        return Check(True, ctx.notes.get("summary", {}))

    def _scan(self, ctx: StepContext, resumed: Scan | None, before: Scan | None) -> Scan:
        from kferry.kafka.scan import ScanOptions, scan

        settings = ctx.services.clusters.config(self.role)
        try:
            found = scan(
                settings,
                on_progress=_Progress(ctx, self.role, self._already(ctx, resumed)),
                on_partial=_Partial(ctx, self.role),
                cancelled=ctx.cancelled.is_set,
                options=ScanOptions(before=before, resumed=resumed),
            )
        except KferryError as error:
            ctx.raise_if_cancelled()
            if ctx.journal.document("scan_partial", self.role.value) not in (None, "null"):
                error.next_step += " What was found is kept; go on with it: kferry scan --resume."
            raise
        ctx.raise_if_cancelled()
        return found

    def _resumed(self, ctx: StepContext) -> Scan | None:
        """The scan that was cut off: asked for, or left by an engine that died in the middle of this very step."""
        if not ctx.args.get("resume") and ctx.operation.step(ctx.step).attempt <= 1:
            return None
        body = ctx.journal.document("scan_partial", self.role.value)
        if body in (None, "null"):
            return None
        found = codec.load(Scan, body or "")
        return found if time.time_ns() // 1_000_000 - found.taken_at_ms < _RESUMABLE_MS else None

    def _already(self, ctx: StepContext, resumed: Scan | None) -> dict[str, float]:
        """Which share of each part is taken over from a scan that was cut off."""
        if resumed is None:
            return {}
        last = json.loads(ctx.journal.document("scan_progress", self.role.value) or "{}")
        what, total = last.get("what"), int(last.get("total") or 0)
        taken = {"topics": _whole(resumed.topics), "groups": _whole(resumed.groups)}
        found = {"topics": len(resumed.topics), "groups": len(resumed.groups)}
        # while a part was read its size stood beside it; later parts have all of it
        return {name: count / max(1, found[name], total if what == name else 0) for name, count in taken.items()}

    def _before(self, ctx: StepContext) -> Scan | None:
        """The newest kept scan, else the one of the journal."""
        for item in scan_files.kept(ctx.layout, self.role):
            try:
                return scan_files.load(item)
            except KferryError as error:
                log.warning("%s", error)
        body = ctx.journal.document("scan", self.role.value)
        return codec.load(Scan, body) if body else None


def _whole(items: Sequence[Topic] | Sequence[Group]) -> int:
    return sum(1 for item in items if not item.error)


class _Progress:
    """Writes how far the scan is, not more often than eyes can follow."""

    def __init__(self, ctx: StepContext, role: Role, already: Mapping[str, float]) -> None:
        self._ctx = ctx
        self._role = role
        self._meter = ScanMeter(already)
        self._started = time.monotonic()
        self._shown_at: float | None = None

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        moment = self._meter.at(what, done, total, now - self._started)
        if self._shown_at is not None and now - self._shown_at < _PROGRESS_SECONDS:
            return
        self._shown_at = now
        eta = None if moment.eta_seconds is None else round(moment.eta_seconds, 1)
        body = {
            "what": what,
            "done": done,
            "total": total,
            "seconds": round(moment.seconds, 1),
            "share": round(moment.share, 3),
            "eta_seconds": eta,
        }
        self._ctx.journal.put_document("scan_progress", self._role.value, json.dumps(body))


class _Partial:
    """Writes what was found so far, seldom enough not to slow the scan down."""

    def __init__(self, ctx: StepContext, role: Role) -> None:
        self._ctx = ctx
        self._role = role
        self._next_at = 0.0

    def __call__(self, make: Callable[[], Scan]) -> None:
        started = time.monotonic()
        if started < self._next_at:
            return
        self._ctx.journal.put_document("scan_partial", self._role.value, codec.dump(make()))
        took = time.monotonic() - started
        self._next_at = time.monotonic() + max(_PARTIAL_SECONDS, took / _PARTIAL_SHARE)


@step((OperationKind.SCAN, "scan_source"))
class ScanSource(_ScanOne):
    role = Role.SOURCE


@step((OperationKind.SCAN, "scan_target"))
class ScanTarget(_ScanOne):
    role = Role.TARGET
