"""`python -m support.old_kafka_lock`: resolve the jars of each Kafka release once and write the lock (by hand only)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.sax.saxutils import escape

from kferry.ansible.archive import write_archive
from kferry.ansible.lock import _jar
from kferry.ansible.lockfile import Lock
from support.old_kafka import LOCK_PATH

Artifact = tuple[str, str, str]

_LOG4J = ("org.slf4j", "slf4j-log4j12")
# What a release needs to run on a Java of today; a version named here wins over the one that a dependency wants.
ROOTS: dict[str, tuple[Artifact, ...]] = {
    "0.11.0.3": (("org.apache.kafka", "kafka_2.12", "0.11.0.3"), ("javax.xml.bind", "jaxb-api", "2.3.1")),
    "1.1.1": (("org.apache.kafka", "kafka_2.12", "1.1.1"), (*_LOG4J, "1.7.25")),
    "2.0.1": (
        ("org.apache.kafka", "kafka_2.12", "2.0.1"),
        (*_LOG4J, "1.7.25"),
        ("org.apache.zookeeper", "zookeeper", "3.4.10"),
    ),
    "2.4.1": (("org.apache.kafka", "kafka_2.13", "2.4.1"), (*_LOG4J, "1.7.28")),
    "2.8.2": (("org.apache.kafka", "kafka_2.13", "2.8.2"), (*_LOG4J, "1.7.30")),
    "3.4.1": (("org.apache.kafka", "kafka_2.13", "3.4.1"), ("org.slf4j", "slf4j-reload4j", "1.7.36")),
    "4.1.2": (
        ("org.apache.kafka", "kafka_2.13", "4.1.2"),
        ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.3"),
    ),
}


def main() -> int:
    """Resolve every release with Maven, hash what came, write the lock."""
    maven = shutil.which("mvn")
    if maven is None:
        print("`mvn` is needed to resolve the jars; install Maven.", file=sys.stderr)  # noqa: T201
        return 2
    locks = [_resolved(maven, version, roots) for version, roots in ROOTS.items()]
    LOCK_PATH.write_text(json.dumps([lock.as_dict() for lock in locks], indent=1) + "\n", encoding="utf-8")
    for lock in locks:
        print(f"{lock.kafka_version}: {len(lock.jars)} jars, {lock.total_bytes / 1e6:.1f} MB", file=sys.stderr)  # noqa: T201
    return 0


def _resolved(maven: str, version: str, roots: tuple[Artifact, ...]) -> Lock:
    with tempfile.TemporaryDirectory(prefix="kferry-old-kafka-") as folder:
        work = Path(folder)
        jars_dir = work / "jars"
        (work / "pom.xml").write_text(_project(roots), encoding="utf-8")
        command = [maven, "-B", "-q", "-DincludeScope=runtime", "-Dmdep.useRepositoryLayout=true"]
        command += [f"-DoutputDirectory={jars_dir}", "dependency:copy-dependencies"]
        subprocess.run(command, cwd=work, check=True)
        found = {_jar(path, jars_dir): path for path in jars_dir.rglob("*.jar")}
        jars = {jar.archive_path: path for jar, path in found.items()}
        return Lock(version, write_archive(work / "kafka.tar", version=version, jars=jars), tuple(found))


def _project(roots: tuple[Artifact, ...]) -> str:
    dependencies = "".join(
        f"<dependency><groupId>{escape(group)}</groupId><artifactId>{escape(artifact)}</artifactId>"
        f"<version>{escape(version)}</version></dependency>"
        for group, artifact, version in roots
    )
    return (
        "<project><modelVersion>4.0.0</modelVersion><groupId>kferry</groupId><artifactId>old-kafka</artifactId>"
        f"<version>1</version><packaging>pom</packaging><dependencies>{dependencies}</dependencies></project>"
    )


if __name__ == "__main__":
    sys.exit(main())
