"""A short run of `benchmarks.chaos.webhooks`: a few faults of each kind, and no webhook is lost."""

from __future__ import annotations

from pathlib import Path

from benchmarks.chaos.webhooks import Plan, is_sound, run


def test_every_event_arrives_whoever_is_killed(tmp_path: Path) -> None:
    figures = run(Plan(jobs=100, seconds=10, fault_every_s=0.5, seed=1), tmp_path)
    assert is_sound(figures), figures
    assert figures["accepted"] == figures["announced"] == 100
    assert len(figures["faults"]) == 4
    assert min(figures["faults"].values()) >= 2
