"""One face's hold on one migration: read its journal, send wishes to its engine, follow what comes of them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kferry.client import engine_process, files
from kferry.domain.errors import ErrorKind, KferryError
from kferry.store import intents, schema, views
from kferry.store.engine_lock import engine_holds_lock
from kferry.store.paths import Layout
from kferry.store.queries import Reader

# How long a starting engine may take until its journal is there.
ENGINE_START_SECONDS = 20.0
_POLL_SECONDS = 0.1
# How long the engine may be away while something is followed, before the operator is told (a restart takes less).
_ENGINE_AWAY_SECONDS = 5.0

_FINAL = ("done", "failed", "aborted")


class Session:
    """A migration directory as a face uses it. Threads may share it. It never acts on a cluster."""

    def __init__(self, root: Path, *, read_only: bool = False) -> None:
        self.root = root.absolute()
        self.read_only = read_only
        self.reader = Reader(self.root)

    def close(self) -> None:
        self.reader.close()

    @property
    def layout(self) -> Layout:
        return self.reader.layout

    def check(self) -> None:
        """Raise KferryError (exit code 2) where the directory, its files or its journal cannot be used."""
        files.check_directory(self.layout)
        self.check_journal()

    def check_journal(self) -> None:
        """Raise KferryError where the journal is damaged or newer than this kferry; no journal yet is fine."""
        if self.reader.exists:
            schema.refuse_newer(self.layout.journal)

    # ---- the engine ---------------------------------------------------------------------------------------------

    def engine(self) -> views.EngineView:
        """Whether the engine lives, and what it wrote about itself."""
        return self.reader.engine()

    def ensure_engine(self, timeout_seconds: float = 20) -> views.EngineView:
        """Start the engine detached unless one lives; return when it is alive and the journal is ready."""
        self.check_journal()
        if self.read_only and not engine_holds_lock(self.layout.lock):
            raise _refused("The engine is not running, and a read-only session does not start it.")
        return engine_process.start(self.reader, timeout_seconds)

    def stop_engine(self, timeout_seconds: float = 30) -> None:
        """End the engine; tasks on the workers go on. Nothing happens where none lives."""
        if self.read_only:
            raise _refused("A read-only session does not stop the engine.")
        engine_process.stop(self.reader, lambda: self.send("stop_engine"), timeout_seconds)

    def restart_engine(self, timeout_seconds: float = 20) -> views.EngineView:
        """Stop and start the engine, so that it sees this shell's environment and this version of kferry."""
        self.stop_engine()
        return self.ensure_engine(timeout_seconds)

    # ---- wishes -------------------------------------------------------------------------------------------------

    def send(
        self,
        kind: str,
        args: Mapping[str, Any] | None = None,
        *,
        dry_run: bool = False,
        expects: str | None = None,
    ) -> str:
        """Send one wish and return its id. Refuses (KferryError) rather than queue for an engine that isn't there."""
        if self.read_only and not dry_run:
            raise _refused(f"This session is read-only; {kind!r} was not sent.")
        if not engine_holds_lock(self.layout.lock):
            raise KferryError(
                f"The engine of {self.root} is not running.",
                cause="Nothing is queued for an engine that isn't there.",
                next_step=f"Start it with: kferry -C {self.root} engine start",
                log=str(self.layout.engine_log),
                kind=ErrorKind.NOT_READY,
            )
        self.check_journal()
        revision = self._schema_once_started()
        if revision is None:
            raise KferryError(
                f"The engine of {self.root} has been starting for {ENGINE_START_SECONDS:.0f} s and has no journal yet.",
                next_step="Look at its log; then ask again.",
                log=str(self.layout.engine_log),
                kind=ErrorKind.TIMEOUT,
            )
        if revision < schema.HEAD:
            raise KferryError(
                "The engine that runs is of an older version than this kferry; this session only reads.",
                cause=f"Its journal has schema {revision}, this kferry works with {schema.HEAD}.",
                next_step=f"Restart the engine: kferry -C {self.root} engine restart",
                kind=ErrorKind.NOT_READY,
            )
        body = dict(args or {})
        if dry_run:
            body["dry_run"] = True
        try:
            return intents.insert(self.layout.journal, kind, body, expects=expects)
        except sqlite3.Error as error:
            raise KferryError(
                f"The wish could not be written into the journal: {error}.",
                cause="The disk is full, or the journal belongs to another user.",
                next_step=f"Check the space on and the owner of {self.layout.private}.",
                kind=ErrorKind.FAILED,
            ) from error

    def _schema_once_started(self) -> str | None:
        """The journal's schema. An engine holds its lock a moment before it has made the journal: wait for that."""
        deadline = time.monotonic() + ENGINE_START_SECONDS
        while (revision := self.reader.schema_revision()) is None and time.monotonic() < deadline:
            time.sleep(0.1)
        return revision

    def answer(self, intent_id: str) -> views.IntentView:
        """A wish as it stands now."""
        found = self.reader.intent(intent_id)
        if found is None:
            raise KferryError(f"There is no wish {intent_id!r} in the journal of {self.root}.", kind=ErrorKind.USAGE)
        return found

    def wait_answer(self, intent_id: str, timeout_seconds: float = 30) -> views.IntentView:
        """Wait until the engine has answered: accepted, refused, done or failed."""
        watch = _EngineWatch(self.layout.lock)
        deadline = time.monotonic() + timeout_seconds
        while True:
            found = self.answer(intent_id)
            if found.status != "waiting":
                return found
            if watch.is_gone():
                raise self._engine_went("before it answered")
            if time.monotonic() >= deadline:
                raise KferryError(
                    f"The engine did not answer {found.kind!r} within {timeout_seconds:g} seconds.",
                    cause="It hangs or is very busy; the wish expires by itself.",
                    next_step=f"See: kferry -C {self.root} engine status",
                    log=str(self.layout.engine_log),
                    kind=ErrorKind.TIMEOUT,
                )
            time.sleep(_POLL_SECONDS)

    def ask(
        self,
        kind: str,
        args: Mapping[str, Any] | None = None,
        *,
        dry_run: bool = False,
        expects: str | None = None,
        timeout_seconds: float = 30,
    ) -> views.IntentView:
        """Send a wish and wait for its answer; a refusal or failure becomes a KferryError with the engine's reason."""
        found = self.wait_answer(
            self.send(kind, args, dry_run=dry_run, expects=expects), timeout_seconds=timeout_seconds
        )
        # with an operation the answer is that operation, even where it has failed already
        if found.operation_id is None and found.status in ("refused", "failed"):
            raise refusal(found)
        return found

    def follow(
        self,
        operation_id: str,
        *,
        on_change: Callable[[views.OperationView], None],
        on_look: Callable[[], None] = lambda: None,
        timeout_seconds: float | None = None,
        ignore_until_ms: int = 0,
    ) -> views.OperationView:
        """Follow an operation until it is over or needs the operator; `on_change` gets every new state of it, and
        `on_look` is called whenever anything else in the journal has changed.

        After an answer, pass the `updated_at_ms` it was given on as `ignore_until_ms`: the "needs operator" of that
        moment is old news.
        """
        watch = _EngineWatch(self.layout.lock)
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        last: views.OperationView | None = None
        version = -1
        while True:
            now_version = self.reader.version()
            if now_version != version or last is None:
                version = now_version
                current = self.reader.operation(operation_id)
                if current is not None and current != last:
                    on_change(current)
                    last = current
                else:
                    on_look()
            if last is not None:
                if last.status in _FINAL:
                    return last
                if last.status == "needs operator" and last.updated_at_ms > ignore_until_ms:
                    return last
            if watch.is_gone():
                raise self._engine_went("in the middle of the operation")
            if deadline is not None and time.monotonic() >= deadline:
                raise KferryError(
                    f"The operation {operation_id} is not over after {timeout_seconds:g} seconds; it goes on.",
                    next_step=f"Look again with: kferry -C {self.root} watch {operation_id}",
                    kind=ErrorKind.TIMEOUT,
                )
            time.sleep(_POLL_SECONDS)

    def _engine_went(self, when: str) -> KferryError:
        words = engine_process.last_lines(self.layout.engine_log)
        return KferryError(
            f"The engine ended {when}.",
            cause=f"Its last words:\n{words}" if words else "It left no message.",
            next_step=f"Start it again, it goes on where it was: kferry -C {self.root} engine start",
            log=str(self.layout.engine_log),
        )

    # ---- views that join files and journal --------------------------------------------------------------------------

    def plan_view(self) -> views.PlanView:
        """plan.yml with each batch's phase from the journal; a file that cannot be read is told in `error`."""
        return files.plan_view(self.layout, self.reader)

    def cluster_views(self) -> list[views.ClusterView]:
        """Source and target: how they are configured and what the last check said."""
        return files.cluster_views(self.layout, self.reader)

    def rail(self) -> list[views.PhaseView]:
        """The eight phases of the migration with the next action of each."""
        from kferry.client import rail

        return rail.phases(self)

    def next_action(self) -> tuple[str, str, str]:
        """The one next action over the whole migration: (action id, sentence, subject)."""
        from kferry.client import rail

        return rail.next_action(self)


class _EngineWatch:
    """Notices that the engine has been away for longer than a restart takes."""

    def __init__(self, lock: Path) -> None:
        self._lock = lock
        self._seen_at = time.monotonic()

    def is_gone(self) -> bool:
        now = time.monotonic()
        if engine_holds_lock(self._lock):
            self._seen_at = now
        return now - self._seen_at > _ENGINE_AWAY_SECONDS


def refusal(intent: views.IntentView) -> KferryError:
    """The engine's no as an error; its result may carry the error it was made from."""
    told = intent.result.get("error")
    if isinstance(told, dict) and told.get("title"):
        return KferryError.from_dict(told)
    verb = "refused" if intent.status == "refused" else "could not do"
    kind = ErrorKind.NOT_READY if intent.status == "refused" else ErrorKind.FAILED
    return KferryError(intent.reason or f"The engine {verb} {intent.kind!r} without a reason.", kind=kind)


def _refused(title: str) -> KferryError:
    return KferryError(title, next_step="Leave out --read-only to change something.", kind=ErrorKind.USAGE)
