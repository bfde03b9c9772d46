"""GET /: a page for people, with the files that it loads; a short index for programs."""

from __future__ import annotations

import hashlib
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from api.dependencies import ServicesDep
from api.http.headers import is_known, weak_entity_tag
from api.http.pages import PAGES, Page
from api.http.public_address import base_url, prefix

router = APIRouter()

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src blob:; "
    "connect-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Content Security Policy: no script or style inside the page, nothing of other hosts, and no HTML made of texts."""
_PAGE = Page("index.html", _POLICY)
_MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".jpg": "image/jpeg"}
_FILES = {
    file.name: file.read_bytes() for file in (PAGES / "app").iterdir() if f".{file.name.split('.')[-1]}" in _MEDIA_TYPES
}
_VERSION = hashlib.sha256(b"\0".join(name.encode() + _FILES[name] for name in sorted(_FILES))).hexdigest()[:16]
"""Of all files together. It is part of their URLs, also of those that modules import, so browsers may keep them."""
_FOREVER = "public, max-age=31536000, immutable"


@router.head("/", include_in_schema=False)
@router.get(
    "/",
    operation_id="get_index",
    response_class=Response,
    responses={200: {"content": {"text/html": {}, "application/json": {}}}},
)
async def index(request: Request, services: ServicesDep) -> Response:
    """The page for browsers, which accept HTML; JSON for all other clients."""
    if "text/html" in request.headers.get("accept", ""):
        return _PAGE.response(prefix=prefix(request), assets=f"assets/page-{_VERSION}")
    base = base_url(request)
    paths = {"segment": "segment/", "models": "models", "docs": "docs", "openapi": "openapi.json", "ready": "readyz"}
    return JSONResponse({"name": "maskq", "model": services.model.name, **{k: base + v for k, v in paths.items()}})


@router.head("/assets/page-{version}/{name}", include_in_schema=False)
@router.get("/assets/page-{version}/{name}", include_in_schema=False)
async def asset(version: str, name: str, if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """A file of the page. During an upgrade a page of another version may ask; its browser must not keep this one."""
    if name not in _FILES:
        raise HTTPException(404)
    cache = _FOREVER if version == _VERSION else "no-cache"
    headers = {"ETag": weak_entity_tag(_VERSION), "Cache-Control": cache}
    if is_known(if_none_match, _VERSION):
        return Response(status_code=304, headers=headers)
    return Response(_FILES[name], headers=headers, media_type=_MEDIA_TYPES[f".{name.split('.')[-1]}"])
