"""Clusters: source and target, how they are reached, and every line of the last test of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.content import Content

from kferry.client import actions, cluster_drafts
from kferry.client.session import Session
from kferry.domain.errors import KferryError
from kferry.domain.model import Role
from kferry.ui import bindings
from kferry.ui.cells import Cell, Line, line, plain
from kferry.ui.messages import Failed, Frame
from kferry.ui.modals.cluster_form import ClusterForm
from kferry.ui.rows import clusters
from kferry.ui.screens.base import KferryScreen
from kferry.ui.widgets.chrome import Plain, Scroll


@dataclass(frozen=True, slots=True)
class ClustersSnapshot:
    lines: Mapping[str, tuple[Line, ...]]


class ClustersScreen(KferryScreen):
    NAME = "clusters"
    CRUMB = "Clusters"
    CSS_PATH = "clusters.tcss"
    AUTO_FOCUS = "#source-box"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings.for_screen("clusters")]
    HELP = """
The two ends of the migration, as inventory/group_vars/all/clusters.yml says: the source that is left, and the AutoMQ
cluster that is moved to. Secrets stand there as references only (env:, file:, command:).
t tests both connections from the engine, layer by layer: references, DNS, TCP, TLS, Kafka, login, each advertised
broker, rights, clock, and what can be asked, each line with the time it took. e or enter describes the cluster that
has the focus (← and → change it) in a form that tests before it saves; it knows the ways of each kind of cluster. A
grants what is missing: each ACL is shown first. A Kafka version is a lower bound: it is read from the requests the
brokers know.
"""

    def body(self) -> ComposeResult:
        with Container(id="pair"):
            for role, title in (("source", "Source"), ("target", "Target")):
                with Scroll(id=f"{role}-box", classes="panel scrolls") as box:
                    box.border_title = Content(title)
                    lines = Plain(id=role)
                    lines.show([line(Cell("Reading the journal…", "dim"))])
                    yield lines

    def collect(self, session: Session, frame: Frame) -> ClustersSnapshot:
        changed_at_ms = _changed_at_ms(session)
        tests = session.reader.operations(kind="check_clusters", limit=1)
        testing = tests[0].created_at_ms if tests and tests[0].status == "running" and frame.alive else None
        return ClustersSnapshot(
            {
                view.role: tuple(
                    clusters.cluster_lines(view, frame.now_ms, changed_at_ms=changed_at_ms, testing_since_ms=testing)
                )
                for view in session.cluster_views()
            }
        )

    def show(self, snapshot: ClustersSnapshot, frame: Frame) -> None:
        for role, lines in snapshot.lines.items():
            self.query_one(f"#{role}", Plain).show(lines)

    @property
    def role(self) -> str:
        """The cluster whose box has the focus."""
        return "target" if self.focused is not None and self.focused.id == "target-box" else "source"

    def args_for(self, action_id: str) -> Mapping[str, Any] | None:
        if action_id == "apply_acls":
            return {"cluster": self.role}
        return {} if action_id in ("check_clusters", "scan") else None

    def do_copy(self) -> None:
        lines = self.query_one(f"#{self.role}", Plain).lines
        if lines:
            self.app.copy_to_clipboard(plain(lines))
            self.say(f"Copied: everything about the {self.role}.")

    def do_open(self) -> None:
        """Enter on a box: describe that cluster."""
        if self.app.may(actions.BY_ID["edit_cluster"]):
            self.do_edit_cluster()

    def do_edit_cluster(self) -> None:
        """Read clusters.yml in a thread, then open the form on it."""
        role = Role(self.role)

        def work() -> None:
            try:
                found = cluster_drafts.opened(self.app.session.layout, role)
            except KferryError as error:
                self.app.post_message(Failed(error))
            else:
                self.app.call_later(self._open_form, found)

        self.run_worker(work, thread=True, group="form", exclusive=True)

    async def _open_form(self, found: cluster_drafts.Opened) -> None:
        await self.app.push_dialog(ClusterForm(self.app.session, found), self._form_closed)

    def _form_closed(self, saved: bool | None) -> None:
        if saved:
            self.say("✓ clusters.yml is saved; t tests both clusters with it.")
            self.app.poller.wake()


def _changed_at_ms(session: Session) -> int | None:
    try:
        return int(session.layout.clusters.stat().st_mtime * 1000)
    except OSError:
        return None
