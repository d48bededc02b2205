"""rules.yml: the operator's planning rules; optional, and fit for git."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from kferry.domain.applications import ApplicationClass, ApplicationRule
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.name_patterns import problem_of
from kferry.domain.planning.naming import is_batch_name
from kferry.domain.planning.rules import (
    BatchPattern,
    BusinessSystem,
    Cut,
    LeaveOut,
    Limits,
    PlanningRules,
    Together,
)
from kferry.store.atomic_write import write_text
from kferry.store.paths import Layout
from kferry.store.yaml_error import YamlItem, parse_yaml, read_yaml

SCHEMA = 1

_KEYS = (
    "schema",
    "systems",
    "together",
    "first",
    "last",
    "cuts",
    "applications",
    "patterns",
    "leave_out",
    "unread_join_their_system",
)
_SYSTEM_KEYS = ("name", "owner", "tags", "core", "topics", "groups")
_TOGETHER_KEYS = ("name", "why", "topics", "groups")
_CUT_KEYS = ("name", "why", "stays_with")
_APPLICATION_KEYS = ("name", "class", "groups", "transactional_ids", "writes")
_PATTERN_KEYS = ("batch", "topics", "groups", "exclude", "limits")
_LIMIT_KEYS = ("topics", "groups", "partitions", "bytes")
_LEAVE_OUT_KEYS = ("topics", "groups", "why")
_HEADER = """\
# The operator's planning rules (docs/planning.md). Patterns are globs, or regular expressions between slashes.
# Comments are lost when kferry writes the file; use `why:`. Plan again after a change: kferry plan
"""
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def load_rules(layout: Layout) -> PlanningRules:
    """Read and check rules.yml; no file is no rules."""
    if not layout.rules.exists():
        return PlanningRules()
    document = read_yaml(layout.rules, what="rules.yml", next_step="Write it, or plan without rules.")
    return _rules(document)


def write_rules(layout: Layout, rules: PlanningRules) -> None:
    """Write rules.yml in one piece. A file with the operator's comments is refused: they would be lost."""
    text = render_rules(rules)
    _rules(parse_yaml(text.encode(), layout.rules))  # what we could not read again is never written
    comments = _comments(layout)
    if comments:
        raise KferryError(
            f"{layout.rules} holds comments, which would be lost: {comments[0]!r}.",
            cause="kferry does not write over words of the operator.",
            next_step="Make the change in the file itself, or turn the comments into `why:`.",
            kind=ErrorKind.USAGE,
        )
    write_text(layout.rules, text)


def render_rules(rules: PlanningRules) -> str:
    """The text of rules.yml; what is empty is left out."""
    body: dict[str, Any] = {
        "schema": SCHEMA,
        "systems": [
            {
                "name": one.name,
                "owner": one.owner,
                "tags": one.tags,
                "core": one.core,
                "topics": one.topics,
                "groups": one.groups,
            }
            for one in rules.systems
        ],
        "together": [
            {"name": one.name, "why": one.why, "topics": one.topics, "groups": one.groups} for one in rules.together
        ],
        "first": rules.first,
        "last": rules.last,
        "cuts": [{"name": one.name, "why": one.why, "stays_with": one.stays_with} for one in rules.cuts],
        "applications": [
            {
                "name": one.name,
                "class": one.class_.value,
                "groups": one.groups,
                "transactional_ids": one.transactional_ids,
                "writes": one.writes,
            }
            for one in rules.applications
        ],
        "patterns": [
            {
                "batch": one.batch,
                "topics": one.topics,
                "groups": one.groups,
                "exclude": one.exclude,
                "limits": {
                    "topics": one.limits.topics,
                    "groups": one.limits.groups,
                    "partitions": one.limits.partitions,
                    "bytes": one.limits.bytes,
                },
            }
            for one in rules.patterns
        ],
        "leave_out": [{"topics": one.topics, "groups": one.groups, "why": one.why} for one in rules.leave_out],
        "unread_join_their_system": None if rules.unread_join_their_system else False,
    }
    text: str = yaml.dump(_without_empty(body), Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=110)
    return _HEADER + text


