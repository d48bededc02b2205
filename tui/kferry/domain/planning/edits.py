"""Edits of a plan by the operator: each gives a new plan or says why not; violations.py says what an edit breaks."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Batch, Plan
from kferry.domain.planning.naming import is_batch_name, unique
from kferry.domain.planning.scope import BY_OPERATOR, group_key

MADE_BY_OPERATOR = "Made by the operator."
SPLIT_OFF = "Split off from"


def move_topic(plan: Plan, topic: str, batch: str, *, create: bool = False) -> Plan:
    """Move a topic (also one that was left out) into a batch; with `create` the batch may be a new one."""
    if topic not in _topics(plan) and topic not in plan.left_out:
        raise _unknown("topic", topic, [*_topics(plan), *(key for key in plan.left_out if " " not in key)])
    batches = _with_batch(plan, batch, create=create)
    moved = [
        replace(
            one,
            topics=tuple(sorted({*one.topics, topic}))
            if one.name == batch
            else tuple(name for name in one.topics if name != topic),
        )
        for one in batches
    ]
    return _plan(plan, moved, _without(plan, topic))


def move_group(plan: Plan, group_id: str, batch: str) -> Plan:
    """Move a consumer group (also one that was left out) into a batch. Its topics stay where they are."""
    key = group_key(group_id)
    known = [group for one in plan.batches for group in one.groups]
    if group_id not in known and key not in plan.left_out:
        raise _unknown("group", group_id, known)
    moved = [
        replace(
            one,
            groups=tuple(sorted({*one.groups, group_id}))
            if one.name == batch
            else tuple(name for name in one.groups if name != group_id),
        )
        for one in _with_batch(plan, batch, create=False)
    ]
    return _plan(plan, moved, _without(plan, key))


def drop_topic(plan: Plan, topic: str, reason: str = BY_OPERATOR) -> Plan:
    """Leave a topic behind. Groups of a batch that loses its last topic stay behind with it.

    A reason that begins with BY_OPERATOR outlasts planning again.
    """
    if topic not in _topics(plan):
        raise _unknown("topic", topic, _topics(plan))
    moved = [replace(one, topics=tuple(name for name in one.topics if name != topic)) for one in plan.batches]
    return _plan(plan, moved, {**plan.left_out, topic: reason})


def rename_batch(plan: Plan, old: str, new: str) -> Plan:
    """Give a batch another name."""
    _existing(plan, old)
    if new == old:
        return plan
    _check_new(plan, new)
    return replace(plan, batches=tuple(replace(one, name=new) if one.name == old else one for one in plan.batches))


def reorder(plan: Plan, names: Sequence[str]) -> Plan:
    """Put the named batches first, in this order; the others follow as they were."""
    for name in names:
        _existing(plan, name)
    if len(set(names)) != len(names):
        raise KferryError("A batch is named twice in the new order.", kind=ErrorKind.USAGE)
    first = [_existing(plan, name) for name in names]
    return replace(plan, batches=(*first, *(one for one in plan.batches if one.name not in set(names))))


def split_batch(plan: Plan, batch: str, topics: Sequence[str], groups: Sequence[str] = (), new_name: str = "") -> Plan:
    """Take topics and groups of a batch into a new one that follows right after it.

    Both keep the risk of the whole until the plan is weighed again. At least one topic must go and one must stay.
    """
    whole = _existing(plan, batch)
    for what, names, own in (("topic", topics, whole.topics), ("group", groups, whole.groups)):
        for name in names:
            if name not in own:
                raise _unknown(what, name, own, where=f"batch {batch}")
    rest = tuple(name for name in whole.topics if name not in set(topics))
    if not topics or not rest:
        raise KferryError(
            f"Splitting {batch} like this leaves a batch without topics.",
            next_step="Name some of its topics, not all of them.",
            kind=ErrorKind.USAGE,
        )
    name = new_name or _free_name(plan, batch)
    _check_new(plan, name)
    left = replace(whole, topics=rest, groups=tuple(one for one in whole.groups if one not in set(groups)))
    made = Batch(
        name,
        tuple(sorted(set(topics))),
        tuple(sorted(set(groups))),
        risk=whole.risk,
        why=(f"{SPLIT_OFF} {batch} by the operator.",),
    )
    at = plan.batches.index(whole)
    return replace(plan, batches=(*plan.batches[:at], left, made, *plan.batches[at + 1 :]))


def merge_batches(plan: Plan, into: str, others: Sequence[str]) -> Plan:
    """Put everything of other batches into one, which keeps its name and place. Their reasons and notes come along."""
    home = _existing(plan, into)
    if into in others or len(set(others)) != len(others) or not others:
        raise KferryError(
            "A batch can be merged with other batches only, each named once.",
            next_step="Name the batches that go into it.",
            kind=ErrorKind.USAGE,
        )
    gone = [_existing(plan, name) for name in others]
    reasons = [
        sentence
        for one in gone
        for sentence in one.why
        if sentence != MADE_BY_OPERATOR and not sentence.startswith(SPLIT_OFF)
    ]
    merged = replace(
        home,
        topics=tuple(sorted({*home.topics, *(name for one in gone for name in one.topics)})),
        groups=tuple(sorted({*home.groups, *(name for one in gone for name in one.groups)})),
        risk=max(one.risk for one in (home, *gone)),
        why=tuple(dict.fromkeys((*home.why, *reasons))),
        note="; ".join(dict.fromkeys(note for note in (home.note, *(one.note for one in gone)) if note)),
        warnings=tuple(dict.fromkeys(words for one in (home, *gone) for words in one.warnings)),
    )
    batches = tuple(merged if one is home else one for one in plan.batches if one.name not in set(others))
    return replace(plan, batches=batches)


def pin(plan: Plan, batch: str, pinned: bool = True) -> Plan:
    """Pin a batch, so that planning again and newcomers leave it as it is; or release it."""
    _existing(plan, batch)
    return replace(
        plan, batches=tuple(replace(one, pinned=pinned) if one.name == batch else one for one in plan.batches)
    )


def set_canary(plan: Plan, batch: str | None) -> Plan:
    """Make a batch the canary and put it first; None: no batch is the canary."""
    if batch is not None:
        _existing(plan, batch)
    marked = replace(plan, batches=tuple(replace(one, canary=one.name == batch) for one in plan.batches))
    return reorder(marked, [batch]) if batch is not None else marked


def set_note(plan: Plan, batch: str, note: str) -> Plan:
    """Write the operator's own words at a batch."""
    _existing(plan, batch)
    return replace(plan, batches=tuple(replace(one, note=note) if one.name == batch else one for one in plan.batches))


