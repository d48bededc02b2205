"""`kferry scan`: what is in both clusters; what changed since an earlier scan; what nobody uses."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from kferry.cli import options, state
from kferry.cli.groups import DefaultGroup, group

if TYPE_CHECKING:
    from kferry.domain.model import Topic
    from kferry.domain.scan_diff import ScanDiff


class ClusterName(StrEnum):
    source = "source"
    target = "target"


_WHY_LEFT_OUT = {"topic": "unused: nobody writes or reads it", "group": "unused: nobody commits to it"}

Cluster = Annotated[ClusterName, typer.Option("--role", help="Which cluster.")]

app = group(
    "Read what is in the clusters, and compare it with earlier scans.", cls=DefaultGroup, invoke_without_command=True
)


@app.callback()
def _scan(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        run(context)


@app.command()
def run(
    context: typer.Context,
    role: Annotated[ClusterName | None, typer.Option("--role", help="Only this cluster; else both.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a scan that was cut off.")] = False,
    dry_run: options.DryRun = False,
    no_wait: options.NoWait = False,
) -> None:
    """Read topics, configs, sizes, rates, groups, lag, access and transactions (what `kferry scan` does)."""
    from kferry.cli import output
    from kferry.cli.operate import Wish, operate
    from kferry.client import diagnostics, formats

    current = state.of(context)
    args: dict[str, object] = {"resume": True} if resume else {}
    if role is not None:
        args["role"] = role.value
    if operate(current, Wish("scan", args, dry_run=dry_run, no_wait=no_wait)) is None:
        return
    session = current.session()
    shown = role or ClusterName.source
    if current.output is not state.Output.table:
        roles = [role] if role is not None else list(ClusterName)
        found = {item.value: session.reader.document("scan", item.value) for item in roles}
        output.emit(current, {name: document[1] if document else None for name, document in found.items()})
        return
    scan = session.reader.scan(shown.value)
    if scan is None:
        return
    readers: dict[str, list[str]] = {}
    for item in scan.groups:
        for name in item.topics:
            readers.setdefault(name, []).append(item.group_id)
    output.emit(
        current,
        None,
        headers=("TOPIC", "PARTITIONS", "RECORDS AT MOST", "SIZE", "RATE", "NEWEST", "GROUPS"),
        rows=[
            (
                topic.name,
                topic.partition_count,
                formats.records(topic.record_span),
                formats.byte_count(topic.size_bytes, formats.UNKNOWN),
                formats.record_rate(topic.records_per_second),
                _newest(topic),
                output.some(sorted(readers.get(topic.name, ()))) or formats.DASH,
            )
            for topic in scan.topics
            if not topic.is_internal
        ],
        empty=f"The {shown.value} has no topics that kferry may see.",
    )
    for note in scan.notes:
        diagnostics.say(note)


def _newest(topic: Topic) -> str:
    """When the newest record is from, and of which partitions that is known."""
    from kferry.client import formats
    from kferry.client.inventory import seen_words

    seen = seen_words(topic)
    words = formats.moment(topic.last_timestamp_ms)
    return f"{words} or later ({seen})" if seen and topic.last_timestamp_ms is not None else words


@app.command()
def diff(
    context: typer.Context,
    old: Annotated[
        str, typer.Argument(metavar="[OLD]", help="Id or number of a kept scan; else the last but one.")
    ] = "",
    new: Annotated[str, typer.Argument(metavar="[NEW]", help="Id or number of a kept scan; else the newest.")] = "",
    role: Cluster = ClusterName.source,
) -> None:
    """What appeared, vanished, was made anew or is set otherwise between two kept scans."""
    from kferry.cli import output
    from kferry.client import diagnostics, formats, scans
    from kferry.domain.model import Role
    from kferry.domain.scan_diff import summary

    current = state.of(context)
    found = scans.difference(current.session(), Role(role.value), old, new)
    between = f"{formats.moment(found.before_at_ms)} and {formats.moment(found.after_at_ms)}"
    output.emit(
        current,
        found,
        headers=("WHAT", "NAME", "CHANGE"),
        rows=list(_changes(found)),
        empty=f"Nothing has changed between {between}.",
    )
    if current.output is state.Output.table:
        if not found.is_empty:
            diagnostics.say(f"Between {between}: {', '.join(summary(found))}.")
        for note in found.not_compared:
            diagnostics.say(f"Not compared: {note}.")


def _changes(found: ScanDiff) -> Iterator[tuple[str, str, str]]:
    if found.another_cluster:
        yield "cluster", "", "another cluster than before: its id differs"
    yield from (("topic", name, "appeared") for name in found.topics_appeared)
    yield from (("topic", name, "vanished") for name in found.topics_vanished)
    yield from (("topic", item.name, "; ".join(item.words)) for item in found.topics_changed)
    yield from (("group", name, "appeared") for name in found.groups_appeared)
    yield from (("group", name, "vanished") for name in found.groups_vanished)
    yield from (("group", item.group_id, "; ".join(item.words)) for item in found.groups_changed)
    yield from (("transactional id", name, "appeared") for name in found.transactional_ids_appeared)
    yield from (("transactional id", name, "vanished") for name in found.transactional_ids_vanished)


@app.command("list")
def list_kept(
    context: typer.Context,
    role: Annotated[ClusterName | None, typer.Option("--role", help="Only this cluster; else both.")] = None,
) -> None:
    """The kept scans, the newest first; `kferry scan diff` takes their ids and numbers."""
    from kferry.cli import output
    from kferry.client import formats, scans
    from kferry.domain.model import Role

    current = state.of(context)
    found = scans.kept(current.session(), (Role(role.value),) if role else tuple(Role))
    output.emit(
        current,
        found,
        headers=("#", "CLUSTER", "ID", "TAKEN", "SIZE"),
        rows=[
            (
                item.number,
                item.role,
                item.scan_id,
                formats.moment(item.taken_at_ms),
                formats.byte_count(item.size_bytes),
            )
            for item in found
        ],
        empty="No scan is kept yet; make one with: kferry scan",
    )


@app.command()
def unused(
    context: typer.Context,
    days: Annotated[int, typer.Option("--days", min=0, help="Idle for at least that long.")] = 7,
    leave_out: Annotated[
        bool, typer.Option("--leave-out", help="Drop them from the scope of the migration: a rule in rules.yml.")
    ] = False,
    dry_run: options.DryRun = False,
) -> None:
    """Topics that nobody writes or reads, and groups that nobody commits to, each with the reason.

    With --leave-out they stay behind; nothing is deleted.
    """
    import time

    from kferry.cli import output
    from kferry.client import diagnostics, formats, leaving_out, scans
    from kferry.domain.clean_up import What
    from kferry.domain.model import Role

    current = state.of(context)
    session = current.session()
    found = scans.unused(session, Role.SOURCE, now_ms=int(time.time() * 1000), idle_days=days)
    output.emit(
        current,
        found,
        headers=("WHAT", "NAME", "IDLE FOR", "WHY"),
        rows=[
            (
                item.what.value,
                item.name,
                formats.duration(None if item.idle_ms is None else item.idle_ms / 1000),
                item.reason,
            )
            for item in found.found
        ],
        empty="The newest scan shows nothing that nobody uses.",
    )
    for note in found.notes:
        diagnostics.say(note)
    if leave_out and found.found:
        reasons = {
            item.name if item.what is What.TOPIC else f"group {item.name}": _WHY_LEFT_OUT[item.what.value]
            for item in found.found
        }
        done = leaving_out.leave_out(session, reasons, dry_run=dry_run)
        would = "would be left" if dry_run else "are left"
        diagnostics.say(f"{len(done.added)} {would} out by a rule in rules.yml, {len(done.present)} were already.")
        for words in done.words:
            diagnostics.say(words)
