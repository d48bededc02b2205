"""What moves together, in which order and how big it is: the plan and the edits an operator may make to it."""

from kferry.domain.planning.bindings import Binding, NodeKind, bindings_of, listed_in_words
from kferry.domain.planning.edits import (
    drop_group,
    drop_topic,
    merge_batches,
    move_group,
    move_topic,
    pin,
    rename_batch,
    reorder,
    set_canary,
    set_note,
    split_batch,
)
from kferry.domain.planning.estimate import Estimate, Estimator, Rates, estimate
from kferry.domain.planning.graph import Bridge, Component, Edge, Graph, Node, bridges, component_of, components
from kferry.domain.planning.naming import BATCH_NAME, is_batch_name
from kferry.domain.planning.planner import ApplicationIndex, plan_batches, reweigh
from kferry.domain.planning.risk import Risk, RiskPart, batch_risk
from kferry.domain.planning.rules import PlanningRules
from kferry.domain.planning.scope import group_key, group_reason, topic_reason
from kferry.domain.planning.sizing import BatchSize, connector_tasks_max, size
from kferry.domain.planning.violations import explain, violations

__all__ = [
    "BATCH_NAME",
    "ApplicationIndex",
    "BatchSize",
    "Binding",
    "Bridge",
    "Component",
    "Edge",
    "Estimate",
    "Estimator",
    "Graph",
    "Node",
    "NodeKind",
    "PlanningRules",
    "Rates",
    "Risk",
    "RiskPart",
    "batch_risk",
    "bindings_of",
    "bridges",
    "component_of",
    "components",
    "connector_tasks_max",
    "drop_group",
    "drop_topic",
    "estimate",
    "explain",
    "group_key",
    "group_reason",
    "is_batch_name",
    "listed_in_words",
    "merge_batches",
    "move_group",
    "move_topic",
    "pin",
    "plan_batches",
    "rename_batch",
    "reorder",
    "reweigh",
    "set_canary",
    "set_note",
    "size",
    "split_batch",
    "topic_reason",
    "violations",
]
