"""Where playbooks, roles and ansible.cfg lie: in the checkout, or packed into an installed wheel."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kferry.domain.errors import ErrorKind, KferryError

_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Content:
    """The Ansible side of kferry."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "ansible.cfg"

    @property
    def roles(self) -> Path:
        return self.root / "roles"

    def playbook(self, name: str) -> Path:
        """The path of a playbook by its plain name, with or without `.yml`."""
        stem = name.removesuffix(".yml")
        path = self.root / "playbooks" / f"{stem}.yml"
        if not stem.replace("_", "").isalnum() or not path.is_file():
            raise KferryError(f"There is no playbook {name!r} in {self.root}.", kind=ErrorKind.INTERNAL)
        return path

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """What ansible-playbook needs in its environment, on top of `base`."""
        here = str(Path(sys.executable).parent)  # not resolved: a venv's python is a link
        return {
            **base,
            "PATH": os.pathsep.join([here, base.get("PATH", os.defpath)]),
            "ANSIBLE_CONFIG": str(self.config),
            "ANSIBLE_ROLES_PATH": str(self.roles),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORCE_COLOR": "0",
            "PYTHONUNBUFFERED": "1",
            "LC_ALL": "C.UTF-8",
        }


def find_content() -> Content:
    """The wheel's packed content where there is one, else the checkout's."""
    for root in (_PACKAGE / "bundled", _PACKAGE.parents[1]):
        if (root / "playbooks").is_dir() and (root / "roles").is_dir():
            return Content(root)
    raise KferryError(
        "kferry's playbooks and roles were not found.",
        cause=f"Neither {_PACKAGE / 'bundled'} nor {_PACKAGE.parents[1]} has them.",
        next_step="Install kferry again.",
        kind=ErrorKind.INTERNAL,
    )
