"""/jobs/{id}/result, /masks, /overlay.png and /picture.png: the result for other tools, masks, and pictures."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response

from api.auth.caller import Caller
from api.dependencies import ServicesDep
from api.drawing.mask_image import mask_png
from api.drawing.overlay import draw_overlay
from api.drawing.renderings import Renderings, Work
from api.formats import Document, ResultFormat, document_of
from api.formats.encoder import ENCODER
from api.http.disconnect import while_connected
from api.http.headers import is_known, weak_entity_tag
from api.http.openapi import problems
from api.linked import LINKED_JOB_ERRORS, LinkedJob, LinkedReader
from api.services import Services
from api.submission.client_data import MAX_TAG_CHARS, read_tag_name
from shared.domain.brush import ControlTags
from shared.domain.job import Job, JobStatus
from shared.domain.result import RleMask, SegmentationResult
from shared.errors import (
    ImageExpired,
    ImageUnreadable,
    InvalidField,
    MaskNotFound,
    MaskqError,
    ResultNotReady,
    ServerBusy,
    ShareExceeded,
)

router = APIRouter(prefix="/jobs/{job_id}")

_CACHE_CONTROL = "private, max-age=3600, immutable"
"""A client may use its copy for an hour without asking. A result never changes, but its job expires."""


class PngResponse(Response):
    """A PNG file."""

    media_type = "image/png"


def _responses(*errors: type[MaskqError]) -> dict[int | str, dict[str, Any]]:
    known = {"description": "The client has it already: `If-None-Match` names its `ETag`."}
    return {304: known, **problems(*LINKED_JOB_ERRORS, ResultNotReady, ServerBusy, ShareExceeded, *errors)}


@dataclass(frozen=True)
class _Rendered:
    """One request for something that is made of a result."""

    request: Request
    caller: Caller
    job_id: str
    version: str
    known: str | None
    """`If-None-Match` of the client."""

    async def answer(
        self, kind: type[Response], name: str, renderings: Renderings, prepare: Callable[[], Awaitable[Work]]
    ) -> Response:
        """The rendering `name`, or 304 if the client has it. Nothing is made for a client that has disconnected."""
        headers = {"ETag": weak_entity_tag(self.version), "Cache-Control": _CACHE_CONTROL}
        if is_known(self.known, self.version):
            return Response(status_code=304, headers=headers)
        work = renderings.get((self.job_id, name), self.caller.client, self.caller.share, prepare)
        return kind(await while_connected(work, self.request.receive), headers=headers)


async def _rendered(
    request: Request,
    caller: LinkedReader,
    state: LinkedJob,
    if_none_match: Annotated[str | None, Header(description="The `ETag` that the client has.")] = None,
) -> _Rendered:
    if state.job.status != JobStatus.SUCCEEDED:
        raise ResultNotReady(f"it is {state.job.status}")
    return _Rendered(request, caller, state.job.id, state.job.version, if_none_match)


_RenderedDep = Annotated[_Rendered, Depends(_rendered)]


class _DocumentResponse(Response):
    media_type = "application/json"


_Format = Annotated[ResultFormat, Query(alias="format")]
_ABOUT_TAG = "For Label Studio: the name of your tag. Default: that of the submission."
_NAME_SCHEMA = {"format": "ref"}
_TagName = Annotated[
    str | None, Query(min_length=1, max_length=MAX_TAG_CHARS, description=_ABOUT_TAG, json_schema_extra=_NAME_SCHEMA)
]


async def _control_tags(
    state: LinkedJob, name: _Format = ResultFormat.MASKQ, from_name: _TagName = None, to_name: _TagName = None
) -> ControlTags:
    """The names of the client's control tags.

    Raises:
        InvalidField: one has characters that nobody sees, or the format has no such names.
    """
    given = {tag: text for tag, text in (("from_name", from_name), ("to_name", to_name)) if text is not None}
    if given and name != ResultFormat.LABELSTUDIO:
        raise InvalidField(f"{' and '.join(given)}: only for format={ResultFormat.LABELSTUDIO}")
    for tag, text in given.items():
        try:
            read_tag_name(text)
        except ValueError as error:
            raise InvalidField(f"{tag}: {error}") from None
    return state.job.request.control_tags.with_names(from_name, to_name)


@router.head("/result", include_in_schema=False)
@router.get("/result", operation_id="get_result", response_model=Document, responses=_responses(InvalidField))
async def read_result(
    state: LinkedJob,
    services: ServicesDep,
    rendered: _RenderedDep,
    tags: Annotated[ControlTags, Depends(_control_tags)],
    name: _Format = ResultFormat.MASKQ,
) -> Response:
    """The result as one JSON document, in the format of another tool if asked."""

    async def prepare() -> Work:
        return partial(_document_bytes, state.job, await _result(services, state.job.id), name, tags)

    return await rendered.answer(_DocumentResponse, f"result:{name}:{tags}", services.documents, prepare)


@router.head("/masks/{number}.png", include_in_schema=False)
@router.get(
    "/masks/{number}.png",
    operation_id="get_mask",
    response_class=PngResponse,
    responses=_responses(MaskNotFound, InvalidField),
)
async def read_mask(
    state: LinkedJob,
    services: ServicesDep,
    rendered: _RenderedDep,
    number: Annotated[int, Path(description="Index of the object in `result.objects`, from 0.")],
) -> Response:
    """One mask as a 1-bit PNG of the size of the image: white inside, black outside."""

    async def prepare() -> Work:
        return partial(mask_png, _mask(await _result(services, state.job.id), number))

    return await rendered.answer(PngResponse, f"mask:{number}", services.documents, prepare)


@router.head("/overlay.png", include_in_schema=False)
@router.get(
    "/overlay.png",
    operation_id="get_overlay",
    response_class=PngResponse,
    responses=_responses(ImageExpired, ImageUnreadable),
)
async def draw_job(state: LinkedJob, services: ServicesDep, rendered: _RenderedDep) -> Response:
    """The image with the masks drawn over it, for people, as a PNG."""
    prepare = partial(_prepare_overlay, services, state.job.id)
    return await rendered.answer(PngResponse, "overlay", services.overlays, prepare)


@router.head("/picture.png", include_in_schema=False)
@router.get(
    "/picture.png",
    operation_id="get_picture",
    response_class=PngResponse,
    responses=_responses(ImageExpired, ImageUnreadable),
)
async def read_picture(state: LinkedJob, services: ServicesDep, rendered: _RenderedDep) -> Response:
    """The image without masks, upright, as a PNG like that of the overlay: for a page that cannot show the file."""
    prepare = partial(_prepare_overlay, services, state.job.id, has_masks=False)
    return await rendered.answer(PngResponse, "picture", services.overlays, prepare)


async def _prepare_overlay(services: Services, job_id: str, *, has_masks: bool = True) -> Work:
    """Load the image, which may have many bytes, when it is this request's turn."""
    image = await services.store.image(job_id)
    if image is None:
        raise ImageExpired("images are kept for a shorter time than results")
    result = await _result(services, job_id)
    shown = result if has_masks else result.model_copy(update={"objects": []})
    return partial(draw_overlay, image, shown, services.decoders)


async def _result(services: Services, job_id: str) -> SegmentationResult:
    """The result, which may have megabytes: it is read when its turn comes, and only if something is made of it."""
    state = await services.store.read(job_id)
    if state.result is None:
        raise ResultNotReady(f"it is {state.job.status}")
    return state.result


def _document_bytes(job: Job, result: SegmentationResult, name: ResultFormat, tags: ControlTags) -> bytes:
    """Written piece by piece: `json.dumps` would keep the event loop waiting until all is written, 0.3 s for 4 MB."""
    written = bytearray()
    for piece in ENCODER.iterencode(document_of(job, result, name, tags)):
        written += piece.encode()
    return bytes(written)


def _mask(result: SegmentationResult, number: int) -> RleMask:
    count = len(result.objects)
    if not 0 <= number < count:
        raise MaskNotFound(f"the result has {count} object{'' if count == 1 else 's'}, numbered from 0")
    mask = result.objects[number].rle
    if mask is None:
        raise MaskNotFound(f"object {number} has a box but no mask")
    return mask
