"""`kferry demo`: the whole product on this machine, with a lab as source and target."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from kferry.cli import state
from kferry.client.own_command import attach_command

if TYPE_CHECKING:
    from kferry.client.demo import Demo


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)


def demo(
    context: typer.Context,
    headless: Annotated[bool, typer.Option("--headless", help="Do the whole migration without a terminal.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End lab and engine; leave no process behind.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="With --headless: leave everything running.")] = False,
) -> None:
    """Start a lab of two Kafka brokers with live traffic, and migrate it."""
    from kferry.domain.errors import ErrorKind, KferryError

    current = state.of(context)
    if keep and not headless:
        raise KferryError("--keep goes with --headless; `kferry demo` keeps everything anyway.", kind=ErrorKind.USAGE)
    _refuse_other_systems()
    if stop:
        _stop()
    elif headless:
        _headless(current, keep)
    else:
        _interactive(current)


def _refuse_other_systems() -> None:
    from kferry.domain.errors import ErrorKind, KferryError

    if not sys.platform.startswith("linux"):
        raise KferryError(f"The demo runs on Linux, not on {sys.platform}.", kind=ErrorKind.USAGE)


def _stop() -> None:
    from kferry.client import demo as demos
    from kferry.client import diagnostics

    found = demos.interactive()
    found.stop()
    demos.sweep(diagnostics.say)
    diagnostics.say("The demo is stopped; no process is left. Its files stay in " + str(found.home) + ".")


def _interactive(current: state.State) -> None:
    from kferry.client import demo as demos
    from kferry.client import diagnostics, find
    from kferry.domain.errors import ErrorKind, KferryError

    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        raise KferryError(
            "The demo's terminal interface needs a terminal.",
            next_step="Without one: kferry demo --headless",
            kind=ErrorKind.USAGE,
        )
    found = demos.interactive()
    with _hangup_as_interrupt():
        try:
            session = found.start()
        except KeyboardInterrupt:
            diagnostics.say("Interrupted; ending what was started.")
            with _deaf():
                found.stop()
            raise
    from kferry.cli.terminal import open_terminal_interface

    try:
        code = open_terminal_interface(session.root, read_only=current.read_only)
    finally:
        is_checkout = find.checkout() is not None
        diagnostics.say("Lab and engine go on.")
        diagnostics.say(f"End them with: {'make demo-stop' if is_checkout else 'kferry demo --stop'}")
        diagnostics.say(
            f"Attach again with: {attach_command(session.root)}" + ("  (or make demo)" if is_checkout else "")
        )
    raise typer.Exit(code)


def _headless(current: state.State, keep: bool) -> None:
    from kferry.cli import output
    from kferry.client import demo as demos
    from kferry.client import diagnostics, formats
    from kferry.client.headless import Migration

    with _hangup_as_interrupt():
        demos.sweep(diagnostics.say)
        found = demos.headless()
        migration = Migration(found, diagnostics.say)
        try:
            result = migration.run()
        except KeyboardInterrupt:
            with _deaf():
                diagnostics.say("Interrupted; ending everything that was started.")
                _end(found)
            raise
        except BaseException:
            with _deaf():
                diagnostics.say(f"Logs: {migration.keep_reports()}")
                _end(found)
            raise
        with _deaf():
            migration.keep_reports()
            if keep:
                diagnostics.say(f"Left running (--keep): kferry -C {found.migration}")
            else:
                _end(found)
    diagnostics.say(f"Done in {formats.duration(sum(result.seconds.values()))}.")
    data = {
        "ok": result.ok,
        "batches": result.batches,
        "certificates": result.certificates,
        "seconds": result.seconds,
        "oracle": result.verdict,
    }
    output.emit(current, data, text="\n".join(f"certificate: {path}" for path in result.certificates))


def _end(found: Demo) -> None:
    """Leave no process and no file of a headless demo; certificates and logs worth reading were copied before."""
    found.stop()
    found.remove()


class _hangup_as_interrupt:  # noqa: N801  (reads as a verb where it is used)
    """While entered, SIGTERM and SIGHUP end us as Ctrl-C does: by an exception, so that everything is cleaned up."""

    def __enter__(self) -> None:
        self._before = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


class _deaf:  # noqa: N801
    """While entered, Ctrl-C, SIGTERM and SIGHUP wait: a clean-up that is cut short leaves things behind."""

    def __enter__(self) -> None:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        self._before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
