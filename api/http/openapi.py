"""The OpenAPI document, made to say what is true: which problems each route answers with, and who needs a key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

from api.http.problems import MEDIA_TYPE
from shared.domain.job import MAX_TIMEOUT_S
from shared.domain.prompt import MAX_PROMPT_CHARS
from shared.domain.views import Problem
from shared.errors import KeyRequired, MaskqError, RateLimited, ScopeMissing, StoreUnavailable
from shared.settings import Settings

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


def describe_truly(app: FastAPI, settings: Settings) -> None:
    """Replace the document that FastAPI makes by one that knows our problems, says whether keys are asked for, and has
    the limits of this deployment: `x-maximum: NAME` becomes `maximum` with the setting of that name."""
    make_document = app.openapi
    has_keys = settings.http.require_keys is not False

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
            _fill_in_limits(schema, settings)
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
        known = responses.setdefault(str(status), response)
        known["content"][MEDIA_TYPE]["examples"] |= response["content"][MEDIA_TYPE]["examples"]


def _limit(settings: Settings, name: str) -> float:
    constants = {"max_timeout_s": MAX_TIMEOUT_S, "max_prompt_chars": MAX_PROMPT_CHARS}
    return {"max_wait_s": settings.http.max_wait_s, **constants}[name]


def _fill_in_limits(node: Any, settings: Settings) -> None:
    if isinstance(node, list):
        for each in node:
            _fill_in_limits(each, settings)
    elif isinstance(node, dict):
        for name in [name for name in node if name.startswith("x-max")]:
            node[name.removeprefix("x-")] = _limit(settings, node.pop(name))
        for each in node.values():
            _fill_in_limits(each, settings)
