#!/usr/bin/python
"""Take everything of one migration off this machine, in an order in which an interrupted try can be repeated."""

from __future__ import annotations

import fcntl
import grp
import json
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: kferry_teardown
short_description: Take everything of one migration off this machine
description: >-
  Ends the workers, keeps their logs where asked, and removes units, accounts and the root folder. A root without the
  mark of this migration is refused, and so is one that another play is changing. Java packages stay.
options:
  root: {type: path, required: true, description: Folder of all workers}
  migration_id: {type: str, required: true, description: The migration that must own the root}
  service_manager: {type: str, choices: [supervisor, systemd], required: true, description: What runs the workers}
  keep_logs: {type: bool, default: false, description: Move the workers' logs away instead of removing them}
  logs_folder: {type: path, required: true, description: Where kept logs go, in a folder named by migration and date}
  run: {type: dict, required: true, description: What the lookup kferry_run says of this play}
  dead_run: {type: str, default: "", description: A run that is known to be dead; its claim doesn't count}
  look: {type: bool, default: false, description: Only tell who holds the host}
"""
EXAMPLES = r"""
- name: Tear down
  kferry_teardown:
    root: /opt/kferry
    migration_id: k3f9x2
    service_manager: systemd
    logs_folder: /var/log
    run: "{{ lookup('kferry_run') }}"
"""
RETURN = r"""
actions: {type: list, returned: always, description: What was done, or would be in check mode}
held_by: {type: dict, returned: always, description: The claim of another play, or empty}
"""

UNITS = Path("/etc/systemd/system")
UNIT_FOLDER = re.compile(r"kferry-worker@([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)\.service\.d")
ACCOUNT = re.compile(r"kferry-[a-z0-9-]{1,24}")
MIGRATION = re.compile(r"[a-z0-9]{6}")
# what an installation that was cut off before it left its mark may have made
UNMARKED = frozenset(("versions", "tasks", ".lock"))
STOP_SECONDS = 120
COMMAND_SECONDS = 60
POLL_SECONDS = 0.2


class RefusedError(Exception):
    """A sentence for the operator."""


def run(*command, seconds=COMMAND_SECONDS, ignore=False):
    """Run a command; its own words are the error."""
    try:
        answer = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
            env={**os.environ, "LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
    except subprocess.TimeoutExpired as error:
        raise RefusedError(f"{' '.join(command)} did not end within {seconds} s. Run the teardown again.") from error
    if answer.returncode and not ignore:
        words = " ".join(answer.stdout.decode(errors="replace").split())
        raise RefusedError(f"{' '.join(command)} failed: {words or answer.returncode}")


def text_of(path):
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def check_owner(root, migration_id):
    """Refuse a root that isn't there as a plain folder of this migration."""
    if not MIGRATION.fullmatch(migration_id):
        raise RefusedError(f"{migration_id!r} is not a migration_id; kferry.yml names it.")
    if len(root.parts) < 3 or ".." in root.parts:
        raise RefusedError(f"{root} is not a folder that kferry may remove.")
    if root.is_symlink():
        raise RefusedError(f"{root} is a link; kferry never makes one. Remove it by hand.")
    if not root.is_dir():
        return
    owner = (text_of(root / "migration") or "").strip()
    if owner and owner != migration_id:
        raise RefusedError(
            f"{root} on this host belongs to migration {owner!r}, this play to {migration_id!r}. Nothing was changed. "
            "Run the teardown from that migration's directory."
        )
    strange = sorted(entry.name for entry in root.iterdir() if entry.name not in UNMARKED)
    if not owner and strange:
        raise RefusedError(
            f"{root} on this host has no mark of a migration but holds {', '.join(map(repr, strange[:5]))}. "
            "Nothing was changed. Look at it, and remove it by hand if it is not needed."
        )


def holder(root, run_id, dead_run):
    """The claim of another play that stands, or {}."""
    try:
        found = json.loads(text_of(root / ".lock") or "")
        alive = float(found["until"]) > time.time() and found["run"] not in (run_id, dead_run)
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if alive else {}


class Machine:
    """What there is of this migration, and the taking away of it."""

    def __init__(self, root, params, check_mode):
        self.root = root
        self.params = params
        self.check_mode = check_mode
        self.actions = []
        self.is_systemd = params["service_manager"] == "systemd"

    def tear_down(self):
        units = self._units() if self.is_systemd else {}
        accounts = self._accounts(units) if self.is_systemd else []
        for name in units:
            self._do(f"end worker {name}", lambda name=name: self._end(name))
        if not self.is_systemd:
            self._end_supervisor()
        if self.params["keep_logs"]:
            self._keep_logs()
        for name in accounts:
            self._do(f"remove account {name}", lambda name=name: remove_account(name))
        for name, folder in units.items():
            self._do(f"remove unit kferry-worker@{name}.service", lambda folder=folder: shutil.rmtree(str(folder)))
        self._remove_template(units)
        if self.root.is_dir():
            self._do(f"remove {self.root}", self._remove_root)

    def _do(self, words, act):
        self.actions.append(words)
        if not self.check_mode:
            act()

    def _units(self):
        """Folder of each worker's own unit file, by worker; only of those that name this root."""
        found = {}
        for folder in sorted(UNITS.glob("kferry-worker@*.service.d")):
            matched = UNIT_FOLDER.fullmatch(folder.name)
            if matched and f"root {self.root}\n" in (text_of(folder / "kferry.conf") or ""):
                found[matched.group(1)] = folder
        return found

    def _accounts(self, units):
        """Accounts of kferry's tasks here: those of the units and those that own folders below the root."""
        names = set()
        for folder in units.values():
            names |= set(re.findall(r"^User=(\S+)$", text_of(folder / "kferry.conf") or "", re.MULTILINE))
        for entry in (*self.root.glob("*"), *self.root.glob("tasks/*")):
            try:
                names.add(pwd.getpwuid(entry.lstat().st_uid).pw_name)
            except (KeyError, OSError):
                continue
        return sorted(name for name in names if is_ours(name))

    @staticmethod
    def _end(name):
        run("systemctl", "disable", "--quiet", f"kferry-worker@{name}.service", ignore=True)
        run("systemctl", "stop", f"kferry-worker@{name}.service", seconds=STOP_SECONDS)
        run("systemctl", "reset-failed", f"kferry-worker@{name}.service", ignore=True)

    def _remove_template(self, units):
        others = {folder.name for folder in UNITS.glob("kferry-worker@*.service.d")} - {
            folder.name for folder in units.values()
        }
        template = UNITS / "kferry-worker@.service"
        if self.is_systemd and not others and template.exists():
            self._do("remove unit kferry-worker@.service", template.unlink)
        if self.is_systemd and self.actions and not self.check_mode:
            run("systemctl", "daemon-reload")

    def _end_supervisor(self):
        """Our supervisord ends its workers before it ends itself."""
        config = str(self.root / "supervisor" / "supervisord.conf").encode()
        try:
            pid = int((text_of(self.root / "supervisor" / "supervisord.pid") or "").strip())
        except ValueError:
            return
        if has_word(pid, config):
            self._do("end supervisord and its workers", lambda: end_process(pid, config))

    def _keep_logs(self):
        folders = [path for path in sorted(self.root.glob("*/logs")) if is_plain_folder(path) and any(path.iterdir())]
        if not folders:
            return
        name = f"kferry-{self.params['migration_id']}-{time.strftime('%Y-%m-%d')}"
        target, number = Path(self.params["logs_folder"]) / name, 2
        while target.exists():
            target, number = target.with_name(f"{name}-{number}"), number + 1
        self._do(f"keep the logs in {target}", lambda: move_logs(folders, target))

    def _remove_root(self):
        """The mark goes last: whoever comes back after an interruption must find out whose this is."""
        for entry in self.root.iterdir():
            if entry.name == "migration":
                continue
            if is_plain_folder(entry):
                shutil.rmtree(str(entry))
            else:
                entry.unlink()
        if (self.root / "migration").exists():
            (self.root / "migration").unlink()
        self.root.rmdir()


def is_ours(name):
    """Whether an account is one that kferry made: by name, without a home and without a way to log in."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return False
    return bool(ACCOUNT.fullmatch(name)) and entry.pw_uid and entry.pw_shell.endswith(("nologin", "false"))


def remove_account(name):
    run("userdel", name)
    try:
        grp.getgrnam(name)
    except KeyError:
        return
    run("groupdel", name)  # where USERGROUPS_ENAB is off it stays behind


def is_plain_folder(path):
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def move_logs(folders, target):
    """Move what the workers wrote to a folder of ours alone; links among it are not followed."""
    target.mkdir(mode=0o750, parents=True)
    for folder in folders:
        moved = target / folder.parent.name
        shutil.move(str(folder), str(moved))
        for path in (moved, *moved.rglob("*")):
            os.chown(str(path), os.geteuid(), os.getegid(), follow_symlinks=False)


def has_word(pid, word):
    try:
        return word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def end_process(pid, word):
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while has_word(pid, word):
        if time.monotonic() > deadline:
            raise RefusedError(f"supervisord {pid} does not end within {STOP_SECONDS} s. Nothing was removed.")
        time.sleep(POLL_SECONDS)


def main():
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "migration_id": {"type": "str", "required": True},
            "service_manager": {"type": "str", "required": True, "choices": ["supervisor", "systemd"]},
            "keep_logs": {"type": "bool", "default": False},
            "logs_folder": {"type": "path", "required": True},
            "run": {"type": "dict", "required": True},
            "dead_run": {"type": "str", "default": ""},
            "look": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    params, root = module.params, Path(os.path.normpath(module.params["root"]))
    machine = Machine(root, params, module.check_mode)
    descriptor = None
    try:
        check_owner(root, params["migration_id"])
        if root.is_dir():
            descriptor = os.open(str(root), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        held = holder(root, params["run"].get("run"), params["dead_run"])
        if params["look"]:
            module.exit_json(changed=False, actions=[], held_by=held)
        if held:
            raise RefusedError(
                f"This host is being changed by {held.get('holder', 'another play')}. "
                "Wait for that play, then run this again."
            )
        machine.tear_down()
    except RefusedError as error:
        module.fail_json(msg=str(error), actions=machine.actions)
    except (OSError, shutil.Error) as error:
        module.fail_json(msg=f"{root} could not be taken down whole: {error}. Run it again.", actions=machine.actions)
    finally:
        if descriptor is not None:
            os.close(descriptor)
    lines = "".join(f"{action}\n" for action in machine.actions)
    module.exit_json(
        changed=bool(machine.actions),
        actions=machine.actions,
        held_by={},
        msg="; ".join(machine.actions) or "Nothing of this migration is left here.",
        diff={"before": lines, "after": "", "before_header": "to do", "after_header": "to do"},
    )


if __name__ == "__main__":
    main()
