"""The body of a request about several jobs: `{"jobs": ["ID", ...]}`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from api.http.unknown_names import about_unknown
from api.submission.json_object import parse_json_object, read_body
from shared.errors import InvalidField, MalformedRequest

_BYTES_PER_JOB = 65
"""Its id with quotes, a comma and an indentation."""
_REST_BYTES = 65_536
"""For ids that are given twice, and all else."""
_FOREIGN = dict.fromkeys(("job", "ids", "id", "job_id", "job_ids"), "jobs")
"""The field by the names that other services give it."""
_MAX_REASONS = 3
_JOB_ID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"


class JobSelection(BaseModel):
    """Some jobs."""

    model_config = ConfigDict(extra="forbid", strict=True)

    jobs: list[Annotated[str, StringConstraints(pattern=_JOB_ID)]] = Field(
        min_length=1, description="Ids of jobs, at most as many as a batch may have images."
    )


def selection_schema() -> dict[str, Any]:
    """The body of such a request, for the OpenAPI document."""
    schema = JobSelection.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def read_selection(request: Request, max_jobs: int) -> list[str]:
    """The ids in the body of a request, each once, in their order.

    Raises:
        MalformedRequest: the body is no JSON object, or too long.
        InvalidField: it has no ids, too many, or something else.
    """
    body = await read_body(request)
    max_bytes = _REST_BYTES + _BYTES_PER_JOB * max_jobs
    if len(body) > max_bytes:
        raise MalformedRequest(f"the body has more than {max_bytes:,} bytes; at most {max_jobs:,} jobs are allowed")
    selection = _selection(parse_json_object(body, ("jobs",), max_bytes))
    ids = list(dict.fromkeys(selection.jobs))
    if len(ids) > max_jobs:
        raise InvalidField(f"jobs: the request names {len(ids):,} jobs; at most {max_jobs:,} are allowed")
    return ids


def _selection(fields: dict[str, object]) -> JobSelection:
    known = list(JobSelection.model_fields)
    if unknown := [name for name in fields if name not in known]:
        raise InvalidField("; ".join(about_unknown(name, "field", known, _FOREIGN) for name in unknown[:_MAX_REASONS]))
    try:
        return JobSelection.model_validate(fields)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[:_MAX_REASONS]
        raise InvalidField("; ".join(map(_reason, found))) from None


def _reason(error: ErrorDetails) -> str:
    reason = "must be the id of a job" if error["type"] == "string_pattern_mismatch" else error["msg"]
    return f"{'.'.join(map(str, error['loc']))}: {reason}"
