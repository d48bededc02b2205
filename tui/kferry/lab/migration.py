"""Write a migration directory that is ready for this lab; files that are there already are left alone."""

from __future__ import annotations

import secrets
import string
import sys
from pathlib import Path
from typing import Any

import yaml

from kferry.domain.errors import ErrorKind, KferryError
from kferry.lab.home import LabHome
from kferry.store.paths import Layout

_HOOKS = ("stop_consumers", "start_consumers", "stop_producers", "start_producers")


def write(home: LabHome, folder: Path) -> list[Path]:
    """Write what is missing; return the files written."""
    facts = home.read_facts()
    layout = Layout(folder.resolve())
    hook = [sys.executable, "-m", "kferry.lab", "tell", "--home", str(home.root)]
    alphabet = string.ascii_lowercase + string.digits
    documents: dict[Path, Any] = {
        layout.settings: {
            "schema": 1,
            "migration_id": "".join(secrets.choice(alphabet) for _ in range(6)),
            "name": "demo",
            "owner_hooks": {action: list(hook) for action in _HOOKS},
        },
        layout.inventory / "hosts.yml": {
            "kferry_workers": {
                "hosts": {
                    "local-1": {
                        "ansible_connection": "local",
                        "ansible_python_interpreter": sys.executable,
                    }
                }
            }
        },
        layout.clusters: {
            "kferry_clusters": {
                cluster: {
                    "kind": "apache_kafka",
                    "bootstrap_servers": facts[cluster]["bootstrap_servers"],
                    "security_protocol": "PLAINTEXT",
                }
                for cluster in ("source", "target")
            }
        },
    }
    try:
        return [path for path, document in documents.items() if _write_new(path, document)]
    except OSError as error:
        raise KferryError(
            f"The migration directory {folder} cannot be written.",
            cause=f"{error.strerror}: {error.filename}.",
            next_step="Choose another folder, or make room.",
            kind=ErrorKind.USAGE,
        ) from error


def _write_new(path: Path, document: Any) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.dump(document, Dumper=_PlainDumper, sort_keys=False, width=200)
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        return False
    return True


class _PlainDumper(yaml.SafeDumper):
    """Repeats equal lists instead of pointing at the first with an anchor."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
