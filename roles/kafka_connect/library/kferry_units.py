#!/usr/bin/python
"""Run Connect workers as units of systemd: written, enabled, started, restarted where what runs is older, removed."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kferry_files import mode_of, read_text, write_whole

DOCUMENTATION = r"""
module: kferry_units
short_description: Run Connect workers as units of systemd
description: >-
  Each worker is an instance of kferry-worker@.service with a file of its own beside it (account, folders, memory). What
  a process runs with is read from its environment, so that a play which was interrupted is taken up where it stopped.
options:
  root: {type: path, required: true, description: Folder of all workers}
  task: {type: str, required: true, description: Name of the migration task}
  migration_id: {type: str, required: true, description: The migration it belongs to}
  account: {type: str, required: true, description: Account of the task}
  template: {type: str, required: true, description: Text of kferry-worker@.service}
  workers: {type: list, elements: dict, default: [], description: What kferry_worker returned}
  absent: {type: list, elements: str, default: [], description: Names of workers that must not run}
  stop_seconds: {type: int, default: 45, description: How long a worker may take to end}
  force_restart: {type: bool, default: false, description: Restart workers that run as they should, too}
"""
EXAMPLES = r"""
- name: Run
  kferry_units:
    root: /opt/kferry
    task: shop
    migration_id: k3f9x2
    account: kferry-shop
    template: "{{ lookup('ansible.builtin.file', 'kferry-worker@.service') }}"
    workers: "{{ configured.workers }}"
"""
RETURN = r"""
actions: {type: list, returned: always, description: What was done, or would be in check mode}
running: {type: list, returned: always, description: Workers that ran when we came}
"""

FOLDER = Path("/etc/systemd/system")
TEMPLATE = "kferry-worker@.service"
NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
COMMAND_SECONDS = 30
PROPERTIES = "Id,ActiveState,SubState,MainPID,UnitFileState"


class FailedError(Exception):
    """A sentence for the operator."""


def systemctl(*arguments, seconds=COMMAND_SECONDS):
    """Run systemctl; its own words are the error."""
    try:
        answer = subprocess.run(
            ["systemctl", "--no-ask-password", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C", "SYSTEMD_PAGER": ""},
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise FailedError(f"systemctl {' '.join(arguments)} did not end within {seconds} s.") from error
    text = answer.stdout.decode(errors="replace")
    if answer.returncode != 0:
        raise FailedError(f"systemctl {' '.join(arguments)} failed: {text.strip()}")
    return text


def unit(name):
    return f"kferry-worker@{name}.service"


def unit_file(name):
    return FOLDER / f"{unit(name)}.d" / "kferry.conf"


def escape(value):
    return str(value).replace("%", "%%")


def worker_text(worker, params):
    """What only this worker has. It sees of the root only the versions, its own folder and its own task's secrets."""
    root, folder = escape(params["root"]), escape(worker["folder"])
    return f"""# Written by kferry; changes are lost.
# migration {params["migration_id"]}, task {params["task"]}, root {params["root"]}
[Unit]
Description=Kafka Connect worker {worker["name"]} of migration task {params["task"]} (kferry)

[Service]
User={params["account"]}
Group={params["account"]}
WorkingDirectory={folder}
ExecStart={" ".join(f'"{escape(word)}"' for word in worker["command"])}
TimeoutStopSec={params["stop_seconds"]}
MemoryMax={worker["memory_limit_bytes"]}
TemporaryFileSystem={root}:ro,mode=0755
BindReadOnlyPaths={root}/versions {folder} -{root}/tasks/{params["task"]}
BindPaths={folder}/logs
"""


def with_revision(text, template, revision):
    """The text with a word for everything a process depends on, which it then carries in its environment."""
    digest = hashlib.sha256("\0".join((text, template, revision)).encode()).hexdigest()[:16]
    return f"{text}Environment=KFERRY_REVISION={digest}\n", digest


def running_revision(pid):
    """The word a living process carries, or None."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    found = [entry.partition(b"=")[2].decode() for entry in environment if entry.startswith(b"KFERRY_REVISION=")]
    return found[0] if found else None


def states(names):
    """What systemd says of each worker's unit, in one call."""
    if not names:
        return {}
    blocks = systemctl("show", f"--property={PROPERTIES}", *(unit(name) for name in names)).strip().split("\n\n")
    found = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in blocks]
    return dict(zip(names, found))  # noqa: B905  (Python 3.8)


def refuse_foreign(names, params):
    """A unit of that name that is not ours is left alone."""
    for name in names:
        text = read_text(unit_file(name))
        if text is not None and f"root {params['root']}\n" not in text:
            owner = next((line[2:] for line in text.splitlines()[1:2]), "somebody else")
            raise FailedError(f"{unit(name)} on this host belongs to {owner}. Give the worker another name.")


def refuse_busy_port(worker):
    """A worker that isn't up must find its port free; whoever holds it would be taken for our worker."""
    address = urlsplit(worker["rest_url"])
    family = socket.AF_INET6 if ":" in (address.hostname or "") else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.hostname, address.port))
        except OSError as error:
            raise FailedError(
                f"Worker {worker['name']} cannot have {address.hostname}:{address.port}: {error.strerror}. "
                "End the process that listens there, or give the worker another port."
            ) from error


