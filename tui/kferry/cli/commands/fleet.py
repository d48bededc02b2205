"""`kferry fleet`: the machines that carry workers: list, check, trust, leave."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from kferry.cli import options, state
from kferry.cli.groups import group

if TYPE_CHECKING:
    from kferry.client.fleet import Fleet, Machine
    from kferry.client.session import Session

app = group("The machines of inventory/hosts.yml, and what runs on them.", no_args_is_help=True)

HostNames = Annotated[list[str] | None, typer.Argument(metavar="[HOST]...", help="Machines of hosts.yml; else all.")]


@app.command("list")
def list_machines(context: typer.Context) -> None:
    """List the machines as the last check found them, with their workers."""
    current = state.of(context)
    session = current.session()
    _emit(current, session, _read(session))


@app.command()
def check(context: typer.Context, dry_run: options.DryRun = False, no_wait: options.NoWait = False) -> None:
    """Measure every machine, and from each every broker. Exits 3 where one is silent, 5 where one can't be used."""
    from kferry.cli.operate import Wish, operate
    from kferry.client import fleet

    current = state.of(context)
    if operate(current, Wish("fleet_check", dry_run=dry_run, no_wait=no_wait)) is None:
        return
    session = current.session()
    found = _read(session)
    _emit(current, session, found)
    code = fleet.worst(found.machines)
    if code:
        raise typer.Exit(code)


@app.command()
def trust(
    context: typer.Context,
    hosts: HostNames = None,
    fingerprint: Annotated[
        list[str] | None, typer.Option(metavar="SHA256:...", help="A key that you know to be right; repeatable.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Also pin new keys where others are pinned.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask: pin the keys that --fingerprint names.")] = False,
    dry_run: options.DryRun = False,
) -> None:
    """Show the machines' host keys and pin them: SSH accepts pinned keys only. A changed key is refused (exit 6)."""
    from kferry.cli.trusting import Trust, trust_all

    current = state.of(context)
    wanted = Trust(
        hosts=tuple(hosts or ()),
        fingerprints=frozenset(fingerprint or ()),
        replace=replace,
        yes=yes,
        dry_run=dry_run or current.read_only,
    )
    code = trust_all(current, wanted)
    if code:
        raise typer.Exit(code)


@app.command()
def teardown(
    context: typer.Context,
    host: Annotated[str, typer.Argument(metavar="HOST", help="The machine's name in hosts.yml.")],
    keep_logs: Annotated[bool, typer.Option("--keep-logs", help="Leave the workers' logs there.")] = False,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    no_wait: options.NoWait = False,
) -> None:
    """Remove everything of this migration from a machine. Refused while a task has a worker there."""
    from kferry.cli.operate import Wish, operate

    if not dry_run:
        kept = ", but the logs" if keep_logs else ""
        options.confirm_typed(f"Remove everything of this migration{kept} from {host!r}", host, yes=yes)
    args = {"host": host, "keep_logs": keep_logs}
    operate(state.of(context), Wish("teardown_host", args, dry_run=dry_run, no_wait=no_wait))


def _read(session: Session) -> Fleet:
    """The fleet; a hosts.yml that cannot be read is an error here."""
    from kferry.client import fleet
    from kferry.domain.errors import KferryError

    found = fleet.read(session)
    if found.problem:
        raise KferryError.from_dict(dict(found.problem))
    return found


def _emit(current: state.State, session: Session, found: Fleet) -> None:
    from kferry.cli import output
    from kferry.client import diagnostics, fleet, formats

    now_ms = int(time.time() * 1000)
    output.emit(
        current,
        {"checked_at_ms": found.checked_at_ms, "machines": output.plain(found.machines)},
        headers=("MACHINE", "USABLE", "ADDRESS", "ZONE", "SYSTEM", "MEMORY FREE", "DISK FREE", "WORKERS", "CHECKED"),
        rows=[_row(machine, found.checked_at_ms, now_ms) for machine in found.machines],
        empty="There are no machines yet; add them to inventory/hosts.yml, see docs/fleet.md",
    )
    if current.output is state.Output.table:
        for machine in found.machines:
            for words in (*machine.reasons, *(f"note: {note}" for note in machine.notes)):
                diagnostics.say(f"{machine.name}: {words}")
    diagnostics.say(f"{fleet.counts(found.machines)}; checked {formats.age(found.checked_at_ms, now_ms, 'never')}.")
    if found.checked_at_ms is None or found.is_old(now_ms):
        diagnostics.say(f"Check them with: kferry -C {session.root} fleet check")


def _row(machine: Machine, checked_at_ms: int | None, now_ms: int) -> tuple[str, ...]:
    from kferry.client import fleet, formats

    facts = machine.facts
    alive = {True: "answers", False: "does not answer", None: "unknown"}
    workers = ", ".join(f"{worker.name} ({worker.task}, {alive[worker.alive]})" for worker in machine.workers)
    return (
        machine.name,
        fleet.word_of(machine),
        machine.address or formats.DASH,
        machine.zone or formats.DASH,
        fleet.os_words(facts) or formats.DASH,
        formats.byte_count(facts.get("free_memory_bytes")),
        formats.byte_count(facts.get("free_disk_bytes")),
        workers or "none",
        formats.DASH if machine.was_reached is None else formats.age(checked_at_ms, now_ms, "never"),
    )
