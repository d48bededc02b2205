"""Report: the certificate of a batch, or of all that have one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content

from kferry.client.session import Session
from kferry.ui import bindings
from kferry.ui.cells import Cell, Line, line
from kferry.ui.messages import Frame
from kferry.ui.rows import common
from kferry.ui.screens.base import KferryScreen
from kferry.ui.widgets.chrome import Plain, Scroll

# A report longer than this is read in its file, in characters.
_LONGEST = 200_000


@dataclass(frozen=True, slots=True)
class ReportSnapshot:
    lines: tuple[Line, ...]


class ReportScreen(KferryScreen):
    NAME = "report"
    CRUMB = "Report"
    CSS_PATH = "report.tcss"
    AUTO_FOCUS = "#report-box"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings.for_screen("report")]
    HELP = """
The certificate that a cutover wrote: the offsets of both ends, counts, hashes, groups, repeats, who and when, and the
head of the journal's chain at that moment. The files lie in .kferry/reports, as JSON and Markdown.
"""

    def __init__(self, batch: str | None) -> None:
        super().__init__()
        self._batch = batch

    @property
    def crumbs(self) -> tuple[str, ...]:
        return ("Overview", "Report", *((self._batch,) if self._batch else ()))

    def body(self) -> ComposeResult:
        with Scroll(id="report-box", classes="panel scrolls") as box:
            box.border_title = Content("Certificate")
            yield Plain(id="report")

    def collect(self, session: Session, frame: Frame) -> ReportSnapshot:
        names = [row["subject"] for row in session.reader.rows("select subject from document where kind='certificate'")]
        if self._batch in names:
            names = [self._batch]
        lines: list[Line] = []
        if self._batch and self._batch not in names:
            lines.append(line(Cell(f"{self._batch} has no certificate yet: its cutover writes it.", "warn")))
        for name in names:
            path = session.layout.reports / f"{name}.md"
            lines += [line(""), line(Cell(str(path), "dim")), line("")] if lines else [line(Cell(str(path), "dim"))]
            try:
                lines += [line(text) for text in path.read_text("utf-8", "replace")[:_LONGEST].splitlines()]
            except OSError:
                lines += common.evidence_lines(session.reader.certificate(name) or {}, indent="")
        if not lines:
            lines.append(line(Cell("No batch has a certificate yet: each cutover writes one at its end.", "dim")))
        return ReportSnapshot(tuple(lines))

    def show(self, snapshot: ReportSnapshot, frame: Frame) -> None:
        self.query_one("#report", Plain).show(snapshot.lines)
