"""A worker's service on a real store, with a scripted pipeline."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from redis import Redis

from shared.domain.job import JobRequest, JobStatus
from shared.domain.webhook import Webhook
from shared.errors import ImageUnreadable
from shared.process.identity import unique_process_name
from shared.settings import Settings
from shared.store import key_names
from shared.store.leases import LeaseStore
from testing.factories import segmentation_result
from testing.scripted_worker import IdleEngine
from tests.integration.front_end import FrontEnd
from worker.claims import Claims
from worker.jobs import in_threads
from worker.pipeline_result import PipelineResult
from worker.process_locks import ProcessLocks
from worker.service import WorkerService


class ScriptedPipeline:
    """Calls what a test sets, and returns the job's image as the raw text of the answer."""

    def __init__(self) -> None:
        self.first: Callable[[], None] = lambda: None
        self.is_endless = False
        """Whether to work until the job is dropped."""
        self.is_working = threading.Event()
        self.clients: list[str] = []
        """The client of each job so far."""

    def close(self) -> None:
        pass

    def run(
        self, request: JobRequest, image_bytes: bytes, is_canceled: Callable[[], bool], client: str = ""
    ) -> PipelineResult:
        self.clients.append(client)
        self.is_working.set()
        self.first()
        while self.is_endless:
            if is_canceled():
                raise CancelledError
            time.sleep(0.01)
        result = segmentation_result(raw_text=image_bytes.decode())
        return PipelineResult(result, model_s=0.25, batch_size=4)


@pytest.fixture
def pipeline() -> ScriptedPipeline:
    return ScriptedPipeline()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    quick = {"heartbeat_s": 0.1, "give_up_s": 0.5, "lease_s": 30.0, "drain_s": 0.2, "restart_grace_s": 0.0}
    return settings.replace(**quick)


@pytest.fixture
def wake_ups() -> list[None]:
    """One item for each time that the service notifies workers."""
    return []


@pytest.fixture
def webhooks() -> list[str]:
    """The ids of the jobs for which the service notifies the deliverers of webhooks."""
    return []


@pytest.fixture
def service(
    settings: Settings, pipeline: ScriptedPipeline, wake_ups: list[None], webhooks: list[str]
) -> Iterator[WorkerService]:
    engine = IdleEngine()
    service = WorkerService.connect(
        settings, "demo", in_threads(pipeline, 24), engine, lambda: wake_ups.append(None), webhooks.append
    )
    service.start()
    yield service
    service.stop()


def _until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def front(settings: Settings) -> FrontEnd:
    return FrontEnd(settings)


def test_the_end_of_a_job_with_a_webhook_notifies_its_delivery(
    service: WorkerService, front: FrontEnd, webhooks: list[str]
) -> None:
    front.submit()
    job_id = front.submit(webhook=Webhook(url="https://example.com/hook", base_url="http://here/"))
    service.run_pending()
    assert webhooks == [job_id]


def test_one_notification_runs_all_waiting_jobs(service: WorkerService, front: FrontEnd) -> None:
    ids = [front.submit(name) for name in (b"a", b"b", b"c")]
    assert service.run_pending() == 3
    assert service.run_pending() == 0
    states = [front.state(job_id) for job_id in ids]
    assert [state.result.raw_text for state in states if state.result] == ["a", "b", "c"]
    assert {state.job.batch_size for state in states} == {4}


def test_known_errors_are_shown_to_the_client(
    service: WorkerService, front: FrontEnd, pipeline: ScriptedPipeline
) -> None:
    def fail() -> None:
        raise ImageUnreadable("damaged")

    pipeline.first = fail
    job_id = front.submit()
    service.run_pending()
    error = front.job(job_id).error
    assert error is not None
    assert (error.type, error.detail) == ("image_unreadable", "damaged")


