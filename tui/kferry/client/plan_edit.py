"""Editing plan.yml: each edit is a pure function of the domain, checked, written in one piece, and can be undone.

A plan edited so is the operator's: planning again does not write over it unless told to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kferry.domain import planning
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Plan, Scan

if TYPE_CHECKING:
    from kferry.client.session import Session
    from kferry.domain.planning import PlanningRules

Edit = Callable[[Plan], Plan]


@dataclass(frozen=True, slots=True)
class EditResult:
    """What an edit did. `broken` are violations that were not there before; `known` is False without a scan."""

    what: str
    written: bool
    revision: str
    broken: tuple[str, ...]
    mended: int
    violations: int
    known: bool

    @property
    def lines(self) -> list[str]:
        """The result in words."""
        verb = "Done" if self.written else "Would be done"
        words = [f"{verb}: {self.what}."]
        if not self.known:
            return [*words, "Whether it tears something apart is unknown: the source was not scanned yet."]
        words += self.broken
        if self.mended:
            words.append(f"It mends {self.mended}; {self.violations} left.")
        return words


def apply(session: Session, edit: Edit, what: str, *, dry_run: bool = False) -> EditResult:
    """Edit plan.yml, unless that changes a batch that has begun or the file changed meanwhile."""
    from kferry.store import plan_file

    _refuse_read_only(session, dry_run=dry_run)
    revision = plan_file.revision(session.layout)
    before = plan_file.load_plan(session.layout)
    after = edit(before)
    refuse_begun(session, before, after)
    scan = session.reader.scan("source")
    rules = load_rules(session)
    if scan is not None:
        changed = [one.name for one in after.batches if one not in before.batches]
        after = planning.reweigh(after, scan, rules, only=changed, rates=rates(session))
    if not dry_run:
        if plan_file.revision(session.layout) != revision:
            raise KferryError(
                "plan.yml was changed by someone else meanwhile; nothing was written.",
                next_step="Look at the new plan, then do your edit again.",
                kind=ErrorKind.DRIFT,
            )
        plan_file.write_plan(session.layout, after, written_by=plan_file.OPERATOR, what=what)
    return _result(session, before, after, what, scan, rules, written=not dry_run)


def undo(session: Session, *, dry_run: bool = False) -> EditResult:
    """Put plan.yml back as it was before kferry's last change of it."""
    from kferry.store import plan_file, plan_revisions
    from kferry.store.yaml_error import parse_yaml

    _refuse_read_only(session, dry_run=dry_run)
    found = plan_revisions.undoable(session.layout)
    before = plan_file.load_plan(session.layout)
    try:
        after = plan_file.plan_of(parse_yaml(found.before, session.layout.plan))
    except KferryError:
        after = None  # what it was before could not be read either: it comes back as it was
    if after is not None:
        refuse_begun(session, before, after)
    if not dry_run:
        plan_revisions.undo(session.layout)
    what = f"undid: {found.what or 'planned'}"
    scan = session.reader.scan("source") if after is not None else None
    return _result(session, before, after or before, what, scan, load_rules(session), written=not dry_run)


def replace_file(session: Session, before: bytes, content: bytes) -> EditResult:
    """Put a file that the operator edited in the place of plan.yml, byte by byte, after it was checked."""
    from kferry.store import plan_file, plan_revisions
    from kferry.store.atomic_write import write_bytes
    from kferry.store.yaml_error import parse_yaml

    after = plan_file.plan_of(parse_yaml(content, session.layout.plan))
    try:
        old = plan_file.plan_of(parse_yaml(before, session.layout.plan))
    except KferryError:
        old = Plan("", ())  # what was there could not be read: the edit mends it
    refuse_begun(session, old, after)
    if (session.layout.plan.read_bytes() if session.layout.plan.exists() else b"") != before:
        raise KferryError(
            "plan.yml was changed by someone else meanwhile; nothing was written.",
            next_step="Look at the new plan, then do your edit again.",
            kind=ErrorKind.DRIFT,
        )
    what = "edited plan.yml"
    plan_revisions.keep(session.layout, content, what)
    write_bytes(session.layout.plan, content)
    return _result(session, old, after, what, session.reader.scan("source"), load_rules(session), written=True)


