"""Certificates and the migration report as Markdown, from what the journal holds. Text from clusters is escaped."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kferry.client import formats
from kferry.client.sanitize import clean
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.security import waiver_lines

if TYPE_CHECKING:
    from kferry.client.session import Session

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|!~&])")


def escape(text: object) -> str:
    """Text as Markdown that shows exactly it."""
    return _MARKUP.sub(r"\\\1", clean(text))


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [f"| {' | '.join(headers)} |", "|" + " --- |" * len(headers)]
    lines += [f"| {' | '.join(escape(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def require_certificate(session: Session, batch: str) -> Mapping[str, Any]:
    """A batch's certificate, or the sentence why there is none."""
    found = session.reader.certificate(batch)
    if found is None:
        known = ", ".join(item.name for item in session.plan_view().batches) or "none"
        raise KferryError(
            f"There is no certificate of {batch!r}.",
            cause=f"Its cutover has not come so far, or there is no such batch (there are: {known}).",
            next_step="See: kferry plan show",
            kind=ErrorKind.NOT_READY,
        )
    return found


def certificate(batch: str, data: Mapping[str, Any]) -> str:
    """A certificate as Markdown: every field it has, tables for lists of rows."""
    parts = [f"# Certificate of {escape(batch)}"]
    plain = {key: value for key, value in data.items() if not isinstance(value, list | dict)}
    parts.append(table(("field", "value"), ((_words(key), _value(key, value)) for key, value in plain.items())))
    for key, value in data.items():
        if isinstance(value, list | dict) and value:
            parts.append(f"## {escape(_words(key)).capitalize()}\n\n{_section(value)}")
    return "\n\n".join(parts) + "\n"


def migration_data(session: Session) -> dict[str, Any]:
    """The migration in figures: phases, batches, certificates, changes."""
    from kferry.client import files

    reader = session.reader
    settings = files.settings(session.layout)
    now_ms = int(time.time() * 1000)
    rows = reader.chain_rows()
    clusters = files.clusters(session.layout) if session.layout.clusters.exists() else {}
    return {
        "name": settings.name,
        "migration_id": settings.migration_id,
        "written_at_ms": now_ms,
        "journal_head": rows[-1]["hash"] if rows else None,
        "clusters": session.cluster_views(),
        "phases": session.rail(),
        "batches": session.plan_view().batches,
        "certificates": {
            batch.name: reader.certificate(batch.name) is not None for batch in session.plan_view().batches
        },
        "waived": [finding for finding in reader.findings(now_ms) or () if finding.waived_by],
        "notes": waiver_lines(clusters.values(), now_ms),
        "changes": reader.changes(),
    }


def migration(session: Session) -> str:
    """The report of the migration as Markdown."""
    data = migration_data(session)
    parts = [
        f"# Migration {escape(data['name'])} ({data['migration_id']})",
        f"Written {formats.moment(data['written_at_ms'])}; head of the journal: {data['journal_head'] or 'none'}.",
        "## Phases\n\n"
        + table(("phase", "state", "words"), ((phase.name, phase.state, phase.words) for phase in data["phases"])),
        "## Clusters\n\n"
        + table(
            ("cluster", "kind", "bootstrap", "version", "id"),
            (
                (
                    view.role,
                    view.kind,
                    view.bootstrap_servers,
                    view.kafka_version or formats.UNKNOWN,
                    view.cluster_id or formats.UNKNOWN,
                )
                for view in data["clusters"]
            ),
        ),
    ]
    if data["notes"]:
        parts.append("## Notes\n\n" + "\n".join(f"- {escape(note)}" for note in data["notes"]))
    if data["batches"]:
        parts.append(
            "## Batches\n\n"
            + table(
                ("batch", "phase", "topics", "groups", "certificate"),
                (
                    (
                        batch.name,
                        batch.phase,
                        ", ".join(batch.topics),
                        ", ".join(batch.groups) or formats.DASH,
                        "yes" if data["certificates"][batch.name] else "no",
                    )
                    for batch in data["batches"]
                ),
            )
        )
    if data["waived"]:
        parts.append(
            "## Waived findings\n\n"
            + table(
                ("finding", "who", "why", "until"),
                (
                    (item.finding_id, item.waived_by, item.waived_why, formats.moment(item.waived_until_ms))
                    for item in data["waived"]
                ),
            )
        )
    if data["changes"]:
        parts.append(
            "## Changes to clusters and hosts\n\n"
            + table(
                ("#", "at", "where", "what", "before", "after", "status"),
                (
                    (
                        change.change_id,
                        formats.moment(change.at_ms),
                        change.scope,
                        " ".join(part for part in (change.resource, change.name, change.key) if part),
                        formats.DASH if change.before is None else change.before,
                        formats.DASH if change.after is None else change.after,
                        change.status,
                    )
                    for change in data["changes"]
                ),
            )
        )
    return "\n\n".join(parts) + "\n"


def _section(value: list[Any] | dict[str, Any]) -> str:
    if isinstance(value, dict):
        return table(("field", "value"), ((_words(key), _value(key, item)) for key, item in value.items()))
    if all(isinstance(item, dict) for item in value):
        keys = list(dict.fromkeys(key for item in value for key in item))
        return table([_words(key) for key in keys], ([_value(key, item.get(key)) for key in keys] for item in value))
    return "\n".join(f"- {escape(item)}" for item in value)


def _words(key: str) -> str:
    return str(key).removesuffix("_at_ms").replace("_", " ")


def _value(key: str, value: Any) -> str:
    if value is None:
        return formats.UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and str(key).endswith("_at_ms"):
        return formats.moment(value)
    return str(value)
