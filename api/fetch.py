"""Fetches an image from a URL a client gave, and from nowhere that client should not reach through us.

The address is checked where the connection is made: names are resolved here, every address is judged, and the socket is
opened to the very address that was judged, so a name that resolves differently the second time gains nothing. TLS still
verifies the name.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from typing import Self
from urllib.parse import urljoin, urlsplit

import httpcore2

from shared.errors import PayloadTooLarge, UrlRefused
from shared.settings import Settings

MAX_URL_CHARS = 2_048
_MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PORTS = frozenset({80, 443})
_SPECIAL_IPV6 = [
    ipaddress.ip_network(network)
    for network in (
        "::/96",  # IPv4-compatible
        "::ffff:0:0/96",  # IPv4-mapped
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64, local
        "2001::/32",  # Teredo
        "2002::/16",  # 6to4
        "fec0::/10",  # site-local
    )
]
"""What `is_global` lets pass although it leads, or may lead, to an address inside."""


def is_public(address: str) -> bool:
    """Whether a literal IP address is one of the open Internet."""
    ip = ipaddress.ip_address(address)
    if not ip.is_global or ip.is_multicast:
        return False
    return ip.version == 4 or not any(ip in network for network in _SPECIAL_IPV6)


class _CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to public addresses only."""

    def __init__(self) -> None:
        self._backend = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  the interface is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        address = await _resolve(host, port)
        return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)


async def _resolve(host: str, port: int) -> str:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise UrlRefused("image_url: the host name does not resolve") from None
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    if not addresses or not all(is_public(address) for address in addresses):
        raise UrlRefused("image_url: the host is not on the public Internet")
    return addresses[0]


class ImageFetcher:
    """Fetches over HTTP under the limits of the settings. One connection pool for the life of the process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        backend = None if settings.url_allow_private else _CheckedBackend()
        self._pool = httpcore2.AsyncConnectionPool(network_backend=backend, max_keepalive_connections=0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._pool.aclose()

    async def fetch(self, url: str) -> bytes:
        """Return the body behind `url`, following a few redirects, each checked like the first.

        Raises:
            UrlRefused: not allowed, not reachable, too slow, or not answered with 200.
            PayloadTooLarge: more than `max_image_bytes`.
        """
        try:
            async with asyncio.timeout(self._settings.url_timeout_s):
                for _ in range(1 + _MAX_REDIRECTS):
                    self._check_form(url)
                    body, redirect = await self._get(url)
                    if redirect is None:
                        return body
                    url = urljoin(url, redirect)
        except TimeoutError:
            raise UrlRefused(f"image_url: no image within {self._settings.url_timeout_s:g} s") from None
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, OSError):
            raise UrlRefused("image_url: the connection failed") from None
        raise UrlRefused(f"image_url: more than {_MAX_REDIRECTS} redirects")

    def _check_form(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise UrlRefused("image_url: not a URL") from None
        schemes = {"https", "http"} if self._settings.url_allow_http else {"https"}
        if parts.scheme not in schemes:
            raise UrlRefused(f"image_url: must begin with {' or '.join(sorted(schemes))}://")
        if not parts.hostname or len(url) > MAX_URL_CHARS or not url.isascii() or not url.isprintable() or " " in url:
            raise UrlRefused("image_url: not a URL we take; it must name a host, in printable ASCII, and be short")
        if parts.username is not None or parts.password is not None:
            raise UrlRefused("image_url: must not hold a user name or password")
        if port is not None and port not in _PORTS and not self._settings.url_allow_private:
            raise UrlRefused("image_url: only ports 80 and 443 are allowed")

    async def _get(self, url: str) -> tuple[bytes, str | None]:
        """One request. Returns the body, or where the server redirects to."""
        parts = urlsplit(url)
        headers = [("Host", parts.netloc), ("User-Agent", "maskq"), ("Accept", "image/*")]
        async with self._pool.stream("GET", url, headers=headers) as response:
            sent = {name.lower(): value.decode("latin-1") for name, value in response.headers}
            if response.status in _REDIRECTS and b"location" in sent:
                return b"", sent[b"location"]
            if response.status != 200:
                raise UrlRefused(f"image_url: the server there answered {response.status}")
            return await self._read(response), None

    async def _read(self, response: httpcore2.Response) -> bytes:
        limit = self._settings.max_image_bytes
        body = bytearray()
        async for chunk in response.aiter_stream():
            body += chunk
            if len(body) > limit:
                raise PayloadTooLarge(f"the image at image_url is larger than {limit:,} bytes")
        return bytes(body)
