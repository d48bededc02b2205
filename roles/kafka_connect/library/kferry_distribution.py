#!/usr/bin/python
"""Unpack the Kafka archive into a version folder; a half-copied or changed archive is never used."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kferry_archive import install, is_installed, prune, write_entry

DOCUMENTATION = r"""
module: kferry_distribution
short_description: Unpack the Kafka archive into a version folder
description: >-
  The folder gets its name only when every file is in it and the archive's SHA-256 was right. Older versions that no
  worker links to go then. Without an archive the module only tells whether the version is there.
options:
  root: {type: path, required: true, description: Folder of all workers}
  name: {type: str, required: true, description: Name of the version folder}
  sha256: {type: str, required: true, description: Hash of the archive}
  archive: {type: path, description: The archive on this host}
"""
EXAMPLES = r"""
- name: Unpack
  kferry_distribution:
    root: /opt/kferry
    name: kafka-3.9.2-0123abcd
    sha256: 0123abcd
    archive: /opt/kferry/incoming.tar
"""
RETURN = r"""
installed: {type: bool, returned: always, description: Whether the version is there now}
removed: {type: list, returned: when a version was unpacked, description: Older versions that no worker used any more}
"""

JAR = re.compile(r"(?:libs|agents|extras/msk-iam)/[A-Za-z0-9][A-Za-z0-9._+-]*\.jar")


def fill(content, staging):
    """Only VERSION and jars in known folders are taken, as plain files."""
    for entry in content:
        if not (entry.isreg() and (entry.name == "VERSION" or JAR.fullmatch(entry.name))):
            raise ValueError(f"{entry.name!r} does not belong into the archive")
        write_entry(content, entry, staging / entry.name)


def main():
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "name": {"type": "str", "required": True},
            "sha256": {"type": "str", "required": True},
            "archive": {"type": "path"},
        },
        supports_check_mode=True,
    )
    name, sha256 = module.params["name"], module.params["sha256"]
    if not re.fullmatch(r"kafka-[0-9A-Za-z.-]+", name) or not re.fullmatch(r"[0-9a-f]{64}", sha256):
        module.fail_json(msg=f"{name!r} with hash {sha256!r} is not a Kafka version.")
    target = Path(module.params["root"]) / "versions" / name
    if is_installed(target, sha256):
        module.exit_json(changed=False, installed=True)
    if module.params["archive"] is None:
        module.exit_json(changed=False, installed=False)
    diff = {"before": "", "after": f"{target}\n"}
    if module.check_mode:
        module.exit_json(changed=True, installed=False, diff=diff)
    try:
        install(Path(module.params["archive"]), sha256, target, fill)
        removed = prune(Path(module.params["root"]), "kafka-*", target)
    except (OSError, tarfile.TarError, ValueError) as error:
        module.fail_json(msg=f"The Kafka archive could not be unpacked into {target}: {error}. Nothing was activated.")
    diff["before"] = "".join(f"{target.parent / old}\n" for old in removed)
    module.exit_json(changed=True, installed=True, removed=removed, diff=diff)


if __name__ == "__main__":
    main()
