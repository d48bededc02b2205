"""The registry of checks, what is told of each, and their one runner."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from kferry.domain.model import Finding, Severity
from kferry.domain.preflight.facts import PreflightFacts
from kferry.domain.preflight.result import Result
from kferry.domain.waivers import content_of

Check = Callable[[PreflightFacts], Iterable[Result]]

_ORDER = {Severity.BLOCK: 0, Severity.WARN: 1, Severity.UNKNOWN: 2, Severity.INFO: 3}


class Family(StrEnum):
    """What a check is about; the order is that of the pages."""

    CLUSTERS = "clusters"
    RIGHTS = "rights"
    ACCESS = "access"
    NAMES = "names"
    PLAN = "plan"
    TARGET = "target"
    RECORDS = "records"
    RETENTION = "retention"
    TRANSACTIONS = "transactions"
    GROUPS = "groups"
    ECOSYSTEM = "ecosystem"
    WORKERS = "workers"


@dataclass(frozen=True, slots=True)
class CheckInfo:
    """A check as the registry holds it.

    `title` says what it looks at, `why` in one sentence why it matters, `fix` how its findings are closed; `gives` are
    the severities that it can give.
    """

    check_id: str
    family: Family
    title: str
    why: str
    gives: tuple[Severity, ...]
    fix: str
    function: Check


_CHECKS: dict[str, CheckInfo] = {}


def check(
    check_id: str, family: Family, gives: str, *, why: str, fix: str = "Nothing has to be done."
) -> Callable[[Check], Check]:
    """Register a check under its id, which is part of every finding id and of every waiver: never change one.

    `gives` names its severities: "block warn".
    """

    def register(function: Check) -> Check:
        if check_id in _CHECKS:
            raise ValueError(f"two checks are called {check_id}")
        severities = tuple(sorted((Severity(word) for word in gives.split()), key=_ORDER.__getitem__))
        title = (function.__doc__ or "").strip()
        _CHECKS[check_id] = CheckInfo(check_id, family, title, why, severities, fix, function)
        return function

    return register


def catalog() -> tuple[CheckInfo, ...]:
    """Every check, by family and id."""
    places = list(Family)
    return tuple(sorted(_CHECKS.values(), key=lambda one: (places.index(one.family), one.check_id)))


def checks() -> Mapping[str, str]:
    """Every check with the sentence that says what it looks at."""
    return {name: one.title for name, one in sorted(_CHECKS.items())}


def run_checks(facts: PreflightFacts, only: Iterable[str] | None = None) -> list[Finding]:
    """All findings, those that stop first. A check that breaks becomes an unknown finding and hides no other."""
    wanted = set(_CHECKS) if only is None else set(only)
    findings = [finding for name, one in _CHECKS.items() if name in wanted for finding in _run(one, facts)]
    return sorted(findings, key=lambda one: (_ORDER[one.severity], one.check, one.subject))


def _run(one: CheckInfo, facts: PreflightFacts) -> Iterator[Finding]:
    try:
        results = list(one.function(facts))
    except Exception as error:
        results = [
            Result(
                Severity.UNKNOWN,
                "kferry",
                f"The check {one.check_id} could not be carried out",
                f"It broke with {type(error).__name__}: {error}",
                "This is a defect of kferry: please report it. Look at the matter yourself before you waive this.",
            )
        ]
    for found in results:
        yield Finding(
            one.check_id,
            found.severity,
            found.subject,
            found.title,
            found.evidence,
            found.fix,
            family=one.family.value,
            why=one.why,
            content=content_of(found.names),
        )
