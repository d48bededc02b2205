"""What plan.yml was before each change that kferry made, so that an edit can be undone exactly."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

from kferry.domain.errors import ErrorKind, KferryError
from kferry.store.atomic_write import write_bytes, write_text
from kferry.store.paths import Layout

KEPT = 50


@dataclass(frozen=True, slots=True)
class PlanRevision:
    """One change of plan.yml. `before` is the whole file as it was, `after` the short hash of what it became."""

    number: int
    at_ms: int
    what: str
    after: str
    before: bytes
    path: Path


def short_hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def keep(layout: Layout, after: bytes, what: str) -> None:
    """Keep the file as it stands, which is about to become `after`. The oldest ones go."""
    try:
        before = layout.plan.read_bytes()
    except FileNotFoundError:
        return
    if before == after:
        return
    kept = revisions(layout)
    number = kept[0].number + 1 if kept else 1
    folder = layout.plan_revisions
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    body = {
        "at_ms": int(time.time() * 1000),
        "what": what,
        "after": short_hash(after),
        "before": before.decode("utf-8", "surrogateescape"),  # also what is no text comes back byte by byte
    }
    write_text(folder / f"{number:06d}.json", json.dumps(body))
    for old in kept[KEPT - 1 :]:
        old.path.unlink(missing_ok=True)


def revisions(layout: Layout) -> list[PlanRevision]:
    """All kept revisions, the newest first. A file that can't be read is passed over: it undoes nothing."""
    found = []
    for path in sorted(layout.plan_revisions.glob("[0-9]*.json"), reverse=True):
        try:
            body = json.loads(path.read_bytes())
            found.append(
                PlanRevision(
                    int(path.stem),
                    int(body["at_ms"]),
                    str(body["what"]),
                    str(body["after"]),
                    str(body["before"]).encode("utf-8", "surrogateescape"),
                    path,
                )
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def undoable(layout: Layout) -> PlanRevision:
    """The change that `undo` would take back: the one that made the file what it is now."""
    kept = revisions(layout)
    current = short_hash(layout.plan.read_bytes()) if layout.plan.exists() else ""
    found = next((one for one in kept if one.after == current), None)
    if found is not None:
        return found
    if not kept:
        raise KferryError(
            "There is no edit of plan.yml to undo.",
            cause="kferry has not changed it, or the revisions were deleted.",
            kind=ErrorKind.USAGE,
        )
    raise KferryError(
        "plan.yml was changed by hand since kferry wrote it; nothing was undone.",
        cause=f"The last change of kferry's was: {kept[0].what or 'planned'}.",
        next_step="Take your change back with your editor or git, then undo again.",
        kind=ErrorKind.DRIFT,
    )


def undo(layout: Layout) -> PlanRevision:
    """Put plan.yml back as it was before its last change; a second undo takes back the one before that."""
    found = undoable(layout)
    write_bytes(layout.plan, found.before)
    for one in revisions(layout):
        if one.number >= found.number:
            one.path.unlink(missing_ok=True)
    return found
