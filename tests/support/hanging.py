"""A hanging transaction: records of a transaction that its coordinator was never told of, written byte by byte."""

from __future__ import annotations

import struct
import time

from kferry.domain.model import ClusterConfig
from kferry.kafka.direct import DirectSession
from kferry.kafka.wire import pack_bytes, pack_nullable_string, pack_string
from support.waiting import wait_until

_PRODUCE, _INIT_PRODUCER_ID = 0, 22
_TRANSACTIONAL = 0x10
_CASTAGNOLI = 0x82F63B78


def leave_hanging(cluster: ClusterConfig, topic: str, transactional_id: str, *, age_seconds: float) -> int:
    """Write one record into partition 0, as old as said, in a transaction that nobody will end; the producer's id.

    The broker must not verify transactions (transaction.partition.verification.enable=false), as those before 3.6.
    """
    with DirectSession(cluster, timeout_seconds=60) as session:

        def producer() -> tuple[int, int] | None:
            answer = session.call(_INIT_PRODUCER_ID, 1, pack_string(transactional_id) + struct.pack(">i", 60_000))
            answer.int32()
            error = answer.int16()
            return None if error else (answer.int64(), answer.int16())

        producer_id, epoch = wait_until(producer, 30, "the coordinator gives a producer id") or (0, 0)
        batch = _batch(producer_id, epoch, int((time.time() - age_seconds) * 1000))
        body = pack_nullable_string(transactional_id) + struct.pack(">hi", -1, 10_000)
        body += struct.pack(">i", 1) + pack_string(topic) + struct.pack(">ii", 1, 0) + pack_bytes(batch)
        answer = session.call(_PRODUCE, 3, body)
        answer.int32()
        answer.string()
        answer.int32()
        answer.int32()
        error = answer.int16()
        assert error == 0, f"the record was not taken: error {error}"
    return producer_id


def _batch(producer_id: int, epoch: int, timestamp_ms: int) -> bytes:
    value = b"never committed"
    record = b"\0\0\0\x01" + bytes([len(value) * 2]) + value + b"\0"
    counted = struct.pack(">hiqqqhii", _TRANSACTIONAL, 0, timestamp_ms, timestamp_ms, producer_id, epoch, 0, 1)
    counted += bytes([len(record) * 2]) + record
    rest = struct.pack(">ibI", -1, 2, _crc32c(counted)) + counted
    return struct.pack(">qi", 0, len(rest)) + rest


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_CASTAGNOLI if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
