"""`kferry init`: make a migration directory, asking for what was not given."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kferry.cli import options, state

if TYPE_CHECKING:
    from kferry.domain.drafts import Draft
    from kferry.domain.model import Role


def register(app: typer.Typer) -> None:
    app.command("init")(init)


_AS_SOURCE = "As for the source."


def init(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to make it.")] = Path(),
    name: Annotated[str, typer.Option(help="A name for people; else the directory's.")] = "",
    source_bootstrap: Annotated[
        str, typer.Option(metavar="HOST:PORT,...", help="Bootstrap servers of the source.")
    ] = "",
    target_bootstrap: Annotated[
        str, typer.Option(metavar="HOST:PORT,...", help="Bootstrap servers of the target.")
    ] = "",
    source_kind: Annotated[
        str, typer.Option(help="apache_kafka, msk, confluent, alibaba, tencent, automq or other.")
    ] = "apache_kafka",
    target_kind: Annotated[str, typer.Option(help="As --source-kind.")] = "automq",
    source_way: Annotated[str | None, typer.Option(help="How it is reached: see `kferry clusters kinds`.")] = None,
    source_mechanism: Annotated[str | None, typer.Option(help="SASL mechanism, where the way has several.")] = None,
    source_user: Annotated[str | None, typer.Option(help="User, API key, or instance#user.")] = None,
    source_password: Annotated[
        str | None, typer.Option(metavar="REFERENCE", help="env:NAME, file:/path or command:...; never the secret.")
    ] = None,
    source_ca: Annotated[str | None, typer.Option(metavar="PEM", help="The CA that vouches for the brokers.")] = None,
    source_certificate: Annotated[str | None, typer.Option(metavar="PEM", help="The client's certificate.")] = None,
    source_key: Annotated[str | None, typer.Option(metavar="PEM", help="The key of that certificate.")] = None,
    target_way: Annotated[str | None, typer.Option(help=_AS_SOURCE)] = None,
    target_mechanism: Annotated[str | None, typer.Option(help=_AS_SOURCE)] = None,
    target_user: Annotated[str | None, typer.Option(help=_AS_SOURCE)] = None,
    target_password: Annotated[str | None, typer.Option(metavar="REFERENCE", help=_AS_SOURCE)] = None,
    target_ca: Annotated[str | None, typer.Option(metavar="PEM", help=_AS_SOURCE)] = None,
    target_certificate: Annotated[str | None, typer.Option(metavar="PEM", help=_AS_SOURCE)] = None,
    target_key: Annotated[str | None, typer.Option(metavar="PEM", help=_AS_SOURCE)] = None,
    ask: Annotated[
        bool | None,
        typer.Option("--ask/--no-ask", help="Ask for the clusters; by default at a terminal."),
    ] = None,
    dry_run: options.DryRun = False,
) -> None:
    """Make a migration directory: kferry.yml and an inventory. Nothing that exists is written over."""
    from kferry.cli import output
    from kferry.client import diagnostics, new_migration
    from kferry.domain.model import Role

    current = state.of(context)
    ends = {
        Role.SOURCE: _described(
            Role.SOURCE,
            source_kind,
            source_bootstrap,
            (source_way, source_mechanism, source_user, source_password, source_ca, source_certificate, source_key),
        ),
        Role.TARGET: _described(
            Role.TARGET,
            target_kind,
            target_bootstrap,
            (target_way, target_mechanism, target_user, target_password, target_ca, target_certificate, target_key),
        ),
    }
    at_terminal = sys.stdin.isatty() and sys.stderr.isatty()
    if ask or (ask is None and at_terminal and not (source_bootstrap or target_bootstrap)):
        ends = {role: _ask(draft) for role, draft in ends.items()}
    described = {role: draft for role, draft in ends.items() if draft.bootstrap_servers}
    wanted = new_migration.Wanted(
        root=directory,
        name=name or directory.resolve().name,
        source_bootstrap=ends[Role.SOURCE].bootstrap_servers,
        target_bootstrap=ends[Role.TARGET].bootstrap_servers,
        source_kind=ends[Role.SOURCE].kind.value,
        target_kind=ends[Role.TARGET].kind.value,
        drafts=described,
    )
    written = new_migration.make(wanted, dry_run=dry_run or current.read_only)
    output.emit(current, [str(path) for path in written], text="\n".join(str(path) for path in written))
    if dry_run or current.read_only:
        diagnostics.say("Nothing was written.")
        return
    if len(described) < len(ends):
        diagnostics.say(f"Next: say how both clusters are reached, in {written[1]} or with e on the Clusters screen.")
    else:
        diagnostics.say(f"Next: kferry -C {directory.resolve()} check")
    diagnostics.say(f"Then: kferry -C {directory.resolve()}")


def _described(role: Role, kind: str, bootstrap: str, rest: tuple[str | None, ...]) -> Draft:
    from kferry.client import cluster_drafts
    from kferry.domain.drafts import draft_of

    names = ("way", "mechanism", "user", "password", "ca", "certificate", "key")
    draft = draft_of(role, {"kind": kind, "bootstrap_servers": bootstrap})
    given = dict(zip(names, rest, strict=True))
    return cluster_drafts.changed(draft, kind=kind, bootstrap_servers=bootstrap, **given)


def _ask(draft: Draft) -> Draft:
    """Ask for one cluster at the terminal, field by field; an empty list of servers leaves it for later."""
    from kferry.client import cluster_drafts, diagnostics
    from kferry.domain.drafts import fields_of
    from kferry.domain.errors import KferryError

    diagnostics.tell(f"The {draft.role.value} cluster:")
    done = []
    while True:
        field = next((name for name in fields_of(draft) if name not in done), None)
        if field is None:
            break
        try:
            draft = _ask_field(draft, field)
        except KferryError as error:
            diagnostics.error(error)
            continue
        done.append(field)
        if field == "bootstrap_servers" and not draft.bootstrap_servers:
            return draft
    stopping = [gap for gap in cluster_drafts.problems(cluster_drafts.Opened(draft, {}, ""), draft) if gap.stops]
    for gap in stopping:
        diagnostics.warn(gap.words)
    return _ask(draft) if stopping else draft


def _ask_field(draft: Draft, field: str) -> Draft:
    from kferry.client import cluster_drafts, diagnostics
    from kferry.domain.drafts import is_reference
    from kferry.domain.sources import KINDS

    way = draft.its_way
    if field == "kind":
        diagnostics.tell("  kinds: " + ", ".join(kind.value for kind in KINDS))
    elif field == "way":
        diagnostics.tell(f"  {draft.its_kind.hint}")
        for one in draft.its_kind.ways:
            ports = f", port {' or '.join(map(str, one.ports))}" if one.ports else ""
            diagnostics.tell(f"    {one.name}: {one.title} ({one.protocol}{ports})")
    elif field == "mechanism":
        diagnostics.tell(f"  mechanisms: {', '.join(way.mechanisms)}")
    elif field == "user" and way.user_words:
        diagnostics.tell(f"  {way.user_words}")
    now = draft.kind.value if field == "kind" else str(getattr(draft, field))
    if field == "password" and not is_reference(now):
        now = ""  # it may be the secret itself: it is not shown again
    label = {
        "kind": "kind",
        "way": "way",
        "bootstrap_servers": "bootstrap servers (empty: later)",
        "mechanism": "mechanism",
        "user": "user",
        "password": "password, as env:NAME, file:/path or command:...",
        "ca": "CA file (PEM)" + ("" if way.ca == "own" else ", empty: the machine's own"),
        "certificate": "client certificate (PEM)",
        "key": "private key (PEM)",
    }[field]
    typed = str(typer.prompt(f"  {label}", default=now, show_default=bool(now), err=True)).strip()
    return cluster_drafts.changed(draft, **{field: typed})
