"""`kferry verify`: read both sides again and compare them."""

from __future__ import annotations

from typing import Annotated

import typer

from kferry.cli import options, state


def register(app: typer.Typer) -> None:
    app.command("verify")(verify)


def verify(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="The batch of plan.yml.")],
    timeout: options.Timeout = None,
    dry_run: options.DryRun = False,
    no_wait: options.NoWait = False,
) -> None:
    """Compare source and target of a batch record by record. Exits 1 where something is missing or out of order."""
    from kferry.cli import output
    from kferry.cli.operate import Wish, operate
    from kferry.client import formats
    from kferry.domain.errors import KferryError

    current = state.of(context)
    wish = Wish("verify", {"batch": batch}, dry_run=dry_run, no_wait=no_wait, timeout_seconds=timeout)
    if operate(current, wish) is None:
        return
    found = current.session().reader.document("verification", batch)
    if found is None:
        raise KferryError(f"The comparison of {batch!r} left no result.")
    result = found[1]
    columns = ("source_records", "target_records", "missing", "repeats", "reordered", "foreign")
    output.emit(
        current,
        result,
        headers=("TOPIC", "PARTITION", "SOURCE", "TARGET", "MISSING", "REPEATS", "OUT OF ORDER", "FOREIGN"),
        rows=[
            (row.get("topic"), row.get("partition"), *(formats.records(row.get(key)) for key in columns))
            for row in result.get("partitions", ())
        ],
        empty="Nothing was there to compare.",
    )
    if result.get("ok") is not True:
        raise KferryError(
            f"{batch}: {formats.records(result.get('missing'))} missing, "
            f"{formats.records(result.get('reordered'))} out of order.",
            next_step=f"See the partitions above, then: kferry report {batch}",
        )
