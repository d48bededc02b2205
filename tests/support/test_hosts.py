"""Real machines for tests: podman containers that boot systemd, run sshd and install packages, driven over SSH."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from support import leftovers, waiting

IMAGE = "kferry-host"
ACCOUNT = "ops"
REQUIRED_VARIABLE = "KFERRY_TEST_REQUIRE_HOSTS"
OWNER_LABEL = "kferry.test.owner"

_BOOT_DEADLINE_SECONDS = 60.0
_COMMAND_TIMEOUT_SECONDS = 120.0
_FIRST_ADDRESS = 11
# A chain of our own: what a test blocked is taken back as a whole, and no other rule is touched.
_CHAIN = "KFERRY-TEST"


def what_is_missing(releases: Iterable[str] = ("bookworm", "trixie")) -> str | None:
    """Why hosts cannot be started here and the command that changes it, or None where they can."""
    remedy = "run .ci/test-hosts as root (Debian), then make test"
    if os.name != "posix" or os.geteuid() != 0:
        return f"test hosts need root: {remedy}"
    if not shutil.which("podman"):
        return f"test hosts need podman: {remedy}"
    for release in releases:
        if _podman("image", "exists", f"{IMAGE}:{release}", check=False).returncode:
            return f"test hosts need the image {IMAGE}:{release}: {remedy}"
    return None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command on a host answered."""

    code: int
    stdout: str
    stderr: str


