"""/jobs/{id}: the result of a job in other words, its masks one by one, and a picture of it all."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Response

from api.formats import Document, ResultFormat, document_of
from api.jobs import JobId
from api.masks import mask_png
from api.overlay import draw_overlay
from api.services import Services, ServicesDep
from shared.errors import ImageExpired, MaskNotFound, ResultNotReady
from shared.job import Job
from shared.result import RleMask, SegmentationResult

router = APIRouter(prefix="/jobs/{job_id}")


class PngResponse(Response):
    """A picture."""

    media_type = "image/png"


@router.get("/result")
async def read_result(
    job_id: JobId, services: ServicesDep, name: Annotated[ResultFormat, Query(alias="format")] = ResultFormat.MASKQ
) -> Document:
    """The result as a document that other tools read."""
    job, result = await _finished(services, job_id)
    return await to_thread.run_sync(document_of, job, result, name, limiter=services.drawing)


@router.get("/masks/{number}.png", response_class=PngResponse)
async def read_mask(
    job_id: JobId,
    services: ServicesDep,
    number: Annotated[int, Path(description="Of the object in `result.objects`, from 0.")],
) -> PngResponse:
    """One mask as a 1-bit picture of the size of the image: white inside."""
    _, result = await _finished(services, job_id)
    return PngResponse(await to_thread.run_sync(mask_png, _mask(result, number), limiter=services.drawing))


@router.get("/overlay.png", response_class=PngResponse)
async def draw_job(job_id: JobId, services: ServicesDep) -> PngResponse:
    """The image with the masks drawn over it, for people."""
    _, result = await _finished(services, job_id)
    image = await services.store.image(job_id)
    if image is None:
        raise ImageExpired("images are kept for a shorter time than results")
    png = await to_thread.run_sync(draw_overlay, image, result, services.decoders, limiter=services.drawing)
    return PngResponse(png)


async def _finished(services: Services, job_id: str) -> tuple[Job, SegmentationResult]:
    state = await services.store.read(job_id)
    if state.result is None:
        raise ResultNotReady(f"it is {state.job.status}")
    return state.job, state.result


def _mask(result: SegmentationResult, number: int) -> RleMask:
    count = len(result.objects)
    if not 0 <= number < count:
        raise MaskNotFound(f"the result has {count} object{'' if count == 1 else 's'}, numbered from 0")
    mask = result.objects[number].rle
    if mask is None:
        raise MaskNotFound(f"object {number} has a box but no mask")
    return mask
