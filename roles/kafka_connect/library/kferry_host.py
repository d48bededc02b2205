#!/usr/bin/python
"""Claim a host for one play, prepare the folders and the account of a task, and give the host back."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kferry_account import account_of, is_owned, own_folder
from ansible.module_utils.kferry_files import mode_of, read_text, write_whole

DOCUMENTATION = r"""
module: kferry_host
short_description: Claim a host for one play and prepare it for a task
description: >-
  A play is many processes, so its claim is a file (root/.lock) with who holds it and until when, written atomically. It
  is taken over when its time has passed, when it is our own, or when its run is known to be dead. A root that belongs
  to another migration is refused by name.
options:
  root: {type: path, required: true, description: Folder of all workers}
  state: {type: str, choices: [claimed, released, vacated], default: claimed, description: What is wanted}
  run: {type: dict, default: {}, description: What the lookup kferry_run says of this play}
  dead_run: {type: str, default: "", description: A run that is known to be dead; its claim is taken over}
  migration_id: {type: str, default: "", description: The migration that owns the root}
  task: {type: str, default: "", description: Name of the migration task}
  account: {type: str, default: "", description: Account of the task; empty means ourselves}
  prepare: {type: bool, default: false, description: Make account and folders}
  lease_seconds: {type: int, default: 1800, description: How long the claim holds without a word from its play}
  wait_seconds: {type: int, default: 0, description: How long to wait for another play}
"""
EXAMPLES = r"""
- name: Claim
  kferry_host:
    root: /opt/kferry
    run: "{{ lookup('kferry_run') }}"
    migration_id: k3f9x2
    task: shop
    account: kferry-shop
    prepare: true
