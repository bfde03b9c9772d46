"""Jobs of killed workers are available within seconds although their leases last longer, with real processes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from local.supervisor import SupervisedProcess
from testing.fleet import Fleet
from testing.frozen import freeze_with_children
from testing.pictures import small_png
from testing.scripted_pipeline import SLOW

pytestmark = pytest.mark.slow

_LEASE_S = 600.0
"""No test waits for so long: whatever is recovered here is recovered without the end of a lease."""
_LEASES = {"MASKQ_LEASE_S": str(_LEASE_S), "MASKQ_GIVE_UP_S": "300", "MASKQ_RESTART_GRACE_S": "600"}


@contextmanager
def _fleet(folder: Path, workers: int, **env: str) -> Iterator[Fleet]:
    with Fleet(folder, workers=workers, deliverers=0, **{"SCRIPTED_MS": "100", **_LEASES, **env}) as fleet:
        yield fleet


def _submit(fleet: Fleet, prompt: str = SLOW) -> str:
    files = {"image_file": ("a.png", small_png())}
    job_id: str = httpx2.post(f"{fleet.url}/segment/", data={"prompt": prompt}, files=files).json()["id"]
    return job_id


def _job(fleet: Fleet, job_id: str) -> Mapping[str, Any]:
    job: Mapping[str, Any] = httpx2.get(f"{fleet.url}/jobs/{job_id}").json()
    return job


def _wait_for(fleet: Fleet, job_id: str, status: str) -> Mapping[str, Any]:
    fleet.wait_for(lambda: _job(fleet, job_id)["status"] == status, f"the job to be {status}")
    return _job(fleet, job_id)


def _running_on(fleet: Fleet, worker: SupervisedProcess) -> str:
    """A slow job that this worker runs, while no other worker is up."""
    others = [each for each in fleet.workers if each is not worker]
    for other in others:
        other.kill(float("inf"))
    fleet.wait_for(lambda: all(other.process is None for other in others), "the others to be down")
    job_id = _submit(fleet)
    _wait_for(fleet, job_id, "processing")
    for other in others:
        other.hold_down(0)
    fleet.start_all()
    assert _job(fleet, job_id)["status"] == "processing"
    return job_id


def test_another_worker_has_the_jobs_of_a_killed_one_within_seconds(tmp_path: Path) -> None:
    with _fleet(tmp_path, workers=2, SCRIPTED_MS="1000") as fleet:
        first, _ = fleet.workers
        job_id = _running_on(fleet, first)
        first.kill(float("inf"))
        job = _wait_for(fleet, job_id, "succeeded")
        assert job["attempt"] == 2
        assert "has ended: 1 of its jobs are queued again, 0 failed" in fleet.worker_logs()
        live = httpx2.get(f"{fleet.url}/readyz").json()["live_workers"]
        assert live == {"demo": 1}


def test_the_process_that_starts_in_its_place_has_the_jobs_of_a_killed_worker(tmp_path: Path) -> None:
    with _fleet(tmp_path, workers=1) as fleet:
        (worker,) = fleet.workers
        job_id = _submit(fleet)
        _wait_for(fleet, job_id, "processing")
        worker.kill()
        assert _wait_for(fleet, job_id, "succeeded")["attempt"] == 2


def test_the_jobs_of_a_frozen_worker_stay_with_it_until_its_lease_ends(tmp_path: Path) -> None:
    with _fleet(tmp_path, workers=2, SCRIPTED_MS="500") as fleet:
        first, _ = fleet.workers
        job_id = _running_on(fleet, first)
        resume = freeze_with_children(first)
        time.sleep(2.5)  # several times the period in which others look
        assert _job(fleet, job_id)["status"] == "processing"
        resume()
        assert _wait_for(fleet, job_id, "succeeded")["attempt"] == 1


def test_a_living_worker_keeps_its_jobs_when_others_start_stop_and_are_killed(tmp_path: Path) -> None:
    with _fleet(tmp_path, workers=3, SCRIPTED_MS="1000") as fleet:
        first, second, third = fleet.workers
        job_id = _running_on(fleet, first)
        second.kill()
        third.terminate()
        fleet.wait_for(lambda: bool(second.exit_statuses and third.exit_statuses), "both to end")
        fleet.start_all()
        assert _wait_for(fleet, job_id, "succeeded")["attempt"] == 1


def test_a_restart_frees_the_jobs_before_the_model_is_loaded(tmp_path: Path, root: Path) -> None:
    with _fleet(tmp_path, workers=1) as fleet:
        (worker,) = fleet.workers
        job_id = _submit(fleet)
        _wait_for(fleet, job_id, "processing")
        program = "import time; import testing.scripted_worker as s; from worker.app import run_worker; "
        program += "run_worker(lambda *_: time.sleep(600))"  # a model that takes long to load
        worker.command = [worker.command[0], "-c", program]
        worker.kill()
        assert _wait_for(fleet, job_id, "queued")["attempt"] == 1
