#!/usr/bin/python
"""Keep the files of Connect workers: properties, logging, JVM arguments, and a revision that says when to restart."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kferry_account import account_of, acting_as, own_folder
from ansible.module_utils.kferry_files import mode_of, properties_text, read_text, write_whole

DOCUMENTATION = r"""
module: kferry_worker
short_description: Keep the files of Connect workers
description: >-
  Writes worker.properties (0600), log4j.properties, java.args and jmx_exporter.yml of each worker whose state is
  started, and the link `current` to its Kafka version; `previous` is the version before. For absent workers the folder
  is removed; its logs stay unless asked.
options:
  root: {type: path, required: true, description: Folder of all workers}
  version: {type: str, required: true, description: Name of the Kafka version's folder}
  java_home: {type: path, required: true, description: Home of the Java runtime}
  jvm_options: {type: list, elements: str, default: [], description: Further options of the JVM}
  workers: {type: list, elements: dict, required: true, description: The workers as in the task file}
  references: {type: list, elements: list, default: [], description: Files of secrets, and keys}
  account: {type: str, default: "", description: Account of the workers; empty means ourselves}
  task_folder: {type: path, description: Folder of the task's secrets}
  rest_auth: {type: str, choices: [none, basic], default: none, description: Whether Connect's REST asks for an account}
  extras: {type: list, elements: str, default: [], description: Folders below extras/ for the class path}
  exporter_config: {type: str, default: "", description: Config of the exporter of metrics}
  rollback: {type: bool, default: false, description: Go from `version` back to what `previous` points at}
  remove_logs: {type: bool, default: false, description: Remove the logs of absent workers too}
"""
EXAMPLES = r"""
- name: Configure
  kferry_worker:
    root: /opt/kferry
    version: kafka-3.9.2-0123abcd
    java_home: /usr/lib/jvm/java-17
    workers: [{name: shop-1, state: started, heap_bytes: 536870912, properties: {group.id: shop}}]
"""
RETURN = r"""
workers: {type: list, returned: always, description: Name, folder, command and revision of each started worker}
differs: {type: bool, returned: always, description: Whether something was, or would have been, changed}
"""

NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
RESERVED = ("versions", "tasks", "supervisor", "migration")
MAIN_CLASS = "org.apache.kafka.connect.cli.ConnectDistributed"
START_HEAP_BYTES = 256 * 1024 * 1024
BESIDE_HEAP_BYTES = 512 * 1024 * 1024
SECURITY_FLAGS = (
    # config values may name files only through the file provider
    "-Dorg.apache.kafka.automatic.config.providers=org.apache.kafka.common.config.provider.FileConfigProvider",
    # no token endpoints: kferry uses none, and an open list reads any URL
    "-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=",
    "-Dorg.apache.kafka.disallowed.login.modules="
    "com.sun.security.auth.module.JndiLoginModule,com.sun.security.auth.module.LdapLoginModule",
)


def memory_limit_bytes(heap_bytes):
    """What a worker's process may use: its heap, and beside it metaspace, code, threads and buffers of the network."""
    return heap_bytes + heap_bytes // 4 + BESIDE_HEAP_BYTES


def java_args(folder, worker, version_folder, params):
    """The arguments of the JVM, one a line, for java's @file."""
    heap_bytes = int(worker["heap_bytes"])
    class_path = [f"{folder}/current/libs/*", *(f"{folder}/current/extras/{name}/*" for name in params["extras"])]
    arguments = [
        f"-Xms{min(START_HEAP_BYTES, heap_bytes)}",
        f"-Xmx{heap_bytes}",
        "-XX:+UseG1GC",
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true",
        f"-Dlog4j.configuration=file:{folder}/log4j.properties",
        *SECURITY_FLAGS,
        *agent_arguments(folder, worker, version_folder),
    ]
    if params["rest_auth"] == "basic":
        arguments.append(f"-Djava.security.auth.login.config={params['task_folder']}/rest.jaas")
    arguments += [*params["jvm_options"], "-cp", ":".join(class_path), MAIN_CLASS, f"{folder}/worker.properties"]
    return "".join(quoted(argument) + "\n" for argument in arguments)


def agent_arguments(folder, worker, version_folder):
    """The exporter of metrics, on the worker's own address; none where the distribution has no agent."""
    port = int(worker.get("metrics_port") or 0)
    agents = sorted(version_folder.glob("agents/jmx_prometheus_javaagent-*.jar"))
    if not port or not agents:
        return []
    host = worker["rest_host"]
    host = f"[{host}]" if ":" in host else host
    return [f"-javaagent:{folder}/current/agents/{agents[-1].name}={host}:{port}:{folder}/jmx_exporter.yml"]


def quoted(argument):
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def logging_text(folder):
    """Where and how a worker logs: a file that is rolled over, so that it never fills the disk."""
    return properties_text(
        {
            "log4j.rootLogger": "INFO, file",
            "log4j.appender.file": "org.apache.log4j.RollingFileAppender",
            "log4j.appender.file.File": f"{folder}/logs/worker.log",
            "log4j.appender.file.MaxFileSize": "10MB",
            "log4j.appender.file.MaxBackupIndex": "5",
            "log4j.appender.file.layout": "org.apache.log4j.PatternLayout",
            "log4j.appender.file.layout.ConversionPattern": "%d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %-5p %c{1}: %m%n",
            # reads every class at start and complains about most of them
            "log4j.logger.org.reflections": "ERROR",
        }
    )


class RefusedError(Exception):
    """A sentence for the operator."""


class Keeper:
    """Brings files into their state and remembers the difference."""

    def __init__(self, check_mode):
        self.check_mode = check_mode
        self.changed = False
        self.diffs = []

    def file(self, path, text):
        before = read_text(path)
        if before == text and mode_of(path) == 0o600:
            return
        self._note(path, before or "", text)
        if not self.check_mode:
            write_whole(path, text)

    def folder(self, path):
        if mode_of(path) != 0o700:
            self.changed = True
            if not self.check_mode:
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.chmod(0o700)

    def link(self, path, target):
        before = link_target(path)
        if before == target:
            return
        self._note(path, before and f"-> {before}\n", f"-> {target}\n")
        if not self.check_mode:
            temporary = path.with_name(f".{path.name}.new")
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(target)
            temporary.replace(path)

    def remove(self, path, keep=()):
        """Empty a folder, but for the entries in `keep`. True where nothing is left in it."""
        left = [entry for entry in path.iterdir() if entry.name not in keep]
        kept = any(entry.name in keep for entry in path.iterdir())
        if left or not kept:
            self._note(path, "".join(f"{entry.name}\n" for entry in sorted(left)), "")
        if not self.check_mode:
            for entry in left:
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
        return not kept

    def _note(self, path, before, after):
        self.changed = True
        self.diffs.append({"before": before, "after": after, "before_header": str(path), "after_header": str(path)})


def refuse_missing_extras(version_folder, extras):
    """A distribution of somebody else's making may lack what only some tasks need."""
    for name in extras:
        if version_folder.is_dir() and not any(version_folder.glob(f"extras/{name}/*.jar")):
            raise RefusedError(
                f"This task needs extras/{name}, and the Kafka distribution {version_folder.name} has no such jar. "
                "Use kferry's own distribution, or add the jar to yours."
            )


def link_target(path):
    return os.readlink(path) if path.is_symlink() else ""  # noqa: PTH115  (Python 3.8)


def keep_version(keeper, root, folder, params):
    """The version this worker runs. `previous` keeps what it ran before, for the way back."""
    current, previous = link_target(folder / "current"), link_target(folder / "previous")
    wanted = f"../versions/{params['version']}"
    if params["rollback"]:
        # safe to repeat: a worker that has left the version already stays where it is
        wanted = previous if current == wanted else current
        if not wanted or not (root / "versions" / Path(wanted).name / ".sha256").is_file():
            raise RefusedError(f"Worker {folder.name} has no earlier version on this host to go back to.")
    if current and current != wanted:
        keeper.link(folder / "previous", current)
    keeper.link(folder / "current", wanted)
    return root / "versions" / Path(wanted).name


def keep_worker(keeper, root, worker, params):
    """Bring one worker's folder into its state; returns what the service manager must know."""
    folder = root / worker["name"]
    keeper.folder(folder)
    keeper.folder(folder / "logs")
    version_folder = keep_version(keeper, root, folder, params)
    refuse_missing_extras(version_folder, params["extras"])
    texts = {
        "worker.properties": properties_text(worker["properties"]),
        "log4j.properties": logging_text(folder),
        "java.args": java_args(folder, worker, version_folder, params),
    }
    if "-javaagent:" in texts["java.args"]:
        texts["jmx_exporter.yml"] = params["exporter_config"]
    for name, text in texts.items():
        keeper.file(folder / name, text)
    keeper.link(folder / "java", f"{params['java_home']}/bin/java")
    digest = hashlib.sha256()
    secrets = [read_text(path) or "" for path in secret_files(params)]
    for part in (*texts.values(), version_folder.name, params["java_home"], *secrets):
        digest.update(part.encode() + b"\0")
    revision = digest.hexdigest()[:16]
    keeper.file(folder / "revision", revision + "\n")
    return {
        "name": worker["name"],
        "folder": str(folder),
        "command": [str(folder / "java"), f"@{folder}/java.args"],
        "revision": revision,
        "version": version_folder.name,
        "memory_limit_bytes": memory_limit_bytes(int(worker["heap_bytes"])),
        "rest_url": rest_url(worker),
    }


def rest_url(worker):
    host = worker["rest_host"]
    return "http://{}:{}".format(f"[{host}]" if ":" in host else host, worker["rest_port"])


def secret_files(params):
    """Files whose content is part of a worker's revision."""
    paths = {path for path, _ in params["references"]}
    if params["rest_auth"] == "basic":
        paths.add(f"{params['task_folder']}/secrets.properties")
    return sorted(paths)


def remove_worker(keeper, folder, account, remove_logs):
    """Remove a worker's folder; its content is removed with no more than its account's rights."""
    if folder.is_symlink() or not folder.is_dir():
        return
    with acting_as(account):
        is_empty = keeper.remove(folder, keep=() if remove_logs else ("logs",))
    if is_empty and not keeper.check_mode:
        folder.rmdir()


def main():
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "version": {"type": "str", "required": True},
            "java_home": {"type": "path", "required": True},
            "jvm_options": {"type": "list", "elements": "str", "default": []},
            "workers": {"type": "list", "elements": "dict", "required": True},
            "references": {"type": "list", "elements": "list", "default": []},
            "account": {"type": "str", "default": ""},
            "task_folder": {"type": "path"},
            "rest_auth": {"type": "str", "default": "none", "choices": ["none", "basic"]},
            "extras": {"type": "list", "elements": "str", "default": []},
            "exporter_config": {"type": "str", "default": ""},
            "rollback": {"type": "bool", "default": False},
            "remove_logs": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    params, root = module.params, Path(module.params["root"])
    os.umask(0o077)
    keeper = Keeper(module.check_mode)
    account = account_of(params["account"])
    started = []
    try:
        for worker in params["workers"]:
            if not NAME.fullmatch(worker["name"]) or worker["name"] in RESERVED:
                module.fail_json(msg=f"{worker['name']!r} cannot be a worker's name.")
            folder = root / worker["name"]
            if worker["state"] != "started":
                remove_worker(keeper, folder, account, params["remove_logs"])
                continue
            if not module.check_mode and params["account"]:
                keeper.changed |= own_folder(folder, account, 0o700)
            with acting_as(account):
                started.append(keep_worker(keeper, root, worker, params))
    except RefusedError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"The files of a worker could not be written: {error}")
    module.exit_json(changed=keeper.changed, differs=keeper.changed, diff=keeper.diffs, workers=started)


if __name__ == "__main__":
    main()
