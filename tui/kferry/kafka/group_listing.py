"""Which groups there are, of every kind: brokers that do not answer are named, share groups and the like are seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from kferry.domain.model import Broker, ClusterConfig, GroupKind, GroupState
from kferry.kafka.broker_calls import each_broker, refused
from kferry.kafka.broker_link import BrokerLink
from kferry.kafka.wire import WireReader, pack_uvarint

_LIST_GROUPS = 16
_OF_CONSUMERS = ("consumer", "")  # an empty one: offsets were committed without any member
_TYPES = {"consumer": GroupKind.CONSUMER, "share": GroupKind.SHARE, "streams": GroupKind.STREAMS}
# Kinds whose description takes another request than that of consumer groups.
_NOT_DESCRIBED = (GroupKind.SHARE,)


@dataclass(frozen=True, slots=True)
class ListedGroup:
    """A group as a broker lists it. `kind` is None where the listing does not tell (brokers before 3.8)."""

    group_id: str
    protocol: str
    state: str | None = None
    kind: GroupKind | None = None

    @property
    def has_offsets_to_read(self) -> bool:
        """Whether it is described as consumer groups are."""
        return self.kind not in _NOT_DESCRIBED

    @property
    def group_state(self) -> GroupState:
        return next((item for item in GroupState if item.value == self.state), GroupState.UNKNOWN)


@dataclass(slots=True)
class Listing:
    """All groups that could be listed, and why some brokers' groups are not among them."""

    groups: dict[str, ListedGroup] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)


def list_groups(
    cluster: ClusterConfig,
    brokers: Iterable[Broker],
    *,
    timeout_seconds: float = 15.0,
    cancelled: Callable[[], bool] = lambda: False,
) -> Listing:
    """Groups of consumers; those of Connect workers and schema registries, who share no data, are left out."""
    answers = each_broker(cluster, brokers, _ask, timeout_seconds=timeout_seconds, cancelled=cancelled)
    found = {
        item.group_id: item
        for listed in answers.by_broker.values()
        for item in listed
        if item.protocol in _OF_CONSUMERS or item.kind is not None
    }
    return Listing(found, answers.failed)


def _ask(link: BrokerLink) -> list[ListedGroup]:
    version = link.version(_LIST_GROUPS, 0, 5)
    filters = {3: b"", 4: pack_uvarint(1), 5: pack_uvarint(1) * 2}
    flexible = version in filters
    body = filters[version] + b"\0" if flexible else b""
    return parse(link.ask(_LIST_GROUPS, version, body, flexible=flexible), version)


def parse(answer: WireReader, version: int) -> list[ListedGroup]:
    """A ListGroups response of versions 0 to 5."""
    if version >= 1:
        answer.int32()  # throttled for
    error = answer.int16()
    if error:
        raise refused(error, "list its groups")
    flexible = version >= 3
    found = []
    for _ in range(answer.compact_array_length() if flexible else answer.array_length()):
        group_id = answer.compact_string() if flexible else answer.string()
        protocol = answer.compact_string() if flexible else answer.string()
        state = answer.compact_string() if version >= 4 else None
        kind = _TYPES.get(answer.compact_string().lower()) if version >= 5 else None
        if flexible:
            answer.tagged_fields()
        found.append(ListedGroup(group_id, protocol, state, kind))
    return found
