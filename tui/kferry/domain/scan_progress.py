"""How far a scan is, and how long it will still take: the parts are weighed by how long they usually take."""

from __future__ import annotations

from collections.abc import Mapping
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
    """Turns what a scan says of itself into a share of the whole; the share never falls.

    `already` is the share of each part that an earlier scan had done. It counts as done, and tells
    nothing of the speed.
    """

    def __init__(self, already: Mapping[str, float] | None = None) -> None:
        taken = {name: min(1.0, max(0.0, share)) for name, share in (already or {}).items() if name in WEIGHTS}
        self._ahead = taken
        self._already = self._weigh(taken)
        self._share = self._already

    @staticmethod
    def _weigh(shares: Mapping[str, float]) -> float:
        return sum(WEIGHTS[name] * share for name, share in shares.items()) / sum(WEIGHTS.values())

    def at(self, what: str, done: int, total: int, seconds: float) -> ScanProgress:
        """`what` is one of WEIGHTS; a part of another name leaves the share where it is.

        What was taken over must be in `done` once its part has begun.
        """
        if what in WEIGHTS:
            names = list(WEIGHTS)
            at = names.index(what)
            shares = dict.fromkeys(names[:at], 1.0)
            shares[what] = max(done / total if total else 1.0, self._ahead.get(what, 0.0))
            shares |= {name: self._ahead.get(name, 0.0) for name in names[at + 1 :]}
            self._share = min(1.0, max(self._share, self._weigh(shares)))
        gained = self._share - self._already
        is_known = gained >= _EARLIEST_SHARE and seconds > 0
        eta_seconds = seconds * (1.0 - self._share) / gained if is_known else None
        return ScanProgress(what, done, total, seconds, self._share, eta_seconds)
