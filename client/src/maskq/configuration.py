"""Where the service is, and with which key it is called."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from maskq.errors import ConfigurationError

DEFAULT_URL = "http://127.0.0.1:8000"
URL_VARIABLE, KEY_VARIABLE = "MASKQ_URL", "MASKQ_API_KEY"


@dataclass(frozen=True)
class Configuration:
    """The address of a service."""

    url: str
    """Without a slash at its end; it may have a path."""
    api_key: str | None = field(repr=False)
    """None: requests carry no key."""

    @classmethod
    def of(cls, url: str | None = None, api_key: str | None = None) -> Configuration:
        """From arguments; what is None, from `MASKQ_URL` and `MASKQ_API_KEY`.

        Raises:
            ConfigurationError: the URL is none, or the key has characters that no key has.
        """
        key = api_key if api_key is not None else os.environ.get(KEY_VARIABLE)
        return cls(_checked_url(url or os.environ.get(URL_VARIABLE) or DEFAULT_URL), _checked_key(key))

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every request."""
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}


def _checked_url(url: str) -> str:
    text = url.strip().rstrip("/")
    try:
        parts = urlsplit(text)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or parts.query or parts.fragment or not text.isprintable() or " " in text:
        raise ConfigurationError(f"the URL of the service must look like {DEFAULT_URL}, not {url!r}")
    return text


def _checked_key(key: str | None) -> str | None:
    text = (key or "").strip()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigurationError("the API key has characters that no key has")  # the message must not show it
    return text or None
