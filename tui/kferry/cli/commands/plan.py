"""`kferry plan`: make the plan, show it, say why it is so, check it, export it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kferry.cli import options, state
from kferry.cli.commands import plan_edits, plan_rules
from kferry.cli.groups import DefaultGroup, group

if TYPE_CHECKING:
    from kferry.client.session import Session
    from kferry.domain.model import Plan, Scan
    from kferry.domain.planning import Graph

app = group(
    "Group topics and consumer groups into batches that move together.", cls=DefaultGroup, invoke_without_command=True
)


@app.callback()
def _plan(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        make(context)


@app.command()
def make(
    context: typer.Context,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write over a plan.yml edited by hand.")] = False,
    dry_run: options.DryRun = False,
    no_wait: options.NoWait = False,
) -> None:
    """Make the plan from the last scan and rules.yml, and write plan.yml (what `kferry plan` does)."""
    from kferry.cli.operate import Wish, operate

    current = state.of(context)
    if operate(current, Wish("plan", {"overwrite": overwrite}, dry_run=dry_run, no_wait=no_wait)) is not None:
        emit_plan(current, current.session())


@app.command()
def show(
    context: typer.Context,
    batch: Annotated[str | None, typer.Argument(metavar="[BATCH]", help="One batch with everything about it.")] = None,
) -> None:
    """Show the batches in the order in which they move, and why."""
    from kferry.cli import output
    from kferry.domain.errors import ErrorKind, KferryError

    current = state.of(context)
    session = current.session()
    if batch is None:
        emit_plan(current, session)
        return
    from kferry.client import plan_export

    body = plan_export.document(session)
    found = next((one for one in body["batches"] if one["name"] == batch), None)
    if found is None:
        raise KferryError(
            f"There is no batch {batch!r}.",
            next_step=f"There are: {', '.join(one['name'] for one in body['batches'])}.",
            kind=ErrorKind.USAGE,
        )
    output.emit(current, found, text=plan_export.batch_text(found))


@app.command()
def explain(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="TOPIC_OR_GROUP", help="Also a transactional id or an application.")],
) -> None:
    """Say why a topic or group is where it is: what ties it, its class, its place in the order."""
    import difflib

    from kferry.cli import output
    from kferry.client import plan_export
    from kferry.domain.errors import ErrorKind, KferryError
    from kferry.domain.planning.explanation import explain_name

    current = state.of(context)
    plan, _, graph = _facts(current.session())
    found = explain_name(plan, graph, name)
    if found is None:
        known = [*graph.topics, *graph.groups]
        near = difflib.get_close_matches(name, known, n=1)
        raise KferryError(
            f"Neither the plan nor the last scan knows {name!r}.",
            next_step=f"Did you mean {near[0]!r}?" if near else "Scan again with: kferry scan",
            kind=ErrorKind.USAGE,
        )
    component = found.component
    data: dict[str, Any] = {
        "name": found.name,
        "batch": found.batch,
        "position": found.position,
        "words": list(found.words),
        "moves_with": None
        if component is None
        else {
            "topics": list(component.topics),
            "groups": list(component.groups),
            "edges": [
                {"topic": edge.topic, "kind": edge.node.kind.value, "name": edge.node.name, "reason": edge.reason}
                for edge in component.edges
            ],
        },
        "applications": [plan_export.application_data(one) for one in found.applications],
        "bridges": [plan_export.bridge_data(one) for one in found.bridges],
        "violations": list(found.violations),
    }
    lines = [*found.words, *(f"✗ {words}" for words in found.violations)]
    for one in found.applications:
        mark = ", set by the operator" if one.set_by_operator else ", guessed"
        evidence = "; ".join(one.evidence)
        lines.append(f"Application {one.name}: {one.class_.value}{mark} ({evidence}); cutover {one.style.value}.")
    lines += [f"Bridge {one.node.name}: {one.consequence}" for one in found.bridges]
    output.emit(current, data, text=output.lines(lines))


@app.command()
def check(context: typer.Context) -> None:
    """Say what the plan tears apart or misses. Exits 5 where there is anything."""
    from kferry.cli import output
    from kferry.client.exit_codes import ExitCode
    from kferry.domain.planning.violations import violations_in

    current = state.of(context)
    plan, _, graph = _facts(current.session())
    found = violations_in(plan, graph)
    output.emit(
        current,
        [{"subject": subject, "words": words} for subject, words in found],
        headers=("SUBJECT", "WHAT"),
        rows=found,
        empty="The plan tears nothing apart and misses nothing.",
    )
    if found:
        raise typer.Exit(ExitCode.NOT_READY)


@app.command()
def export(
    context: typer.Context,
    form: Annotated[
        str | None, typer.Option("--format", metavar="md|json|csv", help="Default: by the file's name, else md.")
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Write a file instead of stdout.")] = None,
) -> None:
    """Write the plan with all estimates, classes and reasons as Markdown, JSON or CSV."""
    from kferry.cli import output
    from kferry.client import diagnostics, plan_export
    from kferry.store.atomic_write import write_bytes

    current = state.of(context)
    suffix = to.suffix.removeprefix(".").lower() if to is not None else ""
    chosen = form or {"markdown": "md"}.get(suffix, suffix if suffix in plan_export.FORMATS else "md")
    if form is None and to is None and current.output is state.Output.json:
        chosen = "json"
    text = plan_export.render(plan_export.document(current.session()), chosen)
    if to is None:
        output.write(text.rstrip("\n"))
        return
    write_bytes(to, text.encode())
    diagnostics.say(f"Wrote {to}.")


@app.command()
def bridges(context: typer.Context) -> None:
    """Show the groups that glue together what could move on its own, and what cutting each would mean."""
    from kferry.cli import output
    from kferry.client import plan_edit, plan_export
    from kferry.domain.planning import Graph

    current = state.of(context)
    session = current.session()
    found = Graph(_scan(session), plan_edit.load_rules(session)).bridges()
    output.emit(
        current,
        [plan_export.bridge_data(one) for one in found],
        headers=("BRIDGE", "KIND", "TOPICS", "PARTS", "CUT ALSO", "CONSEQUENCE"),
        rows=[
            (
                one.node.name,
                one.node.kind.value,
                len(one.topics),
                len(one.parts),
                ", ".join(one.with_others) or "–",
                one.consequence,
            )
            for one in found
        ],
        empty="Nothing glues parts that could move on their own.",
    )


@app.command()
def newcomers(
    context: typer.Context,
    apply: Annotated[bool, typer.Option("--apply", help="Put them into plan.yml where their place is clear.")] = False,
    dry_run: options.DryRun = False,
) -> None:
    """Show the topics and groups of the last scan that the plan doesn't know, and where they belong."""
    from kferry.cli import output
    from kferry.client import diagnostics, plan_edit
    from kferry.domain.planning.placement import place_newcomers, with_placements

    current = state.of(context)
    session = current.session()
    plan, scan, graph = _facts(session)
    found = place_newcomers(plan, scan, graph.rules)
    output.emit(
        current,
        found,
        headers=("KIND", "NAME", "BATCH", "WHY"),
        rows=[
            (one.kind, one.name, f"{one.batch} (new)" if one.is_new_batch else one.batch or "you decide", one.why)
            for one in found
        ],
        empty="The plan knows everything that the last scan found.",
    )
    placed = [one for one in found if one.batch is not None]
    if apply and placed:
        what = f"placed {len(placed)} newcomers"
        done = plan_edit.apply(session, lambda before: with_placements(before, placed), what, dry_run=dry_run)
        for line in done.lines:
            diagnostics.say(line)


