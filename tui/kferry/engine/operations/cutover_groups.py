"""Cutover steps that move the groups: freeze, translate, choose, write, release."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import ChangeStatus, CommittedOffset, GroupState, Role, Scan, TaskSpec, TopicPartition
from kferry.domain.offsets import Translation, translate
from kferry.domain.runbook import OperationKind
from kferry.engine.comparison import records_beyond_certificate
from kferry.engine.context import StepContext
from kferry.engine.operations.owner import (
    OwnerStep,
    commits_now,
    everything_stops,
    group_words,
    groups_now,
    had_members,
    is_empty,
)
from kferry.engine.operations.replicate import run_task_play
from kferry.engine.positions import Aligned, align_partitions, bases
from kferry.engine.steps import Check, Question, Step, step
from kferry.store import codec

CUTOVER = OperationKind.CUTOVER


@step((CUTOVER, "freeze_groups"))
class FreezeGroups(Step):
    """Stop the checkpoint connector and see it gone: it would push offsets of an empty group forward."""

    def check(self, ctx: StepContext) -> Check:
        spec = ctx.task().spec
        status = ctx.connect().status(spec.checkpoint_connector)
        state = status.state if status else "missing"
        tasks = len(status.tasks) if status else 0
        frozen = set(spec.groups) <= set(spec.frozen_groups)
        holds = frozen and tasks == 0 and state in ("STOPPED", "missing")
        return Check(holds, {"checkpoint_connector": state, "connector_tasks": tasks})

    def act(self, ctx: StepContext) -> None:
        spec = ctx.task().spec
        ctx.services.tasks.change(spec.name, frozen_groups=spec.groups)
        run_task_play(ctx)

    def undo(self, ctx: StepContext) -> Mapping[str, Any]:
        ctx.services.tasks.change(ctx.task().spec.name, frozen_groups=())
        run_task_play(ctx, undo=True)
        return {"checkpoint_connector": "runs again"}


def topics_read(ctx: StepContext, spec: TaskSpec) -> dict[str, set[str]]:
    """The batch's topics that each group reads: committed now, or assigned or committed at the last scan."""
    result = {
        group_id: {commit.topic for commit in commits} & set(spec.topics)
        for group_id, commits in ctx.committed(Role.SOURCE).items()
    }
    body = ctx.journal.document("scan", "source")
    if body:
        for group in codec.load(Scan, body).groups:
            if group.group_id in result:
                result[group.group_id] |= group.topics & set(spec.topics)
    return result


