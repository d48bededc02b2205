"""The distribution against a real local HTTP server: right, wrong, cut short, interrupted, offline."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kferry.ansible import archive, dist, fetch
from kferry.ansible.content import find_content
from kferry.ansible.dist import Source, ensure_distribution
from kferry.ansible.lockfile import Jar, Lock, load_lock
from kferry.domain.errors import KferryError

pytestmark = pytest.mark.thorough

CONTENTS = {f"part-{number}": bytes([number]) * 300_000 for number in range(5)}
FOLDERS = {"part-3": ("agents", ""), "part-4": ("extras/msk-iam", "all")}


class Repository:
    """A Maven repository with five jars, and the ways in which it can misbehave."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.wrong: set[str] = set()
        self.cut_short: set[str] = set()
        self.fail_first: set[str] = set()
        repository = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.split("/")[-1].removesuffix("-all.jar").removesuffix(".jar").removesuffix("-1.0")
                repository.asked[name] += 1
                if name in repository.fail_first and repository.asked[name] == 1:
                    self.send_error(503)
                    return
                body = CONTENTS.get(name)
                if body is None:
                    self.send_error(404)
                    return
                if name in repository.wrong:
                    body = b"x" + body[1:]
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if name in repository.cut_short else body)
                self.close_connection = True

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def repository() -> Iterator[Repository]:
    server = Repository()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "RETRY_PAUSE_SECONDS", 0.01)


@pytest.fixture
def lock(tmp_path: Path) -> Lock:
    jars = tuple(
        Jar("org.example", name, "1.0", hashlib.sha256(body).hexdigest(), len(body), *FOLDERS.get(name, ()))
        for name, body in CONTENTS.items()
    )
    folder = tmp_path / "expected"
    folder.mkdir()
    paths = {}
    for jar in jars:
        paths[jar.archive_path] = folder / jar.file_name
        paths[jar.archive_path].write_bytes(CONTENTS[jar.artifact])
    return Lock("9.9.9", archive.write_archive(tmp_path / "expected.tar", version="9.9.9", jars=paths), jars)


def leftovers(cache: Path) -> list[str]:
    return sorted(p.name for p in cache.rglob("*") if p.name.endswith(".part") or p.name.startswith("staging"))


def test_the_committed_lock_is_the_runtime_of_one_version() -> None:
    lock = load_lock()
    names = {jar.artifact: jar.version for jar in lock.jars}
    for artifact in ("kafka_2.13", "connect-runtime", "connect-mirror", "connect-json", "kafka-tools"):
        assert names[artifact] == lock.kafka_version
    assert {"slf4j-reload4j", "connect-basic-auth-extension"} <= names.keys()
    assert 40e6 < lock.total_bytes < 80e6
    apart = {jar.archive_path for jar in lock.jars if jar.folder != "libs"}
    assert apart == {
        "agents/jmx_prometheus_javaagent-1.0.1.jar",
        "extras/msk-iam/aws-msk-iam-auth-2.3.9-all.jar",
    }
    assert Lock.from_dict(lock.as_dict()) == Lock(
        lock.kafka_version, lock.archive_sha256, tuple(sorted(lock.jars, key=lambda jar: jar.coordinate))
    )


