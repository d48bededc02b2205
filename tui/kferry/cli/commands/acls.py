"""`kferry acls`: the least rights kferry needs on each cluster, to hand to its owner or to grant."""

from __future__ import annotations

from typing import Annotated

import typer

from kferry.cli import options, state
from kferry.cli.groups import group

app = group("The least rights that kferry needs on each cluster.", no_args_is_help=True)

Cluster = Annotated[str, typer.Argument(metavar="source|target", help="Which cluster.")]
Principal = Annotated[
    str | None,
    typer.Option(metavar="User:NAME", help="As whom the brokers see kferry; else the user of clusters.yml."),
]


@app.command()
def show(
    context: typer.Context,
    cluster: Cluster,
    principal: Principal = None,
    role: Annotated[
        str | None,
        typer.Option(metavar="scan|replicate|write_offsets|fence", help="Only what is needed for this."),
    ] = None,
) -> None:
    """Show each right with its reason; `-o commands` writes them as kafka-acls commands for the cluster's owner."""
    from kferry.cli import output
    from kferry.client import diagnostics, rights
    from kferry.client.sanitize import clean
    from kferry.domain import acls

    current = state.of(context)
    found = rights.needed(current.session(), cluster, purpose=role, principal=principal)
    if current.output is state.Output.commands:
        commands = acls.commands(found.rules, found.required_principal(), found.bootstrap_servers)
        output.write("\n".join(clean(line) for line in commands))
    else:
        rows = acls.as_data(found.rules, found.principal or "")
        output.emit(
            current,
            rows,
            headers=("PURPOSE", "PERMISSION", "OPERATION", "RESOURCE", "NAME", "PATTERN", "OPTIONAL", "WHY"),
            rows=[
                (
                    row["purpose"],
                    row["permission"],
                    row["operation"],
                    row["resource"],
                    row["name"],
                    row["pattern"],
                    "yes" if row["optional"] else "no",
                    row["why"],
                )
                for row in rows
            ],
            empty="Nothing is needed for this.",
        )
    if found.principal is None:
        diagnostics.say("As whom the brokers see kferry is not known; name it with --principal.")
    if not found.has_plan:
        diagnostics.say("There is no plan yet: this is what a scan needs to find topics and groups.")


@app.command()
def apply(
    context: typer.Context,
    cluster: Cluster,
    principal: Principal = None,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    no_wait: options.NoWait = False,
) -> None:
    """Grant what is missing: shows each ACL first, asks, and writes each into the change ledger with its undo."""
    from kferry.cli.operate import Wish, operate, show_plan

    current = state.of(context)
    args = {"cluster": cluster, **({"principal": principal} if principal else {})}
    if dry_run:
        operate(current, Wish("apply_acls", args, dry_run=True))
        return
    session = current.working_session()
    plan = session.ask("apply_acls", args, dry_run=True, timeout_seconds=60).result
    show_plan(current, plan, is_dry_run=False)
    options.confirm_typed(f"Create these ACLs on the {cluster} cluster", cluster, yes=yes)
    operate(current, Wish("apply_acls", args, no_wait=no_wait, expects=str(plan.get("hash") or "") or None))
