"""Checks of what lives around the topics: schema registries, Connect clusters, stream processors, other mirrors."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kferry.domain.model import ClusterKind, Group, Role, Scan
from kferry.domain.preflight.facts import PreflightFacts, release
from kferry.domain.preflight.registry import Family, check
from kferry.domain.preflight.result import Result, counted, info, listed, warn

_SCHEMAS = re.compile(r"_schemas(?:[-_.].+)?")
_KSQL_COMMANDS = re.compile(r"_confluent-ksql-(?P<service>.+)_command_topic")
_SYNCS = re.compile(r"mm2-offset-syncs\..+\.internal")
_OWN_SYNCS = re.compile(r"mm2-offset-syncs\.kferry-(?P<migration>[a-z0-9]{6})-.+\.internal")
_CONNECT_OFFSETS = re.compile(r"(.*[-_.])?connect([-_.].*)?[-_.]offsets?", re.IGNORECASE)
_OLDEST_FORMAT = (0, 10)  # that of the oldest clients which AutoMQ takes
_CHECKPOINTED = ("flink", "spark-kafka-", "spark-executor")


@check(
    "ecosystem-schema-registry",
    Family.ECOSYSTEM,
    "warn info",
    why="A registry that writes on while its topic is copied gives out ids that the other side gives out again.",
    fix="Set the registry to READONLY before its batch switches, then point it to the target. kferry does neither.",
)
def schema_registry(facts: PreflightFacts) -> Iterator[Result]:
    """The topic of a schema registry moves with a procedure of its own."""
    moving = {topic.name for topic in facts.topics}
    for name in sorted(name for name in facts.source_topics if _SCHEMAS.fullmatch(name)):
        if name in moving:
            yield warn(
                name,
                f"{name} holds the schemas of a registry",
                "It is to be copied; a registry that writes meanwhile makes ids that clash after the switch.",
                "Put it into a batch of its own. Before that is cut over, have the registry set to READONLY: kferry"
                " only stops, drains and compares its topic. Then point the registry to the target, and waive this.",
            )
        else:
            yield info(
                name,
                f"{name} holds the schemas of a registry, and stays behind",
                "It is not in the plan; clients go on asking the registry, wherever they read.",
                "Keep the registry on the source until the end, or move its topic by the registry's own means.",
            )


@check(
    "ecosystem-connect",
    Family.ECOSYSTEM,
    "warn",
    why="Source connectors keep how far they have read in a topic of their Connect cluster, which a new one starts "
    "without.",
    fix="Carry the connectors' offsets over with Connect's REST interface.",
)
def connect_clusters(facts: PreflightFacts) -> Iterator[Result]:
    """Connect clusters whose state stays behind."""
    offsets = [
        name
        for name, topic in facts.source_topics.items()
        if topic.is_compacted and topic.record_span != 0 and _CONNECT_OFFSETS.fullmatch(name)
    ]
    if offsets:
        yield warn(
            "connect",
            f"{counted(len(offsets), 'Connect cluster')} of the source keeps offsets that do not move",
            f"{listed(offsets)}: a Connect cluster that starts with new topics lets its source connectors begin anew.",
            "Before each switch read GET /connectors/NAME/offsets, and write them with PATCH to the connector made"
            " STOPPED on the target. Waive this where there are sinks only: they move with their groups.",
            offsets,
        )


@check(
    "ecosystem-ksqldb",
    Family.ECOSYSTEM,
    "warn",
    why="ksqlDB keeps its statements in a topic and its results in state that do not move together with the data.",
    fix="Run its statements anew on the target after its inputs have switched.",
)
def ksqldb(facts: PreflightFacts) -> Iterator[Result]:
    """ksqlDB services, which are built anew on the target."""
    for name in sorted(facts.source_topics):
        found = _KSQL_COMMANDS.fullmatch(name)
        if found is not None:
            yield warn(
                name,
                f"The ksqlDB service {found['service']} works on the source",
                f"{name} holds its statements.",
                "Stop it before its inputs switch, start a service on the target and run its statements there. Then"
                " waive this.",
            )


@check(
    "ecosystem-checkpoints",
    Family.ECOSYSTEM,
    "warn",
    why="Flink and Spark start from the offsets in their own checkpoints, which mean other records on the target.",
    fix="Start the job on the target from the group's offsets, without the state of its source.",
)
def checkpoints(facts: PreflightFacts) -> Iterator[Result]:
    """Applications that keep their positions outside Kafka."""
    for group in facts.groups:
        seen = _checkpointed(group)
        if seen is not None:
            yield warn(
                group.group_id,
                f"{group.group_id} seems to keep its positions in checkpoints of its own",
                f"{seen}. The group's offsets, which kferry moves, are not those it starts from.",
                "On the target start it from the group's offsets (Flink: drop the state of the source operator; Spark:"
                " a new checkpoint folder and startingOffsets). Then waive this.",
            )


def _checkpointed(group: Group) -> str | None:
    for what, name in (("Its id", group.group_id), *(("A client", member.client_id) for member in group.members)):
        if any(name.lower().startswith(word) for word in _CHECKPOINTED):
            return f"{what} is {name}"
    return None


@check(
    "ecosystem-mirror",
    Family.ECOSYSTEM,
    "warn info",
    why="Two mirrors that copy in a circle, or into the same topics, multiply records without end.",
    fix="Make sure that the other mirror copies none of these topics.",
)
def mirrors(facts: PreflightFacts) -> Iterator[Result]:
    """Other mirrors at work on the two clusters."""
    for role in Role:
        found = _others(facts.scan(role), facts.migration_id)
        if found and role is Role.TARGET:
            yield warn(
                role.value,
                "Another mirror seems to write to the target",
                f"{listed(found)}: made by a MirrorMaker that is not of this migration.",
                "Make sure that it copies none of the topics that move here, then waive this.",
                found,
            )
        elif found:
            yield info(
                role.value,
                "Another mirror seems to read from or write to the source",
                f"{listed(found)}.",
                "Look whether topics that move here are copies themselves: these are better moved from their origin.",
            )


def _others(scan: Scan | None, migration_id: str) -> list[str]:
    found = []
    for topic in scan.topics if scan is not None else ():
        own = _OWN_SYNCS.fullmatch(topic.name)
        if _SYNCS.fullmatch(topic.name) and (own is None or own["migration"] != migration_id):
            found.append(topic.name)
    return found


@check(
    "ecosystem-old-clients",
    Family.ECOSYSTEM,
    "warn info",
    why="Brokers from 4.0 on refuse clients older than 2.1, and AutoMQ those older than 0.10.",
    fix="Find the old clients on the source and renew them before the switch.",
)
def old_clients(facts: PreflightFacts) -> Iterator[Result]:
    """Clients of the source are new enough for the target."""
    source, target = facts.version(Role.SOURCE), facts.version(Role.TARGET)
    config = facts.cluster(Role.TARGET)
    if config is not None and config.kind is ClusterKind.AUTOMQ and (target is None or target < (4, 0)):
        yield from _too_old_for_automq(facts, source)
        return
    if source is None or target is None or target < (4, 0) or source >= (4, 0):
        return
    words = f"The target is {target[0]}.{target[1]}, the source {source[0]}.{source[1]}."
    if source < (2, 1):
        yield warn(
            "clients",
            "Clients as old as the source are refused by the target",
            words,
            "Renew the clients first, or use a target below 4.0. Waive this once no client is older than 2.1.",
        )
    else:
        yield info(
            "clients",
            "Clients older than 2.1 are refused by the target",
            words,
            "Look for old clients in the source's metrics (connections by client software) and renew them.",
        )


def _too_old_for_automq(facts: PreflightFacts, source: tuple[int, int] | None) -> Iterator[Result]:
    """AutoMQ asks for clients of 0.10 or newer. The format of the source's records tells how old some of them are."""
    if source is None or source >= (4, 0):
        return  # brokers from 4.0 on have refused older clients already
    words = f"The target is AutoMQ, which asks for clients of 0.10 or newer; the source is {source[0]}.{source[1]}"
    kept = release(facts.default(Role.SOURCE, "log.message.format.version"))
    if kept is not None and kept < _OLDEST_FORMAT:
        yield warn(
            "clients",
            "Clients as old as the source's records are refused by AutoMQ",
            f"{words} and keeps records in the format of {kept[0]}.{kept[1]} for clients of that age.",
            "Renew the clients first. Waive this once no client is older than 0.10.",
        )
    else:
        yield info(
            "clients",
            "Clients older than 0.10 are refused by AutoMQ",
            f"{words}.",
            "Look for old clients in the source's metrics (connections by client software) and renew them.",
        )
