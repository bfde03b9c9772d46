"""A short run of `benchmarks.chaos.jobs`: a few faults of each kind, and no accepted job is lost, wrong or double."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chaos.jobs import Plan, has_passed, run_chaos

pytestmark = pytest.mark.slow


def test_no_accepted_job_is_lost_wrong_or_double_under_faults(tmp_path: Path) -> None:
    plan = Plan(jobs=200, seconds=15, workers=2, fault_every_s=0.8, poison=1, drain_s=60, seed=1)
    results = run_chaos(plan, tmp_path)
    assert has_passed(results), results
    assert results["accepted"] == results["succeeded"] + results["failed"] + results["canceled"] == plan.jobs
    assert results["failed"] == plan.poison
    assert len(results["faults"]) == 6
    assert min(results["faults"].values()) >= 2
