"""Which Kafka the workers run: 3.9.x and no other, whoever it comes from."""

from __future__ import annotations

import re

WORKERS_RUN = (3, 9)


def why_not(version: str) -> str:
    """Why workers can't run this version of Kafka; "" where they can."""
    found = re.match(r"(\d+)\.(\d+)(?:\D|$)", version)
    if found is None:
        return f"{version!r} is no version of Kafka that kferry knows."
    release = (int(found[1]), int(found[2]))
    if release < WORKERS_RUN:
        return (
            f"Kafka {version} lacks fixes of MirrorMaker's offsets that 3.9 has, such as KAFKA-17232, and a part of"
            " what kferry asks of Connect."
        )
    if release > WORKERS_RUN:
        return (
            f"Kafka {version} may reach brokers from 2.1 on only, and name the metrics that kferry reads otherwise;"
            " kferry is tested with 3.9."
        )
    return ""
