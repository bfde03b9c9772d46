"""What must happen when a process dies, freezes or is stopped, with real processes: one test per promise.

Workers have a scripted model, except where the steps inside the pipeline need the real one. Each `failpoint` in the
code marks a step of a job; here a process is killed at each of them.
"""

from __future__ import annotations

import json
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
from local.supervisor import SupervisedProcess
from shared.domain.result import SegmentationResult
from testing.fleet import DEMO_WORKER, Fleet
from testing.frozen import freeze_with_children
from testing.pictures import small_png
from testing.scripted_pipeline import POISON, SLOW, scripted_answer
from testing.scripted_receiver import Receiver

pytestmark = pytest.mark.slow

_TIMEOUT_S = 120.0
_NO_END = float("inf")
_API_POINTS = ("api.read", "api.submitted")
_BATCH_POINTS = ("api.batch_part", "api.batch_closing", "api.batch_closed")
_WORKER_POINTS = ("worker.claimed", "worker.ended")
_JOB_PROCESS_POINTS = ("worker.finishing", "worker.finished")
_RECOVERY_POINT = "worker.recovered"
_PIPELINE_POINTS = ("worker.prepared", "worker.answered", "worker.rendered")


class Deployment:
    """A fleet and a client of it."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._client = httpx2.Client(base_url=fleet.url, timeout=10)

    def close(self) -> None:
        self._client.close()

    def post(self, path: str, **content: Any) -> httpx2.Response:
        return self._client.post(path, **content)

    def get(self, path: str) -> httpx2.Response:
        return self._client.get(path)

    def post_job(self, prompt: str, key: str = "", **fields: str) -> httpx2.Response:
        files = {"image_file": ("a.png", small_png())}
        headers = {"Idempotency-Key": key} if key else {}
        return self.post("/segment/", data={"prompt": prompt, **fields}, files=files, headers=headers)

    def submit(self, prompt: str, key: str = "", **fields: str) -> str:
        response = self.post_job(prompt, key, **fields)
        assert response.status_code == 202, response.text
        job_id: str = response.json()["id"]
        return job_id

    def submit_until_accepted(self, prompt: str, key: str) -> str:
        """Submit again with the same key until there is a response, as a client should."""
        deadline = time.monotonic() + _TIMEOUT_S
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
        self.fleet.wait_for(lambda: self.job(job_id)["status"] in statuses, f"{job_id} to be {statuses}", _TIMEOUT_S)
        return self.job(job_id)

    def ended(self, job_id: str) -> dict[str, Any]:
        """The job after its end. Checks in the server's append-only file that it ended once."""
        job = self.wait_for(job_id, "succeeded", "failed", "canceled")
        written = audit(self.fleet.folder / "broker")
        assert written.ends[job_id] == 1
        assert written.results[job_id] == (job["status"] == "succeeded")
        assert written.duplicates == 0
        return job

    def succeeded(self, job_id: str) -> dict[str, Any]:
        """The job after its success. Checks its result."""
        job = self.ended(job_id)
        assert (job["status"], job["error"]) == ("succeeded", None)
        assert SegmentationResult.model_validate(job["result"]) == scripted_answer(job["prompt"], small_png())
        return job

    def arm(self, processes: list[SupervisedProcess], point: str, file: Path) -> None:
        """Restart these so that the first of them to reach this failpoint is killed there, once."""
        file.touch()
        for process in processes:
            process.env = {**process.env, "MASKQ_FAILPOINT": f"{point}:{file}"}
            process.kill()
        self.fleet.wait_for(lambda: all(each.exit_statuses and each.process for each in processes), "the restart")
        self.fleet.forget_exits()
        self.fleet.wait_until_ready()

    def leave_one_worker(self) -> tuple[SupervisedProcess, SupervisedProcess]:
        """Stop one worker. Returns the worker that runs, and the one that is down until it is started again."""
        one, other = self.fleet.workers
        other.kill(_NO_END)
        self.fleet.wait_for(lambda: other.process is None, "a worker to be down")
        return one, other


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A front end and two scripted workers: a job takes 100 ms, a slow one 2 s."""
    folder = tmp_path_factory.mktemp("fleet")
    with Fleet(
        folder,
        workers=2,
        SCRIPTED_MS="100",
        MASKQ_MAX_BATCH="4",
        MASKQ_WORKER_THREADS="4",
        MASKQ_DRAIN_S="0.5",
        MASKQ_URL_ALLOW_HTTP="true",
        MASKQ_URL_ALLOW_PRIVATE="true",
    ) as fleet:
        deployment = Deployment(fleet)
        yield deployment
        deployment.close()


@pytest.fixture(autouse=True)
def everything_is_up(deployment: Deployment) -> None:
    deployment.fleet.start_all()


def test_every_failpoint_in_the_code_is_tested_here(root: Path) -> None:
    sources = [path.read_text("utf-8") for folder in ("api", "worker") for path in (root / folder).rglob("*.py")]
    points = set(re.findall(r'failpoint\("([^"]+)"\)', "".join(sources)))
    assert points == {
        *_API_POINTS,
        *_BATCH_POINTS,
        *_WORKER_POINTS,
        *_JOB_PROCESS_POINTS,
        _RECOVERY_POINT,
        *_PIPELINE_POINTS,
    }


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().listening() as receiver:
        yield receiver


def _batch(receiver: Receiver, count: int = 20) -> dict[str, Any]:
    """A request with many images."""
    files = [("image_file", (f"{number}.png", small_png())) for number in range(count)]
    data = {"prompt": "cat", "webhook_url": receiver.url}
    return {"data": data, "files": files, "headers": {"Idempotency-Key": uuid.uuid4().hex}}


def _assert_ends_once(deployment: Deployment, batch: dict[str, Any], receiver: Receiver, count: int = 20) -> None:
    """Each image has one job, which succeeds, and the batch is announced once."""
    assert [job["index"] for job in batch["jobs"]] == list(range(count))
    for job in batch["jobs"]:
        deployment.succeeded(job["id"])
    assert len({job["id"] for job in batch["jobs"]}) == count
    (received,) = receiver.wait_for(1)
    message = json.loads(received.body)
    assert (message["type"], message["data"]["id"]) == ("batch.completed", batch["id"])
    assert message["data"]["counts"] == {"succeeded": count, "failed": 0, "canceled": 0}

    def is_delivered() -> bool:
        (delivery,) = deployment.get(f"/batches/{batch['id']}/webhooks").json()["deliveries"]
        return bool(delivery["state"] == "delivered")

    deployment.fleet.wait_for(is_delivered, "the delivery")
    assert len(receiver.received) == 1


@pytest.mark.parametrize("point", _BATCH_POINTS)
def test_api_killed_within_a_batch_and_the_repeated_request_adds_only_what_is_missing(
    deployment: Deployment, tmp_path: Path, receiver: Receiver, point: str
) -> None:
    deployment.arm([deployment.fleet.api], point, tmp_path / "armed")
    request = _batch(receiver)
    with pytest.raises(httpx2.HTTPError):
        deployment.post("/batches", **request)
    deployment.fleet.wait_until_ready()
    batch = deployment.post("/batches", **request).raise_for_status().json()
    _assert_ends_once(deployment, batch, receiver)
    again = deployment.post("/batches", **request).raise_for_status().json()
    assert [job["id"] for job in again["jobs"]] == [job["id"] for job in batch["jobs"]]
    assert (again["is_ended"], len(receiver.received)) == (True, 1)


@pytest.mark.parametrize("point", [*_WORKER_POINTS, *_JOB_PROCESS_POINTS])
def test_worker_or_job_process_killed_within_a_batch_and_the_batch_ends_once(
    deployment: Deployment, tmp_path: Path, receiver: Receiver, point: str
) -> None:
    deployment.arm(deployment.fleet.workers, point, armed := tmp_path / "armed")
    batch = deployment.post("/batches", **_batch(receiver)).raise_for_status().json()
    _assert_ends_once(deployment, batch, receiver)
    assert not armed.exists()
    assert list(deployment.fleet.exit_statuses.values()) == [[-signal.SIGKILL]] * (point in _WORKER_POINTS)


def test_redis_killed_within_a_batch_and_the_batch_ends_once(deployment: Deployment, receiver: Receiver) -> None:
    request = _batch(receiver)
    batch = deployment.post("/batches", **request).raise_for_status().json()
    deployment.fleet.broker.kill(1.0)
    deployment.fleet.wait_until_ready()
    _assert_ends_once(deployment, batch, receiver)


@pytest.mark.parametrize("point", _API_POINTS)
def test_api_killed_at_any_step_and_the_same_key_finds_one_job(
    deployment: Deployment, tmp_path: Path, point: str
) -> None:
    deployment.arm([deployment.fleet.api], point, tmp_path / "armed")
    key = str(uuid.uuid4())
    with pytest.raises(httpx2.HTTPError):
        deployment.post_job("cat", key)
    job_id = deployment.submit_until_accepted("cat", key)
    deployment.succeeded(job_id)
    assert deployment.submit("cat", key) == job_id
    assert deployment.fleet.exit_statuses == {"api": [-signal.SIGKILL]}


def test_api_killed_after_accepting_and_the_job_runs_although_nobody_asks_again(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.arm([deployment.fleet.api], "api.submitted", tmp_path / "armed")
    before = set(audit(deployment.fleet.folder / "broker").accepted)
    with pytest.raises(httpx2.HTTPError):
        deployment.post_job("cat")
    deployment.fleet.wait_until_ready()
    (job_id,) = audit(deployment.fleet.folder / "broker").accepted - before
    deployment.succeeded(job_id)


@pytest.mark.parametrize("point", _WORKER_POINTS)
def test_worker_killed_at_any_step_and_the_job_ends_with_one_result(
    deployment: Deployment, tmp_path: Path, point: str
) -> None:
    deployment.arm(deployment.fleet.workers, point, tmp_path / "armed")
    job = deployment.succeeded(deployment.submit("cat"))
    deployment.fleet.wait_for(lambda: bool(deployment.fleet.exit_statuses), "the worker to die")
    assert list(deployment.fleet.exit_statuses.values()) == [[-signal.SIGKILL]]
    assert job["attempt"] == (1 if point == "worker.ended" else 2)


@pytest.mark.parametrize("point", _JOB_PROCESS_POINTS)
def test_job_process_killed_at_any_step_and_the_job_ends_with_one_result(
    deployment: Deployment, tmp_path: Path, point: str
) -> None:
    deployment.arm(deployment.fleet.workers, point, armed := tmp_path / "armed")
    job = deployment.succeeded(deployment.submit("cat"))
    deployment.fleet.wait_for(lambda: not armed.exists(), "the process to die")
    assert job["attempt"] == (1 if point == "worker.finished" else 2)
    deployment.succeeded(deployment.submit("dog"))  # another process is in its place
    assert deployment.fleet.exit_statuses == {}


def test_worker_sigkill_mid_job_and_another_worker_has_it(deployment: Deployment) -> None:
    one, other = deployment.leave_one_worker()
    job_id = deployment.submit(SLOW)
    deployment.wait_for(job_id, "processing")
    other.hold_down(0)
    one.kill(_NO_END)
    assert deployment.succeeded(job_id)["attempt"] == 2


def test_worker_killed_while_it_recovers_jobs_and_they_lose_one_attempt(deployment: Deployment, tmp_path: Path) -> None:
    deployment.arm(deployment.fleet.workers, _RECOVERY_POINT, armed := tmp_path / "armed")
    one, other = deployment.leave_one_worker()
    job_id = deployment.submit(SLOW)
    deployment.wait_for(job_id, "processing")
    one.kill()
    deployment.fleet.wait_for(lambda: not armed.exists(), "the second death")
    other.hold_down(0)
    assert deployment.succeeded(job_id)["attempt"] == 2


def test_frozen_worker_wakes_after_its_lease_and_its_commit_is_refused(deployment: Deployment) -> None:
    frozen, other = deployment.leave_one_worker()
    job_id = deployment.submit(SLOW)
    deployment.wait_for(job_id, "processing")
    resume = freeze_with_children(frozen)
    other.hold_down(0)
    job = deployment.succeeded(job_id)
    resume()
    # Either its result is refused, or a heartbeat has returned before that its lease is stale.
    stopped = re.compile(f"(refused|dropped).*{job_id}|{job_id}: dropped")
    log = deployment.fleet.log(frozen)
    deployment.fleet.wait_for(lambda: bool(stopped.search(log.read_text("utf-8"))), "the refusal")
    time.sleep(1)
    assert deployment.succeeded(job_id) == job
    assert job["attempt"] == 2


def test_redis_killed_and_restarted_and_every_accepted_job_is_still_there(deployment: Deployment) -> None:
    job_ids = [deployment.submit(prompt) for prompt in (SLOW, *(f"thing {number}" for number in range(20)))]
    deployment.fleet.broker.kill(2.0)
    answer = deployment.post_job("cat")
    assert (answer.status_code, answer.json()["type"]) == (503, "store_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    deployment.fleet.wait_until_ready()
    for job_id in job_ids:
        deployment.succeeded(job_id)
    assert deployment.fleet.exit_statuses == {"broker": [-signal.SIGKILL]}


def test_a_lost_notification_only_delays_jobs(deployment: Deployment) -> None:
    _, _ = deployment.leave_one_worker()
    with deployment.fleet.redis() as redis:
        blockers = [deployment.submit(SLOW) for _ in range(4)]
        waiting = [deployment.submit(f"thing {number}") for number in range(4)]
        redis.delete("maskq.demo")
    for job_id in (*blockers, *waiting):
        assert deployment.succeeded(job_id)["attempt"] == 1


def test_an_image_that_kills_workers_fails_alone_after_3_attempts_and_other_jobs_succeed(
    deployment: Deployment,
) -> None:
    others = [deployment.submit(SLOW) for _ in range(3)]
    poison = deployment.submit(POISON)
    others += [deployment.submit(f"thing {number}") for number in range(3)]
    job = deployment.ended(poison)
    assert (job["status"], job["error"]["type"]) == ("failed", "worker_lost")
    assert job["attempt"] == 4  # another job may have caused the first loss
    for job_id in others:
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
    deployment.succeeded(deployment.submit("dog"))  # the workers are free at once, not after 2 s
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


def test_planned_stop_releases_jobs_without_counting_an_attempt(deployment: Deployment) -> None:
    one, other = deployment.leave_one_worker()
    slow, quick = deployment.submit(SLOW), deployment.submit("cat")
    for job_id in (slow, quick):
        deployment.wait_for(job_id, "processing", "succeeded")
    one.terminate(_NO_END)
    deployment.fleet.wait_for(lambda: one.exit_statuses == [0], "the worker to stop")
    assert deployment.succeeded(quick)["attempt"] == 1
    assert deployment.job(slow)["status"] == "queued"
    other.hold_down(0)
    assert deployment.succeeded(slow)["attempt"] == 1


def test_job_process_killed_at_any_step_of_the_real_pipeline_and_the_job_ends_with_one_result(tmp_path: Path) -> None:
    armed = tmp_path / "armed"
    armed.touch()
    first, *others = _PIPELINE_POINTS
    with Fleet(tmp_path / "fleet", DEMO_WORKER, MASKQ_FAILPOINT=f"{first}:{armed}") as fleet:
        deployment = Deployment(fleet)
        for point in (first, *others):
            if point != first:
                deployment.arm(fleet.workers, point, armed)
            job = deployment.ended(deployment.submit("red circle"))
            assert (job["status"], job["attempt"]) == ("succeeded", 2)
            assert not armed.exists()
            assert fleet.exit_statuses == {}
        deployment.close()
