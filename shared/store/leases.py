"""The workers' side of the store: claim a job, finish it, and say that one lives."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Self, cast

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.job import Job, JobFailure, JobStatus
from shared.result import SegmentationResult
from shared.settings import Settings
from shared.store import keys
from shared.store.script import MISSED_BEATS, Retention, connection_options, job_from_hash, script


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


class LeaseStore:
    """Sync, safe to share between threads. Every method raises `redis.RedisError` if the server does not answer."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._settings = settings
        self._retention = Retention.from_settings(settings)
        self._claim = redis.register_script(script("claim"))
        self._finish = redis.register_script(script("finish"))
        self._beat = redis.register_script(script("beat"))
        self._live = redis.register_script(script("live"))

    @classmethod
    def connect(cls, settings: Settings) -> Self:
        """Make a store over a pool of connections. A claim whose answer got lost must not be made twice, so nothing is
        retried here."""
        redis = Redis.from_url(
            settings.redis_url,
            **connection_options(settings),
            retry=Retry(NoBackoff(), retries=0),
        )
        return cls(redis, settings)

    def close(self) -> None:
        self._redis.close()

    def claim(self, model_id: str) -> Lease | None:
        """Take the job that has waited longest for this model, or None if none waits."""
        record = self._claim(keys=[keys.ready(model_id)], args=[keys.JOB_PREFIX, keys.CHANGES])
        if record is None:
            return None
        job = job_from_hash(dict(zip(record[::2], record[1::2], strict=True)))
        return Lease(job, cast(bytes | None, self._redis.get(keys.image(job.id))) or b"")

    def finish(self, lease: Lease, outcome: Outcome) -> bool:
        """Store how a job ended. Returns False, and stores nothing, if the job is no longer in these hands."""
        metrics = {"model_s": outcome.model_s, "batch_size": outcome.batch_size}
        names = [keys.job, keys.image, keys.result, keys.tombstone]
        finished = self._finish(
            keys=[name(lease.job.id) for name in names],
            args=[
                lease.job.id,
                lease.job.fence,
                outcome.status,
                outcome.result.model_dump_json() if outcome.result else "",
                outcome.failure.model_dump_json() if outcome.failure else "",
                json.dumps(metrics),
                keys.CHANGES,
                *self._retention.args,
            ],
        )
        return bool(finished)

    def beat(self, model_id: str, worker_id: str) -> None:
        """Say that this worker lives and serves this model."""
        self._beat(keys=[keys.workers(model_id)], args=[worker_id, self._lately_s])

    def live_workers(self, model_id: str) -> list[str]:
        """The ids of the workers of this model that have been heard of lately."""
        return [each.decode() for each in self._live(keys=[keys.workers(model_id)], args=[self._lately_s])]

    @property
    def _lately_s(self) -> float:
        return MISSED_BEATS * self._settings.heartbeat_s

    def depart(self, model_id: str, worker_id: str) -> None:
        """Say that this worker is going."""
        self._redis.zrem(keys.workers(model_id), worker_id)
