"""Writing one cluster into clusters.yml: only the keys that change, everything else of the operator's stays as it is.

The text is edited in place, so comments, order and quoting survive. What could not be read again, or would change
anything else, is never written.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import yaml

from kferry.domain.drafts import KEPT
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import Role
from kferry.store.atomic_write import write_text
from kferry.store.clusters_file import TOP_KEY, clusters_of
from kferry.store.paths import Layout
from kferry.store.yaml_error import YamlItem, parse_yaml

_PLAIN = re.compile(r"[A-Za-z0-9_/.][A-Za-z0-9_/.:,+=@~-]*")
_HEAD = "# How both clusters are reached. Secrets are references: env:NAME, file:/path or command:... .\n"
_ONE_LINE = 1_000_000
_BY_HAND = f"Write {TOP_KEY}: with one line for each cluster and key, then try again."


def revision(layout: Layout) -> str:
    """A short hash of the file as it stands; "" where there is none."""
    try:
        return hashlib.sha256(layout.clusters.read_bytes()).hexdigest()[:12]
    except FileNotFoundError:
        return ""


def written_keys(layout: Layout, role: Role) -> dict[str, Any]:
    """The keys of one cluster as they stand in the file, {} where it has none; a `!vault` text is only named as kept.

    Raises KferryError where the file cannot be read as YAML; a cluster with mistakes in it is given as it is.
    """
    if not layout.clusters.exists():
        return {}
    keys = _keys(parse_yaml(layout.clusters.read_bytes(), layout.clusters), role)
    return {name: KEPT if item.vault else _plain(item) for name, item in keys.items()}


def write_cluster(
    layout: Layout, role: Role, keys: Mapping[str, str | None], *, expects: str | None = None, dry_run: bool = False
) -> str:
    """Set these keys of one cluster (None takes a key out, KEPT leaves it alone); returns the new text.

    `expects` is the revision that the operator saw: a file that was changed since is not written over.
    """
    if expects is not None and revision(layout) != expects:
        raise KferryError(
            f"{layout.clusters} was changed by somebody else meanwhile; nothing was written.",
            next_step="Open the form again: it shows the file as it is now.",
            kind=ErrorKind.NOT_READY,
        )
    old = layout.clusters.read_bytes() if layout.clusters.exists() else b""
    before = parse_yaml(old, layout.clusters)  # what is not YAML is told with its place, before anything is edited
    new = changed_text(old.decode("utf-8-sig"), role, keys)
    after = parse_yaml(new.encode(), layout.clusters)
    clusters_of(after)
    if not _only_this_changed(before, after, role, keys):
        raise KferryError(
            f"{layout.clusters} is written in a way that kferry cannot edit safely; nothing was written.",
            next_step=_BY_HAND,
            kind=ErrorKind.USAGE,
        )
    if not dry_run and new.encode() != old:
        write_text(layout.clusters, new)
    return new


def changed_text(text: str, role: Role, keys: Mapping[str, str | None]) -> str:
    """The file's text with the keys of one cluster changed."""
    wanted = {name: value for name, value in keys.items() if value != KEPT}
    top = _child(yaml.compose(text, Loader=yaml.SafeLoader), TOP_KEY)
    node = _child(top, role.value)
    if isinstance(node, yaml.MappingNode) and node.value and not node.flow_style:
        return _edited(text, node, wanted)
    if isinstance(node, yaml.MappingNode) and node.value:
        raise KferryError(
            f"The {role.value} cluster is written in one line in clusters.yml; kferry does not change that.",
            next_step=_BY_HAND,
            kind=ErrorKind.USAGE,
        )
    return _with_new_cluster(text, top, role, {name: value for name, value in wanted.items() if value is not None})


