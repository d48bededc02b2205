"""`python -m kferry.ansible.lock`: resolve the Kafka runtime once and write the lock file (development only)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.sax.saxutils import escape

from kferry.ansible.archive import hash_file, write_archive
from kferry.ansible.lockfile import LOCK_PATH, Jar, Lock

KAFKA_VERSION = "3.9.2"
ROOTS = (
    ("org.apache.kafka", "kafka_2.13", KAFKA_VERSION),
    ("org.apache.kafka", "connect-runtime", KAFKA_VERSION),
    ("org.apache.kafka", "connect-mirror", KAFKA_VERSION),
    ("org.apache.kafka", "connect-json", KAFKA_VERSION),
    ("org.apache.kafka", "kafka-tools", KAFKA_VERSION),
    ("org.slf4j", "slf4j-reload4j", "1.7.36"),
    ("org.apache.kafka", "connect-basic-auth-extension", "3.9.1"),  # 3.9.2 of this one was never published
)
# Jars that stand alone (they hold what they need): group, artifact, version, classifier, folder in the archive.
STANDALONE = (
    ("io.prometheus.jmx", "jmx_prometheus_javaagent", "1.0.1", "", "agents"),
    ("software.amazon.msk", "aws-msk-iam-auth", "2.3.9", "all", "extras/msk-iam"),
)


def main() -> int:
    """Resolve with Maven, hash what came, write the lock."""
    maven = shutil.which("mvn")
    if maven is None:
        print("kferry: `mvn` is needed to resolve the lock file; install Maven.", file=sys.stderr)  # noqa: T201
        return 2
    with tempfile.TemporaryDirectory(prefix="kferry-lock-") as folder:
        work = Path(folder)
        (work / "pom.xml").write_text(_project(), encoding="utf-8")
        jars_dir = work / "jars"
        subprocess.run(
            [
                maven,
                "-B",
                "-q",
                "-DincludeScope=runtime",
                "-Dmdep.useRepositoryLayout=true",
                f"-DoutputDirectory={jars_dir}",
                "dependency:copy-dependencies",
            ],
            cwd=work,
            check=True,
        )
        found = {_jar(path, jars_dir): path for path in jars_dir.rglob("*.jar")}
        jars = {jar.archive_path: path for jar, path in found.items()}
        archive_sha256 = write_archive(work / "kafka.tar", version=KAFKA_VERSION, jars=jars)
    lock = Lock(KAFKA_VERSION, archive_sha256, tuple(found))
    LOCK_PATH.write_text(json.dumps(lock.as_dict(), indent=1) + "\n", encoding="utf-8")
    print(f"{LOCK_PATH.name}: {len(found)} jars, {lock.total_bytes / 1e6:.1f} MB", file=sys.stderr)  # noqa: T201
    return 0


def _project() -> str:
    dependencies = "".join(
        f"<dependency><groupId>{escape(group)}</groupId><artifactId>{escape(artifact)}</artifactId>"
        f"<version>{escape(version)}</version></dependency>"
        for group, artifact, version in ROOTS
    ) + "".join(
        f"<dependency><groupId>{escape(group)}</groupId><artifactId>{escape(artifact)}</artifactId>"
        f"<version>{escape(version)}</version>"
        + (f"<classifier>{escape(classifier)}</classifier>" if classifier else "")
        + "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>"
        for group, artifact, version, classifier, _ in STANDALONE
    )
    return (
        "<project><modelVersion>4.0.0</modelVersion><groupId>kferry</groupId><artifactId>runtime</artifactId>"
        f"<version>1</version><packaging>pom</packaging><dependencies>{dependencies}</dependencies></project>"
    )


def _jar(path: Path, root: Path) -> Jar:
    *groups, artifact, version, file_name = path.relative_to(root).parts
    group = ".".join(groups)
    classifier = file_name.removeprefix(f"{artifact}-{version}").removesuffix(".jar").removeprefix("-")
    folders = {(group, artifact): folder for group, artifact, _, _, folder in STANDALONE}
    folder = folders.get((group, artifact), "libs")
    return Jar(group, artifact, version, hash_file(path), path.stat().st_size, folder, classifier)


if __name__ == "__main__":
    sys.exit(main())
