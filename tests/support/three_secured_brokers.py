"""Three brokers of one cluster that ask for a password and allow nobody anything but the tests' own admin."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kferry.domain.model import ClusterConfig, ClusterKind, Role
from support.three_brokers import ThreeBrokers

ADMIN = "admin"
_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule required"


class ThreeSecuredBrokers(ThreeBrokers):
    """SASL_PLAINTEXT with PLAIN; the rights of its users are ACLs."""

    def __init__(self, home: Path, users: Iterable[str]) -> None:
        super().__init__(home)
        self.passwords = {name: secrets.token_hex(12) for name in (ADMIN, *users)}

    def client_config(self, user: str = ADMIN) -> dict[str, Any]:
        return {
            "bootstrap.servers": self.bootstrap_servers,
            "log_level": 0,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": user,
            "sasl.password": self.passwords[user],
        }

    def cluster(self, user: str = ADMIN) -> ClusterConfig:
        """How kferry's adapters reach it as this user."""
        return ClusterConfig(
            Role.SOURCE,
            ClusterKind.APACHE_KAFKA,
            self.bootstrap_servers,
            "SASL_PLAINTEXT",
            "PLAIN",
            user,
            f"env:{self.variable(user)}",
        )

    @staticmethod
    def variable(user: str) -> str:
        """The environment variable that the references to a user's password name."""
        return f"KFERRY_TEST_THREE_{user.upper()}"

    def _settings(self, number: int, folder: Path) -> dict[str, str]:
        users = " ".join(f'user_{name}="{password}"' for name, password in self.passwords.items())
        own = f'username="{ADMIN}" password="{self.passwords[ADMIN]}"'
        return {
            **super()._settings(number, folder),
            "listener.security.protocol.map": "PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.plaintext.plain.sasl.jaas.config": f"{_MODULE} {own} {users};",
            "inter.broker.listener.name": "PLAINTEXT",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            # the controller's own listener knows no names
            "super.users": f"User:{ADMIN};User:ANONYMOUS",
        }


@contextmanager
def three_secured_brokers(home: Path, users: Iterable[str]) -> Iterator[ThreeSecuredBrokers]:
    """Start the three and end them again."""
    brokers = ThreeSecuredBrokers(home, users)
    try:
        brokers.start()
        yield brokers
    finally:
        brokers.stop()
