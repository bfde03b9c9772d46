"""One COCO document of many jobs, written piece by piece: only the images and the labels are kept until its end."""

from __future__ import annotations

from typing import Any

from api.formats.coco import CocoDataset, job_ref
from api.formats.encoder import ENCODER
from api.formats.labels import rest_of
from shared.domain.job import Job
from shared.domain.result import SegmentationResult


class CocoWriter:
    """Writes the annotations first. What is known only after the last job follows: images, categories, and in
    `info.skipped` the jobs that have no result. Nothing is missing without being named there."""

    def __init__(self) -> None:
        self._data = CocoDataset()
        self._skipped: list[dict[str, Any]] = []

    def begin(self) -> bytes:
        """The first piece."""
        return b'{"annotations":['

    def add(self, job: Job, result: SegmentationResult) -> bytes:
        """The piece of one result. An image says also whether objects may be missing in it."""
        comma = "," if self._data.annotation_count else ""
        annotations = self._data.add(job, result)
        self._data.images[-1] |= rest_of(result)
        text = ",".join(map(ENCODER.encode, annotations))
        return f"{comma}{text}".encode() if text else b""

    def skip(self, job: Job) -> None:
        """Name a job that has not succeeded. Its state is the reason; a failed one says why."""
        file_name = {"file_name": job.request.file_name} if job.request.file_name else {}
        error = {"error": job.error.model_dump()} if job.error else {}
        self._skipped.append({"job_id": job.id, "reason": job.status, **file_name, **job_ref(job), **error})

    def skip_gone(self, job_id: str, reason: str) -> None:
        """Name a job that the service does not have."""
        self._skipped.append({"job_id": job_id, "reason": reason})

    def end(self) -> bytes:
        """The last piece."""
        data = self._data
        info = {**data.info, "skipped": self._skipped}
        rest = {"images": data.images, "categories": data.categories, "licenses": [], "info": info}
        return f"],{ENCODER.encode(rest)[1:]}".encode()
