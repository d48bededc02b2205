"""The files for users' own Prometheus and Grafana ask only for what a real worker exposes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kferry.ansible.content import find_content
from support.recorded_scrape import RECORDED, names_in

FILES = Path(__file__).parents[3] / "docs" / "prometheus"
SCRAPE = RECORDED.read_text(encoding="utf-8")
PROMETHEUS_OWN = {"up"}
# what the scrape job and its targets add to every metric
TARGET_LABELS = {"job", "instance", "migration", "migration_task", "worker"}
WORDS = {"and", "or", "unless", "by", "bool"}


def alert_rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((FILES / "alerts.yml").read_text())["groups"]
    return list(group["rules"])


def dashboard() -> dict[str, Any]:
    return dict(json.loads((FILES / "dashboard.json").read_text()))


def expressions() -> Iterator[tuple[str, str]]:
    for rule in alert_rules():
        yield rule["alert"], rule["expr"]
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            match = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
            assert match
            yield variable["name"], f"sum by ({match.group(2)}) ({match.group(1)})"


def names_asked(expression: str) -> set[str]:
    """Metric names in PromQL: the identifiers that are no function, no word of the language and no label."""
    plain = re.sub(r'"[^"]*"', "", expression)
    plain = re.sub(r"\{[^}]*\}|\[[^]]*\]", " ", plain)
    plain = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", " ", plain)
    return set(re.findall(r"\b[a-zA-Z_:][\w:]*\b(?!\s*\()", plain)) - WORDS


def labels_asked(expression: str) -> set[str]:
    plain = re.sub(r'"[^"]*"', '""', expression)
    inside = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", " ".join(re.findall(r"\{[^}]*\}", plain)))
    listed = re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", plain)
    return {*inside, *(name.strip() for names in listed for name in names.split(","))}


def labels_exposed() -> set[str]:
    return set(re.findall(r'[{,](\w+)="', SCRAPE))


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_every_metric_and_label_is_exposed(where: str, expression: str) -> None:
    asked = names_asked(expression)
    assert asked and asked <= names_in(SCRAPE) | PROMETHEUS_OWN
    assert labels_asked(expression) <= labels_exposed() | TARGET_LABELS


def test_the_check_sees_a_wrong_name() -> None:
    expression = 'sum by (a) (rate(kferry_nothing{b="kferry_c"}[5m])) > 0 unless bare == 1'
    assert names_asked(expression) == {"kferry_nothing", "bare"}
    assert labels_asked(expression) == {"a", "b"}


def test_labels_of_workers_and_targets_do_not_meet() -> None:
    # Prometheus would rename the worker's to exported_*
    assert not labels_exposed() & TARGET_LABELS
    (target, _) = yaml.safe_load((FILES / "targets" / "kferry-example.yml").read_text())
    assert set(target["labels"]) == TARGET_LABELS - {"job", "instance"}
    (job,) = yaml.safe_load((FILES / "prometheus.yml").read_text())["scrape_configs"]
    shared = [expression for _, expression in expressions() if re.search(r"jvm_|\bup\b", expression)]
    assert shared and all('job="kferry"' in expression for expression in shared)
    assert job["job_name"] == "kferry"


def test_every_alert_says_what_to_do_and_stands_in_the_readme() -> None:
    readme = (FILES / "README.md").read_text()
    for rule in alert_rules():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"] and rule["annotations"]["description"]
        assert f"`{rule['alert']}`" in readme


def test_the_readme_lists_exactly_what_is_exposed() -> None:
    readme = (FILES / "README.md").read_text()
    assert set(re.findall(r"`(kferry_[a-z_]+)`", readme)) - {"kferry_private_address"} == {
        name for name in names_in(SCRAPE) if name.startswith("kferry_")
    }


def test_the_record_is_of_the_exporter_config_as_it_is() -> None:
    """Each rule has left its mark in the record, and the record has nothing that no rule makes."""
    config = yaml.safe_load((find_content().roles / "kafka_connect" / "files" / "jmx_exporter.yml").read_text())
    exposed = {name for name in names_in(SCRAPE) if name.startswith("kferry_")}
    patterns = [re.sub(r"\$\d", "[a-z_]+", rule["name"]) for rule in config["rules"] if rule["name"] != "$1"]
    for pattern in patterns:
        assert any(re.fullmatch(pattern, name) for name in exposed), pattern
    assert all(any(re.fullmatch(pattern, name) for pattern in patterns) for name in exposed)
    helps = {rule["help"] for rule in config["rules"] if "help" in rule}
    assert set(re.findall(r"# HELP kferry_\w+ (.*)", SCRAPE)) == helps


def test_panels_have_their_own_place_and_number() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken and max(x for x, _ in cells) < 24
        taken |= cells


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (of Prometheus) is not installed")
def test_the_alerts_fire_when_they_should() -> None:
    done = subprocess.run(
        ["promtool", "test", "rules", "alerts_test.yml"],
        cwd=FILES,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
