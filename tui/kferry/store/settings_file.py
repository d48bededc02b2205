"""kferry.yml: what this migration is called and how kferry behaves. Environment beats file beats default."""

from __future__ import annotations

import os
import re
import secrets
import string
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kferry.domain.errors import ErrorKind, KferryError
from kferry.store.atomic_write import write_text
from kferry.store.paths import Layout
from kferry.store.yaml_error import YamlItem, nearest, read_yaml

SCHEMA = 1
ENVIRONMENT_PREFIX = "KFERRY_SETTINGS__"
HOOKS = ("stop_consumers", "start_consumers", "stop_producers", "start_producers")

_KEYS = ("schema", "migration_id", "name", "settings", "owner_hooks")
_MIGRATION_ID = re.compile(r"[a-z0-9]{6}")
_MIB = 1024 * 1024


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Distribution(_Strict):
    """Where the Kafka of the workers comes from."""

    source: Literal["maven", "file", "url"] = Field(
        default="maven",
        description="maven: the locked jars; file: an archive on this machine; url: an archive to fetch.",
    )
    path: str | None = Field(default=None, description="The archive's path or URL, for the sources file and url.")
    sha256: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="The archive's SHA-256, for the sources file and url."
    )
    offline: bool = Field(
        default=False, description="Fetch nothing: use what the cache holds, or stop with a sentence."
    )

    @model_validator(mode="after")
    def _complete(self) -> Distribution:
        if self.source != "maven" and (self.path is None or self.sha256 is None):
            raise ValueError(f"source {self.source} needs path and sha256")
        return self


class MigrationSettings(_Strict):
    """The keys under `settings:`."""

    lag_threshold_records: int = Field(default=1000, ge=0, description="A batch may switch at this lag or below.")
    lag_threshold_seconds: float = Field(
        default=10, ge=0, description="A batch may also switch at a lag that arrives in this time."
    )
    still_seconds: float = Field(
        default=7,
        gt=0,
        description="How long offsets must not move to count as standing still; clients commit every 5 s.",
    )
    observe_interval_seconds: float = Field(default=2, gt=0, description="How often a running task is measured.")
    newcomers_interval_seconds: float = Field(
        default=30, ge=1, description="How often the source is looked at for topics and groups that appeared."
    )
    heap_bytes: int | None = Field(
        default=None,
        ge=256 * _MIB,
        description="Java heap of one worker; empty: by its connector tasks and the memory of its machine.",
    )
    max_workers_per_task: int = Field(
        default=1, ge=1, description="How many workers kferry may give one migration task."
    )
    worker_root: str = Field(
        default="/opt/kferry",
        pattern=r"^/[A-Za-z0-9._/-]*[A-Za-z0-9_-]$",
        description="Folder of the workers on machines reached over SSH.",
    )
    become_password: str | None = Field(
        default=None,
        pattern=r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+|command:.+)$",
        description="Reference to the sudo password of those machines; empty: sudo asks for none.",
    )
    jre_archive: str | None = Field(
        default=None, description="A JRE archive (tar.gz) on this machine for hosts that may not install packages."
    )
    metrics: bool = Field(default=True, description="Give every remote worker an exporter of metrics.")
    rest_port_first: int = Field(
        default=0, ge=0, le=65535, description="First port for a worker's REST; 0: a free port, chosen once and kept."
    )
    rest_port_last: int = Field(default=0, ge=0, le=65535, description="Last port for a worker's REST.")
    remote_port_first: int = Field(
        default=18083, ge=1024, le=65400, description="First port for REST and metrics of workers on remote machines."
    )
    offset_flush_interval_ms: int = Field(
        # a second less saves few repeats, and has position and offset syncs written twice as often: docs/benchmarks.md
        default=2000,
        ge=500,
        description="How often workers save their position; a killed worker repeats so much.",
    )
    exact_read_limit_records: int = Field(
        default=2_000_000, ge=1, description="Most records that exact translation may read for one partition."
    )
    retention_hold: bool = Field(
        default=True, description="Keep everything on the target (retention.ms=-1) until the batch has switched."
    )
    assumed_copy_bytes_per_second: int = Field(
        default=20_000_000,
        ge=1,
        description="Copy speed of one worker that plan and preflight reckon with until one was measured.",
    )
    java_home: str | None = Field(default=None, description="Java 17 or newer for the workers; empty: find one.")
    distribution: Distribution = Field(
        default_factory=Distribution, description="Where the Kafka of the workers comes from."
    )

    @model_validator(mode="after")
    def _port_range(self) -> MigrationSettings:
        if self.rest_port_last < self.rest_port_first and (self.rest_port_first, self.rest_port_last) != (0, 0):
            raise ValueError("rest_port_last must not be smaller than rest_port_first")
        return self


