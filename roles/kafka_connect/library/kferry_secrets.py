#!/usr/bin/python
"""Keep the files of secrets that `${file:...}` references of workers and connectors point at."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kferry_account import account_of, acting_as, own_folder
from ansible.module_utils.kferry_files import mode_of, parse_properties, properties_text, read_text, write_whole

DOCUMENTATION = r"""
module: kferry_secrets
short_description: Keep the files of secrets that workers and connectors refer to
description: >-
  Each reference is a file below root and a key. A value that isn't given now keeps what the file has; a key without
  any value is a problem. Files are 0600. Use no_log. Where Connect's REST asks for an account, its files are kept too.
options:
  root: {type: path, required: true, description: Folder of all workers; files elsewhere are left alone}
  references: {type: list, elements: list, required: true, description: Pairs of file and key}
  values: {type: dict, default: {}, no_log: true, description: Value by key; empty means not given now}
  account: {type: str, default: "", description: Account that owns the files; empty means ourselves}
  rest_folder: {type: path, description: "Folder for rest.users and rest.jaas, made of the key rest_password"}
  state: {type: str, choices: [present, absent], default: present, description: Whether the files are to be there}
"""
EXAMPLES = r"""
- name: Keep secrets
  kferry_secrets:
    root: /opt/kferry
    references: [["/opt/kferry/tasks/shop/secrets.properties", "target_jaas"]]
    values: {target_jaas: "..."}
  no_log: true
"""
RETURN = r"""
problem:
  type: str
  returned: always
  description: Why it could not be done, or empty. No failure, since no_log would hide it; a next step fails with it.
differs: {type: bool, returned: always, description: Whether something was, or would have been, changed}
"""

MARK = "# revision "
REST_ACCOUNT = "kferry"
REST_KEY = "rest_password"
LOGIN_MODULE = "org.apache.kafka.connect.rest.basic.auth.extension.PropertyFileLoginModule"


def rest_texts(folder, password):
    """What the REST extension of Connect reads: who may call, and where that is written."""
    return {
        f"{folder}/rest.users": properties_text({REST_ACCOUNT: password}),
        f"{folder}/rest.jaas": f'KafkaConnect {{\n  {LOGIN_MODULE} required\n  file="{folder}/rest.users";\n}};\n',
    }


def wanted_files(root, references):
    """Keys by file, for the files that are ours to write."""
    files = {}
    for path, key in references:
        if re.fullmatch(re.escape(root) + r"/tasks/[a-z0-9][a-z0-9-]*/secrets\.properties", path):
            files.setdefault(path, set()).add(key)
    return files


def remove(paths, check_mode):
    """Remove the files; True where something was there."""
    found = [Path(path) for path in paths if Path(path).exists()]
    for path in found if not check_mode else ():
        path.unlink()
    return bool(found)


def keep(path, keys, given, check_mode):
    """Bring one file of secrets into its state. Returns whether it changed, its values, and the keys without one."""
    before = read_text(path)
    kept = parse_properties(before or "")
    wanted = {key: given.get(key, kept.get(key)) for key in keys}
    missing = {key for key, value in wanted.items() if value is None}
    if missing or (wanted == kept and mode_of(path) == 0o600):
        return False, wanted, missing
    if not check_mode:
        # The random mark makes the file's hash tell of a change and of nothing else.
        write_whole(path, f"{MARK}{os.urandom(16).hex()}\n{properties_text(wanted)}")
    return True, wanted, missing


def keep_all(files, rest_folder, given, check_mode):
    """All files of secrets, and what Connect's REST needs. Returns whether anything changed, and the missing keys."""
    changed, missing = False, set()
    for path, keys in sorted(files.items()):
        differs, values, lacking = keep(path, keys, given, check_mode)
        changed, missing = changed or differs, missing | lacking
        if rest_folder == str(Path(path).parent) and values.get(REST_KEY) is not None and not missing:
            for name, text in rest_texts(rest_folder, values[REST_KEY]).items():
                if read_text(name) != text or mode_of(name) != 0o600:
                    changed = True
                    if not check_mode:
                        write_whole(name, text)
    return changed, missing


def main():
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "references": {"type": "list", "elements": "list", "required": True},
            "values": {"type": "dict", "default": {}, "no_log": True},
            "account": {"type": "str", "default": ""},
            "rest_folder": {"type": "path"},
            "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
        },
        supports_check_mode=True,
    )
    params = module.params
    given = {key: value for key, value in params["values"].items() if value}
    root, references = params["root"].rstrip("/"), list(params["references"])
    account = account_of(params["account"])
    if params["rest_folder"]:
        references.append([f"{params['rest_folder']}/secrets.properties", REST_KEY])
    files = wanted_files(root, references)
    changed = False
    try:
        if params["state"] == "absent":
            beside = [str(Path(path).with_name(name)) for path in files for name in ("rest.users", "rest.jaas")]
            with acting_as(account):
                module.exit_json(changed=remove([*files, *beside], module.check_mode), problem="", differs=False)
        if not module.check_mode:
            for path in files:
                changed |= own_folder(Path(path).parent, account, 0o700)
        with acting_as(account):
            differs, missing = keep_all(files, params["rest_folder"], given, module.check_mode)
    except OSError as error:
        module.exit_json(changed=False, differs=False, problem=f"The files of secrets could not be written: {error}")
    problem = ""
    if missing:
        names = ", ".join(f"KFERRY_SECRET_{key.upper()}" for key in sorted(missing))
        problem = f"Secrets are missing: {names}. Set them in the environment that runs the play."
    module.exit_json(changed=changed or differs, differs=changed or differs, problem=problem)


if __name__ == "__main__":
    main()
