"""The store for workers: claim a job, renew its lease, finish or release it; and reap the jobs of lost workers."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from redis import Redis
from redis.exceptions import RedisError

from shared.domain.job import Job, JobFailure, JobStatus
from shared.domain.result import SegmentationResult
from shared.errors import DeadlineExceeded, StoreUnavailable, WorkerLost
from shared.settings import Settings
from shared.store import key_names
from shared.store.confirmation import SyncConfirmer
from shared.store.connection import follow_primary, sync_redis
from shared.store.fence_token import new_nonce
from shared.store.image_store import ImageStore
from shared.store.liveness import liveness_window_s
from shared.store.lua_script import SyncScript
from shared.store.records import job_from_hash, named_values, text
from shared.store.retention import retention_arguments
from shared.store.subscription import sync_messages

_MAX_LOSSES_ALONE = 3
"""A job fails after it lost so many workers while it ran alone: it must be the cause."""
_MAX_JOBS_REAPED = 100
"""By one call, so that the script does not block the server for long after an outage."""
_LISTEN_S = 0.5
_WITHOUT_IMAGE = (None, b"failed", b"canceled")
"""Status of the jobs whose image nobody needs; None: there is no such job."""
_WORKER_LOST = JobFailure(
    type=WorkerLost.type, detail=f"{_MAX_LOSSES_ALONE} workers were lost while they ran this job alone"
)
_DEADLINE_EXCEEDED = JobFailure(type=DeadlineExceeded.type, detail="its `timeout` was over before it had ended")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lease:
    """A job that a worker has claimed. `job.token` is the fence token of this claim."""

    job: Job
    image: bytes


@dataclass(frozen=True)
class Claimed:
    """What a worker got when it asked for jobs."""

    leases: list[Lease]
    waiting: int
    """Number of jobs that still wait; those that this worker may not have now are included."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended: with a result or with a failure, never with both."""

    result: SegmentationResult | None = None
    failure: JobFailure | None = None
    model_s: float | None = None
    """Seconds inside the engine."""
    batch_size: int | None = None
    """Jobs that shared the forward passes with this one, itself included."""

    @property
    def status(self) -> JobStatus:
        return JobStatus.SUCCEEDED if self.result is not None else JobStatus.FAILED


@dataclass(frozen=True)
class Reaped:
    """Number of jobs by the transition that a reaping made."""

    released: int = 0
    failed: int = 0
    canceled: int = 0


