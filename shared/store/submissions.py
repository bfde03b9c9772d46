"""The store for front ends: submit, read, list and cancel jobs, and follow their changes."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Self, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.domain.fair_share import FACTOR
from shared.domain.job import JobStatus
from shared.errors import (
    IdempotencyMismatch,
    JobExpired,
    ModelUnserved,
    QueueFull,
    ShareExceeded,
    StoreFull,
    StoreUnavailable,
)
from shared.settings import Settings
from shared.store import key_names
from shared.store.batches import IDEMPOTENCY_S, closed_batch
from shared.store.confirmation import AsyncConfirmer
from shared.store.connection import async_redis
from shared.store.image_store import ImageStore
from shared.store.job_list import ALL_JOBS, JobFilter, JobList, ListPosition
from shared.store.job_state import JobState
from shared.store.liveness import liveness_window_s
from shared.store.lua_script import Argument, AsyncScript, Reply
from shared.store.new_job import NewJob
from shared.store.records import text
from shared.store.retention import retention_arguments
from shared.store.stats import LedgerStats, read_stats
from shared.store.store_memory import FULL_SHARE, MemorySample, StoreMemory
from shared.store.subscription import messages

_SAMPLE_S = 1.0
"""How long a look at a model's workers stays valid."""
_MAX_LISTED = 1_000
"""Jobs that one request for a list looks at, most of them expired. It takes the server 3 ms."""
_MAX_MATCHED = 250
"""The same for a list with a filter, which reads the request of each job. It takes the server 3 ms, and 5 ms if
each has the longest metadata."""
_STORE_FULL = f"{FULL_SHARE:.0%} of the store's memory is in use; try again when jobs have ended"
_SHARES = {
    "jobs": "you have your share of the jobs that may wait; try again when some of yours have been taken",
    "images": "you have your share of the memory for images; try again when some of your jobs have ended or expired",
}
"""What a client is told that has its share of a resource."""


