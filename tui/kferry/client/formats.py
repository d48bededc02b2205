"""Figures as words: one way to write each unit. Unknown (None) is drawn as such and never as 0."""

from __future__ import annotations

from datetime import UTC, datetime

UNKNOWN = "unknown"
DASH = "–"

_BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def records(count: float | None, unknown: str = DASH) -> str:
    """A whole number with separators: 1,234,567."""
    return unknown if count is None else f"{count:,.0f}"


def short_count(count: float | None, unknown: str = DASH) -> str:
    """A number in at most about five characters: 950, 12.3k, 4.5M."""
    if count is None:
        return unknown
    value = float(count)
    if abs(value) < 1000:
        return f"{value:.0f}"
    for unit in ("k", "M", "G"):
        value /= 1000
        if abs(value) < 999.95:
            return f"{value:.1f}{unit}"
    return f"{value / 1000:.1f}T"


def byte_count(count: float | None, unknown: str = DASH) -> str:
    """Bytes in binary units: 512 B, 1.5 KiB, 3.0 GiB."""
    if count is None:
        return unknown
    value = float(count)
    for unit in _BINARY_UNITS[:-1]:
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} {_BINARY_UNITS[-1]}"


def record_rate(per_second: float | None, unknown: str = DASH) -> str:
    """Records per second; below ten with one decimal, so that a trickle does not read as 0."""
    if per_second is None:
        return unknown
    digits = 1 if 0 < abs(per_second) < 10 else 0
    return f"{per_second:,.{digits}f}/s"


def byte_rate(per_second: float | None, unknown: str = DASH) -> str:
    return unknown if per_second is None else f"{byte_count(per_second)}/s"


def duration(seconds: float | None, unknown: str = UNKNOWN) -> str:
    """A length of time in its two largest units: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min, 4 d 3 h."""
    if seconds is None:
        return unknown
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, size, lower, lower_size in (
        ("d", 86_400, "h", 3_600),
        ("h", 3_600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if whole >= size:
            rest = (whole % size) // lower_size
            return f"{whole // size} {unit}" + (f" {rest} {lower}" if rest else "")
    return f"{whole} s"


def age(at_ms: int | None, now_ms: int, unknown: str = UNKNOWN) -> str:
    """How long ago something was measured: "3 s ago"."""
    if at_ms is None:
        return unknown
    seconds = (now_ms - at_ms) / 1000
    if seconds < -1:
        return "in the future (check the clocks)"
    return "now" if seconds < 1 else f"{duration(float(int(seconds)))} ago".replace(".0 s", " s")


def moment(at_ms: int | None, unknown: str = DASH) -> str:
    """A point in time in UTC, to the second: 2026-03-04 05:06:07Z."""
    if at_ms is None:
        return unknown
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def clock(at_ms: int | None, unknown: str = DASH) -> str:
    """The time of day in UTC: 05:06:07."""
    if at_ms is None:
        return unknown
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%H:%M:%S")


def percent(ratio: float | None, unknown: str = DASH) -> str:
    """A share; 100 % only when it is really all of it, 0 % only when it is really nothing."""
    if ratio is None:
        return unknown
    if 0 < ratio < 0.001:
        return "<0.1 %"
    if 0.999 <= ratio < 1:
        return "99.9 %"
    return f"{ratio * 100:.1f} %" if 0 < ratio < 1 else f"{ratio * 100:.0f} %"


def yes_no(value: bool | None) -> str:
    return UNKNOWN if value is None else ("yes" if value else "no")
