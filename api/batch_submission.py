"""The images of one request on their way into the ledger, one after the other."""

from __future__ import annotations

import hashlib
from contextlib import aclosing
from dataclasses import replace

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from api.auth.caller import Caller
from api.services import Services
from api.submission.batch import BatchImage, IncomingBatch
from shared.domain.api_key import Charge, RequestKind
from shared.domain.batch import Batch, RefusedImage
from shared.domain.job import Priority, new_job_id
from shared.errors import (
    BatchRefused,
    IdempotencyMismatch,
    ImageTooLarge,
    ImageUnreadable,
    InvalidField,
    JobExpired,
    KeyRequired,
    PayloadTooLarge,
    RateLimited,
    UnsupportedImage,
    UrlRefused,
)
from shared.process.failpoints import failpoint
from shared.process.notifier import queue_name
from shared.store.batches import NewBatch, closed_batch

_OF_ONE_IMAGE = (InvalidField, PayloadTooLarge, ImageTooLarge, UnsupportedImage, ImageUnreadable, UrlRefused)
"""Errors that concern one image only. All others end the request."""
_MAX_NAMED = 100
"""Images that an error names."""


class BatchSubmission:
    """Submits a batch. A repeated request adds only what is missing."""

    def __init__(self, request: Request, services: Services, caller: Caller, incoming: IncomingBatch) -> None:
        self._request = request
        self._services = services
        self._caller = caller
        self._incoming = incoming
        self._refused: list[RefusedImage] = []
        self._has_paid = False

    async def begin(self, key: str) -> Batch:
        """The batch of this idempotency key: a new one, or the one of an earlier request.

        Raises:
            UrlRefused: the URL of the webhook is not allowed.
            IdempotencyMismatch, JobExpired: as `BatchStore.begin`.
        """
        checked = self._incoming.checked
        webhook = await self._services.intake.batch_webhook(self._request, self._caller, self._incoming)
        fingerprint = hashlib.sha256(checked.model_dump_json().encode()).hexdigest()
        new = NewBatch(
            id=new_job_id(),
            owner=self._caller.owner,
            key=key,
            fingerprint=fingerprint,
            flow=f"{checked.priority or Priority.NORMAL}:{self._caller.client}",
            ref=checked.ref or "",
            webhook=webhook,
        )
        return await self._services.batches.begin(new)

    async def submit(self, batch: Batch) -> Batch:
        """Submit each image that is no job of the batch yet, and close the batch.

        Raises:
            MaskqError: an image may be accepted later, so no further one was tried; or none can be used; or this is
                another request than the one that began the batch.
        """
        count = 0
        async with aclosing(self._incoming.images) as images:  # type: ignore[type-var]
            async for image in images:
                await self._submit_or_refuse(batch, count, image)
                count += 1
                failpoint("api.batch_part")
        if count <= max([*batch.fingerprints, *(each.index for each in batch.refused)], default=-1):
            raise IdempotencyMismatch(
                "an earlier request with this key had more images; use a new key for a new request"
            )
        if len(self._refused) == count:
            raise BatchRefused(_named(self._refused))
        failpoint("api.batch_closing")
        jobs = count - len(self._refused) - len(batch.refused)
        closed = await self._services.batches.complete(batch.id, jobs, self._refused)
        failpoint("api.batch_closed")
        return closed

    async def _submit_or_refuse(self, batch: Batch, index: int, image: BatchImage) -> None:
        try:
            if not await self._is_known(batch, index, image):
                await self._submit_one(batch, index, image)
        except _OF_ONE_IMAGE as error:
            name = image.file_name or None
            self._refused.append(RefusedImage(index=index, file_name=name, type=error.type, detail=error.detail))

    async def _is_known(self, batch: Batch, index: int, image: BatchImage) -> bool:
        """Whether an earlier request has brought this image."""
        if found := batch.fingerprints.get(index):
            caller = self._caller
            own = await self._services.intake.in_thread(caller, lambda: image.fingerprint)
            if own != found:
                raise IdempotencyMismatch(f"image {index} is another one than in the first request with this key")
            return True
        if batch.closed is None:
            return False
        if any(each.index == index for each in batch.refused):
            return True
        raise closed_batch(batch.closed)

    async def _submit_one(self, batch: Batch, index: int, image: BatchImage) -> None:
        await self._charge()
        fingerprint = await self._services.intake.in_thread(self._caller, lambda: image.fingerprint)
        new = await self._services.intake.batch_job(self._request, self._caller, self._incoming, image)
        new = replace(new, batch=batch.id, batch_index=index, batch_fingerprint=fingerprint)
        model_id = new.request.model_id
        await self._services.store.require_workers(model_id)
        try:
            state = await self._services.store.submit(new)
        except JobExpired:  # another request has just brought this image, and its job is gone
            return
        if state.wakes_worker:
            await run_in_threadpool(self._services.notifier.notify, queue_name(model_id), state.job.id)

    async def _charge(self) -> None:
        """Charge the key for one more image; the first one is charged with the request."""
        if not self._caller.key_sha256 or not self._has_paid:
            self._has_paid = True
            return
        admission = await self._services.keys.admit(self._caller.key_sha256, Charge(RequestKind.SUBMIT))
        if admission is None:
            raise KeyRequired("this key was revoked")
        if not admission.is_within_rate:
            wait_s = admission.retry_after_s
            raise RateLimited(f"repeat the request in {wait_s:.1f} s for the images that are missing", wait_s)


def _named(refused: list[RefusedImage]) -> str:
    """Each image with its error."""
    named = [_line(each) for each in refused[:_MAX_NAMED]]
    more = [f"and {len(refused) - _MAX_NAMED} more"] if len(refused) > _MAX_NAMED else []
    return "; ".join([*named, *more])


def _line(refused: RefusedImage) -> str:
    name = f" ({refused.file_name})" if refused.file_name else ""
    return f"image {refused.index}{name}: {refused.type}: {refused.detail}"
