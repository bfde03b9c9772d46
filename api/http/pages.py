"""The pages for people: HTML files in `api/pages`, with headers that keep browsers from requests to other hosts."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files

from fastapi.responses import HTMLResponse

PAGES = files("api") / "pages"
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_POLICY = (
    "default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""Content Security Policy. Scripts inside a page run only if they are those of the file, byte by byte. Styles may be
inside, because Swagger UI sets them on elements."""


class Page:
    """One page. Its placeholders are `{{name}}`; none is inside a script."""

    def __init__(self, name: str, policy: str = _POLICY) -> None:
        """`name`: of a file in `api/pages`. `policy`: its Content Security Policy, with the place `{hashes}`."""
        self._text = (PAGES / name).read_text("utf-8")
        hashes = " ".join(f"'sha256-{_digest(script)}'" for script in _SCRIPT.findall(self._text))
        self._headers = {"Content-Security-Policy": policy.format(hashes=hashes)}

    def response(self, **values: str) -> HTMLResponse:
        """The page with these values of its placeholders, which must not need escaping."""
        text = self._text
        for name, value in values.items():
            text = text.replace(f"{{{{{name}}}}}", value)
        return HTMLResponse(text, headers=self._headers)


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
