"""Talk to Connect's REST on our own network: no proxies, and an account that is read on this host."""

from __future__ import annotations

import base64
import urllib.request

from ansible.module_utils.kferry_files import parse_properties, read_text


class CredentialsError(Exception):
    """The file of the account can't be used."""


def opener_for(credentials_file):
    """An opener that sends the first account of `rest.users`, or none where no file was given."""
    # workers are on our own network: a proxy for the internet knows nothing of them
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    if not credentials_file:
        return opener
    try:
        users = parse_properties(read_text(credentials_file) or "")
    except (OSError, ValueError) as error:
        raise CredentialsError(f"The REST account in {credentials_file} cannot be read: {error}") from error
    if not users:
        raise CredentialsError(
            f"There is no REST account in {credentials_file} on this host. Run the playbook workers.yml first."
        )
    name, password = next(iter(users.items()))
    word = base64.b64encode(f"{name}:{password}".encode()).decode()
    opener.addheaders = [("Authorization", f"Basic {word}")]
    return opener
