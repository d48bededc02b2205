"""teardown.yml on this machine: supervisord and its workers are ended, and nothing of the migration is left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from plays.harness import Migration, marked_pids, wait_until


def install(migration: Migration) -> Path:
    """A root with a supervisord and one worker, as the role kafka_connect leaves them."""
    (migration.root / "kferry.yml").write_text("schema: 1\nmigration_id: k3f9x2\nname: test\nsettings: {}\n")
    home, worker = migration.workers / "supervisor", migration.workers / "shop-1"
    home.mkdir(parents=True)
    (worker / "logs").mkdir(parents=True)
    (worker / "logs" / "worker.log").write_text("a line\n")
    (migration.workers / "migration").write_text("k3f9x2\n")
    (home / "supervisord.conf").write_text(
        f"[supervisord]\nlogfile={home}/supervisord.log\npidfile={home}/supervisord.pid\n"
        f"[unix_http_server]\nfile={migration.runtime}/s.sock\n"
        f"[program:shop-1]\ncommand={sys.executable} -c 'import time; time.sleep(600)'\nautorestart=true\n"
    )
    subprocess.run(
        [sys.executable, "-m", "supervisor.supervisord", "-c", str(home / "supervisord.conf")],
        check=True,
        env={**os.environ, "KFERRY_MARK": migration.mark},
        timeout=30,
    )
    wait_until(lambda: len(marked_pids(migration.mark)) == 2, 15, "supervisord and its worker run")
    return worker


@pytest.mark.slow
def test_a_local_machine_is_torn_down(migration: Migration) -> None:
    install(migration)
    outcome = migration.play("teardown.yml", "--check")
    assert outcome.rc == 0 and outcome.changed == 1, outcome.output
    assert len(marked_pids(migration.mark)) == 2 and migration.workers.is_dir()
    outcome = migration.play("teardown.yml", "-e", "kferry_keep_logs=true")
    assert outcome.rc == 0 and outcome.changed == 1, outcome.output
    assert marked_pids(migration.mark) == [] and not migration.workers.exists()
    [kept] = (migration.root / ".kferry").glob("kferry-k3f9x2-*/shop-1/worker.log")
    assert kept.read_text() == "a line\n"
    assert migration.play("teardown.yml").changed == 0


@pytest.mark.slow
def test_it_is_refused_for_one_task_and_without_a_migration_id(migration: Migration) -> None:
    outcome = migration.play("teardown.yml", "-e", "kferry_task=shop")
    assert outcome.rc != 0 and "of whole machines" in outcome.output
    outcome = migration.play("teardown.yml")
    assert outcome.rc != 0 and "migration_id" in outcome.output