class Units:
    """The units of one task on this host, and what has to be done to them."""

    def __init__(self, params, check_mode):
        self.params = params
        self.check_mode = check_mode
        self.actions = []
        self.diffs = []
        self._reload = False
        names = [worker["name"] for worker in params["workers"]]
        refuse_foreign([*names, *params["absent"]], params)
        self.states = states([*names, *params["absent"]])

    def is_active(self, name):
        return self.states[name].get("ActiveState") in ("active", "deactivating", "reloading")

    def run(self):
        self.end(self.params["absent"])
        wanted = {}
        for worker in self.params["workers"]:
            wanted[worker["name"]] = self._keep_file(worker)
        if wanted:
            self._write(FOLDER / TEMPLATE, self.params["template"])
        self._apply()
        for worker in self.params["workers"]:
            self._keep_enabled(worker["name"])
            self._keep_running(worker, wanted[worker["name"]])

    def end(self, names):
        for name in names:
            there = unit_file(name).exists() or self.states[name].get("ActiveState") not in ("inactive", None)
            if not there and self.states[name].get("UnitFileState") != "enabled":
                continue
            self._note(f"remove {name}", str(unit_file(name)), read_text(unit_file(name)) or "", "")
            if self.check_mode:
                continue
            systemctl("disable", "--quiet", unit(name))
            systemctl("stop", unit(name), seconds=self.params["stop_seconds"] + COMMAND_SECONDS)
            shutil.rmtree(unit_file(name).parent, ignore_errors=True)
            subprocess.run(["systemctl", "reset-failed", unit(name)], stderr=subprocess.DEVNULL, check=False)
            self._reload = True
        if names and not self.params["workers"] and not any(FOLDER.glob("kferry-worker@*.service.d")):
            self._remove_template()

    def _remove_template(self):
        """With the last worker of all tasks goes what they had in common."""
        if (FOLDER / TEMPLATE).exists() and not self.check_mode:
            (FOLDER / TEMPLATE).unlink()
            self.actions.append(f"remove {TEMPLATE}")
            self._reload = True

    def _keep_file(self, worker):
        text, revision = with_revision(worker_text(worker, self.params), self.params["template"], worker["revision"])
        self._write(unit_file(worker["name"]), text)
        return revision

    def _write(self, path, text):
        before = read_text(path)
        if before == text and mode_of(path) == 0o644:
            return
        what = path.parent.name if path.name == "kferry.conf" else path.name
        self._note(f"write {what}", str(path), before or "", text)
        self._reload = True
        if not self.check_mode:
            path.parent.mkdir(mode=0o755, exist_ok=True)
            write_whole(path, text, mode=0o644)

    def _apply(self):
        if not self.check_mode and (self._reload or self._needs_reload()):
            systemctl("daemon-reload")

    def _needs_reload(self):
        """A play that was interrupted may have written files that systemd has not read."""
        names = [unit(worker["name"]) for worker in self.params["workers"]]
        return bool(names) and "yes" in systemctl("show", "--property=NeedDaemonReload", *names)

    def _keep_enabled(self, name):
        if self.states[name].get("UnitFileState") == "enabled":
            return
        self._note(f"enable {name}", unit(name), "not started at boot\n", "started at boot\n")
        if not self.check_mode:
            systemctl("enable", "--quiet", unit(name))

    def _keep_running(self, worker, revision):
        name = worker["name"]
        if not self.is_active(name):
            refuse_busy_port(worker)
            self._note(f"start {name}", unit(name), "not running\n", "running\n")
        elif self.params["force_restart"] or running_revision(self.states[name].get("MainPID")) != revision:
            self._note(f"restart {name}", unit(name), "running as before\n", "running as wanted\n")
        else:
            return
        if not self.check_mode:
            # one that has given up after many tries may try again
            subprocess.run(["systemctl", "reset-failed", unit(name)], stderr=subprocess.DEVNULL, check=False)
            systemctl("restart", unit(name), seconds=self.params["stop_seconds"] + COMMAND_SECONDS)

    def _note(self, action, header, before, after):
        self.actions.append(action)
        self.diffs.append({"before": before, "after": after, "before_header": header, "after_header": header})


def main():
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "task": {"type": "str", "required": True},
            "migration_id": {"type": "str", "required": True},
            "account": {"type": "str", "required": True},
            "template": {"type": "str", "required": True},
            "workers": {"type": "list", "elements": "dict", "default": []},
            "absent": {"type": "list", "elements": "str", "default": []},
            "stop_seconds": {"type": "int", "default": 45},
            "force_restart": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    params = module.params
    params["template"] = params["template"].rstrip("\n") + "\n"
    os.umask(0o022)
    names = [worker["name"] for worker in params["workers"]] + params["absent"]
    if not all(NAME.fullmatch(name) for name in [*names, params["task"]]):
        module.fail_json(msg=f"One of {names} is not a worker's name.")
    try:
        units = Units(params, module.check_mode)
        units.run()
    except FailedError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"The units of systemd could not be kept: {error}")
    running = [name for name in names if units.is_active(name)]
    module.exit_json(
        changed=bool(units.actions),
        actions=units.actions,
        running=running,
        diff=units.diffs,
        msg="; ".join(units.actions),
    )


if __name__ == "__main__":
    main()
