"""Every error as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException

from shared.errors import InvalidField, MaskqError, PayloadTooLarge, QueueFull, StoreUnavailable
from shared.wire import Problem

_HEADERS = {
    PayloadTooLarge.status: {"Connection": "close"},  # or the client would go on sending, and we reading
    QueueFull.status: {"Retry-After": "5"},
    StoreUnavailable.status: {"Retry-After": "2"},
}

logger = logging.getLogger(__name__)


def add_problem_handlers(app: FastAPI) -> None:
    """Make `app` answer every error with a problem document, and unforeseen ones without saying what happened."""
    app.add_exception_handler(MaskqError, _on_maskq_error)
    app.add_exception_handler(RedisError, _on_redis_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_unforeseen)


def problem_response(request: Request, error: MaskqError) -> JSONResponse:
    """The answer for one of our own errors."""
    return _response(request, error.type, error.title, error.status, error.detail)


def _response(request: Request, code: str, title: str, status: int, detail: str) -> JSONResponse:
    problem = Problem(type=code, title=title, status=status, detail=detail, instance=request.url.path)
    return JSONResponse(problem.model_dump(), status, _HEADERS.get(status), "application/problem+json")


async def _on_maskq_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, MaskqError)
    if error.status >= 500:
        logger.error("%s %s: %s", request.method, request.url.path, error.type, exc_info=error)
    return problem_response(request, error)


async def _on_redis_error(request: Request, error: Exception) -> JSONResponse:
    logger.error("the store failed: %s", type(error).__name__)
    return problem_response(request, StoreUnavailable("nothing was changed, or it will be finished; try again"))


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    wrong = "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors())
    return problem_response(request, InvalidField(wrong))


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    title = HTTPStatus(error.status_code).phrase
    response = _response(request, title.lower().replace(" ", "_"), title, error.status_code, str(error.detail))
    response.headers.update(error.headers or {})
    return response


async def _on_unforeseen(request: Request, error: Exception) -> JSONResponse:
    return problem_response(request, MaskqError("the error was logged; try again later"))
