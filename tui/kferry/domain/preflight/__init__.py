"""Preflight: facts in, findings out. Importing this package registers every family of checks."""

from kferry.domain.preflight import (
    access,
    changes,
    connectivity,
    ecosystem,
    groups,
    names,
    records,
    retention,
    rights,
    security,
    target,
    transactions,
    vantage,
    workers,
)
from kferry.domain.preflight.facts import CONTROLLER, PreflightFacts, PreflightSettings, Probe
from kferry.domain.preflight.registry import CheckInfo, Family, catalog, checks, run_checks

__all__ = [
    "CONTROLLER",
    "CheckInfo",
    "Family",
    "PreflightFacts",
    "PreflightSettings",
    "Probe",
    "access",
    "catalog",
    "changes",
    "checks",
    "connectivity",
    "ecosystem",
    "groups",
    "names",
    "records",
    "retention",
    "rights",
    "run_checks",
    "security",
    "target",
    "transactions",
    "vantage",
    "workers",
]
