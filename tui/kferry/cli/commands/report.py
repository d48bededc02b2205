"""`kferry report`: the certificate of a batch, or the report of the whole migration, as Markdown."""

from __future__ import annotations

from typing import Annotated

import typer

from kferry.cli import state


def register(app: typer.Typer) -> None:
    app.command("report")(report)


def report(
    context: typer.Context,
    batch: Annotated[str | None, typer.Argument(help="A batch: its certificate. Else: the migration.")] = None,
) -> None:
    """Print the certificate of a batch, or the report of the migration."""
    from kferry.cli import output
    from kferry.client import report as reports

    current = state.of(context)
    session = current.session()
    if batch is None:
        output.emit(current, reports.migration_data(session), text=reports.migration(session))
    else:
        certificate = reports.require_certificate(session, batch)
        output.emit(current, certificate, text=reports.certificate(batch, certificate))
