"""The controller's half of kferry_probe: hands over what to probe, measures the clock, writes the report."""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*")
ROLES = ("source", "target")
SECRETS = ("PASSWORD", "CA", "CERTIFICATE", "KEY")
CLOCK_READINGS = 3
FACTS = (
    "os", "os_version", "architecture", "python", "systemd", "sudo", "cpu_count", "memory_bytes", "free_memory_bytes",
    "free_disk_bytes", "clock_offset_seconds", "java_version", "busy_ports", "migration", "workers",
)  # fmt: skip


class ActionModule(ActionBase):
    """Runs the module on the host and keeps its report in the migration directory."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset(("root", "folder", "java_min_version", "python", "sudo"))

    def run(self, tmp=None, task_vars=None):
        task_vars = task_vars or {}
        result = super().run(tmp, task_vars)
        arguments = self._task.args
        host = task_vars["inventory_hostname"]
        if not HOST.fullmatch(host):
            raise AnsibleActionFail(f"{host!r} can't be the name of a report; rename the host.")
        folder = Path(arguments["folder"])
        try:
            request = _request(folder, task_vars)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise AnsibleActionFail(f"{folder / 'fleet.json'} can't be read: {error}") from error
        facts = dict.fromkeys(FACTS)
        measured = self._execute_module(
            module_name="kferry_probe",
            module_args={
                "root": arguments["root"],
                "java_min_version": arguments["java_min_version"],
                "python": arguments.get("python") or "",
                **request,
                "secrets": {
                    role: {name.lower(): os.environ.get(f"KFERRY_SECRET_{role.upper()}_{name}", "") for name in SECRETS}
                    for role in ROLES
                },
            },
            task_vars=task_vars,
        )
        if measured.get("unreachable"):
            return {**result, **measured}
        facts.update({name: value for name, value in measured.get("facts", {}).items() if name in facts})
        facts["sudo"] = arguments.get("sudo")
        facts["clock_offset_seconds"] = self._clock_offset_seconds()
        if "facts" not in measured:
            facts["python"] = self._python()
        report = {
            "schema": 1,
            "host": host,
            "measured_at_ms": int(time.time() * 1000),
            "facts": facts,
            "brokers": measured.get("brokers", []),
        }
        _write(folder / "fleet", f"{host}.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")
        if "facts" not in measured:
            words = measured.get("module_stderr") or measured.get("msg") or "no answer"
            return {**result, "failed": True, "msg": f"{host} could not be measured: {words}"}
        refused = sum(not broker["ok"] for broker in report["brokers"])
        words = f"{len(report['brokers'])} brokers probed, {refused} of them can't be used from here."
        return {**result, "changed": False, "msg": words, "report": report}

    def _clock_offset_seconds(self):
        """The host's clock minus ours, by the quickest of a few short exchanges; None where it can't be read."""
        best = None
        for _ in range(CLOCK_READINGS):
            before = time.time()
            started = time.monotonic()
            answer = self._low_level_execute_command("date +%s.%N", sudoable=False)
            took = time.monotonic() - started
            found = re.search(r"^(\d+\.\d+)\s*$", answer.get("stdout") or "", re.MULTILINE)
            if found and (best is None or took < best[0]):
                best = took, float(found.group(1)) - (before + took / 2)
        return None if best is None else round(best[1], 3)

    def _python(self):
        """The version of a Python that is too old to measure anything; "" where there is none at all."""
        answer = self._low_level_execute_command("python3 --version || true", sudoable=False)
        found = re.search(r"Python (\d+\.\d+\.\d+)", (answer.get("stdout") or "") + (answer.get("stderr") or ""))
        return found.group(1) if found else ""


def _request(folder, task_vars):
    """What to probe: .kferry/fleet.json, else the bootstrap servers of clusters.yml."""
    path = folder / "fleet.json"
    if path.is_file():
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.get("schema") != 1:
            raise ValueError("its schema is not 1")
        return {
            "brokers": {role: list(document.get("brokers", {}).get(role, [])) for role in ROLES},
            "security": {role: dict(document.get("security", {}).get(role) or {}) for role in ROLES},
            "ports": [int(port) for port in document.get("ports", [])],
            "samples": {role: list(document.get("samples", {}).get(role) or []) for role in ROLES},
        }
    clusters = task_vars.get("kferry_clusters") or {}
    brokers, security = {}, {}
    for role in ROLES:
        cluster = clusters.get(role) or {}
        servers = cluster.get("bootstrap_servers") or []
        brokers[role] = [str(one).strip() for one in (servers.split(",") if isinstance(servers, str) else servers)]
        username = str(cluster.get("sasl_username") or "")
        security[role] = {
            "protocol": str(cluster.get("security_protocol") or "PLAINTEXT"),
            "mechanism": str(cluster.get("sasl_mechanism") or ""),
            # what only refers to a name is resolved by the engine, which writes it to fleet.json
            "username": "" if username.startswith(("env:", "file:", "command:")) else username,
        }
    return {"brokers": brokers, "security": security, "ports": [], "samples": {role: [] for role in ROLES}}


def _write(folder, name, text):
    """Write a private file so that readers see the old or the new one."""
    for each in (folder.parent, folder):
        each.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    handle, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=folder)  # 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(folder / name)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
