"""Turns a reference to a secret into the secret, at the moment of use; neither ever stands in a message."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from kferry.domain.errors import ErrorKind, KferryError

_COMMAND_TIMEOUT_SECONDS = 20.0
_PREFIXES = ("env:", "file:", "command:", "vault:")
_CLUSTERS_FILE = "inventory/group_vars/all/clusters.yml"


def is_reference(text: str) -> bool:
    """Whether the text names a secret rather than being one."""
    return text.startswith(_PREFIXES)


def value_of(text: str) -> str:
    """What stands there in plain words, or what a reference names; for user names, which may be either."""
    return resolve(text) if is_reference(text) else text


def resolve(reference: str) -> str:
    """The secret behind `env:NAME`, `file:/path`, `command:...` (run without a shell) or a value of Ansible's vault."""
    kind, _, rest = reference.partition(":")
    rest = rest.strip()
    if not is_reference(reference) or not rest:
        # What stands here may be the secret itself: it must not be repeated.
        raise _missing(
            "A secret is not given as a reference.",
            "It starts with none of env:, file: and command:, or names nothing.",
            f"Write env:NAME, file:/path or command:... in {_CLUSTERS_FILE}.",
        )
    if kind == "env":
        return _from_environment(rest)
    if kind == "file":
        return _from_file(rest)
    if kind == "vault":
        return _from_vault(rest)
    return _from_command(rest)


def _from_environment(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise _missing(
            f"The secret env:{name} is missing.",
            f"The environment variable {name} is not set, or empty, in the process that needs it.",
            f"Export {name} in a shell and run `kferry engine restart` there, or refer to a file instead.",
        )
    return value


def _from_file(path: str) -> str:
    try:
        value = Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise _missing(
            f"The secret file {path} cannot be read.",
            f"Reason: {reason}.",
            f"Make the file readable for this account, or correct its path in {_CLUSTERS_FILE}.",
        ) from None
    value = value.rstrip("\r\n")
    if not value:
        raise _missing(f"The secret file {path} is empty.", "", "Write the secret into it.")
    return value


def _from_command(line: str) -> str:
    try:
        arguments = shlex.split(line)
    except ValueError:
        arguments = []
    if not arguments:
        raise _missing("The command for a secret cannot be read.", "Its quotes do not match.", "Correct it.")
    program = arguments[0]  # the arguments may hold something secret and are not named
    next_step = f"Run the command by hand as this account, or correct it in {_CLUSTERS_FILE}."
    try:
        done = subprocess.run(
            arguments, stdin=subprocess.DEVNULL, capture_output=True, timeout=_COMMAND_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        cause = f"It did not end within {_COMMAND_TIMEOUT_SECONDS:.0f} s; it may be waiting for input."
        raise _missing(f"The command {program} gave no secret.", cause, next_step) from None
    except OSError as error:
        cause = f"It cannot be started: {error.strerror}."
        raise _missing(f"The command {program} gave no secret.", cause, next_step) from None
    if done.returncode != 0:
        raise _missing(f"The command {program} gave no secret.", f"It ended with {done.returncode}.", next_step)
    value = done.stdout.decode("utf-8", "replace").rstrip("\r\n")
    if not value:
        raise _missing(f"The command {program} gave no secret.", "It printed nothing.", next_step)
    return value


def _from_vault(text: str) -> str:
    """Open a `!vault` value with the password file that Ansible itself would use."""
    named = os.environ.get("ANSIBLE_VAULT_PASSWORD_FILE")
    if not named:
        raise _missing(
            "A !vault value cannot be opened.",
            "ANSIBLE_VAULT_PASSWORD_FILE is not set in the process that needs it.",
            "Export it in a shell and run `kferry engine restart` there.",
        )
    path = Path(named).expanduser()
    password = _from_command(shlex.quote(str(path))) if os.access(path, os.X_OK) else _from_file(str(path))
    from ansible.parsing.vault import AnsibleVaultError, VaultLib, VaultSecret  # type: ignore[import-untyped]

    try:
        opened = VaultLib([("default", VaultSecret(password.encode()))]).decrypt(text.encode())
        value = bytes(opened).decode("utf-8")
    except (AnsibleVaultError, UnicodeDecodeError):
        cause = f"The password in {path} does not open it, or the value is damaged."
        raise _missing("A !vault value cannot be opened.", cause, f"Encrypt it anew in {_CLUSTERS_FILE}.") from None
    if not value:
        raise _missing("A !vault value is empty.", "", f"Encrypt the secret in {_CLUSTERS_FILE}.")
    return value


def _missing(title: str, cause: str, next_step: str) -> KferryError:
    return KferryError(title, cause=cause, next_step=next_step, kind=ErrorKind.CONNECT)
