"""`python -m kferry.ansible.run RUN_DIR`: run one play in this process, with no threads and no Kafka clients around."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import ansible_runner

from kferry.ansible.content import find_content
from kferry.ansible.events import Redactor, total, translate
from kferry.ansible.runs import PlayRequest
from kferry.domain.errors import KferryError

# Without a file of settings ansible-runner forgets those given as arguments.
RUNNER_SETTINGS = {"pexpect_timeout": 0.5, "suppress_output_file": True, "suppress_ansible_output": True}


class Recorder:
    """Writes what happens to events.jsonl and output.log, each line at once, secrets replaced."""

    def __init__(self, events: TextIO, output: TextIO, redact: Redactor) -> None:
        self._events = events
        self._output = output
        self._redact = redact
        self._seq = 0
        self.changed = 0
        self.failures: list[dict[str, str]] = []
        self.last_words = ""
        self.host_count = 0

    def __call__(self, raw: Mapping[str, Any]) -> bool:
        """Handle one runner event; False = ansible-runner must not store it."""
        if raw.get("stdout"):
            text = self._redact(str(raw["stdout"]))
            self.last_words = text
            self._output.write(text.replace("\r\n", "\n") + "\n")
            self._output.flush()
        event = translate(raw, self._seq + 1, self._redact)
        if event is not None:
            self._seq += 1
            self._events.write(json.dumps(event.as_dict(), ensure_ascii=False) + "\n")
            self._events.flush()
            if event.kind in ("failed", "unreachable"):
                self.failures.append({"host": event.host, "step": event.step, "message": event.message})
            if event.kind == "stats":
                data = raw.get("event_data") or {}
                self.changed = total(data, "changed")
                self.host_count = len(data.get("processed") or {})
        return False


def main(arguments: list[str]) -> int:
    """Run the play described in RUN_DIR/request.json; the exit code is the play's."""
    os.umask(0o077)
    run_dir = Path(arguments[0]).resolve()
    request = PlayRequest.from_dict(json.loads((run_dir / "request.json").read_text(encoding="utf-8")))
    outcome: dict[str, Any] = {"status": "failed", "rc": 1, "changed": 0, "failed": 1, "failures": []}
    redact = Redactor(os.environ)
    try:
        with (
            (run_dir / "events.jsonl").open("a", encoding="utf-8") as events,
            (run_dir / "output.log").open("a", encoding="utf-8") as output,
        ):
            outcome = _play(run_dir, request, Recorder(events, output, redact))
    except Exception as error:  # the engine must learn why, whatever it was
        words = str(error) if isinstance(error, KferryError) else f"{type(error).__name__}: {error}"
        outcome["failures"] = [{"host": "", "step": "", "message": redact(words)}]
    finally:
        temporary = run_dir / ".result.json.new"
        temporary.write_text(json.dumps(outcome, ensure_ascii=False), encoding="utf-8")
        temporary.replace(run_dir / "result.json")
    return int(outcome["rc"])


def _play(run_dir: Path, request: PlayRequest, recorder: Recorder) -> dict[str, Any]:
    request.validate()
    content = find_content()
    private = run_dir / "private"
    shutil.rmtree(private, ignore_errors=True)
    (private / "env").mkdir(mode=0o700, parents=True)
    (private / "env" / "settings").write_text(json.dumps(RUNNER_SETTINGS), encoding="utf-8")
    try:
        runner = ansible_runner.run(
            private_data_dir=str(private),
            project_dir=str(content.root),
            host_cwd=str(content.root),
            playbook=str(content.playbook(request.playbook)),
            inventory=str(request.inventory.resolve()),
            cmdline=_command_line(request),
            limit=request.limit,
            envvars=content.environment(os.environ),
            suppress_env_files=True,
            quiet=True,
            event_handler=recorder,
            status_handler=lambda status, runner_config: _scrub(status, runner_config),
        )
    finally:
        shutil.rmtree(private, ignore_errors=True)
    status = runner.status if runner.status in ("successful", "canceled") else "failed"
    if status == "successful" and recorder.host_count == 0:
        # Ansible calls a play without hosts a success; for us nothing was done that was asked for.
        status = "failed"
        recorder.last_words = (
            f"No host of {request.inventory} is in the group kferry_workers, or the limit leaves none."
        )
    failures = recorder.failures if status == "failed" else []
    if status == "failed" and not failures:
        failures = [{"host": "", "step": "", "message": recorder.last_words or f"Ansible ended with {runner.rc}."}]
    rc = runner.rc if isinstance(runner.rc, int) and (runner.rc or status == "successful") else 1
    return {
        "status": status,
        "rc": rc,
        "changed": recorder.changed,
        "failed": len(failures),
        "failures": failures,
    }


def _command_line(request: PlayRequest) -> str:
    words = ["--diff"]
    if request.check:
        words.append("--check")
    if request.tags:
        words += ["--tags", ",".join(request.tags)]
    if request.task is not None:
        words += ["-e", f"kferry_task={request.task}"]
    for key, value in sorted(request.options.items()):
        words += ["-e", f"{key}={value}"]
    return shlex.join(words)


def _scrub(status: Mapping[str, Any], config: Any) -> None:
    """Remove the file in which ansible-runner keeps the whole environment, before the play begins."""
    if status.get("status") == "running":
        (Path(config.artifact_dir) / "command").unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