def _edited(text: str, node: yaml.MappingNode, wanted: dict[str, str | None]) -> str:
    edits: list[tuple[int, int, str]] = []
    indent = " " * node.value[0][0].start_mark.column
    for key_node, value_node in node.value:
        name, end = key_node.value, _end(value_node)
        if name not in wanted:
            continue
        value = wanted.pop(name)
        whole_lines = text[end - 1] == "\n"  # a block of text ends with its line
        if value is None:
            start = text.rfind("\n", 0, key_node.start_mark.index) + 1
            edits.append((start, end if whole_lines else _next_line(text, end), ""))
        elif not isinstance(value_node, yaml.ScalarNode) or value != value_node.value or value_node.tag == "!vault":
            edits.append((key_node.end_mark.index, end, f": {_scalar(value)}" + ("\n" if whole_lines else "")))
    at = _end(node.value[-1][1])
    at = at if text[at - 1] == "\n" else _next_line(text, at)
    added = "".join(f"{indent}{name}: {_scalar(value)}\n" for name, value in wanted.items() if value is not None)
    if added:
        edits.append((at, at, added if text[at - 1] == "\n" else f"\n{added}"))
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _with_new_cluster(text: str, top: yaml.Node | None, role: Role, keys: Mapping[str, str]) -> str:
    """The text with a cluster that was not there, or stood there empty."""
    if not isinstance(top, yaml.MappingNode) or not top.value:
        rest = "" if top is not None else text.strip()
        head = f"{rest}\n" if rest else _HEAD
        return f"{head}{TOP_KEY}:\n  {role.value}:\n{_block(keys, 4)}"
    if top.flow_style:
        raise KferryError(
            "clusters.yml is written in one line; kferry does not change that.",
            next_step=_BY_HAND,
            kind=ErrorKind.USAGE,
        )
    indent = top.value[0][0].start_mark.column
    block = f"{' ' * indent}{role.value}:\n{_block(keys, indent + 2)}"
    for key_node, value_node in top.value:
        if key_node.value == role.value:  # empty: nothing of the operator's is lost by writing it anew
            start = text.rfind("\n", 0, key_node.start_mark.index) + 1
            return text[:start] + block + text[_next_line(text, max(key_node.end_mark.index, _end(value_node))) :]
    return (text if text.endswith("\n") else f"{text}\n") + block


def _child(node: yaml.Node | None, name: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for key, value in node.value if key.value == name), None)


def _end(node: yaml.Node) -> int:
    """Where a value ends. The mark of a block lies behind the comments that follow it: its last part tells better."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _next_line(text: str, index: int) -> int:
    end = text.find("\n", index)
    return len(text) if end < 0 else end + 1


def _block(keys: Mapping[str, str], indent: int) -> str:
    return "".join(f"{' ' * indent}{name}: {_scalar(value)}\n" for name, value in keys.items())


def _scalar(value: str) -> str:
    """A text as one YAML scalar: bare where that cannot be mistaken, else in quotes, on one line."""
    if _PLAIN.fullmatch(value) and not value.endswith(":") and yaml.safe_load(value) == value:
        return value
    text: str = yaml.safe_dump(value, default_style='"', width=_ONE_LINE)
    return text.rstrip("\n")


def _keys(document: YamlItem, role: Role) -> dict[str, YamlItem]:
    top = (document.keys or {}).get(TOP_KEY)
    item = (top.keys or {}).get(role.value) if top else None
    return (item.keys or {}) if item else {}


def _plain(item: YamlItem) -> Any:
    if item.text is not None:
        return "" if item.is_null else item.text
    return item.plain()


def _only_this_changed(before: YamlItem, after: YamlItem, role: Role, keys: Mapping[str, str | None]) -> bool:
    """Whether the edited file says what was wanted, and the same as before about everything else."""
    for other in Role:
        old = {name: _plain(item) for name, item in _keys(before, other).items()}
        new = {name: _plain(item) for name, item in _keys(after, other).items()}
        wanted = dict(old)
        for name, value in keys.items() if other is role else ():
            if value is None:
                wanted.pop(name, None)
            elif value != KEPT:
                wanted[name] = value
        if new != wanted:
            return False
    return True
