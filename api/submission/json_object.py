"""Reads JSON objects, strictly."""

from __future__ import annotations

import json

from fastapi import Request

from shared.errors import MalformedRequest


async def read_json_object(request: Request) -> dict[str, object]:
    """The body of a request as a JSON object.

    Raises:
        MalformedRequest: the body is not JSON, not an object, or has a name twice in one object.
    """
    try:
        fields = json.loads(await request.body(), object_pairs_hook=with_unique_names)
    except (ValueError, RecursionError):
        raise MalformedRequest("the body is not JSON") from None
    if not isinstance(fields, dict):
        raise MalformedRequest("the body must be a JSON object")
    return fields


def with_unique_names(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object. A name given twice is refused: some programs take the first value, others the last."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise MalformedRequest("a name is given twice in a JSON object")
    return fields
