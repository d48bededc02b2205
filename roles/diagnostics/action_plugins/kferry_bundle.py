"""Make one archive of what was collected from all machines, on the controller; machines without a part are named."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import tempfile
import time
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Needs no connection: everything is here already."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset(("path", "folder", "hosts", "collected"))

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        arguments = self._task.args
        path = Path(arguments["path"])
        folder = Path(arguments["folder"]) / f"diagnostics-{os.getppid()}.parts"
        if not path.is_absolute() or not path.name.endswith(".tar.gz"):
            raise AnsibleActionFail(f"kferry_bundle must be an absolute path that ends with .tar.gz, not {path}.")
        hosts = {host: _part(folder, host, arguments["collected"].get(host) or {}) for host in arguments["hosts"]}
        manifest = {"schema": 1, "made_at_ms": int(time.time() * 1000), "hosts": hosts}
        try:
            _write(path, folder, manifest)
        except OSError as error:
            raise AnsibleActionFail(f"{path} could not be written: {error}") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        missing = sorted(host for host, part in hosts.items() if not part["collected"])
        words = f"{path}: {path.stat().st_size} bytes" + (f"; without {', '.join(missing)}" if missing else "")
        return {**result, "changed": False, "msg": words, "path": str(path), "missing": missing}


def _part(folder, host, collected):
    """What the manifest says of one machine."""
    if (folder / f"{host}.tar.gz").is_file():
        return {"collected": True, "files": len(collected.get("files", [])), "left_out": collected.get("left_out", [])}
    return {
        "collected": False,
        "why": "It could not be reached, or the collecting failed there; see the play's output.",
    }


def _write(path, folder, manifest):
    """All parts in one archive below <bundle>/<host>/; only plain files are taken over."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    top = path.name[: -len(".tar.gz")]
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600
    try:
        with os.fdopen(handle, "wb") as stream:
            with tarfile.open(fileobj=stream, mode="w:gz") as bundle:
                text = json.dumps(manifest, indent=2, ensure_ascii=False).encode() + b"\n"
                _add(bundle, f"{top}/manifest.json", text)
                for part in sorted(folder.glob("*.tar.gz")) if folder.is_dir() else ():
                    with tarfile.open(part, "r:gz") as archive:
                        for entry in archive:
                            if entry.isreg() and not entry.name.startswith("/") and ".." not in Path(entry.name).parts:
                                content = archive.extractfile(entry)
                                host = part.name[: -len(".tar.gz")]
                                _add(bundle, f"{top}/{host}/{entry.name}", content.read() if content else b"")
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _add(bundle, name, content):
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = len(content), int(time.time()), 0o600
    bundle.addfile(entry, io.BytesIO(content))
