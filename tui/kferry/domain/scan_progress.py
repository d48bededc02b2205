"""How far a scan is, and how long it will still take: the parts are weighed by how long they usually take."""

from __future__ import annotations

from dataclasses import dataclass

# In the order in which they run. The unit is arbitrary.
WEIGHTS: dict[str, float] = {
    "cluster": 1,
    "topics": 60,
    "groups": 12,
    "sizes": 2,
    "access": 2,
    "transactional ids": 4,
    "producers": 3,
    "second sample": 10,
    "lag": 6,
}
# Earlier an estimate would jump about.
_EARLIEST_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class ScanProgress:
    """One moment of a scan. `eta_seconds` is None while it is too early to say."""

    what: str
    done: int
    total: int
    seconds: float
    share: float
    eta_seconds: float | None


class ScanMeter:
    """Turns what a scan says of itself into a share of the whole; the share never falls."""

    def __init__(self, already: float = 0.0) -> None:
        self._already = already  # what an earlier scan had done
        self._share = already

    def at(self, what: str, done: int, total: int, seconds: float) -> ScanProgress:
        """`what` is one of WEIGHTS; a part of another name leaves the share where it is."""
        if what in WEIGHTS:
            whole = sum(WEIGHTS.values())
            names = list(WEIGHTS)
            before = sum(WEIGHTS[name] for name in names[: names.index(what)])
            inside = WEIGHTS[what] * (done / total if total else 1.0)
            self._share = min(1.0, max(self._share, (before + inside) / whole))
        gained = self._share - self._already
        is_known = gained >= _EARLIEST_SHARE and seconds > 0
        eta_seconds = seconds * (1.0 - self._share) / gained if is_known else None
        return ScanProgress(what, done, total, seconds, self._share, eta_seconds)
