"""What must happen when a process dies, freezes or is told to stop, on real processes: a test for each promise.

The model is a script, but for the steps inside the pipeline, which need the real one.

`failpoint` marks the steps of a job in the code; each is a place to die here.
"""

from __future__ import annotations

import re
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from benchmarks.chaos.audit import audit
from shared.domain.result import SegmentationResult
from testing.fleet import DEMO_WORKER, Fleet, Member
from testing.scripted_worker import POISON, SLOW, scripted_answer
from testing.uploads import small_png

_PATIENCE_S = 120.0
_FOREVER = float("inf")
_API_POINTS = ("api.read", "api.submitted")
_SERVICE_POINTS = ("worker.claimed", "worker.finishing", "worker.finished")
_PIPELINE_POINTS = ("worker.prepared", "worker.answered", "worker.rendered")


class Deployment:
    """A fleet, and a client of it."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._client = httpx2.Client(base_url=fleet.url, timeout=10)

    def close(self) -> None:
        self._client.close()

    def post(self, path: str, **content: Any) -> httpx2.Response:
        return self._client.post(path, **content)

    def try_to_submit(self, prompt: str, key: str = "", **fields: str) -> httpx2.Response:
        files = {"image_file": ("a.png", small_png())}
        headers = {"Idempotency-Key": key} if key else {}
        return self.post("/segment/", data={"prompt": prompt, **fields}, files=files, headers=headers)

    def submit(self, prompt: str, key: str = "", **fields: str) -> str:
        response = self.try_to_submit(prompt, key, **fields)
        assert response.status_code == 202, response.text
        job_id: str = response.json()["id"]
        return job_id

    def submit_until_accepted(self, prompt: str, key: str) -> str:
        """As a client does who was not answered: again, with the same key."""
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            try:
                return self.submit(prompt, key)
            except httpx2.HTTPError:
                time.sleep(0.1)
        raise AssertionError("never accepted")

    def job(self, job_id: str) -> dict[str, Any]:
        job: dict[str, Any] = self._client.get(f"/jobs/{job_id}").raise_for_status().json()
        return job

    def wait_for(self, job_id: str, *statuses: str) -> dict[str, Any]:
        self.fleet.wait_for(lambda: self.job(job_id)["status"] in statuses, f"{job_id} to be {statuses}", _PATIENCE_S)
        return self.job(job_id)

    def ended(self, job_id: str) -> dict[str, Any]:
        """The job, once it has ended. It has ended once, as the server's own log of writes says."""
        job = self.wait_for(job_id, "succeeded", "failed", "canceled")
        written = audit(self.fleet.folder / "broker")
        assert written.ends[job_id] == 1
        assert written.results[job_id] == (job["status"] == "succeeded")
        assert written.duplicates == 0
        return job

    def succeeded(self, job_id: str) -> dict[str, Any]:
        """The job, once it has succeeded, with the one right result."""
        job = self.ended(job_id)
        assert (job["status"], job["error"]) == ("succeeded", None)
        assert SegmentationResult.model_validate(job["result"]) == scripted_answer(job["prompt"], small_png())
        return job

    def arm(self, members: list[Member], point: str, file: Path) -> None:
        """Start these again so that one of them, the first to come there, dies at this point, once."""
        file.touch()
        for member in members:
            member.env = {**member.env, "MASKQ_FAILPOINT": f"{point}:{file}"}
            self.fleet.kill(member)
        self.fleet.wait_for(lambda: all(each.deaths and each.process for each in members), "the armed")
        self.forget_deaths()
        self.fleet.wait_until_ready()

    def wait_for_another_death(self, member: Member) -> None:
        """Return once it has died once more than by now, and has been started again."""
        deaths = len(member.deaths)
        self.fleet.wait_for(lambda: len(member.deaths) > deaths and member.process is not None, "a death", _PATIENCE_S)

    def forget_deaths(self) -> None:
        for member in self.fleet.members:
            member.deaths.clear()

    def leave_one_worker(self) -> tuple[Member, Member]:
        """The one that is left, and the one that is down until it is let up."""
        one, other = self.fleet.workers
        self.fleet.kill(other, _FOREVER)
        self.fleet.wait_for(lambda: other.process is None, "a worker to be down")
        return one, other


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A front end and two workers on a script: 100 ms for a job, 2 s for a slow one."""
    folder = tmp_path_factory.mktemp("fleet")
    with Fleet(folder, workers=2, SCRIPTED_MS="100", MASKQ_WORKER_THREADS="4", MASKQ_DRAIN_S="0.5") as fleet:
        deployment = Deployment(fleet)
        yield deployment
        deployment.close()


@pytest.fixture(autouse=True)
def everything_is_up(deployment: Deployment) -> None:
    for member in deployment.fleet.members:
        member.down_until = 0.0
    deployment.fleet.wait_for(lambda: all(each.process for each in deployment.fleet.members), "all to be up")
    deployment.fleet.wait_until_ready()
    deployment.forget_deaths()


def test_every_fault_point_in_the_code_is_exercised_here(root: Path) -> None:
    sources = [path.read_text("utf-8") for folder in ("api", "worker") for path in (root / folder).rglob("*.py")]
    points = set(re.findall(r'failpoint\("([^"]+)"\)', "".join(sources)))
    assert points == {*_API_POINTS, *_SERVICE_POINTS, *_PIPELINE_POINTS}


@pytest.mark.parametrize("point", _API_POINTS)
def test_api_killed_at_any_step_and_the_same_key_finds_one_job(
    deployment: Deployment, tmp_path: Path, point: str
) -> None:
    deployment.arm([deployment.fleet.api], point, tmp_path / "armed")
    key = str(uuid.uuid4())
    with pytest.raises(httpx2.HTTPError):
        deployment.try_to_submit("cat", key)
    job_id = deployment.submit_until_accepted("cat", key)
    deployment.succeeded(job_id)
    assert deployment.submit("cat", key) == job_id
    assert deployment.fleet.deaths == {"api": [-signal.SIGKILL]}


def test_api_killed_after_accepting_and_the_job_runs_although_nobody_asks_again(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.arm([deployment.fleet.api], "api.submitted", tmp_path / "armed")
    before = set(audit(deployment.fleet.folder / "broker").accepted)
    with pytest.raises(httpx2.HTTPError):
        deployment.try_to_submit("cat")
    deployment.fleet.wait_until_ready()
    (job_id,) = audit(deployment.fleet.folder / "broker").accepted - before
    deployment.succeeded(job_id)


@pytest.mark.parametrize("point", _SERVICE_POINTS)
def test_worker_killed_at_any_step_and_the_job_ends_with_one_result(
    deployment: Deployment, tmp_path: Path, point: str
) -> None:
    deployment.arm(deployment.fleet.workers, point, tmp_path / "armed")
    job = deployment.succeeded(deployment.submit("cat"))
    deployment.fleet.wait_for(lambda: bool(deployment.fleet.deaths), "the worker to die")
    assert list(deployment.fleet.deaths.values()) == [[-signal.SIGKILL]]
    assert job["attempt"] == (1 if point == "worker.finished" else 2)


def test_worker_sigkill_mid_job_and_another_worker_has_it(deployment: Deployment) -> None:
    one, other = deployment.leave_one_worker()
    job_id = deployment.submit(SLOW)
    deployment.wait_for(job_id, "processing")
    other.down_until = 0.0
    deployment.fleet.kill(one, _FOREVER)
    assert deployment.succeeded(job_id)["attempt"] == 2


def test_frozen_worker_wakes_after_its_lease_and_its_commit_is_refused(deployment: Deployment) -> None:
    frozen, other = deployment.leave_one_worker()
    job_id = deployment.submit(SLOW)
    deployment.wait_for(job_id, "processing")
    frozen.send(signal.SIGSTOP)
    other.down_until = 0.0
    job = deployment.succeeded(job_id)
    frozen.send(signal.SIGCONT)
    # Either it offers its result and is refused, or it has heard before that the job is no longer its own.
    stopped = re.compile(f"(refused|dropped).*{job_id}|{job_id}: dropped")
    log = frozen.log
    deployment.fleet.wait_for(lambda: bool(stopped.search(log.read_text("utf-8"))), "the refusal")
    time.sleep(1)
    assert deployment.succeeded(job_id) == job
    assert job["attempt"] == 2


def test_redis_killed_and_restarted_and_every_accepted_job_is_still_there(deployment: Deployment) -> None:
    job_ids = [deployment.submit(prompt) for prompt in (SLOW, *(f"thing {number}" for number in range(20)))]
    deployment.fleet.kill(deployment.fleet.broker, 2.0)
    answer = deployment.try_to_submit("cat")
    assert (answer.status_code, answer.json()["type"]) == (503, "store_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    deployment.fleet.wait_until_ready()
    for job_id in job_ids:
        deployment.succeeded(job_id)
    assert deployment.fleet.deaths == {"broker": [-signal.SIGKILL]}


def test_doorbell_lost_or_repeated_and_nothing_but_time_is_lost(deployment: Deployment) -> None:
    _, _ = deployment.leave_one_worker()
    with deployment.fleet.redis() as redis:
        blockers = [deployment.submit(SLOW) for _ in range(4)]
        waiting = [deployment.submit(f"thing {number}") for number in range(4)]
        redis.delete("maskq.demo")
    for job_id in (*blockers, *waiting):
        assert deployment.succeeded(job_id)["attempt"] == 1


def test_poison_image_fails_alone_after_3_tries_and_its_neighbours_succeed(deployment: Deployment) -> None:
    neighbours = [deployment.submit(SLOW) for _ in range(3)]
    poison = deployment.submit(POISON)
    neighbours += [deployment.submit(f"thing {number}") for number in range(3)]
    job = deployment.ended(poison)
    assert (job["status"], job["error"]["type"]) == ("failed", "worker_lost")
    assert job["attempt"] == 4  # the first loss may have been a neighbour's fault
    for job_id in neighbours:
        assert deployment.succeeded(job_id)["attempt"] <= 2


def test_cancel_ends_queued_and_running_jobs_and_there_is_never_a_result_afterwards(deployment: Deployment) -> None:
    _, _ = deployment.leave_one_worker()
    running = [deployment.submit(SLOW) for _ in range(4)]
    queued = deployment.submit("cat")
    for job_id in running:
        deployment.wait_for(job_id, "processing")
    for job_id in (queued, *running):
        answer = deployment.post(f"/jobs/{job_id}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (202, "canceled")
    deployment.succeeded(deployment.submit("dog"))  # hands are free at once, not after 2 s
    time.sleep(2.5)
    for job_id in (queued, *running):
        assert deployment.ended(job_id)["result"] is None


def test_deadline_passes_and_the_job_is_canceled_in_the_queue_or_running(deployment: Deployment) -> None:
    _, _ = deployment.leave_one_worker()
    running = [deployment.submit(SLOW, timeout="0.5") for _ in range(4)]
    queued = deployment.submit(SLOW, timeout="0.5")
    for job_id in (*running, queued):
        job = deployment.ended(job_id)
        assert (job["status"], job["error"]["type"]) == ("canceled", "deadline_exceeded")


def test_planned_stop_gives_jobs_back_without_counting_an_attempt(deployment: Deployment) -> None:
    one, other = deployment.leave_one_worker()
    slow, quick = deployment.submit(SLOW), deployment.submit("cat")
    for job_id in (slow, quick):
        deployment.wait_for(job_id, "processing", "succeeded")
    one.down_until = _FOREVER
    one.send(signal.SIGTERM)
    deployment.fleet.wait_for(lambda: one.deaths == [0], "the worker to stop")
    assert deployment.succeeded(quick)["attempt"] == 1
    assert deployment.job(slow)["status"] == "queued"
    other.down_until = 0.0
    assert deployment.succeeded(slow)["attempt"] == 1


def test_worker_killed_at_any_step_of_the_real_pipeline_and_the_job_ends_with_one_result(tmp_path: Path) -> None:
    armed = tmp_path / "armed"
    armed.touch()
    with Fleet(tmp_path / "fleet", DEMO_WORKER, MASKQ_FAILPOINT=f"{_PIPELINE_POINTS[0]}:{armed}") as fleet:
        (worker,) = fleet.workers
        deployment = Deployment(fleet)
        # Each life of the worker ends one step further than the one before; the last one finishes the job.
        job_id = deployment.submit("red circle")
        for point in (*_PIPELINE_POINTS[1:], "none"):
            worker.env = {**worker.env, "MASKQ_FAILPOINT": f"{point}:{armed}"}
            deployment.wait_for_another_death(worker)
            armed.touch()
        job = deployment.ended(job_id)
        assert (job["status"], job["attempt"]) == ("succeeded", 4)
        assert worker.deaths == [-signal.SIGKILL] * 3
        deployment.close()