class SubmissionStore:
    """Async, safe to share between requests. Every method raises `redis.RedisError` if the server does not answer."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._settings = settings
        self._retention = retention_arguments(settings.retention)
        self._liveness_window_s = liveness_window_s(settings.liveness)
        self._images = ImageStore.from_settings(settings.images)
        self._memory = StoreMemory(redis)
        self._served_at: dict[str, float] = {}
        self._confirmer = AsyncConfirmer(redis, settings.redis)
        self._submit = AsyncScript(redis, "submit")
        self._read = AsyncScript(redis, "read")
        self._list = AsyncScript(redis, "list")
        self._cancel = AsyncScript(redis, "cancel")
        self._delete = AsyncScript(redis, "delete")
        self._live = AsyncScript(redis, "live")
        self._ping = AsyncScript(redis, "ping")
        self._note_confirmed = AsyncScript(redis, "note_confirmed")

    @classmethod
    def connect(cls, settings: Settings) -> Self:
        """A store with its own pool of connections; the first command connects. Every command may be repeated without
        harm, so one whose connection is lost is sent again."""
        return cls(async_redis(settings.redis), settings)

    async def close(self) -> None:
        await self._confirmer.close()
        await self._redis.aclose()

    async def confirm(self) -> None:
        """Return once enough replicas have all changes so far.

        Raises:
            StoreUnconfirmed: too few had them in time.
        """
        await self._confirmer.confirm()

    async def submit(self, new: NewJob) -> JobState:
        """Accept a job: once this returns, the job is stored and queued. Repeating it with the same id changes nothing.
        A job of a batch is not confirmed by replicas: the end of its batch is.

        Returns the job's state, or that of the job which was submitted with the same idempotency key.

        Raises:
            QueueFull: `max_queued_jobs` jobs wait for this model.
            IdempotencyMismatch: the key, or the index in the batch, was used for another request.
            BatchClosed: its batch takes no more images.
            JobNotFound, JobExpired: as `read`, for the job that was submitted with the key.
            ShareExceeded: this client uses its share of the queue, or of the memory for images.
            StoreFull: the server's memory is nearly used up.
            StoreUnconfirmed: it is stored, and a failover may forget it. Repeat it, with its idempotency key.
        """
        memory = await self._memory_with_room()
        if self._images:
            await self._images.put(new.id, new.image)
        confirmer = None if new.batch else self._confirmer
        reply = await self._submit.confirmed(confirmer, **self.submit_arguments(new, memory))
        if self._images and reply.get("id") != new.id.encode():
            with suppress(StoreUnavailable):  # the job is accepted; the sweep removes the image
                await self._images.remove(new.id)
        self._require_accepted(reply)
        return JobState.from_reply(reply)

    def submit_arguments(self, new: NewJob, memory: MemorySample) -> dict[str, Argument]:
        """Arguments of the script `submit`."""
        settings = self._settings
        is_shared = settings.retention.result_cache_shared
        return {
            "id": new.id,
            "request": new.request.model_dump_json(exclude_defaults=True),  # short: kept until the job expires
            "image": None if self._images else new.image,
            "model": new.request.model_id,
            "owner": new.owner,
            "flow": new.flow,
            "weight": new.weight,
            "times_free": FACTOR * new.share,
            "timeout_s": new.timeout_s,
            "max_queued_jobs": settings.submissions.max_queued_jobs,
            "memory_bytes": memory.limit_bytes,
            "other_bytes": memory.other_bytes,
            "idempotency_key": new.idempotency_key,
            "idempotency_s": IDEMPOTENCY_S,
            "fingerprint": new.fingerprint if new.idempotency_key else new.batch_fingerprint or None,
            "content": new.content(is_shared=is_shared) if settings.retention.result_cache_s else None,
            "batch": new.batch or None,
            "batch_index": new.batch_index if new.batch else None,
            "webhook": new.webhook.model_dump_json() if new.webhook else None,
            "webhook_host": new.webhook.host if new.webhook else None,
            **self._retention,
        }

    async def require_workers(self, model_id: str) -> None:
        """Refuse jobs for a model without workers, unless `accept_unserved` is set. Looks once a second.

        Raises:
            ModelUnserved: no worker of this model has sent a heartbeat within the liveness window.
        """
        now = time.monotonic()
        if self._settings.submissions.accept_unserved or now - self._served_at.get(model_id, -math.inf) < _SAMPLE_S:
            return
        if not await self.live_workers(model_id):
            raise ModelUnserved(f"no worker serves {model_id} right now; try again later, or see GET /models")
        self._served_at[model_id] = now

    async def accepts(self, model_id: str) -> bool:
        """Whether jobs for this model are accepted at all, by the rules that submissions follow. Limits of the queue
        and of clients do not count: they are answered with 429, and change from one request to the next.

        Raises:
            redis.RedisError: the server takes no writes now, or does not answer.
            StoreUnconfirmed: too few replicas keep up to confirm a job.
        """
        try:
            await self.require_workers(model_id)
            await self._memory_with_room()
        except (ModelUnserved, StoreFull):
            return False
        await self._redis.setrange(key_names.UNUSED, 0, "")  # writes nothing, and fails where a write would
        await self._confirmer.require_replicas()
        return True

    async def _memory_with_room(self) -> MemorySample:
        """The server's memory.

        Raises:
            StoreFull: it is nearly used up.
        """
        memory = await self._memory.sample()
        if memory.is_full:
            raise StoreFull(_STORE_FULL)
        return memory

    async def read(self, job_id: str, *, with_result: bool = True) -> JobState:
        """The present state of a job. A result may have megabytes, so only who needs it asks for it. The end of a job
        is returned once replicas have it: no failover undoes what a client was told.

        Raises:
            JobNotFound: there never was such a job.
            JobExpired: there was, and its retention is over.
            StoreUnconfirmed: it has ended, and a failover may forget that.
        """
        state = JobState.from_reply(await self._read(id=job_id, with_result=with_result))
        if state.job.status.is_terminal and not state.job.confirmed and self._confirmer.is_needed:
            await self._confirmer.confirm()
            with suppress(RedisError):  # the next reader waits again
                await self._note_confirmed(id=job_id)
        return state

    async def list(self, owner: str, cursor: str, limit: int, wanted: JobFilter = ALL_JOBS) -> JobList:
        """Up to `limit` jobs of an owner that match, newest first: from the position that an earlier call returned as
        the next one, or from the newest if that is empty. Looks at a bounded number of jobs: there may be fewer in the
        answer, or none, and still a next position.

        Raises:
            InvalidField: the cursor is not one.
        """
        position = ListPosition.parse(cursor) if cursor else None
        found = await self._list(
            owner=owner,
            before_ms=position.ms if position else None,
            before_id=position.job_id if position else None,
            limit=limit,
            max_seen=_MAX_LISTED if wanted == ALL_JOBS else _MAX_MATCHED,
            ref=wanted.ref,
            statuses=sorted(wanted.statuses),
        )
        return JobList.from_reply(found)

    async def image(self, job_id: str) -> bytes | None:
        """The uploaded image, or None once it is no longer kept."""
        if self._images:
            return await self._images.get(job_id)
        return cast(bytes | None, await self._redis.get(key_names.image(job_id)))

    async def cancel(self, job_id: str, *, is_confirmed: bool = True) -> JobStatus:
        """Cancel a job that has not ended, and remove its image. Returns its status before. An ended job stays as is.
        Who cancels many can confirm them once: with `confirm`, after the last.

        Raises:
            JobNotFound, JobExpired: as `read`.
            StoreUnconfirmed: it is canceled, and a failover may forget it.
        """
        confirmer = self._confirmer if is_confirmed else None
        status = (await self._cancel.confirmed(confirmer, id=job_id, **self._retention))["status"]
        if status is None:
            await self.read(job_id, with_result=False)  # raises JobNotFound if there never was such a job
            raise JobExpired("it ended and was removed a moment ago")
        before = JobStatus(text(status))
        if self._images and not before.is_terminal:
            with suppress(StoreUnavailable):  # a sweep removes it later
                await self._images.remove(job_id)
        return before

    async def delete(self, job_id: str, *, is_confirmed: bool = True) -> None:
        """Remove a job in any state, with its image, its result, and its delivery. A worker that runs it is told to
        stop, and can store nothing. Later reads raise `JobDeleted`. `is_confirmed` as in `cancel`.

        Raises:
            JobNotFound, JobExpired: as `read`.
            StoreUnconfirmed: it is removed, and a failover may forget it.
            StoreUnavailable: the job is removed, and its image could not be. The next sweep of images removes that.
        """
        if not (await self._delete_job(job_id, self._confirmer if is_confirmed else None))["is_deleted"]:
            await self.read(job_id, with_result=False)  # raises JobNotFound, JobExpired or JobDeleted
        if self._images:
            await self._images.remove(job_id)

    async def _delete_job(self, job_id: str, confirmer: AsyncConfirmer | None) -> Reply:
        kept_s = self._retention["retention_s"]
        tombstone_s = kept_s + self._retention["tombstone_s"]
        return await self._delete.confirmed(confirmer, id=job_id, retention_s=kept_s, tombstone_s=tombstone_s)

    async def live_workers(self, model_id: str) -> int:
        """Number of workers of this model whose last heartbeat is within the liveness window."""
        return len((await self._live(set=key_names.workers(model_id), window_s=self._liveness_window_s))["names"])

    async def stats(self, model_id: str) -> LedgerStats:
        """Numbers of jobs, ages and counters of this model, for metrics."""
        await self._ping(channel=None)
        return await read_stats(self._redis, model_id, self._liveness_window_s)

    def changes(self) -> AsyncGenerator[str | None, None]:
        """The id of a job after each transition, until the connection ends or its server is no primary. The first item
        is None: it is sent once no further transition can be missed."""
        return messages(self._redis, key_names.CHANGES)

    def _require_accepted(self, reply: Reply) -> None:
        match text(reply["outcome"]):
            case "full":
                limit = self._settings.submissions.max_queued_jobs
                raise QueueFull(f"{reply['waiting']} jobs are waiting and {limit} is the most; try again later", limit)
            case "no_room":
                raise StoreFull(_STORE_FULL)
            case "share":
                raise ShareExceeded(_SHARES[text(reply["resource"])])
            case "closed":
                raise closed_batch(text(reply["reason"]))
            case "mismatch":
                raise IdempotencyMismatch("use a new key for a new request, and the same body for a repeated one")
