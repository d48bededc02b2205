"""The committed list of jars that make up the Kafka runtime: coordinates, hashes, sizes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from kferry.domain.errors import ErrorKind, KferryError

LOCK_PATH = Path(__file__).with_name("kafka.lock.json")
LOCK_SCHEMA = 1

# Where a jar lies in the archive. Workers have `libs` on their class path always; `agents` are JVM agents, and what is
# below `extras` comes onto the class path of those tasks that need it. kferry_distribution has the same list.
FOLDERS = ("libs", "agents", "extras/msk-iam")


@dataclass(frozen=True, slots=True)
class Jar:
    """One jar by its Maven coordinates."""

    group: str
    artifact: str
    version: str
    sha256: str
    size_bytes: int
    folder: str = "libs"
    classifier: str = ""

    @property
    def coordinate(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}" + (f":{self.classifier}" if self.classifier else "")

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}{f'-{self.classifier}' if self.classifier else ''}.jar"

    @property
    def archive_path(self) -> str:
        """Where the jar lies in the archive and in a version's folder."""
        return f"{self.folder}/{self.file_name}"

    @property
    def repository_path(self) -> str:
        """Where the jar lies below the base address of a Maven repository."""
        return f"{self.group.replace('.', '/')}/{self.artifact}/{self.version}/{self.file_name}"


@dataclass(frozen=True)
class Lock:
    """The whole runtime. `archive_sha256` is the hash of the deterministic archive made of exactly these jars."""

    kafka_version: str
    archive_sha256: str
    jars: tuple[Jar, ...]

    @cached_property
    def total_bytes(self) -> int:
        return sum(jar.size_bytes for jar in self.jars)

    @property
    def name(self) -> str:
        return f"kafka-{self.kafka_version}-{self.archive_sha256[:8]}"

    def as_dict(self) -> dict[str, Any]:
        return {
            "schema": LOCK_SCHEMA,
            "kafka_version": self.kafka_version,
            "archive_sha256": self.archive_sha256,
            "jars": [
                {
                    "coordinate": jar.coordinate,
                    "sha256": jar.sha256,
                    "size_bytes": jar.size_bytes,
                    **({} if jar.folder == "libs" else {"folder": jar.folder}),
                }
                for jar in sorted(self.jars, key=lambda jar: jar.coordinate)
            ],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Lock:
        jars = []
        for entry in data["jars"]:
            group, artifact, version, *classifier = entry["coordinate"].split(":")
            folder = entry.get("folder", "libs")
            if folder not in FOLDERS or len(classifier) > 1:
                raise ValueError(f"{entry['coordinate']} in folder {folder}")
            size_bytes = int(entry["size_bytes"])
            jars.append(Jar(group, artifact, version, entry["sha256"], size_bytes, folder, "".join(classifier)))
        names = {jar.file_name for jar in jars}
        if data["schema"] != LOCK_SCHEMA or not jars or len(names) != len(jars):
            raise ValueError(f"schema {data['schema']}, {len(jars)} jars, {len(names)} names")
        return cls(data["kafka_version"], data["archive_sha256"], tuple(jars))


def load_lock(path: Path = LOCK_PATH) -> Lock:
    """Read the lock file."""
    try:
        return Lock.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KferryError(
            f"The list of Kafka jars {path} cannot be read.",
            cause=f"{type(error).__name__}: {error}",
            next_step="Install kferry again, or run `make lock` in a checkout.",
            kind=ErrorKind.INTERNAL,
        ) from error
