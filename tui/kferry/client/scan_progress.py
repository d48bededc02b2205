"""How far the scan that runs is, as both faces draw it: share of the whole and time left as the engine says them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kferry.client import formats

if TYPE_CHECKING:
    from kferry.client.session import Session

BAR_WIDTH = 20
_FULL, _EMPTY = "█", "░"


@dataclass(frozen=True, slots=True)
class ScanState:
    """One moment of the scan of one cluster. None is "not known": never 0."""

    role: str
    at_ms: int
    what: str
    done: float | None
    total: float | None
    share: float | None
    eta_seconds: float | None

    @property
    def step_words(self) -> str:
        """What is being read: "topics 30,000 of 100,000"."""
        if self.done is None or not self.total or self.total <= 1:
            return self.what
        return f"{self.what} {self.done:,.0f} of {self.total:,.0f}"

    @property
    def left_words(self) -> str:
        if self.share is not None and self.share >= 1:
            return "almost done"
        if self.eta_seconds is None:
            return "time left unknown"
        return f"about {formats.duration(round(self.eta_seconds))} left"


def parse(role: str, at_ms: int, body: Mapping[str, Any]) -> ScanState:
    """A document `scan_progress`; what is missing in it, or no number, is unknown."""
    share = _number(body.get("share"))
    return ScanState(
        role,
        at_ms,
        str(body.get("what", "")),
        _number(body.get("done")),
        _number(body.get("total")),
        None if share is None else min(1.0, max(0.0, share)),
        _number(body.get("eta_seconds")),
    )


def newest(session: Session, *, since_ms: int = 0) -> ScanState | None:
    """How far the cluster is that is being read; None where nothing was written since then."""
    found = []
    for role in ("source", "target"):
        document = session.reader.document("scan_progress", role)
        if document is not None and document[0] >= since_ms and isinstance(document[1], dict):
            found.append(parse(role, *document))
    return max(found, key=lambda item: item.at_ms, default=None)


def bar(share: float | None, width: int = BAR_WIDTH) -> str:
    """A bar of that width; full only when all is done. Where the share is unknown it is empty, and so it is told."""
    filled = 0 if share is None else width if share >= 1 else min(width - 1, round(share * width))
    return _FULL * filled + _EMPTY * (width - filled)


def share_words(share: float | None) -> str:
    return "share unknown" if share is None else f"{int(share * 100)} %"


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
