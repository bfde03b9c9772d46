"""Every error as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from redis.exceptions import OutOfMemoryError, RedisError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Match

from api.http.security_headers import DEFAULT_HEADERS
from shared.domain.views import Problem
from shared.errors import (
    InvalidField,
    KeyRequired,
    MalformedRequest,
    MaskqError,
    QueueFull,
    ScopeMissing,
    StoreFull,
    StoreUnavailable,
)
from shared.store.server_faults import reason_of

MEDIA_TYPE = "application/problem+json"
_CHALLENGES: dict[type[MaskqError], str] = {
    KeyRequired: 'Bearer realm="maskq"',
    ScopeMissing: 'Bearer realm="maskq", error="insufficient_scope"',
}
"""RFC 6750, section 3."""

logger = logging.getLogger(__name__)


def add_problem_handlers(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Make `app`, which has these routes, answer every error with a problem document. Unexpected errors reveal no
    details."""
    app.state.routes = routes
    app.add_exception_handler(MaskqError, _on_maskq_error)
    app.add_exception_handler(RedisError, _on_redis_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_unexpected)


def problem_response(request: Request, error: MaskqError) -> JSONResponse:
    """The answer to an error of maskq."""
    return _response(request, error.type, error.title, error.status, error.detail, _headers(error))


def raw_problem(error: MaskqError, more_headers: Mapping[str, str]) -> bytes:
    """The same as raw bytes, for a request whose headers are incomplete."""
    problem = Problem(type=error.type, title=error.title, status=error.status, detail=error.detail, instance="")
    body = json.dumps(problem.model_dump()).encode()
    status = HTTPStatus(error.status)
    headers = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(body)), "Connection": "close"}
    headers |= {**_headers(error), **DEFAULT_HEADERS, **more_headers}
    lines = [f"{name}: {value}" for name, value in headers.items()]
    head = [f"HTTP/1.1 {status.value} {status.phrase}", *lines]
    return "\r\n".join([*head, "", ""]).encode() + body


def _headers(error: MaskqError) -> dict[str, str]:
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if challenge := _CHALLENGES.get(type(error)):
        headers["WWW-Authenticate"] = challenge
    if isinstance(error, QueueFull):
        headers["RateLimit-Policy"] = f'"queue";q={error.limit}'
        headers["RateLimit"] = f'"queue";r=0;t={error.retry_after_s}'
    return headers


def _response(
    request: Request, code: str, title: str, status: int, detail: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    problem = Problem(type=code, title=title, status=status, detail=detail, instance=request.url.path)
    return JSONResponse(problem.model_dump(), status, headers, MEDIA_TYPE)


async def _on_maskq_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, MaskqError)
    if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        cause = f" ({type(error.__cause__).__name__})" if error.__cause__ else ""
        logger.warning("%s %s: %s%s", request.method, request.url.path, error.type, cause)
    elif error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("%s %s: %s", request.method, request.url.path, error.type, exc_info=error)
    return problem_response(request, error)


async def _on_redis_error(request: Request, error: Exception) -> JSONResponse:
    logger.warning("the store failed: %s: %s", reason_of(error), type(error).__name__)  # so it is logged once a minute
    if isinstance(error, OutOfMemoryError):
        return problem_response(request, StoreFull("the store's memory is full; nothing was changed; try again later"))
    return problem_response(request, StoreUnavailable("the change was made in full or not at all; try again"))


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    reasons = "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors())
    return problem_response(request, InvalidField(reasons))


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    title = HTTPStatus(error.status_code).phrase
    response = _response(request, title.lower().replace(" ", "_"), title, error.status_code, str(error.detail))
    response.headers.update(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["Allow"] = ", ".join(sorted(_allowed_methods(request)))
    return response


def _allowed_methods(request: Request) -> set[str]:
    """The methods of all routes with this path. Starlette names only those of the first one. A path of its own, such as
    /jobs/coco, has not those of /jobs/{job_id}."""
    matching = [route for route in request.app.state.routes if route.matches(request.scope)[0] is not Match.NONE]
    own = [route for route in matching if "{" not in getattr(route, "path", "{")]
    return {method for route in own or matching for method in getattr(route, "methods", None) or ()}


async def _on_disconnect(request: Request, error: Exception) -> JSONResponse:
    """The client disconnected while it was sending. Nobody will read this answer, and it is no error of ours."""
    return problem_response(request, MalformedRequest("the body ended too early"))


async def _on_unexpected(request: Request, error: Exception) -> JSONResponse:
    return problem_response(request, MaskqError("the error was logged; try again later"))
