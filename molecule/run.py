"""Runs the Molecule scenarios, says of each step how it went, and sees to it that nothing is left running.

`python molecule/run.py [SCENARIO ...]`, with PYTHONPATH=tests. Exit code 0 also where machines cannot be started,
unless KFERRY_TEST_REQUIRE_HOSTS=1. With KFERRY_TEST_MOLECULE_VERBOSE=1 all that Ansible says is shown as it comes.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from support import leftovers, test_hosts

CHECKOUT = Path(__file__).resolve().parents[1]
END_DEADLINE_SECONDS = 20.0
# what Molecule says of a step; the rest is Ansible's, and shown when something has failed
STEP = re.compile(r"^(INFO|WARNING|ERROR|CRITICAL) +\[\w+ > \w+\] (?!Executing)")


def say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def scenario_names() -> list[str]:
    return sorted(path.parent.name for path in (CHECKOUT / "molecule").glob("*/molecule.yml"))


def environment(folder: Path, session_id: str) -> dict[str, str]:
    """What Molecule and its plays are run with: nothing of the caller's settings, the tools of this venv first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "KFERRY_SECRET_"))}
    here = Path(sys.executable).parent
    return kept | {
        "PATH": os.pathsep.join([str(here), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": str(CHECKOUT / "tests"),
        "PYTHONUNBUFFERED": "1",
        "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1",
        "MOLECULE_EPHEMERAL_DIRECTORY": str(folder),
        "MOLECULE_PROJECT_DIRECTORY": str(CHECKOUT),
        "KFERRY_MOLECULE_OWNER": test_hosts.owner_of_this_process(),
        leftovers.SESSION_VARIABLE: session_id,
    }


def run(scenario: str) -> bool:
    """One scenario from create to destroy. Whatever happens, its machines, brokers and files are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="kfm-"))  # short: the path of an SSH socket lies in it
    session_id = uuid.uuid4().hex
    began = time.monotonic()
    try:
        code = _molecule(["test", "--scenario-name", scenario, "--destroy", "always"], folder, session_id)
    except BaseException:
        # Molecule destroys what it has made when a step fails, but not when somebody ends it
        _molecule(["destroy", "--scenario-name", scenario], folder, session_id)
        raise
    finally:
        left = _left(session_id)
        shutil.rmtree(folder, ignore_errors=True)
    for item in left:
        say(f"left running by scenario {scenario} (ended now): {item}")
    is_well = code == 0 and not left
    say(f"scenario {scenario}: {'ok' if is_well else 'FAILED'}, {time.monotonic() - began:.0f} s")
    return is_well


def _molecule(arguments: Sequence[str], folder: Path, session_id: str) -> int:
    """Run Molecule; show its steps, and everything when it fails."""
    is_verbose = os.environ.get("KFERRY_TEST_MOLECULE_VERBOSE", "0") != "0"
    said: list[str] = []
    process = subprocess.Popen(
        ["molecule", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=CHECKOUT,
        env=environment(folder, session_id),
        process_group=0,  # with the play that it runs; a Ctrl-C is ours alone
    )
    assert process.stdout is not None  # noqa: S101
    try:
        for line in process.stdout:
            said.append(line)
            if is_verbose or STEP.match(line):
                sys.stdout.write(line)
                sys.stdout.flush()
        code = process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        raise
    if any("Missing playbook" in line for line in said):
        say("Molecule left out a step that its scenario names.")
        code = code or 1
    if code and not is_verbose:
        sys.stdout.writelines(said)
    return code


def _left(session_id: str) -> list[str]:
    """What destroy has not removed: ended here, and named."""
    processes = leftovers.gone_within(session_id, END_DEADLINE_SECONDS)
    leftovers.end(processes)
    return [*map(str, processes), *test_hosts.remove_of_this_process()]


def main(names: Sequence[str]) -> int:
    missing = test_hosts.what_is_missing()
    if missing:
        name = test_hosts.REQUIRED_VARIABLE
        is_required = os.environ.get(name) == "1"
        left_out = f"LEFT OUT: the Molecule scenarios: {missing} (or {name}=1 to make this an error)"
        say(f"{name}=1, but {missing}" if is_required else left_out)
        return int(is_required)
    test_hosts.remove_orphans()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    failed = [name for name in names or scenario_names() if not run(name)]
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
