"""The store of front ends and the store of workers, for tests."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from redis import Redis

from shared.domain.batch import Batch, Closed, RefusedImage
from shared.domain.job import Job, JobStatus, Priority, new_job_id
from shared.domain.result import SegmentationResult
from shared.settings import Settings
from shared.store import key_names
from shared.store.batches import BatchStore, NewBatch
from shared.store.job_list import ALL_JOBS, JobFilter
from shared.store.leases import Lease, LeaseStore
from shared.store.submissions import SubmissionStore
from testing.factories import failure, job_request, new_job, segmentation_result, success

MODEL = "demo"
LEASE_S = 30.0
RESULT = segmentation_result(raw_text="héllo")
SUCCESS = success(result=RESULT, model_s=0.5, batch_size=2)
FAILURE = failure()


class Deployment:
    """Both stores. Tests that are not async can call the async one."""

    def __init__(self, settings: Settings) -> None:
        self._runner = asyncio.Runner()
        self.front = SubmissionStore.connect(settings)
        self.batches = BatchStore.connect(settings)
        self.leases = LeaseStore.connect(settings)

    def close(self) -> None:
        self._runner.run(self.front.close())
        self._runner.run(self.batches.close())
        self._runner.close()
        self.leases.close()

    def submit(self, job_id: str | None = None, **values: Any) -> str:
        request = job_request(priority=values.pop("priority", Priority.NORMAL), ref=values.pop("ref", ""))
        new = new_job(id=job_id or new_job_id(), request=request, **values)
        return self._runner.run(self.front.submit(new)).job.id

    def begin_batch(self, batch_id: str = "b", **values: Any) -> Batch:
        defaults = {"owner": "me", "key": "k", "fingerprint": "f", "flow": "normal:me"}
        return self._runner.run(self.batches.begin(NewBatch(id=batch_id, **{**defaults, **values})))

    def submit_to(self, batch_id: str, index: int, fingerprint: str = "x", **values: Any) -> str:
        """Submit a job of a batch."""
        return self.submit(batch=batch_id, batch_index=index, batch_fingerprint=fingerprint, **values)

    def close_batch(
        self, batch_id: str, reason: Closed = Closed.COMPLETE, *refused: RefusedImage, jobs: int = 0
    ) -> Batch:
        if reason is Closed.COMPLETE:
            return self._runner.run(self.batches.complete(batch_id, jobs, refused))
        return self._runner.run(self.batches.close_batch(batch_id, reason))

    def batch(self, batch_id: str) -> Batch:
        return self._runner.run(self.batches.read(batch_id))

    def listed(
        self, owner: str, cursor: str | None = None, limit: int = 100, wanted: JobFilter = ALL_JOBS
    ) -> tuple[list[str], str | None]:
        """Ids of the jobs on a page, and the cursor of the next."""
        found = self._runner.run(self.front.list(owner, cursor or "", limit, wanted))
        return [job.id for job in found.jobs], found.next_cursor

    def job(self, job_id: str) -> Job:
        return self._runner.run(self.front.read(job_id)).job

    def position(self, job_id: str) -> int | None:
        return self._runner.run(self.front.read(job_id)).queue_position

    def result(self, job_id: str) -> SegmentationResult | None:
        return self._runner.run(self.front.read(job_id)).result

    def image(self, job_id: str) -> bytes | None:
        return self._runner.run(self.front.image(job_id))

    def cancel(self, job_id: str) -> JobStatus:
        return self._runner.run(self.front.cancel(job_id))

    def delete(self, job_id: str) -> None:
        self._runner.run(self.front.delete(job_id))

    def live_workers(self) -> int:
        return self._runner.run(self.front.live_workers(MODEL))

    def claim(self, *, is_idle: bool = True) -> Lease:
        lease = self.leases.claim(MODEL, is_idle=is_idle)
        assert lease is not None
        return lease


def first_canceled(deployment: Deployment, redis: Redis, change: Callable[[], object]) -> list[str]:
    """The ids that a worker which listens receives of `change`, up to the first."""
    received: list[str] = []
    stopped = threading.Event()

    def listen() -> None:
        for each in deployment.leases.canceled(stopped.is_set):
            received.append(each)
            stopped.set()

    listener = threading.Thread(target=listen)
    listener.start()
    while not dict(redis.pubsub_numsub(key_names.CANCELED)).get(key_names.CANCELED.encode()):
        time.sleep(0.01)
    change()
    listener.join(60)
    stopped.set()
    listener.join()
    return received


Deploy: TypeAlias = Callable[..., Deployment]
"""Makes a deployment with some settings changed."""
