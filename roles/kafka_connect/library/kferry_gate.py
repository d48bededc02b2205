#!/usr/bin/python
"""The health gate between two workers: all that answered answer, and no connector task is failed or left over."""

from __future__ import annotations

import json
import time
import urllib.error
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kferry_rest import CredentialsError, opener_for

DOCUMENTATION = r"""
module: kferry_gate
short_description: Look at the health of a task's workers, or wait until it is as it should be
description: >-
  Without `before` it only looks and returns what it saw. With `before` it waits until every worker that answered then
  (and each of `must_answer`) answers, every connector is in its state of then, and no connector task is failed,
  unassigned or on a worker that is gone. A connector task that was failed before is no reason to wait while it is on a
  worker whose turn comes later: the restart may be what heals it. Changes nothing.
options:
  rest_urls: {type: list, elements: str, required: true, description: All started workers of the task}
  must_answer: {type: list, elements: str, default: [], description: Workers that must answer whatever was before}
  before: {type: dict, description: What an earlier look returned as `seen`}
  credentials_file: {type: path, description: The file rest.users on this host}
  deadline_seconds: {type: int, default: 120, description: How long it may take}
"""
EXAMPLES = r"""
- name: Look
  kferry_gate:
    rest_urls: ["http://10.0.0.11:18083"]
  register: look
"""
RETURN = r"""
seen: {type: dict, returned: always, description: Answering workers and the state of each connector and connector task}
seconds: {type: float, returned: always, description: How long it took}
"""

POLL_SECONDS = 0.5
REQUEST_TIMEOUT_SECONDS = 5
FAILED_SECONDS = 20  # Connect starts no failed connector task again by itself, but its state may be told late
MAX_TRACE_CHARACTERS = 300


def ask(opener, url):
    """The answer of a worker as data; None where it does not answer; False where it doesn't take our account."""
    try:
        with opener.open(url, timeout=REQUEST_TIMEOUT_SECONDS) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        # in the middle of a change of its password another worker still has the old one: it lives
        return False if error.code in (401, 403) else None
    except (OSError, ValueError):
        return None


def look(opener, urls):
    """Which workers answer, and what they say of the connectors."""
    answers = {url: ask(opener, url.rstrip("/") + "/health") for url in urls}
    answering = [url for url in urls if answers[url] is not None]
    connectors = None
    for url in (url for url in answering if answers[url] is not False):
        found = ask(opener, url.rstrip("/") + "/connectors?expand=status")
        if isinstance(found, dict):
            connectors = {name: summary(entry.get("status", {})) for name, entry in found.items()}
            break
    return {"answering": answering, "connectors": connectors}


def summary(status):
    return {
        "state": status.get("connector", {}).get("state"),
        "tasks": [
            {
                "id": task.get("id"),
                "state": task.get("state"),
                "worker": task.get("worker_id"),
                "trace": first_words(task.get("trace")),
            }
            for task in status.get("tasks", [])
        ],
    }


def first_words(trace):
    """Of a stack trace what it is about: its first line and its last cause."""
    lines = [line.strip() for line in str(trace or "").strip().splitlines()]
    causes = [line for line in lines if line.startswith("Caused by:")]
    return " / ".join(lines[:1] + causes[-1:])[:MAX_TRACE_CHARACTERS]


def failed_tasks(seen):
    connectors = (seen or {}).get("connectors") or {}
    return {
        (name, task["id"]) for name, entry in connectors.items() for task in entry["tasks"] if task["state"] == "FAILED"
    }


def objections(seen, before, params):
    """Why the next worker must not be touched yet, as sentences; empty when all is well."""
    expected = [url for url in params["rest_urls"] if url in before["answering"] or url in params["must_answer"]]
    words = [f"Worker {url} does not answer." for url in expected if url not in seen["answering"]]
    if seen["connectors"] is None:
        return [*words, "No worker says how the connectors are."]
    alive = {urlsplit(url).netloc for url in seen["answering"]}
    done = {urlsplit(url).netloc for url in params["must_answer"]}
    known = failed_tasks(before)
    for name, then in (before["connectors"] or {}).items():
        now = seen["connectors"].get(name)
        if now is None:
            words.append(f"Connector {name} is gone.")
        elif now["state"] != then["state"] and then["state"] in ("RUNNING", "PAUSED", "STOPPED"):
            words.append(f"Connector {name} was {then['state']} and is {now['state']}.")
        elif then["state"] == "RUNNING" and then["tasks"] and not now["tasks"]:
            words.append(f"Connector {name} has no connector tasks.")
    for name, entry in seen["connectors"].items():
        for task in entry["tasks"]:
            what = f"Connector task {task['id']} of {name}"
            if task["state"] == "FAILED" and ((name, task["id"]) not in known or task["worker"] in done):
                words.append(f"{what} FAILED on {task['worker']}: {task['trace']}")
            elif task["state"] in ("UNASSIGNED", "RESTARTING"):
                words.append(f"{what} is {task['state']}.")
            elif task["state"] == "RUNNING" and task["worker"] not in alive:
                words.append(f"{what} is said to run on {task['worker']}, which does not answer.")
    return words


def main():
    module = AnsibleModule(
        argument_spec={
            "rest_urls": {"type": "list", "elements": "str", "required": True},
            "must_answer": {"type": "list", "elements": "str", "default": []},
            "before": {"type": "dict"},
            "credentials_file": {"type": "path"},
            "deadline_seconds": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    params, began = module.params, time.monotonic()
    try:
        opener = opener_for(params["credentials_file"])
    except CredentialsError as error:
        if params["before"] is not None:
            module.fail_json(msg=str(error))
        module.exit_json(changed=False, seen={"answering": [], "connectors": None}, seconds=0.0)
    failed_since = None
    while True:
        seen = look(opener, params["rest_urls"])
        words = objections(seen, params["before"], params) if params["before"] is not None else []
        seconds = round(time.monotonic() - began, 1)
        if not words:
            module.exit_json(changed=False, seen=seen, seconds=seconds)
        failed_since = (failed_since or seconds) if any(" FAILED on " in word for word in words) else None
        if seconds > params["deadline_seconds"] or (failed_since and seconds - failed_since > FAILED_SECONDS):
            module.fail_json(
                msg=f"The health gate stayed shut for {seconds:.0f} s: {' '.join(words[:4])} "
                "The workers that come after this one were not touched.",
                seen=seen,
                seconds=seconds,
            )
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