@step((CUTOVER, "translate_offsets"))
class TranslateOffsets(Step):
    """Read both sides and find, for every group and partition, the record it reads next."""

    acts_always = True

    def act(self, ctx: StepContext) -> None:
        spec, base = ctx.task().spec, bases(ctx.services, ctx.task().spec)
        read = topics_read(ctx, spec)
        commits = ctx.committed(Role.SOURCE)
        committed = {
            (group_id, TopicPartition(item.topic, item.partition)): item
            for group_id, items in commits.items()
            for item in items
        }
        wanted = [(group_id, tp) for group_id in sorted(read) for tp in sorted(base) if tp.topic in read[group_id]]
        lowest: dict[TopicPartition, int] = {}
        for group_id, tp in wanted:
            commit = committed.get((group_id, tp))
            # a partition without a commit may have to be translated from its very start
            offset = commit.offset if commit else base[tp].upstream
            lowest[tp] = min(lowest.get(tp, offset), offset)
        aligned = align_partitions(
            ctx.services,
            spec,
            lowest,
            cancelled=ctx.cancelled.is_set,
            limit_records=ctx.services.settings().settings.exact_read_limit_records,
        )
        document: dict[str, Any] = {"operation_id": ctx.operation_id, "groups": [], "uncommitted": [], "ambiguous": []}
        for group_id in sorted(read):
            rows = []
            for tp in [tp for group, tp in wanted if group == group_id]:
                commit = committed.get((group_id, tp))
                rows.append(self._row(document, group_id, tp, commit, aligned[tp]))
            document["groups"].append({"group_id": group_id, "partitions": [row for row in rows if row]})
        ctx.journal.put_document("translation", spec.batch, json.dumps(document))
        with ctx.journal.transaction() as session:
            ctx.journal.append(
                session, "offsets_translated", subject=spec.batch, operation_id=ctx.operation_id, payload=document
            )

    @staticmethod
    def _row(
        document: dict[str, Any], group_id: str, tp: TopicPartition, commit: CommittedOffset | None, seen: Aligned
    ) -> dict[str, Any] | None:
        place = {"group_id": group_id, "topic": tp.topic, "partition": tp.partition}
        bounds = {"base_target_offset": seen.base.downstream, "source_start_offset": seen.source_start_offset}
        start = translate(seen.alignment, max(seen.base.upstream, seen.source_start_offset), **bounds)
        end = translate(seen.alignment, seen.source_end_offset, **bounds)
        if commit is None:
            if seen.alignment.source:
                choices = {"earliest": _data(start), "end": _data(end)}
                document["uncommitted"].append(place | {"choices": choices})
                return None
            found: Translation = start
        else:
            found = translate(seen.alignment, commit.offset, **bounds)
        if found.target_offset is None:
            document["ambiguous"].append(place | {"note": found.note})
        return {
            "topic": tp.topic,
            "partition": tp.partition,
            "metadata": commit.metadata if commit else "",
            **_data(found),
            "committed_offset": commit.offset if commit else None,
        }

    def check(self, ctx: StepContext) -> Check:
        body = ctx.journal.document("translation", ctx.task().spec.batch)
        document = json.loads(body) if body else {}
        if document.get("operation_id") != ctx.operation_id:
            return Check(False, {"note": "not translated yet"})
        if document["ambiguous"]:
            first = document["ambiguous"][0]
            raise KferryError(
                f"Group {first['group_id']}: the position in {first['topic']}-{first['partition']} is ambiguous.",
                cause=first["note"],
                next_step="Let the group read a little further on the source and retry, or abort.",
                kind=ErrorKind.NOT_READY,
            )
        rows = [row for group in document["groups"] for row in group["partitions"]]
        evidence = {
            "groups": len(document["groups"]),
            "partitions": len(rows),
            "exact": sum(1 for row in rows if row["repeats"] == 0),
            "read_again_records": sum(row["repeats"] or 0 for row in rows),
            "not_exact": sum(1 for row in rows if row["repeats"] is None),
            "without_commit": len(document["uncommitted"]),
        }
        return Check(True, evidence)


def _data(found: Translation) -> dict[str, Any]:
    return {
        "target_offset": found.target_offset,
        "unread_records": found.unread_records,
        "repeats": found.repeats,
        "how": found.how.value,
        "note": found.note,
    }


@step((CUTOVER, "choose_uncommitted"))
class ChooseUncommitted(Step):
    """Partitions a group reads but never committed in have no position: the operator chooses, never kferry."""

    def check(self, ctx: StepContext) -> Check | Question:
        document = json.loads(ctx.journal.document("translation", ctx.task().spec.batch) or "{}")
        open_places = [
            {key: item[key] for key in ("group_id", "topic", "partition")} for item in document.get("uncommitted", ())
        ]
        choice = ctx.answer.get("uncommitted") or ctx.args.get("uncommitted")
        if not open_places or choice in ("earliest", "end"):
            return Check(True, {"partitions": len(open_places), "choice": choice})
        return Question(
            f"{len(open_places)} partitions were never committed by the groups that read them.",
            "Choose where they start on the target: earliest, or end (what was there at the stop is skipped).",
            {"partitions": open_places, "choices": ["earliest", "end"]},
        )


