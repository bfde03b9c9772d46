"""Requests, jobs, results and outcomes for tests and benchmarks. Every value has a default and can be overridden."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from shared.domain.job import Job, JobFailure, JobRequest, JobStatus, MaskFormat, new_job_id
from shared.domain.paligemma import SEPARATOR, write_tokens
from shared.domain.result import ImageSize, RleMask, SegmentationResult, SegmentedObject
from shared.store.leases import Outcome
from shared.store.new_job import NewJob


def job_request(**values: Any) -> JobRequest:
    """A request for a cat as RLE, by the demo model."""
    return JobRequest(**{"model_id": "demo", "prompt": "segment cat", "mask_formats": (MaskFormat.RLE,), **values})


def new_job(**values: Any) -> NewJob:
    """A job of the owner `me` with a new id, not submitted yet. Its image is not a real one."""
    owner = values.get("owner", "me")
    defaults = {"id": new_job_id(), "request": job_request(), "image": b"image", "owner": owner, "client": owner}
    return NewJob(**{**defaults, **values})


def stored_job(**values: Any) -> Job:
    """A job of the owner `me` with a new id, accepted at 0 ms and in processing."""
    accepted = {"id": new_job_id(), "status": JobStatus.PROCESSING, "owner": "me", "created_at_ms": 0}
    return Job(**{**accepted, "request": job_request(), **values})


def segmented_object(**values: Any) -> SegmentedObject:
    """A cat that fills an image of 64 x 48 pixels."""
    mask = RleMask(size=(48, 64), counts="0PP3")
    cat = {"label": "cat", "score": 0.9, "box": (0, 0, 64, 48), "area": 64 * 48, "mask": mask}
    return SegmentedObject(**{**cat, **values})


def segmentation_result(
    *objects: SegmentedObject, width: int = 64, height: int = 48, **values: Any
) -> SegmentationResult:
    """A result with these objects; with none, the model found nothing."""
    size = ImageSize(width=width, height=height)
    answer = {"image": size, "objects": list(objects), "skipped": [], "truncated": False, "raw_text": ""}
    return SegmentationResult(**{**answer, **values})


def success(*objects: SegmentedObject, **values: Any) -> Outcome:
    """The outcome of a job whose result has these objects; other values are those of `Outcome`."""
    return Outcome(**{"result": segmentation_result(*objects), **values})


def failure(**values: Any) -> Outcome:
    """The outcome of a job that failed in the model, with the detail `why`."""
    return Outcome(failure=JobFailure(**{"type": "inference_failed", "detail": "why", **values}))


def written_answer(objects: Iterable[tuple[Sequence[int], Sequence[int], str]]) -> str:
    """An answer of the model from its objects: the box y0, x0, y1, x1 (0..1023), the codes and the label of each."""
    return SEPARATOR.join(f"{write_tokens(box_yxyx, codes)} {label}" for box_yxyx, codes, label in objects)
