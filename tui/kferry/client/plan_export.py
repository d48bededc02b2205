"""The plan with everything known about it, as JSON-ready data, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kferry.client import formats
from kferry.client.sanitize import clean
from kferry.domain import planning
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Plan

if TYPE_CHECKING:
    from kferry.client.session import Session
    from kferry.domain.applications import Application
    from kferry.domain.model import Batch
    from kferry.domain.planning import Estimate, Graph

FORMATS = ("md", "json", "csv")
# what a spreadsheet would run as a formula
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "|", "%")
_CSV_HEADERS = (
    "position",
    "batch",
    "phase",
    "kind",
    "name",
    "system",
    "owner",
    "tags",
    "class",
    "partitions",
    "records",
    "bytes",
    "expected repeats",
    "batch risk",
    "batch hours",
    "batch workers",
    "reason",
)


def document(session: Session) -> dict[str, Any]:
    """The plan as data: batches with estimates, classes, reasons and violations. Unknown is null."""
    from kferry.client import files, plan_edit
    from kferry.store import plan_file

    plan = plan_file.load_plan(session.layout)
    rules = plan_edit.load_rules(session)
    scan = session.reader.scan("source")
    settings = files.settings(session.layout)
    rows = session.reader.batch_rows()
    phases = {name: str(row["phase"]) for name, row in rows.items()}
    rates = plan_edit.rates(session)
    body: dict[str, Any] = {
        "migration": settings.name,
        "migration_id": settings.migration_id,
        "revision": plan_file.revision(session.layout),
        "edited_by_hand": plan_file.edited_by_hand(session.layout),
        "scan_id": plan.scan_id,
        "scanned_at_ms": scan.taken_at_ms if scan is not None else None,
        "rates": rates.words,
    }
    if scan is None:
        return body | {
            "batches": [_batch(plan, batch, phases, None, None, None) for batch in plan.batches],
            "left_out": dict(plan.left_out),
            "violations": None,
            "bridges": None,
        }
    graph = planning.Graph(scan, rules)
    estimator = planning.Estimator(scan, rates)
    index = planning.ApplicationIndex(graph.applications)
    return body | {
        "batches": [_batch(plan, batch, phases, graph, estimator.of(batch), index.of(batch)) for batch in plan.batches],
        "left_out": dict(plan.left_out),
        "violations": [
            {"subject": subject, "words": words} for subject, words in planning.violations(plan, scan, rules)
        ],
        "bridges": [bridge_data(bridge) for bridge in graph.bridges()],
    }


def bridge_data(bridge: planning.Bridge) -> dict[str, Any]:
    """A bridge as data."""
    return {
        "kind": bridge.node.kind.value,
        "name": bridge.node.name,
        "topics": list(bridge.topics),
        "parts": [list(part) for part in bridge.parts],
        "with_others": list(bridge.with_others),
        "consequence": bridge.consequence,
    }


def estimate_data(found: Estimate) -> dict[str, Any]:
    """An estimate as data; hours by number of workers, null where unknown or never."""
    return {
        "words": found.words,
        "bytes": found.size.bytes,
        "records": found.size.records,
        "partitions": found.size.partitions,
        "ingress_bytes_per_second": found.ingress_bytes_per_second,
        "hours_by_workers": {str(one.workers): one.hours for one in found.copy_times},
        "never_done": bool(found.copy_times) and all(one.never for one in found.copy_times),
        "workers": found.workers,
        "tasks_max": found.connector_tasks_max,
        "hours": found.hours,
        "window_seconds": found.window_seconds,
        "repeats": [{"group": one.group_id, "records": one.records, "why": one.why} for one in found.repeats],
        "retention_races": None
        if found.races is None
        else [
            {"topic": one.topic, "lifetime_hours": one.lifetime_hours, "lost": one.lost, "words": one.words}
            for one in found.races
        ],
    }


def application_data(found: Application) -> dict[str, Any]:
    """An application as data."""
    return {
        "name": found.name,
        "class": found.class_.value,
        "set_by_operator": found.set_by_operator,
        "evidence": list(found.evidence),
        "cutover": found.style.value,
        "groups": list(found.groups),
        "transactional_ids": list(found.transactional_ids),
        "reads": sorted(found.reads),
        "writes": sorted(found.writes),
        "warnings": list(found.warnings),
    }


def render(body: Mapping[str, Any], form: str) -> str:
    """The document as text of one of FORMATS."""
    import json

    if form == "md":
        return markdown(body)
    if form == "csv":
        return csv_text(body)
    if form == "json":
        return json.dumps(body, indent=2, ensure_ascii=True) + "\n"
    raise KferryError(
        f"{form!r} is no format of an export.", next_step=f"Choose one of {', '.join(FORMATS)}.", kind=ErrorKind.USAGE
    )


def markdown(body: Mapping[str, Any]) -> str:
    """The document for people, and for a wiki."""
    from kferry.client.report import escape, table

    scanned = formats.moment(body["scanned_at_ms"])
    parts = [
        f"# Plan of the migration {escape(body['migration'])} ({body['migration_id']})",
        f"Revision {body['revision'] or formats.DASH}"
        + (", edited by the operator" if body["edited_by_hand"] else "")
        + f"; the source as scanned {scanned}. Copy times: {escape(body['rates'])}.",
        table(
            ("#", "batch", "phase", "topics", "groups", "risk", "to copy", "hours", "workers", "cutover"),
            (_overview_row(batch) for batch in body["batches"]),
        ),
    ]
    if body["violations"] is None:
        parts.append("The source was not scanned: sizes, classes and violations are unknown.")
    elif body["violations"]:
        listed = "\n".join(f"- {escape(one['words'])}" for one in body["violations"])
        parts.append(f"## What this plan tears apart or misses\n\n{listed}")
    for bridge in body["bridges"] or ():
        title = f"{bridge['kind']} {bridge['name']}"
        parts.append(f"## Bridge: {escape(title)}\n\n{escape(bridge['consequence'])}")
    parts += [_batch_section(batch) for batch in body["batches"]]
    if body["left_out"]:
        parts.append("## What stays behind\n\n" + table(("name", "reason"), sorted(body["left_out"].items())))
    return "\n\n".join(parts) + "\n"


def batch_text(batch: Mapping[str, Any]) -> str:
    """One batch for a terminal."""
    marks = [word for word in ("canary", "pinned") if batch[word]]
    figures = batch["estimate"]
    repeats = {one["group"]: one for one in (figures or {}).get("repeats", ())}
    lines = [f"{batch['name']}: number {batch['position']}, {', '.join([batch['phase'], *marks])}"]
    lines += [batch["note"]] if batch["note"] else []
    lines += ["", *batch["why"], "", f"Cutover: {batch['cutover'] or formats.UNKNOWN}"]
    lines += [f"Warning: {words}" for words in batch["warnings"]]
    lines += ["", *(_estimate_lines(figures) if figures is not None else ["The source was not scanned."]), ""]
    lines += [
        f"topic {one['name']}: {formats.records(one['partitions'], formats.UNKNOWN)} partitions,"
        f" {formats.byte_count(one['bytes'], formats.UNKNOWN)}"
        for one in batch["topic_details"]
    ]
    lines += [
        f"group {one['name']}: {one['class'] or formats.UNKNOWN}, repeats {_repeats(repeats.get(one['name']))}"
        for one in batch["group_details"]
    ]
    return "\n".join(clean(line) for line in lines)


def csv_text(body: Mapping[str, Any]) -> str:
    """One line for each topic and group, also for what stays behind; safe to open in a spreadsheet."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(_CSV_HEADERS)
    for batch in body["batches"]:
        figures = batch["estimate"] or {}
        head = (batch["position"], batch["name"], batch["phase"])
        tail = (batch["risk"], _rounded(figures.get("hours")), figures.get("workers"))
        repeats = {one["group"]: one["records"] for one in figures.get("repeats", ())}
        for topic in batch["topic_details"]:
            row = (*_owner(topic), "", topic["partitions"], topic["records"], topic["bytes"], None)
            writer.writerow(cell(value) for value in (*head, "topic", topic["name"], *row, *tail, ""))
        for group in batch["group_details"]:
            row = (*_owner(group), group["class"], None, None, None, repeats.get(group["name"]))
            writer.writerow(cell(value) for value in (*head, "group", group["name"], *row, *tail, ""))
    for key, reason in sorted(body["left_out"].items()):
        kind, name = ("group", key.removeprefix("group ")) if key.startswith("group ") else ("topic", key)
        empty = (None,) * (len(_CSV_HEADERS) - 6)
        writer.writerow(cell(value) for value in (None, "", "left out", kind, name, *empty, reason))
    return out.getvalue()


