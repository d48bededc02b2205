#!/usr/bin/python
"""Unpack a Java runtime's archive into a version folder; a half-copied or unsafe archive is never used."""

from __future__ import annotations

import os
import posixpath
import re
import tarfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kferry_archive import install, is_installed, prune, write_entry

DOCUMENTATION = r"""
module: kferry_jre
short_description: Unpack the archive of a Java runtime
description: >-
  The folder versions/jre-<hash> gets its name only when the archive's SHA-256 was right, everything is unpacked and
  bin/java is in it. Without an archive the module only tells whether it is there. Entries that are absolute, lead
  outside, or are neither file, folder nor link are refused.
options:
  root: {type: path, required: true, description: Folder of all workers}
  sha256: {type: str, required: true, description: Hash of the archive}
  archive: {type: path, description: The archive on this host (tar, tar.gz or tar.xz)}
"""
EXAMPLES = r"""
- name: Unpack
  kferry_jre:
    root: /opt/kferry
    sha256: 0123abcd
    archive: /opt/kferry/incoming-jre.tar
"""
RETURN = r"""
installed: {type: bool, returned: always, description: Whether it is there now}
home: {type: str, returned: always, description: Home of the runtime}
"""


def is_inside(name):
    """Whether a path stays within the folder it is relative to."""
    return not name.startswith("/") and ".." not in posixpath.normpath(name).split("/")


def check_entry(entry):
    """Refuse what would reach outside of the folder, or is no plain part of a runtime."""
    target = entry.linkname
    if entry.issym():
        target = posixpath.join(posixpath.dirname(entry.name), entry.linkname)
        if entry.linkname.startswith("/"):
            target = entry.linkname
    is_link = entry.issym() or entry.islnk()
    if (
        not (entry.isreg() or entry.isdir() or is_link)
        or not is_inside(entry.name)
        or (is_link and not is_inside(target))
    ):
        raise ValueError(f"{entry.name!r} does not belong into the archive of a Java runtime")


def home_in(folder):
    """Where bin/java lies: in the folder, or in its only subfolder (as vendors pack it)."""
    for home in (folder, *sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())):
        if os.access(str(home / "bin" / "java"), os.X_OK):
            return home
    raise ValueError("it holds no bin/java")


def fill(content, staging):
    """Files and folders as they come, links last, so that nothing is written through them."""
    links = []
    for entry in content:
        check_entry(entry)
        path = staging / entry.name
        if entry.issym():
            links.append((path, entry.linkname))
        elif entry.isdir():
            path.mkdir(parents=True, exist_ok=True)
        else:
            write_entry(content, entry, path)
            path.chmod(0o755 if entry.mode & 0o100 else 0o644)
    for path, linkname in links:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(linkname)
    home_in(staging)


def main():
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "sha256": {"type": "str", "required": True},
            "archive": {"type": "path"},
        },
        supports_check_mode=True,
    )
    sha256 = module.params["sha256"]
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        module.fail_json(msg=f"{sha256!r} is not a SHA-256.")
    target = Path(module.params["root"]) / "versions" / f"jre-{sha256[:8]}"
    try:
        if is_installed(target, sha256):
            module.exit_json(changed=False, installed=True, home=str(home_in(target)))
        if module.params["archive"] is None or module.check_mode:
            wanted = module.params["archive"] is not None
            module.exit_json(changed=wanted, installed=False, home=str(target))
        install(Path(module.params["archive"]), sha256, target, fill)
        prune(Path(module.params["root"]), "jre-*", target)
    except (OSError, tarfile.TarError, ValueError, KeyError, EOFError) as error:
        module.fail_json(
            msg=f"The archive of Java could not be unpacked into {target}: {error}. Nothing was activated."
        )
    module.exit_json(changed=True, installed=True, home=str(home_in(target)))


if __name__ == "__main__":
    main()
