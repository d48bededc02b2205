"""What each step of each runbook does. Importing this package registers them all."""

from kferry.engine.operations import (  # noqa: F401 - imported to register their steps
    access,
    acls,
    cutover_back,
    cutover_certify,
    cutover_groups,
    cutover_producers,
    cutover_ready,
    drafts,
    fixing,
    machines,
    remove,
    replicate,
    scans,
    survey,
    topics,
    undo,
    workers,
)
