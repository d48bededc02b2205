"""Describing a cluster in either face: what clusters.yml has, what a draft lacks, testing it, and saving it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kferry.domain.draft_gaps import gaps
from kferry.domain.drafts import DRAFTED_KEYS, KEPT, Draft, Gap, draft_of, fitted, settings_of
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import ClusterKind, Role
from kferry.domain.sources import KINDS

if TYPE_CHECKING:
    from kferry.client.session import Session
    from kferry.store.paths import Layout


@dataclass(frozen=True, slots=True)
class Opened:
    """A cluster as clusters.yml has it now, and the draft made of it."""

    draft: Draft
    keys: Mapping[str, Any]
    revision: str


def opened(layout: Layout, role: Role) -> Opened:
    """The cluster to be described. Raises KferryError where clusters.yml is not YAML."""
    from kferry.store import cluster_writer

    revision = cluster_writer.revision(layout)
    keys = cluster_writer.written_keys(layout, role)
    return Opened(draft_of(role, keys), keys, revision)


def changed(draft: Draft, **given: str | None) -> Draft:
    """The draft with what was given; words that are no kind or no way of it are refused, with those there are."""
    wanted: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if "kind" in wanted:
        kind = wanted.pop("kind")
        if kind not in {one.value for one in ClusterKind}:
            valid = ", ".join(one.value for one in ClusterKind)
            raise KferryError(f"{kind!r} is not a kind of cluster.", next_step=f"Kinds: {valid}.", kind=ErrorKind.USAGE)
        if kind != draft.kind.value:
            draft = replace(draft, kind=ClusterKind(kind), way="")
    if "way" in wanted and draft.its_kind.way(wanted["way"]) is None:
        valid = ", ".join(way.name for way in draft.its_kind.ways)
        raise KferryError(
            f"{draft.its_kind.title} has no way called {wanted['way']!r}.",
            next_step=f"Its ways: {valid}; `kferry clusters kinds` describes them.",
            kind=ErrorKind.USAGE,
        )
    mechanism = wanted.get("mechanism")
    draft = replace(draft, **wanted)
    if mechanism is not None and mechanism not in draft.its_way.mechanisms:
        valid = ", ".join(draft.its_way.mechanisms) or "none"
        raise KferryError(
            f"{mechanism!r} is no mechanism of “{draft.its_way.title}”.",
            next_step=f"Its mechanisms: {valid}.",
            kind=ErrorKind.USAGE,
        )
    return fitted(draft)


def problems(found: Opened, draft: Draft) -> tuple[Gap, ...]:
    """What the draft lacks; where it lacks nothing, what the rules of clusters.yml have against it."""
    from kferry.store import clusters_file

    missing = gaps(draft)
    if any(gap.stops for gap in missing):
        return missing
    keys = {name: "env:KEPT" if value == KEPT else value for name, value in config(found, draft).items()}
    try:
        clusters_file.cluster_of(draft.role, keys)
    except KferryError as error:
        return (Gap("", str(error)), *missing)
    return missing + files_gaps(draft)


def files_gaps(draft: Draft) -> tuple[Gap, ...]:
    """Files that are named and not there on this machine, where the engine runs too."""
    found = []
    for field in ("password", "ca", "certificate", "key"):
        text = str(getattr(draft, field)).strip()
        is_path = field != "password" and text and ":" not in text.partition("/")[0]
        place = text.removeprefix("file:") if is_path or text.startswith("file:") else ""
        if place and field in _asked(draft) and not Path(place).expanduser().is_file():
            found.append(Gap(field, f"There is no file {place} here.", stops=False))
    return tuple(found)


def _asked(draft: Draft) -> tuple[str, ...]:
    from kferry.domain.drafts import fields_of

    return fields_of(draft)


def config(found: Opened, draft: Draft) -> dict[str, Any]:
    """The keys to test: those of the draft, with the operator's other keys as they stand."""
    others = {name: value for name, value in found.keys.items() if name not in DRAFTED_KEYS}
    return {**settings_of(draft), **others}


def refuse_gaps(found: Opened, draft: Draft) -> None:
    """Raise for a draft that cannot be used yet; a secret in plain words is never sent anywhere."""
    stopping = [gap for gap in problems(found, draft) if gap.stops]
    if stopping:
        raise KferryError(
            f"The {draft.role.value} cluster is not described yet.",
            cause=" ".join(gap.words for gap in stopping),
            next_step=f"{draft.its_kind.title}: {draft.its_kind.hint}",
            kind=ErrorKind.USAGE,
        )


def send_test(session: Session, found: Opened, draft: Draft, *, dry_run: bool = False) -> Any:
    """Ask the engine to test the draft; returns its answer."""
    refuse_gaps(found, draft)
    args = {"role": draft.role.value, "config": config(found, draft)}
    return session.ask("check_draft", args, dry_run=dry_run)


def test_body(session: Session, operation_id: str) -> Mapping[str, Any] | None:
    """What the test of that operation has seen so far; None before its first line."""
    document = session.reader.document("cluster_check", "draft")
    if document is None or document[1].get("operation_id") != operation_id:
        return None
    body: Mapping[str, Any] = document[1]
    return body


def save(session: Session, found: Opened, draft: Draft, *, dry_run: bool = False) -> str:
    """Write the draft into clusters.yml and return the file's new text."""
    from kferry.store import cluster_writer

    if session.read_only and not dry_run:
        raise KferryError(
            "This session is read-only; clusters.yml is as it was.",
            next_step="Leave out --read-only to change it.",
            kind=ErrorKind.USAGE,
        )
    refuse_gaps(found, draft)
    return cluster_writer.write_cluster(
        session.layout, draft.role, keys_to_write(draft), expects=found.revision, dry_run=dry_run
    )


def keys_to_write(draft: Draft) -> dict[str, str | None]:
    """Every key that a draft decides about: its value, or None where it is not to be there."""
    settings = settings_of(draft)
    return {name: settings.get(name) for name in DRAFTED_KEYS}


def kind_rows() -> list[dict[str, Any]]:
    """Every way of every kind, as data."""
    return [
        {
            "kind": kind.kind.value,
            "title": kind.title,
            "way": way.name,
            "words": way.title,
            "security_protocol": way.protocol,
            "mechanisms": list(way.mechanisms),
            "ports": list(way.ports),
            "ca": way.ca,
            "certificate": way.certificate,
            "hint": way.hint or kind.hint,
        }
        for kind in KINDS.values()
        for way in kind.ways
    ]


def way_table() -> str:
    """Every way of every kind as the table of docs/sources.md."""
    lines = [
        "| kind | way | endpoint | protocol | mechanisms | ports | CA |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    authorities = {"": "", "system": "public", "own": "the service's own", "either": "public or your own"}
    for row in kind_rows():
        ports = ", ".join(map(str, row["ports"])) or ("yours" if row["security_protocol"] != "PLAINTEXT" else "")
        mechanisms = ", ".join(row["mechanisms"])
        cells = (f"`{row['kind']}`", f"`{row['way']}`", row["words"], row["security_protocol"], mechanisms, ports)
        lines.append(f"| {' | '.join((*cells, authorities[row['ca']]))} |")
    return "\n".join(line.replace("|  |", "| |").replace("|  |", "| |") for line in lines)
