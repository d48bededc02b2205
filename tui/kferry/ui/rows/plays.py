"""A play as rows and lines: host by host, with the words of what failed."""

from __future__ import annotations

from collections.abc import Sequence

from kferry.client import formats
from kferry.client.play import HostPlay
from kferry.store.views import RunStepView
from kferry.ui.cells import Cell, Line, line
from kferry.ui.rows import common
from kferry.ui.widgets.keyed_table import Column, Row

HOST_COLUMNS = (
    Column("host", 12, flex=2),
    Column("state", 13),
    Column("step now", 18, flex=5),
    Column("ok", 4, right=True),
    Column("chg", 4, right=True),
    Column("fail", 4, right=True),
    Column("took", 11, right=True),
    Column("this step", 11, right=True, from_width=100),
)

_MARKS = {
    "failed": ("✗", "bad"),
    "unreachable": ("✗", "bad"),
    "went on": ("▲", "warn"),
    "working": ("◐", "busy"),
    "waiting": ("◔", "dim"),
    "ended": ("?", "warn"),
    "done": ("✓", "ok"),
}
# How much of one host's way is drawn; the whole stands in the log.
_MOST_STEPS = 300


def host_state(host: HostPlay) -> Cell:
    mark, tone = _MARKS[host.state]
    return Cell(f"{mark} {host.state}", tone)


def host_rows(hosts: Sequence[HostPlay], now_ms: int) -> tuple[Row, ...]:
    """One line for each host, in the order given (failed ones first)."""
    return tuple(
        Row(
            host.host,
            (
                Cell(host.host, "strong"),
                host_state(host),
                Cell(_step(host), "" if host.state in ("working", "failed", "unreachable") else "dim"),
                Cell(str(host.ok), "dim"),
                Cell(str(host.changed), "busy" if host.changed else "dim"),
                Cell(str(host.failed), "bad" if host.failed else "dim"),
                Cell(_seconds(host.seconds(now_ms)), "busy" if host.state == "working" else "dim"),
                Cell(_seconds(host.step_seconds(now_ms)), "busy"),
            ),
        )
        for host in hosts
    )


def _step(host: HostPlay) -> str:
    again = f"  (tried {host.retries + 1} times)" if host.retries and host.state == "working" else ""
    return f"{host.role} › {host.step}{again}" if host.role else f"{host.step}{again}"


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else formats.duration(float(int(seconds))).replace(".0 s", " s")


def host_lines(host: HostPlay, now_ms: int) -> list[Line]:
    """One host in full: what failed with the module's own words, then its way through the play, newest last."""
    lines = [line(Cell(f"{host.host}  ", "title"), host_state(host), Cell(f"  {_step(host)}", "dim"))]
    for item in host.failures:
        lines += failure_lines(item)
    shown = host.outcomes[-_MOST_STEPS:]
    if len(host.outcomes) > len(shown):
        lines.append(line(Cell(f"… {len(host.outcomes) - len(shown)} steps before", "dim")))
    for item in shown:
        told = item.message.splitlines()[0] if item.message and item.kind in ("changed", "retry") else ""
        lines.append(
            line(
                Cell(f"{formats.clock(item.at_ms)}  ", "dim"),
                common.symbol(item.kind),
                Cell(f" {item.kind:<11} ", "dim"),
                f"{item.role} › {item.step}" if item.role else item.step,
                Cell(f"  {told}" if told else "", "dim"),
            )
        )
    if host.state == "working":
        since = _seconds(host.step_seconds(now_ms))
        lines.append(
            line(Cell(f"{formats.clock(host.step_since_ms)}  ◐ now         ", "busy"), _step(host), f"  {since}")
        )
    return lines


def failure_lines(item: RunStepView) -> list[Line]:
    """A step that failed: where, and its message in full."""
    where = f"{item.role} › {item.step}" if item.role else item.step
    lines = [line(Cell(f"✗ {item.host}: ", "bad"), Cell(where, "strong"))]
    return lines + [line("  ", Cell(text, "bad")) for text in item.message.splitlines() or ["It gave no reason."]]


def glance_lines(hosts: Sequence[HostPlay], next_words: str, tail: Sequence[str], now_ms: int) -> list[Line]:
    """A play in short: what failed, in full; what comes next; each host with what it does; the log's last lines."""
    lines = [row for host in hosts for item in host.failures for row in failure_lines(item)]
    lines.append(line(Cell("next  ", "dim"), Cell(next_words, "strong")))
    if not hosts:
        lines.append(line(Cell("No host has answered yet.", "dim")))
    lines += [_host_line(host, now_ms) for host in hosts]
    return lines + [line(Cell("log   ", "dim"), Cell(text, "dim")) for text in tail]


def _host_line(host: HostPlay, now_ms: int) -> Line:
    counts = f"ok {host.ok} changed {host.changed}" + (f" failed {host.failed}" if host.failed else "")
    return line(
        Cell(f"{host.host}  ", "strong"),
        host_state(host),
        f"  {host.step}",
        Cell(f"  {counts}  {_seconds(host.seconds(now_ms))}", "dim"),
    )


def log_lines(texts: Sequence[str], why: str) -> list[Line]:
    """The tail of a log; failures stand out, nothing in it is markup."""
    if not texts:
        return [line(Cell(why, "dim"))]
    return [line(Cell(text, _log_tone(text))) for text in texts]


def _log_tone(text: str) -> str:
    if text.startswith(("fatal:", "failed:", "ERROR", "[ERROR]")):
        return "bad"
    return (
        "warn" if text.startswith(("changed:", "[WARNING]")) else "strong" if text.startswith(("TASK", "PLAY")) else ""
    )
