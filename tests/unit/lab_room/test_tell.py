"""What owners are told to do: requests are checked, and the state changes as asked and no further."""

from __future__ import annotations

import pytest

from kferry.domain.errors import ErrorKind, KferryError
from kferry.lab.tell import changed_state, check_request, first_state


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ([], "action"),
        ({"action": "explode", "cluster": "source"}, "action"),
        ({"action": "stop_consumers", "cluster": "moon", "groups": []}, "cluster"),
        ({"action": "stop_consumers", "cluster": "source", "groups": "billing"}, "groups"),
        ({"action": "stop_consumers", "cluster": "source", "groups": ["nobody"]}, "nobody"),
        ({"action": "start_producers", "cluster": "target", "topics": ["billing"]}, "billing"),
    ],
)
def test_bad_requests_are_refused_in_a_sentence(request_: object, words: str) -> None:
    with pytest.raises(KferryError, match=words) as caught:
        check_request(request_)
    assert caught.value.kind is ErrorKind.USAGE


def test_stop_and_start_are_idempotent_and_touch_nothing_else() -> None:
    state = first_state()
    stop = {"action": "stop_consumers", "cluster": "source", "groups": ["billing"], "topics": ["shop.orders"]}
    stopped = changed_state(state, stop)
    assert stopped["consumers"]["billing"] is None
    assert stopped["consumers"]["fraud-check"] == "source"
    assert stopped["producers"] == state["producers"]
    assert changed_state(stopped, stop) == stopped
    started = changed_state(stopped, {**stop, "action": "start_consumers", "cluster": "target"})
    assert started["consumers"]["billing"] == "target"
    assert state == first_state()


def test_a_stop_on_one_cluster_leaves_alone_what_runs_on_the_other() -> None:
    state = changed_state(first_state(), {"action": "start_producers", "cluster": "target", "topics": ["hr.audit"]})
    after = changed_state(state, {"action": "stop_producers", "cluster": "source", "topics": ["hr.audit"]})
    assert after["producers"]["hr.audit"] == "target"
