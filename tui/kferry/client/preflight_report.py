"""What preflight found as one report: as a table, JSON, Markdown or JUnit XML, each ending in what is to be done."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from kferry import __version__
from kferry.client import formats, report
from kferry.client.exit_codes import ExitCode
from kferry.client.sanitize import clean
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.preflight import CheckInfo, catalog
from kferry.store.views import FindingView

if TYPE_CHECKING:
    from kferry.client.session import Session

FORMATS = ("table", "json", "md", "junit")
SUFFIXES = {".txt": "table", ".json": "json", ".md": "md", ".xml": "junit"}

_SEVERITIES = ("block", "warn", "unknown", "info")
_NOT_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class ActionNeeded:
    """A finding that still stops, and every way to close it."""

    number: int
    finding_id: str
    severity: str
    title: str
    ways: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Preflight of one migration. `looked_at_ms` is when the checks ran."""

    name: str
    migration_id: str
    written_at_ms: int
    looked_at_ms: int | None
    clusters: tuple[tuple[str, str, str], ...]  # role, version, id
    findings: tuple[FindingView, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many findings there are of each severity, and how many still stop or are waived."""
        found = Counter(finding.severity for finding in self.findings)
        return {
            **{severity: found[severity] for severity in _SEVERITIES},
            "stops": sum(finding.stops for finding in self.findings),
            "waived": len(self.waived),
        }

    @property
    def waived(self) -> tuple[FindingView, ...]:
        return tuple(finding for finding in self.findings if finding.waived_by and not finding.stops)

    @property
    def actions(self) -> tuple[ActionNeeded, ...]:
        """What is to be done before the migration may go on, the worst first."""
        return actions_needed(self.findings)

    @property
    def exit_code(self) -> ExitCode:
        """By the worst finding: a cluster that cannot be reached, then whatever else stops."""
        stopping = [finding for finding in self.findings if finding.stops]
        if any(finding.check == "cluster-reachable" and finding.severity == "block" for finding in stopping):
            return ExitCode.CONNECT
        return ExitCode.NOT_READY if stopping else ExitCode.OK

    @property
    def verdict(self) -> str:
        counts = self.counts
        if not counts["stops"]:
            waived = f"; {counts['waived']} waived" if counts["waived"] else ""
            return f"Nothing stops the migration{waived}."
        stops = "finding stops" if counts["stops"] == 1 else "findings stop"
        return f"{counts['stops']} {stops} the migration."


def actions_needed(findings: Iterable[FindingView]) -> tuple[ActionNeeded, ...]:
    """What is to be done about findings that still stop, numbered, the worst first."""
    stopping = sorted((one for one in findings if one.stops), key=lambda one: _SEVERITIES.index(one.severity))
    return tuple(
        ActionNeeded(number, finding.finding_id, finding.severity, finding.title, ways(finding))
        for number, finding in enumerate(stopping, start=1)
    )


def ways(finding: FindingView) -> tuple[str, ...]:
    """How a finding is closed: by hand, by kferry where it can, by a waiver where that is allowed."""
    # an id may hold anything that a name in a cluster may hold
    name = shlex.quote(clean(finding.finding_id))
    found = [f"{finding.outgrown} {finding.fix}" if finding.outgrown else finding.fix]
    if finding.fixable:
        found.append(f"Let kferry do it: kferry preflight fix {name}")
    if finding.severity in ("warn", "unknown"):
        found.append(f"Go on despite it: kferry preflight waive {name} --why TEXT")
    return tuple(found)


def build(session: Session, now_ms: int) -> Report:
    """The report of the last preflight. Raises KferryError where it never ran."""
    from kferry.client import files

    findings = session.reader.findings(now_ms)
    if findings is None:
        raise KferryError("Preflight has not run yet.", next_step="Run: kferry preflight", kind=ErrorKind.NOT_READY)
    settings = files.settings(session.layout)
    found = session.reader.document("findings", "")
    return Report(
        name=settings.name,
        migration_id=settings.migration_id,
        written_at_ms=now_ms,
        looked_at_ms=found[0] if found else None,
        clusters=tuple(
            (view.role, view.kafka_version or formats.UNKNOWN, view.cluster_id or formats.UNKNOWN)
            for view in session.cluster_views()
        ),
        findings=tuple(findings),
    )


def format_of(path: Path, wanted: str | None) -> str:
    """The format of a report's file: as named, else as its name ends. Raises KferryError for one there is not."""
    if wanted is not None:
        if wanted not in FORMATS:
            raise KferryError(f"{wanted!r} is none of {', '.join(FORMATS)}.", kind=ErrorKind.USAGE)
        return wanted
    found = SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise KferryError(
            f"It is not known in which format {path.name} is to be written.",
            next_step=f"Name it with --format ({', '.join(FORMATS)}), or let the file end in {', '.join(SUFFIXES)}.",
            kind=ErrorKind.USAGE,
        )
    return found


def render(made: Report, wanted: str) -> str:
    """The report as text in one of FORMATS, with a newline at its end."""
    if wanted == "json":
        return json.dumps(as_data(made), indent=2, ensure_ascii=True) + "\n"
    return {"table": as_table, "md": as_markdown, "junit": as_junit}[wanted](made)


def as_data(made: Report) -> dict[str, Any]:
    """The report as JSON-ready data."""
    return {
        "kind": "kferry preflight",
        "schema": 1,
        "name": made.name,
        "migration_id": made.migration_id,
        "kferry_version": __version__,
        "written_at_ms": made.written_at_ms,
        "looked_at_ms": made.looked_at_ms,
        "verdict": made.verdict,
        "exit_code": int(made.exit_code),
        "clusters": [dict(zip(("role", "kafka_version", "cluster_id"), one, strict=True)) for one in made.clusters],
        "counts": made.counts,
        "checks": len(catalog()),
        "findings": [finding_data(finding) for finding in made.findings],
        "actions_needed": [asdict(action) for action in made.actions],
    }


def finding_data(finding: FindingView) -> dict[str, Any]:
    """A finding as data, without the hashes of what it is about: its evidence names them."""
    found = {key: value for key, value in asdict(finding).items() if key != "content"}
    return {**found, "stops": finding.stops}


def as_table(made: Report) -> str:
    """The report for a terminal: findings, waivers, and what is to be done."""
    headers = ("SEVERITY", "STOPS", "ID", "WHAT", "EVIDENCE")
    found = [(one.severity, _stops(one), one.finding_id, one.title, one.evidence) for one in made.findings]
    parts = [_columns(headers, found) if found else "Preflight found nothing."]
    if made.waived:
        parts.append(_columns(("WAIVED", "WHO", "WHY", "UNTIL"), _waivers(made)))
    parts.append(actions_text(made))
    return "\n\n".join(parts) + "\n"


def actions_text(made: Report) -> str:
    """The list of what is to be done, as text."""
    lines = [f"Actions needed: {made.verdict if made.actions else 'none. ' + made.verdict}"]
    for action in made.actions:
        lines.append(f"{action.number:>3}. [{action.severity}] {clean(action.title)}  ({clean(action.finding_id)})")
        lines += [f"     - {clean(way)}" for way in action.ways]
    return "\n".join(lines)


def as_markdown(made: Report) -> str:
    """The report as Markdown, in which text from clusters shows as it is and means nothing."""
    cell = report.escape
    looked = formats.moment(made.looked_at_ms)
    parts = [
        f"# Preflight of {cell(made.name)} ({cell(made.migration_id)})",
        f"**{cell(made.verdict)}** Looked {looked}, written {formats.moment(made.written_at_ms)} by kferry"
        f" {__version__}; {len(catalog())} checks.",
        report.table(("cluster", "version", "id"), made.clusters),
        report.table(_SEVERITIES, [[made.counts[severity] for severity in _SEVERITIES]]),
    ]
    for severity in _SEVERITIES:
        found = [one for one in made.findings if one.severity == severity]
        if found:
            parts.append(f"## {severity.capitalize()}")
            parts += [_finding_section(one) for one in found]
    if made.waived:
        parts.append("## Waived\n\n" + report.table(("finding", "who", "why", "until"), _waivers(made)))
    needed = [
        f"{action.number}. **{cell(action.title)}** ({action.severity}, {cell(action.finding_id)})\n"
        + "\n".join(f"   - {cell(way)}" for way in action.ways)
        for action in made.actions
    ]
    parts.append("## Actions needed\n\n" + ("\n".join(needed) if needed else f"None. {cell(made.verdict)}"))
    return "\n\n".join(parts) + "\n"


def _waivers(made: Report) -> list[tuple[str, ...]]:
    return [
        (one.finding_id, one.waived_by or "", _why(one), formats.moment(one.waived_until_ms)) for one in made.waived
    ]


def _why(one: FindingView) -> str:
    """The reason of a waiver, and what has to be known of it."""
    return " ".join(words for words in (one.waived_why, f"({one.waived_words})" if one.waived_words else "") if words)


def _finding_section(one: FindingView) -> str:
    cell = report.escape
    lines = [f"### {cell(one.title)}", "", f"{cell(one.finding_id)}", "", f"- Evidence: {cell(one.evidence)}"]
    if one.why:
        lines.append(f"- Why it matters: {cell(one.why)}")
    lines.append(f"- Fix: {cell(one.fix)}")
    if one.waived_by:
        until = formats.moment(one.waived_until_ms)
        lines.append(f"- Waived by {cell(one.waived_by)} until {until}: {cell(_why(one))}")
    if one.outgrown:
        lines.append(f"- {cell(one.outgrown)}")
    return "\n".join(lines)


def as_junit(made: Report) -> str:
    """The report as JUnit XML: a suite per family, a case per finding, and a case per check that found nothing.

    What stops is a failure (or an error where it is unknown), what is waived is skipped with who, why and until when.
    """
    by_check: dict[str, list[FindingView]] = {}
    for finding in made.findings:
        by_check.setdefault(finding.check, []).append(finding)
    infos: dict[str, list[CheckInfo]] = {}
    for info in catalog():
        infos.setdefault(info.family.value, []).append(info)
    known = {info.check_id for info in catalog()}
    cases: dict[str, list[ElementTree.Element]] = {
        family: [case for info in members for case in _cases(family, info.check_id, by_check.get(info.check_id, ()))]
        for family, members in infos.items()
    }
    for check, findings in by_check.items():
        if check not in known:  # of another version of kferry
            cases.setdefault("other", []).extend(_cases("other", check, findings))
    root = ElementTree.Element("testsuites", name=_xml(f"kferry preflight {made.name}"))
    totals: Counter[str] = Counter()
    for family, members in cases.items():
        numbers = Counter(child.tag for case in members for child in case)
        counted = {"tests": len(members), "failures": numbers["failure"], "errors": numbers["error"]}
        totals.update(counted | {"skipped": numbers["skipped"]})
        suite = ElementTree.SubElement(root, "testsuite", name=family, skipped=str(numbers["skipped"]))
        for key, number in counted.items():
            suite.set(key, str(number))
        suite.extend(members)
    for key, number in totals.items():
        root.set(key, str(number))
    needed = ElementTree.SubElement(root, "system-out")
    needed.text = _xml(actions_text(made))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _cases(family: str, check: str, findings: Sequence[FindingView]) -> list[ElementTree.Element]:
    classname = f"kferry.preflight.{family}"
    if not findings:
        return [ElementTree.Element("testcase", classname=classname, name=_xml(check))]
    return [_case(classname, finding) for finding in findings]


def _case(classname: str, finding: FindingView) -> ElementTree.Element:
    case = ElementTree.Element("testcase", classname=classname, name=_xml(finding.finding_id))
    body = "\n".join(
        [f"Evidence: {clean(finding.evidence)}", f"Why: {clean(finding.why)}", *(clean(way) for way in ways(finding))]
    )
    if finding.stops:
        tag = "error" if finding.severity == "unknown" else "failure"
        found = ElementTree.SubElement(case, tag, type=finding.severity, message=_xml(finding.title))
        found.text = _xml(body)
    elif finding.waived_by:
        until = formats.moment(finding.waived_until_ms)
        words = f"{finding.title}: waived by {finding.waived_by} until {until}: {_why(finding)}"
        ElementTree.SubElement(case, "skipped", message=_xml(words))
    else:
        ElementTree.SubElement(case, "system-out").text = _xml(f"{clean(finding.title)}\n{body}")
    return case


def _xml(text: str) -> str:
    """Text that XML 1.0 can hold: control characters are drawn, what XML has no place for becomes a question mark."""
    return _NOT_IN_XML.sub("?", clean(text, keep_newlines=True))


def _stops(finding: FindingView) -> str:
    return "yes" if finding.stops else ("waived" if finding.waived_by else "no")


def _columns(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [tuple(headers)] + [tuple(clean(cell) for cell in row) for row in rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(headers))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