"""
RETURN = r"""
claimed: {type: bool, returned: when claimed, description: Whether the host is ours now}
held_by: {type: dict, returned: when claimed, description: The claim of another play}
"""

POLL_SECONDS = 0.5
ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
TASK = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
NO_LOGIN_SHELLS = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false")


class RefusedError(Exception):
    """A sentence for the operator."""


class Root:
    """The folder of all workers, held by flock while its lock file is read and written."""

    def __init__(self, path):
        self.path = path
        self.lock = path / ".lock"

    def __enter__(self):
        self._descriptor = os.open(str(self.path), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_):
        os.close(self._descriptor)

    def holder(self):
        """The claim that stands, or None where it is missing, unreadable or too old."""
        try:
            found = json.loads(read_text(self.lock) or "")
            return found if float(found["until"]) > time.time() else None
        except (OSError, ValueError, KeyError, TypeError):
            return None


def claim(root, params):
    """Take the claim, waiting where asked; returns the claim of another play, or None when the host is ours."""
    run = params["run"]
    deadline = time.monotonic() + params["wait_seconds"]
    while True:
        with root:
            held = root.holder()
            if held is None or held.get("run") in (run["run"], params["dead_run"] or run["run"]):
                until = time.time() + params["lease_seconds"]
                write_whole(root.lock, json.dumps({**run, "until": until}) + "\n", mode=0o644)
                return None
        if time.monotonic() >= deadline:
            return held
        time.sleep(POLL_SECONDS)


def release(root, run):
    with root:
        try:
            found = json.loads(read_text(root.lock) or "{}")
        except ValueError:
            return
        if found.get("run") == run["run"]:
            root.lock.unlink()


def make_account(name):
    shell = next((shell for shell in NO_LOGIN_SHELLS if Path(shell).exists()), NO_LOGIN_SHELLS[0])
    command = [shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin") or "useradd", "--system", "--user-group"]
    command += ["--no-create-home", "--home-dir", "/nonexistent", "--shell", shell, name]
    answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    if answer.returncode != 0:
        words = answer.stdout.decode(errors="replace").strip()
        raise RefusedError(f"The account {name} could not be made on this host: {words}")


def check_migration(root, migration_id):
    """Refuse a root that another migration owns; True where the mark has to be written."""
    found = (read_text(root / "migration") or "").strip()
    if found and found != migration_id:
        raise RefusedError(
            f"{root} on this host belongs to migration {found!r}, this play to {migration_id!r}. Nothing was changed. "
            "Tear the other migration down there first, or set another worker_root."
        )
    return not found


def prepare(root, params, check_mode):
    """Account, folders and mark of ownership. Returns the lines of what was (or would be) made."""
    made, name = [], params["account"]
    account = account_of(name)
    if name and account is None:
        made.append(f"account {name}")
        if not check_mode:
            make_account(name)
            account = account_of(name)
    shared = 0o755 if name else 0o700
    folders = [(root, None, shared), (root / "versions", None, 0o755), (root / "tasks", None, shared)]
    folders.append((root / "tasks" / params["task"], account, 0o700))
    for path, owner, mode in folders:
        if not is_owned(path, owner, mode):
            made.append(str(path))
            if not check_mode:
                own_folder(path, owner, mode)
    if check_migration(root, params["migration_id"]) or (name and mode_of(root / "migration") != 0o644):
        made.append(f"{root}/migration")
        if not check_mode:
            write_whole(root / "migration", params["migration_id"] + "\n", mode=0o644)
    return made


def vacate(root, params, check_mode):
    """Remove the task's folder and account where no worker of it is left. Logs that were kept keep their account."""
    gone, name = [], params["account"]
    folder = root / "tasks" / params["task"]
    account = account_of(name)
    if folder.is_dir() and not any(folder.iterdir()):
        gone.append(str(folder))
        if not check_mode:
            folder.rmdir()
    if account is None or any(entry.lstat().st_uid == account[0] for entry in (*root.glob("*"), *root.glob("tasks/*"))):
        return gone
    gone.append(f"account {name}")
    if not check_mode:
        userdel = shutil.which("userdel", path="/usr/sbin:/sbin:/usr/bin:/bin") or "userdel"
        answer = subprocess.run(
            [userdel, name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False
        )
        if answer.returncode != 0:
            words = answer.stdout.decode(errors="replace").strip()
            raise RefusedError(f"The account {name} could not be removed from this host: {words}")
    return gone


def words_of(held):
    """Who holds the host, as a sentence that names the way on."""
    left = max(1, int(float(held.get("until", 0)) - time.time()))
    return (
        f"This host is being changed by {held.get('holder', 'another play')}. Wait for that play, then run this again; "
        f"if it is gone for good, its claim ends by itself in {left} s."
    )


def diff_of(before, after):
    lines = "".join(line + "\n" for line in before), "".join(line + "\n" for line in after)
    return {"before": lines[0], "after": lines[1], "before_header": "host", "after_header": "host"}


def run_claim(module, root):
    params = module.params
    if not params["prepare"] and not root.is_dir():
        module.exit_json(changed=False, claimed=True)  # nothing of ours is here, and nothing will be
    check_migration(root, params["migration_id"])
    if module.check_mode:
        made = prepare(root, params, check_mode=True) if params["prepare"] else []
        module.exit_json(changed=bool(made), claimed=True, diff=diff_of([], made))
    made = []
    if not root.is_dir():
        own_folder(root, None, 0o755 if params["account"] else 0o700)
        made.append(str(root))
    held = claim(Root(root), params)
    if held is not None:
        if params["wait_seconds"]:
            raise RefusedError(words_of(held))
        module.exit_json(changed=bool(made), claimed=False, held_by=held)
    if params["prepare"]:
        made += prepare(root, params, check_mode=False)
    module.exit_json(changed=bool(made), claimed=True, diff=diff_of([], made))


def main():
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "state": {"type": "str", "default": "claimed", "choices": ["claimed", "released", "vacated"]},
            "run": {"type": "dict", "default": {}},
            "dead_run": {"type": "str", "default": ""},
            "migration_id": {"type": "str", "default": ""},
            "task": {"type": "str", "default": ""},
            "account": {"type": "str", "default": ""},
            "prepare": {"type": "bool", "default": False},
            "lease_seconds": {"type": "int", "default": 1800},
            "wait_seconds": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    params, root = module.params, Path(module.params["root"])
    if params["state"] != "released" and not TASK.fullmatch(params["task"]):
        module.fail_json(msg=f"{params['task']!r} is not a task's name.")
    if params["account"] and not ACCOUNT.fullmatch(params["account"]):
        module.fail_json(msg=f"{params['account']!r} is not the name of an account.")
    os.umask(0o022 if params["account"] else 0o077)
    try:
        if params["state"] == "claimed":
            run_claim(module, root)
        if params["state"] == "vacated":
            gone = vacate(root, params, module.check_mode) if root.is_dir() else []
            module.exit_json(changed=bool(gone), diff=diff_of(gone, []))
        if root.is_dir() and not module.check_mode:
            release(Root(root), params["run"])
    except RefusedError as error:
        module.fail_json(msg=str(error))
    except (OSError, subprocess.SubprocessError) as error:
        module.fail_json(msg=f"{root} on this host could not be prepared: {error}")
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
