"""The front end's side of the store: submit, read, list, cancel, and hear of changes."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

from redis.asyncio import Redis

from shared.domain.job import Job, JobRequest, JobStatus
from shared.domain.result import SegmentationResult
from shared.domain.webhook import Webhook
from shared.errors import IdempotencyMismatch, JobExpired, JobNotFound, ModelUnserved, QueueFull, StoreFull
from shared.process.tracing import current_traceparent
from shared.settings import Settings
from shared.store import key_names
from shared.store.connection import Retention, async_redis, job_from_hash, liveness_window_s, script, text
from shared.store.image_store import ImageStore
from shared.store.stats import LedgerStats, read_stats

_SAMPLE_S = 1.0
_FULL_SHARE = 0.8
_DEFAULT_DURATION_MS = 1_000.0
"""Before the first job of a model has ended."""
_IDEMPOTENCY_S = 86_400
"""How long an idempotency key stands for its job: a day."""
_MAX_RETRY_S = 60


@dataclass(frozen=True)
class NewJob:
    """A job to be accepted."""

    id: str
    request: JobRequest
    image: bytes
    owner: str
    timeout_s: float | None = None
    """Seconds from acceptance until it is canceled."""
    idempotency_key: str = ""
    """Empty: none."""
    webhook: Webhook | None = None
    """Where its end is announced."""
    share: int = 1
    """How many turns its owner's jobs get for each turn of an owner whose share is 1."""

    @property
    def weight(self) -> int:
        """Of its flow in the order of service."""
        return self.request.priority.weight * self.share

    @property
    def flow(self) -> str:
        """The jobs among which this one has to wait its turn: its owner's of the same priority."""
        return f"{self.request.priority}:{self.owner}"

    @property
    def fingerprint(self) -> str:
        """Of everything that makes this request what it is: SHA-256 in hex."""
        webhook = self.webhook.url if self.webhook else ""
        request = self.request.model_dump_json(exclude={"traceparent"})
        return _digest(request, str(self.timeout_s), webhook, self.image)

    @property
    def content(self) -> str:
        """Of everything that its result depends on: SHA-256 in hex."""
        request = self.request
        return _digest(request.model_id, request.prompt, ",".join(request.mask_formats), self.image)


def _digest(*parts: str | bytes) -> str:
    whole = [part.encode() if isinstance(part, str) else hashlib.sha256(part).digest() for part in parts]
    return hashlib.sha256(b"\n".join(whole)).hexdigest()


@dataclass(frozen=True)
class JobState:
    """A job, and what the store knows around it."""

    job: Job
    queue_position: int | None = None
    """Jobs ahead of it; only while it is queued."""
    result: SegmentationResult | None = None
    """Only when it succeeded. Holds every mask in every format stored."""
    retry_after_s: int | None = None
    """When it is likely to have ended; only while it has not."""


