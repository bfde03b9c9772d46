"""Examples of answers, for the OpenAPI document. The models of the answers make them."""

from __future__ import annotations

from typing import Any

from shared.domain.job import ANONYMOUS, Job, JobRequest, JobStatus, MaskFormat
from shared.domain.result import ImageSize, RleMask, SegmentationResult, SegmentedObject
from shared.domain.views import JobPage, JobView, ModelView

_URL = "https://maskq.example.com"
_AT_MS = 1_796_000_000_000
_DAY_MS = 86_400_000

_OBJECT = SegmentedObject(
    label="red circle",
    score=0.97,
    raw_score=0.91,
    box=(20, 10, 40, 34),
    area=480,
    mask=RleMask(size=(48, 64), counts="Zn0h0h00000000000000000000000000000000000000fS1"),
)
_RESULT = SegmentationResult(
    image=ImageSize(width=64, height=48),
    objects=[_OBJECT],
    skipped=[],
    truncated=False,
    raw_text="<loc0213><loc0320><loc0725><loc0640> red circle",
    calibrated=True,
)
_QUEUED = Job(
    id="01a20e31-bb82-7b62-9b6a-7bb795e56a5f",
    status=JobStatus.QUEUED,
    request=JobRequest(
        model_id="demo",
        prompt="segment red circle",
        mask_formats=(MaskFormat.RLE,),
        ref="frame-17",
        metadata='{"camera": 3}',
        file_name="photo.jpg",
    ),
    created_at_ms=_AT_MS,
    owner=ANONYMOUS,
)
_ENDED: dict[str, Any] = {
    "started_at_ms": _AT_MS + 120,
    "completed_at_ms": _AT_MS + 910,
    "expires_at_ms": _AT_MS + 910 + _DAY_MS,
    "attempt": 1,
}
_SUCCEEDED = _QUEUED.model_copy(update={**_ENDED, "status": JobStatus.SUCCEEDED, "model_s": 0.7, "batch_size": 4})
_CANCELED = _QUEUED.model_copy(update={**_ENDED, "status": JobStatus.CANCELED})

_QUEUED_VIEW = JobView.of(_QUEUED, 0, None, _URL)
_SUCCEEDED_VIEW = JobView.of(_SUCCEEDED, None, _RESULT, _URL)
_CANCELED_VIEW = JobView.of(_CANCELED, None, None, _URL)
_PAGE = JobPage(jobs=[JobView.of(_SUCCEEDED, None, None, _URL)], next_cursor=None)
_MODEL = ModelView(id="demo", about="The demo checkpoint.", resolution=224, live_workers=1)


def _named(**examples: JobView | JobPage | SegmentationResult) -> dict[str, Any]:
    return {name: {"value": each.model_dump(mode="json")} for name, each in examples.items()}


ANSWERS: dict[tuple[str, str], dict[str, Any]] = {
    ("submit_job", "202"): _named(queued=_QUEUED_VIEW),
    ("submit_job", "200"): _named(succeeded=_SUCCEEDED_VIEW),
    ("get_job", "200"): _named(succeeded=_SUCCEEDED_VIEW, queued=_QUEUED_VIEW),
    ("cancel_job", "202"): _named(canceled=_CANCELED_VIEW),
    ("list_jobs", "200"): _named(page=_PAGE),
    ("get_result", "200"): _named(maskq=_RESULT),
    ("list_models", "200"): {"demo": {"value": [_MODEL.model_dump(mode="json")]}},
}
"""The `examples` of an answer in JSON, by operation id and status."""
