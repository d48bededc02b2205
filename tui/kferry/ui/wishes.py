"""Sending wishes: show what would change, ask, send, say what came of it. Every wait happens in a thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kferry.client.actions import Action
from kferry.domain.errors import ErrorKind, KferryError
from kferry.store.views import IntentView
from kferry.ui import bindings
from kferry.ui.messages import Answered, Failed, Said
from kferry.ui.modals.confirm import ConfirmDialog

if TYPE_CHECKING:
    from kferry.ui.app import KferryApp

# Wishes about the whole migration.
WITHOUT_SUBJECT = frozenset({"check_clusters", "scan", "preflight", "plan", "fleet_check", "plan_access"})
# Wishes that change only the journal: there is no plan to show.
_WITHOUT_PLAN = frozenset({"waive", "unwaive", "answer", "stop_engine"})
_BY_BATCH = frozenset({"create_task", "start_cutover", "verify"})
_BY_TASK = frozenset({"pause_task", "resume_task", "delete_task", "restart_task", "rotate_task"})
ENGINE_START_SECONDS = 20.0


def args_of_subject(action: Action, subject: str) -> dict[str, Any] | None:
    """The arguments of a wish that is about one batch, one task or the whole migration."""
    if action.id in WITHOUT_SUBJECT:
        return {}
    if subject and action.id in _BY_BATCH:
        return {"batch": subject}
    if subject and action.id in _BY_TASK:
        return {"task": subject}
    return None


def subject_of(args: Mapping[str, Any]) -> str:
    """What a wish is about, to be typed where it is dangerous."""
    for key in ("batch", "task", "host", "cluster", "subject", "finding_id", "change_id", "operation_id"):
        if key in args:
            return str(args[key])
    return ""


def ask(
    app: KferryApp,
    action: Action,
    args: Mapping[str, Any],
    *,
    subject: str | None = None,
    words: tuple[str, ...] = (),
) -> None:
    """Send a wish; where it is dangerous, first show the plan of a dry run and let the operator confirm it.

    `words` are sentences that the dialog shows above the plan.
    """
    frame = app.front.frame
    if frame is not None and not frame.alive:
        app.show_error(not_running(app))
        return
    if action.danger == "none":
        app.front.say(f"{action.title}: asking the engine…")
        _send(app, action, args)
        return
    about = subject if subject is not None else subject_of(args)
    with_plan = action.intent not in _WITHOUT_PLAN
    dialog = ConfirmDialog(action, about, words=words, waits_for_plan=with_plan)

    def confirmed(plan_hash: str | None) -> None:
        if plan_hash is not None:
            app.front.say(f"{action.title}: asking the engine…")
            _send(app, action, args, expects=plan_hash or None)

    app.run_worker(app.push_dialog(dialog, confirmed))
    if with_plan:
        _send(app, action, args, dry_run=True)


def not_running(app: KferryApp) -> KferryError:
    return KferryError(
        "The engine is not running, so nothing was asked for.",
        cause="Nothing is queued for an engine that isn't there.",
        next_step=f"Press {bindings.first_key('start_engine')} to start it, then do this again.",
        log=str(app.session.layout.engine_log),
        kind=ErrorKind.NOT_READY,
    )


def _send(
    app: KferryApp,
    action: Action,
    args: Mapping[str, Any],
    *,
    dry_run: bool = False,
    expects: str | None = None,
) -> None:
    kind = action.intent
    assert kind is not None  # noqa: S101 -- callers send only actions with an intent

    def work() -> None:
        try:
            intent = app.session.ask(kind, args, dry_run=dry_run, expects=expects)
        except KferryError as error:
            app.post_message(Failed(error, for_plan=dry_run))
        else:
            app.post_message(Answered(intent, action.id, dry_run))

    app.run_worker(work, thread=True, group="wishes", name=f"wish {kind}")


def answered(app: KferryApp, message: Answered) -> None:
    """The engine has spoken: a plan goes into the open dialog, all else into the status line."""
    if message.for_plan:
        if isinstance(app.screen, ConfirmDialog):
            app.screen.show_plan(message.intent.result)
        return
    app.front.say(outcome_words(message.intent))
    app.poller.wake()
    if message.action_id == "start_cutover":
        app.run_worker(app.go_to("cutover", str(message.intent.args.get("batch", ""))))


def outcome_words(intent: IntentView) -> str:
    name = intent.kind.replace("_", " ")
    if intent.status == "accepted":
        return f"✓ {name}: the engine has begun."
    if intent.status == "failed":  # so soon that the answer is already how its operation ended
        return f"✗ {name}: {intent.reason or 'it failed, and did not say why.'}"
    return f"✓ {name}: done."


def start_engine(app: KferryApp, *, quietly: bool = False) -> None:
    """Start the engine in a thread; it outlives this terminal."""
    if not quietly:
        app.front.say("Starting the engine…")
    _run_engine(app, lambda: app.session.ensure_engine(ENGINE_START_SECONDS), "" if quietly else "✓ The engine runs.")


def confirm_engine(app: KferryApp, action: Action, work: Callable[[], object]) -> None:
    def confirmed(plan_hash: str | None) -> None:
        if plan_hash is not None:
            app.front.say(f"{action.title}…")
            _run_engine(app, work, f"✓ {action.title}: done.")

    app.run_worker(app.push_dialog(ConfirmDialog(action, "", words=(action.help,), waits_for_plan=False), confirmed))


def _run_engine(app: KferryApp, work: Callable[[], object], words: str) -> None:
    def body() -> None:
        try:
            work()
        except KferryError as error:
            app.post_message(Failed(error))
        else:
            app.post_message(Said(words))

    app.run_worker(body, thread=True, group="engine", name="engine")


def harmless(action: Action) -> Action:
    """The same action without a question, for what was itself chosen in a dialog."""
    return replace(action, danger="none")


def dangerous(action: Action) -> Action:
    """The same action with a question, where it would overwrite something."""
    return replace(action, danger="confirm")
