"""`kferry paths`: where everything lies."""

from __future__ import annotations

import typer

from kferry.cli import state


def register(app: typer.Typer) -> None:
    app.command("paths")(paths)


def paths(context: typer.Context) -> None:
    """Print where the migration's files, the journal, the logs and the demo lie."""
    from kferry.cli import output
    from kferry.client import find
    from kferry.domain.errors import KferryError
    from kferry.store.paths import Layout

    current = state.of(context)
    found: dict[str, str | None] = {"demo home": str(find.demo_home())}
    try:
        layout = Layout(current.root())
    except KferryError:
        if current.directory is not None:
            raise
        found["migration"] = None
    else:
        found |= {
            "migration": str(layout.root),
            "settings": str(layout.settings),
            "clusters": str(layout.clusters),
            "plan": str(layout.plan),
            "tasks": str(layout.tasks),
            "journal": str(layout.journal),
            "engine log": str(layout.engine_log),
            "runs": str(layout.runs),
            "reports": str(layout.reports),
            "workers": str(layout.workers),
            "runtime": str(layout.runtime),
        }
    output.emit(current, found, text="\n".join(f"{name:<11} {path or 'none here'}" for name, path in found.items()))
