"""The body of a request about several jobs: `{"jobs": ["ID", ...]}`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from api.submission.json_object import parse_json_object, read_body
from shared.errors import InvalidField, MalformedRequest

_MAX_BYTES = 65_536
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
    if len(body) > _MAX_BYTES:
        raise MalformedRequest(f"the body has more than {_MAX_BYTES:,} bytes")
    try:
        selection = JobSelection.model_validate(parse_json_object(body, ("jobs",)))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[:_MAX_REASONS]
        raise InvalidField("; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found)) from None
    ids = list(dict.fromkeys(selection.jobs))
    if len(ids) > max_jobs:
        raise InvalidField(f"jobs: the request names {len(ids):,} jobs; at most {max_jobs:,} are allowed")
    return ids
