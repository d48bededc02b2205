"""How kferry itself logs in to MSK with IAM: tokens of the optional package, signed with this machine's credentials."""

from __future__ import annotations

import threading
from importlib import import_module
from typing import Any

from kferry.domain import security
from kferry.domain.errors import ErrorKind, KferryError
from kferry.domain.model import ClusterConfig

_PACKAGE = "aws-msk-iam-sasl-signer-python"
_SESSION = "kferry"
_ONE_AT_A_TIME = threading.Lock()  # the signer asks AWS's chain of credentials, which is not made for threads


def client_config(cluster: ClusterConfig) -> dict[str, Any]:
    """librdkafka settings: to the brokers IAM looks like OAUTHBEARER with a signed token.

    Raises KferryError where the package, the region or credentials are missing: better now than as a login that fails.
    """
    region = security.aws_region(cluster)
    if region is None:
        raise _unusable(
            cluster,
            "The AWS region stands neither in its servers' names nor in clusters.yml.",
            f"Add aws_region to kferry_clusters.{cluster.role.value} in {security.CLUSTERS_FILE}.",
        )
    token(cluster, region)

    def renew(_settings: str) -> tuple[str, float]:
        return token(cluster, region)

    return {"sasl.mechanism": "OAUTHBEARER", "oauth_cb": renew}


def token(cluster: ClusterConfig, region: str) -> tuple[str, float]:
    """A token and when it expires, in seconds since 1970."""
    try:
        signer = import_module("aws_msk_iam_sasl_signer.MSKAuthTokenProvider")
    except ImportError:
        raise _unusable(
            cluster,
            f"AWS_MSK_IAM needs the Python package {_PACKAGE}, which is not installed.",
            "Install kferry with it: pip install 'kferry[aws]'.",
        ) from None
    # The role is for the workers of a task; kferry looks at the whole cluster, with the name of no task.
    arn = cluster.aws_role_arn if cluster.aws_role_arn and "{task}" not in cluster.aws_role_arn else None
    try:
        with _ONE_AT_A_TIME:
            if arn:
                text, expires_ms = signer.generate_auth_token_from_role_arn(region, arn, _SESSION)
            else:
                text, expires_ms = signer.generate_auth_token(region)
    except Exception as error:  # without credentials the signer dies of an AttributeError
        cause = "There are no AWS credentials" if isinstance(error, AttributeError) else f"{type(error).__name__}"
        raise _unusable(
            cluster,
            f"No token could be signed: {cause}.",
            "Give the machine's role or AWS_PROFILE to the shell that runs `kferry engine restart`"
            + (f", and let it take on {arn}." if arn else "."),
        ) from None
    return text, expires_ms / 1000


def _unusable(cluster: ClusterConfig, cause: str, next_step: str) -> KferryError:
    return KferryError(
        f"Cannot log in to the {cluster.role.value} cluster with AWS IAM.",
        cause=cause,
        next_step=next_step,
        kind=ErrorKind.CONNECT,
    )