def moved(plan: Plan, names: Sequence[str], to: str) -> Plan:
    """The plan with these topics and groups in batch `to`, which topics may make; empty batches go."""
    topics, groups = kinds_of(plan, names)
    for name in topics:
        plan = planning.move_topic(plan, name, to, create=True)
    for name in groups:
        plan = planning.move_group(plan, name, to)
    return plan


def dropped(plan: Plan, names: Sequence[str], why: str) -> Plan:
    """The plan without these topics and groups."""
    from kferry.domain.planning.scope import BY_OPERATOR

    reason = f"{BY_OPERATOR}: {why}" if why else BY_OPERATOR
    topics, groups = kinds_of(plan, names)
    for name in groups:
        plan = planning.drop_group(plan, name, reason)
    for name in topics:
        plan = planning.drop_topic(plan, name, reason)
    return plan


def kinds_of(plan: Plan, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Which of these names are topics and which are groups; a name may be both. Unknown ones are taken for topics."""
    topics = {topic for batch in plan.batches for topic in batch.topics}
    groups = {group for batch in plan.batches for group in batch.groups}
    groups |= {name for name in names if planning.group_key(name) in plan.left_out}
    return (
        [name for name in names if name in topics or name in plan.left_out or name not in groups],
        [name for name in names if name in groups],
    )


def groups_going_along(plan: Plan, scan: Scan | None, batch: str, topics: Sequence[str]) -> list[str]:
    """The groups of a batch that read none of its other topics: they go where these topics go."""
    found = plan.batch(batch)
    if found is None or scan is None:
        return []
    leaving = set(topics)
    read = {group.group_id: group.topics & set(found.topics) for group in scan.groups}
    return [name for name in found.groups if read.get(name) and read[name] <= leaving]


def refuse_begun(session: Session, before: Plan, after: Plan) -> None:
    """Raise where an edit changes what is in a batch that has begun: its migration task decides there."""
    phases = {name: row["phase"] for name, row in session.reader.batch_rows().items()}
    for batch in before.batches:
        phase = phases.get(batch.name, "planned")
        now = after.batch(batch.name)
        same = now is not None and (now.topics, now.groups) == (batch.topics, batch.groups)
        if phase == "planned" or same:
            continue
        raise KferryError(
            f"The batch {batch.name!r} is {phase}: the plan no longer decides what is in it.",
            next_step="Change a running task with: kferry task update",
            kind=ErrorKind.NOT_READY,
        )


def load_rules(session: Session) -> PlanningRules:
    """The operator's rules."""
    from kferry.store import rules_file

    return rules_file.load_rules(session.layout)


def rates(session: Session) -> planning.Rates:
    """The speed of a worker: measured in this migration, else assumed by kferry.yml."""
    from kferry.client import files
    from kferry.store.copy_rates import copy_rates

    settings = files.settings(session.layout).settings
    return copy_rates(session.reader, assumed_bytes_per_second=settings.assumed_copy_bytes_per_second)


def _refuse_read_only(session: Session, *, dry_run: bool) -> None:
    if session.read_only and not dry_run:
        raise KferryError("This session is read-only; plan.yml was not changed.", kind=ErrorKind.USAGE)


def _result(
    session: Session,
    before: Plan,
    after: Plan,
    what: str,
    scan: Scan | None,
    rules: PlanningRules,
    *,
    written: bool,
) -> EditResult:
    from kferry.domain.planning.violations import violations_in
    from kferry.store import plan_file

    revision = plan_file.revision(session.layout)
    if scan is None:
        return EditResult(what, written, revision, (), 0, 0, known=False)
    graph = planning.Graph(scan, rules)
    old = {words for _, words in violations_in(before, graph)}
    new = list(dict.fromkeys(words for _, words in violations_in(after, graph)))
    mended = len(old - set(new))
    return EditResult(
        what, written, revision, tuple(one for one in new if one not in old), mended, len(new), known=True
    )
