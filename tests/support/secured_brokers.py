"""Two real Kafka brokers as an owner would run them: TLS, SASL, ACLs, and no super user but the tests' own admin."""

from __future__ import annotations

import logging
import secrets
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from support import waiting
from support.broker import java_command, kafka_class_path
from support.certificates import CertificateAuthority

Role = Literal["source", "target"]
Protocol = Literal["SASL_SSL", "SASL_PLAINTEXT", "SSL"]

ADMIN = "admin"
LOOPBACK = "127.0.0.1"
# What clients reach: each SASL listener takes PLAIN and both SCRAMs, SSL takes client certificates only.
CLIENT_LISTENERS: tuple[Protocol, ...] = ("SASL_SSL", "SASL_PLAINTEXT", "SSL")

_START_DEADLINE_SECONDS = 90.0
_FORMAT_SECONDS = 90.0
_STOP_SECONDS = 20.0
_ANSWER_SECONDS = 15.0
_SCRAM = {"SCRAM-SHA-256": ScramMechanism.SCRAM_SHA_256, "SCRAM-SHA-512": ScramMechanism.SCRAM_SHA_512}
_SCRAM_ITERATIONS = 4096
_PLAIN_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule required"
_SCRAM_MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule required"

# Wrong passwords are what these tests are about: librdkafka's words about them belong to nobody's screen.
_log = logging.getLogger("kferry.test.secured_brokers")
_log.addHandler(logging.NullHandler())
_log.propagate = False


