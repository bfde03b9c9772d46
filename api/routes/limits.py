"""GET /limits: what the caller may do, for programs that would otherwise learn it from refusals."""

from __future__ import annotations

from typing import Self

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.auth.caller import Caller
from api.dependencies import AnyCaller, ServicesDep
from api.http.openapi import problems
from api.services import Services
from shared.domain.api_key import Charge, RequestKind
from shared.domain.job import MAX_METADATA_BYTES, MAX_REF_CHARS, MAX_TIMEOUT_S, MaskFormat
from shared.domain.prompt import MAX_PROMPT_CHARS
from shared.domain.tiles import MAX_TILES
from shared.settings import Settings
from shared.store.api_keys import Admission

router = APIRouter()


class RateView(BaseModel):
    """An allowance of the caller's API key."""

    per_minute: float = Field(description="Requests per minute in the long run.")
    burst: int = Field(description="Requests at once after a pause.")
    remaining: int = Field(description="Requests that may be sent at once now.")

    @classmethod
    def of(cls, admission: Admission) -> Self:
        """The view of what a request of cost 0 found."""
        per_minute = admission.key.per_minute * admission.kind.times
        return cls(per_minute=per_minute, burst=admission.quota, remaining=admission.remaining)


class Limits(BaseModel):
    """What the caller may do."""

    max_body_bytes: int = Field(description="Largest body of a request.")
    max_image_bytes: int = Field(description="Largest image file.")
    max_batch_images: int = Field(description="Most images of one POST /batches.")
    max_batch_bytes: int = Field(description="Largest body of one.")
    max_zip_bytes: int = Field(description="Largest zip of images.")
    max_image_pixels: int = Field(description="Most pixels of an image; HEIC, AVIF and WebP may have fewer.")
    image_formats: list[str] = Field(description="Formats of images that are accepted, in lower case.")
    mask_formats: list[MaskFormat] = Field(description="Values of `mask_format`.")
    max_prompt_chars: int
    max_ref_chars: int
    max_metadata_bytes: int
    max_tiles: int = Field(description="Most tiles of a picture.")
    max_timeout_s: int = Field(description="Largest `timeout` of a job, in seconds.")
    max_wait_s: float = Field(description="Largest `wait`, in seconds.")
    body_timeout_s: float = Field(description="Seconds that an upload may take.")
    url_timeout_s: float = Field(description="Seconds that fetching an `image_url` may take.")
    max_queued_jobs: int = Field(description="Jobs of all callers that may wait for one model.")
    share: int = Field(description="Weight of the caller in the fair queue and in what is limited.")
    rates: dict[RequestKind, RateView] = Field(description="By kind of request; empty if there are no API keys.")


@router.head("/limits", include_in_schema=False)
@router.get("/limits", operation_id="get_limits", responses=problems())
async def read_limits(services: ServicesDep, caller: AnyCaller) -> Limits:
    """What the caller may send, and how much of its rate is left."""
    return _limits(services.settings, caller, await _rates(services, caller))


async def _rates(services: Services, caller: Caller) -> dict[RequestKind, RateView]:
    if not caller.key_sha256:
        return {}
    found = {kind: await services.keys.admit(caller.key_sha256, Charge(kind, cost=0)) for kind in RequestKind}
    return {kind: RateView.of(admission) for kind, admission in found.items() if admission}


def _limits(settings: Settings, caller: Caller, rates: dict[RequestKind, RateView]) -> Limits:
    return Limits(
        max_body_bytes=settings.submissions.max_body_bytes,
        max_image_bytes=settings.submissions.max_image_bytes,
        max_batch_images=settings.submissions.max_batch_images,
        max_batch_bytes=settings.submissions.max_batch_bytes,
        max_zip_bytes=settings.submissions.max_zip_bytes,
        max_image_pixels=settings.images.max_image_pixels,
        image_formats=[name.lower() for name in settings.images.accepted_formats],
        mask_formats=list(MaskFormat),
        max_prompt_chars=MAX_PROMPT_CHARS,
        max_ref_chars=MAX_REF_CHARS,
        max_metadata_bytes=MAX_METADATA_BYTES,
        max_tiles=MAX_TILES,
        max_timeout_s=MAX_TIMEOUT_S,
        max_wait_s=settings.http.max_wait_s,
        body_timeout_s=settings.http.body_timeout_s,
        url_timeout_s=settings.outbound.url_timeout_s,
        max_queued_jobs=settings.submissions.max_queued_jobs,
        share=caller.share,
        rates=rates,
    )
