"""Refuses query parameters that a route does not have: a misspelt one would otherwise be ignored."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from api.http.unknown_names import about_unknown
from shared.errors import InvalidField

_MAX_REASONS = 10
_KEY = "the header Authorization"
_FOREIGN = {
    **dict.fromkeys(("fmt", "type", "output", "output_format", "as"), "format"),
    **dict.fromkeys(("timeout", "wait_s", "block", "poll"), "wait"),
    **dict.fromkeys(("page", "after", "before", "offset", "next", "next_cursor", "starting_after"), "cursor"),
    **dict.fromkeys(("count", "size", "per_page", "page_size", "max", "n", "top"), "limit"),
}
"""Parameters by the names that other services give them."""
_KEYS = dict.fromkeys(("key", "api_key", "apikey", "token", "access_token"), _KEY)

_IN_BODY = "send all fields in the body, in a form or as JSON"


async def refuse_unknown_query(request: Request) -> None:
    """Check the names of the query parameters against those of the route.

    Raises:
        InvalidField: one is unknown. `detail` names it, and the nearest known one.
    """
    route = request.scope["route"]
    assert isinstance(route, APIRoute)
    if not request.query_params or _has_fields_in_query(request, route):
        return
    described = dict(_names(route.dependant))
    known = [name for name, is_described in described.items() if is_described]
    foreign = _KEYS | {name: meant for name, meant in _FOREIGN.items() if meant in known}
    unknown = [name for name in dict.fromkeys(request.query_params.keys()) if name not in described]
    if unknown:
        reasons = [about_unknown(name, "query parameter", known, foreign) for name in unknown[:_MAX_REASONS]]
        has_body = "requestBody" in (route.openapi_extra or {})
        raise InvalidField("; ".join([*reasons, *([_IN_BODY] if has_body else [])]))


def _has_fields_in_query(request: Request, route: APIRoute) -> bool:
    """A zip as a body has no room for fields. They are checked as those of a form; other types of bodies are refused
    by the route, which says so."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return route.path == "/batches" and kind not in ("multipart/form-data", "application/json")


def _names(dependant: Dependant) -> Iterator[tuple[str, bool]]:
    """The query parameters of a route and of all that it depends on, and whether the OpenAPI document has them."""
    yield from ((each.alias, getattr(each.field_info, "include_in_schema", True)) for each in dependant.query_params)
    for each in dependant.dependencies:
        yield from _names(each)
