"""A scan of many topics on librdkafka's mock brokers: whole, in few requests, cut off at once, gone on with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from benchmarks import mock_cluster
from benchmarks.mock_cluster import MockCluster
from kferry.domain.errors import KferryError
from kferry.domain.model import Capability, ClusterConfig, ClusterKind, Role, Scan
from kferry.kafka.scan import ScanOptions, scan

pytestmark = pytest.mark.slow

TOPICS, PARTITIONS, BROKERS = 450, 6, 3
# What the brokers may get for each portion of at most 200 topics: offsets of each kind, configs, ids, of each broker.
REQUESTS_PER_TOPIC = 0.5


@pytest.fixture(scope="module")
def mock() -> Iterator[MockCluster]:
    with mock_cluster.running(TOPICS, PARTITIONS, BROKERS) as started:
        yield started


@pytest.fixture
def config(mock: MockCluster) -> ClusterConfig:
    return ClusterConfig(Role.SOURCE, ClusterKind.APACHE_KAFKA, mock.bootstrap_servers)


def options(resumed: Scan | None = None) -> ScanOptions:
    return ScanOptions(resumed=resumed, sample_gap_seconds=0)


def test_what_the_brokers_do_not_know_is_named_and_the_rest_is_whole(mock: MockCluster, config: ClusterConfig) -> None:
    mock.requests()
    found = scan(config, options=options())
    assert len(found.topics) == TOPICS
    assert {topic.partition_count for topic in found.topics} == {PARTITIONS}
    assert {topic.record_span for topic in found.topics} == {0}
    assert {topic.records_per_second for topic in found.topics} == {0.0}
    assert {topic.size_bytes for topic in found.topics} == {None}
    assert found.transactional_ids == ()  # there is no transaction log: there were none
    assert found.hanging_transactions is None
    assert (found.access.acls, found.access.quotas, found.access.scram_users) == (None, None, None)
    states = found.cluster.capabilities
    for name in ("log_dirs", "acls", "quotas", "scram_users"):
        assert states[name] is Capability.UNSUPPORTED
    for words in ("Sizes on disk", "ACLs", "Client quotas", "SCRAM users"):
        assert any(note.startswith(f"{words} are not available") for note in found.notes)
    assert mock.requests() < TOPICS * REQUESTS_PER_TOPIC * BROKERS


def test_a_scan_is_cut_off_at_once_and_gone_on_with(config: ClusterConfig) -> None:
    seen: list[Scan] = []
    stopped_at: list[float] = []

    def keep(make: Callable[[], Scan]) -> None:
        seen.append(make())
        stopped_at.append(time.monotonic())

    with pytest.raises(KferryError) as caught:
        scan(config, on_partial=keep, cancelled=lambda: bool(seen), options=options())
    assert time.monotonic() - stopped_at[0] < 20
    assert "cancelled" in caught.value.title
    assert not seen[0].complete
    had = len(seen[0].topics)
    assert 0 < had < TOPICS

    # these brokers tell no configs, which stands in `error`; only what has none is taken over
    assert all("configs: " in (topic.error or "") for topic in seen[0].topics)
    resumed = replace(seen[0], topics=tuple(replace(topic, error=None) for topic in seen[0].topics))
    moments: list[tuple[str, int, int]] = []
    whole = scan(config, on_progress=lambda *moment: moments.append(moment), options=options(resumed=resumed))
    assert whole.complete
    assert len(whole.topics) == TOPICS
    assert next(moment for moment in moments if moment[0] == "topics") == ("topics", had, TOPICS)


def test_a_scan_of_another_cluster_is_not_taken_over(mock: MockCluster, config: ClusterConfig) -> None:
    with mock_cluster.running(3, 1, 1) as other:
        small = scan(ClusterConfig(Role.SOURCE, ClusterKind.APACHE_KAFKA, other.bootstrap_servers), options=options())
    moments: list[tuple[str, int, int]] = []
    found = scan(config, on_progress=lambda *moment: moments.append(moment), options=options(resumed=small))
    assert next(moment for moment in moments if moment[0] == "topics") == ("topics", 0, TOPICS)
    assert len(found.topics) == TOPICS
