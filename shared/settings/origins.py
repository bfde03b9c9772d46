"""The origins of web pages in a setting, as browsers write them in the header `Origin`."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_ORIGIN = re.compile(r"https?://([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(:[1-9]\d{0,4})?", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin_list(value: str) -> str:
    """`HTTPS://App.example:443, http://localhost:3000` -> `https://app.example,http://localhost:3000`.

    Raises:
        ValueError: a part is no origin.
    """
    return ",".join(dict.fromkeys(map(_origin, value.split(",")))) if value else ""


def _origin(text: str) -> str:
    origin = text.strip().lower()
    if not _is_origin(origin):
        raise ValueError(
            "must be origins like https://app.example.com or http://localhost:3000, comma-separated: http or https, a "
            "host, if needed a port, and nothing behind it, not even a slash; `*` and `null` are not allowed"
        )
    parts = urlsplit(origin)
    return origin.removesuffix(f":{parts.port}") if parts.port == _DEFAULT_PORTS[parts.scheme] else origin


def _is_origin(text: str) -> bool:
    try:
        return bool(_ORIGIN.fullmatch(text)) and urlsplit(text).port != 0  # raises if the port is too large
    except ValueError:
        return False
