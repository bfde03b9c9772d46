"""The pages for people: HTML files in `api/pages`, with headers that keep browsers from requests to other hosts."""

from __future__ import annotations

from importlib.resources import files

from fastapi.responses import HTMLResponse

PAGES = files("api") / "pages"
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'self'; form-action 'self'"
)
"""Content Security Policy. `unsafe-inline`, because the scripts and styles of the pages are inside the pages."""


class Page:
    """One page. Its placeholders are `{{name}}`."""

    def __init__(self, name: str) -> None:
        """`name`: of a file in `api/pages`."""
        self._text = (PAGES / name).read_text("utf-8")

    def response(self, **values: str) -> HTMLResponse:
        """The page with these values of its placeholders, which must not need escaping."""
        text = self._text
        for name, value in values.items():
            text = text.replace(f"{{{{{name}}}}}", value)
        return HTMLResponse(text, headers={"Content-Security-Policy": _POLICY})
