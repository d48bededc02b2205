"""inventory/hosts.yml: the machines that may carry workers, read without Ansible and without running anything."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from kferry.store.paths import Layout
from kferry.store.yaml_error import YamlItem, nearest, read_yaml

WORKER_GROUP = "kferry_workers"
HOST_VARS = (
    "ansible_host",
    "ansible_port",
    "ansible_user",
    "ansible_connection",
    "ansible_ssh_private_key_file",
    "ansible_python_interpreter",
    "ansible_become",
    "ansible_become_user",
    "ansible_become_method",
    "kferry_jump",
    "kferry_zone",
    "kferry_private_address",
    "kferry_rest",
)
_GROUP_KEYS = ("hosts", "children", "vars")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")
_ACCOUNT = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Jump:
    """A machine that SSH goes through."""

    user: str
    address: str
    port: int = 22


@dataclass(frozen=True, slots=True)
class HostEntry:
    """One machine as the inventory names it. None = left to SSH (user, key) or not said (zone).

    Workers listen on `private_address` and tell it to each other; `through_tunnel`: kferry reaches them through SSH.
    """

    name: str
    address: str
    is_local: bool
    port: int = 22
    user: str | None = None
    key_file: str | None = None
    jump: Jump | None = None
    zone: str | None = None
    private_address: str = ""
    through_tunnel: bool = False


def load_hosts(layout: Layout) -> list[HostEntry]:
    """The hosts of group `kferry_workers`, in the order of the file; [] where the group is empty."""
    document = read_yaml(
        layout.inventory / "hosts.yml",
        what="inventory",
        next_step="Run `kferry init`, or write inventory/hosts.yml with a group kferry_workers.",
    )
    document.refuse_jinja()
    groups = document.mapping("hosts.yml")
    found = _find_group(groups, {})
    if found is None:
        raise document.error(
            f"there is no group {WORKER_GROUP!r}.", f"Add it. {nearest(WORKER_GROUP, groups, noun='groups now')}"
        )
    group, inherited = found
    entries: dict[str, HostEntry] = {}
    for name, where, values in _hosts(group, inherited):
        entries[name] = _entry(name, where, values)
    return list(entries.values())


def _find_group(groups: dict[str, YamlItem], inherited: dict[str, str]) -> tuple[YamlItem, dict[str, str]] | None:
    """The worker group wherever it stands, with the variables of the groups above it."""
    for name, item in groups.items():
        if name == WORKER_GROUP and not item.is_null:
            return item, inherited
        keys = item.mapping(f"group {name}", _GROUP_KEYS)
        found = _find_group(
            keys["children"].mapping("children") if "children" in keys else {}, {**inherited, **_vars(keys)}
        )
        if found is not None:
            return found
    if WORKER_GROUP in groups:
        return groups[WORKER_GROUP], inherited
    return None


def _vars(keys: dict[str, YamlItem]) -> dict[str, str]:
    """Of a group's variables those that say how to reach its hosts; others are the playbooks' business."""
    if "vars" not in keys:
        return {}
    return {key: item.string(key) for key, item in keys["vars"].mapping("vars").items() if key in HOST_VARS}


def _hosts(group: YamlItem, inherited: dict[str, str]) -> list[tuple[str, YamlItem, dict[str, str]]]:
    keys = group.mapping("group", _GROUP_KEYS)
    own = {**inherited, **_vars(keys)}
    found = []
    if "hosts" in keys:
        hosts = keys["hosts"]
        for name, item in hosts.mapping("hosts").items():
            _check_name(hosts, name)
            values = item.mapping(f"host {name}", HOST_VARS)
            found.append((name, item, {**own, **{key: value.string(key) for key, value in values.items()}}))
    for child in (keys["children"].mapping("children") if "children" in keys else {}).values():
        found += _hosts(child, own)
    return found


def _entry(name: str, where: YamlItem, values: dict[str, str]) -> HostEntry:
    is_local = values.get("ansible_connection") == "local"
    address = "127.0.0.1" if is_local else values.get("ansible_host", name)
    private = "127.0.0.1" if is_local else values.get("kferry_private_address", address)
    for text in (address, private):
        if not _is_address(text):
            raise where.error(f"{text!r} is no host name or address.", "Write a name like worker-1.example or an IP.")
    rest = values.get("kferry_rest", "direct" if is_local else "tunnel")
    if rest not in ("tunnel", "direct"):
        raise where.error(f"{rest!r} is not a valid kferry_rest.", "Write tunnel or direct.")
    user = values.get("ansible_user")
    if user is not None and _ACCOUNT.fullmatch(user) is None:
        raise where.error(f"{user!r} is not the name of an account.", "Write the account that SSH logs in with.")
    return HostEntry(
        name=name,
        address=address,
        is_local=is_local,
        port=_port(where, values.get("ansible_port", "22")),
        user=user,
        key_file=values.get("ansible_ssh_private_key_file"),
        jump=_jump(where, values["kferry_jump"]) if "kferry_jump" in values else None,
        zone=values.get("kferry_zone"),
        private_address=private,
        through_tunnel=rest == "tunnel" and not is_local,
    )


def _port(where: YamlItem, text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise where.error(f"{text!r} is not a port.", "Write a number from 1 to 65535.")
    return int(text)


def _jump(where: YamlItem, text: str) -> Jump:
    """`user@host` or `user@host:port`; an IPv6 address stands in brackets."""
    user, at, rest = text.partition("@")
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?", rest)
    if not at or _ACCOUNT.fullmatch(user) is None or found is None or not _is_address(found[1].strip("[]")):
        raise where.error(f"{text!r} is not a jump host.", "Write user@host or user@host:port.")
    return Jump(user, found[1].strip("[]"), _port(where, found[2] or "22"))


def _check_name(hosts: YamlItem, name: str) -> None:
    if not _is_address(name):
        raise hosts.error(
            f"{name!r} cannot be the name of a host.",
            "Use letters, digits, hyphens and dots, one host per line; ranges like [1:9] are not read.",
            key=name,
        )


def _is_address(text: str) -> bool:
    """Whether it is a host name (RFC 1123, underscores allowed as in inventories) or an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        labels = text.split(".")
        return len(text) <= 253 and all(_LABEL.fullmatch(label) for label in labels)
    return True
