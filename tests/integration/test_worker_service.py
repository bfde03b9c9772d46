"""A worker's service on a real store, with a pipeline that answers as the test wants."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import TypeVar

import pytest

from shared.errors import ImageUnreadable
from shared.job import Job, JobRequest, JobStatus, MaskFormat, new_job_id
from shared.result import ImageSize, SegmentationResult
from shared.settings import Settings
from shared.store.submissions import JobState, NewJob, SubmissionStore
from worker.engine.engine import Engine
from worker.engine.runner import Answer
from worker.preprocess import ModelInput
from worker.segmentation import Segmentation
from worker.service import WorkerService

_T = TypeVar("_T")
_REQUEST = JobRequest(model_id="demo", prompt="segment cat", mask_formats=(MaskFormat.RLE,))


class ScriptedPipeline:
    """Does with a job what the test says, and answers with its image as the raw text."""

    def __init__(self) -> None:
        self.first: Callable[[], None] = lambda: None

    def run(self, request: JobRequest, image_bytes: bytes, is_canceled: Callable[[], bool]) -> Segmentation:
        self.first()
        size = ImageSize(width=1, height=1)
        result = SegmentationResult(image=size, objects=[], skipped=[], truncated=False, raw_text=image_bytes.decode())
        return Segmentation(result, model_s=0.25, batch_size=4)


class IdleRunner:
    """An engine's runner that is never asked."""

    def run(self, inputs: list[ModelInput], before_step: Callable[[], Collection[int]]) -> list[Answer]:
        raise AssertionError("asked")


@pytest.fixture
def pipeline() -> ScriptedPipeline:
    return ScriptedPipeline()


@pytest.fixture
def service(settings: Settings, pipeline: ScriptedPipeline) -> Iterator[WorkerService]:
    engine = Engine(IdleRunner(), 1)
    service = WorkerService(settings, "demo", pipeline, engine, lambda: None)
    service.start()
    yield service
    service.stop()


class FrontEnd:
    """Submits and reads, from plain code."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def submit(self, image: bytes = b"x") -> str:
        job_id = new_job_id()
        self._call(lambda store: store.submit(NewJob(job_id, _REQUEST, image, "me")))
        return job_id

    def state(self, job_id: str) -> JobState:
        return self._call(lambda store: store.read(job_id))

    def job(self, job_id: str) -> Job:
        return self.state(job_id).job

    def cancel(self, job_id: str) -> None:
        self._call(lambda store: store.cancel(job_id))

    def _call(self, ask: Callable[[SubmissionStore], Awaitable[_T]]) -> _T:
        async def call() -> _T:
            store = SubmissionStore.connect(self._settings)
            try:
                return await ask(store)
            finally:
                await store.close()

        return asyncio.run(call())


@pytest.fixture
def front(settings: Settings) -> FrontEnd:
    return FrontEnd(settings)


def test_everything_that_waits_is_done_whatever_rang(service: WorkerService, front: FrontEnd) -> None:
    ids = [front.submit(name) for name in (b"a", b"b", b"c")]
    assert service.work_off() == 3
    assert service.work_off() == 0
    states = [front.state(job_id) for job_id in ids]
    assert [state.result.raw_text for state in states if state.result] == ["a", "b", "c"]
    assert {state.job.batch_size for state in states} == {4}


def test_our_own_errors_are_shown_to_the_client(
    service: WorkerService, front: FrontEnd, pipeline: ScriptedPipeline
) -> None:
    def fail() -> None:
        raise ImageUnreadable("damaged")

    pipeline.first = fail
    job_id = front.submit()
    service.work_off()
    error = front.job(job_id).error
    assert error is not None
    assert (error.type, error.detail) == ("image_unreadable", "damaged")


def test_unforeseen_errors_fail_the_job_and_show_nothing(
    service: WorkerService, front: FrontEnd, pipeline: ScriptedPipeline
) -> None:
    def fail() -> None:
        raise RuntimeError("/secret/path")

    pipeline.first = fail
    job_id = front.submit()
    service.work_off()
    job = front.job(job_id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert (job.error.type, "secret" in job.error.detail) == ("inference_failed", False)


def test_a_job_canceled_while_it_runs_stays_canceled(
    service: WorkerService, front: FrontEnd, pipeline: ScriptedPipeline
) -> None:
    job_id = front.submit()
    pipeline.first = lambda: front.cancel(job_id)
    assert service.work_off() == 1
    assert front.state(job_id).result is None
    assert front.job(job_id).status is JobStatus.CANCELED


def test_a_worker_told_to_stop_leaves_what_waits(
    service: WorkerService, front: FrontEnd, pipeline: ScriptedPipeline
) -> None:
    first, second = front.submit(), front.submit()
    pipeline.first = service.take_no_more
    assert service.work_off() == 1
    assert front.job(first).status is JobStatus.SUCCEEDED
    assert front.job(second).status is JobStatus.QUEUED
