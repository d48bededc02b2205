"""Which runbook a batch is switched by: the class of its applications decides, the operator may choose otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kferry.domain.applications import Application, CutoverStyle
from kferry.domain.cutover import CONSUMER_FIRST
from kferry.domain.cutover_drain import STOP_DRAIN_SWITCH
from kferry.domain.errors import ErrorKind, KferryError

AUTO = "auto"
CHOICES = (AUTO, CONSUMER_FIRST.variant, STOP_DRAIN_SWITCH.variant)


@dataclass(frozen=True, slots=True)
class Choice:
    """The runbook's variant, why it is this one, and what the operator has to know or do."""

    variant: str
    words: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def choose_runbook(wanted: str, applications: Iterable[Application]) -> Choice:
    """The runbook for a batch with these applications; `wanted` is what the operator asked for.

    Raises KferryError for a runbook that doesn't exist.
    """
    if wanted not in CHOICES:
        raise KferryError(
            f"There is no runbook {wanted!r}.", next_step=f"Runbooks: {', '.join(CHOICES)}.", kind=ErrorKind.USAGE
        )
    known = sorted(applications, key=lambda one: one.name)
    demanding = [f"{one.name} ({one.class_.value})" for one in known if one.style is not CutoverStyle.CONSUMER_FIRST]
    warnings = tuple(words for one in known for words in one.warnings)
    fitting = STOP_DRAIN_SWITCH.variant if demanding else CONSUMER_FIRST.variant
    chosen = fitting if wanted == AUTO else wanted
    if chosen != fitting and demanding:
        against = (
            f"Runbook {chosen} is against the class of {', '.join(demanding)}: what they write on the target between "
            "the copies breaks the mapping of offsets, and the order, without any error."
        )
        return Choice(chosen, (f"Runbook {chosen}, as you chose.",), (against, *warnings))
    if chosen != fitting:
        return Choice(chosen, (f"Runbook {chosen}, as you chose; {fitting} would do with less standstill.",), warnings)
    if demanding:
        why = f"{', '.join(demanding)}: everything stops and drains before anything starts on the target."
    else:
        why = "no application of this batch writes what others of it read."
    return Choice(chosen, (f"Runbook {chosen}: {why}",), warnings)
