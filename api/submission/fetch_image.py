"""Fetches an image from a URL a client gave, under the rules of `shared.outbound`."""

from __future__ import annotations

import asyncio
from typing import Self
from urllib.parse import urljoin

import httpcore2

from shared.errors import PayloadTooLarge
from shared.outbound import FAILURES, Outbound
from shared.settings import Settings

_MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class ImageFetcher:
    """Fetches over HTTP under the limits of the settings. Use as a context."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._outbound = Outbound(settings.outbound, "image_url")

    async def __aenter__(self) -> Self:
        await self._outbound.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._outbound.__aexit__(*exc_info)

    async def fetch(self, url: str) -> bytes:
        """Return the body behind `url`, following a few redirects, each checked like the first.

        Raises:
            UrlRefused: not allowed, not reachable, too slow, or not answered with 200.
            PayloadTooLarge: more than `max_image_bytes`.
        """
        try:
            async with asyncio.timeout(self._settings.outbound.url_timeout_s):
                for _ in range(1 + _MAX_REDIRECTS):
                    body, redirect = await self._get(url)
                    if redirect is None:
                        return body
                    url = urljoin(url, redirect)
        except TimeoutError:
            raise self._outbound.refused(f"no image within {self._settings.outbound.url_timeout_s:g} s") from None
        except FAILURES:
            raise self._outbound.refused("the connection failed") from None
        raise self._outbound.refused(f"more than {_MAX_REDIRECTS} redirects")

    async def _get(self, url: str) -> tuple[bytes, str | None]:
        """One request. Returns the body, or where the server redirects to."""
        async with self._outbound.request("GET", url, {"Accept": "image/*"}) as response:
            sent = {name.lower(): value.decode("latin-1") for name, value in response.headers}
            if response.status in _REDIRECTS and b"location" in sent:
                return b"", sent[b"location"]
            if response.status != 200:
                raise self._outbound.refused(f"the server there answered {response.status}")
            return await self._read(response), None

    async def _read(self, response: httpcore2.Response) -> bytes:
        limit = self._settings.submissions.max_image_bytes
        body = bytearray()
        async for chunk in response.aiter_stream():
            body += chunk
            if len(body) > limit:
                raise PayloadTooLarge(f"the image at image_url is larger than {limit:,} bytes")
        return bytes(body)
