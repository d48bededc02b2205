"""Why a topic or group is where it is, as sentences: its ties, its batch, its class, its place in the order."""

from __future__ import annotations

from dataclasses import dataclass

from kferry.domain.applications import Application
from kferry.domain.model import Plan
from kferry.domain.planning.graph import Bridge, Component, Graph
from kferry.domain.planning.planner import ApplicationIndex
from kferry.domain.planning.scope import group_key
from kferry.domain.planning.violations import violations_in


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that speaks about one name. `batch` is None where it is in none."""

    name: str
    batch: str | None
    position: int | None
    words: tuple[str, ...]
    component: Component | None
    applications: tuple[Application, ...]
    bridges: tuple[Bridge, ...]
    violations: tuple[str, ...]


def explain_name(plan: Plan, graph: Graph, name: str) -> Explanation | None:
    """Why a topic, group, transactional id or application is where it is; None where nobody knows the name."""
    component = graph.component_of(name)
    batch = next((one for one in plan.batches if name in one.topics or name in one.groups), None)
    apps = [one for one in graph.applications if name in (one.name, *one.groups, *one.transactional_ids)]
    apps += [one for one in graph.applications if name in one.topics and one not in apps]
    behind = {key: plan.left_out.get(key) or graph.left_out.get(key) for key in (name, group_key(name))}
    reasons = [reason for reason in behind.values() if reason]
    is_known = any(topic.name == name for topic in graph.scan.topics) or graph.scan.group(name) is not None
    if component is None and batch is None and not apps and not reasons and not is_known:
        return None
    words = _ties(graph, name)
    if batch is not None:
        position = plan.batches.index(batch) + 1
        words.append(f"It is in batch {batch.name}, number {position} of {len(plan.batches)}.")
        words += [one for one in batch.why if one.startswith(("Its place:", "Proposed as the canary", "Risk "))]
    elif reasons:
        words.append(f"It stays behind: {reasons[0]}.")
    else:
        words.append("The plan says nothing about it: plan again, or place it (`kferry plan newcomers`).")
    cut = graph.rules.cut(name)
    if cut is not None:
        words.append(
            "The operator cut it: it no longer holds its topics together." + (f" {cut.why}" if cut.why else "")
        )
    system = graph.business_system(name) or graph.rules.system_of_group(name)
    if system is not None:
        words.append(f"It belongs to the system {system.name}" + (f" of {system.owner}." if system.owner else "."))
    mine = set(component.topics) if component is not None else set()
    return Explanation(
        name,
        batch.name if batch is not None else None,
        plan.batches.index(batch) + 1 if batch is not None else None,
        tuple(words),
        component,
        tuple(apps),
        tuple(one for one in graph.bridges() if mine & set(one.topics)),
        tuple(words for subject, words in violations_in(plan, graph) if subject == name),
    )


def _ties(graph: Graph, name: str) -> list[str]:
    return [one.words for one in graph.bindings if name == one.name or name in one.topics]


def classes_of(plan: Plan, graph: Graph) -> dict[str, tuple[Application, ...]]:
    """The applications of each batch."""
    index = ApplicationIndex(graph.applications)
    return {batch.name: index.of(batch) for batch in plan.batches}
