"""Fetches the images of tasks."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit

import httpx2

from maskq.images import ImageInput
from maskq.labelstudio.addresses import Addresses
from maskq.labelstudio.credentials import Credentials
from maskq.labelstudio.problems import NoPrediction
from maskq.labelstudio.protocol import Task

MAX_IMAGE_BYTES = 64 * 2**20
_MAX_REDIRECTS = 5
_TIMEOUT = httpx2.Timeout(30.0, connect=5.0)


class Images:
    """Gets the image of a task as the client wants it: its bytes, or a URL that the service fetches."""

    def __init__(self, addresses: Addresses, token: str, max_bytes: int = MAX_IMAGE_BYTES) -> None:
        self._addresses = addresses
        self._max_bytes = max_bytes
        self._http = httpx2.AsyncClient(timeout=_TIMEOUT, follow_redirects=False)
        self._credentials = Credentials(self._http, addresses.label_studio, token)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def fetch(self, value: object, task: Task) -> ImageInput:
        """The image for what stands in a task.

        Raises:
            NoPrediction: it cannot be had, or may not.
        """
        if not isinstance(value, str):
            raise NoPrediction("the image of the task is no text; lists of images are not supported")
        text = value.strip()
        if text[:5].lower() == "data:":
            return text
        try:
            return await self._follow(self._addresses.url_of(text, task.id))
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise NoPrediction(f"{_shown(text)}: {error or type(error).__name__}") from error

    async def _follow(self, url: str) -> bytes | str:
        """Every address on the way is checked. The token is sent as long as no other host had a say."""
        is_trusted = True
        for _ in range(_MAX_REDIRECTS + 1):
            if not self._addresses.is_fetched_here(url):
                return url
            is_trusted = is_trusted and self._addresses.has_token(url)
            found = await self._get(url, await self._credentials.header() if is_trusted else {})
            if isinstance(found, bytes):
                return found
            url = urljoin(url, found)
        raise NoPrediction(f"{_shown(url)}: more than {_MAX_REDIRECTS} redirects")

    async def _get(self, url: str, headers: Mapping[str, str]) -> bytes | str:
        """The content, or where it is instead."""
        async with self._http.stream("GET", url, headers=dict(headers)) as response:
            if response.has_redirect_location:
                return response.headers["location"]
            if response.status_code != 200:
                raise NoPrediction(f"{_shown(url)}: answered with {response.status_code} {response.reason_phrase}")
            if response.headers.get("content-type", "").startswith("text/html"):
                raise NoPrediction(f"{_shown(url)}: is a page and no image; is the token of Label Studio right?")
            return await self._body(url, response)

    async def _body(self, url: str, response: httpx2.Response) -> bytes:
        content = bytearray()
        async for part in response.aiter_bytes():
            content += part
            if len(content) > self._max_bytes:
                raise NoPrediction(f"{_shown(url)}: is larger than {self._max_bytes // 2**20} MiB")
        return bytes(content)


def _shown(url: str) -> str:
    """The URL for a log: without what is behind `?`, because that may be a signature."""
    parts = urlsplit(url)
    return parts._replace(query="", fragment="", netloc=parts.netloc.rpartition("@")[2]).geturl()[:200]
