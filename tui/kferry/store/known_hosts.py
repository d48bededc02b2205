"""DIR/known_hosts: the pinned keys of machines and jump hosts, in OpenSSH's format. What we don't know is kept."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable

from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.host_keys import DEFAULT_PORT, HostKey, host_pattern, is_address, parse_key
from kferry.store.atomic_write import write_text
from kferry.store.paths import Layout

_BRACKETED = re.compile(r"\[([^\]]+)\]:(\d{1,5})")


def pinned_keys(layout: Layout) -> list[HostKey]:
    """Every key that stands there under a readable name; hashed names are found by `keys_of` only."""
    found = []
    for line in _lines(layout):
        names, kind, key = _parts(line)
        for name in names:
            if name.startswith("|") or any(character in name for character in "*?!"):
                continue
            bracketed = _BRACKETED.fullmatch(name)
            host, port = (bracketed[1], int(bracketed[2])) if bracketed else (name, DEFAULT_PORT)
            parsed = parse_key(host, port, kind, key)
            if parsed is not None:
                found.append(parsed)
    return found


def keys_of(layout: Layout, host: str, port: int = DEFAULT_PORT) -> list[HostKey]:
    """The keys pinned for one machine."""
    pattern = host_pattern(host, port)
    found = []
    for line in _lines(layout):
        names, kind, key = _parts(line)
        if any(_names_it(name, pattern) for name in names):
            parsed = parse_key(host, port, kind, key)
            if parsed is not None:
                found.append(parsed)
    return found


def pin(layout: Layout, keys: Iterable[HostKey]) -> None:
    """Trust these keys from now on; each machine among them loses the keys that it had before."""
    keys = list(dict.fromkeys(keys))
    for key in keys:
        _refuse_unsafe(key)
    lines = _without(_lines(layout), {host_pattern(key.host, key.port) for key in keys})
    _write(layout, [*lines, *(key.line for key in keys)])


def unpin(layout: Layout, host: str, port: int = DEFAULT_PORT) -> None:
    """Trust a machine no more."""
    before = _lines(layout)
    after = _without(before, {host_pattern(host, port)})
    if after != before:
        _write(layout, after)


def _lines(layout: Layout) -> list[str]:
    try:
        return layout.known_hosts.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise KferryError(
            f"{layout.known_hosts} cannot be read.",
            cause=f"{getattr(error, 'strerror', None) or 'It is not UTF-8 text'}.",
            next_step="Set its permissions right, or move it away and run `kferry fleet trust` again.",
            kind=ErrorKind.USAGE,
        ) from error


def _write(layout: Layout, lines: list[str]) -> None:
    write_text(layout.known_hosts, "".join(f"{line}\n" for line in lines), mode=0o600)
    layout.known_hosts.chmod(0o600)


def _parts(line: str) -> tuple[list[str], str, str]:
    """Names, type and key of a line; nothing for comments, markers such as @revoked, and what is no key."""
    words = line.split()
    if len(words) < 3 or line.lstrip()[0] in "#@":
        return [], "", ""
    return words[0].split(","), words[1], words[2]


def _without(lines: list[str], patterns: set[str]) -> list[str]:
    """The lines with these names taken out; a line that names nobody any more is left out."""
    kept = []
    for line in lines:
        names, kind, key = _parts(line)
        left = [name for name in names if not any(_names_it(name, pattern) for pattern in patterns)]
        if left == names:
            kept.append(line)
        elif left:
            kept.append(f"{','.join(left)} {kind} {key}")
    return kept


def _names_it(name: str, pattern: str) -> bool:
    if not name.startswith("|1|"):
        return name.lower() == pattern.lower()
    try:
        salt, digest = (base64.b64decode(part) for part in name.split("|")[2:4])
    except ValueError:
        return False
    # OpenSSH hashes names with HMAC-SHA1; it hides names and guards nothing
    return hmac.compare_digest(hmac.new(salt, pattern.encode(), hashlib.sha1).digest(), digest)


def _refuse_unsafe(key: HostKey) -> None:
    if not is_address(key.host) or not 0 < key.port < 65536 or parse_key(key.host, key.port, key.type, key.key) is None:
        raise KferryError(f"The host key of {key.host!r} is no host key; nothing was pinned.", kind=ErrorKind.USAGE)
