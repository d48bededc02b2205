"""The SHA-256 of files on the controller."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: kferry_sha256
author: The kferry authors
short_description: SHA-256 of files on the controller
description:
  - Reads each file once per call, in pieces.
options:
  _terms: {description: Paths}
"""


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[str]:
        found = []
        for term in terms:
            digest = hashlib.sha256()
            try:
                with Path(str(term)).open("rb") as stream:
                    for chunk in iter(lambda: stream.read(1 << 20), b""):
                        digest.update(chunk)
            except OSError as error:
                raise AnsibleError(f"{term} cannot be read: {error.strerror}.") from error
            found.append(digest.hexdigest())
        return found
