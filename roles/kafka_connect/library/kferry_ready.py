#!/usr/bin/python
"""Wait until Connect workers answer; where one doesn't, say why with the last lines of its log."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kferry_rest import CredentialsError, opener_for
from ansible.module_utils.kferry_supervisor import process_states

DOCUMENTATION = r"""
module: kferry_ready
short_description: Wait until Connect workers answer
description: Asks each worker for its health until it has joined its group. Changes nothing.
options:
  workers: {type: list, elements: dict, required: true, description: What kferry_worker returned}
  socket: {type: path, description: Socket of their supervisord, to notice a worker that has given up}
  is_systemd: {type: bool, default: false, description: "The workers are units of systemd, to notice one that gave up"}
  credentials_file: {type: path, description: "The file rest.users on this host, where REST asks for an account"}
  timeout_seconds: {type: int, default: 90, description: How long they may take together}
"""
EXAMPLES = r"""
- name: Wait
  kferry_ready:
    workers: "{{ configured.workers }}"
"""
RETURN = r"""
seconds: {type: float, returned: always, description: How long it took}
"""

POLL_SECONDS = 0.25
REQUEST_TIMEOUT_SECONDS = 5
COMMAND_SECONDS = 20
RESTARTS_TO_GIVE_UP = 2
LOG_LINES = 25
LOG_TAIL_BYTES = 32_768
HIDDEN = re.compile(r"(?i)(password|secret)(\s*=\s*)(\"[^\"]*\"|\S+)")


def is_ready(opener, worker):
    try:
        with opener.open(worker["rest_url"] + "/health", timeout=REQUEST_TIMEOUT_SECONDS) as answer:
            return answer.status == 200
    except (OSError, ValueError):
        return False


def last_lines(folder):
    """The end of the newest log with words in it."""
    logs = [Path(folder, "logs", name) for name in ("worker.log", "console.log")]
    logs = sorted((log for log in logs if log.is_file()), key=lambda log: -log.stat().st_mtime)
    for log in logs:
        with log.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            lines = stream.read().decode(errors="replace").strip().splitlines()
        if lines:
            text = HIDDEN.sub(r"\1\2(hidden)", "\n".join(lines[-LOG_LINES:]))
            return f"The end of {log}:\n{text}"
    return "It has written no log yet."


def has_given_up(worker, params, restarts):
    """Whether its service manager says that the worker ends right after its start."""
    if params["is_systemd"]:
        found = unit_state(worker["name"])
        first = restarts.setdefault(worker["name"], int(found.get("NRestarts") or 0))
        return found.get("ActiveState") == "failed" or int(found.get("NRestarts") or 0) >= first + RESTARTS_TO_GIVE_UP
    if params["socket"]:
        states = process_states(params["socket"]) or {}
        return states.get(worker["name"], {}).get("statename") in ("FATAL", "EXITED")
    return False


def unit_state(name):
    answer = subprocess.run(
        ["systemctl", "show", "--property=ActiveState,NRestarts", f"kferry-worker@{name}.service"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    return dict(line.partition("=")[::2] for line in answer.stdout.decode().splitlines())


def journal_lines(name):
    """What the worker said where no log file was open yet."""
    command = ["journalctl", "--no-pager", "--output=cat", "--lines=12", f"--unit=kferry-worker@{name}.service"]
    try:
        answer = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=COMMAND_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return "\nThe journal says:\n" + HIDDEN.sub(r"\1\2(hidden)", answer.stdout.decode(errors="replace").strip())


def last_words(worker, params):
    return last_lines(worker["folder"]) + (journal_lines(worker["name"]) if params["is_systemd"] else "")


def main():
    module = AnsibleModule(
        argument_spec={
            "workers": {"type": "list", "elements": "dict", "required": True},
            "socket": {"type": "path"},
            "is_systemd": {"type": "bool", "default": False},
            "credentials_file": {"type": "path"},
            "timeout_seconds": {"type": "int", "default": 90},
        },
        supports_check_mode=True,
    )
    params, began, restarts = module.params, time.monotonic(), {}
    try:
        opener = opener_for(params["credentials_file"])
    except CredentialsError as error:
        module.fail_json(msg=str(error))
    waiting = list(params["workers"])
    while True:
        waiting = [worker for worker in waiting if not is_ready(opener, worker)]
        if not waiting:
            module.exit_json(changed=False, seconds=round(time.monotonic() - began, 1))
        for worker in waiting:
            if has_given_up(worker, params, restarts):
                module.fail_json(
                    msg=f"Worker {worker['name']} ends right after its start. {last_words(worker, params)}"
                )
        if time.monotonic() - began > params["timeout_seconds"]:
            worker = waiting[0]
            module.fail_json(
                msg=f"Worker {worker['name']} does not answer at {worker['rest_url']} after "
                f"{params['timeout_seconds']} s. {last_words(worker, params)}"
            )
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
