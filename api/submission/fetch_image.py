"""Fetches an image from the URL a client sent, under the rules of `shared.outbound`."""

from __future__ import annotations

import asyncio
from typing import Self
from urllib.parse import urljoin

import httpcore2

from api.submission.content_coding import CodingFault, Decoder
from api.submission.image_url import to_ascii, why_not_fetched
from shared.errors import PayloadTooLarge
from shared.outbound import FAILURES, Outbound
from shared.settings import OutboundSettings

_MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ASKED = {"Accept": "image/*, */*;q=0.5", "Accept-Encoding": "identity"}


class ImageFetcher:
    """Fetches images over HTTP, with limits. Use as a context."""

    def __init__(self, settings: OutboundSettings, max_bytes: int) -> None:
        self._timeout_s = settings.url_timeout_s
        self._max_bytes = max_bytes
        self._outbound = Outbound(settings, "image_url")

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
                    url = to_ascii(urljoin(url, to_ascii(redirect)))
        except TimeoutError:
            raise self._outbound.refused(f"no image within {self._timeout_s:g} s") from None
        except FAILURES:
            raise self._outbound.refused("the connection failed") from None
        except CodingFault as fault:
            raise self._outbound.refused(str(fault)) from None
        except ValueError:
            raise self._outbound.refused("the server there redirected to something that is not a URL") from None
        raise self._outbound.refused(f"more than {_MAX_REDIRECTS} redirects")

    async def _get(self, url: str) -> tuple[bytes, str | None]:
        """One request. Returns the body, or the target of a redirect."""
        if reason := why_not_fetched(url):
            raise self._outbound.refused(f"{reason}; it must begin with https://")
        async with self._outbound.request("GET", url, _ASKED) as response:
            headers = {name.lower(): _text(value) for name, value in response.headers}
            if response.status in _REDIRECTS and b"location" in headers:
                return b"", headers[b"location"]
            if response.status != 200:
                raise self._outbound.refused(f"the server there answered {response.status}")
            return await self._read(response, Decoder(headers.get(b"content-encoding", ""))), None

    async def _read(self, response: httpcore2.Response, decoder: Decoder) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_stream():
            for decoded in decoder.decode(chunk):
                body += decoded
                if len(body) > self._max_bytes:
                    raise PayloadTooLarge(f"the image at image_url is larger than {self._max_bytes:,} bytes")
        decoder.end()
        return bytes(body)


def _text(header: bytes) -> str:
    """A header is UTF-8, unless that is impossible."""
    try:
        return header.decode()
    except UnicodeDecodeError:
        return header.decode("latin-1")
