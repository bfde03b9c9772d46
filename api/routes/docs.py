"""GET /docs: the OpenAPI document in Swagger UI, whose files this service has itself, so no internet is needed."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException

from api.http.pages import PAGES, Page
from api.http.public_address import prefix

router = APIRouter(include_in_schema=False)

_VERSION = "swagger-ui-5.35.0"
"""Folder in `api/pages`: files of the package swagger-ui-dist, unchanged, with their licences. It is part of the URLs,
so browsers may keep the files forever. To upgrade, replace the folder and change this name."""
_MEDIA_TYPES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
_FILES = {name: (PAGES / _VERSION / name).read_bytes() for name in _MEDIA_TYPES}
_FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
_PAGE = Page("docs.html")


@router.head("/docs")
@router.get("/docs")
async def docs() -> Response:
    """The page with all operations."""
    return _PAGE.response(assets=f"assets/{_VERSION}")


@router.head("/redoc")
@router.get("/redoc")
async def redoc(request: Request) -> Response:
    """Redirects: `/docs` shows all that ReDoc would."""
    return RedirectResponse(f"{prefix(request)}/docs", 308)


@router.head(f"/assets/{_VERSION}/{{name}}")
@router.get(f"/assets/{_VERSION}/{{name}}")
async def asset(name: str) -> Response:
    """A file that the page loads."""
    if name not in _FILES:
        raise HTTPException(404)
    return Response(_FILES[name], headers=_FOREVER, media_type=_MEDIA_TYPES[name])
