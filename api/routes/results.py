"""/jobs/{id}/result, /masks and /overlay.png: the result in the formats of other tools, each mask, and an overlay."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Response

from api.dependencies import OWN_JOB_ERRORS, OwnJob, ServicesDep
from api.drawing.mask_image import mask_png
from api.drawing.overlay import draw_overlay
from api.formats import Document, ResultFormat, document_of
from api.http.openapi import problems
from shared.domain.result import RleMask, SegmentationResult
from shared.errors import ImageExpired, InvalidField, MaskNotFound, ResultNotReady
from shared.store.job_state import JobState

router = APIRouter(prefix="/jobs/{job_id}")


class PngResponse(Response):
    """A PNG file."""

    media_type = "image/png"


_NOT_READY = (*OWN_JOB_ERRORS, ResultNotReady)


@router.get("/result", responses=problems(*_NOT_READY, InvalidField))
async def read_result(
    state: OwnJob, services: ServicesDep, name: Annotated[ResultFormat, Query(alias="format")] = ResultFormat.MASKQ
) -> Document:
    """The result as one JSON document, in the format of another tool if asked."""
    return await to_thread.run_sync(document_of, state.job, _result(state), name, limiter=services.drawing)


@router.get(
    "/masks/{number}.png", response_class=PngResponse, responses=problems(*_NOT_READY, MaskNotFound, InvalidField)
)
async def read_mask(
    state: OwnJob,
    services: ServicesDep,
    number: Annotated[int, Path(description="Index of the object in `result.objects`, from 0.")],
) -> PngResponse:
    """One mask as a 1-bit PNG of the size of the image: white inside, black outside."""
    return PngResponse(await to_thread.run_sync(mask_png, _mask(_result(state), number), limiter=services.drawing))


@router.get("/overlay.png", response_class=PngResponse, responses=problems(*_NOT_READY, ImageExpired))
async def draw_job(state: OwnJob, services: ServicesDep) -> PngResponse:
    """The image with the masks drawn over it, for people, as a PNG."""
    result = _result(state)
    image = await services.store.image(state.job.id)
    if image is None:
        raise ImageExpired("images are kept for a shorter time than results")
    png = await to_thread.run_sync(draw_overlay, image, result, services.decoders, limiter=services.drawing)
    return PngResponse(png)


def _result(state: JobState) -> SegmentationResult:
    if state.result is None:
        raise ResultNotReady(f"it is {state.job.status}")
    return state.result


def _mask(result: SegmentationResult, number: int) -> RleMask:
    count = len(result.objects)
    if not 0 <= number < count:
        raise MaskNotFound(f"the result has {count} object{'' if count == 1 else 's'}, numbered from 0")
    mask = result.objects[number].rle
    if mask is None:
        raise MaskNotFound(f"object {number} has a box but no mask")
    return mask
