"""Topic and broker configs: what is set, what is in force, and incremental changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from confluent_kafka import KafkaError
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    ResourceType,
)

from kferry.kafka.connection import Connection

_RESOURCES_PER_CALL = 200
_UNKNOWN_SOURCE = ConfigSource.UNKNOWN_CONFIG.value
_TOPIC_SOURCE = ConfigSource.DYNAMIC_TOPIC_CONFIG.value


@dataclass(frozen=True, slots=True)
class ConfigValue:
    """One config of one resource. `value` is None where the cluster hides it (sensitive) or has none."""

    value: str | None
    is_default: bool
    is_set_on_topic: bool
    read_only: bool
    sensitive: bool


def topic_configs(
    connection: Connection, names: Iterable[str], *, timeout_seconds: float
) -> tuple[dict[str, dict[str, ConfigValue]], dict[str, KafkaError]]:
    """Configs per topic, and the error for each topic the cluster would not describe."""
    return _describe(connection, ResourceType.TOPIC, names, timeout_seconds)


def broker_configs(connection: Connection, broker_id: int, *, timeout_seconds: float) -> dict[str, ConfigValue] | None:
    """Configs of one broker, or None where kferry's principal may not see them."""
    found, _errors = _describe(connection, ResourceType.BROKER, [str(broker_id)], timeout_seconds)
    return found.get(str(broker_id))


def alter_topic_configs(
    connection: Connection,
    name: str,
    set_values: Mapping[str, str],
    delete_keys: Iterable[str] = (),
    *,
    timeout_seconds: float,
) -> None:
    """Set and unset configs of one topic; keys that are not named stay as they are."""
    entries = [
        ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in set_values.items()
    ] + [ConfigEntry(key, None, incremental_operation=AlterConfigOpType.DELETE) for key in delete_keys]
    if not entries:
        return

    def start(left_seconds: float) -> Future[None]:
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        futures = connection.client.incremental_alter_configs([resource], request_timeout=left_seconds)
        return next(iter(futures.values()))

    connection.ask(start, doing=f"change the configs of topic {name} on", timeout_seconds=timeout_seconds)


def _describe(
    connection: Connection, kind: ResourceType, names: Iterable[str], timeout_seconds: float
) -> tuple[dict[str, dict[str, ConfigValue]], dict[str, KafkaError]]:
    def start(chunk: list[str], left_seconds: float) -> dict[str, Future[dict[str, ConfigEntry]]]:
        resources = [ConfigResource(kind, name) for name in chunk]
        futures = connection.client.describe_configs(resources, request_timeout=left_seconds)
        return {resource.name: future for resource, future in futures.items()}

    found, errors = connection.ask_many(
        start, names, doing="read configs of", timeout_seconds=timeout_seconds, wave=_RESOURCES_PER_CALL
    )
    return {name: {key: _value(entry) for key, entry in entries.items()} for name, entries in found.items()}, errors


def _value(entry: ConfigEntry) -> ConfigValue:
    source = getattr(entry.source, "value", entry.source)
    # Brokers before 1.1 do not name the source: there "not the default" is all that is known.
    on_topic = source == _TOPIC_SOURCE or (source == _UNKNOWN_SOURCE and not entry.is_default)
    return ConfigValue(entry.value, entry.is_default, on_topic, entry.is_read_only, entry.is_sensitive)
