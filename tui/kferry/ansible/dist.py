"""The Kafka distribution: made once on the controller from pinned jars, cached, copied to hosts with its hash."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import platformdirs

from kferry.ansible.archive import hash_file, write_archive
from kferry.ansible.fetch import Download, OnProgress, disk_error, fetch_all, wrong_hash
from kferry.ansible.lockfile import FOLDERS, Lock, load_lock
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.worker_kafka import why_not

SourceKind = Literal["maven", "file", "url"]
_CLIENTS_JAR = re.compile(r"(?:^|/)kafka-clients-([0-9]+(?:\.[0-9]+)+)[^/]*\.jar$")


@dataclass(frozen=True, slots=True)
class Source:
    """Where the distribution comes from.

    maven: `location` is a repository's base address, or empty for KFERRY_MAVEN_BASE or the resolver library's own.
    file, url: an archive with a `libs` folder: one made by kferry (its hash is known) or Apache's tarball with its
    `checksum` (SHA-256 or SHA-512 in hex). Apache's has neither the metrics agent nor the jar for MSK IAM.
    """

    kind: SourceKind = "maven"
    location: str = ""
    checksum: str = ""


@dataclass(frozen=True, slots=True)
class Distribution:
    """A ready distribution. `archive` goes to hosts, `libs` is for use on this machine."""

    version: str
    archive: Path
    sha256: str
    libs: Path


def default_cache_dir() -> Path:
    """KFERRY_CACHE_DIR, else the user's cache folder."""
    configured = os.environ.get("KFERRY_CACHE_DIR")
    return Path(configured).expanduser() if configured else Path(platformdirs.user_cache_dir("kferry"))


def ensure_distribution(
    cache_dir: Path | None = None,
    *,
    source: Source | None = None,
    offline: bool = False,
    on_progress: OnProgress | None = None,
    lock: Lock | None = None,
) -> Distribution:
    """Return the distribution from the cache, making it first where it isn't there.

    Safe to interrupt and to run twice at once: whole jars are kept for the next try, anything half-made is removed.
    `on_progress(done_bytes, total_bytes, name)` may come from other threads, one at a time.
    """
    source = source or Source()
    lock = lock or load_lock()
    cache = cache_dir or default_cache_dir()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache):
            _sweep(cache)
            key = _cache_key(source, lock)
            ready = _cached(cache, key)
            if ready is not None:
                _refuse_version(ready.version, source, lock)
                return ready
            if offline:
                raise KferryError(
                    f"The Kafka distribution {lock.kafka_version} is not in the cache {cache}.",
                    cause="Offline mode uses only what is there.",
                    next_step="Run once with a network, or copy the cache folder from another machine.",
                    kind=ErrorKind.NOT_READY,
                )
            with tempfile.TemporaryDirectory(prefix="staging-", dir=cache) as folder:
                return _make(cache, Path(folder), source, lock, key, on_progress)
    except OSError as error:
        raise disk_error(error, cache / "distribution") from error


def _make(
    cache: Path, staging: Path, source: Source, lock: Lock, key: str, on_progress: OnProgress | None
) -> Distribution:
    if source.kind == "maven":
        _require_room(cache, 2 * lock.total_bytes)
        content = _fetch_jars(cache, staging, source, lock, on_progress)
    else:
        content = _open_archive(staging, source, lock, on_progress)
    archive = staging / "archive.tar"
    jars = {path.relative_to(content).as_posix(): path for path in content.rglob("*.jar")}
    version = _version_of(content) or lock.kafka_version
    _refuse_version(version, source, lock)
    sha256 = write_archive(archive, version=version, jars=jars)
    if source.kind == "maven" and sha256 != lock.archive_sha256:
        raise wrong_hash("The archive", "the listed jars", lock.archive_sha256, sha256)
    name = f"kafka-{version}-{sha256[:8]}"
    home = cache / name
    shutil.rmtree(home, ignore_errors=True)
    content.rename(home)
    (home / "VERSION").write_text(f"{version}\n", encoding="utf-8")
    archive.replace(cache / f"{name}.tar")
    _write_whole(staging / "mark", cache / f"{key}.made", f"{name} {sha256}\n")
    return Distribution(version, cache / f"{name}.tar", sha256, home / "libs")


def _version_of(content: Path) -> str | None:
    """The Kafka version of the jars: a given archive may hold another one than the lock."""
    return _version_in(jar.name for jar in sorted(content.glob("libs/kafka-clients-*.jar")))


def _version_in(names: Iterable[str]) -> str | None:
    for name in names:
        found = _CLIENTS_JAR.search(name)
        if found:
            return found[1]
    return None


def version_of_archive(path: Path) -> str | None:
    """The Kafka version of an archive as the names in it tell; None where they don't, or there is none."""
    try:
        with tarfile.open(path, "r:*") as archive:
            return _version_in(entry.name for entry in archive)
    except (OSError, EOFError, tarfile.TarError):
        return None


def _refuse_version(version: str, source: Source, lock: Lock) -> None:
    """Raise KferryError for an archive of the operator's own whose Kafka workers can't run."""
    reason = "" if version == lock.kafka_version else why_not(version)
    if reason and source.kind != "maven":
        raise KferryError(
            f"Workers cannot run the Kafka {version} of {source.location}.",
            cause=reason,
            next_step="Set distribution in kferry.yml to Apache Kafka 3.9.x, or leave it out: kferry brings its own.",
            kind=ErrorKind.USAGE,
        )


