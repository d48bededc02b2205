#!/usr/bin/python
"""Collect what explains the state of this machine's workers into one archive, without any secret."""

from __future__ import annotations

import base64
import io
import re
import tarfile
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kferry_gather import rest_login, system_texts, tail, unescape, worker_texts
from ansible.module_utils.kferry_redact import key_names, redact

DOCUMENTATION = r"""
module: kferry_collect
short_description: Collect what explains the state of this machine's workers
description: >-
  Reads configs, logs, states, a thread dump, Connect's REST and the metrics. Secrets are taken out here, before
  anything leaves the machine. Nothing is written; the archive is part of the answer, which the action plugin of the
  same name takes out of it. The only thing a worker notices is the signal by which a JVM tells what its threads do.
options:
  root: {type: path, required: true, description: Folder of all workers}
  all_workers: {type: bool, default: true, description: Every worker here}
  workers: {type: list, elements: str, default: [], description: "Without all_workers, only these"}
  max_bytes: {type: int, default: 8388608, description: Largest archive; what doesn't fit is left out and named}
"""
EXAMPLES = r"""
- name: Collect
  kferry_collect:
    root: /opt/kferry
"""
RETURN = r"""
archive: {type: str, returned: always, description: The archive (tar.gz) in base64}
files: {type: list, returned: always, description: Names of the files in it}
left_out: {type: list, returned: always, description: Names of files that did not fit}
"""

NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
SECRET_FILES = ("secrets.properties", "rest.users", "rest.jaas")


def known_secrets(task_folders):
    """Every value that stands in a file of secrets here, as written and as read."""
    found = set()
    for folder in task_folders:
        for name in SECRET_FILES[:2]:
            for line in (tail(folder / name) or "").splitlines():
                parts = re.split(r"(?<!\\)[=:]", line, maxsplit=1)
                if len(parts) == 2 and not line.startswith("#"):
                    found |= {parts[1], parts[1].strip(), unescape(parts[1].strip())}
    return found


def order(name):
    """Small and telling files come first; logs fill what is left."""
    return ("/logs/" in name, name.endswith("journal.txt"), name)


def pack(texts, secrets, max_bytes):
    """A tar.gz of the redacted texts below the limit; and the names of what is in it and what is not."""
    buffer, files, left_out = io.BytesIO(), [], []
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=6) as archive:
        for name in sorted(texts, key=order):
            content = redact(texts[name], secrets).encode("utf-8", "replace")
            # what is not compressed yet counts in full: rather too little than too much
            if buffer.tell() + len(content) // 4 > max_bytes:
                left_out.append(name)
                continue
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(content), int(time.time()), 0o600
            archive.addfile(entry, io.BytesIO(content))
            files.append(name)
    return buffer.getvalue(), files, left_out


def texts_of(root, wanted):
    """All texts by name, not redacted yet; and the secrets that are known here."""
    task_folders = sorted(path for path in root.glob("tasks/*") if path.is_dir() and not path.is_symlink())
    texts = system_texts(root)
    for folder in task_folders:
        for name in SECRET_FILES:
            content = tail(folder / name)
            if content is not None:
                texts[f"tasks/{folder.name}/{name}"] = key_names(content)
    logins = rest_login(task_folders)
    for properties in sorted(root.glob("*/worker.properties")):
        folder = properties.parent
        if not NAME.fullmatch(folder.name) or folder.is_symlink() or (wanted is not None and folder.name not in wanted):
            continue
        own = [(user, password) for task, user, password in logins if folder.name.rpartition("-")[0] == task]
        is_systemd = Path(f"/etc/systemd/system/kferry-worker@{folder.name}.service.d").is_dir()
        texts.update(worker_texts(folder, is_systemd, own[0] if own else None))
    return texts, known_secrets(task_folders)


def main():
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "all_workers": {"type": "bool", "default": True},
            "workers": {"type": "list", "elements": "str", "default": []},
            "max_bytes": {"type": "int", "default": 8 * 1024 * 1024},
        },
        supports_check_mode=True,
    )
    wanted = None if module.params["all_workers"] else set(module.params["workers"])
    try:
        texts, secrets = texts_of(Path(module.params["root"]), wanted)
        archive, files, left_out = pack(texts, secrets, module.params["max_bytes"])
    except OSError as error:
        module.fail_json(msg=f"The diagnostics of this host could not be collected: {error}")
    module.exit_json(changed=False, archive=base64.b64encode(archive).decode(), files=files, left_out=left_out)


if __name__ == "__main__":
    main()
