"""Steps that application owners bring about: kferry measures, and runs a hook only when it may."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from kferry.domain.cutover_drain import STOP_DRAIN_SWITCH
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Group, GroupState, Role
from kferry.engine.context import StepContext
from kferry.engine.hooks import has_hook, run_hook
from kferry.engine.steps import Step

UNDO_WAIT_SECONDS = 120.0


class OwnerStep(Step):
    """Measures until it holds. The hook runs at most once per run of the step, and is safe to repeat."""

    hook = ""
    role = Role.SOURCE
    poll_seconds = 1.0

    def will_act(self, ctx: StepContext) -> bool:
        allowed = bool(ctx.args.get("run_hooks")) or bool(ctx.answer.get("run_hook"))
        return allowed and not ctx.notes.get("hook_ran") and has_hook(ctx, self.hook)

    def act(self, ctx: StepContext) -> None:
        if self.will_act(ctx):
            ctx.notes["hook_ran"] = True
            self.run(ctx, self.hook, self.role)

    @staticmethod
    def run(ctx: StepContext, hook: str, role: Role) -> None:
        spec = ctx.task().spec
        run_hook(ctx, hook, role, groups=spec.groups, topics=spec.topics)

    def ask_owners_to(self, ctx: StepContext, hook: str, role: Role, sentence: str, done: Any) -> bool:
        """For the way back: run the hook if hooks may run, then wait until `done()` is true.

        Raises KferryError where it takes too long: the operator asks the owners and retries. The retry counts as the
        owners' word, so that something idle, which can't be seen running, never blocks the way back. Returns whether it
        was measured.
        """
        if has_hook(ctx, hook) and (ctx.args.get("run_hooks") or ctx.answer.get("run_hook")):
            self.run(ctx, hook, role)
        deadline = time.monotonic() + UNDO_WAIT_SECONDS
        while not done() and not ctx.answer.get("retry"):
            if time.monotonic() > deadline:
                raise KferryError(
                    f"Waiting for the owners: {sentence}.",
                    next_step="Ask them, then answer with a retry (or let kferry run the hook).",
                    kind=ErrorKind.NOT_READY,
                )
            ctx.pause(1.0)
        return bool(done())


def everything_stops(ctx: StepContext) -> bool:
    """Whether this cutover stops applications and producers together: nobody is released before the certificate."""
    return ctx.args.get("runbook") == STOP_DRAIN_SWITCH.variant


def groups_now(ctx: StepContext, role: Role, group_ids: Sequence[str]) -> dict[str, Group]:
    """The groups as their coordinator says now; one that does not exist counts as Dead."""
    admin = ctx.source if role is Role.SOURCE else ctx.target
    return admin.groups(list(group_ids))


def is_empty(group: Group | None) -> bool:
    return group is None or (group.state in (GroupState.EMPTY, GroupState.DEAD) and not group.members)


def is_running(group: Group | None) -> bool:
    """Whether members are surely there; a state that can't be told counts as no."""
    return group is not None and (bool(group.members) or group.state is GroupState.STABLE)


def had_members(ctx: StepContext) -> set[str]:
    """The groups that were seen with members before they were stopped: only these must run again."""
    seen: Any = ctx.operation.step("stop_consumers").evidence.get("had_members")
    return set(seen or ())


def group_words(group: Group | None) -> Mapping[str, Any]:
    """A group's state and members as evidence."""
    if group is None:
        return {"state": "absent", "members": []}
    return {
        "state": group.state.value,
        "members": [
            {"client_id": member.client_id, "host": member.host, "static": member.group_instance_id}
            for member in group.members
        ],
    }


def commits_now(ctx: StepContext, role: Role) -> dict[str, dict[str, int]]:
    """Committed offsets per group as {"topic-partition": offset}, for comparing whether they stand still."""
    return {
        group_id: {f"{commit.topic}-{commit.partition}": commit.offset for commit in sorted(commits)}
        for group_id, commits in ctx.committed(role).items()
    }
