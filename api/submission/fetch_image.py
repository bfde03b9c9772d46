"""Fetches an image from the URL a client sent, under the rules of `shared.outbound`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Self
from urllib.parse import urljoin

import httpcore2

from shared.errors import PayloadTooLarge
from shared.outbound import FAILURES, Outbound, failure_of
from shared.settings import OutboundSettings

_MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class ImageFetcher:
    """Fetches images over HTTP, with limits. Use as a context."""

    def __init__(self, settings: OutboundSettings, max_bytes: int, ca_file: Path | None = None) -> None:
        """`ca_file` is as in `Outbound`."""
        self._timeout_s = settings.url_timeout_s
        self._max_bytes = max_bytes
        self._outbound = Outbound(settings, "image_url", ca_file)

    async def __aenter__(self) -> Self:
        await self._outbound.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._outbound.__aexit__(*exc_info)

    async def fetch(self, url: str) -> bytes:
        """Return the body behind `url`. Follows up to three redirects and checks each URL like the first.

        Raises:
            UrlRefused: the URL is not allowed, not reachable, too slow, or answered without status 200.
            PayloadTooLarge: the body has more than `max_bytes`.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                for _ in range(1 + _MAX_REDIRECTS):
                    body, redirect = await self._get(url)
                    if redirect is None:
                        return body
                    url = urljoin(url, redirect)
        except TimeoutError:
            raise self._outbound.refused(f"no image within {self._timeout_s:g} s") from None
        except FAILURES as error:
            raise self._outbound.refused(failure_of(error)) from None
        raise self._outbound.refused(f"more than {_MAX_REDIRECTS} redirects")

    async def _get(self, url: str) -> tuple[bytes, str | None]:
        """One request. Returns the body, or the target of a redirect."""
        async with self._outbound.request("GET", url, {"Accept": "image/*"}) as response:
            headers = {name.lower(): value.decode("latin-1") for name, value in response.headers}
            if response.status in _REDIRECTS and b"location" in headers:
                return b"", headers[b"location"]
            if response.status != 200:
                raise self._outbound.refused(f"the server there answered {response.status}")
            return await self._read(response), None

    async def _read(self, response: httpcore2.Response) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_stream():
            body += chunk
            if len(body) > self._max_bytes:
                raise PayloadTooLarge(f"the image at image_url is larger than {self._max_bytes:,} bytes")
        return bytes(body)
