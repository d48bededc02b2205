"""The form for a cluster, by keys only: what is missing is said live, a draft is tested before it is saved."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from kferry.domain.drafts import KEPT
from kferry.domain.runbook import Operation, OperationKind, OperationStatus, StepState, StepStatus
from kferry.store.clusters_file import load_clusters
from kferry.store.journal import Journal
from kferry.store.paths import Layout
from kferry.ui.app import KferryApp
from kferry.ui.modals.cluster_form import ClusterForm
from support.ui_app import screen_text, until

LINES = [["TCP new:9096", "ok", "Connected.", 0.0012], ["login", "ok", "Logged in with SCRAM-SHA-512.", 0.3]]


@contextmanager
def drafting_engine(layout: Layout, body: Mapping[str, Any], *, ends: bool = True) -> Iterator[list[dict[str, Any]]]:
    """An engine that answers every draft with `body`; one that never `ends` waits for an abort."""
    import fcntl
    import threading

    seen: list[dict[str, Any]] = []
    stop, journal = threading.Event(), Journal(layout.journal)

    def work() -> None:
        while not stop.wait(0.02):
            for row in journal.waiting_intents():
                args = json.loads(row.args)
                seen.append({"wish": row.kind, **args})
                operation_id = args.get("operation_id") or f"check-draft-{len(seen)}"
                final = OperationStatus.ABORTED if row.kind == "abort" else OperationStatus.DONE
                status = final if ends or row.kind == "abort" else OperationStatus.RUNNING
                operation = Operation(
                    operation_id,
                    OperationKind.CHECK_DRAFT,
                    "source",
                    {},
                    status,
                    (StepState("connect_draft", StepStatus.DONE),),
                )
                with journal.transaction() as session:
                    document = {**body, "operation_id": operation_id, "running": not ends}
                    journal.put_document("cluster_check", "draft", json.dumps(document), session)
                    journal.save_operation(session, operation)
                    journal.answer_intent(session, row.id, "accepted", operation_id=operation_id)

    thread = threading.Thread(target=work, daemon=True)
    with layout.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread.start()
        try:
            yield seen
        finally:
            stop.set()
            thread.join(timeout=10)
            journal.close()


async def opened(pilot: Pilot[None], app: KferryApp) -> ClusterForm:
    await app.drawn("clusters")
    await pilot.press("e")
    await until(pilot, lambda: isinstance(app.screen, ClusterForm))
    form = app.screen
    assert isinstance(form, ClusterForm)
    return form


async def choose(pilot: Pilot[None], app: KferryApp, steps: int) -> None:
    await pilot.press("enter")
    await until(pilot, lambda: not isinstance(app.screen, ClusterForm))
    await pilot.pause(0.05)
    await pilot.press(*["j"] * steps, "enter")
    await until(pilot, lambda: isinstance(app.screen, ClusterForm))


async def typed(pilot: Pilot[None], form: ClusterForm, text: str) -> None:
    await pilot.press("enter")
    await until(pilot, lambda: form.query_one("#entry", Input).has_focus)
    form.query_one("#entry", Input).value = text
    await pilot.press("enter")
    await until(pilot, lambda: not form.query_one("#entry", Input).has_focus)


@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])
async def test_a_cluster_is_described_tested_and_saved(
    size: tuple[int, int], layout: Layout, make_app: Callable[..., KferryApp]
) -> None:
    body = {"reachable": True, "lines": LINES, "capabilities": {}, "error": None}
    with drafting_engine(layout, body) as seen:
        app = make_app(layout)
        async with app.run_test(size=size) as pilot:
            form = await opened(pilot, app)
            await choose(pilot, app, 1)  # Amazon MSK, whose first way is IAM
            assert form.draft.kind.value == "msk" and form.draft.way == "iam"
            await pilot.press("j")
            await choose(pilot, app, 1)
            assert form.draft.way == "scram"
            await until(pilot, lambda: "Port 9092 is that of" in screen_text(app))
            await pilot.press("j")
            await typed(pilot, form, "b-1.x.kafka.eu-west-1.amazonaws.com:9098")
            await until(pilot, lambda: "Port 9098 is that of" in screen_text(app))
            await typed(
                pilot, form, "b-1.x.kafka.eu-west-1.amazonaws.com:9096,b-2.x.kafka.eu-west-1.amazonaws.com:9096"
            )
            await pilot.press("j")
            await typed(pilot, form, "")
            await until(pilot, lambda: "The user is missing" in screen_text(app))
            await typed(pilot, form, "mover")
            await pilot.press("j")
            await typed(pilot, form, "hunter2")
            await until(pilot, lambda: "not a reference" in screen_text(app))
            assert "hunter2" not in screen_text(app)
            await pilot.press("t")
            assert not form.is_testing and not seen, "a secret in plain words is sent nowhere"
            await typed(pilot, form, "env:MSK_PASSWORD")
            await until(pilot, lambda: "There is no file /etc/kafka/old-ca.pem here" in screen_text(app))
            await pilot.press("j")
            await typed(pilot, form, "")
            await until(pilot, lambda: "Nothing is missing" in screen_text(app))
            await pilot.press("t")
            await until(pilot, lambda: "Logged in with SCRAM" in screen_text(app))
            await until(pilot, lambda: not form.is_testing)
            config = seen[0]["config"]
            assert config["kind"] == "msk" and "ssl_ca" not in config
            assert config["sasl_password"] == "env:MSK_PASSWORD" and config["sasl_mechanism"] == "SCRAM-SHA-512"
            assert "300 ms" in screen_text(app)
            await pilot.press("s")
            await until(pilot, lambda: not isinstance(app.screen, ClusterForm))
    found = load_clusters(layout)
    assert found["source"].sasl_username == "mover" and found["source"].security_protocol == "SASL_SSL"  # type: ignore[index]


async def test_esc_always_answers(layout: Layout, make_app: Callable[..., KferryApp]) -> None:
    body = {"reachable": None, "lines": LINES[:1], "error": None}
    before = layout.clusters.read_text()
    with drafting_engine(layout, body, ends=False) as seen:
        app = make_app(layout)
        async with app.run_test(size=(80, 24)) as pilot:
            form = await opened(pilot, app)
            await pilot.press("j", "j", "enter")
            await until(pilot, lambda: form.query_one("#entry", Input).has_focus)
            await pilot.press("x", "escape")  # what was typed is left
            await until(pilot, lambda: not form.query_one("#entry", Input).has_focus)
            assert "x" not in form.draft.bootstrap_servers
            await pilot.press("t")
            await until(pilot, lambda: "testing…" in screen_text(app) and "Connected" in screen_text(app))
            await pilot.press("escape")  # the test is stopped, what was seen stays
            await until(pilot, lambda: not form.is_testing)
            assert [item["wish"] for item in seen] == ["check_draft", "abort"]
            assert "Connected" in screen_text(app)
            await typed(pilot, form, "other:9092")
            await pilot.press("escape")
            await until(pilot, lambda: "not saved" in screen_text(app))
            await pilot.press("escape")
            await until(pilot, lambda: not isinstance(app.screen, ClusterForm))
    assert layout.clusters.read_text() == before


async def test_without_an_engine_the_form_says_so_and_still_saves(
    layout: Layout, make_app: Callable[..., KferryApp]
) -> None:
    app = make_app(layout)
    async with app.run_test(size=(80, 24)) as pilot:
        form = await opened(pilot, app)
        await pilot.press("t")
        await until(pilot, lambda: "is not running" in screen_text(app))
        await pilot.press("j", "j")
        await typed(pilot, form, "elsewhere:9092")
        await pilot.press("s")
        await until(pilot, lambda: "s again saves" in screen_text(app))
        await pilot.press("s")
        await until(pilot, lambda: not isinstance(app.screen, ClusterForm))
    assert load_clusters(layout)["source"].bootstrap_servers == "elsewhere:9092"  # type: ignore[index]


async def test_a_vault_text_is_neither_shown_nor_lost(layout: Layout, make_app: Callable[..., KferryApp]) -> None:
    layout.clusters.write_text(
        "kferry_clusters:\n  source:\n    kind: apache_kafka\n    bootstrap_servers: a:9092\n"
        "    security_protocol: SASL_PLAINTEXT\n    sasl_mechanism: PLAIN\n    sasl_username: u\n"
        "    sasl_password: !vault |\n      $ANSIBLE_VAULT;1.1;AES256\n      6231\n"
    )
    app = make_app(layout)
    async with app.run_test(size=(80, 24)) as pilot:
        form = await opened(pilot, app)
        assert form.draft.password == KEPT
        assert "a !vault value, kept" in screen_text(app) and "ANSIBLE_VAULT" not in screen_text(app)
        await pilot.press("j", "j", "j", "j")
        await typed(pilot, form, "other")
        await pilot.press("s", "s")
        await until(pilot, lambda: not isinstance(app.screen, ClusterForm))
    text = layout.clusters.read_text()
    assert "sasl_username: other" in text and "$ANSIBLE_VAULT;1.1;AES256\n      6231\n" in text
