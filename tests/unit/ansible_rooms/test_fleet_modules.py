"""What the modules for real hosts promise: claims, the health gate, safe archives of Java, secrets of many lines."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kferry.ansible.content import find_content
from support.role_modules import load

ROLES = find_content().roles
RUN = {"run": "r-1", "holder": "me", "controller": "", "pid": 1, "started": ""}


@pytest.fixture(scope="session")
def account_module() -> ModuleType:
    path = ROLES / "kafka_connect" / "module_utils" / "kferry_account.py"
    return load(path, "ansible.module_utils.kferry_account")


@pytest.fixture(scope="session")
def host_module(account_module: ModuleType, files_module: ModuleType) -> ModuleType:
    return load(ROLES / "kafka_connect" / "library" / "kferry_host.py", "kferry_host")


@pytest.fixture(scope="session")
def gate_module(rest_module: ModuleType) -> ModuleType:
    return load(ROLES / "kafka_connect" / "library" / "kferry_gate.py", "kferry_gate")


@pytest.fixture(scope="session")
def secrets_module(account_module: ModuleType, files_module: ModuleType) -> ModuleType:
    return load(ROLES / "kafka_connect" / "library" / "kferry_secrets.py", "kferry_secrets")


@pytest.fixture(scope="session")
def jre_module(archive_module: ModuleType) -> ModuleType:
    return load(ROLES / "java" / "library" / "kferry_jre.py", "kferry_jre")


@pytest.fixture(scope="session")
def run_lookup() -> ModuleType:
    return load(find_content().root / "playbooks" / "lookup_plugins" / "kferry_run.py", "kferry_run")


def params(**more: Any) -> dict[str, Any]:
    return {"run": RUN, "dead_run": "", "wait_seconds": 0, "lease_seconds": 60, **more}


def test_a_claim_keeps_others_out_until_it_ends(host_module: ModuleType, tmp_path: Path) -> None:
    root, other = host_module.Root(tmp_path), {**RUN, "run": "r-2", "holder": "you"}
    assert host_module.claim(root, params()) is None
    assert host_module.claim(root, params()) is None, "our own claim is ours"
    held = host_module.claim(root, params(run=other))
    assert held["run"] == "r-1" and "me" in host_module.words_of(held)
    host_module.release(root, other)
    assert root.lock.exists(), "only the holder gives it back"
    # of a play that is known to be dead, or whose time has passed, it is taken over
    assert host_module.claim(root, params(run=other, dead_run="r-1")) is None
    assert host_module.claim(root, params(run=RUN))["run"] == "r-2"
    root.lock.write_text(json.dumps({**other, "until": time.time() - 1}))
    assert host_module.claim(root, params()) is None
    host_module.release(root, RUN)
    assert not root.lock.exists()
    root.lock.write_text("half a cla")
    assert host_module.claim(root, params()) is None


def test_a_dead_play_of_this_machine_is_known(run_lookup: ModuleType) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    claim = {"run": "r-9", "controller": run_lookup.controller(), "pid": child.pid}
    claim["started"] = run_lookup.started(child.pid)
    assert run_lookup.dead_run(claim) == ""
    child.communicate(b"\n")
    assert run_lookup.dead_run(claim) == "r-9"
    assert run_lookup.dead_run({**claim, "pid": os.getpid()}) == "r-9", "another process got its number"
    assert run_lookup.dead_run({**claim, "controller": "elsewhere"}) == ""
    assert run_lookup.dead_run({"run": "r-9"}) == ""


A, B = "http://10.0.0.1:18083", "http://10.0.0.2:18083"


def seen(answering: list[str], *tasks: tuple[str, str], state: str = "RUNNING") -> dict[str, Any]:
    entries = [{"id": n, "state": s, "worker": w, "trace": "why"} for n, (s, w) in enumerate(tasks)]
    return {"answering": answering, "connectors": {"copy": {"state": state, "tasks": entries}}}


WHERE_A, WHERE_B = "10.0.0.1:18083", "10.0.0.2:18083"
WELL = seen([A, B], ("RUNNING", WHERE_A), ("RUNNING", WHERE_B))


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (WELL, ""),
        (seen([A], ("RUNNING", WHERE_A), ("RUNNING", WHERE_A)), f"Worker {B} does not answer."),
        (seen([A, B], ("RUNNING", WHERE_A), ("UNASSIGNED", WHERE_B)), "is UNASSIGNED"),
        (seen([A, B], ("RUNNING", WHERE_A), ("FAILED", WHERE_B)), "FAILED on 10.0.0.2:18083: why"),
        (seen([A, B], ("RUNNING", WHERE_A), ("RUNNING", "10.0.0.3:1")), "which does not answer"),
        (seen([A, B], state="PAUSED"), "was RUNNING and is PAUSED"),
        (seen([A, B]), "has no connector tasks"),
        ({"answering": [A, B], "connectors": {}}, "is gone"),
        ({"answering": [A, B], "connectors": None}, "No worker says"),
    ],
)
def test_the_gate_opens_only_when_all_is_well(gate_module: ModuleType, now: dict[str, Any], words: str) -> None:
    found = " ".join(gate_module.objections(now, WELL, {"rest_urls": [A, B], "must_answer": [A]}))
    assert words in found and bool(found) == bool(words)


def test_what_was_failed_before_waits_for_its_own_worker(gate_module: ModuleType) -> None:
    broken = seen([A, B], ("RUNNING", WHERE_A), ("FAILED", WHERE_B))
    assert not gate_module.objections(broken, broken, {"rest_urls": [A, B], "must_answer": [A]})
    assert gate_module.objections(broken, broken, {"rest_urls": [A, B], "must_answer": [B]})


def test_a_worker_that_was_dead_before_is_not_waited_for(gate_module: ModuleType) -> None:
    before = seen([A], ("RUNNING", WHERE_A))
    assert not gate_module.objections(before, before, {"rest_urls": [A, B], "must_answer": []})
    assert gate_module.objections(before, before, {"rest_urls": [A, B], "must_answer": [B]})


def archive(path: Path, *entries: tarfile.TarInfo) -> str:
    with tarfile.open(path, "w:gz") as content:
        for entry in entries:
            data = b"#!/bin/sh\n" if entry.isreg() else b""
            entry.size = len(data)
            content.addfile(entry, io.BytesIO(data))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def entry(name: str, kind: bytes = tarfile.REGTYPE, linkname: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode = kind, linkname, 0o755
    return made


JAVA = entry("jdk-21/bin/java")


def test_a_java_archive_is_unpacked_whole(archive_module: ModuleType, jre_module: ModuleType, tmp_path: Path) -> None:
    path, target = tmp_path / "jre.tar.gz", tmp_path / "versions" / "jre-1"
    sha256 = archive(path, JAVA, entry("jdk-21/lib/link", tarfile.SYMTYPE, "../bin/java"))
    archive_module.install(path, sha256, target, jre_module.fill)
    assert archive_module.is_installed(target, sha256) and jre_module.home_in(target) == target / "jdk-21"
    assert (target / "jdk-21" / "lib" / "link").resolve() == target / "jdk-21" / "bin" / "java"


@pytest.mark.parametrize(
    "evil",
    [
        entry("/etc/evil"),
        entry("jdk-21/../../evil"),
        entry("jdk-21/out", tarfile.SYMTYPE, "/etc/passwd"),
        entry("jdk-21/out", tarfile.SYMTYPE, "../../etc/passwd"),
        entry("jdk-21/out", tarfile.LNKTYPE, "../../etc/passwd"),
        entry("jdk-21/device", tarfile.CHRTYPE),
    ],
    ids=lambda found: f"{found.name} {found.linkname}",
)
def test_an_unsafe_java_archive_installs_nothing(
    archive_module: ModuleType, jre_module: ModuleType, tmp_path: Path, evil: tarfile.TarInfo
) -> None:
    path, target = tmp_path / "jre.tar.gz", tmp_path / "versions" / "jre-1"
    sha256 = archive(path, JAVA, evil)
    with pytest.raises(ValueError, match="does not belong"):
        archive_module.install(path, sha256, target, jre_module.fill)
    assert [path.name for path in target.parent.iterdir()] == [".lock"]


def test_an_archive_that_is_not_whole_takes_no_place(
    archive_module: ModuleType, jre_module: ModuleType, tmp_path: Path
) -> None:
    path, target = tmp_path / "jre.tar.gz", tmp_path / "versions" / "jre-1"
    sha256 = archive(path, JAVA)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match="not whole"):
        archive_module.install(path, sha256, target, jre_module.fill)
    assert not target.exists() and not archive_module.is_installed(target, sha256)


def test_only_versions_that_no_worker_links_to_are_pruned(archive_module: ModuleType, tmp_path: Path) -> None:
    versions, worker = tmp_path / "versions", tmp_path / "shop-1"
    worker.mkdir()
    for name in ("kafka-1", "kafka-2", "kafka-3", "kafka-4", "jre-1"):
        (versions / name / "libs").mkdir(parents=True)
        (versions / name / ".sha256").write_text("x\n")
    (worker / "previous").symlink_to(versions / "kafka-2")
    (worker / "current").symlink_to(versions / "kafka-3" / "libs")
    assert archive_module.prune(tmp_path, "kafka-*", versions / "kafka-4") == ["kafka-1"]
    assert sorted(path.name for path in versions.iterdir()) == ["jre-1", "kafka-2", "kafka-3", "kafka-4"]
    (worker / "previous").unlink()
    assert archive_module.prune(tmp_path, "kafka-*", versions / "kafka-4") == ["kafka-2"]
    assert archive_module.prune(tmp_path, "kafka-*", versions / "kafka-4") == []


def test_secrets_of_many_lines_come_back(secrets_module: ModuleType, files_module: ModuleType, tmp_path: Path) -> None:
    pem = '-----BEGIN PRIVATE KEY-----\nMIIE=:#!\\ "x"\n-----END PRIVATE KEY-----\n'
    path = tmp_path / "tasks" / "shop" / "secrets.properties"
    path.parent.mkdir(parents=True)
    files, folder = {str(path): {"source_key", "rest_password"}}, str(path.parent)
    given = {"source_key": pem, "rest_password": "a b:c=d\\"}
    assert secrets_module.keep_all(files, folder, {}, False) == (False, {"source_key", "rest_password"})
    assert not path.exists()
    assert secrets_module.keep_all(files, folder, given, False) == (True, set())
    assert files_module.parse_properties(path.read_text()) == given
    assert files_module.parse_properties((path.parent / "rest.users").read_text()) == {"kferry": "a b:c=d\\"}
    assert 'rest.users"' in (path.parent / "rest.jaas").read_text()
    assert {entry.stat().st_mode & 0o777 for entry in path.parent.iterdir()} == {0o600}
    first = path.read_text()
    assert secrets_module.keep_all(files, folder, {}, False) == (False, set()), "what nobody gave is kept"
    assert secrets_module.keep_all(files, folder, {"source_key": "new"}, False) == (True, set())
    assert path.read_text().splitlines()[0] != first.splitlines()[0], "the hash tells of a change"
