"""What a play needs of secrets: resolved at use, handed over in the child's environment, kept nowhere."""

from __future__ import annotations

from pathlib import Path

from kferry.domain import security
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import ClusterConfig, Role, TaskSpec
from kferry.engine import pem
from kferry.engine.clusters import Clusters
from kferry.kafka.secrets import is_reference, resolve, value_of
from kferry.store.journal import now_ms

_MODULES = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}
_IAM_MODULE = "software.amazon.msk.auth.iam.IAMLoginModule"


def play_environment(clusters: Clusters, spec: TaskSpec) -> dict[str, str]:
    """What the workers of a task need to reach both clusters: `KFERRY_SECRET_<ROLE>_` JAAS, CA, KEY, CERTIFICATE.

    Raises KferryError for what cannot be read or what Java would not accept.
    """
    result = {}
    for role in Role:
        config, prefix = clusters.config(role), f"KFERRY_SECRET_{role.name}_"
        security.refuse_old_waiver(config, now_ms())
        if config.sasl_mechanism == security.MSK_IAM:
            result[f"{prefix}JAAS"] = iam_jaas(config, spec)
        elif config.sasl_mechanism in _MODULES and config.sasl_password:
            result[f"{prefix}JAAS"] = jaas(config)
        result |= _tls(config)
    return result


def preflight_environment(clusters: Clusters) -> dict[str, str]:
    """What machines need to try the brokers: `KFERRY_SECRET_<ROLE>_` PASSWORD, CA, KEY, CERTIFICATE."""
    result = {}
    for role in Role:
        try:
            config = clusters.config(role)
        except KferryError:
            continue  # machines can be checked before the clusters are known
        security.refuse_old_waiver(config, now_ms())
        if config.sasl_mechanism in _MODULES and config.sasl_password:
            result[f"KFERRY_SECRET_{role.name}_PASSWORD"] = resolve(config.sasl_password)
        result |= _tls(config)
    return result


def jaas(config: ClusterConfig) -> str:
    """The JAAS line of a cluster's SASL login, with the password resolved."""
    username = value_of(config.sasl_username or "")
    password = resolve(config.sasl_password or "")
    module = _MODULES[config.sasl_mechanism or ""]
    return f'{module} required username="{_quoted(username)}" password="{_quoted(password)}";'


def iam_jaas(config: ClusterConfig, spec: TaskSpec) -> str:
    """The JAAS line of a login with AWS IAM: the role of the task in a session of its own, or the machine's role."""
    arn = security.role_arn(config, spec.name)
    options = []
    if arn:
        options.append(f'awsRoleArn="{_quoted(arn)}"')
        options.append(f'awsRoleSessionName="{_quoted(security.session_name(spec.migration_id, spec.name))}"')
        region = security.aws_region(config)
        if region:
            options.append(f'awsStsRegion="{_quoted(region)}"')
    return f"{' '.join([_IAM_MODULE, 'required', *options])};"


def text_of(place: str) -> str:
    """The text of a certificate or key: what a reference names, or the content of the file at a path."""
    return resolve(place if is_reference(place) else f"file:{Path(place).expanduser()}")


def _tls(config: ClusterConfig) -> dict[str, str]:
    """The PEM texts of a cluster's TLS: the authority it is checked against, and what a client shows of itself."""
    prefix, of = f"KFERRY_SECRET_{config.role.name}_", f"of the {config.role.value} cluster"
    result = {}
    if config.ssl_ca:
        result[f"{prefix}CA"] = pem.certificates(text_of(config.ssl_ca), f"the CA {of} (ssl_ca)")
    if config.ssl_certificate and config.ssl_key:
        what = f"the certificate {of} (ssl_certificate)"
        result[f"{prefix}CERTIFICATE"] = pem.certificates(text_of(config.ssl_certificate), what)
        result[f"{prefix}KEY"] = pem.private_key(text_of(config.ssl_key), f"the private key {of} (ssl_key)")
    return result


def _quoted(text: str) -> str:
    """Text inside the double quotes of a JAAS option: a bare line end would end it."""
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(plain, escaped)
    if "\0" in text:
        raise KferryError(
            "A user name or password holds a zero byte, which no process can be handed.",
            next_step="Set another one.",
            kind=ErrorKind.USAGE,
        )
    return text