def _fetch_jars(cache: Path, staging: Path, source: Source, lock: Lock, on_progress: OnProgress | None) -> Path:
    """Fetch what is missing into a folder of whole jars; that folder survives an interruption."""
    partial = cache / f"partial-{lock.name}"
    partial.mkdir(exist_ok=True)
    base = (source.location or os.environ.get("KFERRY_MAVEN_BASE") or _library_base()).rstrip("/")
    wanted = {partial / jar.archive_path for jar in lock.jars}
    for path in partial.rglob("*"):
        if not path.is_dir() and path not in wanted:
            path.unlink()
    missing = []
    already_bytes = 0
    for jar in lock.jars:
        target = partial / jar.archive_path
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_file() and hash_file(target) == jar.sha256:
            already_bytes += jar.size_bytes
        else:
            missing.append(Download(f"{base}/{jar.repository_path}", target, "sha256", jar.sha256, jar.size_bytes))
    # The big ones first, so that the last thread doesn't end alone with the largest jar.
    missing.sort(key=lambda item: -(item.size_bytes or 0))
    fetch_all(missing, staging, on_progress=on_progress, already_bytes=already_bytes)
    return partial


def _library_base() -> str:
    from jgo.constants import MAVEN_CENTRAL_URL  # heavy, and not needed when the cache is warm

    return str(MAVEN_CENTRAL_URL)


def _open_archive(staging: Path, source: Source, lock: Lock, on_progress: OnProgress | None) -> Path:
    """Take the jars out of a given archive after its hash is proven."""
    algorithm, expected = _expected_digest(source, lock)
    if source.kind == "url":
        given = staging / "given"
        fetch_all([Download(source.location, given, algorithm, expected)], staging, on_progress=on_progress)
    else:
        given = Path(source.location).expanduser()
        if not given.is_file():
            raise KferryError(
                f"There is no Kafka archive {given}.",
                next_step="Correct the distribution's path in the settings.",
                kind=ErrorKind.USAGE,
            )
        found = hash_file(given, algorithm)
        if found != expected:
            raise wrong_hash(given.name, str(given.parent), expected, found)
    content = staging / "content"
    content.mkdir()
    try:
        _extract_jars(given, content)
    except (tarfile.TarError, EOFError) as error:
        raise KferryError(
            f"{source.location} cannot be read as an archive.",
            cause=str(error),
            next_step="Give a tar or tgz file with a `libs` folder.",
            kind=ErrorKind.USAGE,
        ) from error
    if not any(content.glob("libs/*.jar")):
        raise KferryError(
            f"{source.location} has no jars in a `libs` folder.",
            next_step="Give Apache's binary tarball or an archive made by kferry.",
            kind=ErrorKind.USAGE,
        )
    return content


def _extract_jars(given: Path, content: Path) -> None:
    """Copy regular files `[folder/]libs/<plain name>.jar` and so on; everything else in the archive is ignored."""
    folders = "|".join(map(re.escape, FOLDERS))
    wanted = re.compile(rf"(?:\./)?(?:[^/]+/)?((?:{folders})/[A-Za-z0-9][A-Za-z0-9._+-]*\.jar)")
    with tarfile.open(given, "r:*") as archive:
        for entry in archive:
            match = wanted.fullmatch(entry.name)
            stream = archive.extractfile(entry) if match and entry.isreg() else None
            if match and stream is not None:
                target = content / match.group(1)
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as copy:
                    shutil.copyfileobj(stream, copy)


def _expected_digest(source: Source, lock: Lock) -> tuple[str, str]:
    checksum = source.checksum.strip().lower() or lock.archive_sha256
    algorithm = {64: "sha256", 128: "sha512"}.get(len(checksum))
    if algorithm is None or not re.fullmatch(r"[0-9a-f]+", checksum):
        raise KferryError(
            "The Kafka archive's checksum is neither SHA-256 nor SHA-512 in hex.",
            next_step="Copy it from the archive's .sha512 file into the settings.",
            kind=ErrorKind.USAGE,
        )
    return algorithm, checksum


def _cache_key(source: Source, lock: Lock) -> str:
    """Content decides, not the address: the same archive from another mirror is the same distribution."""
    if source.kind == "maven":
        return lock.archive_sha256
    return _expected_digest(source, lock)[1][:64]


def _cached(cache: Path, key: str) -> Distribution | None:
    """The cached distribution, if it is whole."""
    try:
        name, sha256 = (cache / f"{key}.made").read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return None
    archive, home = cache / f"{name}.tar", cache / name
    if not archive.is_file() or hash_file(archive) != sha256:
        return None
    with tarfile.open(archive) as content:
        for entry in content:
            path = home / entry.name
            if not path.is_file() or path.stat().st_size != entry.size:
                return None
    version = (home / "VERSION").read_text(encoding="utf-8").strip()
    return Distribution(version, archive, sha256, home / "libs")


def _require_room(cache: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(cache).free
    if free_bytes < needed_bytes:
        raise KferryError(
            f"{cache} has no room for the Kafka distribution.",
            cause=f"{free_bytes / 1e6:.0f} MB are free, {needed_bytes / 1e6:.0f} MB are needed.",
            next_step="Free some space, or set KFERRY_CACHE_DIR to a folder with room.",
        )


def _sweep(cache: Path) -> None:
    """Remove what a killed process left behind; we hold the lock, so nobody is at work there."""
    for folder in cache.glob("staging-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _write_whole(temporary: Path, target: Path, text: str) -> None:
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(target)


@contextmanager
def _locked(cache: Path) -> Iterator[IO[str]]:
    """Wait for our turn: two processes must not make the same distribution at once."""
    with (cache / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
