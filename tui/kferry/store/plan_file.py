"""plan.yml: the plan as a file that an operator may edit and keep in git."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import yaml

from kferry.domain.model import Batch, Plan
from kferry.domain.planning import is_batch_name
from kferry.store import plan_revisions
from kferry.store.atomic_write import write_text
from kferry.store.paths import Layout
from kferry.store.yaml_error import YamlItem, parse_yaml, read_yaml

SCHEMA = 1
PLANNER = "planner"
OPERATOR = "operator"

_KEYS = ("schema", "scan_id", "written_by", "written_hash", "batches", "left_out")
_BATCH_KEYS = ("name", "note", "pinned", "canary", "risk", "estimate", "why", "warnings", "topics", "groups")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_HASH_LINE = re.compile(rb"^written_hash:.*\n?", re.MULTILINE)
_HEADER = """\
# The plan: batches in the order in which they move. Edit it freely, then look with `kferry plan`.
# Comments are lost when kferry writes the file; use `note:`.
"""
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def load_plan(layout: Layout) -> Plan:
    """Read and check plan.yml."""
    document = read_yaml(layout.plan, what="plan", next_step="Run `kferry scan` and `kferry plan`.")
    return plan_of(document)


def write_plan(layout: Layout, plan: Plan, *, written_by: str = PLANNER, what: str = "") -> None:
    """Write plan.yml in one piece; what it was is kept for `plan_revisions.undo`, under the words `what` was done.

    `written_by` is OPERATOR for an edit that the planner must not overwrite.
    """
    text = render_plan(plan, written_by=written_by)
    plan_of(parse_yaml(text.encode(), layout.plan))  # what we could not read again is never written
    plan_revisions.keep(layout, text.encode(), what)
    write_text(layout.plan, text)


def render_plan(plan: Plan, *, written_by: str = PLANNER) -> str:
    """The text of plan.yml."""
    head = {"schema": SCHEMA, "scan_id": plan.scan_id, "written_by": written_by}
    body = {
        "batches": [_batch_body(batch) for batch in plan.batches],
        "left_out": dict(plan.left_out),
    }
    start = _HEADER + _dump(head)
    end = _dump(body)
    return f"{start}written_hash: {_hash((start + end).encode())}\n{end}"


def _batch_body(batch: Batch) -> dict[str, Any]:
    """A batch as it stands in the file; what it has not is not written, so that a diff shows edits only."""
    body: dict[str, Any] = {"name": batch.name, "note": batch.note}
    body |= {"pinned": True} if batch.pinned else {}
    body |= {"canary": True} if batch.canary else {}
    body["risk"] = batch.risk
    body |= {"estimate": batch.estimate} if batch.estimate else {}
    body["why"] = list(batch.why)
    body |= {"warnings": list(batch.warnings)} if batch.warnings else {}
    return body | {"topics": list(batch.topics), "groups": list(batch.groups)}


def revision(layout: Layout) -> str:
    """A short hash of the file as it stands; "" where there is none. An intent names the revision it was made on."""
    try:
        return hashlib.sha256(layout.plan.read_bytes()).hexdigest()[:12]
    except FileNotFoundError:
        return ""


def edited_by_hand(layout: Layout) -> bool:
    """Whether the operator changed the plan since the planner wrote it: in the file itself, or through kferry."""
    try:
        raw = layout.plan.read_bytes()
    except FileNotFoundError:
        return False
    lines = _HASH_LINE.findall(raw)
    if len(lines) != 1:
        return True
    written = lines[0].split(b":", 1)[1].strip().decode("ascii", "replace")
    planned = re.search(rb"^written_by: *planner *\r?$", raw, re.MULTILINE) is not None
    return not planned or written != _hash(_HASH_LINE.sub(b"", raw, count=1))


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _dump(value: Mapping[str, Any]) -> str:
    text: str = yaml.dump(value, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=110)
    return text


def plan_of(document: YamlItem) -> Plan:
    """The plan in a document that was read already."""
    keys = document.mapping("plan.yml", _KEYS)
    schema = keys.get("schema")
    if schema is None or not isinstance(schema.value, int):
        raise (schema or document).error("the key 'schema' must be a number.", f"Write schema: {SCHEMA}.")
    if schema.value > SCHEMA:
        raise schema.error(
            f"written by a newer version of kferry (schema {schema.value}, this one knows {SCHEMA}).",
            "Use that version of kferry.",
        )
    batches = tuple(_batch(item) for item in keys["batches"].sequence("batches")) if "batches" in keys else ()
    left_out = (
        {name: item.text or "" for name, item in keys["left_out"].mapping("left_out").items()}
        if "left_out" in keys
        else {}
    )
    if "batches" in keys:
        _check_twice(keys["batches"], left_out)
    return Plan(
        scan_id=keys["scan_id"].string("scan_id") if "scan_id" in keys and not keys["scan_id"].is_null else "",
        batches=batches,
        left_out=left_out,
    )


def _batch(item: YamlItem) -> Batch:
    keys = item.mapping("a batch", _BATCH_KEYS)
    if "name" not in keys:
        raise item.error("a batch has no name.", "Add name: ... .")
    name = keys["name"].string("name")
    if not is_batch_name(name):
        raise keys["name"].error(
            f"{name!r} cannot be the name of a batch.",
            "Use up to 31 small letters, digits and hyphens, and begin with a letter or digit.",
        )
    topics = [_topic(one) for one in keys["topics"].sequence("topics")] if "topics" in keys else []
    if not topics:
        raise item.error(f"batch {name} has no topics.", "Name its topics, or take the batch out.")
    risk = keys["risk"].value if "risk" in keys else 0.0
    if isinstance(risk, bool) or not isinstance(risk, int | float):
        raise keys["risk"].error("risk must be a number.", "kferry writes it; take the line out.")
    why = [one.string("why") for one in keys["why"].sequence("why")] if "why" in keys else []
    groups = [one.string("a group") for one in keys["groups"].sequence("groups")] if "groups" in keys else []
    return Batch(
        name=name,
        topics=tuple(topics),
        groups=tuple(groups),
        risk=float(risk),
        why=tuple(why),
        note=keys["note"].text or "" if "note" in keys else "",
        pinned=_flag(keys, "pinned"),
        canary=_flag(keys, "canary"),
        warnings=tuple(one.string("a warning") for one in keys["warnings"].sequence("warnings"))
        if "warnings" in keys
        else (),
        estimate=keys["estimate"].text or "" if "estimate" in keys else "",
    )


def _flag(keys: Mapping[str, YamlItem], key: str) -> bool:
    if key not in keys or keys[key].is_null:
        return False
    if not isinstance(keys[key].value, bool):
        raise keys[key].error(f"{key} must be true or false.")
    return bool(keys[key].value)


def _topic(item: YamlItem) -> str:
    name = item.string("a topic")
    if _TOPIC.fullmatch(name) is None or name in (".", ".."):
        raise item.error(
            f"{name!r} cannot be the name of a topic.", "Topic names are up to 249 letters, digits, dots, - and _."
        )
    return name


def _check_twice(batches: YamlItem, left_out: Mapping[str, str]) -> None:
    """Every batch name, topic and group stands in one place only."""
    seen: dict[tuple[str, str], YamlItem] = {}
    for batch in batches.items or ():
        keys = batch.keys or {}
        listed = [("batch", keys["name"])]
        for kind, key in (("topic", "topics"), ("group", "groups")):
            listed += [(kind, one) for one in (keys[key].items if key in keys else None) or ()]
        for kind, item in listed:
            name = item.text or ""
            first = seen.setdefault((kind, name), item)
            if first is not item:
                raise item.error(
                    f"the {kind} {name!r} is here twice (first in line {first.line}).", "Keep it in one place."
                )
            if (kind == "topic" and name in left_out) or (kind == "group" and f"group {name}" in left_out):
                raise item.error(f"the {kind} {name!r} is in a batch and also under left_out.", "Keep it in one place.")
