#!/usr/bin/python
"""Bring a list of Kafka Connect connectors into the wanted state: read, compare, change the difference, wait."""

from __future__ import annotations

import contextlib
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kferry_rest import CredentialsError, opener_for

DOCUMENTATION = r"""
module: kferry_connector
short_description: Bring Kafka Connect connectors into the wanted state
description: >-
  Reads all connectors in one call, compares config and state, changes only the difference, and waits until the wanted
  state is really there. Supports check mode and diff.
options:
  rest_urls: {type: list, elements: str, required: true, description: Addresses of the workers; each is tried}
  connectors:
    type: list
    elements: dict
    required: true
    description: The connectors
    suboptions:
      name: {type: str, required: true, description: Its name}
      state: {type: str, choices: [running, stopped, paused, absent], default: running, description: Wanted state}
      config: {type: dict, description: Its config}
      offsets: {type: list, elements: dict, description: Where a new connector begins; ignored once it exists}
  credentials_file: {type: path, description: "The file rest.users on this host, where REST asks for an account"}
  deadline_seconds: {type: int, default: 90, description: How long all of it may take}
"""
EXAMPLES = r"""
- name: Stop the copy
  kferry_connector:
    rest_urls: ["http://127.0.0.1:8083"]
    connectors:
      - {name: shop-source, state: stopped, config: {connector.class: MirrorSourceConnector}}
"""
RETURN = r"""
connectors:
  type: list
  returned: always
  description: Name, what was done, and the state with the number of connector tasks afterwards
"""

POLL_SECONDS = 0.2
REQUEST_TIMEOUT_SECONDS = 20
STATES = {"running": "RUNNING", "stopped": "STOPPED", "paused": "PAUSED"}
# The source first: checkpoints say something only about what it has copied.
RANKS = (("MirrorSourceConnector", 0), ("MirrorCheckpointConnector", 1), ("MirrorHeartbeatConnector", 2))
SECRET_KEY = re.compile(r"password|secret|jaas|credential|token|ssl\.keystore\.key|ssl\.key", re.IGNORECASE)
MAX_TRACE_LINES = 4


class RefusedError(Exception):
    """Connect answered with an error that trying again will not change, or the deadline has passed."""


class AbsentError(Exception):
    """Connect doesn't know the connector."""


class Rest:
    """Talks to whichever worker answers; retries rebalances, server errors and lost connections until the deadline."""

    def __init__(self, urls, deadline, credentials_file=None):
        for url in urls:
            if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
                raise RefusedError(f"{url!r} is not an http address of a Connect worker.")
        if not urls:
            raise RefusedError("No address of a Connect worker was given.")
        self._urls = [url.rstrip("/") for url in urls]
        self._deadline = deadline
        self._opener = opener_for(credentials_file)

    def call(self, method, path, body=None, retry_absent=False):
        last = ""
        while True:
            try:
                return self._once(method, self._urls[0] + path, body)
            except urllib.error.HTTPError as error:
                last = f"HTTP {error.code} from {self._urls[0]}: {message_of(error)}"
                if error.code == 404 and not retry_absent:
                    raise AbsentError(last) from error
                if error.code < 500 and error.code not in (404, 408, 409, 429):
                    raise RefusedError(last) from error
                if error.code == 409 and "already exists" in last:
                    return None  # an earlier try of ours arrived after all
            except (OSError, ValueError) as error:
                last = "{}: {}".format(self._urls[0], getattr(error, "reason", error))
                self._urls.append(self._urls.pop(0))
            self.pause(f"Connect did not carry out {method} {path} in time. {last}")

    def pause(self, words):
        """Wait a moment before the next look; past the deadline say `words` instead."""
        if time.monotonic() + POLL_SECONDS >= self._deadline:
            raise RefusedError(words)
        time.sleep(POLL_SECONDS)

    def _once(self, method, url, body):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, method=method)  # noqa: S310  (checked in __init__)
        request.add_header("Accept", "application/json")
        request.add_header("Content-Type", "application/json")
        timeout = max(1.0, min(REQUEST_TIMEOUT_SECONDS, self._deadline - time.monotonic()))
        with self._opener.open(request, timeout=timeout) as answer:
            text = answer.read()
        return json.loads(text) if text.strip() else None


def message_of(error):
    """Connect's own words in an error answer."""
    try:
        return str(json.loads(error.read())["message"])
    except (OSError, ValueError, KeyError, TypeError):
        return str(error.reason)


def path_of(name, rest=""):
    return "/connectors/" + urllib.parse.quote(name, safe="") + rest


