"""What the three connectors and the workers of a migration task are configured to, as data.

Every value is explained where it is not plain. Names from clusters go into two places only, the `topics` and `groups`
lists; they are escaped there, so that a name is matched literally and can't reach a config provider (`${...}`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kferry.domain import heap
from kferry.domain.model import ClusterConfig, Desired, TaskSpec, WorkerSpec
from kferry.domain.security import MSK_IAM

BYTES = "org.apache.kafka.connect.converters.ByteArrayConverter"
MIRROR = "org.apache.kafka.connect.mirror"
# asks for the account of rest.users (JAAS entry KafkaConnect)
REST_BASIC_AUTH = "org.apache.kafka.connect.rest.basic.auth.extension.BasicAuthSecurityRestExtension"
# of the jar in extras/msk-iam
IAM_CALLBACKS = "software.amazon.msk.auth.iam.IAMClientCallbackHandler"
MIB = 1024 * 1024

# the account of Connect's REST interface on remote workers
REST_USER = "kferry"

# Ten syncs per hundred records narrow the search for exact offsets; the topic keeps them all for 30 days.
OFFSET_LAG_MAX = 10
SYNC_HISTORY_MS = 30 * 24 * 3600 * 1000


def java_literal(name: str) -> str:
    """A Java regular expression that matches exactly `name`, safe inside a comma-separated Connect list.

    Everything but letters, digits, `_` and `-` is escaped: `,` would split the list, `${` would be taken for a config
    provider, a space at the end would be trimmed.
    """
    parts = []
    for char in name:
        if char.isascii() and (char.isalnum() or char in "_-"):
            parts.append(char)
        elif char == ".":
            parts.append("\\.")
        elif ord(char) <= 0xFF:
            parts.append(f"\\x{ord(char):02x}")
        else:
            parts.append(f"\\x{{{ord(char):x}}}")
    return "".join(parts)


def name_list(names: Iterable[str], *, nothing: str) -> str:
    """A Connect list that matches exactly these names; `nothing` is a pattern without a match (an empty list fails)."""
    literals = [java_literal(name) for name in sorted(set(names))]
    return ",".join(literals) or nothing


def looks_like_heartbeats(topic: str) -> bool:
    """Whether the identity policy would rename this topic: it takes any name ending in `heartbeats` for its own."""
    return topic.endswith("heartbeats")


def cluster_block(prefix: str, cluster: ClusterConfig, secrets: str) -> dict[str, str]:
    """Connection settings of one cluster under a prefix such as `source.cluster.`.

    Secrets and certificates stand in the file `secrets` on the worker's machine; the settings only refer to it.
    """

    def reference(what: str) -> str:
        return f"${{file:{secrets}:{cluster.role.value}_{what}}}"

    block = {"bootstrap.servers": cluster.bootstrap_servers, "security.protocol": cluster.security_protocol}
    if cluster.sasl_mechanism:
        block["sasl.mechanism"] = cluster.sasl_mechanism
        block["sasl.jaas.config"] = reference("jaas")
    if cluster.sasl_mechanism == MSK_IAM:
        block["sasl.client.callback.handler.class"] = IAM_CALLBACKS
    if cluster.security_protocol.endswith("SSL"):
        # empty switches the check of host names off: only where the operator has waived it, and a CA is pinned
        block["ssl.endpoint.identification.algorithm"] = "" if cluster.tls_name_waiver and cluster.ssl_ca else "https"
    if cluster.ssl_ca:
        block["ssl.truststore.type"] = "PEM"
        block["ssl.truststore.certificates"] = reference("ca")
    if cluster.ssl_certificate and cluster.ssl_key:
        block["ssl.keystore.type"] = "PEM"
        block["ssl.keystore.key"] = reference("key")
        block["ssl.keystore.certificate.chain"] = reference("certificate")
    return {f"{prefix}{key}": value for key, value in block.items()}


def _common(
    spec: TaskSpec, connector_class: str, source: ClusterConfig, target: ClusterConfig, secrets: str
) -> dict[str, str]:
    return {
        "connector.class": f"{MIRROR}.{connector_class}",
        # headers too: Connect's default would turn bytes in headers into base64 text
        "key.converter": BYTES,
        "value.converter": BYTES,
        "header.converter": BYTES,
        "source.cluster.alias": spec.source_alias,
        "target.cluster.alias": spec.target_alias,
        **cluster_block("source.cluster.", source, secrets),
        **cluster_block("target.cluster.", target, secrets),
        "replication.policy.class": f"{MIRROR}.IdentityReplicationPolicy",
    }


def source_config(spec: TaskSpec, source: ClusterConfig, target: ClusterConfig, secrets: str) -> dict[str, str]:
    """Configuration of MirrorSource."""
    held = heap.buffers_of(spec)
    config = {
        **_common(spec, "MirrorSourceConnector", source, target, secrets),
        "tasks.max": str(spec.connector_tasks_max),
        "topics": name_list(spec.topics, nothing="(?!)"),
        # the default also drops names such as x.replica; kferry names every topic itself
        "topics.exclude": "__.*",
        "replication.factor": "-1",
        "offset-syncs.topic.location": "target",
        "offset-syncs.topic.replication.factor": "-1",
        "offset.lag.max": str(OFFSET_LAG_MAX),
        "refresh.topics.interval.seconds": "60",
        # kferry owns topic configs: this would undo the hold on retention within a second
        "sync.topic.configs.enabled": "false",
        "sync.topic.acls.enabled": "false",
        "admin.timeout.ms": "180000",
        "add.source.alias.to.metrics": "true",
        # aborted records are not data
        "source.consumer.isolation.level": "read_committed",
        "source.consumer.auto.offset.reset": "earliest",
        "source.consumer.allow.auto.create.topics": "false",
        "source.consumer.max.poll.records": "5000",
        # these and buffer.memory, times the connector tasks of a worker, must fit into its heap
        "source.consumer.max.partition.fetch.bytes": str(held.partition_fetch),
        "source.consumer.fetch.max.bytes": str(min(heap.MAX_FETCH_BYTES, held.fetch)),
        "source.consumer.receive.buffer.bytes": "-1",
        "producer.override.send.buffer.bytes": "-1",
        # Connect's defaults (one request in flight, 16 KiB batches) give half a MB/s against object storage
        "producer.override.enable.idempotence": "true",
        "producer.override.max.in.flight.requests.per.connection": "5",
        "producer.override.compression.type": "lz4",
        "producer.override.batch.size": str(MIB),
        "producer.override.linger.ms": "100",
        "producer.override.buffer.memory": str(held.buffer),
        "producer.override.max.request.size": str(heap.request_bytes(spec.max_record_bytes)),
        "errors.tolerance": "none",
    }
    if any(looks_like_heartbeats(topic) for topic in spec.topics):
        # the identity policy renames them to <alias>.<topic>; this gives them their own name back
        config |= {
            "transforms": "ownname",
            "transforms.ownname.type": "org.apache.kafka.connect.transforms.RegexRouter",
            "transforms.ownname.regex": f"{java_literal(spec.source_alias)}\\.(.*heartbeats)",
            "transforms.ownname.replacement": "$1",
        }
    return config


def can_be_synced(group_id: str) -> bool:
    """Whether MirrorCheckpoint can follow a group: it hands group ids to its tasks in a list with commas between."""
    return "," not in group_id


def synced_groups(spec: TaskSpec) -> list[str]:
    """The groups whose progress MirrorCheckpoint syncs; of the others the cutover alone writes the offsets."""
    return [group for group in spec.groups if group not in spec.frozen_groups and can_be_synced(group)]


def checkpoint_config(spec: TaskSpec, source: ClusterConfig, target: ClusterConfig, secrets: str) -> dict[str, str]:
    """Configuration of MirrorCheckpoint: progress sync for the groups that no cutover has frozen."""
    groups = synced_groups(spec)
    return {
        **_common(spec, "MirrorCheckpointConnector", source, target, secrets),
        "tasks.max": "1",  # every connector task re-reads all syncs; one is enough for hundreds of groups
        "topics": name_list(spec.topics, nothing="(?!)"),
        "topics.exclude": "__.*",
        "groups": name_list(groups, nothing="(?!)"),
        "groups.exclude": "(?!)",  # the default silently skips connect-*
        "refresh.groups.interval.seconds": "60",
        "emit.checkpoints.interval.seconds": "10",
        "sync.group.offsets.enabled": "true",
        "sync.group.offsets.interval.seconds": "10",
        "offset-syncs.topic.location": "target",
        "checkpoints.topic.replication.factor": "-1",
        "admin.timeout.ms": "180000",
    }


def heartbeat_config(spec: TaskSpec, source: ClusterConfig, target: ClusterConfig, secrets: str) -> dict[str, str]:
    """Configuration of MirrorHeartbeat."""
    return {
        **_common(spec, "MirrorHeartbeatConnector", source, target, secrets),
        "tasks.max": "1",
        "emit.heartbeats.interval.seconds": "5",
        "heartbeats.topic.replication.factor": "-1",
    }


def connector_states(spec: TaskSpec) -> dict[str, str]:
    """The state each connector should be in, in the order in which they are brought there."""
    if spec.desired is Desired.ABSENT:
        wanted = ("absent", "absent", "absent")
    elif spec.desired is Desired.STOPPED:
        wanted = ("stopped", "stopped", "stopped")
    else:
        wanted = (
            "stopped" if spec.source_stopped else "running",
            "running" if synced_groups(spec) else "stopped",
            "running",
        )
    names = (spec.source_connector, spec.checkpoint_connector, spec.heartbeat_connector)
    return dict(zip(names, wanted, strict=True))


def connectors(spec: TaskSpec, source: ClusterConfig, target: ClusterConfig, secrets: str) -> list[dict[str, Any]]:
    """The connectors of tasks/<task>.json: name, wanted state, config."""
    configs = {
        spec.source_connector: source_config(spec, source, target, secrets),
        spec.checkpoint_connector: checkpoint_config(spec, source, target, secrets),
        spec.heartbeat_connector: heartbeat_config(spec, source, target, secrets),
    }
    return [{"name": name, "state": state, "config": configs[name]} for name, state in connector_states(spec).items()]


def worker_properties(
    spec: TaskSpec,
    worker: WorkerSpec,
    source: ClusterConfig,
    target: ClusterConfig,
    secrets: str,
    *,
    offset_flush_interval_ms: int,
    rest_auth: str = "none",
) -> dict[str, str]:
    """connect-distributed.properties of one worker. Workers live near the target: consume remote, produce local."""
    providers = {}
    blocks = (cluster_block("", source, secrets), cluster_block("", target, secrets))
    if any("${file:" in value for block in blocks for value in block.values()):
        # only then: the provider refuses to start where its folder is missing, and the folder exists only for secrets
        providers = {
            "config.providers": "file",
            "config.providers.file.class": "org.apache.kafka.common.config.provider.FileConfigProvider",
            "config.providers.file.param.allowed.paths": secrets.rpartition("/")[0],
        }
    extensions = {"rest.extension.classes": REST_BASIC_AUTH} if rest_auth == "basic" else {}
    configs, offsets, status = spec.connect_topics
    return {
        **cluster_block("", target, secrets),
        **{k: v for k, v in cluster_block("producer.", target, secrets).items() if "bootstrap" not in k},
        **{k: v for k, v in cluster_block("admin.", target, secrets).items() if "bootstrap" not in k},
        "group.id": spec.prefix,
        "config.storage.topic": configs,
        "offset.storage.topic": offsets,
        "status.storage.topic": status,
        "config.storage.replication.factor": "-1",
        "offset.storage.replication.factor": "-1",
        "status.storage.replication.factor": "-1",
        "offset.storage.partitions": "5",
        "status.storage.partitions": "1",
        "key.converter": BYTES,
        "value.converter": BYTES,
        "header.converter": BYTES,
        # how fresh progress is, and how much is copied twice after a kill
        "offset.flush.interval.ms": str(offset_flush_interval_ms),
        # Connect's default leaves a dead worker's partitions idle for five minutes. Without any delay they stood still
        # for 7 s, not 20 s (10 s), and for 2 s, not 13 s, while a worker restarts: docs/benchmarks.md.
        "scheduled.rebalance.max.delay.ms": "0",
        # how fast a worker that lives learns of a new sharing out
        "heartbeat.interval.ms": "500",
        # the least that brokers take, unless their owner has changed group.min.session.timeout.ms
        "session.timeout.ms": "6000",
        "task.shutdown.graceful.timeout.ms": "30000",
        "connector.client.config.override.policy": "All",
        "exactly.once.source.support": "disabled",
        **providers,
        **extensions,
        "plugin.discovery": "service_load",
        "listeners": f"http://{worker.rest_host}:{worker.rest_port}",
        "rest.advertised.host.name": worker.rest_host,
        "rest.advertised.port": str(worker.rest_port),
    }


def task_file(
    spec: TaskSpec,
    source: ClusterConfig,
    target: ClusterConfig,
    *,
    install: Mapping[str, Any],
    kafka: Mapping[str, Any],
    java: Mapping[str, Any],
    spec_data: Mapping[str, Any],
    offset_flush_interval_ms: int,
    with_workers: bool = True,
) -> dict[str, Any]:
    """The whole content of tasks/<task>.json (docs/contracts.md). `spec_data` is the TaskSpec as JSON data."""
    secrets = f"{install['root']}/tasks/{spec.name}/secrets.properties"
    started = spec.workers if with_workers else ()
    absent = spec.leaving if with_workers else (*spec.workers, *spec.leaving)
    return {
        "schema": 1,
        "task": spec.name,
        "migration_id": spec.migration_id,
        "incarnation": spec.incarnation,
        "desired": spec.desired.value,
        "spec": dict(spec_data),
        "install": dict(install),
        "kafka": dict(kafka),
        "java": dict(java),
        "workers": [
            {
                "name": worker.name,
                "host": worker.host,
                "rest_host": worker.rest_host,
                "rest_port": worker.rest_port,
                "metrics_port": worker.metrics_port,
                "heap_bytes": worker.heap_bytes,
                "state": "started" if worker in started else "absent",
                "properties": worker_properties(
                    spec,
                    worker,
                    source,
                    target,
                    secrets,
                    offset_flush_interval_ms=offset_flush_interval_ms,
                    rest_auth=install.get("rest_auth", "none"),
                ),
            }
            for worker in (*started, *absent)
        ],
        "rest_urls": [worker.rest_url for worker in spec.workers],
        "connectors": connectors(spec, source, target, secrets),
    }
