"""A short run of `benchmarks.chaos.webhooks`: a few faults of each kind, and no webhook is lost or wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chaos.webhooks import Plan, has_passed, run_chaos

pytestmark = pytest.mark.slow


def test_every_webhook_arrives_whichever_process_is_killed(tmp_path: Path) -> None:
    results = run_chaos(Plan(jobs=100, seconds=10, fault_every_s=0.5, seed=1), tmp_path)
    assert has_passed(results), results
    assert results["accepted"] == results["announced"] == 100
    assert len(results["faults"]) == 4
    assert min(results["faults"].values()) >= 2
