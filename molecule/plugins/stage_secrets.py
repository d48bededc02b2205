"""Gives a scenario's plays their secrets in the environment, where kferry's engine would put them, and nowhere else."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: stage_secrets
type: aggregate
author: The kferry authors
short_description: Secrets of a Molecule scenario
description: Reads play-secrets.json of the ephemeral directory, which stage.py has written, before the first play.
requirements: [enabled in ANSIBLE_CALLBACKS_ENABLED]
"""


class CallbackModule(CallbackBase):
    """See DOCUMENTATION. Runs in the process that all workers are forked from."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "stage_secrets"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook):
        path = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "play-secrets.json"
        if path.is_file():
            os.environ.update(json.loads(path.read_text(encoding="utf-8")))
