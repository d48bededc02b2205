"""`kferry inventory`: topics, groups and writers of the last scan, filtered as on the screen; leaving some out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kferry.cli import options, state

if TYPE_CHECKING:
    from kferry.client.inventory import Fact, Inventory
    from kferry.client.session import Session
    from kferry.domain.model import Scan

app = typer.Typer(
    help="Show topics, consumer groups, transactions and producers of the last scan; drop what is unused.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_Where = Annotated[
    str, typer.Option("--where", metavar="FILTER", help="As on the screen: 'lag>1e6 kind:connect !test', 'idle>7d'.")
]
_Sort = Annotated[str, typer.Option("--sort", metavar="COLUMN", help="Sort by it; -COLUMN sorts descending.")]
_Columns = Annotated[str, typer.Option("--columns", metavar="A,B,…", help="Which columns, in which order; or: all.")]

_Topic = Annotated[str, typer.Option("--topic", metavar="NAME", help="Only those that write this topic.")]

_USUAL = {
    "topics": ("topic", "parts", "records", "size", "rate", "idle", "what", "by", "batch", "unused"),
    "groups": ("group", "state", "kind", "members", "lag", "behind", "idle", "reads", "batch", "unused"),
}


@app.command("topics")
def topics(context: typer.Context, where: _Where = "", sort: _Sort = "", columns: _Columns = "") -> None:
    """Show the topics of the source. Unknown is shown as such and never as 0."""
    from kferry.client.inventory import TOPIC_FACTS, topic_text

    current = state.of(context)
    found = _inventory(current.session())
    _emit(current, "topics", found, found.topics, TOPIC_FACTS, topic_text, (where, sort, columns))


@app.command("groups")
def groups(context: typer.Context, where: _Where = "", sort: _Sort = "", columns: _Columns = "") -> None:
    """Show the consumer groups of the source."""
    from kferry.client.inventory import GROUP_FACTS, group_text

    current = state.of(context)
    found = _inventory(current.session())
    _emit(current, "groups", found, found.groups, GROUP_FACTS, group_text, (where, sort, columns))


@app.command("transactions")
def transactions(context: typer.Context, topic: _Topic = "") -> None:
    """Show transactional ids with their topics, and transactions that nobody will end."""
    from kferry.cli import output
    from kferry.client import diagnostics, formats, writers

    current = state.of(context)
    scan = _scan(current.session())
    ids = [one for one in scan.transactional_ids or () if not topic or topic in one.topics]
    hanging = [one for one in scan.hanging_transactions or () if not topic or topic == one.topic]
    rows: list[tuple[object, ...]] = [
        ("transactional id", one.transactional_id, one.state or formats.DASH, output.some(sorted(one.topics)), "")
        for one in ids
    ]
    rows += [
        (
            "hanging",
            f"producer {one.producer_id}",
            "nobody ends it",
            f"{one.topic}-{one.partition} from offset {formats.records(one.start_offset)}",
            formats.duration(one.age_seconds),
        )
        for one in hanging
    ]
    output.emit(
        current,
        {
            "taken_at_ms": scan.taken_at_ms,
            "transactional_ids": None
            if scan.transactional_ids is None
            else [{**output.plain(one), "topics": sorted(one.topics)} for one in ids],
            "hanging_transactions": None if scan.hanging_transactions is None else hanging,
        },
        headers=("WHAT", "NAME", "STATE", "TOPICS", "AGE"),
        rows=rows,
        empty="" if scan.transactional_ids is None else "The last scan found no transactions.",
    )
    if scan.transactional_ids is None:
        diagnostics.say("Which transactional ids there are is not known.")
    if scan.hanging_transactions is None:
        diagnostics.say("Whether transactions hang is not known.")
    for note in writers.notes_on(scan, ("transaction",)):
        diagnostics.say(note)


@app.command("producers")
def producers(context: typer.Context, topic: _Topic = "") -> None:
    """Show the producers that partition leaders know: idempotent and transactional ones, no others."""
    from kferry.cli import output
    from kferry.client import diagnostics, formats, writers

    current = state.of(context)
    scan = _scan(current.session())
    found = [one for one in scan.producers or () if not topic or topic == one.topic]
    found.sort(key=lambda one: (one.topic, one.partition, one.producer_id))
    output.emit(
        current,
        {"taken_at_ms": scan.taken_at_ms, "producers": None if scan.producers is None else found},
        headers=("TOPIC", "PARTITION", "PRODUCER", "LAST WROTE", "TRANSACTION FROM OFFSET"),
        rows=[
            (
                one.topic,
                one.partition,
                one.producer_id,
                formats.moment(one.last_timestamp_ms),
                formats.records(one.transaction_start_offset),
            )
            for one in found
        ],
        empty="" if scan.producers is None else "The last scan found no active producers.",
    )
    if scan.producers is None:
        diagnostics.say("Which producers are active is not known.")
    for note in writers.notes_on(scan, ("producer",)):
        diagnostics.say(note)


@app.command("leave-out")
def leave_out(
    context: typer.Context,
    topics: Annotated[list[str] | None, typer.Argument(metavar="[TOPIC]…", help="Topics to leave out.")] = None,
    group: Annotated[list[str] | None, typer.Option(metavar="ID", help="A group to leave out; repeatable.")] = None,
    unused: Annotated[bool, typer.Option("--unused", help="Everything that the last scan shows to be unused.")] = False,
    why: Annotated[str, typer.Option(help="The reason; it is kept in rules.yml.")] = "",
    dry_run: options.DryRun = False,
) -> None:
    """Drop topics and groups from the scope: a rule in rules.yml, which every later plan obeys. Nothing is deleted."""
    from kferry.cli import output
    from kferry.client import diagnostics, leaving_out
    from kferry.domain.errors import ErrorKind, KferryError
    from kferry.domain.planning.scope import group_key

    current = state.of(context)
    session = current.session()
    reasons = {**dict.fromkeys(topics or (), why), **{group_key(name): why for name in group or ()}}
    if unused:
        reasons = {**_inventory(session).unused, **reasons}
    if not reasons:
        raise KferryError(
            "Nothing was named." if not unused else "The last scan shows nothing to be unused.",
            next_step="Name topics, or groups with --group ID, or use --unused.",
            kind=ErrorKind.USAGE,
        )
    done = leaving_out.leave_out(session, reasons, dry_run=dry_run)
    rows = [(name, "would be left out" if dry_run else "left out", reasons[name] or why) for name in done.added]
    rows += [(name, "left out already", "") for name in done.present]
    output.emit(
        current,
        {"dry_run": dry_run, "added": done.added, "present": done.present, "words": done.words},
        headers=("NAME", "STATE", "WHY"),
        rows=rows,
    )
    for words in done.words:
        diagnostics.say(words)


def _scan(session: Session) -> Scan:
    from kferry.domain.errors import ErrorKind, KferryError

    scan = session.reader.scan("source")
    if scan is None:
        raise KferryError("The source was not scanned yet.", next_step="Run: kferry scan", kind=ErrorKind.NOT_READY)
    return scan


def _inventory(session: Session) -> Inventory:
    from kferry.client.inventory import Inventory, finding_counts, unused_of
    from kferry.domain.planning.scope import group_key

    scan = _scan(session)
    found = Inventory(list(scan.topics), list(scan.groups))
    found.finish(scan)
    found.unused = unused_of(scan) if scan.complete else {}
    batches: dict[str, str] = {}
    for batch in session.plan_view().batches:
        batches |= dict.fromkeys((*batch.topics, *(group_key(name) for name in batch.groups)), batch.name)
    found.batches = batches
    document = session.reader.document("findings", "")
    found.findings = None if document is None else finding_counts(document[1])
    return found


def _emit(
    current: state.State,
    what: str,
    found: Inventory,
    items: list[Any],
    facts: tuple[Fact[Any], ...],
    text: Any,
    wishes: tuple[str, str, str],
) -> None:
    from kferry.cli import output
    from kferry.client.filters import FilterError, parse
    from kferry.domain.errors import ErrorKind, KferryError

    where, sort, columns = wishes
    by_name = {name: fact for fact in facts for name in (fact.name, *fact.field.aliases)}
    try:
        wanted = parse(where, [fact.field for fact in facts])
    except FilterError as error:
        raise KferryError(str(error), kind=ErrorKind.USAGE) from None

    def fact_of(name: str) -> Fact[Any]:
        if name not in by_name:
            known = ", ".join(fact.name for fact in facts)
            raise KferryError(f"There is no column {name!r}; there are: {known}.", kind=ErrorKind.USAGE)
        return by_name[name]

    names = _USUAL[what] if not columns else tuple(by_name) if columns == "all" else tuple(columns.split(","))
    chosen = list(dict.fromkeys(fact_of(name.strip()) for name in names))

    def passes(item: Any) -> bool:
        return wanted.keeps(lambda: text(found, item), lambda name: by_name[name].of(found, item))

    kept = [item for item in items if passes(item)]
    if sort:
        kept = _sorted(found, kept, fact_of(sort.removeprefix("-")), descending=sort.startswith("-"))
    output.emit(
        current,
        [{fact.name: _plain(fact.of(found, item)) for fact in chosen} for item in kept],
        headers=[fact.title.upper() for fact in chosen],
        rows=[[_bound(fact, found, item) + _words(fact, fact.of(found, item)) for fact in chosen] for item in kept],
        empty=f"None of {len(items):,} {what} fulfils it." if where else f"The source has no {what}.",
    )


def _sorted(found: Inventory, items: list[Any], fact: Fact[Any], *, descending: bool) -> list[Any]:
    values: list[Any] = [fact.of(found, item) for item in items]
    keys = [str(value).lower() if isinstance(value, str | tuple) else value for value in values]
    known = [at for at, value in enumerate(values) if value is not None]
    known.sort(key=lambda at: keys[at], reverse=descending)
    unknown = [at for at, value in enumerate(values) if value is None]  # last, both ways
    return [items[at] for at in known + unknown]


def _plain(value: Any) -> Any:
    """For JSON: what is unlimited has no number there."""
    return "unlimited" if value == float("inf") else list(value) if isinstance(value, tuple) else value


def _bound(fact: Fact[Any], found: Inventory, item: Any) -> str:
    """That a topic is idle for at least, or at most, that long."""
    from kferry.client.inventory import idle_bound
    from kferry.domain.model import Topic

    is_idle = fact.name == "idle" and isinstance(item, Topic) and fact.of(found, item) is not None
    return idle_bound(item, found.taken_at_ms) or "" if is_idle else ""


def _words(fact: Fact[Any], value: Any) -> str:
    from kferry.client import formats
    from kferry.client.filters import FieldKind

    if value is None:
        return formats.DASH
    if isinstance(value, tuple):
        return ", ".join(value)
    if value == float("inf"):
        return "unlimited"
    kinds: dict[FieldKind, Callable[[Any], str]] = {
        FieldKind.BYTES: formats.byte_count,
        FieldKind.SECONDS: formats.duration,
        FieldKind.FLAG: formats.yes_no,
        FieldKind.NUMBER: formats.records,
    }
    return kinds[fact.field.kind](value) if fact.field.kind in kinds else str(value)
