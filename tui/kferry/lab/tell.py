"""What application owners are told to do, as a change of the wanted state: pure, so that it can be tested."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kferry.domain.errors import ErrorKind, KferryError
from kferry.lab.home import CLUSTERS
from kferry.lab.systems import GROUPS, TOPICS, check_known

State = dict[str, dict[str, str | None]]

_ACTIONS = {
    "stop_consumers": ("consumers", "groups", False),
    "start_consumers": ("consumers", "groups", True),
    "stop_producers": ("producers", "topics", False),
    "start_producers": ("producers", "topics", True),
}


def first_state() -> State:
    """A new lab: everything runs on the source."""
    return {
        "producers": dict.fromkeys(TOPICS, "source"),
        "consumers": dict.fromkeys(GROUPS, "source"),
    }


def check_request(request: object) -> Mapping[str, Any]:
    """The request of an owner hook, or a sentence that says what is wrong with it."""
    if not isinstance(request, dict) or request.get("action") not in _ACTIONS:
        raise _refused(f"`action` must be one of {', '.join(_ACTIONS)}.")
    if request.get("cluster") not in CLUSTERS:
        raise _refused("`cluster` must be source or target.")
    _, key, _ = _ACTIONS[request["action"]]
    names = request.get(key)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _refused(f"`{key}` must be a list of names.")
    if key == "groups":
        check_known("consumer group", names, GROUPS)
    else:
        check_known("topic", names, TOPICS)
    return request


def changed_state(state: State, request: Mapping[str, Any]) -> State:
    """The state after the request. What does not run on the named cluster is not touched by a stop there."""
    kind, key, start = _ACTIONS[request["action"]]
    cluster = request["cluster"]
    part = dict(state[kind])
    for name in request[key]:
        if start:
            part[name] = cluster
        elif part.get(name) == cluster:
            part[name] = None
    return {**state, kind: part}


def _refused(cause: str) -> KferryError:
    return KferryError("The request to the lab cannot be understood.", cause=cause, kind=ErrorKind.USAGE)
