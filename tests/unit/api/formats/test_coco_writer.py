"""The pieces of one document of many jobs are JSON together, whatever the jobs found."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest

from api.formats.coco_writer import CocoWriter
from shared.domain.job import JobFailure, JobStatus
from testing.factories import job_request, segmentation_result, segmented_object, stored_job


def _document(*counts: int) -> dict[str, Any]:
    """Of jobs that found so many objects."""
    writer = CocoWriter()
    pieces = [writer.begin()]
    for count in counts:
        job = stored_job(status=JobStatus.SUCCEEDED, created_at_ms=count * 86_400_000)
        pieces.append(writer.add(job, segmentation_result(*[segmented_object()] * count)))
    document: dict[str, Any] = json.loads(b"".join([*pieces, writer.end()]))
    return document


@pytest.mark.parametrize("counts", [(), *product([0, 1, 2], repeat=3)])
def test_numbers_go_on_over_all_jobs(counts: tuple[int, ...]) -> None:
    document = _document(*counts)
    assert [image["id"] for image in document["images"]] == list(range(1, len(counts) + 1))
    assert [each["id"] for each in document["annotations"]] == list(range(1, sum(counts) + 1))
    owners = [each["image_id"] for each in document["annotations"]]
    assert owners == [number for number, count in enumerate(counts, 1) for _ in range(count)]
    assert [each["id"] for each in document["categories"]] == ([1] if sum(counts) else [])


def test_the_date_is_that_of_the_newest_job() -> None:
    assert _document(1, 2, 0)["info"]["date_created"] == "1970-01-03T00:00:00+00:00"


@pytest.mark.parametrize(("prompts", "expected"), [(["a", "a"], "a"), (["a", "b", "a"], "answers to 2 prompts")])
def test_the_description_is_the_prompt_if_there_is_one(prompts: list[str], expected: str) -> None:
    writer = CocoWriter()
    pieces = [writer.begin()]
    for prompt in prompts:
        job = stored_job(status=JobStatus.SUCCEEDED, request=job_request(prompt=prompt))
        pieces.append(writer.add(job, segmentation_result()))
    assert json.loads(b"".join([*pieces, writer.end()]))["info"]["description"] == expected


@pytest.mark.parametrize("status", JobStatus)
def test_a_job_without_a_result_is_named_with_what_is_known(status: JobStatus) -> None:
    error = JobFailure(type="worker_lost", detail='é " 😀')
    request = job_request(ref="r", file_name="a.png")
    writer = CocoWriter()
    writer.skip(stored_job(id="7", status=status, request=request, error=error if status == "failed" else None))
    writer.skip_gone("8", "expired")
    named = {"job_id": "7", "reason": status, "file_name": "a.png", "ref": "r"}
    failed = {"error": error.model_dump()} if status == "failed" else {}
    document = json.loads(writer.begin() + writer.end())
    assert document["info"]["skipped"] == [{**named, **failed}, {"job_id": "8", "reason": "expired"}]
