"""A short run of `benchmarks.chaos.sentinels`: primaries die, and no accepted job is lost, wrong or double."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chaos.sentinels import Plan, has_passed, run_chaos

pytestmark = pytest.mark.slow


def test_no_accepted_job_is_lost_wrong_or_double_when_primaries_die(tmp_path: Path) -> None:
    plan = Plan(
        jobs=600,
        seconds=30,
        fault_every_s=6,
        group_fault_every_s=2,
        failovers=3,
        probe_every_s=0.5,
        workers=2,
        poison=1,
        drain_s=180,
        confirm_replicas=2,  # with 1 of 2, an accepted job may vanish: docs/durability.md
        seed=1,
    )
    results = run_chaos(plan, tmp_path)
    assert has_passed(results), results
    assert results["accepted"] >= plan.jobs
    assert results["accepted"] == results["succeeded"] + results["failed"] + results["canceled"]
    assert results["failed"] == plan.poison
    assert results["failovers"] >= plan.failovers
    assert results["webhooks"]["announced"] == results["webhooks"]["accepted"] > 0