class SecuredBroker:
    """One broker; clients reach it at `address`, the admin over the loopback, whatever happens to networks."""

    def __init__(
        self,
        role: Role,
        folder: Path,
        address: str,
        authority: CertificateAuthority,
        plain_users: Mapping[str, str],
        properties: Mapping[str, str],
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.role = role
        self.log = folder / "broker.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._folder = folder
        self._address = address
        self._authority = authority
        self._plain_users = plain_users
        self._properties = properties
        self._admin_password = secrets.token_hex(16)
        self._admin: AdminClient | None = None
        self._ports = _free_ports(address, CLIENT_LISTENERS) | _free_ports(LOOPBACK, ("ADMIN", "CONTROLLER"))

    def listener(self, protocol: Protocol) -> str:
        """The bootstrap address of that listener."""
        return f"{self._address}:{self._ports[protocol]}"

    def client_config(
        self,
        protocol: Protocol,
        *,
        user: str = "",
        password: str = "",
        mechanism: str = "SCRAM-SHA-512",
        certificate: tuple[Path, Path] | None = None,
    ) -> dict[str, Any]:
        """Settings of librdkafka for a client on this machine."""
        config: dict[str, Any] = {
            "bootstrap.servers": self.listener(protocol),
            "security.protocol": protocol,
            "logger": _log,
        }
        if protocol.startswith("SASL"):
            config |= {"sasl.mechanism": mechanism, "sasl.username": user, "sasl.password": password}
        if protocol.endswith("SSL"):
            config["ssl.ca.location"] = str(self._authority.path)
        if certificate is not None:
            config |= {"ssl.certificate.location": str(certificate[0]), "ssl.key.location": str(certificate[1])}
        return config

    def admin_client(self) -> AdminClient:
        """A client that may do everything, for the test to set the stage; kferry is never given it."""
        if self._admin is None:
            config: dict[str, Any] = {
                "bootstrap.servers": f"{LOOPBACK}:{self._ports['ADMIN']}",
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanism": "SCRAM-SHA-512",
                "sasl.username": ADMIN,
                "sasl.password": self._admin_password,
                "logger": _log,
            }
            self._admin = AdminClient(config)
        return self._admin

    def set_password(self, user: str, password: str) -> None:
        """Make a SCRAM user, or change the password of one: from now on, only the new one is taken."""
        changes = [
            UserScramCredentialUpsertion(
                user, ScramCredentialInfo(mechanism, _SCRAM_ITERATIONS), password=password.encode()
            )
            for mechanism in _SCRAM.values()
        ]
        for change in changes:  # one by one: a request may name a user once
            for future in self.admin_client().alter_user_scram_credentials([change]).values():
                future.result(_ANSWER_SECONDS)

    def allow(
        self,
        user: str,
        resource: ResourceType,
        name: str,
        *operations: AclOperation,
        pattern: ResourcePatternType = ResourcePatternType.LITERAL,
    ) -> None:
        """Give a user these rights."""
        bindings = [
            AclBinding(resource, name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
            for operation in operations
        ]
        for future in self.admin_client().create_acls(bindings).values():
            future.result(_ANSWER_SECONDS)

    def pause(self) -> None:
        """The ports accept, but nothing answers."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        self._send(signal.SIGCONT)

    def begin(self) -> None:
        """Format the storage and start the process; `wait_ready` waits for it."""
        config = self._folder / "server.properties"
        if not config.exists():
            config.touch(mode=0o600)
            settings = self._settings() | dict(self._properties)
            config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()), encoding="utf-8")
            (self._folder / "log4j.properties").write_text(_LOGGING, encoding="utf-8")
            self._format(config)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._java("kafka.Kafka", str(config)), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def wait_ready(self) -> None:
        waiting.wait_until(self._answers, _START_DEADLINE_SECONDS, f"the {self.role} broker answers: {self.log}")

    def ask_to_stop(self) -> None:
        self._admin = None
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()

    def wait_stopped(self) -> None:
        """Wait for the end; a broker that does not go in time is killed."""
        if self.process is None:
            return
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def _send(self, number: signal.Signals) -> None:
        assert self.process is not None, f"the {self.role} broker is not running"
        self.process.send_signal(number)

    def _answers(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            raise RuntimeError(f"The {self.role} broker ended: {self.log.read_text(errors='replace')[-3000:]}")
        try:
            return bool(self.admin_client().list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    def _format(self, config: Path) -> None:
        done = subprocess.run(
            self._java(
                "kafka.tools.StorageTool",
                "format",
                f"--cluster-id=kferrytests{self.role}AAAAA",
                f"--config={config}",
                f"--add-scram=SCRAM-SHA-512=[name={ADMIN},password={self._admin_password}]",
            ),
            capture_output=True,
            text=True,
            timeout=_FORMAT_SECONDS,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"The {self.role} broker's storage was not formatted: {done.stdout}{done.stderr}")

    def _java(self, *arguments: str) -> list[str]:
        options = ["-Xmx384m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        options += [f"-Dlog4j.configuration=file:{self._folder / 'log4j.properties'}"]
        return [java_command(), *options, "-cp", kafka_class_path(), *arguments]

    def _settings(self) -> dict[str, str]:
        addresses: dict[str, str] = {name: self.listener(name) for name in CLIENT_LISTENERS}
        addresses["ADMIN"] = f"{LOOPBACK}:{self._ports['ADMIN']}"
        controller = f"{LOOPBACK}:{self._ports['CONTROLLER']}"
        kinds = {name: name for name in CLIENT_LISTENERS} | {"ADMIN": "SASL_PLAINTEXT", "CONTROLLER": "SASL_PLAINTEXT"}
        listening = addresses | {"CONTROLLER": controller}
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{controller}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "ADMIN",
            "listeners": ",".join(f"{name}://{address}" for name, address in listening.items()),
            "advertised.listeners": ",".join(f"{name}://{address}" for name, address in addresses.items()),
            "listener.security.protocol.map": ",".join(f"{name}:{kind}" for name, kind in kinds.items()),
            "log.dirs": str(self._folder / "data"),
            **_BEHAVIOUR,
            **self._security(),
        }

    def _security(self) -> dict[str, str]:
        certificate, key = self._authority.for_server(f"{self.role}-broker", {self._address, LOOPBACK}, ["localhost"])
        keystore = self._folder / "keystore.pem"
        keystore.touch(mode=0o600)
        keystore.write_bytes(key.read_bytes() + certificate.read_bytes())
        own = f"username={_quoted(ADMIN)} password={_quoted(self._admin_password)}"
        # quoted: a service's user names may hold a # (instance#user)
        plain = " ".join(
            f"{_quoted(f'user_{name}')}={_quoted(password)}" for name, password in self._plain_users.items()
        )
        settings = {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "false",
            "super.users": f"User:{ADMIN}",
            "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
            "sasl.mechanism.controller.protocol": "PLAIN",
            "listener.name.admin.sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.admin.scram-sha-512.sasl.jaas.config": f"{_SCRAM_MODULE} {own};",
            "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.controller.plain.sasl.jaas.config": (
                f"{_PLAIN_MODULE} {own} user_{ADMIN}={_quoted(self._admin_password)};"
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(keystore),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self._authority.path),
            "listener.name.ssl.ssl.client.auth": "required",
            "listener.name.ssl.ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/,DEFAULT",
        }
        for listener in ("sasl_ssl", "sasl_plaintext"):
            prefix = f"listener.name.{listener}"
            settings[f"{prefix}.sasl.enabled.mechanisms"] = ",".join(["PLAIN", *_SCRAM])
            settings[f"{prefix}.plain.sasl.jaas.config"] = f"{_PLAIN_MODULE} {plain};"
            for mechanism in _SCRAM:
                settings[f"{prefix}.{mechanism.lower()}.sasl.jaas.config"] = f"{_SCRAM_MODULE};"
        return settings


class SecuredBrokers:
    """A source and a target, each with the listeners of CLIENT_LISTENERS at `address`.

    `users` can log in by PLAIN and by SCRAM and have no rights until the test gives them some.
    """

    def __init__(
        self,
        folder: Path,
        address: str = LOOPBACK,
        *,
        users: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        self.passwords = dict(users) if users is not None else {"kferry": secrets.token_hex(12)}
        self.authority = CertificateAuthority(folder / "certificates")
        self.ca_path = self.authority.path
        made = {
            role: SecuredBroker(role, folder / role, address, self.authority, dict(self.passwords), properties or {})
            for role in ("source", "target")
        }
        self.source, self.target = made["source"], made["target"]

    @property
    def both(self) -> tuple[SecuredBroker, SecuredBroker]:
        return self.source, self.target

    def broker(self, role: Role) -> SecuredBroker:
        return self.source if role == "source" else self.target

    def start(self) -> SecuredBrokers:
        """Start both and make the users; where one fails, none is left running."""
        try:
            for broker in self.both:
                broker.begin()
            for broker in self.both:
                broker.wait_ready()
            for name, password in self.passwords.items():
                self.add_user(name, password)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        for broker in self.both:
            broker.ask_to_stop()
        for broker in self.both:
            broker.wait_stopped()

    def __enter__(self) -> SecuredBrokers:
        return self.start()

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def admin_client(self, role: Role) -> AdminClient:
        return self.broker(role).admin_client()

    def add_user(self, name: str, password: str, role: Role | None = None) -> None:
        """Make a SCRAM user or change its password, on both brokers or on one. (PLAIN knows the first users only.)"""
        self.passwords[name] = password
        for broker in self.both if role is None else (self.broker(role),):
            broker.set_password(name, password)

    def client_certificate(self, name: str) -> tuple[Path, Path]:
        """A new certificate and its PKCS8 key, as PEM files, with which `SSL` knows its holder as User:`name`."""
        return self.authority.for_client(name)


_BEHAVIOUR = {
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
    "num.partitions": "1",
    "default.replication.factor": "1",
    "offsets.topic.num.partitions": "3",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "3",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "auto.create.topics.enable": "false",
    "log.segment.bytes": "16777216",
    "log.index.size.max.bytes": "1048576",
    "log.cleaner.threads": "1",
    "log.cleaner.dedupe.buffer.size": "8388608",
    # a failed login is answered at once instead of after a pause that only slows tests down
    "connection.failed.authentication.delay.ms": "0",
}

# The authorizer tells at INFO what it has denied: the first thing to read when least rights are too few.
_LOGGING = """\
log4j.rootLogger=WARN, out
log4j.logger.kafka.authorizer.logger=INFO
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d %p %m (%c)%n
"""


def _quoted(text: str) -> str:
    """As a value in a JAAS line that stands in a properties file: each of the two takes its backslashes."""
    inner = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + inner.replace("\\", "\\\\") + '"'


def _free_ports(address: str, names: tuple[str, ...]) -> dict[str, int]:
    """Ports of that address that were free a moment ago, all different."""
    sockets = [socket.socket() for _ in names]
    try:
        for sock in sockets:
            sock.bind((address, 0))
        return {name: int(sock.getsockname()[1]) for name, sock in zip(names, sockets, strict=True)}
    finally:
        for sock in sockets:
            sock.close()
