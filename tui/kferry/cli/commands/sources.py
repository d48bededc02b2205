"""`kferry clusters`: the kinds of cluster there are, how both ends are reached, testing and changing that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kferry.cli import options, state
from kferry.cli.groups import group

if TYPE_CHECKING:
    from kferry.client.cluster_drafts import Opened
    from kferry.client.session import Session
    from kferry.domain.drafts import Draft
    from kferry.domain.model import Role

app = group("How both clusters are reached: kinds and ways, tests, changes.", no_args_is_help=True)

WhichRole = Annotated[str, typer.Argument(metavar="source|target", help="Which cluster.")]
Kind = Annotated[str | None, typer.Option(metavar="KIND", help="What it is: see `kferry clusters kinds`.")]
WayName = Annotated[str | None, typer.Option("--way", metavar="WAY", help="Which of its endpoints or logins.")]
Bootstrap = Annotated[str | None, typer.Option(metavar="HOST:PORT,...", help="Bootstrap servers.")]
Mechanism = Annotated[str | None, typer.Option(metavar="NAME", help="SASL mechanism, where the way has several.")]
User = Annotated[str | None, typer.Option(metavar="NAME", help="User, API key, or instance#user.")]
Password = Annotated[
    str | None, typer.Option(metavar="REFERENCE", help="env:NAME, file:/path or command:...; never the secret itself.")
]
Ca = Annotated[str | None, typer.Option(metavar="PEM", help="The CA that vouches for the brokers.")]
Certificate = Annotated[str | None, typer.Option(metavar="PEM", help="The client's certificate.")]
Key = Annotated[str | None, typer.Option(metavar="PEM", help="The private key of that certificate.")]


@app.command()
def kinds(context: typer.Context) -> None:
    """List every kind of cluster with its ways, ports and what each needs."""
    from kferry.cli import output
    from kferry.client import cluster_drafts
    from kferry.client.formats import DASH

    rows = cluster_drafts.kind_rows()
    output.emit(
        state.of(context),
        rows,
        headers=("KIND", "WAY", "IS", "PROTOCOL", "MECHANISMS", "PORTS", "CA"),
        rows=[
            (
                row["kind"],
                row["way"],
                row["words"],
                row["security_protocol"],
                ", ".join(row["mechanisms"]) or DASH,
                ", ".join(map(str, row["ports"])) or DASH,
                row["ca"] or DASH,
            )
            for row in rows
        ],
    )


@app.command()
def show(context: typer.Context, cluster: WhichRole) -> None:
    """Show how a cluster is reached, and every line of its last test."""
    from kferry.cli import output
    from kferry.client import check_words

    current = state.of(context)
    role = _role(cluster)
    view = next(view for view in current.session().cluster_views() if view.role == role.value)
    output.emit(current, view, text="\n".join(check_words.view_lines(view)))


@app.command()
def test(
    context: typer.Context,
    cluster: WhichRole,
    kind: Kind = None,
    way: WayName = None,
    bootstrap: Bootstrap = None,
    mechanism: Mechanism = None,
    user: User = None,
    password: Password = None,
    ca: Ca = None,
    certificate: Certificate = None,
    key: Key = None,
    dry_run: options.DryRun = False,
) -> None:
    """Test a connection as described here (else as clusters.yml has it), saving nothing. Exits 3 where it fails."""
    current = state.of(context)
    session = current.session() if dry_run else current.working_session()
    given = _given(kind, way, bootstrap, mechanism, user, password, ca, certificate, key)
    found, draft = _described(session, cluster, given)
    if dry_run:
        _explain(current, found, draft)
        return
    _test(current, session, found, draft)


@app.command("set")
def set_(
    context: typer.Context,
    cluster: WhichRole,
    kind: Kind = None,
    way: WayName = None,
    bootstrap: Bootstrap = None,
    mechanism: Mechanism = None,
    user: User = None,
    password: Password = None,
    ca: Ca = None,
    certificate: Certificate = None,
    key: Key = None,
    untested: Annotated[bool, typer.Option("--untested", help="Save without testing first.")] = False,
    dry_run: options.DryRun = False,
) -> None:
    """Change how a cluster is reached, in clusters.yml: tested first, other keys and comments stay as they are."""
    from kferry.cli import output
    from kferry.client import cluster_drafts, diagnostics

    current = state.of(context)
    session = current.session() if dry_run or untested else current.working_session()
    given = _given(kind, way, bootstrap, mechanism, user, password, ca, certificate, key)
    found, draft = _described(session, cluster, given)
    if dry_run or current.read_only:
        text = cluster_drafts.save(session, found, draft, dry_run=True)
        output.emit(current, {"path": str(session.layout.clusters), "text": text}, text=text.rstrip("\n"))
        diagnostics.say("Nothing was written.")
        return
    if not untested:
        _test(current, session, found, draft)
    cluster_drafts.save(session, found, draft)
    diagnostics.say(f"Written: {session.layout.clusters}")


def _role(text: str) -> Role:
    from kferry.domain.errors import ErrorKind, KferryError
    from kferry.domain.model import Role

    try:
        return Role(text)
    except ValueError:
        raise KferryError(f"{text!r} is neither source nor target.", kind=ErrorKind.USAGE) from None


def _given(*values: str | None) -> dict[str, str | None]:
    names = ("kind", "way", "bootstrap_servers", "mechanism", "user", "password", "ca", "certificate", "key")
    return dict(zip(names, values, strict=True))


def _described(session: Session, cluster: str, given: Mapping[str, str | None]) -> tuple[Opened, Draft]:
    from kferry.client import cluster_drafts

    found = cluster_drafts.opened(session.layout, _role(cluster))
    return found, cluster_drafts.changed(found.draft, **given)


def _explain(current: state.State, found: Opened, draft: Draft) -> None:
    from kferry.cli import output
    from kferry.client import cluster_drafts, diagnostics

    gaps = cluster_drafts.problems(found, draft)
    rows: list[dict[str, Any]] = [{"field": gap.field, "stops": gap.stops, "words": gap.words} for gap in gaps]
    output.emit(
        current,
        rows,
        headers=("FIELD", "STOPS", "WORDS"),
        rows=[(row["field"], "yes" if row["stops"] else "no", row["words"]) for row in rows],
        empty="Nothing is missing.",
    )
    diagnostics.say("Nothing was tested (--dry-run).")


def _test(current: state.State, session: Session, found: Opened, draft: Draft) -> None:
    """Test a draft; ends the command with its exit code where the cluster cannot be used so."""
    from kferry.cli import operate, output
    from kferry.client import check_words, cluster_drafts, diagnostics
    from kferry.client.exit_codes import ExitCode
    from kferry.domain.errors import KferryError

    for gap in cluster_drafts.problems(found, draft):
        if not gap.stops:
            diagnostics.warn(gap.words)
    intent = cluster_drafts.send_test(session, found, draft)
    operation = operate.follow(session, intent.operation_id)
    operate.raise_for(session, operation)
    body = cluster_drafts.test_body(session, intent.operation_id) or {}
    output.emit(current, body, text="\n".join(check_words.body_lines(body)))
    if not body.get("reachable"):
        if body.get("error"):
            diagnostics.error(KferryError.from_dict(dict(body["error"])))
        raise typer.Exit(ExitCode.CONNECT)
