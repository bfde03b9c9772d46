"""Turns an HTTP request into a new job: reads the body, validates the fields, gets the image, checks the URLs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from fastapi import Request
from multipart import parse_options_header

from api.auth.caller import Caller
from api.http.headers import idempotency_key
from api.http.public_address import base_url
from api.http.request_memory import memory_of
from api.submission.batch import BatchImage, BatchReader, IncomingBatch
from api.submission.fetch_image import ImageFetcher
from api.submission.fields import DeploymentLimits
from api.submission.form import Part, form_fields, read_parts
from api.submission.json_object import parse_json_object, read_body
from api.submission.submission import FormSubmission, JsonSubmission, Submission, UrlencodedSubmission, validate
from api.submission.urlencoded import read_urlencoded
from shared.domain.brush import ControlTags
from shared.domain.job import Duplicates, JobRequest, MaskFormat, Priority, new_job_id
from shared.domain.tiles import AUTO
from shared.domain.webhook import Webhook
from shared.errors import MalformedRequest
from shared.fair_threads import FairThreads
from shared.images.upload_check import UploadCheck
from shared.outbound import MAX_URL_CHARS, Outbound
from shared.process.tracing import current_traceparent
from shared.settings import SubmissionSettings
from shared.store.new_job import NewJob

_FORM = "multipart/form-data"
_JSON = "application/json"
_URLENCODED = "application/x-www-form-urlencoded"
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii"})
"""Python knows a hundred more, and some of them take quadratic time: Punycode, a second for a field of 64 kB."""

_Result = TypeVar("_Result")


class Intake:
    """Reads submissions for the models of this deployment."""

    def __init__(
        self,
        model_ids: Sequence[str],
        settings: SubmissionSettings,
        images: UploadCheck,
        fetcher: ImageFetcher,
        receivers: Outbound,
        threads: FairThreads,
    ) -> None:
        """A submission without a model is for the first of `model_ids`. `receivers` checks the URLs of webhooks;
        `threads` decode and check what is large."""
        self._limits = DeploymentLimits(model_ids, settings.max_image_bytes)
        self._images = images
        self._fetcher = fetcher
        self._receivers = receivers
        self._threads = threads
        self._batches = BatchReader(self._limits, settings, threads)

    async def read(self, request: Request, caller: Caller) -> NewJob:
        """Read and check a submission of this caller, a form or JSON, and give it an id.

        Raises:
            MalformedRequest, InvalidField, UrlRefused, PayloadTooLarge, ImageTooLarge, UnsupportedImage,
            ImageUnreadable, ServerBusy, ShareExceeded: as their docstrings say.
        """
        submission = await self._submission(request, caller)
        return await self.new_job(request, caller, submission, idempotency_key(request.headers))

    async def new_job(self, request: Request, caller: Caller, submission: Submission, key: str) -> NewJob:
        """Get and check the image of a submission, and give it an id. Raises as `read`."""
        webhook = await self._webhook(submission, base_url(request), caller)
        image = submission.upload or await self._fetcher.fetch(submission.url, memory_of(request))
        await self._threads.run(caller.client, partial(self._images.check, image), caller.share)
        new = NewJob(
            id=new_job_id(),
            request=self._job_request(submission),
            image=image,
            owner=caller.owner,
            client=caller.client,
            share=caller.share,
            timeout_s=submission.timeout,
            idempotency_key=key,
            webhook=webhook,
        )
        if key:
            await self._threads.run(caller.client, lambda: new.image_sha256, caller.share)
        return new

    async def read_batch(self, request: Request, caller: Caller) -> IncomingBatch:
        """Read the fields of a request with many images. Raises as `BatchReader.read`."""
        return await self._batches.read(request, caller)

    async def in_thread(self, caller: Caller, work: Callable[[], _Result]) -> _Result:
        """Run `work`, which takes some 10 ms, in a thread."""
        return await self._threads.run(caller.client, work, caller.share)

    async def batch_webhook(self, request: Request, caller: Caller, incoming: IncomingBatch) -> Webhook | None:
        """The webhook of a batch, if there is one.

        Raises:
            UrlRefused: its URL is not allowed.
        """
        return await self._webhook(incoming.checked, base_url(request), caller)

    async def batch_job(self, request: Request, caller: Caller, incoming: IncomingBatch, image: BatchImage) -> NewJob:
        """The job of one image of a batch. Raises as `read`."""
        if image.error:
            raise image.error
        check = partial(validate, incoming.image_model, {**incoming.common, image.field: image.value}, self._limits)
        submission = await self._threads.run(caller.client, check, caller.share)
        return await self.new_job(request, caller, submission, key="")

    async def _submission(self, request: Request, caller: Caller) -> Submission:
        kind, parameters = parse_options_header(request.headers.get("content-type", ""))
        if parameters.get("charset", "utf-8").lower() not in _CHARSETS:
            raise MalformedRequest("the charset of a request must be UTF-8")
        if kind == _FORM:
            parts = await read_parts(request, parameters.get("boundary", ""))
            return await self._threads.run(caller.client, partial(self._from_form, parts), caller.share)
        if kind == _JSON:
            body = await read_body(request)
            return await self._threads.run(caller.client, partial(self._from_json, body), caller.share)
        if kind == _URLENCODED:
            check = partial(validate, UrlencodedSubmission, await read_urlencoded(request), self._limits)
            return await self._threads.run(caller.client, check, caller.share)
        raise MalformedRequest(f"send {_FORM}, {_JSON} or {_URLENCODED}, and say so in Content-Type")

    def _from_form(self, parts: Sequence[Part]) -> FormSubmission:
        return validate(FormSubmission, form_fields(parts), self._limits)

    def _from_json(self, body: bytearray) -> JsonSubmission:
        return validate(JsonSubmission, parse_json_object(body, JsonSubmission.image_fields()), self._limits)

    def _job_request(self, submission: Submission) -> JobRequest:
        return JobRequest(
            model_id=submission.model_id or self._limits.model_ids[0],
            prompt=submission.prompt,
            mask_formats=submission.mask_format or (MaskFormat.RLE,),
            control_tags=ControlTags().with_names(submission.from_name, submission.to_name),
            tiles=submission.tiles or AUTO,
            duplicates=submission.duplicates or Duplicates.MERGE,
            score_threshold=submission.score_threshold or 0.0,
            priority=submission.priority or Priority.NORMAL,
            metadata=submission.metadata or "",
            ref=submission.ref or "",
            file_name=submission.file_name,
            traceparent=current_traceparent(),
        )

    async def _webhook(self, submission: Submission, service_url: str, caller: Caller) -> Webhook | None:
        """The webhook, if there is one. Its URL is checked now, and again at each delivery."""
        if not submission.webhook_url:
            return None
        if len(service_url) > MAX_URL_CHARS:
            raise MalformedRequest("the Host header is too long")
        await self._receivers.check(submission.webhook_url, caller.client)
        return Webhook(url=submission.webhook_url, base_url=service_url)
