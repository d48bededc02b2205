"""The kinds of cluster a migration starts from or ends in, and the ways to reach each of them, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kferry.domain.model import ClusterKind

PASSWORD_MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")
MSK_IAM = "AWS_MSK_IAM"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to reach a cluster of a kind: what its endpoint is called, and what a client needs there.

    `ports` are those that the service documents for it, its usual one first; () where the owner chooses. `ca` says who
    vouches for the brokers: "" (no TLS), "system" (a public CA), "own" (a CA file is needed), "either".
    """

    name: str
    title: str
    protocol: str
    mechanisms: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    ca: str = ""
    certificate: bool = False
    user_words: str = ""
    hint: str = ""

    @property
    def mechanism(self) -> str | None:
        return self.mechanisms[0] if self.mechanisms else None

    @property
    def needs_password(self) -> bool:
        return any(item in PASSWORD_MECHANISMS for item in self.mechanisms)

    @property
    def is_encrypted(self) -> bool:
        return self.protocol.endswith("SSL")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of cluster: its name, the ways there are, and what to know of it before anything is asked."""

    kind: ClusterKind
    title: str
    ways: tuple[Way, ...]
    versions: str = ""
    hint: str = ""
    hosts: str = ""  # what its host names look like, as a regular expression
    example: str = "broker1:9092,broker2:9092"

    def way(self, name: str) -> Way | None:
        return next((way for way in self.ways if way.name == name), None)


_PLAIN_TEXT = Way("plaintext", "no security", "PLAINTEXT", ports=(9092,), hint="Nothing is encrypted, nobody logs in.")
_OWN_WAYS = (
    _PLAIN_TEXT,
    Way("tls", "TLS", "SSL", ca="either"),
    Way("mtls", "TLS with a client certificate", "SSL", ca="either", certificate=True),
    Way("sasl_tls", "user and password over TLS", "SASL_SSL", PASSWORD_MECHANISMS, ca="either"),
    Way(
        "sasl",
        "user and password without TLS",
        "SASL_PLAINTEXT",
        PASSWORD_MECHANISMS,
        hint="With PLAIN the password crosses the network as it is: choose SCRAM, or TLS.",
    ),
)

_MSK = Kind(
    ClusterKind.MSK,
    "Amazon MSK",
    (
        Way(
            "iam", "IAM", "SASL_SSL", (MSK_IAM,), (9098, 9198, 20098), "system", hint="No user or password: AWS's own."
        ),
        Way(
            "scram",
            "SCRAM",
            "SASL_SSL",
            ("SCRAM-SHA-512",),
            (9096, 9196, 20096),
            "system",
            user_words="the user of a secret in AWS Secrets Manager that is associated with the cluster",
        ),
        Way("tls", "TLS", "SSL", (), (9094, 9194, 20094), "system"),
        Way("mtls", "TLS with a client certificate", "SSL", (), (9094, 9194, 20094), "system", certificate=True),
        Way("plaintext", "no security", "PLAINTEXT", (), (9092, 20092)),
    ),
    versions="1.1 to current",
    hint="Take the bootstrap string from “View client information”: it lists up to three brokers, one port for each way"
    " (public access has ports of its own). MSK Serverless knows IAM only.",
    hosts=r"\.kafka(-serverless)?\.[a-z0-9-]+\.amazonaws\.com(\.cn)?$",
    example="b-1.name.abcdef.c2.kafka.eu-west-1.amazonaws.com:9098,b-2...",
)

_CONFLUENT = Kind(
    ClusterKind.CONFLUENT,
    "Confluent Platform or Cloud",
    (
        Way(
            "cloud",
            "Confluent Cloud: API key",
            "SASL_SSL",
            ("PLAIN",),
            (9092,),
            "system",
            user_words="the API key of the cluster; its secret is the password",
        ),
        *_OWN_WAYS,
    ),
    hint="On Confluent Cloud the user is an API key of this cluster (not of the cloud), the password its secret; rights"
    " come from the key's account.",
    hosts=r"\.confluent\.(cloud|io)$",
    example="pkc-12345.eu-west-1.aws.confluent.cloud:9092",
)

_ALIBABA_HINT = (
    "Its TLS endpoints use Alibaba's own CA: download it from the service's pages as PEM and name it as CA. Where its"
    " certificate carries no names, docs/security.md shows the waiver."
)
_ALIBABA_MECHANISMS = ("SCRAM-SHA-256", "PLAIN")
_ALIBABA = Kind(
    ClusterKind.ALIBABA,
    "Alibaba Cloud Kafka",
    (
        Way("default", "default endpoint (VPC)", "PLAINTEXT", (), (9092,)),
        Way(
            "sasl",
            "SASL endpoint (VPC)",
            "SASL_PLAINTEXT",
            _ALIBABA_MECHANISMS,
            (9094,),
            user_words="a SASL user of the instance; its type decides between PLAIN and SCRAM",
            hint="It is there once the instance's ACL feature was switched on.",
        ),
        Way(
            "ssl_vpc",
            "SSL endpoint in the VPC",
            "SASL_SSL",
            _ALIBABA_MECHANISMS,
            (9095,),
            "own",
            user_words="a SASL user of the instance",
            hint=_ALIBABA_HINT,
        ),
        Way(
            "ssl_public",
            "SSL endpoint on the Internet",
            "SASL_SSL",
            ("PLAIN", "SCRAM-SHA-256"),
            (9093,),
            "own",
            user_words="the instance's own user or a SASL user",
            hint=_ALIBABA_HINT,
        ),
    ),
    versions="0.10 to 3.x, by instance",
    hint="Each endpoint has a port of its own; the console lists those that the instance has.",
    hosts=r"\.alikafka\.aliyuncs\.com$|\.kafka\.aliyuncs\.com$",
    example="alikafka-pre-cn-xyz-1-vpc.alikafka.aliyuncs.com:9092",
)

_TENCENT_USER = "instance id and user with a # between: ckafka-12ab34cd#name"
_TENCENT = Kind(
    ClusterKind.TENCENT,
    "Tencent Cloud CKafka",
    (
        Way("vpc", "VPC route without login", "PLAINTEXT", (), (9092,)),
        Way(
            "sasl",
            "SASL_PLAINTEXT route (VPC or public)",
            "SASL_PLAINTEXT",
            ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
            user_words=_TENCENT_USER,
            hint="A public route uses ports 50000 to 53000 for its brokers: open all of them towards the workers.",
        ),
        Way(
            "sasl_ssl",
            "SASL_SSL route (VPC or public)",
            "SASL_SSL",
            ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
            ca="own",
            user_words=_TENCENT_USER,
            hint="Download the route's certificate from the console; only Pro instances have this route.",
        ),
    ),
    versions="0.10 to 3.x, by instance",
    hint="Users are made in the console; the name a client gives is the instance's id, #, the user.",
    example="ckafka-12ab34cd.ap-guangzhou.ckafka.tencentcloudmq.com:50001",
)

_AUTOMQ = Kind(
    ClusterKind.AUTOMQ,
    "AutoMQ",
    _OWN_WAYS,
    versions="1.x and 5.x (Kafka 3.4 to current)",
    hint="The target of a migration. The instance page lists its access points.",
)
_APACHE = Kind(
    ClusterKind.APACHE_KAFKA,
    "Apache Kafka",
    _OWN_WAYS,
    versions="0.11 to current",
    hint="Name two or three brokers, not one: the list is only where a client begins.",
)
_OTHER = Kind(
    ClusterKind.OTHER,
    "another Kafka-compatible cluster",
    _OWN_WAYS,
    hint="Everything by hand; kferry probes what it can do.",
)

KINDS: Mapping[ClusterKind, Kind] = {
    kind.kind: kind for kind in (_APACHE, _MSK, _CONFLUENT, _ALIBABA, _TENCENT, _AUTOMQ, _OTHER)
}
