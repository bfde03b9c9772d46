"""Reads a request with many images: its fields first, then one image after the other, as they arrive."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from fastapi import Request
from multipart import MultipartSegment, parse_options_header

from api.auth.caller import Caller
from api.http.request_memory import memory_of
from api.submission.arriving_part import ArrivingPart
from api.submission.client_data import base_name, name_in_url
from api.submission.fields import DeploymentLimits
from api.submission.form import MAX_FIELD_BYTES, MAX_PARTS, FilePart, Part, form_events, form_fields
from api.submission.json_object import parse_json_object
from api.submission.submission import (
    FormBatch,
    FormSubmission,
    JsonBatch,
    JsonSubmission,
    Submission,
    unknown_names,
    validate_fields,
)
from api.submission.zip_images import ZIP_TYPES, ZipImages, is_zip
from shared.errors import InvalidField, MalformedRequest, MaskqError, PayloadTooLarge
from shared.fair_threads import FairThreads
from shared.settings import COPIES, SubmissionSettings

Fields: TypeAlias = Mapping[str, object]
_IMAGES = ("image_file", "image_url")
_FORM = "multipart/form-data"
_JSON = "application/json"
_NO_IMAGE = "image_file or image_url: send at least one image"
_JSON_BYTES_PER_IMAGE = 1_024
"""Of a JSON object, beside the 64 kB of its other fields. As objects they may take 20 times as much."""


@dataclass(frozen=True)
class BatchImage:
    """An image of a batch, as it arrived."""

    field: str
    """Name of the field that it came in."""
    value: object
    """Of that field: a file, or the text of a URL."""
    error: MaskqError | None = None
    """Why it cannot be used, if that is known already."""

    @property
    def file_name(self) -> str:
        """The name of its file, without folders; empty if there is none."""
        if isinstance(self.value, FilePart):
            return base_name(self.value.name)
        return name_in_url(self.value) if isinstance(self.value, str) else ""

    @property
    def fingerprint(self) -> str:
        """What distinguishes it from another image. A large one takes some 10 ms, so compute it in a thread."""
        value = self.value.content if isinstance(self.value, FilePart) else self.value
        content = value if isinstance(value, bytes) else repr(value).encode()
        return hashlib.sha256(self.field.encode() + b" " + content).hexdigest()[:32]


@dataclass(frozen=True)
class IncomingBatch:
    """A request whose images have not been read yet."""

    common: Fields
    """The fields of each job, as they arrived."""
    checked: Submission
    """The same, and those of the batch itself."""
    images: AsyncIterator[BatchImage]
    """Each is in memory until the next one is asked for."""
    image_model: type[Submission]


class BatchReader:
    """Reads the batches of one deployment."""

    def __init__(self, limits: DeploymentLimits, settings: SubmissionSettings, threads: FairThreads) -> None:
        self._limits = limits
        self._settings = settings
        self._threads = threads

    async def read(self, request: Request, caller: Caller) -> IncomingBatch:
        """The fields of a request, checked, and its images to come.

        Raises:
            MalformedRequest, InvalidField, PayloadTooLarge: the request cannot be read, or a field is wrong.
                Reading the images may raise the same, and what reading a body raises.
        """
        return await _Reading(request, caller, self._limits, self._settings, self._threads).begin()


class _Reading:
    """The reading of one request."""

    def __init__(
        self,
        request: Request,
        caller: Caller,
        limits: DeploymentLimits,
        settings: SubmissionSettings,
        threads: FairThreads,
    ) -> None:
        self._request = request
        self._caller = caller
        self._limits = limits
        self._settings = settings
        self._threads = threads
        self._memory = memory_of(request)
        self._count = 0

    async def begin(self) -> IncomingBatch:
        kind, parameters = parse_options_header(self._request.headers.get("content-type", ""))
        if kind == _FORM:
            return await self._form(parameters.get("boundary", ""))
        if kind == _JSON:
            return await self._json()
        if kind in ZIP_TYPES:
            return await self._incoming(FormBatch, FormSubmission, self._in_query(), self._zip_body())
        raise MalformedRequest(f"send {_FORM}, {_JSON} or {ZIP_TYPES[0]}, and say so in Content-Type")

    async def _incoming(
        self, model: type[Submission], image_model: type[Submission], common: Fields, images: AsyncIterator[BatchImage]
    ) -> IncomingBatch:
        check = partial(validate_fields, model, common, self._limits)
        checked = await self._threads.run(self._caller.client, check, self._caller.share)
        of_jobs = {name: value for name, value in common.items() if not name.startswith("webhook_")}
        return IncomingBatch(of_jobs, checked, self._counted(images), image_model)

    async def _counted(self, images: AsyncIterator[BatchImage]) -> AsyncIterator[BatchImage]:
        async for image in images:
            self._count += 1
            if self._count > self._settings.max_batch_images:
                raise InvalidField(f"the request has more than {self._settings.max_batch_images:,} images")
            yield image
        if not self._count:
            raise InvalidField(_NO_IMAGE)

    # --- JSON, and a zip alone ----------------------------------------------------------------------------------------

    async def _json(self) -> IncomingBatch:
        max_bytes = MAX_FIELD_BYTES + _JSON_BYTES_PER_IMAGE * self._settings.max_batch_images
        body = bytearray(await self._body(max_bytes))
        parse = partial(_urls_and_fields, body, max_bytes)
        urls, fields = await self._threads.run(self._caller.client, parse, self._caller.share)
        return await self._incoming(JsonBatch, JsonSubmission, fields, _each("image_url", urls))

    async def _body(self, max_bytes: int) -> bytes:
        """The whole body."""
        body = bytearray()
        async for piece in self._request.stream():
            if len(body) + len(piece) > max_bytes:
                raise PayloadTooLarge(f"the body may have at most {max_bytes:,} bytes; a form may have more")
            self._memory.take(COPIES * len(piece))
            body += piece
        return bytes(body)

    def _in_query(self) -> Fields:
        query = self._request.query_params
        found = {name: query.getlist(name) for name in query}
        return {name: values[0] if len(values) == 1 else values for name, values in found.items()}

    async def _zip_body(self) -> AsyncIterator[BatchImage]:
        content = await self._body(self._settings.max_zip_bytes)
        async for image in self._in_zip(content):
            yield image

    # --- Forms --------------------------------------------------------------------------------------------------------

    async def _form(self, boundary: str) -> IncomingBatch:
        """In a form that is no larger than one upload, the order of the parts does not matter. In a larger one, the
        images are submitted before it has arrived."""
        parts = self._parts(boundary)
        common: dict[str, object] = {}
        first: list[ArrivingPart] = []
        async for part in parts:
            if not part.is_image:
                _add(common, await self._fields(part))
            elif part.size:
                first.append(part)
            if sum(each.kept_bytes for each in first) > self._settings.max_image_bytes:
                break
        return await self._incoming(FormBatch, FormSubmission, common, self._form_images(first, parts))

    async def _parts(self, boundary: str) -> AsyncIterator[ArrivingPart]:
        """The parts that have names, once they have arrived."""
        max_parts = MAX_PARTS + self._settings.max_batch_images
        arriving: ArrivingPart | None = None
        async for event in form_events(self._request, boundary, max_parts):
            if isinstance(event, MultipartSegment):
                arriving = ArrivingPart(Part(event, []), event.name in _IMAGES, self._settings, self._memory)
            elif arriving and event is not None:
                arriving.add(event)
            elif arriving and arriving.part.segment.name:
                yield arriving

    async def _form_images(
        self, first: list[ArrivingPart], parts: AsyncIterator[ArrivingPart]
    ) -> AsyncIterator[BatchImage]:
        while first:
            async for image in self._of_part(first.pop(0)):
                yield image
        async for part in parts:
            if part.size and not part.is_image:
                raise InvalidField(f"{part.part.segment.name}: in a form of this size, send it before the first image")
            if part.size:
                async for image in self._of_part(part):
                    yield image

    async def _of_part(self, part: ArrivingPart) -> AsyncIterator[BatchImage]:
        name = str(part.part.segment.name)
        if part.is_too_large:
            file = FilePart(b"", part.part.segment.filename or "")
            yield BatchImage(name, file, PayloadTooLarge(f"the file has more than {part.max_bytes:,} bytes"))
            return
        (value,) = (await self._fields(part)).values()
        if isinstance(value, FilePart) and is_zip(value.content):
            part.release(copies_kept=1)
            async for image in self._in_zip(value.content):
                yield image
        else:
            yield BatchImage(name, value)
        part.release()

    async def _fields(self, part: ArrivingPart) -> Fields:
        if part.is_too_large:
            if unknown := unknown_names(FormBatch, [str(part.part.segment.name)]):
                raise InvalidField(unknown[0])
            raise MalformedRequest(f"a text field of the form has more than {MAX_FIELD_BYTES:,} bytes")
        return await self._threads.run(self._caller.client, partial(form_fields, [part.part]), self._caller.share)

    # --- Zips ---------------------------------------------------------------------------------------------------------

    async def _in_zip(self, content: bytes) -> AsyncIterator[BatchImage]:
        limit = self._settings.max_image_bytes
        left = self._settings.max_batch_images - self._count
        opening = partial(ZipImages, content, left, limit)
        archive = await self._threads.run(self._caller.client, opening, self._caller.share)
        for file in archive.files:
            with self._memory.returned():
                try:
                    archive.require_readable(file)
                    self._memory.take(COPIES * file.file_size)
                    image = await self._threads.run(
                        self._caller.client, partial(archive.read, file), self._caller.share
                    )
                    yield BatchImage("image_file", FilePart(image, file.filename))
                except MaskqError as error:
                    if error.retry_after_s is not None:
                        raise
                    yield BatchImage("image_file", FilePart(b"", file.filename), error)


async def _each(name: str, values: list[object]) -> AsyncIterator[BatchImage]:
    for value in values:
        yield BatchImage(name, value)


def _urls_and_fields(body: bytearray, max_bytes: int) -> tuple[list[object], Fields]:
    """The URLs in a JSON object, and its other fields, which are checked again with each URL, so they are short."""
    fields = parse_json_object(body, ("image_url",), max_bytes)
    urls = _listed(fields.pop("image_url", None))
    if len(json.dumps(fields)) > MAX_FIELD_BYTES:
        raise MalformedRequest(f"the fields beside image_url have more than {MAX_FIELD_BYTES:,} bytes")
    return urls, fields


def _listed(value: object) -> list[object]:
    if value is None or value == "":
        return []
    return value if isinstance(value, list) else [value]


def _add(common: dict[str, object], fields: Fields) -> None:
    """Add a field of a form. One that is given more than once becomes a list."""
    for name, value in fields.items():
        if name in _IMAGES:
            continue  # an empty one
        common[name] = [*_listed(common[name]), value] if name in common else value
