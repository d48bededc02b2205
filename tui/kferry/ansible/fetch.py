"""Fetch files over HTTP into a staging folder, in parallel, checking size and hash of each before it gets its name."""

from __future__ import annotations

import errno
import hashlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import httpx2

from kferry.domain.errors import ErrorKind, KferryError

OnProgress = Callable[[int, int, str], None]

PARALLEL = 8
ATTEMPTS = 3
RETRY_PAUSE_SECONDS = 0.5
CONNECT_TIMEOUT_SECONDS = 10.0
READ_TIMEOUT_SECONDS = 15.0
CHUNK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Download:
    """One file to fetch. `size_bytes` None = the server's word is taken, the digest decides."""

    url: str
    target: Path
    algorithm: str
    digest: str
    size_bytes: int | None = None


class _StoppedError(Exception):
    """Another download failed or the operator interrupted; this one ends quietly."""


class _Progress:
    """Counts bytes over all downloads; calls back under a lock, so the callback needs none."""

    def __init__(self, total_bytes: int, done_bytes: int, callback: OnProgress | None) -> None:
        self.total_bytes = total_bytes
        self._done_bytes = done_bytes
        self._callback = callback
        self._lock = threading.Lock()

    def add(self, size_bytes: int, name: str) -> None:
        with self._lock:
            self._done_bytes += size_bytes
            if self._callback is not None:
                self._callback(self._done_bytes, max(self.total_bytes, self._done_bytes), name)


def fetch_all(
    downloads: Sequence[Download], staging: Path, *, on_progress: OnProgress | None = None, already_bytes: int = 0
) -> None:
    """Fetch every file; each is renamed to its target only when whole and right.

    On an error or Ctrl-C the other downloads are stopped and waited for; files that are already right stay,
    so the next try continues there.
    """
    progress = _Progress(already_bytes + sum(d.size_bytes or 0 for d in downloads), already_bytes, on_progress)
    stop = threading.Event()
    timeout = httpx2.Timeout(READ_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS)
    futures: list[Future[None]] = []
    with httpx2.Client(timeout=timeout, follow_redirects=True) as client:
        pool = ThreadPoolExecutor(max_workers=PARALLEL, thread_name_prefix="kferry-fetch")
        try:
            futures = [pool.submit(_fetch, client, item, staging, progress, stop) for item in downloads]
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
    failures = [f.exception() for f in futures if not f.cancelled() and f.exception() is not None]
    for failure in sorted(failures, key=lambda f: isinstance(f, _StoppedError)):
        if failure is not None:
            raise failure


def _fetch(client: httpx2.Client, item: Download, staging: Path, progress: _Progress, stop: threading.Event) -> None:
    part = staging / f"{item.target.name}.part"
    for attempt in range(1, ATTEMPTS + 1):
        counted_bytes = 0

        def count(size_bytes: int) -> None:
            nonlocal counted_bytes
            counted_bytes += size_bytes
            progress.add(size_bytes, item.target.name)

        try:
            _fetch_once(client, item, part, count, stop)
            return
        except (httpx2.TransportError, _CutShortError, _TryLaterError) as error:
            progress.add(-counted_bytes, item.target.name)
            if attempt == ATTEMPTS:
                raise _unreachable(item, error) from error
            if stop.wait(RETRY_PAUSE_SECONDS * attempt):
                raise _StoppedError from None
        except OSError as error:
            raise disk_error(error, part) from error
        except httpx2.InvalidURL as error:
            raise _unreachable(item, error) from error


class _CutShortError(Exception):
    """Fewer bytes came than there should be."""


class _TryLaterError(Exception):
    """The server answered, but with a passing failure."""


def _fetch_once(
    client: httpx2.Client, item: Download, part: Path, count: Callable[[int], None], stop: threading.Event
) -> None:
    digest = hashlib.new(item.algorithm)
    size_bytes = 0
    with client.stream("GET", item.url, headers={"accept-encoding": "identity"}) as response:
        if response.status_code in (408, 429) or response.status_code >= 500:
            raise _TryLaterError(f"HTTP {response.status_code}")
        if response.status_code != 200:
            raise _refused(item, response.status_code)
        with part.open("wb") as stream:
            for chunk in response.iter_raw(CHUNK_BYTES):
                if stop.is_set():
                    raise _StoppedError
                stream.write(chunk)
                digest.update(chunk)
                size_bytes += len(chunk)
                count(len(chunk))
                if item.size_bytes is not None and size_bytes > item.size_bytes:
                    break
    if item.size_bytes is not None and size_bytes < item.size_bytes:
        raise _CutShortError(f"{size_bytes} of {item.size_bytes} bytes came")
    if digest.hexdigest() != item.digest:
        raise wrong_hash(item.target.name, item.url, item.digest, digest.hexdigest())
    part.replace(item.target)


def wrong_hash(name: str, origin: str, expected: str, found: str) -> KferryError:
    """The error for content that isn't what was pinned."""
    return KferryError(
        f"{name} from {origin} is not the file that kferry was tested with.",
        cause=f"Its hash is {found[:16]}…, expected {expected[:16]}…; a proxy, a mirror or an attacker changed it.",
        next_step="Nothing was installed. Check the mirror (KFERRY_MAVEN_BASE), then try again.",
    )


def disk_error(error: OSError, path: Path) -> KferryError:
    """The error for a folder that takes no more bytes."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return KferryError(
        f"{path.parent} has no room for the Kafka distribution." if full else f"{path} cannot be written.",
        cause=f"{error.strerror or error}.",
        next_step="Free about 200 MB there, or set KFERRY_CACHE_DIR to a folder with room."
        if full
        else "Check the folder's rights, or set KFERRY_CACHE_DIR.",
    )


def _refused(item: Download, status: int) -> KferryError:
    return KferryError(
        f"{item.url} answered HTTP {status}.",
        cause="The file is not there, or the server wants a login.",
        next_step="Check KFERRY_MAVEN_BASE or the distribution's address in the settings.",
        kind=ErrorKind.CONNECT,
    )


def _unreachable(item: Download, error: Exception) -> KferryError:
    return KferryError(
        f"{item.url} could not be fetched.",
        cause=f"{type(error).__name__.strip('_')}: {error}".rstrip(": ") + f" ({ATTEMPTS} attempts).",
        next_step="Check the network and proxy settings, then try again: what came whole is kept. "
        "Without a network, give a local archive in the settings.",
        kind=ErrorKind.CONNECT,
    )
