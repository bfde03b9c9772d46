"""Fetches an image from the URL a client sent, under the rules of `shared.outbound`."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Self
from urllib.parse import urljoin

import httpcore2

from api.http.request_memory import RequestMemory
from api.shares import Shares
from api.submission.content_coding import CodingFault, Decoder
from api.submission.image_url import to_ascii, why_not_fetched
from shared.errors import PayloadTooLarge
from shared.outbound import FAILURES, Outbound, failure_of
from shared.settings import COPIES, OutboundSettings, SubmissionSettings

_MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SMALL_CHUNKS = 256
_CHUNK_BYTES = 512
"""A body may come in this many chunks, and in one more per so many bytes. Each chunk takes 0.05 ms, so a body of single
bytes could take minutes."""
_ASKED = {"Accept": "image/*, */*;q=0.5", "Accept-Encoding": "identity"}


class ImageFetcher:
    """Fetches images over HTTP, with limits. Use as a context."""

    def __init__(self, settings: OutboundSettings, limits: SubmissionSettings, ca_file: Path | None = None) -> None:
        """`ca_file` is as in `Outbound`."""
        self._timeout_s = settings.url_timeout_s
        self._max_bytes = limits.max_image_bytes
        self._fetches = Shares(limits.max_fetches, "images being fetched")
        self._outbound = Outbound(settings, "image_url", ca_file)

    async def __aenter__(self) -> Self:
        await self._outbound.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._outbound.__aexit__(*exc_info)

    async def fetch(self, url: str, memory: RequestMemory) -> bytes:
        """Return the body behind `url`, whose bytes are taken from `memory`. Follows up to three redirects and checks
        each URL like the first.

        Raises:
            UrlRefused: the URL is not allowed, not reachable, too slow, or answered without status 200.
            PayloadTooLarge: the body has more than `max_image_bytes`.
            ServerBusy, ShareExceeded: there is no memory for it, or too many images are being fetched.
        """
        with self._fetches.holding(memory.client, share=memory.share):
            return await self._fetch(url, memory)

    async def _fetch(self, url: str, memory: RequestMemory) -> bytes:
        try:
            async with asyncio.timeout(self._timeout_s):
                for _ in range(1 + _MAX_REDIRECTS):
                    body, redirect = await self._get(url, memory)
                    if redirect is None:
                        return body
                    url = to_ascii(urljoin(url, to_ascii(redirect)))
        except TimeoutError:
            raise self._outbound.refused(f"no image within {self._timeout_s:g} s") from None
        except FAILURES as error:
            raise self._outbound.refused(failure_of(error)) from None
        except CodingFault as fault:
            raise self._outbound.refused(str(fault)) from None
        except ValueError:
            raise self._outbound.refused("the server there redirected to something that is not a URL") from None
        raise self._outbound.refused(f"more than {_MAX_REDIRECTS} redirects")

    async def _get(self, url: str, memory: RequestMemory) -> tuple[bytes, str | None]:
        """One request. Returns the body, or the target of a redirect."""
        if reason := why_not_fetched(url):
            raise self._outbound.refused(f"{reason}; it must begin with https://")
        async with self._outbound.request("GET", url, _ASKED, client=memory.client) as response:
            headers = {name.lower(): _text(value) for name, value in response.headers}
            if response.status in _REDIRECTS and b"location" in headers:
                return b"", headers[b"location"]
            if response.status != 200:
                raise self._outbound.refused(f"the server there answered {response.status}")
            decoder = Decoder(headers.get(b"content-encoding", ""))
            length = headers.get(b"content-length", "")
            is_plain = b"content-encoding" not in headers and length.isdecimal()
            return await self._read(response, decoder, int(length) if is_plain else None, memory), None

    async def _read(
        self, response: httpcore2.Response, decoder: Decoder, declared_bytes: int | None, memory: RequestMemory
    ) -> bytes:
        """The body. Its memory is taken at once if its length is declared, else as it arrives."""
        self._take(memory, declared_bytes or 0)
        body, chunks = io.BytesIO(), 0
        async for chunk in response.aiter_stream():
            chunks += 1
            if chunks > _SMALL_CHUNKS + body.tell() // _CHUNK_BYTES:
                raise self._outbound.refused("the server there sends it in too many pieces")
            for decoded in decoder.decode(chunk):
                if declared_bytes is None:
                    self._take(memory, len(decoded))
                self._require_small(body.tell() + len(decoded))
                body.write(decoded)
                await asyncio.sleep(0)  # one answer may bring much to decode, and many answers may arrive at once
        decoder.end()
        return body.getvalue()  # without a copy

    def _take(self, memory: RequestMemory, size: int) -> None:
        self._require_small(size)
        memory.take(COPIES * size)

    def _require_small(self, size: int) -> None:
        if size > self._max_bytes:
            raise PayloadTooLarge(f"the image at image_url is larger than {self._max_bytes:,} bytes")


def _text(header: bytes) -> str:
    """A header is UTF-8, unless that is impossible."""
    try:
        return header.decode()
    except UnicodeDecodeError:
        return header.decode("latin-1")
