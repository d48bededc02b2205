"""A cluster as lines: how it is reached, every line of its test with its time, what can and cannot be asked of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kferry.client import check_words, formats
from kferry.client.new_migration import placeholder
from kferry.domain.drafts import KEPT, Draft, Gap, fields_of, is_reference
from kferry.domain.model import ClusterKind
from kferry.domain.sources import KINDS
from kferry.store.views import ClusterView
from kferry.ui import bindings
from kferry.ui.cells import Cell, Line, line
from kferry.ui.rows import common

# A test that is older than this says little about today, in milliseconds.
OLD_TEST_MS = 24 * 3_600_000
_TONES = {"supported": "ok", "denied": "bad", "unsupported": "dim", "unknown": "warn"}
_LABELS = {
    "kind": "kind",
    "way": "way",
    "bootstrap_servers": "servers",
    "mechanism": "mechanism",
    "user": "user",
    "password": "password",
    "ca": "CA",
    "certificate": "certificate",
    "key": "key",
}


def cluster_lines(
    cluster: ClusterView, now_ms: int, *, changed_at_ms: int | None = None, testing_since_ms: int | None = None
) -> list[Line]:
    """One cluster in whatever state it is: not described, never tested, being tested, tested, stale, failed, denied.

    How it stands and why comes first: a small terminal shows no more. `changed_at_ms` is when clusters.yml was changed
    last: a test from before that is of other settings.
    """
    if not cluster.bootstrap_servers:
        return _not_described(cluster)
    verdict: list[tuple[str, Cell | str]] = [
        ("state", _state(cluster, now_ms, changed_at_ms, testing_since_ms)),
        ("tested", _tested(cluster, now_ms, changed_at_ms, is_testing=testing_since_ms is not None)),
    ]
    denied = [name.replace("_", " ") for name, found in cluster.capabilities.items() if found.get("state") == "denied"]
    if denied:
        key = bindings.first_key("apply_acls")
        verdict.append(("denied", Cell(f"{', '.join(denied)}: {key} shows what grants it", "warn")))
    if cluster.bootstrap_servers == placeholder(cluster.role):
        key = bindings.first_key("edit_cluster")
        verdict.insert(0, ("note", Cell(f"its servers are a placeholder: {key} describes yours", "warn")))
    lines = common.facts(verdict, width=11)
    if cluster.error:
        lines += [*common.error_lines(cluster.error), line("")]
    lines += common.facts(
        [
            ("kind", _kind_title(cluster.kind)),
            ("servers", cluster.bootstrap_servers.replace(",", ", ")),
            ("protocol", cluster.security_protocol or formats.UNKNOWN),
            ("Kafka", f"{cluster.kafka_version} or newer" if cluster.kafka_version else formats.UNKNOWN),
            ("cluster id", cluster.cluster_id or formats.UNKNOWN),
            ("brokers", formats.records(cluster.broker_count, formats.UNKNOWN)),
        ],
        width=11,
    )
    if cluster.lines:
        lines += [line(""), line(Cell("test", "title"))]
        lines += check_lines(cluster.lines)
    if cluster.capabilities:
        lines += [line(""), line(Cell("what can be asked", "title"))]
        lines += capability_lines(cluster.capabilities)
    return lines


def _not_described(cluster: ClusterView) -> list[Line]:
    """Nothing is known of it; where clusters.yml cannot be read, that is why, and describing it comes after."""
    if cluster.error and cluster.error.get("next_step"):
        return common.error_lines(cluster.error)
    way = "→ comes here, then " if cluster.role == "target" else "Press "
    words = f"{way}{bindings.first_key('edit_cluster')} to describe and test it."
    return [line(Cell(f"The {cluster.role} is not described yet. ", "warn"), words)]


def _kind_title(kind: str) -> str:
    try:
        return KINDS[ClusterKind(kind)].title
    except ValueError:
        return kind or formats.UNKNOWN


def _state(cluster: ClusterView, now_ms: int, changed_at_ms: int | None, testing_since_ms: int | None) -> Cell:
    if testing_since_ms is not None:
        return common.state("running", f"being tested for {formats.duration((now_ms - testing_since_ms) / 1000)}")
    if cluster.reachable is None:
        return common.state(None, "not tested")
    word, mark = _verdict(cluster)
    if _is_outdated(cluster, now_ms, changed_at_ms):
        return common.state(None, f"{word} when last tested")  # how it is today is not known
    return common.state(mark, word)


def _verdict(cluster: ClusterView) -> tuple[str, str]:
    """What the last test found, and the state whose mark it bears."""
    if not cluster.reachable:
        return "not reachable", "failed"
    if any(state == "failed" for _what, state, _words, _seconds in cluster.lines):
        return "reachable, but not all of it", "warn"
    if any(found.get("state") == "denied" for found in cluster.capabilities.values()):
        return "reachable; some rights are not given", "warn"
    return "reachable", "ok"


def _is_outdated(cluster: ClusterView, now_ms: int, changed_at_ms: int | None) -> bool:
    at_ms = cluster.checked_at_ms
    if at_ms is None:
        return True
    return now_ms - at_ms > OLD_TEST_MS or (changed_at_ms is not None and changed_at_ms > at_ms)


def _tested(cluster: ClusterView, now_ms: int, changed_at_ms: int | None, *, is_testing: bool) -> Cell:
    at_ms, key = cluster.checked_at_ms, bindings.first_key("check_clusters")
    if at_ms is None:
        return Cell("never before" if is_testing else f"never; press {key} to test", "warn")
    age = formats.age(at_ms, now_ms)
    if is_testing:
        return Cell(f"{age}: what it found stands here until this test is over", "dim")
    if changed_at_ms is not None and changed_at_ms > at_ms:
        return Cell(f"{age}, before clusters.yml was changed: press {key}", "warn")
    if now_ms - at_ms > OLD_TEST_MS:
        return Cell(f"{age}, old: press {key}", "warn")
    return Cell(age, "dim")


def check_lines(rows: Iterable[Sequence[object]]) -> list[Line]:
    """The lines of a test: state, time, what, words."""
    lines = []
    for row in rows:
        what, state, words = str(row[0]), str(row[1]), str(row[2])
        seconds = row[3] if len(row) > 3 and isinstance(row[3], int | float) else None
        tone = "" if state in ("failed", "warn") else "dim"
        lines.append(
            line(
                common.symbol(state),
                Cell(f" {check_words.took(seconds):>6} ", "dim"),
                Cell(f"{what}: ", "strong"),
                Cell(words, tone),
            )
        )
    return lines


def capability_lines(capabilities: Mapping[str, Mapping[str, str]]) -> list[Line]:
    """What can be asked: denied ones first, with the ACL that would give them."""
    order = {"denied": 0, "unknown": 1, "unsupported": 2, "supported": 3}
    lines = []
    for name, found in sorted(capabilities.items(), key=lambda item: order.get(item[1].get("state", ""), 1)):
        state = found.get("state", "unknown")
        cells = [
            Cell(f"{check_words.CAPABILITY_MARKS.get(state, '?')} {state:<12}", _TONES.get(state, "warn")),
            Cell(name.replace("_", " "), "strong"),
            Cell(f"  {found.get('words', '')}", "dim"),
        ]
        if found.get("grant") and state != "supported":
            cells += [Cell("  grant ", "dim"), Cell(found["grant"], "strong")]
        lines.append(tuple(cells))
    return lines


# ---- the form ----


def field_lines(draft: Draft, cursor: str, open_field: str | None) -> list[Line]:
    """The fields of the form: the one under the cursor is marked; a secret that is no reference is not shown."""
    lines = []
    for field in fields_of(draft):
        here = field == cursor
        mark = Cell("▸ " if here else "  ", "title")
        label = Cell(f"{_LABELS[field]:<12}", "strong" if here else "dim")
        if field == open_field:
            lines.append(line(mark, label, Cell("…", "busy")))
        else:
            lines.append(line(mark, label, _value(draft, field)))
    return lines


def _value(draft: Draft, field: str) -> Cell:
    if field == "kind":
        return Cell(draft.its_kind.title)
    if field == "way":
        way = draft.its_way
        ports = f", port {' or '.join(map(str, way.ports))}" if way.ports else ""
        return Cell(f"{way.title} ({way.protocol}{ports})")
    text = str(getattr(draft, field))
    if field == "password" and text and not is_reference(text):
        return Cell(f"{len(text)} characters that are no reference; not shown", "bad")
    if text == KEPT:
        return Cell("a !vault value, kept", "dim")
    if not text:
        optional = field == "ca" and draft.its_way.ca != "own"
        return Cell("the CAs of this machine", "dim") if optional else Cell("missing", "warn")
    return Cell(text)


def field_help(draft: Draft, field: str) -> str:
    """What to know about a field of this kind and way."""
    kind, way = draft.its_kind, draft.its_way
    if field == "kind":
        return kind.hint + (f" Versions: {kind.versions}." if kind.versions else "")
    if field == "way":
        return way.hint or kind.hint
    return {
        "bootstrap_servers": f"host:port, several with commas between. For example {kind.example}",
        "mechanism": f"One of {', '.join(way.mechanisms)}.",
        "user": f"It is {way.user_words}." if way.user_words else "The name by which the brokers know kferry.",
        "password": "A reference: env:NAME (in the engine's environment), file:/path (mode 0600) or command:... .",
        "ca": way.hint if way.ca == "own" else "A PEM file; empty takes the CAs of this machine.",
        "certificate": "A PEM file, or a reference to its text.",
        "key": "A PEM file with one plain PKCS #8 key (mode 0600), or a reference to its text.",
    }.get(field, "")


def gap_lines(found: Sequence[Gap], help_text: str) -> list[Line]:
    """What is missing, else what to know about the field under the cursor."""
    lines = [
        line(
            Cell("✗ " if gap.stops else "▲ ", "bad" if gap.stops else "warn"),
            Cell(gap.words, "" if gap.stops else "dim"),
        )
        for gap in found[:3]
    ]
    if len(found) > 3:
        lines.append(line(Cell(f"  … {len(found) - 3} more", "dim")))
    if not found:
        lines.append(line(Cell("✓ Nothing is missing: t tests it, s saves it.", "ok")))
    lines.append(line(Cell(help_text, "dim")))
    return lines