class LeaseStore:
    """Sync, safe to share between threads. Every method raises `redis.RedisError` if the server does not answer."""

    def __init__(self, redis: Redis, settings: Settings, worker_id: str = "") -> None:
        """`worker_id` is in every claim. Empty: only the end of its lease ends a claim that nobody finishes."""
        self._redis = redis
        self.worker_id = worker_id
        self._settings = settings
        self._retention = retention_arguments(settings.retention)
        self._lease_ms = round(settings.liveness.lease_s * 1000)
        self._liveness_window_s = liveness_window_s(settings.liveness)
        self._images = ImageStore.from_settings(settings.images)
        self._claim = SyncScript(redis, "claim")
        self._fall_asleep = SyncScript(redis, "fall_asleep")
        self._wait_s = min(_LISTEN_S, settings.redis.redis_timeout_s / 2)
        self._finish = SyncScript(redis, "finish")
        self._confirmer = SyncConfirmer(redis, settings.redis)
        self._note_confirmed = SyncScript(redis, "note_confirmed")
        self._release = SyncScript(redis, "release")
        self._reap = SyncScript(redis, "reap")
        self._heartbeat = SyncScript(redis, "heartbeat")
        self._live = SyncScript(redis, "live")

    @classmethod
    def connect(cls, settings: Settings, worker_id: str = "") -> Self:
        """A store with its own pool of connections. A command whose connection is lost is not sent again: whoever
        claims jobs repeats the claim with its nonce."""
        return cls(sync_redis(settings.redis), settings, worker_id)

    def close(self) -> None:
        self._redis.close()

    def claim(self, model_id: str, *, is_idle: bool, full_clients: Collection[str] = ()) -> Lease | None:
        """As `claim_several`, one job; None if there is none for this worker."""
        claimed = self.claim_several(model_id, new_nonce(), max_jobs=1, is_idle=is_idle, full_clients=full_clients)
        return next(iter(claimed.leases), None)

    def claim_several(
        self,
        model_id: str,
        nonce: str,
        *,
        max_jobs: int,
        is_idle: bool,
        full_clients: Collection[str] = (),
        is_repeated: bool = False,
    ) -> Claimed:
        """Claim the next jobs for this model. Only an idle worker, which has no other job in flight, receives a
        quarantined job, and must run it alone. Jobs of `full_clients` are claimed only if no other client has one among
        the next, and then one of them.

        A call that raises may have claimed jobs. `is_repeated` is such a call, with its `nonce`: it returns these jobs
        if there are any.
        """
        found = self._claim(
            model=model_id,
            lease_ms=self._lease_ms,
            worker=self.worker_id,
            nonce=nonce,
            is_repeated=is_repeated,
            is_idle=is_idle,
            max_jobs=max_jobs,
            full_clients=list(full_clients),
        )
        jobs = [job_from_hash(named_values(record)) for record in found["records"]]
        images = [self._images.read(job.id) or b"" for job in jobs] if self._images else found["images"]
        return Claimed([Lease(*each) for each in zip(jobs, images, strict=True)], found["waiting"])

    def wait_for_jobs(self, model_id: str) -> None:
        """Return when a job may wait, or after half a second."""
        self._redis.blpop([key_names.work(model_id)], timeout=self._wait_s)

    def fall_asleep(self, model_id: str, worker_id: str) -> bool:
        """Whoever submits the next job must notify this worker. Returns False, and changes nothing, if a job waits."""
        return bool(self._fall_asleep(model=model_id, worker=worker_id)["is_asleep"])

    def finish(self, lease: Lease, outcome: Outcome) -> bool:
        """Store how a job ended; again changes nothing. Returns False, and stores nothing, if the lease is stale.

        Raises:
            StoreUnconfirmed: it is stored, and a failover may forget it. Repeat it.
        """
        is_finished = self._store_end(lease, outcome)
        if not is_finished and follow_primary(self._settings.redis):
            is_finished = self._store_end(lease, outcome)  # a server that was replaced does not know the claim
        if is_finished and outcome.failure:
            self._remove_images([lease.job.id])
        if is_finished and self._settings.redis.confirm_replicas:
            with suppress(RedisError):  # who reads it first waits for replicas
                self._note_confirmed(id=lease.job.id)
        return is_finished

    def _store_end(self, lease: Lease, outcome: Outcome) -> bool:
        metrics = {"model_s": outcome.model_s, "batch_size": outcome.batch_size}
        found = self._finish.confirmed(
            self._confirmer,
            id=lease.job.id,
            model=lease.job.request.model_id,
            token=lease.job.token,
            status=outcome.status,
            result=outcome.result.model_dump_json() if outcome.result else None,
            error=outcome.failure.model_dump_json() if outcome.failure else None,
            metrics=json.dumps(metrics),
            result_cache_s=max(1, self._settings.retention.result_cache_s),
            **self._retention,
        )
        return bool(found["is_finished"])

    def release(self, lease: Lease) -> bool:
        """Queue a job again as if it had not been claimed. Returns False if the lease is stale."""
        found = self._release(id=lease.job.id, model=lease.job.request.model_id, token=lease.job.token)
        return bool(found["is_released"])

    def reap(self, model_id: str) -> Reaped:
        """Requeue, fail or cancel the jobs whose lease or deadline has passed, and log their number.

        Does nothing for `restart_grace_s` after the server has started or become the primary: workers may be alive and
        not reconnected yet.
        """
        reaped = self._reap_jobs(model_id)
        if reaped != Reaped():
            logger.warning("%s: %s", model_id, reaped)
        return reaped

    def reap_worker(self, model_id: str, worker_id: str) -> Reaped:
        """Requeue or fail the jobs of a worker at once, whatever their leases, and remove it from the live workers.

        Only for who knows that its process has ended. Its id must be one that no other process has had.
        """
        reaped = self._reap_jobs(model_id, worker_id)
        self.deregister(model_id, worker_id)
        return reaped

    def reap_claims(self, model_id: str, leases: Collection[Lease]) -> Reaped:
        """Requeue or fail these jobs at once: what ran them has ended. Those whose lease is stale stay as they are."""
        return self._reap_jobs(model_id, claims=_claims(leases))

    def sweep_images(self) -> int:
        """Remove images that no job needs from a folder or bucket; in Redis they expire. Returns their number."""
        return self._images.sweep(self._needing_images) if self._images else 0

    def heartbeat(self, model_id: str, worker_id: str, leases: Collection[Lease] = ()) -> set[str]:
        """Record that this worker is alive, and renew its leases. Returns the ids of the jobs whose lease is stale."""
        found = self._heartbeat(
            model=model_id,
            worker=worker_id,
            window_s=self._liveness_window_s,
            lease_ms=self._lease_ms,
            claims=_claims(leases),
        )
        return {text(job_id) for job_id in found["lost"]}

    def canceled(self, is_stopped: Callable[[], bool]) -> Iterator[str]:
        """The id of each job that is canceled, until `is_stopped` returns true or the connection ends."""
        return sync_messages(self._redis, key_names.CANCELED, is_stopped, _LISTEN_S)

    def live_workers(self, model_id: str) -> list[str]:
        """Ids of the workers of this model whose last heartbeat is within the liveness window."""
        found = self._live(set=key_names.workers(model_id), window_s=self._liveness_window_s)
        return [text(each) for each in found["names"]]

    def deregister(self, model_id: str, worker_id: str) -> None:
        """Remove a worker that stops from the live workers, and from those that are notified of jobs."""
        with self._redis.pipeline(transaction=False) as batch:
            batch.zrem(key_names.workers(model_id), worker_id)
            batch.srem(key_names.asleep(model_id), worker_id)
            batch.execute()

    def _reap_jobs(self, model_id: str, worker_id: str = "", claims: Collection[str] = ()) -> Reaped:
        found = self._reap(
            model=model_id,
            worker=worker_id,
            grace_ms=1000 * self._settings.liveness.restart_grace_s,
            max_losses_alone=_MAX_LOSSES_ALONE,
            worker_lost=_WORKER_LOST.model_dump_json(),
            deadline_exceeded=_DEADLINE_EXCEEDED.model_dump_json(),
            max_jobs=_MAX_JOBS_REAPED,
            **self._retention,
            claims=list(claims),
        )
        self._remove_images([text(each) for each in found.pop("ended")])
        return Reaped(**found)

    def _remove_images(self, job_ids: Collection[str]) -> None:
        """Remove images of jobs that ended without a result from a folder or bucket; in Redis the scripts do it."""
        if self._images is None:
            return
        for job_id in job_ids:
            try:
                self._images.delete(job_id)
            except StoreUnavailable as error:
                logger.warning("job %s: its image stays until the next sweep: %s", job_id, error.detail)

    def _needing_images(self, job_ids: Collection[str]) -> set[str]:
        """Those of these jobs that have not ended, or succeeded so recently that their images are kept."""
        ids = list(job_ids)
        with self._redis.pipeline(transaction=False) as batch:
            batch.time()
            for job_id in ids:
                batch.hmget(key_names.job(job_id), "status", "completed_at_ms")
            (seconds, _), *records = batch.execute()
        kept_after_ms = (seconds - self._settings.retention.image_retention_s) * 1000
        return {
            job_id
            for job_id, (status, ended) in zip(ids, records, strict=True)
            if status not in _WITHOUT_IMAGE and int(ended or 2**63) > kept_after_ms
        }


def _claims(leases: Collection[Lease]) -> list[str]:
    """Id and fence token of each job, in turns, as scripts take them."""
    return [part for lease in leases for part in (lease.job.id, lease.job.token)]
