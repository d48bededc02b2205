#!/usr/bin/python
"""Run programs under a supervisord of our own: started where it isn't, told of changes, ended with its last program."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import re
import signal
import socket
import subprocess
import time
import xmlrpc.client
from pathlib import Path
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kferry_files import read_text, write_whole
from ansible.module_utils.kferry_supervisor import connect, process_states

DOCUMENTATION = r"""
module: kferry_supervised
short_description: Run programs under a supervisord of our own, without root
description: >-
  Each program is a file below root; supervisord is told which of them are new, changed or gone, and restarts only
  those. It is started where it isn't running, and ended when it has no program left.
options:
  root: {type: path, required: true, description: Folder of all workers; ours is `supervisor` in it}
  socket: {type: path, required: true, description: Unix socket of the supervisord}
  python: {type: path, required: true, description: A Python that has the supervisor package}
  programs: {type: list, elements: dict, default: [], description: What kferry_worker returned}
  absent: {type: list, elements: str, default: [], description: Names of programs that must not run}
  stop_seconds: {type: int, default: 45, description: How long a program may take to end}
  force_restart: {type: bool, default: false, description: Restart programs that run as they should, too}
"""
EXAMPLES = r"""
- name: Run
  kferry_supervised:
    root: /home/me/migration/.kferry/workers
    socket: /tmp/kferry/supervisor.sock
    python: /usr/bin/python3
    programs: "{{ configured.workers }}"
"""
RETURN = r"""
actions: {type: list, returned: always, description: What was done, or would be in check mode}
running: {type: list, returned: always, description: Programs that ran when we came}
"""

START_SECONDS = 15
POLL_SECONDS = 0.1
MAX_SOCKET_CHARS = 100
# supervisord and workers outlive the play: its run id and secrets must not go with them
PASSED_ON = ("HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "PATH", "TMPDIR", "TZ", "KFERRY_MARK", "KFERRY_TEST_SESSION")


class FailedError(Exception):
    """A sentence for the operator."""


def escape(value):
    return value.replace("%", "%%")


def daemon_text(home, socket_path):
    return f"""; written by kferry; changes are lost
[unix_http_server]
file={escape(socket_path)}
chmod=0700