def test_fetched_once_then_from_the_cache(repository: Repository, lock: Lock, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    cache = tmp_path / "cache"
    source = Source(location=repository.base)
    made = ensure_distribution(
        cache, source=source, lock=lock, on_progress=lambda done, total, name: seen.append((done, total))
    )
    assert seen[-1] == (lock.total_bytes, lock.total_bytes)
    assert made.sha256 == lock.archive_sha256 and made.archive.name == f"kafka-9.9.9-{made.sha256[:8]}.tar"
    # what is not on every worker's class path lies beside it, and travels in the same archive
    assert {path.name for path in made.libs.iterdir()} == {f"part-{number}-1.0.jar" for number in range(3)}
    with tarfile.open(made.archive) as content:
        assert content.getnames() == [
            "VERSION",
            "agents/part-3-1.0.jar",
            "extras/msk-iam/part-4-1.0-all.jar",
            "libs/part-0-1.0.jar",
            "libs/part-1-1.0.jar",
            "libs/part-2-1.0.jar",
        ]
        assert all((made.libs.parent / name).is_file() for name in content.getnames())
    assert not leftovers(cache)
    asked = repository.asked.copy()
    assert ensure_distribution(cache, source=source, lock=lock, offline=True) == made
    assert repository.asked == asked


def test_a_damaged_cache_is_made_again(repository: Repository, lock: Lock, tmp_path: Path) -> None:
    source = Source(location=repository.base)
    made = ensure_distribution(tmp_path, source=source, lock=lock)
    made.archive.write_bytes(made.archive.read_bytes()[:-1000])
    with pytest.raises(KferryError, match="not in the cache"):
        ensure_distribution(tmp_path, source=source, lock=lock, offline=True)
    assert ensure_distribution(tmp_path, source=source, lock=lock) == made
    assert archive.hash_file(made.archive) == made.sha256


def test_a_wrong_hash_activates_nothing(repository: Repository, lock: Lock, tmp_path: Path) -> None:
    repository.wrong = {"part-2"}
    with pytest.raises(KferryError, match=r"part-2-1\.0\.jar") as error:
        ensure_distribution(tmp_path, source=Source(location=repository.base), lock=lock)
    assert "hash" in error.value.cause
    assert not list(tmp_path.glob("kafka-*")) and not leftovers(tmp_path)
    repository.wrong = set()
    assert ensure_distribution(tmp_path, source=Source(location=repository.base), lock=lock).archive.is_file()


def test_cut_short_is_tried_again_and_then_a_sentence(repository: Repository, lock: Lock, tmp_path: Path) -> None:
    repository.cut_short = {"part-1"}
    with pytest.raises(KferryError, match="could not be fetched"):
        ensure_distribution(tmp_path, source=Source(location=repository.base), lock=lock)
    assert repository.asked["part-1"] == fetch.ATTEMPTS
    assert not list(tmp_path.glob("kafka-*")) and not leftovers(tmp_path)


def test_what_came_whole_is_not_fetched_again(repository: Repository, lock: Lock, tmp_path: Path) -> None:
    # All jars are as large as each other, so the broken one is asked for together with the others.
    repository.cut_short = {"part-4"}
    with pytest.raises(KferryError):
        ensure_distribution(tmp_path, source=Source(location=repository.base), lock=lock)
    whole = {path.name for path in tmp_path.glob("partial-*/**/*.jar")}
    repository.cut_short, repository.asked = set(), Counter()
    ensure_distribution(tmp_path, source=Source(location=repository.base), lock=lock)
    assert set(repository.asked) == {jar.artifact for jar in lock.jars if jar.file_name not in whole}
    assert not list(tmp_path.glob("partial-*"))


def test_a_passing_failure_is_tried_again(repository: Repository, lock: Lock, tmp_path: Path) -> None:
    repository.fail_first = {"part-0", "part-3"}
    assert ensure_distribution(tmp_path, source=Source(location=repository.base), lock=lock).archive.is_file()


def test_an_interruption_leaves_nothing_half_downloaded(repository: Repository, lock: Lock, tmp_path: Path) -> None:
    def interrupt(done_bytes: int, total_bytes: int, name: str) -> None:
        if done_bytes > 400_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_distribution(tmp_path, source=Source(location=repository.base), lock=lock, on_progress=interrupt)
    assert not leftovers(tmp_path) and not list(tmp_path.glob("kafka-*"))
    for path in tmp_path.glob("partial-*/**/*.jar"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in {jar.sha256 for jar in lock.jars}


def test_leftovers_of_a_killed_process_are_swept(repository: Repository, lock: Lock, tmp_path: Path) -> None:
    (tmp_path / "staging-dead").mkdir()
    (tmp_path / "staging-dead" / "x.jar.part").write_bytes(b"half")
    ensure_distribution(tmp_path, source=Source(location=repository.base), lock=lock)
    assert not leftovers(tmp_path)


def test_no_network_and_a_missing_file_are_sentences(repository: Repository, lock: Lock, tmp_path: Path) -> None:
    base = repository.base
    with pytest.raises(KferryError, match="404"):
        ensure_distribution(tmp_path / "missing", source=Source(location=f"{base}/x-y"), lock=_with_unknown_jar(lock))
    repository.close()
    # A folder of its own: with every jar kept from the first try, no network would be needed any more.
    with pytest.raises(KferryError, match="could not be fetched") as error:
        ensure_distribution(tmp_path / "offline", source=Source(location=base), lock=lock)
    assert error.value.next_step


def _with_unknown_jar(lock: Lock) -> Lock:
    return Lock(lock.kafka_version, lock.archive_sha256, (*lock.jars, Jar("a", "nothing", "1.0", "0" * 64, 5)))


def test_a_full_disk_is_a_sentence(lock: Lock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(KferryError, match="no room"):
        ensure_distribution(tmp_path, lock=lock)


def test_an_archive_of_kferrys_own_needs_no_checksum(repository: Repository, lock: Lock, tmp_path: Path) -> None:
    made = ensure_distribution(tmp_path / "one", source=Source(location=repository.base), lock=lock)
    source = Source("file", str(made.archive))
    copied = ensure_distribution(tmp_path / "two", source=source, lock=lock)
    assert copied.sha256 == made.sha256 and copied.archive != made.archive
    broken = tmp_path / "broken.tar"
    broken.write_bytes(made.archive.read_bytes()[:-1])
    with pytest.raises(KferryError, match=r"broken\.tar"):
        ensure_distribution(tmp_path / "three", source=Source("file", str(broken)), lock=lock)


def test_a_given_archive_is_called_by_the_version_of_its_jars(lock: Lock, tmp_path: Path) -> None:
    given = tmp_path / "kafka.tar"
    with tarfile.open(given, "w") as content:
        for name in ("libs/kafka-clients-3.9.3.jar", "libs/other-1.0.jar"):
            content.addfile(tarfile.TarInfo(name))
    digest = hashlib.sha256(given.read_bytes()).hexdigest()
    made = ensure_distribution(tmp_path / "cache", source=Source("file", str(given), digest), lock=lock)
    assert made.version == "3.9.3" and made.archive.name.startswith("kafka-3.9.3-")


@pytest.mark.parametrize(("version", "words"), [("3.8.1", "KAFKA-17232"), ("4.1.0", "from 2.1 on"), ("3.10.0", "3.9")])
def test_an_archive_with_another_kafka_is_refused_before_it_is_kept(
    lock: Lock, tmp_path: Path, version: str, words: str
) -> None:
    given, cache = tmp_path / "kafka.tar", tmp_path / "cache"
    with tarfile.open(given, "w") as content:
        content.addfile(tarfile.TarInfo(f"kafka_2.13-{version}/libs/kafka-clients-{version}.jar"))
    digest = hashlib.sha256(given.read_bytes()).hexdigest()
    with pytest.raises(KferryError, match=f"cannot run the Kafka {version}") as refused:
        ensure_distribution(cache, source=Source("file", str(given), digest), lock=lock)
    assert words in refused.value.cause and "3.9.x" in refused.value.next_step
    assert not list(cache.glob("kafka-*"))
    assert dist.version_of_archive(given) == version
    assert dist.version_of_archive(tmp_path / "none.tar") is None


def test_only_plain_jars_are_taken_from_a_foreign_tarball(lock: Lock, tmp_path: Path) -> None:
    given = tmp_path / "kafka.tgz"
    with tarfile.open(given, "w:gz") as content:
        for name in (
            "kafka_2.13-9/libs/good-1.jar",
            "kafka_2.13-9/bin/run.sh",
            "kafka_2.13-9/extras/other/unknown-1.jar",
            "../libs/../evil.jar",
            "/libs/evil2.jar",
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(name)
            content.addfile(entry, io.BytesIO(name.encode()))
        link = tarfile.TarInfo("kafka_2.13-9/libs/link.jar")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        content.addfile(link)
    checksum = hashlib.sha512(given.read_bytes()).hexdigest()
    made = ensure_distribution(tmp_path / "cache", source=Source("file", str(given), checksum), lock=lock)
    assert [path.name for path in made.libs.parent.rglob("*.jar")] == ["good-1.jar"]


@pytest.mark.parametrize("change", [{"folder": "../libs"}, {"folder": "bin"}, {"coordinate": "a:b:1:all:more"}])
def test_a_lock_with_an_unknown_place_is_refused(lock: Lock, tmp_path: Path, change: dict[str, str]) -> None:
    data = lock.as_dict()
    assert Lock.from_dict(data) == lock
    data["jars"][-1] |= change
    (tmp_path / "lock.json").write_text(json.dumps(data))
    with pytest.raises(KferryError, match="cannot be read"):
        load_lock(tmp_path / "lock.json")


def test_the_role_unpacks_every_folder_that_all_accounts_can_read(
    repository: Repository, lock: Lock, tmp_path: Path
) -> None:
    made = ensure_distribution(tmp_path / "cache", source=Source(location=repository.base), lock=lock)
    arguments = {"root": str(tmp_path / "root"), "name": made.libs.parent.name, "sha256": made.sha256}
    role = find_content().roles / "kafka_connect"
    # as Ansible does: the module as a program, with the role's module_utils where it looks for them
    program = (
        "import runpy, sys; from pathlib import Path; from support.role_modules import load; "
        "role = Path(sys.argv.pop()); "
        "load(role / 'module_utils' / 'kferry_archive.py', 'ansible.module_utils.kferry_archive'); "
        "runpy.run_path(str(role / 'library' / 'kferry_distribution.py'), run_name='__main__')"
    )
    # a host whose root has a tight umask
    done = subprocess.run(
        ["sh", "-c", 'umask 077 && exec "$@"', "sh", sys.executable, "-c", program, str(role)],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, "archive": str(made.archive)}}),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["installed"], done
    version = tmp_path / "root" / "versions" / made.libs.parent.name
    jars = {path.relative_to(version).as_posix() for path in version.rglob("*.jar")}
    assert jars == {jar.archive_path for jar in lock.jars}
    assert {path.stat().st_mode & 0o777 for path in [version, *version.rglob("*")] if path.is_dir()} == {0o755}
    assert {path.stat().st_mode & 0o777 for path in version.rglob("*.jar")} == {0o644}


def test_two_processes_fetch_once(repository: Repository, lock: Lock, tmp_path: Path) -> None:
    (tmp_path / "lock.json").write_text(json.dumps(lock.as_dict()))
    script = (
        "import sys; from pathlib import Path; from kferry.ansible.dist import *;"
        "from kferry.ansible.lockfile import load_lock;"
        "print(ensure_distribution(Path(sys.argv[1]) / 'cache', source=Source(location=sys.argv[2]),"
        " lock=load_lock(Path(sys.argv[1]) / 'lock.json')).sha256)"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path), repository.base]
    both = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = {process.communicate(timeout=120)[0].strip() for process in both}
    assert answers == {lock.archive_sha256}
    assert set(repository.asked.values()) == {1}
