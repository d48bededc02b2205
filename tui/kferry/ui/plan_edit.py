"""Editing plan.yml from the Plan screen: each edit is a pure function of the domain, written back in one piece."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from kferry.client import files, plan_edit
from kferry.client.session import Session
from kferry.domain import planning
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Plan, Scan
from kferry.domain.planning import edits
from kferry.domain.planning.violations import violations_in
from kferry.store.views import PlanView
from kferry.ui.plan_facts import ScanIndex, of_key

Edit = Callable[[Plan], Plan]

# Edits are made one after the other; for each session, what its own edits made of each revision.
_LOCK = threading.Lock()
_OWN: WeakKeyDictionary[Session, dict[str, str]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an edit did to what the plan keeps together, as sentences. `known` is False where no scan can tell."""

    broken: tuple[str, ...] = ()
    mended: int = 0
    left: int = 0
    known: bool = True

    @property
    def words(self) -> str:
        if not self.known:
            return "Whether it tears something apart is unknown without a scan."
        if self.broken:
            more = f" and {len(self.broken) - 1} more" if len(self.broken) > 1 else ""
            return f"✗ {self.broken[0]}{more} (u undoes it)"
        return f"It mends {self.mended}; {self.left} left." if self.mended else ""


def apply(session: Session, revision: str, edit: Edit, index: ScanIndex | None, what: str = "") -> Outcome:
    """Read the plan, edit it, weigh what changed, write it; return what that breaks and mends. Call it in a thread.

    `revision` is that of the plan that was shown: a plan that changed since is not overwritten. `what` names the edit
    for its undo. As `client.plan_edit.apply`, with the scan that is at hand already.
    """
    from kferry.store import plan_file

    with _LOCK:
        old = as_shown(session, revision).revision
        before = files.read_plan(session.layout, old)
        after = edit(before)
        plan_edit.refuse_begun(session, before, after)
        if index is not None:
            changed = [one.name for one in after.batches if one not in before.batches]
            after = planning.reweigh(after, index.scan, index.graph.rules, only=changed, rates=plan_edit.rates(session))
        plan_file.write_plan(session.layout, after, written_by=plan_file.OPERATOR, what=what)
        _remember(session, old)
    return outcome(before, after, index)


def undo(session: Session, revision: str) -> tuple[str, Outcome]:
    """Take the last edit back; return what was done, and what that breaks and mends. Call it in a thread."""
    with _LOCK:
        old = as_shown(session, revision).revision
        result = plan_edit.undo(session)
        _remember(session, old)
    return result.what, Outcome(result.broken, result.mended, result.violations, result.known)


def as_shown(session: Session, revision: str) -> PlanView:
    """The plan as it stands; raises where someone else changed it since the one that was shown."""
    shown = session.plan_view()
    own = _OWN.get(session, {})
    while revision in own:  # a key pressed twice: the second edit is made on what the first one wrote
        revision = own[revision]
    if shown.revision != revision:
        raise KferryError(
            "plan.yml was changed by someone else since it was drawn; nothing was written.",
            next_step="Look at the new plan, then do your edit again.",
            kind=ErrorKind.DRIFT,
        )
    return shown


def _remember(session: Session, old: str) -> None:
    """What an edit of ours made of the revision it began with. The current one never leads on: there is no circle."""
    from kferry.store import plan_file

    new = plan_file.revision(session.layout)
    own = _OWN.setdefault(session, {})
    own[old] = new
    own.pop(new, None)


def outcome(before: Plan, after: Plan, index: ScanIndex | None) -> Outcome:
    """What the one plan breaks that the other did not."""
    if index is None:
        return Outcome(known=False)
    old = {words for _, words in violations_in(before, index.graph)}
    new = [words for _, words in violations_in(after, index.graph)]
    return Outcome(tuple(words for words in new if words not in old), max(0, len(old) - len(new)), len(new))


# ---- the edits ----------------------------------------------------------------------------------------------------


def split_keys(keys: Iterable[str]) -> tuple[list[str], list[str]]:
    """Cards as topics and groups."""
    pairs = sorted(of_key(key) for key in keys)
    return [name for kind, name in pairs if kind == "topic"], [name for kind, name in pairs if kind == "group"]


def move(keys: Collection[str], batch: str) -> Edit:
    """Move topics and groups into a batch, which topics may be the first of."""
    topics, groups = split_keys(keys)

    def edit(plan: Plan) -> Plan:
        home = plan.batch(batch)
        for name in topics:
            if home is None or name not in home.topics:
                plan = edits.move_topic(plan, name, batch, create=True)
        for name in groups:
            if home is None or name not in home.groups:
                plan = edits.move_group(plan, name, batch)
        return plan

    return edit


def split(batch: str, keys: Collection[str], name: str, scan: Scan | None) -> Edit:
    """Take cards of a batch into a new one right after it; groups that read nothing but these topics go along."""
    topics, groups = split_keys(keys)

    def edit(plan: Plan) -> Plan:
        along = plan_edit.groups_going_along(plan, scan, batch, topics)
        return edits.split_batch(plan, batch, topics, sorted({*groups, *along}), name)

    return edit


def merge(batch: str, into: str) -> Edit:
    """Put a batch into another one, which keeps its name and place."""
    return lambda plan: edits.merge_batches(plan, into, [batch])


def pin(batch: str) -> Edit:
    """Pin a batch, or release it."""

    def edit(plan: Plan) -> Plan:
        found = plan.batch(batch)
        return edits.pin(plan, batch, not (found is not None and found.pinned))

    return edit


def shift(batch: str, by: int) -> Edit:
    """Move a batch earlier (-1) or later (+1) in the order."""

    def edit(plan: Plan) -> Plan:
        names = [item.name for item in plan.batches]
        at = names.index(batch)
        to = max(0, min(len(names) - 1, at + by))
        names.insert(to, names.pop(at))
        return edits.reorder(plan, names)

    return edit


def place(batch: str, before: str | None) -> Edit:
    """Put a batch before another one; None: at the end."""

    def edit(plan: Plan) -> Plan:
        names = [item.name for item in plan.batches if item.name != batch]
        names.insert(len(names) if before is None else names.index(before), batch)
        return edits.reorder(plan, names)

    return edit


def drop(keys: Collection[str]) -> Edit:
    """Leave topics and groups behind."""
    topics, groups = split_keys(keys)

    def edit(plan: Plan) -> Plan:
        for name in groups:
            plan = edits.drop_group(plan, name)
        for name in topics:
            plan = edits.drop_topic(plan, name)
        return plan

    return edit
