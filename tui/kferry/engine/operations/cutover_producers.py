"""Cutover steps that move the producers: stop, drain, stop the copy, release."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from kferry.domain.model import BatchPhase, ChangeStatus, Role, TopicPartition
from kferry.domain.runbook import OperationKind
from kferry.engine.comparison import records_beyond_certificate
from kferry.engine.context import StepContext
from kferry.engine.operations.owner import OwnerStep, everything_stops
from kferry.engine.operations.replicate import run_task_play
from kferry.engine.phases import set_phase
from kferry.engine.positions import bases
from kferry.engine.steps import Check, Step, step
from kferry.kafka.records import read_stamps_many

CUTOVER = OperationKind.CUTOVER


def source_ends(ctx: StepContext) -> dict[TopicPartition, int | None]:
    return ctx.source.offsets(list(bases(ctx.services, ctx.task().spec)), "end")


@step((CUTOVER, "stop_producers"))
class StopProducers(OwnerStep):
    """Stopped means that no end offset of the batch moves any more, markers of transactions included."""

    hook = "stop_producers"
    role = Role.SOURCE

    def check(self, ctx: StepContext) -> Check:
        ends = source_ends(ctx)
        wanted = ctx.services.settings().settings.still_seconds
        short = ctx.still_for("ends", ends, wanted)
        # a producer that is only quiet can't be told from a stopped one: somebody must have said so
        asked = ctx.notes.get("hook_ran") or ctx.answer.get("confirmed")
        evidence = {
            "owners_said_stopped": bool(asked),
            "end_offsets_still_for_seconds": wanted if short is None else int(short),
            "wanted_seconds": wanted,
            "end_offsets_sum": sum(value or 0 for value in ends.values()),
        }
        return Check(bool(asked) and short is None and None not in ends.values(), evidence)

    def undo(self, ctx: StepContext) -> Mapping[str, Any]:
        topics = ", ".join(ctx.task().spec.topics)
        if not had_writes(ctx):
            return {"producers": "none wrote while the task ran"}
        before = source_ends(ctx)
        measured = self.ask_owners_to(
            ctx,
            "start_producers",
            Role.SOURCE,
            f"start the producers of {topics} on the source",
            lambda: grew(before, source_ends(ctx)),
        )
        return {"producers": "write to the source again" if measured else "started, as the owners say"}


def grew(before: Mapping[TopicPartition, int | None], after: Mapping[TopicPartition, int | None]) -> bool:
    """Whether any known end offset is past the known one before; an unknown one proves nothing."""
    return any(old is not None and (new := after.get(tp)) is not None and new > old for tp, old in before.items())


def had_writes(ctx: StepContext) -> bool:
    """Whether anything was written to the batch's source topics while the task ran."""
    from kferry.store.queries import Reader

    reader = Reader(ctx.layout.root)
    try:
        samples = reader.samples(ctx.task().spec.name)
    finally:
        reader.close()
    known = [sample.ingress_records_per_second for sample in samples if sample.ingress_records_per_second is not None]
    return not known or max(known) > 0  # what was never measured may have been written to


@step((CUTOVER, "drained"))
class Drained(Step):
    """No open transaction, and nothing but markers behind the copy: proven by reading what is left."""

    poll_seconds = 1.0

    def check(self, ctx: StepContext) -> Check:
        base = bases(ctx.services, ctx.task().spec)
        ends, stable = source_ends(ctx), ctx.source.offsets(list(base), "stable")
        open_transactions = sorted(
            f"{tp.topic}-{tp.partition}" for tp in base if ends.get(tp) is None or stable.get(tp) != ends.get(tp)
        )
        copied = ctx.copied()
        starts = ctx.source.offsets(list(base), "start")
        rest: dict[TopicPartition, tuple[int, int]] = {}
        for tp in base:
            reached = max(copied[tp] + 1 if tp in copied else base[tp].upstream, starts.get(tp) or 0)
            end = ends.get(tp)
            if end is not None and reached < end:
                rest[tp] = (reached, end)
        too_far = {tp: limits for tp, limits in rest.items() if limits[1] - limits[0] > 50_000}
        data: dict[str, int] = {f"{tp.topic}-{tp.partition}": end - start for tp, (start, end) in too_far.items()}
        if rest and not too_far and not open_transactions:
            read = read_stamps_many(ctx.services.clusters.config(Role.SOURCE), rest, read_committed=True)
            data = {f"{tp.topic}-{tp.partition}": len(found) for tp, found in read.items() if found}
        changed = partitions_changed(ctx, base)
        evidence = {
            "open_transactions": open_transactions,
            "partitions_with_rest": len(rest),
            "data_records_not_copied": data,
            **({"partition_counts_changed": changed} if changed else {}),
        }
        return Check(not open_transactions and not data and not changed, evidence)


def partitions_changed(ctx: StepContext, base: Iterable[TopicPartition]) -> dict[str, str]:
    """Topics that have other partitions by now than are copied: what lies in those no later step would see."""
    anchored = Counter(tp.topic for tp in base)
    now = ctx.source.partition_counts()
    return {
        name: f"{now.get(name, 'no')} partitions, {count} are copied: abort, and have the new ones anchored"
        for name, count in sorted(anchored.items())
        if now.get(name) != count
    }


@step((CUTOVER, "stop_source_connector"))
class StopSourceConnector(Step):
    """Stop MirrorSource and see its connector tasks gone, so that nothing is copied while the ends are taken."""

    def check(self, ctx: StepContext) -> Check:
        spec = ctx.task().spec
        status = ctx.connect().status(spec.source_connector)
        state, tasks = (status.state, len(status.tasks)) if status else ("missing", 0)
        return Check(
            spec.source_stopped and state == "STOPPED" and tasks == 0, {"state": state, "connector_tasks": tasks}
        )

    def act(self, ctx: StepContext) -> None:
        ctx.services.tasks.change(ctx.task().spec.name, source_stopped=True)
        run_task_play(ctx)

    def undo(self, ctx: StepContext) -> Mapping[str, Any]:
        ctx.services.tasks.change(ctx.task().spec.name, source_stopped=False)
        run_task_play(ctx, undo=True)
        return {"source_connector": "copies again"}


@step((CUTOVER, "release_producers"))
class ReleaseProducers(OwnerStep):
    """The owners start the producers on the target. From the first record on, the way back by abort is closed."""

    hook = "start_producers"
    role = Role.TARGET

    def check(self, ctx: StepContext) -> Check:
        grown = records_beyond_certificate(ctx)
        wrote = had_writes(ctx)
        hook_ran = bool(ctx.notes.get("hook_ran"))
        crossed = bool(grown) or hook_ran or grown is None
        quiet = not wrote and (hook_ran or bool(ctx.answer.get("confirmed")))
        evidence = {
            "crossed": crossed,
            "records_beyond_certificate": grown,
            "producers_seen_on_source": wrote,
        }
        # applications that were released before write to the target too: only owners can tell of the producers then
        told = hook_ran or bool(ctx.answer.get("confirmed")) or not everything_stops(ctx)
        holds = (bool(grown) and told) or (quiet and grown == 0)
        if holds:
            spec = ctx.task().spec
            set_phase(ctx.journal, spec.batch, BatchPhase.SWITCHED, operation_id=ctx.operation_id)
            # the groups live on the target now: putting their old positions back would be no undo
            ctx.services.ledger.settle(Role.TARGET, "group_offset", set(spec.groups), None, ChangeStatus.KEPT)
        return Check(holds, evidence)