class Settings(_Strict):
    """A whole kferry.yml."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_version: int = Field(default=SCHEMA, alias="schema")
    migration_id: str = Field(pattern=r"^[a-z0-9]{6}$")
    name: str = Field(min_length=1, max_length=64)
    settings: MigrationSettings = Field(default_factory=MigrationSettings)
    owner_hooks: Mapping[str, list[str]] = Field(default_factory=dict)


def load_settings(layout: Layout, environment: Mapping[str, str] | None = None) -> Settings:
    """Read kferry.yml; a key of `settings:` may be overridden by KFERRY_SETTINGS__KEY (nested keys with `__`)."""
    document = read_yaml(
        layout.settings,
        what="migration directory here",
        next_step="Run `kferry init` to make one, or name one with -C or KFERRY_DIR.",
    )
    _check_schema(document)
    keys = document.mapping("kferry.yml", _KEYS)
    for key in ("migration_id", "name"):
        if key not in keys:
            raise document.error(f"the key {key!r} is missing.", "`kferry init` shows what belongs here.")
    migration_id = keys["migration_id"].string("migration_id")
    if _MIGRATION_ID.fullmatch(migration_id) is None:
        raise keys["migration_id"].error(
            f"{migration_id!r} is not a migration_id.",
            "Put back the six small letters and digits that `kferry init` wrote: names in both clusters carry it.",
        )
    name = keys["name"].string("name")
    if len(name) > 64:
        raise keys["name"].error("the name is longer than 64 characters.", "Choose a shorter one.")
    return Settings.model_construct(
        schema_version=SCHEMA,
        migration_id=migration_id,
        name=name,
        settings=_settings(keys.get("settings"), os.environ if environment is None else environment),
        owner_hooks=_hooks(keys["owner_hooks"]) if "owner_hooks" in keys else {},
    )


def write_new(
    layout: Layout,
    name: str,
    *,
    settings: Mapping[str, Any] | None = None,
    owner_hooks: Mapping[str, list[str]] | None = None,
    migration_id: str | None = None,
) -> Settings:
    """Write kferry.yml with a fresh migration_id. An existing file is never overwritten."""
    if layout.settings.exists():
        raise KferryError(
            f"{layout.settings} is there already.",
            cause="This is a migration directory; its migration_id must not change.",
            next_step="Choose another directory, or go on with this one.",
            kind=ErrorKind.USAGE,
        )
    alphabet = string.ascii_lowercase + string.digits
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "migration_id": migration_id or "".join(secrets.choice(alphabet) for _ in range(6)),
        "name": name,
        "settings": dict(settings or {}),
    }
    if owner_hooks:
        content["owner_hooks"] = {hook: list(command) for hook, command in owner_hooks.items()}
    write_text(layout.settings, _HEADER + yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    try:
        return load_settings(layout)
    except KferryError:
        layout.settings.unlink()
        raise


def describe_settings() -> list[tuple[str, str, str]]:
    """Every key under `settings:` as (key, default, doc), for help pages and docs."""
    return list(_described(MigrationSettings, ""))


_HEADER = """\
# A migration of kferry. Keys under `settings:` and their defaults: docs/configuration.md.
# migration_id is part of every name that kferry makes in a cluster: never change it.
"""


def _described(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    for key, info in model.model_fields.items():
        if info.annotation is Distribution:
            yield from _described(Distribution, f"{prefix}{key}.")
        else:
            default = "" if info.default is None else str(info.default)
            yield f"{prefix}{key}", default, info.description or ""


def _check_schema(document: YamlItem) -> None:
    """Before all other keys: a newer version may have keys that this one does not know."""
    schema = (document.keys or {}).get("schema")
    if schema is None:
        raise document.error("the key 'schema' is missing: this is no kferry.yml.", f"Write schema: {SCHEMA}.")
    if isinstance(schema.value, bool) or not isinstance(schema.value, int) or schema.value < 1:
        raise schema.error("schema must be a number.", f"Write schema: {SCHEMA}.")
    if schema.value > SCHEMA:
        raise schema.error(
            f"this is the directory of a newer version of kferry (schema {schema.value}; this one knows {SCHEMA}).",
            "Install that version of kferry; nothing was changed.",
        )


def _hooks(item: YamlItem) -> dict[str, list[str]]:
    hooks = {}
    for hook, command in item.mapping("owner_hooks", HOOKS).items():
        words = [word.string("a word of a command") for word in command.sequence(f"owner_hooks.{hook}")]
        if not words:
            raise command.error(f"the hook {hook} has no command.", "Write a list: [program, argument, ...].")
        hooks[hook] = words
    return hooks


def _settings(item: YamlItem | None, environment: Mapping[str, str]) -> MigrationSettings:
    from_file: dict[str, Any] = {}
    if item is not None:
        keys = item.mapping("settings", MigrationSettings.model_fields)
        if "distribution" in keys:
            keys["distribution"].mapping("settings.distribution", Distribution.model_fields)
        from_file = {key: value.plain() for key, value in keys.items() if not value.is_null}
    overrides = _from_environment(environment)
    merged = {**from_file, **{key: value for key, value in overrides.items() if not isinstance(value, dict)}}
    if "distribution" in overrides:
        merged["distribution"] = {**from_file.get("distribution", {}), **overrides["distribution"]}
    try:
        return MigrationSettings.model_validate(merged)
    except ValidationError as error:
        raise _as_sentence(error, item, overrides) from None


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for variable in sorted(environment):
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        key, *rest = variable.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        if key == "distribution" and len(rest) == 1 and rest[0] in Distribution.model_fields:
            found.setdefault("distribution", {})[rest[0]] = environment[variable]
        elif key in MigrationSettings.model_fields and key != "distribution" and not rest:
            found[key] = environment[variable]
        else:
            valid = [variable_of(key) for key, _, _ in describe_settings()]
            near = nearest(variable, valid, noun="variables")
            raise KferryError(
                f"The environment variable {variable} names no setting.", next_step=near, kind=ErrorKind.USAGE
            )
    return found


def variable_of(key: str) -> str:
    """The environment variable that overrides a key of `settings:`."""
    return ENVIRONMENT_PREFIX + key.upper().replace(".", "__")


def _as_sentence(error: ValidationError, item: YamlItem | None, overrides: Mapping[str, Any]) -> KferryError:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    key = ".".join(path) or "settings"
    words = first["msg"].removeprefix("Value error, ")
    what = f"{key}: {words[0].lower() + words[1:]}."
    at: Any = overrides
    for part in path:
        at = at.get(part) if isinstance(at, Mapping) else None
    if path and at is not None and not isinstance(at, Mapping):
        return KferryError(
            f"The environment variable {variable_of(key)} is wrong: {what}",
            next_step="Set it right or unset it.",
            kind=ErrorKind.USAGE,
        )
    place = item
    for part in path:
        place = (place.keys or {}).get(part) if place is not None else None
    place = place or item
    doc = next((doc for name, _, doc in describe_settings() if name == key), "")
    if place is None:
        return KferryError(f"The settings are wrong: {what}", next_step=doc, kind=ErrorKind.USAGE)
    return place.error(what, doc)
