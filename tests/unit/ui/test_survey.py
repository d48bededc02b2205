"""Inventory and Preflight by keys: filters, sorting, columns, jumps and the way back, leaving out, fixing, folding."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kferry.client import screen_memory
from kferry.client.filters import quote
from kferry.client.inventory import GROUP_FACTS, TOPIC_FACTS, Inventory
from kferry.client.leaving_out import leave_out
from kferry.client.session import Session
from kferry.domain import model
from kferry.domain.runbook import OperationKind
from kferry.store import codec, rules_file
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from kferry.store.scan_pages import PIECE_SIZE, ScanPages
from kferry.store.tables import WaiverRow
from kferry.ui.app import KferryApp
from kferry.ui.cells import content
from kferry.ui.modals.columns import ColumnsDialog
from kferry.ui.modals.confirm import ConfirmDialog
from kferry.ui.modals.look import LookDialog
from kferry.ui.rows import findings, inventory
from kferry.ui.widgets.keyed_table import KeyedTable
from support import seeded
from support.ui_app import answering_engine, engine_lock, screen_text, until

from . import survey_states as states

Make = Callable[..., KferryApp]


@pytest.fixture
def survey(tmp_path: Path) -> Layout:
    layout = seeded.bare(tmp_path / "m")
    states.put_scan(layout)
    states.put_findings(layout, states.many_findings())
    batch = model.Batch("shop", ("shop.orders", "shop.payments"), ("billing", "connect-sink"), 1.0, ("because",))
    from kferry.store import plan_file

    plan_file.write_plan(layout, model.Plan("scan-now", (batch,)))
    return layout


def shown(app: KferryApp, table: str) -> list[str]:
    rows = app.screen.query_one(f"#{table}", KeyedTable).shown
    return [row.key for row in rows]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("size>=1GiB", ["shop.orders", "shop.payments"]),
        ("idle>7d", ["old.exports"]),
        ("unused=yes", ["old.exports"]),
        ("failed=yes", ["secret.salaries"]),
        ("group=billing", ["shop.orders"]),
        ("batch=shop !orders", ["shop.payments"]),
        ("findings>0", ["shop.orders", "shop.payments"]),
    ],
)
async def test_topics_are_filtered_by_what_is_known(text: str, kept: list[str], survey: Layout, make_app: Make) -> None:
    app = make_app(survey)
    async with app.run_test(size=(120, 36)) as pilot:
        await app.drawn("inventory")
        app.screen.query_one("#topics", KeyedTable).set_filter(text)
        await until(pilot, lambda: sorted(shown(app, "topics")) == kept)


async def test_a_filter_that_is_not_understood_is_said_and_the_rows_stay(survey: Layout, make_app: Make) -> None:
    app = make_app(survey)
    async with app.run_test(size=(120, 36)) as pilot:
        await app.drawn("inventory")
        await until(pilot, lambda: len(shown(app, "topics")) == 4)
        await pilot.press("/", *"shop size>much")
        await until(pilot, lambda: "is no figure" in screen_text(app))
        assert len(shown(app, "topics")) == 2  # what is understood holds
        assert not app.errors
        await pilot.press("escape")
        await until(pilot, lambda: len(shown(app, "topics")) == 4)


async def test_sorting_by_key_both_ways_and_by_choice(survey: Layout, make_app: Make) -> None:
    app = make_app(survey)
    async with app.run_test(size=(120, 36)) as pilot:
        await app.drawn("inventory")
        await until(pilot, lambda: len(shown(app, "topics")) == 4)
        table = app.screen.query_one("#topics", KeyedTable)
        table.sort_by("size")
        assert shown(app, "topics") == ["old.exports", "shop.payments", "shop.orders", "secret.salaries"]
        await pilot.press("<")
        assert shown(app, "topics") == ["shop.orders", "shop.payments", "old.exports", "secret.salaries"]
        await until(pilot, lambda: "size↓" in screen_text(app))
        await pilot.press(">")
        await until(pilot, lambda: len(app.screen_stack) == 3)
        await pilot.press("enter")  # the first of the columns
        await until(pilot, lambda: "topic↑" in screen_text(app))
        assert table.cursor == 0


async def test_columns_are_chosen_and_remembered(survey: Layout, make_app: Make) -> None:
    app = make_app(survey)
    async with app.run_test(size=(120, 36)) as pilot:
        await app.drawn("inventory")
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, ColumnsDialog))
        names = [row.key for row in app.screen.query_one(KeyedTable).shown]
        for _ in range(names.index("replicas")):
            await pilot.press("j")
        await pilot.press("space", *(["K"] * (names.index("replicas") - 1)), "enter")
        await until(pilot, lambda: "replicas" in screen_text(app) and (survey.private / "screens.json").exists())
    known = [fact.name for fact in TOPIC_FACTS]
    chosen = screen_memory.columns(survey, "topics", known)
    assert chosen is not None
    assert chosen[:2] == ["topic", "replicas"]
    assert inventory.columns(TOPIC_FACTS, chosen)[1].called == "replicas"
    again = make_app(survey)
    async with again.run_test(size=(120, 36)) as pilot:
        await again.drawn("inventory")
        await until(pilot, lambda: "replicas" in screen_text(again))


def test_a_broken_memory_is_no_memory(survey: Layout) -> None:
    for text in ("", "{", "[]", '{"columns": 7}', '{"columns": {"topics": ["nope", 3]}}'):
        (survey.private / "screens.json").write_text(text)
        assert screen_memory.columns(survey, "topics", ["topic"]) is None


async def test_jumps_between_topic_groups_findings_and_batch_lead_back(survey: Layout, make_app: Make) -> None:
    app = make_app(survey)
    async with app.run_test(size=(120, 36)) as pilot:
        await app.drawn("inventory", "shop.orders")
        await until(pilot, lambda: app.screen.query_one("#topics", KeyedTable).cursor_key == "shop.orders")
        await until(pilot, lambda: "read by  2" in screen_text(app))  # its groups are read after the topics
        await pilot.press("t")
        await until(pilot, lambda: "Inventory › groups of shop.orders" in screen_text(app))
        await until(pilot, lambda: shown(app, "groups") == ["billing", "connect-sink"])
        await pilot.press("j", "t")
        await until(pilot, lambda: "› topi" in screen_text(app))
        assert shown(app, "topics") == ["shop.orders", "shop.payments"]
        await pilot.press("escape", "escape")
        await until(pilot, lambda: len(shown(app, "topics")) == 4 and "groups of" not in screen_text(app))
        table = app.screen.query_one("#topics", KeyedTable)
        assert table.cursor_key == "shop.orders"
        await pilot.press("f")
        await until(pilot, lambda: app.front.NAME == "preflight")
        await until(pilot, lambda: shown(app, "findings") == ["record-size:shop.orders"])
        assert "findings of shop.orders" in screen_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: app.front.NAME == "inventory")
        assert table.cursor_key == "shop.orders"
        await pilot.press("b")
        await until(pilot, lambda: app.front.NAME == "plan")
        await until(pilot, lambda: "batch of shop.orders" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: app.front.NAME == "inventory")
        assert not app.errors


async def test_a_finding_leads_to_its_topic(survey: Layout, make_app: Make) -> None:
    app = make_app(survey)
    async with app.run_test(size=(120, 36)) as pilot:
        await app.drawn("preflight", "record-size:shop.payments")
        await until(pilot, lambda: "Record size: shop.payments" in screen_text(app))
        await pilot.press("t")
        await until(pilot, lambda: app.front.NAME == "inventory")
        await until(pilot, lambda: app.screen.query_one("#topics", KeyedTable).cursor_key == "shop.payments")
        await pilot.press("escape")
        await until(pilot, lambda: app.front.NAME == "preflight")
        assert app.screen.query_one("#findings", KeyedTable).cursor_key == "record-size:shop.payments"


async def test_what_is_unused_is_left_out_by_one_key(survey: Layout, make_app: Make) -> None:
    app = make_app(survey)
    async with app.run_test(size=(120, 36)) as pilot:
        await app.drawn("inventory")
        await until(pilot, lambda: "2 unused" in screen_text(app))
        await pilot.press("D")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog) and "40 days old" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: survey.rules.exists())
        await until(pilot, lambda: "1 left out" in screen_text(app))
        await pilot.press("l", "d")  # the first of the groups, which is used: asked all the same
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("escape")
    rules = rules_file.load_rules(survey)
    assert rules.leaves_out_topic("old.exports") is not None
    assert rules.leaves_out_topic("shop.orders") is None
    assert rules.leaves_out_group("billing") is None


@given(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=5, unique=True))
@settings(max_examples=60)
def test_leaving_out_is_for_exactly_that_name(names: list[str]) -> None:
    from kferry.client.leaving_out import with_left_out
    from kferry.domain.planning.rules import PlanningRules

    reasons = {name: "unused" for name in names if not name.startswith("group ")}
    rules = with_left_out(PlanningRules(), reasons)
    assert all(rules.leaves_out_topic(name) for name in reasons)
    assert len(rules.leave_out) <= 1
    assert not rules.leaves_out_topic("".join(names) + "x" * 40)
    assert with_left_out(rules, reasons) == rules


def test_a_read_only_session_leaves_nothing_out(survey: Layout) -> None:
    session = Session(survey.root, read_only=True)
    try:
        assert leave_out(session, {"old.exports": ""}, dry_run=True).added == ("old.exports",)
        with pytest.raises(Exception, match="read-only"):
            leave_out(session, {"old.exports": ""})
    finally:
        session.close()
    assert not survey.rules.exists()


async def test_a_running_scan_is_stopped_by_a_key(survey: Layout, make_app: Make) -> None:
    operation_id = states.running(survey, OperationKind.SCAN)
    states.progress(survey, "lag", 10, 4000, share=0.9, eta_seconds=33.0)
    app = make_app(survey)
    with answering_engine(survey, lambda kind, args: ("done", "", {})) as seen:
        async with app.run_test(size=(120, 36)) as pilot:
            await app.drawn("inventory")
            await until(pilot, lambda: "90 %, about 33 s left" in screen_text(app))
            assert "██████████░" in screen_text(app)  # of the scan, not of the step that runs
            await pilot.press("X")
            await until(pilot, lambda: seen)
    assert seen[0] == ("abort", {"operation_id": operation_id})


async def test_the_scan_under_way_is_shown_on_demand(survey: Layout, make_app: Make) -> None:
    states.running(survey, OperationKind.SCAN)
    whole = states.scan()
    part = model.Scan("next", whole.taken_at_ms, whole.cluster, whole.topics[:1], (), complete=False)
    states.put_scan(survey, part, kind="scan_partial", minutes_ago=0)
    app = make_app(survey)
    with engine_lock(survey):
        async with app.run_test(size=(120, 36)) as pilot:
            await app.drawn("inventory")
            await until(pilot, lambda: len(shown(app, "topics")) == 4 and "P shows what it has" in screen_text(app))
            await pilot.press("P")
            await until(pilot, lambda: len(shown(app, "topics")) == 1 and "not whole yet" in screen_text(app))
            await pilot.press("P")
            await until(pilot, lambda: len(shown(app, "topics")) == 4)


async def test_a_scan_that_was_cut_off_is_gone_on_with(survey: Layout, make_app: Make) -> None:
    whole = states.scan()
    part = model.Scan("next", whole.taken_at_ms, whole.cluster, whole.topics[:1], (), complete=False)
    states.put_scan(survey, part, kind="scan_partial", minutes_ago=0)
    app = make_app(survey)
    with answering_engine(survey, lambda kind, args: ("done", "", {})) as seen:
        async with app.run_test(size=(120, 36)) as pilot:
            await app.drawn("inventory")
            await until(pilot, lambda: "was cut off; S goes on with it" in screen_text(app))
            await pilot.press("S")
            await until(pilot, lambda: seen)
    assert seen[0] == ("scan", {"resume": True})


async def test_a_fix_is_seen_before_it_is_done(survey: Layout, make_app: Make) -> None:
    change = {"scope": "target", "resource": "topic_config", "name": "shop.orders", "key": "max.message.bytes"}
    plan = {"title": "Fix", "steps": [], "words": [], "hash": "h1"}
    plan["changes"] = [{**change, "before": "1048588", "after": "2097152", "action": "change"}]

    def answer(kind: str, args: object) -> tuple[str, str, dict[str, object]]:
        return ("done", "", plan)

    app = make_app(survey)
    with answering_engine(survey, answer) as seen:
        async with app.run_test(size=(120, 36)) as pilot:
            await app.drawn("preflight", "record-size:shop.orders")
            await until(pilot, lambda: "kferry can fix this" in screen_text(app))
            await pilot.press("f")
            await until(pilot, lambda: isinstance(app.screen, ConfirmDialog) and "2097152" in screen_text(app))
            assert seen == [("fix_findings", {"findings": ["record-size:shop.orders"], "dry_run": True})]
            await pilot.press("enter")
            await until(pilot, lambda: len(seen) == 2)
            assert seen[1] == ("fix_findings", {"findings": ["record-size:shop.orders"]})
            await until(pilot, lambda: app.front is app.screen)
            app.screen.query_one("#findings", KeyedTable).move_to(0)  # the group of what blocks: both of it
            await pilot.press("f")
            await until(pilot, lambda: len(seen) == 3)
            assert len(seen[2][1]["findings"]) == 2


async def test_what_is_to_be_done_is_listed_the_worst_first(survey: Layout, make_app: Make) -> None:
    app = make_app(survey)
    async with app.run_test(size=(120, 36)) as pilot:
        await app.drawn("preflight", "record-size:shop.orders")
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, LookDialog))
        text = screen_text(app)
        assert "Actions needed: " in text and "  1. ✗ " in text
        assert "kferry preflight fix record-size:" in text
        await pilot.press("escape")
        await until(pilot, lambda: app.front is app.screen)


async def test_fixing_what_is_about_access_leads_to_the_access_screen(survey: Layout, make_app: Make) -> None:
    states.put_findings(survey, [states.finding("access-acls", "warn", "acls")])
    app = make_app(survey)
    async with app.run_test(size=(120, 36)) as pilot:
        await app.drawn("preflight", "access-acls:acls")
        await until(pilot, lambda: "f goes to Access" in screen_text(app))
        assert "f opens" in screen_text(app)
        await pilot.press("f")
        await until(pilot, lambda: app.front.NAME == "access")
        await pilot.press("escape")
        await until(pilot, lambda: app.front.NAME == "preflight")


async def test_a_waiver_that_was_outgrown_says_so(survey: Layout, make_app: Make) -> None:
    states.put_findings(survey, [replace(states.finding("access-acls", "warn", "acls"), content=("1", "2", "3"))])
    journal = Journal(survey.journal)
    with journal.transaction() as session:
        row = WaiverRow(finding_id="access-acls:acls", who="ada", why="w", at_ms=1, until_ms=2**50, content='["1"]')
        journal.put_waiver(row, session)
    journal.close()
    app = make_app(survey)
    async with app.run_test(size=(120, 36)) as pilot:
        await app.drawn("preflight", "access-acls:acls")
        await until(pilot, lambda: "More than was waived: 2 of 3 are new" in screen_text(app))


async def test_findings_fold_and_unfold(survey: Layout, make_app: Make) -> None:
    app = make_app(survey)
    async with app.run_test(size=(120, 36)) as pilot:
        await app.drawn("preflight")
        await until(pilot, lambda: len(shown(app, "findings")) == 9)
        table = app.screen.query_one("#findings", KeyedTable)
        assert "Findings · 16" in screen_text(app)
        await pilot.press("h")
        await until(pilot, lambda: len(shown(app, "findings")) == 7)
        await pilot.press("l")
        await until(pilot, lambda: len(shown(app, "findings")) == 9)
        table.select("\0warn\0topic-name")
        await pilot.press("enter")
        await until(pilot, lambda: len(shown(app, "findings")) == 21)
        await pilot.press("/", *"about:topic-11", "enter")  # a filter looks into folds too
        await until(pilot, lambda: shown(app, "findings") == ["topic-name:shop.topic-11"])
        await pilot.press("escape", "z")
        await until(pilot, lambda: len(shown(app, "findings")) == 4)


async def test_the_report_is_written(survey: Layout, make_app: Make) -> None:
    app = make_app(survey)
    async with app.run_test(size=(120, 36)) as pilot:
        await app.drawn("preflight")
        await pilot.press("e")
        await until(pilot, lambda: (survey.reports / "preflight.xml").exists())
    assert "Actions needed" in (survey.reports / "preflight.md").read_text()
    assert json.loads((survey.reports / "preflight.json").read_text())["counts"]["block"] == 2


# ---- what clusters may call things ---------------------------------------------------------------------------------

NASTY = st.one_of(
    st.text(min_size=1, max_size=249),
    st.sampled_from(
        ["[/]", "[@click=app.quit]x", "\x1b]52;c;YQ==\x07", "\u202egnp.exe", "a\0b", "..", "-rf", "x" * 249, "{{ 1 }}"]
    ),
)


@given(NASTY, NASTY)
@settings(max_examples=80)
def test_hostile_names_are_text_in_rows_panes_and_filters(name: str, other: str) -> None:
    topic = model.Topic(name, None, None, (), {name: other}, {}, error=other)
    member = model.GroupMember(other, name, other)
    group = model.Group(
        name, model.GroupState.STABLE, model.GroupKind.PLAIN, (member,), (model.CommittedOffset(name, 0, 1),)
    )
    found = Inventory([topic], [group])
    cluster = model.ClusterFacts(model.Role.SOURCE, None, None, None, ())
    found.finish(model.Scan("s", 1, cluster, (topic,), (group,)))
    sources = (
        inventory.topic_source(found, inventory.columns(TOPIC_FACTS, [fact.name for fact in TOPIC_FACTS])),
        inventory.group_source(found, inventory.columns(GROUP_FACTS, [fact.name for fact in GROUP_FACTS])),
    )
    view = seeded_view(name, other)
    for source in (*sources, findings.FindingSource(findings.flat([view]))):
        assert _harmless([source.row(0).cells])
    for lines in (
        inventory.topic_lines(topic, found),
        inventory.group_lines(group, found),
        findings.finding_lines(view),
    ):
        assert _harmless(lines)
    from kferry.client.filters import parse

    wanted = parse(f"topic={quote(name)}", sources[0].fields)
    assert wanted.keeps(lambda: sources[0].text(0), lambda field: sources[0].value(0, field))


def seeded_view(name: str, other: str):  # type: ignore[no-untyped-def]
    from kferry.store.views import FindingView

    return FindingView(f"{name}:{other}", name, "block", other, name, other, name, other, name, fixable=True)


def _harmless(lines) -> bool:  # type: ignore[no-untyped-def]
    """Drawn as Textual draws it: no control character, and no markup has become a style or an action."""
    drawn = content(lines).plain
    return not any(character in drawn for character in "\x1b\x07\0\u202e\r\x9b")


@given(st.lists(NASTY, max_size=6, unique=True))
@settings(max_examples=30, deadline=None)
def test_a_scan_read_in_pieces_is_the_scan(names: list[str]) -> None:
    import tempfile

    names = [name.encode("utf-8", "replace").decode() for name in names]
    whole = states.scan()
    made = model.Scan(
        "s",
        5,
        whole.cluster,
        tuple(model.Topic(name, None, 1, (model.PartitionOffsets(0, 0, 7),), {name: name}) for name in names)
        + whole.topics,
        whole.groups,
        notes=tuple(names),
    )
    assert _read_back(Path(tempfile.mkdtemp()), made) == made


def test_a_big_scan_is_read_in_pieces(tmp_path: Path) -> None:
    whole = states.scan()
    count = PIECE_SIZE * 12 + 7
    made = model.Scan(
        "s",
        5,
        whole.cluster,
        tuple(
            model.Topic(f"ünïcode.{at}", None, 1, (model.PartitionOffsets(0, 0, at),), {"k": "v" * 300})
            for at in range(count)
        ),
        whole.groups,
    )
    assert len(codec.dump(made)) > 3 * 256 * 1024
    assert _read_back(tmp_path, made) == made


def _read_back(folder: Path, made: model.Scan) -> model.Scan | None:
    import sqlite3

    database = folder / "journal.db"
    connection = sqlite3.connect(database)
    connection.execute("create table document (kind, subject, at_ms, body)")
    connection.execute("insert into document values ('scan', 'source', 1, ?)", (codec.dump(made),))
    connection.commit()
    connection.close()
    pages = ScanPages(database, "scan", "source")
    try:
        topics: list[model.Topic] = []
        groups: list[model.Group] = []
        for piece in pages.pieces():
            (topics if isinstance(piece[0], model.Topic) else groups).extend(piece)  # type: ignore[arg-type]
        return pages.scan(tuple(topics), tuple(groups))
    finally:
        pages.close()


@pytest.mark.parametrize("text", ["{", '{"topics": [', '{"topics": [7]}', '{"topics": [{"name": 1}]}', "[1", ""])
def test_a_scan_that_is_cut_off_is_an_error_in_words(text: str, tmp_path: Path) -> None:
    import sqlite3

    from kferry.domain.errors import KferryError

    database = tmp_path / "journal.db"
    connection = sqlite3.connect(database)
    connection.execute("create table document (kind, subject, at_ms, body)")
    connection.execute("insert into document values ('scan', 'source', 1, ?)", (text,))
    connection.commit()
    connection.close()
    pages = ScanPages(database, "scan", "source")
    try:
        with pytest.raises(KferryError, match="cannot be read"):
            list(pages.pieces())
    finally:
        pages.close()


def test_who_writes_a_topic_stands_in_its_details() -> None:
    made = states.scan()
    found = Inventory(list(made.topics), list(made.groups))
    found.finish(made)
    text = "\n".join(content([one]).plain for one in inventory.topic_lines(made.topics[1], found))
    assert "shop-payments-1  CompleteCommit" in text
    assert "▲ producer 4712 in partition 2 since offset 50,090, 4 h old" in text
    assert "a transaction open since offset 50,090" in text
    unknown = replace(made, transactional_ids=None, producers=None, hanging_transactions=None)
    found.finish(unknown)
    text = "\n".join(content([one]).plain for one in inventory.topic_lines(made.topics[1], found))
    assert text.count("not known") == 3


def test_the_last_record_of_a_sample_is_not_that_of_the_topic() -> None:
    made = states.scan()
    wide = replace(made.topics[0], partitions=made.topics[0].partitions * 4, sampled_partitions=8)
    found = Inventory([wide], [])
    found.finish(replace(made, topics=(wide,)))
    text = "\n".join(content([one]).plain for one in inventory.topic_lines(wide, found))
    assert "03:06:58Z or newer" in text
    assert "records of 8 of 12 partitions, the fullest" in text
    assert "idle          ≤2.0 s" in text
