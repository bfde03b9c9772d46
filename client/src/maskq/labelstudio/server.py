"""The HTTP side of the machine learning backend."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from maskq.configuration import Configuration
from maskq.errors import MaskqError
from maskq.labelstudio.backend import Backend, BackendOptions
from maskq.labelstudio.basic_auth import CHALLENGE, BasicAuth
from maskq.labelstudio.problems import BadRequest
from maskq.labelstudio.protocol import STATUS, PredictRequest, SetupRequest, webhook_answer

MAX_BODY_BYTES = 32 * 2**20
_Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(options: BackendOptions, service: Configuration, basic_auth: BasicAuth | None = None) -> Starlette:
    """The application.

    Raises:
        ConfigurationError: a URL cannot be used.
    """
    _ = options.addresses  # wrong before it starts, not at the first request
    endpoints = _Endpoints(options, service)
    routes = [
        *(Route(path, _guarded(endpoints.health, basic_auth)) for path in ("/", "/health")),
        Route("/metrics", _guarded(endpoints.metrics, basic_auth)),
        Route("/versions", _guarded(endpoints.versions, basic_auth)),
        Route("/setup", _guarded(endpoints.setup, basic_auth), methods=["POST"]),
        Route("/predict", _guarded(endpoints.predict, basic_auth), methods=["POST"]),
        Route("/webhook", _guarded(endpoints.webhook, basic_auth), methods=["POST"]),
    ]
    return Starlette(routes=routes, lifespan=endpoints.lifespan)


class _Endpoints:
    def __init__(self, options: BackendOptions, service: Configuration) -> None:
        self._options = options
        self._service = service
        self._backend: Backend

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self._backend = Backend(self._options, self._service)
        try:
            yield
        finally:
            await self._backend.close()

    async def health(self, _: Request) -> Response:
        return JSONResponse(STATUS)

    async def metrics(self, _: Request) -> Response:
        return JSONResponse({})

    async def versions(self, _: Request) -> Response:
        return JSONResponse({"versions": await self._backend.versions()})

    async def setup(self, request: Request) -> Response:
        return JSONResponse(await self._backend.setup(SetupRequest.of(await _json(request))))

    async def predict(self, request: Request) -> Response:
        return JSONResponse({"results": await self._backend.predict(PredictRequest.of(await _json(request)))})

    async def webhook(self, request: Request) -> Response:
        status, answer = webhook_answer(await _json(request))
        return JSONResponse(answer, status)


def _guarded(endpoint: _Endpoint, basic_auth: BasicAuth | None) -> _Endpoint:
    """The endpoint for those who may call it, with errors as JSON."""

    async def answer(request: Request) -> Response:
        if basic_auth and not basic_auth.accepts(request.headers.get("authorization", "")):
            return JSONResponse({"error": "a user and a password are needed"}, 401, headers=CHALLENGE)
        try:
            return await endpoint(request)
        except BadRequest as error:
            return JSONResponse({"error": str(error)}, 400)
        except MaskqError as error:
            return JSONResponse({"error": str(error)}, 503)
        except HTTPException as error:
            return JSONResponse({"error": error.detail}, error.status_code)

    return answer


async def _json(request: Request) -> Any:
    """The body. A page in a browser cannot send this media type to another site without being asked first."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "the body must be application/json")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, f"the body is larger than {MAX_BODY_BYTES // 2**20} MiB")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is no JSON: {error}") from error