def normal_config(name, config):
    """A config as Connect keeps it: text values, and the name."""
    result = {}
    for key, value in (config or {}).items():
        if value is not None:
            result[key] = str(value).lower() if isinstance(value, bool) else str(value)
    result["name"] = name
    return result


class Connector:
    """One connector: what is wanted, what is there, and the difference."""

    def __init__(self, wanted, found):
        self.name = wanted["name"]
        self.state = wanted["state"]
        self.offsets = wanted.get("offsets")
        self.config = normal_config(self.name, wanted["config"])
        self.exists = found is not None
        self.old_config = (found or {}).get("info", {}).get("config", {})
        self.status = (found or {}).get("status", {})
        self.actions = self._difference()

    @property
    def rank(self):
        kind = self.config.get("connector.class", "")
        return next((rank for ending, rank in RANKS if kind.endswith(ending)), len(RANKS))

    def _difference(self):
        if self.state == "absent":
            return ["delete"] if self.exists else []
        if not self.exists:
            return ["create"] + (["resume"] if self.state == "running" else [])
        actions = ["config"] if self.old_config != self.config else []
        if target_state(self.status) != STATES[self.state]:
            actions.append({"running": "resume", "stopped": "stop", "paused": "pause"}[self.state])
        elif self.state == "running" and has_failed(self.status):
            actions.append("restart")
        return actions

    def describe(self, after):
        """Lines for the diff. Values that look like secrets are left out; references to a file of secrets are not."""
        if after:
            config, state, there = self.config, self.state, self.state != "absent"
        else:
            config, state, there = self.old_config, state_words(self.status), self.exists
        if not there:
            return []
        lines = [f"{self.name}: {state}"]
        for key in sorted(config):
            value = config[key]
            hidden = SECRET_KEY.search(key) and not value.startswith("${")
            lines.append("  {} = {}".format(key, "(hidden)" if hidden else value))
        return lines


def has_failed(status):
    states = [status.get("connector", {}).get("state")] + [task.get("state") for task in status.get("tasks", [])]
    return "FAILED" in states


def target_state(status):
    """The state that was asked for last, as far as the status tells: a FAILED connector was meant to run."""
    state = status.get("connector", {}).get("state")
    return "RUNNING" if state in ("FAILED", "UNASSIGNED", "RESTARTING") else state


def state_words(status):
    if has_failed(status):
        return "failed"
    return str(status.get("connector", {}).get("state", "unknown")).lower()


def trace_of(name, status):
    """The first lines of why a connector or one of its tasks failed."""
    parts = [("connector", status.get("connector", {}))]
    parts += [("connector task {}".format(task.get("id")), task) for task in status.get("tasks", [])]
    for what, part in parts:
        if part.get("state") == "FAILED":
            lines = str(part.get("trace") or "no trace").strip().splitlines()
            causes = [line.strip() for line in lines if line.startswith("Caused by:")]
            words = [line.strip() for line in lines[:1]] + causes
            return "{}: its {} FAILED on {}: {}".format(
                name,
                what,
                part.get("worker_id"),
                " / ".join(words[:MAX_TRACE_LINES]),
            )
    return ""


def read(rest, wanted):
    """All connectors in one call, matched with what is wanted. Connectors that aren't ours are not looked at."""
    found = rest.call("GET", "/connectors?expand=info&expand=status") or {}
    return [Connector(entry, found.get(entry["name"])) for entry in wanted]


def apply(rest, connectors):
    """Ask for everything that takes from the copy first, then create and configure, then start in order."""
    for connector in connectors:
        for action in ("stop", "pause"):
            if action in connector.actions:
                rest.call("PUT", path_of(connector.name, "/" + action), retry_absent=True)
        if "delete" in connector.actions:
            with contextlib.suppress(AbsentError):  # an earlier try of ours may have arrived after all
                rest.call("DELETE", path_of(connector.name))
    for connector in connectors:
        if "create" in connector.actions:
            create(rest, connector)
        elif "config" in connector.actions:
            rest.call("PUT", path_of(connector.name, "/config"), connector.config)
    for connector in sorted(connectors, key=lambda c: c.rank):
        if "restart" in connector.actions:
            restart(rest, connector)
        if "resume" in connector.actions:
            rest.call("PUT", path_of(connector.name, "/resume"), retry_absent=True)
            await_state(rest, connector)


