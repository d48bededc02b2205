"""`kferry diagnose`: one archive of what explains a failure, from every machine, without secrets."""

from __future__ import annotations

from typing import Annotated

import typer

from kferry.cli import options, state


def register(app: typer.Typer) -> None:
    app.command("diagnose")(diagnose)


def diagnose(
    context: typer.Context,
    task: Annotated[str | None, typer.Argument(metavar="[TASK]", help="Only the workers of this task.")] = None,
    dry_run: options.DryRun = False,
    no_wait: options.NoWait = False,
) -> None:
    """Collect configs, logs, thread dumps, REST states and metrics into one archive, secrets taken out; print where."""
    from kferry.cli import output
    from kferry.cli.operate import Wish, operate
    from kferry.client import diagnostics, formats
    from kferry.domain.errors import KferryError

    current = state.of(context)
    args = {"task": task} if task else {}
    operation = operate(current, Wish("diagnose", args, dry_run=dry_run, no_wait=no_wait))
    if operation is None:
        return
    found = current.session().reader.document("diagnostics", "")
    if found is None:
        raise KferryError("The engine collected diagnostics, but does not say where they are.")
    body = found[1]
    output.emit(current, body, text=str(body["path"]))
    for host, words in (body.get("failed") or {}).items():
        diagnostics.warn(f"{host} is missing from it: {words}")
    diagnostics.say(
        f"{formats.byte_count(body.get('bytes'))} from {', '.join(body.get('hosts') or ()) or 'no machine'}. "
        "Known secrets were taken out; look through it all the same before you pass it on."
    )
