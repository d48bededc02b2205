"""What the journal says of the speed of workers."""

from __future__ import annotations

import json

from kferry.domain.planning.estimate import Rates
from kferry.domain.planning.rates import CopySample, calibrate
from kferry.store.queries import Reader

_NEWEST = 20_000


def copy_rates(reader: Reader, *, assumed_bytes_per_second: float) -> Rates:
    """The measured speed of one worker, or the assumed one where no task had a backlog yet."""
    if not reader.exists:
        return Rates(assumed_bytes_per_second)
    workers = {
        row["name"]: len(json.loads(row["spec"])["workers"]) for row in reader.rows("select name, spec from task")
    }
    rows = reader.rows(
        "select task, lag_records, records_per_second, bytes_per_second from sample"
        " where bytes_per_second > 0 and lag_records > records_per_second order by at_ms desc limit ?",
        _NEWEST,
    )
    return calibrate(
        (
            CopySample(
                row["task"],
                workers.get(row["task"], 1),
                row["lag_records"],
                row["records_per_second"],
                row["bytes_per_second"],
            )
            for row in rows
        ),
        assumed_bytes_per_second=assumed_bytes_per_second,
    )
