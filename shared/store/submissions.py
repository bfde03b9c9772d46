"""The front end's side of the store: submit, read, cancel, and hear of changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Self, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.errors import JobExpired, JobNotFound, QueueFull
from shared.job import Job, JobRequest, JobStatus
from shared.result import SegmentationResult
from shared.settings import Settings
from shared.store import keys
from shared.store.script import MISSED_BEATS, Retention, connection_options, job_from_hash, script


@dataclass(frozen=True)
class JobState:
    """A job, and what the store knows around it."""

    job: Job
    queue_position: int | None = None
    """Jobs ahead of it; only while it is queued."""
    result: SegmentationResult | None = None
    """Only when it succeeded. Holds every mask in every format stored."""


class SubmissionStore:
    """Async, safe to share between requests. Every method raises `redis.RedisError` if the server does not answer."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._settings = settings
        self._retention = Retention.from_settings(settings)
        self._submit = redis.register_script(script("submit"))
        self._cancel = redis.register_script(script("cancel"))
        self._live = redis.register_script(script("live"))

    @classmethod
    def connect(cls, settings: Settings) -> Self:
        """Make a store over a pool of connections; the first command connects. Every move made here may be repeated
        without harm, so a lost connection is tried again."""
        redis = Redis.from_url(
            settings.redis_url,
            **connection_options(settings),
            retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), retries=2),
            retry_on_error=[RedisConnectionError, RedisTimeoutError],
        )
        return cls(redis, settings)

    async def close(self) -> None:
        await self._redis.aclose()

    async def ping(self) -> None:
        await self._redis.ping()

    async def submit(self, job_id: str, request: JobRequest, image: bytes) -> None:
        """Accept a job: once this returns, it is stored and queued. Repeating it with the same id changes nothing.

        Raises:
            QueueFull: `max_queued_jobs` are waiting for this model.
        """
        limit = self._settings.max_queued_jobs
        moved, ahead = await self._submit(
            keys=[keys.job(job_id), keys.image(job_id), keys.ready(request.model_id)],
            args=[job_id, request.model_dump_json(), image, limit],
        )
        if not moved:
            raise QueueFull(f"{ahead} jobs are waiting and {limit} is the most; try again later")

    async def read(self, job_id: str) -> JobState:
        """The job as it is now.

        Raises:
            JobNotFound: there never was such a job.
            JobExpired: there was, and its retention is over.
        """
        job = await self._record(job_id)
        if job.status is JobStatus.QUEUED:
            position = cast(int | None, await self._redis.zrank(keys.ready(job.request.model_id), job_id))
            return JobState(job, queue_position=position)
        if job.status is JobStatus.SUCCEEDED:
            stored = await self._redis.get(keys.result(job_id))
            if stored is None:
                raise JobExpired("its result was kept until a moment ago")
            return JobState(job, result=SegmentationResult.model_validate_json(stored))
        return JobState(job)

    async def image(self, job_id: str) -> bytes | None:
        """The uploaded image, or None once it is no longer kept."""
        return cast(bytes | None, await self._redis.get(keys.image(job_id)))

    async def cancel(self, job_id: str) -> JobStatus:
        """Cancel a job that has not ended. Returns the status it had before; an ended job stays as it is.

        Raises:
            JobNotFound, JobExpired: as `read`.
        """
        request = (await self._record(job_id)).request
        names = [keys.job, keys.image, keys.result, keys.tombstone]
        status = await self._cancel(
            keys=[*(name(job_id) for name in names), keys.ready(request.model_id)],
            args=[job_id, keys.CHANGES, *self._retention.args],
        )
        if status is None:
            raise JobExpired("it ended and was removed a moment ago")
        return JobStatus(status.decode())

    async def live_workers(self, model_id: str) -> int:
        """Workers that serve this model and have been heard of lately."""
        lately_s = MISSED_BEATS * self._settings.heartbeat_s
        return len(await self._live(keys=[keys.workers(model_id)], args=[lately_s]))

    async def changes(self) -> AsyncIterator[str | None]:
        """The ids of jobs as they move, for as long as the connection lasts. The first item is None: listening now."""
        async with self._redis.pubsub() as channel:
            await channel.subscribe(keys.CHANGES)
            async for message in channel.listen():
                yield message["data"].decode() if message["type"] == "message" else None

    async def _record(self, job_id: str) -> Job:
        record = await self._redis.hgetall(keys.job(job_id))
        if record:
            return job_from_hash(record)
        if await self._redis.exists(keys.tombstone(job_id)):
            raise JobExpired("it ended, and results are kept for a limited time")
        raise JobNotFound("no job has this id")