class SubmissionStore:
    """Async, safe to share between requests. Every method raises `redis.RedisError` if the server does not answer."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._settings = settings
        self._retention = Retention.from_settings(settings.retention)
        self._images = ImageStore.from_settings(settings.images)
        self._sampled_at = -math.inf
        self._is_full = False
        self._served_at: dict[str, float] = {}
        self._submit = redis.register_script(script("submit"))
        self._read = redis.register_script(script("read"))
        self._cancel = redis.register_script(script("cancel"))
        self._live = redis.register_script(script("live"))

    @classmethod
    def connect(cls, settings: Settings) -> Self:
        """Make a store over a pool of connections; the first command connects. Every move made here may be repeated
        without harm, so a lost connection is tried again."""
        return cls(async_redis(settings.redis), settings)

    async def close(self) -> None:
        await self._redis.aclose()

    async def submit(self, new: NewJob) -> JobState:
        """Accept a job: once this returns, it is stored and queued. Repeating it with the same id changes nothing.

        Returns it as it is now, or the job its idempotency key already stands for.

        Raises:
            QueueFull: `max_queued_jobs` are waiting for this model.
            IdempotencyMismatch: the key was used for another request.
            JobNotFound, JobExpired: as `read`, of the job the key stands for.
            StoreFull: the server's memory is nearly used up.
        """
        await self._require_room()
        if self._images:
            await self._images.put(new.id, new.image)
        outcome, detail, *state = await self._submit(args=self.submit_args(new))
        if self._images and text(detail) != new.id:
            await self._images.remove(new.id)
        match text(outcome):
            case "full":
                limit = self._settings.submissions.max_queued_jobs
                raise QueueFull(f"{text(detail)} jobs are waiting and {limit} is the most; try again later", limit)
            case "mismatch":
                raise IdempotencyMismatch("use a new key for a new request, and the same body for a repeated one")
        return _state(*state)

    async def require_workers(self, model_id: str) -> None:
        """Refuse jobs for a model that nobody serves, unless they are to wait. Looks once a second.

        Raises:
            ModelUnserved: no worker of this model was heard of lately.
        """
        now = time.monotonic()
        if self._settings.submissions.accept_unserved or now - self._served_at.get(model_id, -math.inf) < _SAMPLE_S:
            return
        if not await self.live_workers(model_id):
            raise ModelUnserved(f"no worker serves {model_id} right now; try again later, or see GET /models")
        self._served_at[model_id] = now

    def submit_args(self, new: NewJob) -> Sequence[str | bytes | float]:
        """What the script `submit` takes, in its order."""
        settings = self._settings
        return [
            new.id,
            new.request.model_copy(update={"traceparent": current_traceparent()}).model_dump_json(
                exclude_defaults=True  # a record takes memory for as long as its job is kept
            ),
            b"" if self._images else new.image,
            new.request.model_id,
            new.owner,
            new.flow,
            new.weight,
            "" if new.timeout_s is None else new.timeout_s,
            settings.submissions.max_queued_jobs,
            new.idempotency_key,
            new.fingerprint if new.idempotency_key else "",
            _IDEMPOTENCY_S,
            new.content if settings.retention.result_cache_s else "",
            *self._retention.args,
            new.webhook.model_dump_json() if new.webhook else "",
            new.webhook.host if new.webhook else "",
        ]

    async def read(self, job_id: str) -> JobState:
        """The job as it is now.

        Raises:
            JobNotFound: there never was such a job.
            JobExpired: there was, and its retention is over.
        """
        return _state(await self._read(args=[job_id]))

    async def list(self, owner: str, before: str, limit: int) -> list[Job]:
        """An owner's jobs, newest first: those accepted before the job `before`, or the newest if it is empty.

        Raises:
            JobNotFound: the job `before` is no longer listed.
        """
        start = 0
        if before:
            rank = cast(int | None, await self._redis.zrevrank(key_names.owned(owner), before))
            if rank is None:
                raise JobNotFound("the cursor names a job that is gone; start again without it")
            start = rank + 1
        found: list[Job] = []
        while len(found) < limit:
            page = cast(list[bytes], await self._redis.zrevrange(key_names.owned(owner), start, start + limit - 1))
            if not page:
                break
            start += len(page)
            async with self._redis.pipeline(transaction=False) as batch:
                for job_id in page:
                    batch.hgetall(key_names.job(text(job_id)))
                found += [job_from_hash(record) for record in await batch.execute() if record]
        return found[:limit]

    async def image(self, job_id: str) -> bytes | None:
        """The uploaded image, or None once it is no longer kept."""
        if self._images:
            return await self._images.get(job_id)
        return cast(bytes | None, await self._redis.get(key_names.image(job_id)))

    async def cancel(self, job_id: str) -> JobStatus:
        """Cancel a job that has not ended. Returns the status it had before; an ended job stays as it is.

        Raises:
            JobNotFound, JobExpired: as `read`.
        """
        status = await self._cancel(args=[job_id, *self._retention.args])
        if status is None:
            await self.read(job_id)  # says whether there ever was one
            raise JobExpired("it ended and was removed a moment ago")
        return JobStatus(text(status))

    async def live_workers(self, model_id: str) -> int:
        """Workers that serve this model and have been heard of lately."""
        return len(await self._live(args=[key_names.workers(model_id), liveness_window_s(self._settings.liveness)]))

    async def stats(self, model_id: str) -> LedgerStats:
        """What the ledger holds and has seen for this model, for those who watch over it."""
        return await read_stats(self._redis, model_id, liveness_window_s(self._settings.liveness))

    async def changes(self) -> AsyncIterator[str | None]:
        """The ids of jobs as they move, for as long as the connection lasts. The first item is None: listening now."""
        async with self._redis.pubsub() as channel:
            await channel.subscribe(key_names.CHANGES)
            async for message in channel.listen():
                yield message["data"].decode() if message["type"] == "message" else None

    async def _require_room(self) -> None:
        """Refuse jobs before the server's memory is full, so that those it has can be finished. Looks once a second."""
        now = time.monotonic()
        if now - self._sampled_at >= _SAMPLE_S:
            memory = await self._redis.info("memory")
            self._is_full = 0 < memory["maxmemory"] * _FULL_SHARE < memory["used_memory"]
            self._sampled_at = now
        if self._is_full:
            raise StoreFull(f"{_FULL_SHARE:.0%} of the store's memory is in use; try again when jobs have ended")


def _state(found: Any) -> JobState:
    """What the Lua function `job_state` found."""
    if found is None:
        raise JobNotFound("no job has this id")
    if isinstance(found, bytes):
        raise JobExpired("it ended, and results are kept for a limited time")
    record, ahead, result, running, mean_duration_ms, running_ms = found
    return JobState(
        job=job_from_hash(dict(zip(record[::2], record[1::2], strict=True))),
        queue_position=ahead,
        result=SegmentationResult.model_validate_json(result) if result else None,
        retry_after_s=_retry_after_s(ahead, running, float(mean_duration_ms or _DEFAULT_DURATION_MS), running_ms),
    )


def _retry_after_s(ahead: int | None, running: int, mean_duration_ms: float, running_ms: int | None) -> int | None:
    """When a job is likely to have ended, in whole seconds, at least 1. None: it has.

    A running job takes the rest of what jobs take lately. For a queued one Little's law gives the speed of the queue:
    `running` jobs in hand, each there for `mean_duration_ms`, make running / mean_duration_ms jobs a millisecond.
    """
    if ahead is not None:
        left_ms = (ahead + 1) * mean_duration_ms / max(1, running) + mean_duration_ms
    elif running_ms is not None:
        left_ms = mean_duration_ms - running_ms
    else:
        return None
    return min(max(1, math.ceil(left_ms / 1000)), _MAX_RETRY_S)
