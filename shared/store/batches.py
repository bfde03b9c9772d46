"""The store for batches: begin one, close it, read it. `SubmissionStore.submit` adds its jobs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from redis.asyncio import Redis

from shared.domain.batch import Batch, BatchJob, Closed, RefusedImage
from shared.domain.webhook import Webhook
from shared.errors import BatchClosed, BatchNotFound, IdempotencyMismatch, JobExpired, MaskqError, StoreUnavailable
from shared.settings import Settings
from shared.store.confirmation import AsyncConfirmer
from shared.store.connection import async_redis
from shared.store.lua_script import AsyncScript, Reply
from shared.store.records import batch_from_hash, named_values, text

IDEMPOTENCY_S = 86_400
"""How long an idempotency key is kept: a day."""
_EMPTY_S = 600
"""The same for one whose batch has no image yet. Requests without a usable image would fill the memory otherwise."""
_MISMATCH = "use a new key for a new request, and the same body for a repeated one"


@dataclass(frozen=True)
class NewBatch:
    """A batch before its first image."""

    id: str
    owner: str
    key: str
    """The idempotency key."""
    fingerprint: str
    """What distinguishes this request from another one, beside the images."""
    flow: str
    ref: str = ""
    webhook: Webhook | None = None
    """Where the end of the batch is announced."""


class BatchStore:
    """Async, safe to share between requests. Every method raises `redis.RedisError` if the server does not answer."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._retention_s = settings.retention.retention_s
        self._confirmer = AsyncConfirmer(redis, settings.redis)
        self._begin = AsyncScript(redis, "begin_batch")
        self._close = AsyncScript(redis, "close_batch")
        self._read = AsyncScript(redis, "read_batch")

    @classmethod
    def connect(cls, settings: Settings) -> Self:
        """A store with its own pool of connections; the first command connects. Every command may be repeated without
        harm, so one whose connection is lost is sent again."""
        return cls(async_redis(settings.redis), settings)

    async def close(self) -> None:
        await self._confirmer.close()
        await self._redis.aclose()

    async def begin(self, new: NewBatch) -> Batch:
        """Begin a batch. Returns it, or the batch that was begun with the same key.

        Raises:
            IdempotencyMismatch: the key was used for another request.
            JobExpired: the batch of the key is no longer kept.
        """
        reply = await self._begin(
            id=new.id,
            owner=new.owner,
            key=new.key,
            fingerprint=new.fingerprint,
            flow=new.flow,
            ref=new.ref or None,
            webhook=new.webhook.model_dump_json() if new.webhook else None,
            webhook_host=new.webhook.host if new.webhook else None,
            idempotency_s=IDEMPOTENCY_S,
            empty_s=_EMPTY_S,
        )
        match text(reply["outcome"]):
            case "mismatch":
                raise IdempotencyMismatch(_MISMATCH)
            case "expired":
                raise JobExpired("the batch of this key has ended, and batches are kept for a limited time")
        return await self.read(text(reply["id"]))

    async def complete(self, batch_id: str, jobs: int, refused: Sequence[RefusedImage] = ()) -> Batch:
        """Close a batch that has all its images: so many jobs, and these that were refused. Returns it.

        Raises:
            StoreUnavailable: jobs are missing, because a failover has forgotten them. It stays open.
            StoreUnconfirmed: a failover may forget that, and its latest jobs.
        """
        reply = await self._close_as(Closed.COMPLETE, batch_id, self._confirmer, jobs, refused)
        if reply.get("lacks_jobs"):
            raise _forgotten()
        return await self.read(batch_id)

    async def close_batch(self, batch_id: str, reason: Closed) -> Batch:
        """Add no more images to a batch. It ends with the last of its jobs, which are not changed. Returns it. A batch
        that was closed before keeps its reason until it is deleted; a deleted one sends no webhook from here on. No
        replica confirms that: whoever changes its jobs too confirms all at once.

        Raises:
            BatchNotFound: as `read`.
        """
        await self._close_as(reason, batch_id, confirmer=None)
        return await self.read(batch_id)

    async def _close_as(
        self,
        reason: Closed,
        batch_id: str,
        confirmer: AsyncConfirmer | None,
        jobs: int = 0,
        refused: Sequence[RefusedImage] = (),
    ) -> Reply:
        as_json = json.dumps([each.model_dump() for each in refused]) if refused else None
        return await self._close.confirmed(
            confirmer,
            id=batch_id,
            reason=reason,
            jobs=jobs,
            refused=as_json,
            idempotency_s=IDEMPOTENCY_S,
            retention_s=self._retention_s,
        )

    async def read(self, batch_id: str) -> Batch:
        """The present state of a batch.

        Raises:
            BatchNotFound: there is no such batch, or it has expired.
        """
        return _batch_from_reply(batch_id, await self._read(id=batch_id))


def closed_batch(reason: str) -> MaskqError:
    """The error for a further image of a batch that is closed for this reason."""
    if reason == Closed.COMPLETE:
        return IdempotencyMismatch(_MISMATCH)
    return BatchClosed(f"it was {reason}") if reason in tuple(Closed) else _forgotten()


def _forgotten() -> StoreUnavailable:
    """The error for a batch of which a failover has forgotten something, or all, while a request adds images to it."""
    return StoreUnavailable("the store no longer has all of this batch; repeat the request with its Idempotency-Key")


def _batch_from_reply(batch_id: str, reply: Reply) -> Batch:
    if not reply:
        raise BatchNotFound("no batch has this id, or it has expired")
    lists = (reply["indexes"], map(text, reply["parts"]), map(text, reply["statuses"]), map(text, reply["versions"]))
    parts = sorted((index, *part.split(" ", 1), *state) for index, part, *state in zip(*lists, strict=True))
    return batch_from_hash(batch_id, named_values(reply["record"])).model_copy(
        update={
            "jobs": [BatchJob(index=index, id=job_id, status=status) for index, job_id, _, status, _ in parts],
            "fingerprints": {index: fingerprint for index, _, fingerprint, *_ in parts},
            "versions": {index: version for index, *_, version in parts},
        }
    )