def uncommitted_choice(ctx: StepContext) -> str | None:
    """What the operator chose for partitions without a commit: earliest, end, or None (not asked, not answered)."""
    answers = ctx.args.get("answers") or {}
    choice = answers.get("choose_uncommitted", {}).get("uncommitted") or ctx.args.get("uncommitted")
    return choice if choice in ("earliest", "end") else None


def commits_to_write(ctx: StepContext) -> dict[str, list[CommittedOffset]]:
    """The offset plan: translated positions, and the operator's choice where there was no commit."""
    document = json.loads(ctx.journal.document("translation", ctx.task().spec.batch) or "{}")
    choice = uncommitted_choice(ctx)
    plan: dict[str, list[CommittedOffset]] = {}
    for group in document["groups"]:
        plan[group["group_id"]] = [
            CommittedOffset(row["topic"], row["partition"], row["target_offset"], row["metadata"])
            for row in group["partitions"]
        ]
    for item in document["uncommitted"]:
        if choice is None:
            raise KferryError(
                "No choice was made for partitions without a commit.",
                next_step="Answer the step 'choose_uncommitted'.",
                kind=ErrorKind.NOT_READY,
            )
        offset = item["choices"][choice]["target_offset"]
        plan[item["group_id"]].append(CommittedOffset(item["topic"], item["partition"], offset))
    return plan


def offsets_differ(ctx: StepContext) -> dict[str, int]:
    """Groups whose offsets on the target are not as planned, with the number of partitions."""
    differ = {}
    for group_id, commits in commits_to_write(ctx).items():
        now = {(item.topic, item.partition): item.offset for item in ctx.target.committed(group_id)}
        wrong = sum(1 for commit in commits if now.get((commit.topic, commit.partition)) != commit.offset)
        if wrong:
            differ[group_id] = wrong
    return differ


def refuse_if_moved(ctx: StepContext) -> None:
    """What was translated must still be where the groups stand: a consumer may have come back since it was stopped."""
    document = json.loads(ctx.journal.document("translation", ctx.task().spec.batch) or "{}")
    now = ctx.committed(Role.SOURCE)
    groups = groups_now(ctx, Role.SOURCE, ctx.task().spec.groups)
    for group in document["groups"]:
        group_id = group["group_id"]
        offsets = {(item.topic, item.partition): item.offset for item in now.get(group_id, ())}
        moved = [
            row
            for row in group["partitions"]
            if row["committed_offset"] != offsets.get((row["topic"], row["partition"]))
        ]
        if moved or not is_empty(groups.get(group_id)):
            raise KferryError(
                f"Group {group_id} is at work on the source again, after its offsets were translated.",
                cause="Somebody started its consumers there, or its offsets were changed by hand.",
                next_step="Stop them, then abort and switch again: the translated positions are no longer true.",
                kind=ErrorKind.NOT_READY,
            )


@step((CUTOVER, "write_offsets"))
class WriteOffsets(Step):
    """Write the plan and read it back per partition."""

    def check(self, ctx: StepContext) -> Check:
        differ = offsets_differ(ctx)
        plan = commits_to_write(ctx)
        return Check(not differ, {"partitions": sum(map(len, plan.values())), "differ": differ})

    def act(self, ctx: StepContext) -> None:
        refuse_if_moved(ctx)
        self.write(ctx, commits_to_write(ctx))

    @staticmethod
    def write(ctx: StepContext, plan: Mapping[str, list[CommittedOffset]]) -> None:
        for group_id, commits in plan.items():
            if commits:
                ctx.services.ledger.write_offsets(
                    Role.TARGET,
                    group_id,
                    commits,
                    reason="exact position, translated from the source",
                    operation_id=ctx.operation_id,
                )

    def undo(self, ctx: StepContext) -> Mapping[str, Any]:
        """Delete the offsets that were planned on the target; MirrorMaker syncs them anew once it runs again."""
        errors: dict[str, str] = {}
        for group_id, commits in commits_to_write(ctx).items():
            tps = [TopicPartition(item.topic, item.partition) for item in commits]
            refused = [error for error in ctx.target.delete_committed(group_id, tps).values() if error]
            if refused:
                errors[group_id] = refused[0]
        if errors:
            group_id, error = next(iter(errors.items()))
            raise KferryError(
                f"The offsets of group {group_id} on the target could not be deleted: {error}.",
                next_step="Stop the group's consumers on the target, then retry.",
            )
        with ctx.journal.transaction() as session:
            for row in ctx.journal.changes(status="applied"):
                mine = row.operation_id == ctx.operation_id and row.scope == Role.TARGET.value
                if mine and row.resource == "group_offset" and row.id is not None:
                    ctx.journal.mark_change(row.id, ChangeStatus.UNDONE, session)
        return {"offsets_deleted_on_target_of": list(commits_to_write(ctx))}