[supervisord]
logfile={escape(str(home))}/supervisord.log
logfile_maxbytes=5MB
logfile_backups=2
pidfile={escape(str(home))}/supervisord.pid
childlogdir={escape(str(home))}
directory={escape(str(home))}
umask=077
minfds=1024

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[include]
files = {escape(str(home))}/programs/*.ini
"""


def program_text(program, stop_seconds):
    folder = program["folder"]
    command = " ".join(f'"{escape(word)}"' for word in program["command"])
    return f"""; written by kferry; changes are lost
[program:{program["name"]}]
command={command}
directory={escape(folder)}
environment=KFERRY_WORKER="{program["name"]}",KFERRY_REVISION="{program["revision"]}"
autostart=true
autorestart=true
startsecs=3
startretries=3
stopsignal=TERM
stopwaitsecs={stop_seconds}
killasgroup=true
redirect_stderr=true
stdout_logfile={escape(folder)}/logs/console.log
stdout_logfile_maxbytes=5MB
stdout_logfile_backups=2
"""


class Daemon:
    """The supervisord of one migration."""

    def __init__(self, home, socket_path, python):
        self.home = home
        self.socket = socket_path
        self.python = python
        self.config = home / "supervisord.conf"

    def states(self):
        return process_states(self.socket)

    def pid(self):
        """The pid of our living supervisord, whether its socket answers or not."""
        try:
            pid = int((read_text(self.home / "supervisord.pid") or "").strip())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (ValueError, OSError):
            return None
        return pid if str(self.config).encode() in command else None

    def start(self):
        pid = self.pid()
        if pid is not None:  # alive, but its socket was removed: it can't be talked to any more
            self._end(pid)
        Path(self.socket).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        answer = subprocess.run(
            [self.python, "-m", "supervisor.supervisord", "-c", str(self.config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={name: os.environ[name] for name in PASSED_ON if name in os.environ},
            cwd=str(self.home),
            timeout=START_SECONDS,
            check=False,
        )
        if answer.returncode != 0:
            words = answer.stdout.decode(errors="replace").strip().splitlines()
            raise FailedError(f"supervisord did not start with {self.python}: {' '.join(words[-2:])}")
        self._wait(lambda: self.states() is not None, START_SECONDS, "supervisord started but does not answer")

    def shutdown(self, seconds):
        pid = self.pid()
        with contextlib.suppress(OSError, http.client.HTTPException):
            connect(self.socket).shutdown()
        if pid is not None:
            self._wait(lambda: self.pid() is None, seconds, f"supervisord {pid} does not end")

    def _end(self, pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        self._wait(lambda: self.pid() is None, 60, f"supervisord {pid} lost its socket and does not end")

    def _wait(self, condition, seconds, words):
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise FailedError(f"{words}. Log: {self.home}/supervisord.log")
            time.sleep(POLL_SECONDS)


def wanted_difference(home, texts, absent, states):
    """Files to write, names to remove, programs to bring up, and the diff."""
    writes, diffs = {}, []
    for name, text in texts.items():
        before = read_text(home / "programs" / f"{name}.ini")
        if before != text:
            writes[name] = text
            diffs.append(diff_of(home, name, before or "", text))
    removals = []
    for name in absent:
        before = read_text(home / "programs" / f"{name}.ini")
        if before is not None or name in (states or {}):
            removals.append(name)
            diffs.append(diff_of(home, name, before or "", ""))
    down = [name for name in texts if name not in writes and not is_up(states, name)]
    diffs += [
        {"before": f"{name}: not running\n", "after": f"{name}: running\n", "before_header": name, "after_header": name}
        for name in down
    ]
    return writes, removals, down, diffs


def diff_of(home, name, before, after):
    path = str(home / "programs" / f"{name}.ini")
    return {"before": before, "after": after, "before_header": path, "after_header": path}


def is_up(states, name):
    return (states or {}).get(name, {}).get("statename") in ("RUNNING", "STARTING", "BACKOFF")


def refuse_busy_ports(programs, states):
    """A program that isn't up must find its port free; whoever holds it would be taken for our worker."""
    for program in programs:
        if is_up(states, program["name"]):
            continue
        address = urlsplit(program["rest_url"])
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address.hostname, address.port))
            except OSError as error:
                raise FailedError(
                    f"Worker {program['name']} cannot have {address.hostname}:{address.port}: {error.strerror}. "
                    "End the process that listens there, or give the worker another port."
                ) from error


def apply_groups(server):
    """What `supervisorctl update` does: stop what is gone or changed, start what is new or changed."""
    [[added, changed, removed]] = server.reloadConfig()
    for name in (*changed, *removed):
        server.stopProcessGroup(name)
        server.removeProcessGroup(name)
    for name in (*added, *changed):
        server.addProcessGroup(name)
    return added, changed, removed


def bring_up(server, name, is_up_already):
    if is_up_already:  # it is to be restarted
        with contextlib.suppress(xmlrpc.client.Fault):
            server.stopProcess(name)
    with contextlib.suppress(xmlrpc.client.Fault):  # it may be starting already; readiness is checked later
        server.startProcess(name, False)


def run(module):
    """Do all of it under a lock: an earlier play that was killed may have left a module at work."""
    params = module.params
    home = Path(params["root"]) / "supervisor"
    daemon = Daemon(home, params["socket"], params["python"])
    texts = {program["name"]: program_text(program, params["stop_seconds"]) for program in params["programs"]}
    states = daemon.states()
    running = [name for name in (*texts, *params["absent"]) if is_up(states, name)]
    writes, removals, down, diffs = wanted_difference(home, texts, params["absent"], states)
    if params["force_restart"]:
        for name in (name for name in texts if name not in writes and name not in down):
            down.append(name)
            diffs.append(diff_of(home, name, "running as before\n", "running anew\n"))
    actions = [f"define {name}" for name in writes] + [f"remove {name}" for name in removals]
    actions += [f"start {name}" for name in down]
    refuse_busy_ports(params["programs"], states)
    if module.check_mode:
        return actions, diffs, running
    (home / "programs").mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, text in writes.items():
        write_whole(home / "programs" / f"{name}.ini", text)
    for name in removals:
        (home / "programs" / f"{name}.ini").unlink(missing_ok=True)
    if any((home / "programs").glob("*.ini")):
        if states is None:
            write_whole(daemon.config, daemon_text(home, params["socket"]))
            daemon.start()
            actions.append("start supervisord")
        server = connect(params["socket"])
        for words, names in zip(("add", "restart", "end"), apply_groups(server)):  # noqa: B905  (Python 3.8)
            actions += [f"{words} {name}" for name in names]
        for name in down:
            bring_up(server, name, is_up(states, name))
    elif states is not None:
        for name in removals:
            with contextlib.suppress(xmlrpc.client.Fault):
                connect(params["socket"]).stopProcessGroup(name)
        daemon.shutdown(params["stop_seconds"])
        actions.append("end supervisord")
    return actions, diffs, running


def main():
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "socket": {"type": "path", "required": True},
            "python": {"type": "path", "required": True},
            "programs": {"type": "list", "elements": "dict", "default": []},
            "absent": {"type": "list", "elements": "str", "default": []},
            "stop_seconds": {"type": "int", "default": 45},
            "force_restart": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    os.umask(0o077)
    if len(module.params["socket"]) > MAX_SOCKET_CHARS:
        module.fail_json(msg=f"The socket path {module.params['socket']} is too long for a Unix socket.")
    names = [program["name"] for program in module.params["programs"]] + module.params["absent"]
    if not all(re.fullmatch(r"[a-z0-9][a-z0-9-]*", name) for name in names):
        module.fail_json(msg=f"One of {names} is not a program's name.")
    lock_folder = Path(module.params["root"])
    try:
        if not lock_folder.is_dir():
            if module.check_mode or not module.params["programs"]:
                actions = [f"start {name}" for name in names if name not in module.params["absent"]]
                module.exit_json(changed=bool(actions), actions=actions, running=[])
            lock_folder.mkdir(mode=0o700, parents=True)
        descriptor = os.open(str(lock_folder), os.O_RDONLY | os.O_DIRECTORY)  # held until we end
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        actions, diffs, running = run(module)
    except FailedError as error:
        module.fail_json(msg=str(error))
    except (OSError, http.client.HTTPException, xmlrpc.client.Error, subprocess.SubprocessError) as error:
        module.fail_json(msg=f"supervisord at {module.params['socket']} could not be used: {error}")
    module.exit_json(changed=bool(actions), actions=actions, running=running, diff=diffs, msg="; ".join(actions))


if __name__ == "__main__":
    main()