def create(rest, connector):
    initial = "PAUSED" if connector.state == "paused" else "STOPPED"
    body = {"name": connector.name, "config": connector.config, "initial_state": initial}
    rest.call("POST", "/connectors", body)
    if connector.offsets:
        if initial != "STOPPED":
            rest.call("PUT", path_of(connector.name, "/stop"), retry_absent=True)
        await_status(rest, connector, is_stopped, "was not created")
        rest.call("PATCH", path_of(connector.name, "/offsets"), {"offsets": connector.offsets}, retry_absent=True)
        if initial != "STOPPED":
            rest.call("PUT", path_of(connector.name, "/pause"), retry_absent=True)


def restart(rest, connector):
    rest.call("POST", path_of(connector.name, "/restart?includeTasks=true&onlyFailed=true"), retry_absent=True)


def is_stopped(status):
    return status.get("connector", {}).get("state") == "STOPPED" and not status.get("tasks")


def is_running(status):
    tasks = status.get("tasks", [])
    return status.get("connector", {}).get("state") == "RUNNING" and all(t.get("state") == "RUNNING" for t in tasks)


def is_paused(status):
    tasks = status.get("tasks", [])
    return status.get("connector", {}).get("state") == "PAUSED" and all(t.get("state") == "PAUSED" for t in tasks)


CONDITIONS = {"running": is_running, "stopped": is_stopped, "paused": is_paused}


def await_state(rest, connector):
    """Wait until the wanted state is really there; for stopped this means that no connector task is left."""
    if connector.state == "absent":
        while True:
            try:
                rest.call("GET", path_of(connector.name))
            except AbsentError:
                return
            rest.pause(f"Connector {connector.name} is still there.")
    words = f"did not become {connector.state}"
    await_status(rest, connector, CONDITIONS[connector.state], words)
    while connector.state == "stopped" and rest.call("GET", path_of(connector.name, "/tasks"), retry_absent=True):
        rest.pause(f"Connector {connector.name} still has connector tasks.")


def await_status(rest, connector, condition, words):
    restarted = "restart" in connector.actions
    while True:
        status = rest.call("GET", path_of(connector.name, "/status"), retry_absent=True)
        connector.status = status
        if condition(status):
            return
        if connector.state == "running" and has_failed(status) and not restarted:
            restarted = True  # once: it may have failed before its config was put right
            connector.actions.append("restart")
            restart(rest, connector)
        tasks = len(status.get("tasks", []))
        rest.pause(
            trace_of(connector.name, status)
            or f"Connector {connector.name} {words}: it is {state_words(status)} with {tasks} connector tasks."
        )


def main():
    module = AnsibleModule(
        argument_spec={
            "rest_urls": {"type": "list", "elements": "str", "required": True},
            "connectors": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "state": {"type": "str", "default": "running", "choices": [*STATES, "absent"]},
                    "config": {"type": "dict"},
                    "offsets": {"type": "list", "elements": "dict"},
                },
            },
            "credentials_file": {"type": "path"},
            "deadline_seconds": {"type": "int", "default": 90},
        },
        supports_check_mode=True,
    )
    if not module.params["connectors"]:
        module.exit_json(changed=False, connectors=[], msg="No connectors were asked for.")
    try:
        deadline = time.monotonic() + module.params["deadline_seconds"]
        rest = Rest(module.params["rest_urls"], deadline, module.params["credentials_file"])
        connectors = read(rest, module.params["connectors"])
        result = {"changed": any(c.actions for c in connectors), "diff": difference(connectors)}
        if not module.check_mode:
            apply(rest, connectors)
            for connector in connectors:
                await_state(rest, connector)
            result["changed"] = any(c.actions for c in connectors)
    except (RefusedError, AbsentError, CredentialsError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        connectors=[
            {
                "name": c.name,
                "actions": c.actions,
                "state": "absent" if c.state == "absent" else state_words(c.status),
                "tasks": len(c.status.get("tasks", [])),
            }
            for c in connectors
        ],
        msg=summary(connectors, module.check_mode),
        **result,
    )


def difference(connectors):
    changed = [c for c in connectors if c.actions]
    return {
        "before": "".join(line + "\n" for c in changed for line in c.describe(after=False)),
        "after": "".join(line + "\n" for c in changed for line in c.describe(after=True)),
        "before_header": "connectors now",
        "after_header": "connectors wanted",
    }


def summary(connectors, check):
    done = ["{}: {}".format(c.name, " and ".join(c.actions)) for c in connectors if c.actions]
    if not done:
        return "All connectors are as wanted."
    return ("Would do: " if check else "Done: ") + "; ".join(done)


if __name__ == "__main__":
    main()
