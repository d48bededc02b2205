"""`kferry check`: whether both clusters answer."""

from __future__ import annotations

import typer

from kferry.cli import options, state


def register(app: typer.Typer) -> None:
    app.command("check")(check)


def check(context: typer.Context, dry_run: options.DryRun = False, no_wait: options.NoWait = False) -> None:
    """Connect to source and target, and say what each allows. Exits 3 where one cannot be reached."""
    from kferry.cli import output
    from kferry.cli.operate import Wish, operate
    from kferry.client import check_words, diagnostics, formats
    from kferry.client.exit_codes import ExitCode
    from kferry.client.sanitize import clean

    current = state.of(context)
    ended: typer.Exit | None = None
    try:
        if operate(current, Wish("check_clusters", dry_run=dry_run, no_wait=no_wait)) is None:
            return
    except typer.Exit as ending:  # one that cannot be reached is shown with what was seen of both
        ended = ending
    views = current.session().cluster_views()
    output.emit(
        current,
        views,
        headers=("CLUSTER", "KIND", "BOOTSTRAP", "REACHABLE", "VERSION", "BROKERS"),
        rows=[
            (
                view.role,
                view.kind,
                view.bootstrap_servers,
                formats.yes_no(view.reachable),
                view.kafka_version or formats.UNKNOWN,
                formats.records(view.broker_count),
            )
            for view in views
        ],
    )
    for view in views:
        for line in check_words.check_lines(row for row in view.lines if row[1] in ("failed", "warn")):
            diagnostics.say(f"{view.role}  {clean(line)}")
    diagnostics.say("Every line of a test: kferry clusters show source, kferry clusters show target")
    if ended is not None:
        raise ended
    if not all(view.reachable for view in views):
        raise typer.Exit(ExitCode.CONNECT)
