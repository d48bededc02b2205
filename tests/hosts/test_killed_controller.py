"""A machine that runs a play dies in the middle of it: the next play takes its claim over, and nothing starts twice."""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from support import leftovers
from support.ssh_fleet import ROOT, SECRETS, Fleet, remove_all
from support.test_hosts import ACCOUNT, TestHost
from support.waiting import wait_until

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(900)]

UNIT = "kferry-worker@shop-w2.service"
UPLOADS = f"/home/{ACCOUNT}/.ansible/kferry-*"
UPLOADED = f"{UPLOADS}/*/.source.tar"
ARRIVED = f"{ROOT}/incoming-*"
# systemd's id of the message that it has started a unit
STARTED = "MESSAGE_ID=39f53479d3a045ac8e11786248231fbf"


def kill_in_mid_play(fleet: Fleet, host: TestHost, sign: str, output: Path, *arguments: str) -> None:
    """Start the play and kill all of it as soon as this file is on the host."""
    mark = uuid.uuid4().hex
    play = fleet.start("workers", *arguments, env={**SECRETS, leftovers.SESSION_VARIABLE: mark}, output=output)
    try:
        appears = ["sh", "-c", f"for i in $(seq 600); do ls {sign} 2>/dev/null && exit; sleep 0.05; done"]
        wait_until(lambda: host.exec(appears, check=False).stdout or play.poll() is not None, 300, f"{sign} appears")
        assert play.poll() is None, output.read_text(encoding="utf-8")
        os.killpg(play.pid, signal.SIGKILL)
    finally:
        play.kill()
        play.wait()
        # those that Ansible has put into sessions of their own
        while left := leftovers.of_session(mark):
            leftovers.end(left)


def test_a_play_whose_controller_was_killed_is_taken_over_and_starts_its_worker_once(
    fleet: Fleet, hosts: list[TestHost], tmp_path: Path, say: Callable[[str], None]
) -> None:
    _, host = hosts
    # a claim whose play is not known to be dead would be refused after a second
    only = ("-e", "kferry_task=shop", "-e", "kafka_connect_wait_seconds=1")
    remove_all(host)
    fleet.use([host])
    fleet.write("shop", [host])
    starts_before = starts(host)
    for sign in (UPLOADED, ARRIVED):
        kill_in_mid_play(fleet, host, sign, tmp_path / "killed.log", *only)
        claim = json.loads(host.exec(["cat", f"{ROOT}/.lock"]).stdout)
        assert claim["until"] > time.time() + 600, "the dead play holds the host for long"
        assert starts(host) == starts_before
        left = host.exec(["sh", "-c", f"ls -d {UPLOADED} {ARRIVED} 2>/dev/null"], check=False)
        assert left.stdout, "nobody was there to remove it"

    began = time.monotonic()
    again = fleet.play("workers", *only, env=SECRETS)
    assert again.rc == 0, again.output
    say(f"the play after two killed ones took {time.monotonic() - began:.0f} s")
    assert host.exec(["test", "-e", f"{ROOT}/.lock"], check=False).code != 0, "the claim was given back"
    left = host.exec(["sh", "-c", f"ls -d {UPLOADS} {ARRIVED} {ROOT}/versions/.kafka* 2>/dev/null"], check=False)
    assert left.stdout == "", "what the killed plays had brought is gone"
    worker = main_pid(host)
    assert worker != "0"

    third = fleet.play("workers", *only)
    assert (third.rc, third.changed) == (0, 0), third.output
    assert (main_pid(host), starts(host)) == (worker, starts_before + 1)


def main_pid(host: TestHost) -> str:
    return str(host.exec(["systemctl", "show", "--property=MainPID", "--value", UNIT]).stdout.strip())


def starts(host: TestHost) -> int:
    """How often systemd has started the worker, by its journal."""
    found = host.exec(["journalctl", "--no-pager", "--quiet", "--output=cat", STARTED, f"UNIT={UNIT}"], check=False)
    return len(found.stdout.splitlines())
