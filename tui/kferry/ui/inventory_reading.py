"""Reading a scan for the Inventory in steps that leave the screen alive: the first rows are there at once.

The poller's thread alone uses this. Each call reads for a moment and returns what is known by then.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kferry.client import inventory
from kferry.client.inventory import Inventory
from kferry.client.session import Session
from kferry.domain.model import Group, Topic
from kferry.domain.planning.scope import group_key
from kferry.store.scan_pages import ScanPages

# How long one call reads; the screen is drawn between two of them.
STEP_SECONDS = 0.3
# After each piece the thread rests so long: whoever waits for the interpreter, such as a key, gets it now.
_LET_GO_SECONDS = 0.002
# A scan that is under way is read again at most so often, as a multiple of the time its reading took.
_REST_RATIO, _REST_SECONDS = 8.0, 1.0
# From so many rows on, the collector of garbage is told to leave them alone: a pass over them stops everything.
_MANY = 10_000


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known by now. `version` changes with every change of it."""

    found: Inventory | None
    version: int
    more: bool = False
    at_ms: int | None = None
    is_partial: bool = False


class _Document:
    """One document of the journal that holds a scan."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.at_ms: int | None = None  # of what is shown
        self.found: Inventory | None = None  # what is shown
        self.version = 0
        self._pages: ScanPages | None = None
        self._pieces: Iterator[list[Topic] | list[Group]] = iter(())
        self._new: Inventory | None = None  # what is being read
        self._began = 0.0
        self._rest_until = 0.0

    @property
    def is_reading(self) -> bool:
        return self._pages is not None

    def step(self, session: Session, at_ms: int | None) -> None:
        """Read on, or begin with a newer document."""
        if at_ms is None:
            self._stop()
            self.found, self.at_ms = None, None
            return
        if self._pages is None:
            if at_ms == self.at_ms or time.monotonic() < self._rest_until:
                return
            self._pages = ScanPages(session.layout.journal, self.kind, "source")
            self._pieces = self._pages.pieces()
            self._new = Inventory()
            self._began = time.monotonic()
        self._read()

    def _read(self) -> None:
        assert self._pages is not None and self._new is not None  # noqa: S101 -- set together above
        new, deadline = self._new, time.monotonic() + STEP_SECONDS
        was_on = gc.isenabled()
        gc.disable()  # a pass over everything that has been read so far, again and again, would take the longest
        try:
            for piece in self._pieces:
                target: list[Any] = new.topics if isinstance(piece[0], Topic) else new.groups
                target.extend(piece)
                if self.found is None:
                    self.found = new  # nothing better is shown: show it while it grows
                    break
                if time.monotonic() >= deadline:
                    break
                time.sleep(_LET_GO_SECONDS)
            else:
                self._end(new)
        except BaseException:
            self._stop()
            raise
        finally:
            if was_on:
                gc.enable()
        if self.found is new:
            self.version += 1

    def _end(self, new: Inventory) -> None:
        assert self._pages is not None  # noqa: S101
        scan = self._pages.scan(tuple(new.topics), tuple(new.groups))
        if scan is not None:
            new.finish(scan)
        self.at_ms = self._pages.at_ms
        old, self.found = self.found, new if scan is not None else None
        if old is not None and old is not new:  # what other rooms said of the old one is soon said again
            new.batches, new.findings = old.batches, old.findings
        if len(new.topics) + len(new.groups) > _MANY:
            gc.freeze()
        took = time.monotonic() - self._began
        self._rest_until = time.monotonic() + max(_REST_SECONDS, took * _REST_RATIO)
        self._stop()
        self.version += 1

    def _stop(self) -> None:
        if self._pages is not None:
            self._pages.close()
        self._pages, self._pieces, self._new = None, iter(()), None


class InventoryReading:
    """The newest whole scan of the source, or the one under way, with batches, findings and what is unused."""

    def __init__(self) -> None:
        self._whole = _Document("scan")
        self._partial = _Document("scan_partial")
        self._plan_stamp: tuple[int, int] | None = None
        self._batches: dict[str, str] = {}
        self._findings_at_ms: int | None = None
        self._findings: dict[str, int] | None = None
        self._unused_of: object = None

    def read(self, session: Session, *, prefer_partial: bool) -> Seen:
        """A step of reading. Where it says `more`, call it again soon."""
        stamps = {
            row["kind"]: row["at_ms"]
            for row in session.reader.rows(
                "select kind, at_ms from document where subject='source' and"
                " (kind='scan' or (kind='scan_partial' and length(substr(body, 1, 8)) > 4))"  # null: there is none
            )
        }
        self._whole.step(session, stamps.get("scan"))
        partial_at = stamps.get("scan_partial")
        wants_partial = partial_at is not None and (prefer_partial or "scan" not in stamps)
        self._partial.step(session, partial_at if wants_partial else None)
        shown = self._partial if wants_partial and self._partial.found is not None else self._whole
        if shown.found is None:
            return Seen(None, 0, shown.is_reading, None, wants_partial)
        self._add(session, shown)
        return Seen(shown.found, shown.version, shown.is_reading, shown.at_ms, shown is self._partial)

    def _add(self, session: Session, shown: _Document) -> None:
        """What the plan, preflight and the clean-up say about the rows that are shown."""
        found = shown.found
        assert found is not None  # noqa: S101
        self._read_plan(session)
        self._read_findings(session)
        if found.batches is not self._batches or found.findings is not self._findings:
            found.batches, found.findings = self._batches, self._findings
            shown.version += 1
        if found.scan is not None and self._unused_of is not found and found.scan.complete:
            self._unused_of = found
            found.unused = inventory.unused_of(found.scan)
            shown.version += 1

    def _read_plan(self, session: Session) -> None:
        try:
            status = session.layout.plan.stat()
            stamp = (status.st_mtime_ns, status.st_size)
        except OSError:
            stamp = (0, 0)
        if stamp == self._plan_stamp:
            return
        self._plan_stamp = stamp
        plan = session.plan_view()
        self._batches = {name: batch.name for batch in plan.batches for name in batch.topics}
        self._batches |= {group_key(name): batch.name for batch in plan.batches for name in batch.groups}

    def _read_findings(self, session: Session) -> None:
        rows = session.reader.rows("select at_ms from document where kind='findings' and subject=''")
        at_ms = rows[0]["at_ms"] if rows else None
        if at_ms == self._findings_at_ms:
            return
        self._findings_at_ms = at_ms
        body = session.reader.rows("select body from document where kind='findings' and subject=''")
        self._findings = inventory.finding_counts(json.loads(body[0]["body"])) if body else None