def cell(value: object) -> object:
    """A cell of a CSV file: text that a spreadsheet would take for a formula gets an apostrophe in front."""
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return value
    text = clean(value)
    raw = str(value).lstrip(" ")
    return f"'{text}" if raw.startswith(_FORMULA_STARTS) else text


def _owner(item: Mapping[str, Any]) -> tuple[str, str, str]:
    return item["system"] or "", item["owner"] or "", " ".join(item["tags"])


def _batch(
    plan: Plan,
    batch: Batch,
    phases: Mapping[str, str],
    graph: Graph | None,
    found: Estimate | None,
    applications: Sequence[Application] | None,
) -> dict[str, Any]:
    from kferry.domain.applications import style_of

    position = plan.batches.index(batch) + 1
    class_of = {name: one.class_.value for one in applications or () for name in one.groups}
    return {
        "position": position,
        "name": batch.name,
        "phase": phases.get(batch.name, "planned"),
        "pinned": batch.pinned,
        "canary": batch.canary,
        "topics": list(batch.topics),
        "groups": list(batch.groups),
        "risk": batch.risk,
        "why": list(batch.why),
        "warnings": list(batch.warnings),
        "note": batch.note,
        "cutover": style_of(applications).value if applications is not None else None,
        "applications": None if applications is None else [application_data(one) for one in applications],
        "estimate": None if found is None else estimate_data(found),
        "topic_details": [_topic(graph, name) for name in batch.topics],
        "group_details": [_group(graph, name, class_of.get(name)) for name in batch.groups],
    }


