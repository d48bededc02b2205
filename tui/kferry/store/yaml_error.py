"""YAML files as trees that know their lines, so that every complaint names file, line, column and what to write."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import yaml

from kferry.domain.errors import ErrorKind, KferryError

E = TypeVar("E", bound=StrEnum)

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null"))
_MAX_DEPTH = 40
_MAX_NODES = 500_000  # aliases can blow a small file up to any size
_JINJA = ("{{", "{%", "{#")


@dataclass(slots=True)
class YamlItem:
    """One node of a YAML file. `text` is a scalar as it was written, `value` what YAML makes of it."""

    path: Path
    line: int
    column: int
    text: str | None = None
    value: Any = None
    vault: bool = False
    keys: dict[str, YamlItem] | None = None
    key_marks: dict[str, tuple[int, int]] = field(default_factory=dict)
    items: list[YamlItem] | None = None

    def error(self, what: str, next_step: str = "", *, key: str | None = None) -> KferryError:
        """A complaint about this node, or about one of its keys."""
        line, column = self.key_marks.get(key, (self.line, self.column)) if key else (self.line, self.column)
        return KferryError(
            f"{self.path}, line {line}, column {column}: {what}", next_step=next_step, kind=ErrorKind.USAGE
        )

    @property
    def is_null(self) -> bool:
        return self.keys is None and self.items is None and self.value is None and not self.vault

    def mapping(self, what: str, allowed: Iterable[str] | None = None) -> dict[str, YamlItem]:
        """The node as a mapping ({} where it is empty); an unknown key is refused with the nearest valid one."""
        if self.is_null:
            return {}
        if self.keys is None:
            raise self.error(f"{what} must be a mapping (key: value lines).")
        if allowed is not None:
            valid = list(allowed)
            for key in self.keys:
                if key not in valid:
                    raise self.error(f"unknown key {key!r} in {what}.", nearest(key, valid), key=key)
        return self.keys

    def sequence(self, what: str) -> list[YamlItem]:
        """The node as a list; [] where it is empty."""
        if self.is_null:
            return []
        if self.items is None:
            raise self.error(f"{what} must be a list (lines that begin with a hyphen).")
        return self.items

    def string(self, what: str) -> str:
        """The node as text, just as it was written: a topic called `2024-01-01` or `on` keeps its name."""
        if self.text is None:
            raise self.error(f"{what} must be text.")
        if self.is_null:
            raise self.error(f"{what} is empty.", f"Write a value, or take the line out ({self.text!r} means nothing).")
        return self.text

    def choice(self, what: str, kind: type[E]) -> E:
        """The node as a member of an enum; otherwise all valid values are named."""
        text = self.string(what)
        try:
            return kind(text)
        except ValueError:
            raise self.one_of_error(what, text, [member.value for member in kind]) from None

    def one_of(self, what: str, valid: Iterable[str]) -> str:
        """The node as one of some words."""
        text, words = self.string(what), list(valid)
        if text not in words:
            raise self.one_of_error(what, text, words)
        return text

    def one_of_error(self, what: str, text: str, valid: list[str]) -> KferryError:
        return self.error(f"{text!r} is not a valid {what}.", nearest(text, valid, noun="values"))

    def plain(self) -> Any:
        """The whole subtree as plain Python values."""
        if self.keys is not None:
            return {key: item.plain() for key, item in self.keys.items()}
        if self.items is not None:
            return [item.plain() for item in self.items]
        return self.value

    def walk(self) -> Iterator[YamlItem]:
        """This node and all below it."""
        yield self
        for child in (*(self.keys or {}).values(), *(self.items or ())):
            yield from child.walk()

    def refuse_jinja(self) -> None:
        """Raise where any key or value looks like a template: Ansible would run it."""
        for item in self.walk():
            for key in item.keys or ():
                if any(mark in key for mark in _JINJA):
                    raise item.error("a Jinja template in a key.", _NO_TEMPLATES, key=key)
            if item.text is not None and any(mark in item.text for mark in _JINJA):
                raise item.error("a Jinja template.", _NO_TEMPLATES)


_NO_TEMPLATES = "Write the plain value; for a secret write a reference: env:NAME, file:/path or command:... ."


def nearest(word: str, valid: Iterable[str], *, noun: str = "keys") -> str:
    """The next step for a misspelt word: the nearest valid one, and all of them."""
    words = list(valid)
    folded = {one.lower(): one for one in words}
    near = difflib.get_close_matches(word.lower(), list(folded), n=1, cutoff=0.5)
    hint = f"Did you mean {folded[near[0]]!r}? " if near else ""
    return f"{hint}Valid {noun}: {', '.join(words)}."


def read_yaml(path: Path, *, what: str, next_step: str) -> YamlItem:
    """Read one YAML document. Everything that is wrong with it is a KferryError with its place."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise KferryError(
            f"There is no {what}: {path} does not exist.", next_step=next_step, kind=ErrorKind.USAGE
        ) from None
    except OSError as error:
        raise KferryError(
            f"{path} cannot be read.",
            cause=f"{error.strerror or error}.",
            next_step="Check the path and its permissions.",
            kind=ErrorKind.USAGE,
        ) from error
    return parse_yaml(raw, path)


