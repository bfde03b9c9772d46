"""The workers' side of the store: claim a job, keep it, finish it or give it back; and reap what others left."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Self, cast

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.domain.job import Job, JobFailure, JobStatus
from shared.domain.result import SegmentationResult
from shared.errors import DeadlineExceeded, WorkerLost
from shared.settings import Settings
from shared.store import key_names
from shared.store.connection import Retention, connection_options, job_from_hash, liveness_window_s, script, text
from shared.store.image_store import ImageStore

_MAX_LOSSES_ALONE = 3
"""A job that cost three workers while it ran alone is the culprit."""
_REAPED_AT_ONCE = 100
"""So that a script after a long outage does not hold up the server."""
_LISTEN_S = 0.5
_WORKER_LOST = JobFailure(
    type=WorkerLost.type, detail=f"{_MAX_LOSSES_ALONE} workers were lost while they ran this job alone"
)
_DEADLINE = JobFailure(type=DeadlineExceeded.type, detail="its `timeout` was over before it had ended")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lease:
    """A job in one worker's hands. Its fence token is the job's at the moment of the claim."""

    job: Job
    image: bytes


@dataclass(frozen=True)
class Outcome:
    """How a job ended: with a result or with a failure, never both. The rest is metrics."""

    result: SegmentationResult | None = None
    failure: JobFailure | None = None
    model_s: float | None = None
    batch_size: int | None = None

    @property
    def status(self) -> JobStatus:
        return JobStatus.SUCCEEDED if self.result is not None else JobStatus.FAILED


@dataclass(frozen=True)
class Reaped:
    """How many jobs a reaping moved, and where to."""

    released: int = 0
    failed: int = 0
    canceled: int = 0


class LeaseStore:
    """Sync, safe to share between threads. Every method raises `redis.RedisError` if the server does not answer."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._settings = settings
        self._retention = Retention.from_settings(settings.retention)
        self._images = ImageStore.from_settings(settings.images)
        self._claim = redis.register_script(script("claim"))
        self._finish = redis.register_script(script("finish"))
        self._release = redis.register_script(script("release"))
        self._reap = redis.register_script(script("reap"))
        self._beat = redis.register_script(script("beat"))
        self._live = redis.register_script(script("live"))

    @classmethod
    def connect(cls, settings: Settings) -> Self:
        """Make a store over a pool of connections. A claim whose answer got lost must not be made twice, so nothing is
        retried here; its lease brings that job back."""
        redis = Redis.from_url(
            settings.redis.redis_url, **connection_options(settings.redis), retry=Retry(NoBackoff(), retries=0)
        )
        return cls(redis, settings)

    def close(self) -> None:
        self._redis.close()

    def claim(self, model_id: str, *, is_idle: bool) -> Lease | None:
        """Take the next job for this model, or None if there is none for this worker. A suspect is given only into
        empty hands, and must run alone."""
        record = self._claim(args=[model_id, self._lease_ms, int(is_idle)])
        if record is None:
            return None
        job = job_from_hash(dict(zip(record[::2], record[1::2], strict=True)))
        return Lease(job, self._image(job.id) or b"")

    def finish(self, lease: Lease, outcome: Outcome) -> bool:
        """Store how a job ended. Returns False, and stores nothing, if the job is no longer in these hands."""
        metrics = {"model_s": outcome.model_s, "batch_size": outcome.batch_size}
        finished = self._finish(
            args=[
                lease.job.id,
                lease.job.request.model_id,
                lease.job.fence,
                outcome.status,
                outcome.result.model_dump_json() if outcome.result else "",
                outcome.failure.model_dump_json() if outcome.failure else "",
                json.dumps(metrics),
                *self._retention.args,
                max(1, self._settings.retention.result_cache_s),
            ],
        )
        return bool(finished)

    def release(self, lease: Lease) -> bool:
        """Return a job unfinished, as if it had not been taken. False if it is no longer in these hands."""
        return bool(self._release(args=[lease.job.id, lease.job.request.model_id, lease.job.fence]))

    def reap(self, model_id: str) -> Reaped:
        """Move on the jobs whose lease or deadline has run out, and log it. Not while the server has been up for only a
        short time, when workers may live and not have reconnected."""
        uptime_s = self._redis.info("server")["uptime_in_seconds"]
        if uptime_s < self._settings.liveness.restart_grace_s:
            return Reaped()
        errors = [_WORKER_LOST.model_dump_json(), _DEADLINE.model_dump_json()]
        moved = self._reap(args=[model_id, _MAX_LOSSES_ALONE, *errors, _REAPED_AT_ONCE, *self._retention.args])
        reaped = Reaped(*moved)
        if reaped != Reaped():
            logger.warning("%s: %s", model_id, reaped)
        return reaped

    def sweep_images(self) -> int:
        """Remove images that no job needs from a folder or bucket. Redis removes its own. Returns how many."""
        return self._images.sweep(self._needing_images) if self._images else 0

    def waiting(self, model_id: str) -> int:
        """Jobs of this model that wait for a worker, quarantined ones included."""
        return sum(self._redis.zcard(queue(model_id)) for queue in (key_names.ready, key_names.quarantine))

    def beat(self, model_id: str, worker_id: str, held: Collection[Lease] = ()) -> set[str]:
        """Say that this worker lives and has these jobs in hand. Returns the ids of those it has no longer."""
        hands = [part for lease in held for part in (lease.job.id, lease.job.fence)]
        lost = self._beat(
            args=[model_id, worker_id, liveness_window_s(self._settings.liveness), self._lease_ms, *hands]
        )
        return {text(job_id) for job_id in lost}

    def canceled(self, is_stopped: Callable[[], bool]) -> Iterator[str]:
        """The ids of jobs as they are canceled, until `is_stopped` or the connection ends."""
        with self._redis.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
            channel.subscribe(key_names.CANCELED)
            while not is_stopped():
                if message := channel.get_message(timeout=_LISTEN_S):
                    yield text(message["data"])

    def live_workers(self, model_id: str) -> list[str]:
        """The ids of the workers of this model that have been heard of lately."""
        return [
            text(each)
            for each in self._live(args=[key_names.workers(model_id), liveness_window_s(self._settings.liveness)])
        ]

    def depart(self, model_id: str, worker_id: str) -> None:
        """Say that this worker is going."""
        self._redis.zrem(key_names.workers(model_id), worker_id)

    def _image(self, job_id: str) -> bytes | None:
        if self._images:
            return self._images.read(job_id)
        return cast(bytes | None, self._redis.get(key_names.image(job_id)))

    def _needing_images(self, job_ids: Collection[str]) -> set[str]:
        """Which of these jobs have not ended, or not long enough ago for their images to go."""
        ids = list(job_ids)
        with self._redis.pipeline(transaction=False) as batch:
            batch.time()
            for job_id in ids:
                batch.hmget(key_names.job(job_id), "id", "completed_at_ms")
            (seconds, _), *records = batch.execute()
        gone_by_ms = (seconds - self._settings.retention.image_retention_s) * 1000
        return {
            job_id
            for job_id, (known, ended) in zip(ids, records, strict=True)
            if known and int(ended or 2**63) > gone_by_ms
        }

    @property
    def _lease_ms(self) -> int:
        return round(self._settings.liveness.lease_s * 1000)
