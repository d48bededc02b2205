"""The lab as the demo uses it: a process of its own, spoken to only through its command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kferry.client import processes
from kferry.domain.errors import KferryError


@dataclass(frozen=True, slots=True)
class Lab:
    """One lab in its home folder. `mark` is put into the environment of everything that it starts."""

    home: Path
    mark: str

    def start(self) -> None:
        """Start brokers and traffic, fetching the Kafka distribution if need be; progress goes to stderr."""
        self._run("start")

    def write_migration(self, directory: Path) -> None:
        """Write a ready migration directory for this lab."""
        self._run("migration", str(directory))

    def oracle(self) -> Mapping[str, Any]:
        """The verdict of the lab's own ledger: is everything on the target, once, in order?"""
        found = json.loads(self._run("oracle", capture=True, check=False) or "{}")
        if not isinstance(found, dict):
            raise KferryError("The lab's oracle gave no verdict.", log=str(self.home / "lab.log"))
        return found

    def stop(self) -> None:
        """Stop the lab if there is one; what does not go by itself is ended by its marker."""
        if (self.home / "lab.json").exists():
            self._run("stop", check=False, capture=True)
        mark = self.own_mark()
        if mark:
            processes.end(processes.Belongings(frozenset({f"KFERRY_MARK={mark}"})))

    def own_mark(self) -> str | None:
        """The id that the lab gives all of its processes."""
        try:
            found = json.loads((self.home / "lab.json").read_text("utf-8")).get("id")
        except (OSError, ValueError, AttributeError):
            return None
        return found if isinstance(found, str) else None

    def _run(self, *words: str, capture: bool = False, check: bool = True) -> str:
        command = [sys.executable, "-m", "kferry.lab", *words, "--home", str(self.home)]
        environment = {**os.environ, processes.DEMO_MARK: self.mark}
        # Its stdout is data for us, its stderr (progress, errors as sentences) for the operator. A session of its own:
        # Ctrl-C reaches it once, from us, and never in the middle of its own clean-up.
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if capture and not check else None,
            env=environment,
            start_new_session=True,
        ) as child:
            try:
                out, _ = child.communicate()
            except BaseException:
                _end(child)
                raise
        if check and child.returncode != 0:
            raise KferryError(
                f"The lab could not do {words[0]!r} (exit code {child.returncode}).",
                cause="Its words stand above.",
                log=str(self.home / "lab.log"),
            )
        return out.decode("utf-8", "replace").strip()


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a helper that must not outlive us, giving it time to clean up behind itself."""
    for number, seconds in ((signal.SIGINT, 15.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        if child.poll() is None:
            child.send_signal(number)
            try:
                child.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                continue