def _topic(graph: Graph | None, name: str) -> dict[str, Any]:
    details: dict[str, Any] = {"name": name, "system": None, "owner": None, "tags": []}
    details |= {"partitions": None, "records": None, "bytes": None}
    if graph is None:
        return details
    system = graph.business_system(name)
    details["system"] = graph.system_of(name)
    if system is not None:
        details |= {"owner": system.owner or None, "tags": list(system.tags)}
    found = graph.size_of_topic(name)
    return details | {"partitions": found.partitions, "records": found.records, "bytes": found.bytes}


def _group(graph: Graph | None, name: str, class_: str | None) -> dict[str, Any]:
    system = graph.rules.system_of_group(name) if graph is not None else None
    return {
        "name": name,
        "class": class_,
        "system": system.name if system is not None else None,
        "owner": (system.owner or None) if system is not None else None,
        "tags": list(system.tags) if system is not None else [],
    }


def _overview_row(batch: Mapping[str, Any]) -> tuple[object, ...]:
    figures = batch["estimate"] or {}
    marks = [word for word in ("canary", "pinned") if batch[word]]
    return (
        batch["position"],
        batch["name"] + (f" ({', '.join(marks)})" if marks else ""),
        batch["phase"],
        len(batch["topics"]),
        len(batch["groups"]),
        f"{batch['risk']:g}",
        formats.byte_count(figures.get("bytes"), formats.UNKNOWN),
        _hours(figures),
        figures.get("workers") or formats.UNKNOWN,
        batch["cutover"] or formats.UNKNOWN,
    )


def _batch_section(batch: Mapping[str, Any]) -> str:
    from kferry.client.report import escape, table

    parts = [f"## {batch['position']}. {escape(batch['name'])}"]
    if batch["note"]:
        parts.append(escape(batch["note"]))
    parts.append("\n".join(f"- {escape(words)}" for words in batch["why"]) or "No reasons were kept.")
    if batch["warnings"]:
        parts.append("Before the cutover:\n\n" + "\n".join(f"- {escape(words)}" for words in batch["warnings"]))
    figures = batch["estimate"]
    if figures is not None:
        parts.append("\n".join(f"- {escape(line)}" for line in _estimate_lines(figures)))
    topics = [
        (
            one["name"],
            one["system"] or formats.DASH,
            one["owner"] or formats.DASH,
            formats.records(one["partitions"], formats.UNKNOWN),
            formats.byte_count(one["bytes"], formats.UNKNOWN),
        )
        for one in batch["topic_details"]
    ]
    parts.append(table(("topic", "system", "owner", "partitions", "size"), topics))
    if batch["group_details"]:
        repeats = {one["group"]: one for one in (figures or {}).get("repeats", ())}
        rows = [
            (
                one["name"],
                one["class"] or formats.UNKNOWN,
                one["owner"] or formats.DASH,
                _repeats(repeats.get(one["name"])),
            )
            for one in batch["group_details"]
        ]
        parts.append(table(("group", "class", "owner", "expected repeats"), rows))
    return "\n\n".join(parts)


def _estimate_lines(figures: Mapping[str, Any]) -> list[str]:
    lines = [figures["words"]]
    hours = [
        f"{workers}: {formats.duration(value * 3600)}"
        for workers, value in figures["hours_by_workers"].items()
        if value is not None
    ]
    if hours:
        lines.append(f"Copy time by number of workers: {', '.join(hours)}.")
    lines.append(f"tasks.max {figures['tasks_max'] if figures['tasks_max'] is not None else formats.UNKNOWN}.")
    lines.append(f"Producers wait about {formats.duration(figures['window_seconds'])} at the switch.")
    lines += [f"Retention: {one['words']}." for one in figures["retention_races"] or ()]
    if figures["retention_races"] is None:
        lines.append("Whether records expire before they are copied is unknown.")
    return lines


def _repeats(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return formats.UNKNOWN
    words = formats.records(found["records"], formats.UNKNOWN)
    return f"{words} ({found['why']})" if found["why"] else words


def _hours(figures: Mapping[str, Any]) -> str:
    if figures.get("never_done"):
        return "never"
    hours = figures.get("hours")
    return formats.UNKNOWN if hours is None else formats.duration(hours * 3600)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
