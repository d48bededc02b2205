"""Read what explains a worker's state: files, logs, systemd, thread dump, REST, metrics. Standard library only."""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote

COMMAND_SECONDS = 10
HTTP_SECONDS = 5.0
DUMP_SECONDS = 4.0
MAX_TEXT_BYTES = 1024 * 1024
MAX_LOG_FILES = 6
MAX_CONNECTORS = 50
JOURNAL_LINES = 3000
CONFIGS = ("worker.properties", "java.args", "log4j.properties", "jmx_exporter.yml", "revision")
LOGS = ("worker.log*", "console.log*")
SYSTEM_COMMANDS = {
    "uname": ["uname", "-a"],
    "os-release": ["cat", "/etc/os-release"],
    "uptime": ["uptime"],
    "df": ["df", "-hT"],
    "df-inodes": ["df", "-i"],
    "free": ["free", "-m"],
    "sockets": ["ss", "-ltn"],
    "systemd-version": ["systemctl", "--version"],
    "units": ["systemctl", "list-units", "--all", "--no-pager", "--plain", "kferry-worker@*"],
}


def tail(path, limit_bytes=MAX_TEXT_BYTES):
    """The end of a plain file, in whole lines; None where there is none. Links are not followed: they aren't ours."""
    try:
        descriptor = os.open(str(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as stream:
        size = os.fstat(descriptor).st_size
        stream.seek(max(0, size - limit_bytes))
        data = stream.read(limit_bytes)
    if size > limit_bytes:
        return "[the beginning is left out]\n" + data.partition(b"\n")[2].decode("utf-8", "replace")
    return data.decode("utf-8", "replace")


def said(arguments):
    """What a command prints, or why it could not be run."""
    try:
        answer = subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_SECONDS,
            check=False,
            env={**os.environ, "LC_ALL": "C", "SYSTEMD_PAGER": "", "COLUMNS": "200"},
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"{arguments[0]} gave nothing: {error}\n"
    return answer.stdout[-MAX_TEXT_BYTES:].decode("utf-8", "replace")


def system_texts(root):
    """Texts about the machine, by the name of the file in the archive."""
    found = {f"system/{name}.txt": said(command) for name, command in SYSTEM_COMMANDS.items()}
    found["system/root.txt"] = listing(root)
    return found


def listing(root):
    """Names, owners, modes and sizes below the root, without the jars."""
    lines = []
    for folder, names, files in os.walk(str(root)):
        names[:] = [name for name in sorted(names) if name not in ("libs", "extras")]
        for name in sorted([*names, *files]):
            path = Path(folder, name)
            try:
                status = path.lstat()
                target = f" -> {os.readlink(str(path))}" if path.is_symlink() else ""  # noqa: PTH115  (Python 3.8)
            except OSError:
                continue
            lines.append(f"{status.st_mode:o} {status.st_uid}:{status.st_gid} {status.st_size} {path}{target}")
        if len(lines) > 5000:
            lines.append("[the rest is left out]")
            break
    return "".join(f"{line}\n" for line in lines)


def worker_texts(folder, is_systemd, login):
    """Texts about one worker. The dump comes first: where it lands in a log, it is in what is read after it."""
    name = folder.name
    pid = process_of(folder)
    found = {f"workers/{name}/threads.txt": thread_dump(folder, pid, is_systemd)}
    for file in CONFIGS:
        found[f"workers/{name}/{file}"] = tail(folder / file)
    logs = [path for pattern in LOGS for path in sorted((folder / "logs").glob(pattern))]
    for path in logs[:MAX_LOG_FILES]:
        found[f"workers/{name}/logs/{path.name}"] = tail(path)
    if is_systemd:
        unit = f"kferry-worker@{name}.service"
        found[f"workers/{name}/systemctl-status.txt"] = said(["systemctl", "status", "--no-pager", "-l", "-n0", unit])
        found[f"workers/{name}/systemctl-cat.txt"] = said(["systemctl", "cat", "--no-pager", unit])
        found[f"workers/{name}/journal.txt"] = said(journal(unit))
    if pid is not None:
        found[f"workers/{name}/process-status.txt"] = tail(Path(f"/proc/{pid}/status"))
        found[f"workers/{name}/process-limits.txt"] = proc_text(pid, "limits")
    found[f"workers/{name}/java-version.txt"] = said([str(folder / "java"), "-version"])
    found.update(rest_texts(name, tail(folder / "worker.properties") or "", login))
    found.update(metrics_texts(name, tail(folder / "java.args") or ""))
    return {file: text for file, text in found.items() if text is not None}


def journal(unit):
    return ["journalctl", "--no-pager", "-o", "short-iso-precise", "-n", str(JOURNAL_LINES), "-u", unit]


def proc_text(pid, name):
    try:
        return Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def process_of(folder):
    """The process that runs with this worker's file of arguments, or None."""
    wanted = f"@{folder}/java.args".encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if wanted in path.read_bytes().split(b"\0")[:3]:
                return int(path.parent.name)
        except OSError:
            continue
    return None


def thread_dump(folder, pid, is_systemd):
    """What all threads do, by the JVM's own answer to SIGQUIT: it goes to the journal or the console's log."""
    if pid is None:
        return "The worker does not run.\n"
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)", proc_text(pid, "status") or "", re.MULTILINE)
    if not caught or not int(caught.group(1), 16) >> (signal.SIGQUIT - 1) & 1:
        return "The worker can't be asked yet: its JVM has just begun.\n"
    began = time.time()
    os.kill(pid, signal.SIGQUIT)
    deadline = time.monotonic() + DUMP_SECONDS
    while time.monotonic() < deadline:
        if is_systemd:
            since = [*journal(f"kferry-worker@{folder.name}.service")[:-2], "-o", "cat"]
            text = said([*since, "--since", f"@{int(began)}", "-u", f"kferry-worker@{folder.name}.service"])
        else:
            text = tail(folder / "logs" / "console.log") or ""
        start = text.rfind("Full thread dump")
        # the last part of a dump: the heap, or on newer ones the native references before it
        if start >= 0 and re.search(r"(?m)^\s*Metaspace|^JNI global refs", text[start:]):
            return text[start:]
        time.sleep(0.1)
    return "The JVM was asked for a dump of its threads (SIGQUIT) but wrote none in time.\n"


def rest_login(task_folders):
    """Account and password of Connect's REST by worker prefix are one per task; of all tasks here, in order."""
    found = []
    for folder in task_folders:
        for line in (tail(folder / "rest.users") or "").splitlines():
            parts = re.split(r"(?<!\\)[=:]", line, maxsplit=1)
            if len(parts) == 2 and not line.startswith("#"):
                found.append((folder.name, parts[0].strip(), unescape(parts[1].strip()).split(",")[0]))
    return found


def unescape(value):
    """A value of a properties file as Java reads it."""
    named = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}

    def one(found):
        word = found.group(1)
        return chr(int(word[1:], 16)) if len(word) == 5 else named.get(word, word)

    value = re.sub(r"\\(u[0-9a-fA-F]{4}|.)", one, value, flags=re.DOTALL)
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def rest_texts(name, properties, login):
    """Connectors, their state, configs and offsets, as the worker itself tells."""
    listener = re.search(r"(?m)^listeners=(?:\\?[^\n])*?(https?\\?://[^\s,]+)", properties)
    if listener is None:
        return {}
    base = listener.group(1).replace("\\", "").rstrip("/")
    found = {f"workers/{name}/rest/root.json": get(f"{base}/", login)}
    found[f"workers/{name}/rest/plugins.json"] = get(f"{base}/connector-plugins", login)
    found[f"workers/{name}/rest/connectors.json"] = get(f"{base}/connectors?expand=status&expand=info", login)
    names = re.findall(r'"([^"\\]{1,255})"', get(f"{base}/connectors", login))
    for number, connector in enumerate(names[:MAX_CONNECTORS]):
        path = f"{base}/connectors/{quote(connector, safe='')}/offsets"
        found[f"workers/{name}/rest/offsets-{number}.json"] = f"{connector}\n{get(path, login)}"
    return found


def metrics_texts(name, arguments):
    """One scrape of the metrics agent, at the address where it listens."""
    agent = re.search(r"-javaagent:[^=\n]+=(\[[0-9a-fA-F:.]+\]|[^:\[\]\s]+):(\d{1,5}):", arguments)
    if agent is None:
        return {}
    return {f"workers/{name}/metrics.txt": get(f"http://{agent.group(1)}:{agent.group(2)}/metrics", None)}


def get(url, login):
    """The answer to one GET, or why there is none."""
    request = urllib.request.Request(url, headers={"Accept": "*/*"})  # noqa: S310
    if login:
        request.add_header("Authorization", "Basic " + base64.b64encode(":".join(login).encode()).decode())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=HTTP_SECONDS) as answer:
            return answer.read(MAX_TEXT_BYTES).decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}: {error.read(4096).decode('utf-8', 'replace')}\n"
    except (OSError, ValueError) as error:
        return f"no answer: {error}\n"