class TestHost:
    """One running machine. Its address stays the same over kill and start."""

    __test__ = False

    def __init__(self, name: str, container: str, address: str, release: str) -> None:
        self.name = name
        self.container = container
        self.address = address
        self.release = release

    def __repr__(self) -> str:
        return f"TestHost({self.name}, {self.address}, {self.container})"

    def exec(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        stdin: str | None = None,
        timeout_seconds: float = _COMMAND_TIMEOUT_SECONDS,
    ) -> Answer:
        """Run a command as root inside, past SSH; raises where it fails, unless `check` is off."""
        interactive = ["-i"] if stdin is not None else []
        done = _podman(
            "exec", *interactive, self.container, *argv, check=check, stdin=stdin, timeout_seconds=timeout_seconds
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def write_file(self, path: str, content: str, *, mode: str = "0644", owner: str = "root:root") -> None:
        """Put a file of root (or of `owner`) on the host."""
        script = 'mkdir -p "$(dirname "$1")" && cat >"$1" && chown "$3" "$1" && chmod "$2" "$1"'
        self.exec(["sh", "-c", script, "sh", path, mode, owner], stdin=content)

    @property
    def host_key(self) -> str:
        """The public host key of sshd: type and key."""
        kind, key, *_ = self.exec(["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).stdout.split()
        return f"{kind} {key}"

    def change_host_key(self) -> None:
        """Let sshd show another key, as a machine does that was made anew or that is somebody else's."""
        # connections that are open would go on with the key of before
        end_sessions = "pkill -f '[s]shd[a-z-]*: [a-z]' || true"
        self.exec(["sh", "-c", f"rm -f /etc/ssh/ssh_host_* && systemctl restart ssh && {end_sessions}"])

    def add_account(self, name: str, public_key: str, *, sudo_password: str) -> None:
        """An account with a key whose sudo asks for this password."""
        self.exec(["useradd", "--create-home", "--shell", "/bin/bash", name])
        self.exec(["chpasswd"], stdin=f"{name}:{sudo_password}\n")
        self.write_file(f"/etc/sudoers.d/{name}", f"{name} ALL=(ALL) ALL\n", mode="0440")
        self.authorize(name, public_key)

    def authorize(self, account: str, public_key: str) -> None:
        home = f"/home/{account}/.ssh"
        self.exec(["install", "-d", "-m", "0700", "-o", account, "-g", account, home])
        self.write_file(f"{home}/authorized_keys", f"{public_key}\n", mode="0600", owner=f"{account}:{account}")

    def kill(self) -> None:
        """The power is cut: every process is gone at once, the disk stays."""
        _podman("kill", self.container)
        _podman("wait", self.container)

    def start_again(self) -> None:
        _podman("start", self.container)
        self.wait_ready()

    def pause(self) -> None:
        """Every process stands still: connections hang, nothing answers."""
        _podman("pause", self.container)

    def unpause(self) -> None:
        _podman("unpause", self.container, check=False)

    def block(self, *, port: int | None = None, address: str | None = None, refuse: bool = False) -> None:
        """Let no packet through to or from that port and that address; without either: none at all.

        `refuse` answers with a reset, as a closed port does; otherwise packets vanish, as behind a firewall.
        """
        verdict = ["REJECT", "--reject-with", "tcp-reset"] if refuse else ["DROP"]
        self._open_chain()
        for option in ("-s", "-d"):
            match = [option, address] if address else []
            if port is None:
                self._iptables("-A", _CHAIN, *match, *(["-p", "tcp"] if refuse else []), "-j", *verdict)
            else:
                for end in ("--sport", "--dport"):
                    self._iptables("-A", _CHAIN, *match, "-p", "tcp", end, str(port), "-j", *verdict)

    def unblock(self) -> None:
        """Take back everything that was blocked."""
        self._iptables("-F", _CHAIN, check=False)

    def leave_internet(self) -> None:
        """From now on it reaches only its own network."""
        self._in_its_network("ip", "route", "del", "default")

    def forget_neighbours(self) -> None:
        """What it knew of hardware addresses is asked again."""
        self._in_its_network("ip", "neigh", "flush", "all")

    def wait_ready(self, deadline_seconds: float = _BOOT_DEADLINE_SECONDS) -> None:
        """Until systemd has started everything and sshd answers."""
        waiting.wait_until(self._has_booted, deadline_seconds, f"{self.name} has booted")
        waiting.wait_until(self._answers_ssh, deadline_seconds, f"sshd of {self.name} answers")

    def is_running(self) -> bool:
        answer = _podman("inspect", "--format", "{{.State.Status}}", self.container, check=False)
        return answer.stdout.strip() == "running"

    def _has_booted(self) -> bool:
        answer = self.exec(["systemctl", "is-system-running"], check=False)
        return answer.stdout.strip() in ("running", "degraded")

    def _answers_ssh(self) -> bool:
        scan = ["ssh-keyscan", "-T", "2", "-t", "ed25519", self.address]
        done = subprocess.run(scan, capture_output=True, text=True, timeout=15, check=False)
        return "ssh-ed25519" in done.stdout

    def _open_chain(self) -> None:
        if self._iptables("-N", _CHAIN, check=False).returncode:
            return  # it is there already
        for chain, loopback in (("INPUT", "-i"), ("OUTPUT", "-o")):
            self._iptables("-I", chain, "!", loopback, "lo", "-j", _CHAIN)

    def _iptables(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self._in_its_network("iptables", "-w", *arguments, check=check)

    def _in_its_network(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """From outside, in the host's network namespace: the host needs no tools and no rights for it."""
        process = _podman("inspect", "--format", "{{.State.Pid}}", self.container).stdout.strip()
        return _run(["nsenter", "--target", process, "--net", *argv], check=check)


class TestHosts:
    """Starts machines in a network of their own and removes everything again.

    `folder` gets the SSH key. The network's gateway is this machine, as the hosts see it; its address exists
    while at least one host runs.
    """

    __test__ = False

    def __init__(self, folder: Path, session_id: str | None = None) -> None:
        self._session_id = session_id or os.environ[leftovers.SESSION_VARIABLE]
        self._prefix = f"kferry-test-{self._session_id[:8]}"
        self._hosts: list[TestHost] = []
        self._labels = (
            f"--label={leftovers.CONTAINER_LABEL}={self._session_id}",
            f"--label={OWNER_LABEL}={_owner(os.getpid())}",
        )
        self._made = 0
        self.network = ""
        self.subnet = ""
        self.gateway = ""
        self._bridge = ""
        folder.mkdir(parents=True, exist_ok=True)
        self.private_key = folder / "id_ed25519"
        self.public_key = _make_key(self.private_key)

    def __iter__(self) -> Iterator[TestHost]:
        return iter(self._hosts)

    def start(self, *names: str, release: str = "bookworm") -> list[TestHost]:
        """Start a machine for each name, all at once, and wait until they can be used."""
        if not self.network:
            self._make_network()
        started = [self._run(name, release) for name in names]
        for host in started:
            host.wait_ready()
            host.authorize(ACCOUNT, self.public_key)
        return started

    def remove(self, host: TestHost) -> None:
        """The machine is gone for good, with its disk."""
        _podman("rm", "--force", "--time", "0", host.container, check=False)
        self._hosts.remove(host)

    def stop(self) -> None:
        """Remove every machine and the network."""
        for host in list(self._hosts):
            self.remove(host)
        if self.network:
            _podman("network", "rm", "--force", self.network, check=False)
            self.network = self.subnet = self.gateway = self._bridge = ""

    def __enter__(self) -> TestHosts:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def write_known_hosts(self, path: Path, hosts: Iterable[TestHost] | None = None) -> Path:
        """The pinned keys of these hosts (all of them, when none are given), as ssh reads them."""
        lines = [f"{host.address} {host.host_key}\n" for host in hosts or self._hosts]
        path.write_text("".join(lines), encoding="utf-8")
        return path

    def variables(self, host: TestHost) -> dict[str, Any]:
        """What hosts.yml says of this host."""
        return {
            "ansible_host": host.address,
            "ansible_user": ACCOUNT,
            "ansible_ssh_private_key_file": str(self.private_key),
        }

    def ssh(
        self, host: TestHost, known_hosts: Path, command: str, *, account: str = ACCOUNT, timeout_seconds: float = 30.0
    ) -> Answer:
        """Run a shell line over SSH, with only this key and only these pinned host keys."""
        options = ["BatchMode=yes", "IdentitiesOnly=yes", "StrictHostKeyChecking=yes", "ConnectTimeout=5"]
        options += [f"UserKnownHostsFile={known_hosts}", "GlobalKnownHostsFile=/dev/null", "ControlPath=none"]
        argv = ["ssh", "-F", "none", "-i", str(self.private_key)]
        for option in options:
            argv += ["-o", option]
        done = _run([*argv, f"{account}@{host.address}", command], check=False, timeout_seconds=timeout_seconds)
        return Answer(done.returncode, done.stdout, done.stderr)

    def _make_network(self) -> None:
        remove_orphans()
        name = f"{self._prefix}-{time.monotonic_ns() % 1_000_000}"
        # podman takes a subnet that is free. Names are not resolved by it: that would start a daemon that all
        # networks of this machine share and that outlives us.
        _podman("network", "create", "--disable-dns", *self._labels, name)
        self.network = name
        template = "{{range .Subnets}}{{.Subnet}} {{.Gateway}}{{end}} {{.NetworkInterface}}"
        inspected = _podman("network", "inspect", "--format", template, name).stdout
        self.subnet, self.gateway, self._bridge = inspected.split()

    def _run(self, name: str, release: str) -> TestHost:
        address = f"{self.gateway.rpartition('.')[0]}.{_FIRST_ADDRESS + self._made}"
        self._made += 1
        host = TestHost(name, f"{self.network}-{name}", address, release)
        options = [f"--name={host.container}", f"--hostname={name}", *self._labels]
        options += [f"--network={self.network}", f"--ip={address}", f"--mac-address={_hardware_address(address)}"]
        options += ["--systemd=always"]
        options += ["--cap-add=SYS_ADMIN"]  # systemd gives hardened units file systems of their own
        self._hosts.append(host)  # first, so that a half-made container is removed too
        _podman("run", "--detach", *options, f"{IMAGE}:{release}", "/lib/systemd/systemd")
        # A bridge takes the lowest address of its members: it would be another one when a host leaves.
        _run(["ip", "link", "set", "dev", self._bridge, "address", _hardware_address(self.gateway)])
        return host


def remove_orphans() -> None:
    """Remove machines and networks of test runs that were killed before they could do so."""
    label = f'{{{{index .Config.Labels "{OWNER_LABEL}"}}}}'
    for name in _podman("ps", "--all", "--quiet", f"--filter=label={OWNER_LABEL}").stdout.split():
        if _is_orphan(_podman("inspect", "--format", label, name, check=False)):
            _podman("rm", "--force", "--time", "0", name, check=False)
    label = f'{{{{index .Labels "{OWNER_LABEL}"}}}}'
    for name in _podman("network", "ls", "--quiet", f"--filter=label={OWNER_LABEL}").stdout.split():
        if _is_orphan(_podman("network", "inspect", "--format", label, name, check=False)):
            _podman("network", "rm", "--force", name, check=False)


def owner_of_this_process() -> str:
    """What machines are labelled with that this process answers for."""
    return _owner(os.getpid())


def remove_of_this_process() -> list[str]:
    """Remove the machines and networks that carry this process's label; their names."""
    mine = f"--filter=label={OWNER_LABEL}={owner_of_this_process()}"
    removed = []
    for kind, listing, removal in (
        ("container", ["ps", "--all", "--format={{.Names}}"], ["rm", "--force", "--time", "0"]),
        ("network", ["network", "ls", "--format={{.Name}}"], ["network", "rm", "--force"]),
    ):
        for name in _podman(*listing, mine).stdout.split():
            removed.append(f"{kind} {name}")
            _podman(*removal, name, check=False)
    return removed


def _is_orphan(inspected: subprocess.CompletedProcess[str]) -> bool:
    """Whether it is still there, and its owner is not."""
    return inspected.returncode == 0 and not _lives(inspected.stdout.strip())


def _owner(pid: int) -> str:
    """A process, told apart from a later one with the same id."""
    return f"{pid}-{int(psutil.Process(pid).create_time())}"


def _lives(owner: str) -> bool:
    pid = owner.partition("-")[0]
    try:
        return _owner(int(pid)) == owner
    except (psutil.NoSuchProcess, ValueError):
        return False


def _hardware_address(address: str) -> str:
    """One that stays the same: who knew another one would talk to it for half a minute."""
    return "02:" + ":".join(f"{part:02x}" for part in (0, *map(int, address.split("."))))


def _make_key(path: Path) -> str:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "kferry test", "-f", str(path)]
    _run(command)
    return path.with_suffix(".pub").read_text(encoding="utf-8").strip()


def _podman(
    *arguments: str, check: bool = True, stdin: str | None = None, timeout_seconds: float = _COMMAND_TIMEOUT_SECONDS
) -> subprocess.CompletedProcess[str]:
    return _run(["podman", *arguments], check=check, stdin=stdin, timeout_seconds=timeout_seconds)


def _run(
    argv: list[str],
    *,
    check: bool = True,
    stdin: str | None = None,
    timeout_seconds: float = _COMMAND_TIMEOUT_SECONDS,
) -> subprocess.CompletedProcess[str]:
    # Containers are found by their labels; the marker in the environment would make podman's own helpers, which
    # other containers of this machine may share, look like processes that this run has left.
    environment = {name: value for name, value in os.environ.items() if name != leftovers.SESSION_VARIABLE}
    done = subprocess.run(
        argv, input=stdin, capture_output=True, text=True, timeout=timeout_seconds, check=False, env=environment
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(argv)} ended with {done.returncode}: {(done.stderr or done.stdout)[-2000:]}")
    return done