def _without_empty(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = {key: _without_empty(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, "", [], {})}
    if isinstance(value, list | tuple):
        return [_without_empty(item) for item in value]
    return value


def _comments(layout: Layout) -> list[str]:
    try:
        lines = layout.rules.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    own = {line.strip() for line in _HEADER.splitlines()}
    return [line.strip() for line in lines if line.strip().startswith("#") and line.strip() not in own]


def _rules(document: YamlItem) -> PlanningRules:
    keys = document.mapping("rules.yml", _KEYS)
    schema = keys.get("schema")
    if schema is not None and (not isinstance(schema.value, int) or schema.value > SCHEMA):
        raise schema.error(
            f"this kferry knows schema {SCHEMA} of rules.yml only.", f"Write schema: {SCHEMA}, or use a newer kferry."
        )
    joins = keys.get("unread_join_their_system")
    if joins is not None and not isinstance(joins.value, bool):
        raise joins.error("unread_join_their_system must be true or false.")
    rules = PlanningRules(
        systems=tuple(_system(item) for item in _list(keys, "systems")),
        together=tuple(_together(item) for item in _list(keys, "together")),
        first=_patterns(keys, "first"),
        last=_patterns(keys, "last"),
        cuts=tuple(_cut(item) for item in _list(keys, "cuts")),
        applications=tuple(_application(item) for item in _list(keys, "applications")),
        patterns=tuple(_pattern(item) for item in _list(keys, "patterns")),
        leave_out=tuple(_leave_out(item) for item in _list(keys, "leave_out")),
        unread_join_their_system=True if joins is None else bool(joins.value),
    )
    for section, names in (
        ("systems", [one.name for one in rules.systems]),
        ("together", [one.name for one in rules.together]),
        ("cuts", [one.name for one in rules.cuts]),
        ("applications", [one.name for one in rules.applications]),
        ("patterns", [one.batch for one in rules.patterns]),
    ):
        _refuse_twice(keys, section, names)
    return rules


def _system(item: YamlItem) -> BusinessSystem:
    keys = item.mapping("a system", _SYSTEM_KEYS)
    core = keys.get("core")
    if core is not None and not core.is_null and not isinstance(core.value, bool):
        raise core.error("core must be true or false.", "Take the line out where nobody knows.")
    return BusinessSystem(
        _name(item, keys, "a system"),
        _patterns(keys, "topics"),
        _patterns(keys, "groups"),
        _text(keys, "owner"),
        tuple(one.string("a tag") for one in _list(keys, "tags")),
        None if core is None or core.is_null else bool(core.value),
    )


def _together(item: YamlItem) -> Together:
    keys = item.mapping("an entry of together", _TOGETHER_KEYS)
    made = Together(
        _name(item, keys, "an entry of together"),
        _patterns(keys, "topics"),
        _patterns(keys, "groups"),
        _text(keys, "why"),
    )
    if not made.topics and not made.groups:
        raise item.error(f"{made.name} names neither topics nor groups.", "Add topics: [...] or groups: [...].")
    return made


def _cut(item: YamlItem) -> Cut:
    keys = item.mapping("a cut", _CUT_KEYS)
    return Cut(_name(item, keys, "a cut"), _text(keys, "why"), _text(keys, "stays_with"))


def _application(item: YamlItem) -> ApplicationRule:
    keys = item.mapping("an application", _APPLICATION_KEYS)
    name = _name(item, keys, "an application")
    if "class" not in keys:
        raise item.error(f"the application {name} has no class.", f"Add class: one of {', '.join(ApplicationClass)}.")
    made = ApplicationRule(
        name,
        keys["class"].choice("class", ApplicationClass),
        _patterns(keys, "groups"),
        _patterns(keys, "transactional_ids"),
        _patterns(keys, "writes"),
    )
    if not made.groups and not made.transactional_ids and not made.writes:
        raise item.error(
            f"the application {name} says nothing of what it is.", "Add groups, transactional_ids or writes."
        )
    return made


def _pattern(item: YamlItem) -> BatchPattern:
    keys = item.mapping("a pattern", _PATTERN_KEYS)
    batch = _name(item, keys, "a pattern", key="batch")
    if not is_batch_name(batch):
        raise keys["batch"].error(
            f"{batch!r} cannot be the name of a batch.",
            "Use up to 31 small letters, digits and hyphens, and begin with a letter or digit.",
        )
    limits = keys["limits"].mapping("limits", _LIMIT_KEYS) if "limits" in keys else {}
    made = BatchPattern(
        batch,
        _patterns(keys, "topics"),
        _patterns(keys, "groups"),
        _patterns(keys, "exclude"),
        Limits(*(_count(limits, key) for key in _LIMIT_KEYS)),
    )
    if not made.topics and not made.groups:
        raise item.error(f"the pattern of {batch} names neither topics nor groups.", "Add topics: [...].")
    return made


def _leave_out(item: YamlItem) -> LeaveOut:
    if item.text is not None:  # a pattern of topics without a reason
        return LeaveOut(topics=(_one_pattern(item),))
    keys = item.mapping("an entry of leave_out", _LEAVE_OUT_KEYS)
    made = LeaveOut(_patterns(keys, "topics"), _patterns(keys, "groups"), _text(keys, "why"))
    if not made.topics and not made.groups:
        raise item.error("an entry of leave_out names neither topics nor groups.", "Add topics: [...].")
    return made


def _list(keys: Mapping[str, YamlItem], key: str) -> list[YamlItem]:
    return keys[key].sequence(key) if key in keys else []


def _patterns(keys: Mapping[str, YamlItem], key: str) -> tuple[str, ...]:
    return tuple(_one_pattern(item) for item in _list(keys, key))


def _one_pattern(item: YamlItem) -> str:
    pattern = item.string("a pattern")
    problem = problem_of(pattern)
    if problem is not None:
        raise item.error(f"the pattern {pattern!r} {problem}.", "Write a glob such as shop.*, or /a regex/.")
    return pattern


def _text(keys: Mapping[str, YamlItem], key: str) -> str:
    return "" if key not in keys or keys[key].is_null else keys[key].string(key)


def _name(item: YamlItem, keys: Mapping[str, YamlItem], what: str, *, key: str = "name") -> str:
    if key not in keys:
        raise item.error(f"{what} has no {key}.", f"Add {key}: ... .")
    return keys[key].string(key)


def _count(keys: Mapping[str, YamlItem], key: str) -> int | None:
    if key not in keys or keys[key].is_null:
        return None
    value = keys[key].value
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise keys[key].error(f"the limit {key} must be a whole number.", "Take the line out for no limit.")
    return value


def _refuse_twice(keys: Mapping[str, YamlItem], section: str, names: list[str]) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise _list(keys, section)[index].error(f"{name!r} is in {section} twice.", "Keep it in one place.")