def test_unknown_errors_fail_the_job_without_details(
    service: WorkerService, front: FrontEnd, pipeline: ScriptedPipeline
) -> None:
    def fail() -> None:
        raise RuntimeError("/secret/path")

    pipeline.first = fail
    job_id = front.submit()
    service.run_pending()
    job = front.job(job_id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert (job.error.type, "secret" in job.error.detail) == ("inference_failed", False)


def test_a_job_canceled_while_it_runs_stays_canceled(
    service: WorkerService, front: FrontEnd, pipeline: ScriptedPipeline
) -> None:
    job_id = front.submit()
    pipeline.first = lambda: front.cancel(job_id)
    assert service.run_pending() == 1
    assert front.state(job_id).result is None
    assert front.job(job_id).status is JobStatus.CANCELED


def test_a_worker_that_is_told_to_stop_claims_no_more_jobs(
    settings: Settings, front: FrontEnd, pipeline: ScriptedPipeline
) -> None:
    one = settings.replace(worker_threads=1, max_batch=1)
    service = WorkerService.connect(one, "demo", in_threads(pipeline, 1), IdleEngine(), lambda: None, lambda _: None)
    service.start()
    first, second = front.submit(), front.submit()
    pipeline.first = service.drain
    assert service.run_pending() == 1
    service.stop()
    assert front.job(first).status is JobStatus.SUCCEEDED
    assert front.job(second).status is JobStatus.QUEUED


# --- Periodic tasks ---------------------------------------------------------------------------------------------------


@contextmanager
def _endless_work(service: WorkerService, pipeline: ScriptedPipeline) -> Iterator[threading.Thread]:
    """A thread that works on the next job until it is dropped. Joined at the end of the context."""
    pipeline.is_endless = True
    thread = threading.Thread(target=service.run_pending)
    thread.start()
    assert pipeline.is_working.wait(10)
    yield thread
    thread.join(10)
    assert not thread.is_alive()


def test_a_running_job_is_dropped_as_soon_as_it_is_canceled(
    service: WorkerService, front: FrontEnd, pipeline: ScriptedPipeline
) -> None:
    job_id = front.submit()
    with _endless_work(service, pipeline):
        front.cancel(job_id)
    assert front.job(job_id).status is JobStatus.CANCELED


def test_a_planned_stop_releases_unfinished_jobs_and_counts_no_attempt(
    service: WorkerService, front: FrontEnd, pipeline: ScriptedPipeline
) -> None:
    job_id = front.submit()
    with _endless_work(service, pipeline):
        service.drain()
    job = front.job(job_id)
    assert (job.status, job.attempt, job.quarantined) == (JobStatus.QUEUED, 0, False)


def test_a_worker_that_cannot_reach_the_store_drops_its_jobs(
    service: WorkerService, front: FrontEnd, pipeline: ScriptedPipeline, settings: Settings
) -> None:
    front.submit()
    with _endless_work(service, pipeline), Redis.from_url(settings.redis.redis_url) as redis:
        redis.client_pause(1_500)  # a server that is up and does not respond


@pytest.mark.slow
def test_a_job_claimed_after_a_long_pause_of_heartbeats_is_kept(
    settings: Settings, front: FrontEnd, pipeline: ScriptedPipeline, tmp_path: Path
) -> None:
    give_up_s = 2.0
    # Not valid as settings: a pause of heartbeats that only a store without a response could cause.
    liveness = settings.liveness.model_copy(update={"heartbeat_s": 60.0, "give_up_s": give_up_s})
    notify = (lambda: None), (lambda _: None)
    store = LeaseStore.connect(settings, "me")
    locks = ProcessLocks(tmp_path)
    jobs = in_threads(pipeline, 24)
    service = WorkerService(store, "demo", jobs, IdleEngine(), *notify, liveness, settings.worker, locks)
    service.start()
    time.sleep(give_up_s * 1.5)
    pipeline.first = lambda: time.sleep(give_up_s * 0.5)
    job_id = front.submit()
    service.run_pending()
    assert front.job(job_id).status is JobStatus.SUCCEEDED
    service.stop()


@pytest.mark.slow
def test_a_claim_without_a_response_does_not_block_the_heartbeat(settings: Settings) -> None:
    store = LeaseStore.connect(settings)
    claims = Claims(store, "demo", slots=16)

    claiming = threading.Thread(target=claims.claim)
    with Redis.from_url(settings.redis.redis_url) as redis:
        redis.client_pause(2_000)
        claiming.start()
        time.sleep(0.2)
        assert claims.active() == []
        assert claiming.is_alive()
    claiming.join()
    store.close()


def test_the_pipeline_knows_whose_job_it_runs(
    service: WorkerService, front: FrontEnd, pipeline: ScriptedPipeline
) -> None:
    front.submit()
    service.run_pending()
    assert pipeline.clients == ["me"]


def test_a_job_whose_notification_was_lost_is_found(
    service: WorkerService, front: FrontEnd, wake_ups: list[None]
) -> None:
    front.submit()
    _until(lambda: len(wake_ups) > 0)


def _lies_asleep(redis: Redis) -> bool:
    return redis.scard(key_names.asleep("demo")) == 1


@contextmanager
def _awake(service: WorkerService) -> Iterator[None]:
    """In the context the worker looks for jobs by itself."""
    thread = threading.Thread(target=service.notified)
    thread.start()
    yield
    service.drain()
    thread.join(10)
    assert not thread.is_alive()


def test_a_worker_that_is_awake_needs_no_notification(
    service: WorkerService, front: FrontEnd, settings: Settings, wake_ups: list[None]
) -> None:
    with Redis.from_url(settings.redis.redis_url) as redis:
        _until(lambda: _lies_asleep(redis))
        assert front.submitted().wakes_worker
        with _awake(service):
            _until(lambda: not redis.zcard(key_names.ready("demo")))
            wake_ups.clear()
            states = [front.submitted() for _ in range(20)]
            assert not any(state.wakes_worker for state in states)
            _until(lambda: all(front.job(state.job.id).status is JobStatus.SUCCEEDED for state in states))
    assert wake_ups == []


def test_a_worker_that_starts_is_notified_of_the_next_job(
    service: WorkerService, front: FrontEnd, settings: Settings
) -> None:
    with Redis.from_url(settings.redis.redis_url) as redis:
        _until(lambda: _lies_asleep(redis))
    assert front.submitted().wakes_worker
    assert not front.submitted().wakes_worker


@pytest.mark.slow
def test_a_worker_without_jobs_falls_asleep(
    service: WorkerService, front: FrontEnd, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.service._AWAKE_S", 0.0)
    job_id = front.submit()
    service.notified()
    assert front.job(job_id).status is JobStatus.SUCCEEDED
    assert front.submitted().wakes_worker


def test_a_quarantined_job_is_taken_as_soon_as_the_worker_is_idle(
    service: WorkerService, front: FrontEnd, pipeline: ScriptedPipeline, settings: Settings
) -> None:
    may_end = threading.Event()

    def wait() -> None:
        may_end.wait(10)

    pipeline.first = wait
    lost = front.submit()
    with closing(LeaseStore.connect(settings)) as silent:
        assert silent.claim("demo", is_idle=True)
    with _awake(service), Redis.from_url(settings.redis.redis_url) as redis:
        front.submit()
        assert pipeline.is_working.wait(10)
        redis.zadd(key_names.running("demo"), {lost: 0})  # the lease has ended
        _until(lambda: front.job(lost).quarantined)
        may_end.set()
        _until(lambda: front.job(lost).status is JobStatus.SUCCEEDED)
        assert front.job(lost).attempt == 2


@pytest.fixture
def without_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service polls when it starts, and never again."""
    monkeypatch.setattr("worker.service.POLL_S", 600.0)


def _claimed_by_another(front: FrontEnd, settings: Settings) -> tuple[str, ProcessLocks]:
    """The id of a job that another worker has claimed. It has ended for others when its locks are closed."""
    other, locks = unique_process_name(), ProcessLocks.of(settings)
    locks.hold(other, "demo")
    job_id = front.submit()
    with closing(LeaseStore.connect(settings, other)) as store:
        assert store.claim("demo", is_idle=True)
    return job_id, locks


@pytest.mark.usefixtures("without_poll")
def test_a_worker_that_sleeps_is_notified_of_the_jobs_of_one_that_has_ended(
    service: WorkerService, front: FrontEnd, settings: Settings, wake_ups: list[None]
) -> None:
    with Redis.from_url(settings.redis.redis_url) as redis:
        _until(lambda: _lies_asleep(redis))
    job_id, other = _claimed_by_another(front, settings)
    other.close()
    _until(lambda: len(wake_ups) > 0)
    assert service.run_pending() == 1
    assert (front.job(job_id).status, front.job(job_id).attempt) == (JobStatus.SUCCEEDED, 2)


@pytest.mark.usefixtures("without_poll")
def test_a_worker_that_is_awake_takes_the_jobs_of_one_that_has_ended(
    service: WorkerService, front: FrontEnd, settings: Settings
) -> None:
    job_id, other = _claimed_by_another(front, settings)
    with _awake(service):
        other.close()
        _until(lambda: front.job(job_id).status is JobStatus.SUCCEEDED)
    assert front.job(job_id).attempt == 2


@pytest.mark.usefixtures("without_poll")
def test_a_busy_worker_notifies_others_of_the_jobs_of_one_that_has_ended(
    service: WorkerService, front: FrontEnd, pipeline: ScriptedPipeline, settings: Settings, wake_ups: list[None]
) -> None:
    job_id, other = _claimed_by_another(front, settings)
    may_end = threading.Event()

    def wait() -> None:
        may_end.wait(10)

    pipeline.first = wait
    with _awake(service):
        front.submit()
        assert pipeline.is_working.wait(10)
        wake_ups.clear()
        other.close()
        _until(lambda: len(wake_ups) > 0)
        assert front.job(job_id).status is JobStatus.QUEUED  # it is quarantined, and this worker is not idle
        may_end.set()
        _until(lambda: front.job(job_id).status is JobStatus.SUCCEEDED)


def test_the_reaper_ends_jobs_after_their_deadline(service: WorkerService, front: FrontEnd) -> None:
    job_id = front.submit(timeout_s=0.05)
    _until(lambda: front.job(job_id).status is JobStatus.CANCELED)


@pytest.mark.slow
def test_an_engine_without_progress_ends_the_process(settings: Settings, root: Path) -> None:
    program = f"""
import time, numpy
from shared.settings import Settings
from worker.engine.engine import Engine
from worker.engine.scheduler import Scheduler
from worker.engine.model_input import ModelInput
from worker.jobs import in_threads
from worker.service import WorkerService

class StuckRunner:
    def prefill(self, sequences):
        time.sleep(30)

    def stats(self):
        return {{}}

engine = Engine(StuckRunner(), Scheduler(1, 1), max_answer_tokens=1)
settings = Settings.of(redis_url={settings.redis.redis_url!r}, stuck_s=0.3)
WorkerService.connect(settings, "demo", in_threads(None, 1), engine, lambda: None, lambda _: None).start()
engine.submit(ModelInput(numpy.zeros((2, 2, 3), "uint8"), [1], b""))
time.sleep(20)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, timeout=20, check=False)
    assert done.returncode == 70
    assert b"no progress" in done.stderr
