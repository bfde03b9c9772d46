"""The OpenAPI document: which problems each route answers with, where API keys are required, and the limits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI

from api.http.examples import ANSWERS
from api.http.nullable import set_never_null, with_type_lists
from api.http.problems import MEDIA_TYPE
from shared.domain.views import Problem
from shared.errors import (
    CrossSiteRequest,
    KeyRequired,
    MaskqError,
    MisdirectedRequest,
    RateLimited,
    ScopeMissing,
    StoreUnavailable,
)

_PROBLEM = {"$ref": "#/components/schemas/Problem"}
_UNUSED = ("HTTPValidationError", "ValidationError")
"""FastAPI's own schemas for errors. maskq never sends them."""


def problems(*errors: type[MaskqError]) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may raise these: by status, with an example of each type."""
    by_status: dict[int, list[type[MaskqError]]] = defaultdict(list)
    for error in errors:
        by_status[error.status].append(error)
    return {status: _response(group) for status, group in by_status.items()}


def _response(group: list[type[MaskqError]]) -> dict[str, Any]:
    examples = {error.type: {"summary": error.__doc__, "value": _example(error)} for error in group}
    return {
        "description": "; or: ".join(error.title for error in group),
        "content": {MEDIA_TYPE: {"schema": _PROBLEM, "examples": examples}},
    }


def _example(error: type[MaskqError]) -> dict[str, Any]:
    example = Problem(type=error.type, title=error.title, status=error.status, detail="What is wrong.", instance="/")
    return example.model_dump()


def complete_document(
    app: FastAPI, has_keys: bool, schemas: Mapping[str, Any], query_maxima: Mapping[str, float]
) -> None:
    """Add to FastAPI's document what FastAPI cannot know.

    Args:
        has_keys: whether requests need an API key.
        schemas: more schemas for `components.schemas`, by name.
        query_maxima: the largest values of query parameters that the settings decide, by name.
    """
    make_document = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = make_document()
            _set_schemas(made.setdefault("components", {}).setdefault("schemas", {}), schemas)
            for operation in _operations(made):
                _set_problems(operation, has_keys)
                _set_parameters(operation, query_maxima)
                _set_pictures(operation)
                _set_examples(operation)
            if not has_keys:
                made["components"].pop("securitySchemes", None)
            app.openapi_schema = with_type_lists(made)
        return app.openapi_schema or {}

    app.openapi = document  # type: ignore[method-assign]


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        yield from path.values()


def _set_schemas(own: dict[str, Any], more: Mapping[str, Any]) -> None:
    own["Problem"] = Problem.model_json_schema()
    for name in _UNUSED:
        own.pop(name, None)
    for name, schema in more.items():
        own.setdefault(name, schema)


def _set_parameters(operation: dict[str, Any], query_maxima: Mapping[str, float]) -> None:
    for parameter in operation.get("parameters", []):
        set_never_null(parameter)
        if parameter["in"] == "query" and parameter["name"] in query_maxima:
            parameter["schema"]["maximum"] = query_maxima[parameter["name"]]


def _set_pictures(operation: dict[str, Any]) -> None:
    """Declare pictures as bytes. FastAPI declares every answer that is not JSON as text, and generated clients would
    decode it."""
    for response in operation["responses"].values():
        for media_type, content in response.get("content", {}).items():
            if media_type.startswith("image/"):
                content["schema"] = {"type": "string", "format": "binary"}


def _set_examples(operation: dict[str, Any]) -> None:
    for status, response in operation["responses"].items():
        if examples := ANSWERS.get((operation["operationId"], status)):
            response["content"]["application/json"]["examples"] = examples


def _set_problems(operation: dict[str, Any], has_keys: bool) -> None:
    responses = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
    if "security" not in operation:
        return
    added: list[type[MaskqError]] = [StoreUnavailable]
    if has_keys:
        added += [KeyRequired, ScopeMissing, RateLimited]
    else:
        added += [CrossSiteRequest, MisdirectedRequest]
        del operation["security"]
    for status, response in problems(*added).items():
        known = responses.setdefault(str(status), response)
        known["content"][MEDIA_TYPE]["examples"] |= response["content"][MEDIA_TYPE]["examples"]
