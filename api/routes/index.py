"""GET /: a page for people, a short index for programs."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from api.dependencies import ServicesDep

router = APIRouter()

_PAGE = (files("api") / "pages" / "index.html").read_text("utf-8")


@router.get("/", response_class=Response, responses={200: {"content": {"text/html": {}, "application/json": {}}}})
async def index(request: Request, services: ServicesDep) -> Response:
    """The page for browsers, which accept HTML; JSON for all other clients."""
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(_PAGE)
    base = str(request.base_url)
    paths = {"segment": "segment/", "models": "models", "docs": "docs", "openapi": "openapi.json", "ready": "readyz"}
    return JSONResponse({"name": "maskq", "model": services.model.name, **{k: base + v for k, v in paths.items()}})
