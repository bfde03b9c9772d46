"""The OpenAPI document, made to say what is true: which problems each route answers with, and who needs a key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

from api.problems import MEDIA_TYPE
from shared.errors import KeyRequired, MaskqError, RateLimited, ScopeMissing, StoreUnavailable
from shared.wire import Problem

_PROBLEM = {"$ref": "#/components/schemas/Problem"}
_FASTAPI_S_OWN = ("HTTPValidationError", "ValidationError")


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


def describe_truly(app: FastAPI, *, has_keys: bool) -> None:
    """Replace the document that FastAPI makes by one that knows our problems, and says whether keys are asked for."""
    make_document = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = make_document()
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            schemas["Problem"] = Problem.model_json_schema()
            for name in _FASTAPI_S_OWN:
                schemas.pop(name, None)
            for operation in _operations(schema):
                _correct(operation, has_keys)
            if not has_keys:
                schema["components"].pop("securitySchemes", None)
        return app.openapi_schema or schema

    app.openapi = document  # type: ignore[method-assign]


def _operations(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in schema["paths"].values():
        yield from path.values()


def _correct(operation: dict[str, Any], has_keys: bool) -> None:
    responses = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]  # FastAPI's own form, which we never send
    if "security" not in operation:
        return
    added: list[type[MaskqError]] = [StoreUnavailable]
    if has_keys:
        added += [KeyRequired, ScopeMissing, RateLimited]
    else:
        del operation["security"]
    for status, response in problems(*added).items():
        responses.setdefault(str(status), response)
