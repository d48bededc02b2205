"""Planning with everything the engine knows: the last scan, the operator's rules, what has begun, measured speed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kferry.domain.errors import KferryError
from kferry.domain.model import BatchPhase, Plan, Scan
from kferry.domain.planning import plan_batches
from kferry.store import codec, plan_file, rules_file
from kferry.store.copy_rates import copy_rates
from kferry.store.queries import Reader

if TYPE_CHECKING:
    from kferry.engine.context import Services


def make_plan(services: Services) -> Plan:
    """The plan of the last scan. Batches that are pinned or have begun stay as plan.yml says."""
    scan = codec.load(Scan, services.journal.document("scan", "source") or "")
    reader = Reader(services.layout.root)
    try:
        begun = {
            name for name, row in reader.batch_rows().items() if BatchPhase(row["phase"]) is not BatchPhase.PLANNED
        }
        assumed = services.settings().settings.assumed_copy_bytes_per_second
        rates = copy_rates(reader, assumed_bytes_per_second=assumed)
    finally:
        reader.close()
    return plan_batches(
        scan, rules_file.load_rules(services.layout), before=_before(services, begun), begun=begun, rates=rates
    )


def _before(services: Services, begun: set[str]) -> Plan | None:
    """The plan as it stands; one that can't be read counts only where something in it has begun."""
    if not services.layout.plan.exists():
        return None
    try:
        return plan_file.load_plan(services.layout)
    except KferryError:
        if begun:
            raise  # planning anew would forget what is in the batches that move
        return None


def planned_words(services: Services) -> list[str]:
    """What planning would come to, batch by batch, as sentences."""
    made = make_plan(services)
    words = [
        f"{number}. {batch.name}{' (canary)' if batch.canary else ''}: {len(batch.topics)} topics,"
        f" {len(batch.groups)} groups; {batch.estimate}"
        for number, batch in enumerate(made.batches, start=1)
    ]
    return [*words, f"{len(made.left_out)} topics and groups stay behind."]
