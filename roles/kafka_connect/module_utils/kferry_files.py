"""Write files whole and private, and Java properties with the right escapes. Standard library only."""

from __future__ import annotations

import os
from pathlib import Path


def read_text(path):
    """The text of a file, or None where there is none."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def write_whole(path, text, mode=0o600):
    """Write a file so that readers see the old or the new one, never a part."""
    temporary = Path(f"{path}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.chmod(mode)
    temporary.replace(path)


def mode_of(path):
    """The permission bits of a file, or None where there is none."""
    try:
        return Path(path).stat().st_mode & 0o777
    except FileNotFoundError:
        return None


def properties_text(values, header=""):
    """Render a Java properties file: sorted, one key a line, in pure ASCII."""
    lines = [f"# {header}"] if header else []
    for key in sorted(values):
        value = values[key]
        if value is None:
            continue
        text = str(value).lower() if isinstance(value, bool) else str(value)
        lines.append(f"{_escape(key, is_key=True)}={_escape(text, is_key=False)}")
    return "".join(line + "\n" for line in lines)


_NAMED = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f"}


def _escape(text, is_key):
    parts = []
    for position, character in enumerate(text):
        if character in _NAMED:
            parts.append(_NAMED[character])
        elif character == " " and (is_key or position == 0):
            parts.append("\\ ")
        elif is_key and character in "=:#!":
            parts.append("\\" + character)
        elif " " <= character <= "~":
            parts.append(character)
        else:
            units = character.encode("utf-16-be", "surrogatepass")
            parts += [f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2)]
    return "".join(parts)


def parse_properties(text):
    """Read back what properties_text wrote."""
    values = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        key, value = _split(line)
        values[key] = value
    return values


def _split(line):
    parts, current, position, in_key = [], [], 0, True
    names = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}
    while position < len(line):
        character = line[position]
        if character == "\\" and position + 1 < len(line):
            following = line[position + 1]
            if following == "u":
                current.append(chr(int(line[position + 2 : position + 6], 16)))
                position += 6
                continue
            current.append(names.get(following, following))
            position += 2
            continue
        if in_key and character == "=":
            parts.append(_joined(current))
            current, in_key = [], False
        else:
            current.append(character)
        position += 1
    value = _joined(current)
    return (parts[0], value) if parts else (value, "")


def _joined(characters):
    """Text of characters in which those beyond the first plane stand as pairs."""
    return "".join(characters).encode("utf-16", "surrogatepass").decode("utf-16")
