"""What stands above the Inventory: how old the scan is, what it lacks, and how far a running one has come."""

from __future__ import annotations

from kferry.client import formats, scan_progress
from kferry.client.inventory import Inventory
from kferry.client.scan_progress import ScanState
from kferry.domain.model import Capability
from kferry.store.views import OperationView
from kferry.ui.cells import Cell, Line, line
from kferry.ui.rows import common

# A scan older than this no longer says how the source is now, in milliseconds.
OLD_AFTER_MS = 24 * 3_600_000
_BAR_WIDTH = 12


def age_line(found: Inventory, at_ms: int | None, now_ms: int, *, more: bool) -> Line:
    """When the scan was made and how much it holds."""
    taken = found.taken_at_ms if found.taken_at_ms is not None else at_ms
    counts = f"   {len(found.topics):,} topics  {len(found.groups):,} groups"
    if more:
        return line(Cell("reading the journal…", "busy"), Cell(counts, "dim"))
    counts = f"   {len(found.topics):,} topics  {found.partition_count:,} partitions  {len(found.groups):,} groups"
    is_old = taken is not None and now_ms - taken > OLD_AFTER_MS
    words = formats.age(taken, now_ms)
    return line(
        Cell("scanned ", "dim"),
        Cell(f"{words}, stale (S scans again)", "warn") if is_old else Cell(words, "dim"),
        Cell(counts, "dim"),
    )


def lack_lines(found: Inventory) -> list[Line]:
    """What the scan could not find out, by name: denied, unsupported, failed."""
    scan = found.scan
    if scan is None:
        return []
    lines = []
    denied = [name for name, state in scan.cluster.capabilities.items() if state is Capability.DENIED]
    if denied:
        names = ", ".join(name.replace("_", " ") for name in sorted(denied))
        lines.append(line(Cell(f"✗ denied: {names}", "bad"), Cell("   which ACL to grant: Clusters (2)", "dim")))
    failed = (found.failed_topics, found.failed_groups)
    if any(failed):
        words = " and ".join(
            f"{count:,} {what}{'' if count == 1 else 's'}"
            for count, what in zip(failed, ("topic", "group"), strict=True)
            if count
        )
        lines.append(line(Cell(f"▲ {words} could not be read", "warn"), Cell("   show them: /failed=yes", "dim")))
    if scan.complete:  # else they stand beside the words that it is not whole
        lines += [line(Cell(f"▲ {note}", "warn")) for note in scan.notes]
    if found.unused:
        count = len(found.unused)
        lines.append(
            line(
                Cell(f"{count:,} unused", "warn"),
                Cell("   show them: /unused=yes · d leaves one out, D all that are shown", "dim"),
            )
        )
    return lines


def is_running(operation: OperationView | None) -> bool:
    return operation is not None and operation.status not in ("done", "failed", "aborted")


def running_line(state: ScanState | None) -> Line:
    """How far the scan that runs is as a whole, the time it will still take, and what is being read."""
    cells = [Cell("◐ scanning", "busy")]
    if state is not None:
        cells += [
            Cell(f" {state.role} ", ""),
            Cell(scan_progress.bar(state.share, _BAR_WIDTH), "busy" if state.share is not None else "dim"),
            Cell(f" {scan_progress.share_words(state.share)}, {state.left_words}", ""),
            Cell(f"   {state.step_words}", "dim"),
        ]
    return (*cells, Cell("   X stops it", "dim"))


def failed_lines(operation: OperationView) -> list[Line]:
    """Why the last scan came to nothing; what is shown is older."""
    step = next((step for step in operation.steps if step.error), None)
    error = (step.error if step else None) or operation.error
    if operation.status == "aborted":
        return [line(Cell("↶ the last scan was stopped", "warn"), Cell("   S begins it again", "dim"))]
    return common.error_lines(error) or [line(Cell("✗ the last scan failed", "bad"))]


def partial_line(found: Inventory | None, running: bool, shows_partial: bool) -> Line:
    """That the list is not whole, and what is missing."""
    notes = "; ".join(found.scan.notes) if found is not None and found.scan is not None else ""
    if not shows_partial:
        state = Cell("◐ a newer scan is not whole yet", "busy")
        if not running:
            state = Cell("▲ the last scan was cut off; S goes on with it", "warn")
        return line(state, Cell("   P shows what it has found", "dim"))
    what = "this scan is not whole yet" if running else "this scan was cut off; S goes on with it"
    missing = f": {notes}" if notes else ": what it lacks is unknown, not absent"
    return line(Cell(f"▲ {what}{missing}", "warn"))