def drop_group(plan: Plan, group_id: str, reason: str = BY_OPERATOR) -> Plan:
    """Leave a consumer group behind; its topics move all the same."""
    known = [group for one in plan.batches for group in one.groups]
    if group_id not in known:
        raise _unknown("group", group_id, known)
    moved = [replace(one, groups=tuple(name for name in one.groups if name != group_id)) for one in plan.batches]
    return _plan(plan, moved, {**plan.left_out, group_key(group_id): reason})


def _topics(plan: Plan) -> list[str]:
    return [topic for batch in plan.batches for topic in batch.topics]


def _existing(plan: Plan, name: str) -> Batch:
    batch = plan.batch(name)
    if batch is None:
        raise _unknown("batch", name, [one.name for one in plan.batches])
    return batch


def _with_batch(plan: Plan, name: str, *, create: bool) -> tuple[Batch, ...]:
    if plan.batch(name) is not None:
        return plan.batches
    if not create:
        raise _unknown("batch", name, [one.name for one in plan.batches])
    _check_name(name)
    return (*plan.batches, Batch(name=name, topics=(), groups=(), why=(MADE_BY_OPERATOR,)))


def _check_new(plan: Plan, name: str) -> None:
    _check_name(name)
    if plan.batch(name) is not None:
        raise KferryError(f"There is already a batch {name!r}.", next_step="Choose another name.", kind=ErrorKind.USAGE)


def _free_name(plan: Plan, batch: str) -> str:
    return unique([batch], {one.name for one in plan.batches})


def _check_name(name: str) -> None:
    if not is_batch_name(name):
        raise KferryError(
            f"{name!r} cannot be the name of a batch.",
            cause="It becomes part of names in both clusters.",
            next_step="Use up to 31 small letters, digits and hyphens, and begin with a letter or digit.",
            kind=ErrorKind.USAGE,
        )


def _without(plan: Plan, key: str) -> dict[str, str]:
    return {name: reason for name, reason in plan.left_out.items() if name != key}


def _plan(plan: Plan, batches: Iterable[Batch], left_out: dict[str, str]) -> Plan:
    """The new plan; a batch that lost its last topic goes, and its groups are left out."""
    kept = []
    reasons = dict(left_out)
    for batch in batches:
        if batch.topics:
            kept.append(batch)
            continue
        for group_id in batch.groups:
            reasons[group_key(group_id)] = "all topics of its batch were taken out"
    return replace(plan, batches=tuple(kept), left_out=dict(sorted(reasons.items())))


def _unknown(what: str, name: str, known: Iterable[str], *, where: str = "The plan") -> KferryError:
    near = difflib.get_close_matches(name, list(known), n=1)
    return KferryError(
        f"{where[0].upper()}{where[1:]} has no {what} {name!r}.",
        next_step=f"Did you mean {near[0]!r}?"
        if near
        else f"`kferry plan show` names what it has; name a {what} from there.",
        kind=ErrorKind.USAGE,
    )
