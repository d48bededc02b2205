"""The benchmarks read what kferry really sets, and their arithmetic is right; no time is measured here."""

from __future__ import annotations

from benchmarks import figures, worker_loss
from kferry.store.settings_file import MigrationSettings


def test_kferrys_side_is_what_kferry_writes() -> None:
    settings = worker_loss.kferry_settings()
    assert settings["offset.flush.interval.ms"] == str(MigrationSettings().offset_flush_interval_ms)
    assert all(int(value) >= 0 for value in settings.values())
    assert settings != worker_loss.VARIANTS["stock"]()


def test_a_worker_is_declared_dead_only_after_several_heartbeats() -> None:
    settings = worker_loss.kferry_settings()
    assert int(settings["session.timeout.ms"]) >= 3 * int(settings["heartbeat.interval.ms"])
    # brokers refuse less, unless their owner has lowered group.min.session.timeout.ms
    assert int(settings["session.timeout.ms"]) >= 6000


def test_a_ratio_says_whether_its_goal_is_met() -> None:
    assert "0.50" in figures.ratio_line("x", [1.0, 5.0, 2.0], [4.0, 3.0, 9.0], 0.5)
    assert "goal 0.5 met" in figures.ratio_line("x", [1.0, 5.0, 2.0], [4.0, 3.0, 9.0], 0.5)
    assert "NOT met" in figures.ratio_line("x", [3.0], [4.0], 0.5)


def test_what_was_not_measured_is_no_figure() -> None:
    assert figures.ratio_line("x", [], [1.0], 1.0) == "x: not measured"
    assert figures.ratio_line("x", [1.0], [0.0], 1.0) == "x: not measured"
    assert "IQR -" in figures.summary([1.0, 2.0])
    assert "IQR 2.0" in figures.summary([1.0, 2.0, 3.0, 4.0, 5.0])