def parse_yaml(raw: bytes, path: Path) -> YamlItem:
    """Parse the bytes of a YAML file into a tree with lines."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _place(path, line, 1, "not UTF-8 text.", "Save the file as UTF-8.") from None
    try:
        loader = _LOADER(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return YamlItem(path, 1, 1, text="")
            return _Walker(path, loader).item(node, 0)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = ", ".join(part for part in (error.context, error.problem) if part) or "not valid YAML"
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise _place(path, line, column, f"not valid YAML: {words}.", _FIX_YAML) from None
    except yaml.YAMLError as error:
        position = getattr(error, "position", 0)
        line = text.count("\n", 0, position) + 1
        reason = getattr(error, "reason", "not valid YAML")
        raise _place(path, line, 1, f"not valid YAML: {reason}.", _FIX_YAML) from None
    except RecursionError:
        raise _place(path, 1, 1, "nested too deeply.", _FIX_YAML) from None


_FIX_YAML = "Look at that line and the one above: indentation, colons, quotes, tabs."


def _place(path: Path, line: int, column: int, what: str, next_step: str) -> KferryError:
    return KferryError(f"{path}, line {line}, column {column}: {what}", next_step=next_step, kind=ErrorKind.USAGE)


class _Walker:
    """Turns composed nodes into YamlItems, refusing what plain data never needs."""

    def __init__(self, path: Path, loader: Any) -> None:
        self._path = path
        self._loader = loader
        self._count = 0

    def item(self, node: Any, depth: int) -> YamlItem:
        self._count += 1
        made = YamlItem(self._path, node.start_mark.line + 1, node.start_mark.column + 1)
        if depth > _MAX_DEPTH or self._count > _MAX_NODES:
            raise made.error("nested too deeply or too large.", "Write it without anchors and aliases.")
        if isinstance(node, yaml.MappingNode):
            self._fill_mapping(made, node, depth)
        elif isinstance(node, yaml.SequenceNode):
            self._check_tag(made, node.tag, "tag:yaml.org,2002:seq")
            made.items = [self.item(child, depth + 1) for child in node.value]
        else:
            self._fill_scalar(made, node)
        return made

    def _fill_mapping(self, made: YamlItem, node: Any, depth: int) -> None:
        self._check_tag(made, node.tag, "tag:yaml.org,2002:map")
        made.keys = {}
        for key_node, value_node in node.value:
            mark = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                raise _place(self._path, *mark, "a key must be a word, not a list or mapping.", _FIX_YAML)
            key = key_node.value
            if key in made.keys:
                first = made.key_marks[key][0]
                raise _place(
                    self._path, *mark, f"the key {key!r} is here twice (first in line {first}).", "Keep one of them."
                )
            made.key_marks[key] = mark
            made.keys[key] = self.item(value_node, depth + 1)

    def _fill_scalar(self, made: YamlItem, node: Any) -> None:
        made.text = node.value
        if node.tag == "!vault":
            made.vault = True
            made.value = node.value
        elif node.tag in _PLAIN_TAGS:
            try:
                made.value = self._loader.construct_object(node)
            except ValueError:
                made.value = node.value
        elif node.tag.startswith("tag:yaml.org,2002:") and "python" not in node.tag:
            made.value = node.value  # dates and the like stay as they were written
        else:
            raise made.error(f"the tag {node.tag!r} is not allowed here.", "Write a plain value.")

    def _check_tag(self, made: YamlItem, tag: str, expected: str) -> None:
        if tag != expected:
            raise made.error(f"the tag {tag!r} is not allowed here.", "Write it without the tag.")
