"""A short run of `benchmarks.chaos.jobs`: a few faults of each kind, and nothing that was accepted is lost."""

from __future__ import annotations

from pathlib import Path

from benchmarks.chaos.jobs import Plan, is_sound, run


def test_nothing_accepted_is_lost_wrong_or_double_whatever_is_killed(tmp_path: Path) -> None:
    plan = Plan(jobs=200, seconds=15, workers=2, fault_every_s=0.8, poison=1, drain_s=60, seed=1)
    figures = run(plan, tmp_path)
    assert is_sound(figures), figures
    assert figures["accepted"] == figures["succeeded"] + figures["failed"] + figures["canceled"] == plan.jobs
    assert figures["failed"] == plan.poison
    assert len(figures["faults"]) == 5
    assert min(figures["faults"].values()) >= 2
