"""The controller's half of kferry_collect: takes the archive out of the answer and keeps it beside the bundle."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*")


def parts_folder(folder):
    """Where this play (our parent process) lays the parts of its bundle."""
    return Path(folder) / f"diagnostics-{os.getppid()}.parts"


class ActionModule(ActionBase):
    """Runs the module on the host; the archive doesn't become part of the play's results."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset(("root", "all_workers", "workers", "max_bytes", "folder"))

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        host, folder = task_vars["inventory_hostname"], parts_folder(arguments.pop("folder"))
        if not HOST.fullmatch(host):
            raise AnsibleActionFail(f"{host!r} can't be the name of a part; rename the host.")
        answer = self._execute_module(module_name="kferry_collect", module_args=arguments, task_vars=task_vars)
        content = answer.pop("archive", None)
        if content is None:
            return {**result, **answer}
        data = base64.b64decode(content)
        for each in (folder.parent, folder):
            each.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(folder / f"{host}.tar.gz", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        count, left_out = len(answer.get("files", ())), answer.get("left_out", [])
        words = f"{count} files, {len(data)} bytes" + (f"; {len(left_out)} did not fit" if left_out else "")
        return {**result, "changed": False, "msg": words, "files": answer.get("files", []), "left_out": left_out}