@step((CUTOVER, "release_consumers"))
class ReleaseConsumers(OwnerStep):
    """The owners start the consumers on the target; before that the offsets are looked at once more."""

    hook = "start_consumers"
    role = Role.TARGET

    def act(self, ctx: StepContext) -> None:
        spec = ctx.task().spec
        if self.will_act(ctx):
            refuse_if_moved(ctx)
        # offsets of groups without members can expire while they wait: only what is gone is written again, never what
        # a group that began already has moved
        gone = {}
        for group_id, group in groups_now(ctx, Role.TARGET, spec.groups).items():
            there = {(item.topic, item.partition) for item in ctx.target.committed(group_id)}
            plan = commits_to_write(ctx).get(group_id, [])
            if is_empty(group):
                gone[group_id] = [item for item in plan if (item.topic, item.partition) not in there]
        WriteOffsets.write(ctx, gone)
        super().act(ctx)

    def check(self, ctx: StepContext) -> Check:
        spec = ctx.task().spec
        groups = groups_now(ctx, Role.TARGET, spec.groups)
        written = {
            group_id: {f"{commit.topic}-{commit.partition}": commit.offset for commit in commits}
            for group_id, commits in commits_to_write(ctx).items()
        }
        now = commits_now(ctx, Role.TARGET)
        ends = ctx.target.offsets(list(bases(ctx.services, spec)), "end")
        end_of = {f"{tp.topic}-{tp.partition}": value for tp, value in ends.items()}
        evidence, holds = {}, True
        for group_id in spec.groups:
            group = groups.get(group_id)
            stable = group is not None and group.state is GroupState.STABLE
            moved = any(now.get(group_id, {}).get(key, 0) > offset for key, offset in written.get(group_id, {}).items())
            at_end = all(
                end_of.get(key) is not None and now.get(group_id, {}).get(key) == end_of.get(key)
                for key in written.get(group_id, {})
            )
            needed = group_id in had_members(ctx) and not ctx.answer.get("confirmed")
            evidence[group_id] = {
                **group_words(group),
                "commits": "moved" if moved else "at the end" if at_end else "not yet",
            }
            holds = holds and (not needed or (stable and (moved or at_end)))
        if not everything_stops(ctx):
            return Check(holds, {"groups": evidence})
        beyond = records_beyond_certificate(ctx)
        return Check(holds, {"groups": evidence, "crossed": beyond != 0, "records_beyond_certificate": beyond})

    def undo(self, ctx: StepContext) -> Mapping[str, Any]:
        """Consumers leave the target; what they read there is translated back and written on the source."""
        from kferry.engine.operations.cutover_back import write_progress_back

        spec = ctx.task().spec
        self.ask_owners_to(
            ctx,
            "stop_consumers",
            Role.TARGET,
            f"stop {', '.join(spec.groups)} on the target",
            lambda: all(is_empty(group) for group in groups_now(ctx, Role.TARGET, spec.groups).values()),
        )
        if everything_stops(ctx) and (beyond := records_beyond_certificate(ctx)) != 0:
            # what they wrote stays on the target alone: only by reading its input again it is written on the source too
            return {"records_only_on_target": beyond, "progress": "not taken back: applications read that input again"}
        return write_progress_back(ctx)
