"""GET /: a page for people, a short index for programs."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from api.dependencies import ServicesDep
from api.http.pages import Page
from api.http.public_address import base_url, prefix

router = APIRouter()

_PAGE = Page("index.html")


@router.get(
    "/",
    operation_id="get_index",
    response_class=Response,
    responses={200: {"content": {"text/html": {}, "application/json": {}}}},
)
async def index(request: Request, services: ServicesDep) -> Response:
    """The page for browsers, which accept HTML; JSON for all other clients."""
    if "text/html" in request.headers.get("accept", ""):
        return _PAGE.response(prefix=prefix(request))
    base = base_url(request)
    paths = {"segment": "segment/", "models": "models", "docs": "docs", "openapi": "openapi.json", "ready": "readyz"}
    return JSONResponse({"name": "maskq", "model": services.model.name, **{k: base + v for k, v in paths.items()}})
