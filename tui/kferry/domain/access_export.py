"""An access plan for others: command lines for the target's owner, and rows for a table."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from kferry.domain.access import AclEntry
from kferry.domain.access_items import AccessItem, Action, QuotaLimit, UserCredential
from kferry.domain.access_plan import number_words
from kferry.domain.acl_evaluation import acl_words

COLUMNS = ("what", "action", "subject", "name", "before", "after", "was", "reason")
_TOOL_OPERATIONS = {
    "all": "All",
    "read": "Read",
    "write": "Write",
    "create": "Create",
    "delete": "Delete",
    "alter": "Alter",
    "describe": "Describe",
    "describe_configs": "DescribeConfigs",
    "alter_configs": "AlterConfigs",
    "idempotent_write": "IdempotentWrite",
}
_ENTITY_TYPES = {"user": "users", "client-id": "clients", "ip": "ips"}


def commands(items: Iterable[AccessItem], bootstrap_servers: str) -> list[str]:
    """What is to be created as command lines of Kafka's own tools. Passwords are left for the owner to fill in.

    Each argument is given as `--option=value`, so that a name that begins with a hyphen is no option.
    """
    lines = []
    for item in items:
        if item.action is not Action.CREATE:
            continue
        if item.acl is not None:
            lines.append(_acl(item.acl, bootstrap_servers))
        elif item.quota is not None:
            lines.append(_quota(item.quota, bootstrap_servers))
        elif item.user is not None:
            lines.append(_user(item.user, bootstrap_servers))
    return lines


def row(item: AccessItem) -> tuple[str, ...]:
    """An item as texts, in the order of COLUMNS."""
    return (
        item.what.value,
        item.action.value,
        item.subject,
        item.name,
        item.before or "",
        item.after or "",
        item.was,
        item.reason,
    )


def _acl(entry: AclEntry, servers: str) -> str:
    if not _is_sayable(entry.name, entry.principal, entry.host) or entry.operation not in _TOOL_OPERATIONS:
        return f"# {acl_words(entry)!r}: cannot be said to kafka-acls; `kferry access apply` can"
    side = "allow" if entry.permission == "allow" else "deny"
    arguments = [
        *_tool("kafka-acls.sh", servers),
        "--add",
        f"--{side}-principal={entry.principal}",
        f"--{side}-host={entry.host}",
        f"--operation={_TOOL_OPERATIONS[entry.operation]}",
    ]
    if entry.resource == "cluster":
        arguments.append("--cluster")
    else:
        arguments.append(f"--{entry.resource.replace('_', '-')}={entry.name}")
        if entry.pattern == "prefixed":
            arguments.append("--resource-pattern-type=prefixed")
    return shlex.join(arguments)


def _quota(limit: QuotaLimit, servers: str) -> str:
    names = [name for name in limit.entity.values() if name is not None]
    if not _is_sayable(*names) or any(kind not in _ENTITY_TYPES for kind in limit.entity):
        return f"# {limit.key} of {dict(limit.entity)!r}: cannot be said to kafka-configs; `kferry access apply` can"
    arguments = [
        *_tool("kafka-configs.sh", servers),
        "--alter",
        f"--add-config={limit.key}={number_words(limit.value)}",
    ]
    for kind, name in sorted(limit.entity.items(), reverse=True):
        arguments.append(f"--entity-type={_ENTITY_TYPES[kind]}")
        arguments.append("--entity-default" if name is None else f"--entity-name={name}")
    return shlex.join(arguments)


def _user(user: UserCredential, servers: str) -> str:
    if not _is_sayable(user.name):
        return f"# user {user.name!r}: cannot be said to kafka-configs; `kferry access apply` can"
    iterations = f"iterations={user.iterations}," if user.iterations else ""
    arguments = [
        *_tool("kafka-configs.sh", servers),
        "--alter",
        f"--add-config={user.mechanism}=[{iterations}password=NEW_PASSWORD]",
        "--entity-type=users",
        f"--entity-name={user.name}",
    ]
    return shlex.join(arguments)


def _tool(name: str, servers: str) -> Sequence[str]:
    return (name, f"--bootstrap-server={servers}", "--command-config=admin.properties")


def _is_sayable(*names: str) -> bool:
    """Whether the tools take the names as they are: they trim them, and a terminal hides characters."""
    return all(name == name.strip() and name.isprintable() and name for name in names)