plan_edits.register(app)
plan_rules.register(app)


def emit_plan(current: state.State, session: Session) -> None:
    """The plan as it stands in plan.yml."""
    from kferry.cli import output
    from kferry.domain.errors import KferryError
    from kferry.store import plan_file

    view = session.plan_view()
    if view.error:
        raise KferryError.from_dict(dict(view.error))
    batches = {one.name: one for one in plan_file.load_plan(session.layout).batches} if view.revision else {}
    data = output.plain(view)
    for body in data["batches"]:
        known = batches.get(body["name"])
        body |= {
            "pinned": known.pinned if known else False,
            "canary": known.canary if known else False,
            "warnings": list(known.warnings) if known else [],
            "estimate": known.estimate if known else "",
        }
    output.emit(
        current,
        data,
        headers=("#", "BATCH", "PHASE", "TOPICS", "GROUPS", "RISK", "ESTIMATE", "WHY"),
        rows=[
            (
                body["position"] + 1,
                body["name"] + (" (canary)" if body["canary"] else "") + (" (pinned)" if body["pinned"] else ""),
                body["phase"],
                output.some(body["topics"]),
                output.some(body["groups"]) or "–",
                f"{body['risk']:.1f}",
                body["estimate"] or "–",
                "; ".join(body["why"]),
            )
            for body in data["batches"]
        ],
        empty="There is no plan yet; make one with: kferry plan",
    )


def _facts(session: Session) -> tuple[Plan, Scan, Graph]:
    from kferry.client import plan_edit
    from kferry.domain.planning import Graph
    from kferry.domain.planning.scope import decided_of
    from kferry.store import plan_file

    plan = plan_file.load_plan(session.layout)
    scan = _scan(session)
    return plan, scan, Graph(scan, plan_edit.load_rules(session), decided=decided_of(plan.left_out))


def _scan(session: Session) -> Scan:
    from kferry.domain.errors import ErrorKind, KferryError

    scan = session.reader.scan("source")
    if scan is None:
        raise KferryError(
            "The source was not scanned yet.", next_step="Scan it with: kferry scan", kind=ErrorKind.NOT_READY
        )
    return scan
