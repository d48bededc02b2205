"""Changes of the operator's rules that a face can make: cut and uncut, set a class, leave out."""

from __future__ import annotations

from dataclasses import replace

from kferry.domain.applications import ApplicationClass, ApplicationRule
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.name_patterns import literal
from kferry.domain.planning.rules import Cut, LeaveOut, PlanningRules


def with_cut(rules: PlanningRules, cut: Cut) -> PlanningRules:
    """A group or application no longer binds its topics; an earlier cut of it is replaced."""
    return replace(rules, cuts=(*(one for one in rules.cuts if one.name != cut.name), cut))


def without_cut(rules: PlanningRules, name: str) -> PlanningRules:
    """A cut is taken back."""
    if rules.cut(name) is None:
        known = ", ".join(repr(one.name) for one in rules.cuts) or "none"
        raise KferryError(f"{name!r} is not cut.", next_step=f"Cut are: {known}.", kind=ErrorKind.USAGE)
    return replace(rules, cuts=tuple(one for one in rules.cuts if one.name != name))


def with_class(
    rules: PlanningRules, name: str, class_: ApplicationClass, *, is_transactional_id: bool = False
) -> PlanningRules:
    """The operator's word on one group or transactional id; an earlier one about the same is replaced."""
    made = ApplicationRule(
        name,
        class_,
        groups=() if is_transactional_id else (literal(name),),
        transactional_ids=(literal(name),) if is_transactional_id else (),
    )
    rest = []
    for one in rules.applications:
        if one.name != name:
            rest.append(one)
        elif one.groups != made.groups or one.transactional_ids != made.transactional_ids or one.writes:
            # it says more than this: only its class changes
            made = replace(one, class_=class_)
    # the first rule that matches counts: the operator's newest word goes in front
    return replace(rules, applications=(made, *rest))


def with_left_out(rules: PlanningRules, topics: tuple[str, ...], groups: tuple[str, ...], why: str) -> PlanningRules:
    """Topics and groups, by their very names, stay behind in every plan to come."""
    made = LeaveOut(tuple(map(literal, topics)), tuple(map(literal, groups)), why)
    return replace(rules, leave_out=(*rules.leave_out, made))
