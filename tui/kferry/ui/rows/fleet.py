"""Machines of the fleet as rows and lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kferry.client import fleet, formats, play
from kferry.client.fleet import Fleet, Machine, Probe, WorkerHere
from kferry.store.views import StepView
from kferry.ui.bindings import first_key
from kferry.ui.cells import Cell, Line, line
from kferry.ui.rows import common
from kferry.ui.rows.plays import host_state
from kferry.ui.rows.tasks import heap_words
from kferry.ui.widgets.keyed_table import Column, Row

MACHINE_COLUMNS = (
    Column("machine", 12, flex=2),
    Column("usable", 12),
    Column("address", 14, from_width=100),
    Column("zone", 7),
    Column("system", 9, flex=1, from_width=120),
    Column("memory free", 13, right=True),
    Column("disk free", 9, right=True, from_width=100),
    Column("clock", 7, right=True, from_width=120),
    Column("java", 4, right=True, from_width=120),
    Column("workers", 14, flex=3),
)

_VERDICTS = {
    "usable": ("● usable", "ok"),
    "left out": ("✗ left out", "bad"),
    "silent": ("✗ silent", "bad"),
    "unknown": ("? unknown", "warn"),
}

EMPTY = (
    "No machines yet. Add them to the group kferry_workers of inventory/hosts.yml, with address, user and key;\n"
    "then run: kferry fleet trust, and press t to check them. docs/fleet.md shows it step by step."
)


def rows(found: Fleet, now_ms: int, progress: Mapping[str, play.HostPlay]) -> tuple[Row, ...]:
    """Silent machines first, then those left out, then unknown ones; else in the order of hosts.yml."""
    order = {False: 0, None: 1, True: 2}
    machines = sorted(found.machines, key=lambda machine: (machine.was_reached is not False, order[machine.usable]))
    old = found.is_old(now_ms)
    return tuple(_row(machine, old, progress.get(machine.name)) for machine in machines)


def _row(machine: Machine, old: bool, at_work: play.HostPlay | None) -> Row:
    facts = machine.facts
    text = (
        Cell(machine.name, "strong"),
        usable(machine, old, at_work),
        Cell(machine.address or formats.DASH, "dim"),
        Cell(machine.zone or formats.DASH, "dim"),
        common.figure(fleet.os_words(facts) or formats.DASH, old),
        common.figure(_memory(facts), old),
        common.figure(formats.byte_count(_number(facts, "free_disk_bytes")), old),
        common.figure(clock_words(_number(facts, "clock_offset_seconds")), old),
        common.figure(_java(facts), old),
        _workers_cell(machine.workers),
    )
    return Row(machine.name, text, " ".join((machine.address, *(cell.text for cell in text), *machine.reasons)))


def usable(machine: Machine, old: bool = False, at_work: play.HostPlay | None = None) -> Cell:
    """The verdict as symbol and word; unknown is drawn apart from yes and no."""
    if at_work is not None and at_work.state in ("working", "waiting"):
        return Cell("◐ checking", "busy")
    word = fleet.word_of(machine)
    if word == "usable" and old:
        return Cell("● was usable", "dim")
    return Cell(*_VERDICTS[word])


def _number(facts: Mapping[str, Any], key: str) -> float | None:
    value = facts.get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _memory(facts: Mapping[str, Any]) -> str:
    """Free of all: "3.1/3.8 GiB"; the unit once, that of the whole."""
    free, total = _number(facts, "free_memory_bytes"), _number(facts, "memory_bytes")
    if total is None:
        return formats.DASH if free is None else formats.byte_count(free).replace(" ", "/? ")
    whole, unit = formats.byte_count(total).split(" ")
    if free is None:
        return f"?/{whole} {unit}"
    scale = total / float(whole) if float(whole) else 1.0
    return f"{free / scale:.1f}/{whole} {unit}"


def clock_words(offset: float | None) -> str:
    """How far the machine's clock is from the controller's: "+0.02 s"."""
    if offset is None:
        return formats.DASH
    return f"{offset:+.2f} s" if abs(offset) < 10 else f"{offset:+.0f} s"


def _java(facts: Mapping[str, Any]) -> str:
    """The major version; "none" is known, a dash is not."""
    version = facts.get("java_version")
    return formats.DASH if version is None else str(version).split(".")[0] or "none"


def _workers_cell(workers: Sequence[WorkerHere]) -> Cell:
    if not workers:
        return Cell("none", "dim")
    names = ", ".join(f"{_mark(worker)} {worker.name}" for worker in workers)
    alive = [worker.alive for worker in workers]
    return Cell(names, "bad" if False in alive else "warn" if None in alive else "")


def _mark(worker: WorkerHere) -> str:
    return {True: "●", False: "✗", None: "?"}[worker.alive]


# ---- above the table ------------------------------------------------------------------------------------------------


def head_lines(found: Fleet, now_ms: int, progress: Mapping[str, play.HostPlay], alive: bool) -> list[Line]:
    """How old the check is, what it counts, and what runs or went wrong."""
    lines = [_age_line(found, now_ms)]
    if found.problem:
        lines += common.error_lines(found.problem)
    check = found.check
    if check is not None and check.status == "running" and not alive:
        lines.append(
            line(Cell("▲ A check was under way when the engine ended; it goes on when the engine runs.", "warn"))
        )
    elif check is not None and check.status == "running":
        lines.append(_running_line(check.steps, now_ms, progress))
    elif check is not None and check.status in ("failed", "needs operator") and not found.problem:
        step = next((step for step in check.steps if step.error), None)
        lines += common.error_lines((step.error if step else None) or check.error)
    if found.is_local_only:
        lines.append(
            line(Cell("Only this machine so far. Machines are added in inventory/hosts.yml, see docs/fleet.md.", "dim"))
        )
    return lines


def _age_line(found: Fleet, now_ms: int) -> Line:
    words = Cell(fleet.counts(found.machines), "strong")
    key = first_key("fleet_check")
    if found.checked_at_ms is None:
        return line(words, Cell("   never checked", "warn"), Cell(f"   {key} checks them all", "dim"))
    age = formats.age(found.checked_at_ms, now_ms)
    if found.is_old(now_ms):
        return line(words, Cell(f"   ▲ checked {age}: old", "warn"))
    return line(words, Cell(f"   checked {age}", "dim"))


def _running_line(steps: Sequence[StepView], now_ms: int, progress: Mapping[str, play.HostPlay]) -> Line:
    started = next((step.started_at_ms for step in steps if step.started_at_ms is not None), None)
    since = f" since {formats.duration(float(int((now_ms - started) / 1000)))}" if started is not None else ""
    over = sum(host.state not in ("working", "waiting") for host in progress.values())
    at = next((host.step for host in progress.values() if host.state == "working"), "")
    told = f"   {over} of {len(progress)} have answered" if progress else "   no machine has answered yet"
    return line(
        Cell(f"◐ checking{since.replace('.0 s', ' s')}", "busy"), told, Cell(f"   now: {at}" if at else "", "dim")
    )


# ---- below the table ------------------------------------------------------------------------------------------------


def detail_lines(machine: Machine, found: Fleet, now_ms: int, alive: bool, at_work: play.HostPlay | None) -> list[Line]:
    """One machine in full: verdict, reasons, workers with their figures, brokers, facts."""
    old = found.is_old(now_ms)
    where = "this machine" if machine.is_local else machine.address or "address not known"
    zone = f"  zone {machine.zone}" if machine.zone else ""
    lines = [line(Cell(f"{machine.name}  ", "title"), usable(machine, old, at_work), Cell(f"  {where}{zone}", "dim"))]
    if at_work is not None:
        lines.append(line(host_state(at_work), Cell(f"  {at_work.step}", "dim")))
        lines += [line("  ", Cell(text, "bad")) for item in at_work.failures[-1:] for text in item.message.splitlines()]
    lines += [line(Cell("✗ " if machine.usable is False else "? ", "bad"), words) for words in machine.reasons]
    lines += [line(Cell("▲ ", "warn"), words) for words in machine.notes]
    lines += worker_lines(machine.workers, now_ms, alive)
    lines += broker_lines(machine.brokers)
    lines += fact_lines(machine.facts, found.checked_at_ms, now_ms)
    return lines


def worker_lines(workers: Sequence[WorkerHere], now_ms: int, alive: bool) -> list[Line]:
    """The workers of all tasks on a machine, each figure with its age."""
    if not workers:
        return [line(Cell("workers   ", "dim"), Cell("none: a task puts them here as it needs them", "dim"))]
    answers = {True: common.state("Running", "answers"), False: common.state("failed", "does not answer")}
    lines = []
    for worker in workers:
        stale = common.is_stale(worker.measured_at_ms, now_ms, alive)
        lines.append(
            line(
                Cell("worker    ", "dim"),
                Cell(f"{worker.name}  ", "strong"),
                common.state(None) if worker.alive is None else answers[worker.alive],
                Cell("  task ", "dim"),
                common.state(worker.task_state, f"{worker.task} {worker.task_state}"),
            )
        )
        lines.append(
            line(
                Cell("          "),
                common.figure(f"Kafka {worker.version or formats.UNKNOWN}", stale),
                Cell("  CPU ", "dim"),
                common.figure(formats.percent(worker.cpu_ratio, formats.UNKNOWN), stale),
                Cell("  heap ", "dim"),
                common.figure(heap_words(worker.heap_used_bytes, worker.heap_max_bytes, worker.heap_bytes), stale),
                Cell("  "),
                common.age(worker.measured_at_ms, now_ms, alive),
            )
        )
    return lines


def broker_lines(probes: Sequence[Probe]) -> list[Line]:
    """Brokers as the machine reaches them, those it does not reach first."""
    order = {False: 0, None: 1, True: 2}
    lines = []
    for probe in sorted(probes, key=lambda item: (order[item.ok], item.role, item.server)):
        mark = {True: Cell("✓ ", "ok"), False: Cell("✗ ", "bad"), None: Cell("? ", "warn")}[probe.ok]
        took = "" if probe.seconds is None else f"  {probe.seconds * 1000:.0f} ms"
        if probe.bytes_per_second is not None:
            took += f"  {formats.byte_rate(probe.bytes_per_second)}"
        words = probe.words or ("passed" if probe.ok else "")
        lines.append(
            line(
                Cell("broker    ", "dim"),
                mark,
                Cell(f"{probe.role} ", "dim"),
                Cell(probe.server, "strong"),
                Cell(f"  {probe.step}", "" if probe.ok else "bad"),
                f" {words}" if probe.ok else f"  {words}",
                Cell(took, "dim"),
            )
        )
    return lines


def fact_lines(facts: Mapping[str, Any], checked_at_ms: int | None, now_ms: int) -> list[Line]:
    """What was measured on the machine, with its age; what was not says so."""
    if not any(value is not None for value in facts.values()):
        return [line(Cell("measured  ", "dim"), Cell("nothing", "warn"))]
    busy = ", ".join(str(port) for port in facts.get("busy_ports") or ()) or "none"
    pieces = (
        ("system", fleet.os_words(facts)),
        ("on", facts.get("architecture")),
        ("Python", facts.get("python")),
        ("systemd", facts.get("systemd")),
        ("sudo", _yes(facts.get("sudo"))),
        ("CPUs", facts.get("cpu_count")),
        ("memory free", _memory(facts)),
        ("disk free", formats.byte_count(_number(facts, "free_disk_bytes"), formats.UNKNOWN)),
        ("clock", clock_words(_number(facts, "clock_offset_seconds"))),
        ("Java", facts.get("java_version")),
        ("busy ports", busy if facts.get("busy_ports") is not None else None),
        ("owned by migration", facts.get("migration")),
    )
    cells = [Cell("measured  ", "dim"), Cell(formats.age(checked_at_ms, now_ms), "dim")]
    for name, value in pieces:
        shown = formats.UNKNOWN if value is None else "none" if value == "" else _yes(value)
        cells += [Cell(f" · {name} ", "dim"), common.figure(shown)]
    lines = [tuple(cells)]
    left = [item for item in facts.get("workers") or () if isinstance(item, Mapping)]
    if left:
        words = ", ".join(
            f"{item.get('name')} {item.get('state')} {item.get('version') or ''}".strip() for item in left
        )
        lines.append(line(Cell("found     ", "dim"), words))
    return lines


def _yes(value: Any) -> str:
    return formats.yes_no(value) if isinstance(value, bool) else str(value)
