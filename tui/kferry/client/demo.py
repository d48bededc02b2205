"""The demo: a lab on this machine, a migration directory for it, and both of them ended again without a trace."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kferry.client import find, processes
from kferry.client.lab import Lab
from kferry.client.session import Session
from kferry.domain.errors import KferryError
from kferry.store.paths import Layout

_OWNER = "owner.pid"
_NEW_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Demo:
    """One demo in its home folder."""

    home: Path

    @property
    def migration(self) -> Path:
        return self.home / "migration"

    @property
    def lab(self) -> Lab:
        return Lab(self.home / "lab", str(self.home))

    @property
    def belongings(self) -> processes.Belongings:
        """By what the demo's processes are known, those included whose parent was killed."""
        lines = {f"{processes.DEMO_MARK}={self.home}"}
        lab_mark = self.lab.own_mark()
        if lab_mark:
            lines.add(f"KFERRY_MARK={lab_mark}")
        # not the home itself: the folders of headless demos lie in the home of the interactive one
        folders = (self.migration, self.lab.home, Layout(self.migration).runtime, Layout(self.lab.home).runtime)
        return processes.Belongings(frozenset(lines), folders)

    def session(self, *, read_only: bool = False) -> Session:
        return Session(self.migration, read_only=read_only)

    def start(self) -> Session:
        """Start what does not run yet: lab, migration directory, engine. Safe to repeat."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.lab.start()
        if not (self.migration / find.SETTINGS_NAME).exists():
            self.lab.write_migration(self.migration)
        session = self.session()
        with self._marked():
            session.ensure_engine(timeout_seconds=60)
        return session

    def stop(self) -> int:
        """End engine, workers and lab, in this order; return how many processes had to be ended by hand.

        Raises KferryError where something stays.
        """
        if (self.migration / ".kferry").exists():
            session = self.session()
            # whatever keeps the engine from going by itself: it carries our marker and is ended below
            with suppress(KferryError, OSError):
                session.stop_engine(timeout_seconds=15)
            session.close()
        ended = processes.end(processes.Belongings(frozenset(), (self.migration, Layout(self.migration).runtime)))
        self.lab.stop()
        return ended + processes.end(self.belongings)

    def remove(self) -> None:
        """Delete everything of a stopped demo."""
        for folder in (Layout(self.migration).runtime, Layout(self.lab.home).runtime, self.home):
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _marked(self) -> Iterator[None]:
        """What is started in here carries the demo's marker, and hooks know the lab."""
        names = {processes.DEMO_MARK: str(self.home), "KFERRY_LAB_HOME": str(self.lab.home)}
        before = {name: os.environ.get(name) for name in names}
        os.environ.update(names)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def interactive() -> Demo:
    """The demo of `kferry demo`: one per demo home, kept until it is stopped."""
    return Demo(find.demo_home())


def headless() -> Demo:
    """A demo in a new folder of its own, which knows who owns it."""
    import tempfile

    parent = find.demo_home()
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="headless-", dir=parent))
    (home / _OWNER).write_text(f"{os.getpid()}\n")
    return Demo(home)


def abandoned() -> list[Demo]:
    """Headless demos whose owner was killed before it could clean up."""
    found = []
    for home in sorted(find.demo_home().glob("headless-*")):
        try:
            owner: int | None = int((home / _OWNER).read_text())
        except (OSError, ValueError):
            owner = None
        # one that is being made has no owner written down yet
        is_new = owner is None and time.time() - home.stat().st_mtime < _NEW_SECONDS
        if not is_new and (owner is None or not processes.is_alive(owner)):
            found.append(Demo(home))
    return found


def sweep(say: Callable[[str], None]) -> None:
    """End and delete abandoned headless demos."""
    for demo in abandoned():
        say(f"Cleaning up {demo.home}, whose owner was killed.")
        demo.stop()
        demo.remove()
