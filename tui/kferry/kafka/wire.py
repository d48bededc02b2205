"""Kafka's own binary types: read out of a byte string, and packed for requests."""

from __future__ import annotations

import struct
from collections.abc import Iterable


class WireError(ValueError):
    """The bytes are not what the schema says."""


class WireReader:
    """Takes one value after the other from the front of some bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left_bytes(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        if count < 0 or count > self.left_bytes:
            raise WireError(f"{count} bytes wanted, {self.left_bytes} left")
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def int8(self) -> int:
        return int.from_bytes(self.take(1), "big", signed=True)

    def int16(self) -> int:
        return int.from_bytes(self.take(2), "big", signed=True)

    def int32(self) -> int:
        return int.from_bytes(self.take(4), "big", signed=True)

    def int64(self) -> int:
        return int.from_bytes(self.take(8), "big", signed=True)

    def boolean(self) -> bool:
        return self.take(1) != b"\x00"

    def uvarint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise WireError("a variable-length number does not end")

    def string(self) -> str:
        return self._text(self.int16())

    def compact_string(self) -> str:
        return self._text(self.uvarint() - 1)

    def nullable_string(self) -> str | None:
        length = self.int16()
        return None if length < 0 else self._text(length)

    def compact_nullable_string(self) -> str | None:
        length = self.uvarint() - 1
        return None if length < 0 else self._text(length)

    def float64(self) -> float:
        value: float = struct.unpack(">d", self.take(8))[0]
        return value

    def array_length(self) -> int:
        """Number of elements; a null array counts as empty."""
        return self._count(self.int32())

    def compact_array_length(self) -> int:
        return self._count(self.uvarint() - 1)

    def tagged_fields(self) -> dict[int, bytes]:
        """The tagged fields that end each structure of a flexible version."""
        fields: dict[int, bytes] = {}
        for _ in range(self._count(self.uvarint())):
            tag = self.uvarint()
            fields[tag] = self.take(self.uvarint())
        return fields

    def _text(self, length: int) -> str:
        if length < 0:
            raise WireError("a name is null")
        return self.take(length).decode("utf-8", "replace")

    def _count(self, count: int) -> int:
        if count > self.left_bytes:
            raise WireError(f"{count} elements announced in {self.left_bytes} bytes")
        return max(0, count)


def pack_string(text: str) -> bytes:
    """A string as requests carry it: length in two bytes, then UTF-8."""
    encoded = text.encode("utf-8")
    return struct.pack(">h", len(encoded)) + encoded


def pack_nullable_string(text: str | None) -> bytes:
    """A string that may be null."""
    return struct.pack(">h", -1) if text is None else pack_string(text)


def pack_bytes(data: bytes) -> bytes:
    """Bytes as requests carry them: length in four bytes, then the bytes."""
    return struct.pack(">i", len(data)) + data


def pack_uvarint(value: int) -> bytes:
    """A variable-length number without a sign."""
    packed = bytearray()
    while value >= 0x80:
        packed.append(value & 0x7F | 0x80)
        value >>= 7
    packed.append(value)
    return bytes(packed)


def pack_compact_string(text: str) -> bytes:
    """A string of a flexible version: its length and one in a variable-length number, then UTF-8."""
    encoded = text.encode("utf-8")
    return pack_uvarint(len(encoded) + 1) + encoded


def pack_compact_array(items: Iterable[bytes]) -> bytes:
    """An array of items that are packed already."""
    packed = list(items)
    return pack_uvarint(len(packed) + 1) + b"".join(packed)
