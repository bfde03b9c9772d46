"""HTTP requests to URLs from clients, without access to internal servers (protection against SSRF).

The form of a URL is checked before its host is resolved. Addresses are checked when the connection is made: the name is
resolved here, every address is checked, and the socket is opened to a checked address. So a name that resolves
differently the second time (DNS rebinding) is refused. TLS still verifies the name.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit

import httpcore2

from shared.bounded_stream import HEADER_BUDGET, BoundedStream, HeaderBudget
from shared.errors import UrlRefused
from shared.resolver import Resolver
from shared.settings import OutboundSettings
from shared.tls import certificate_fault

MAX_URL_CHARS = 8_192
"""Signed URLs of storage, with the token of a session, have some 4,000."""
FAILURES = (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, OSError)
"""Errors of `Outbound.request` that the network or the server causes. `failure_of` says which."""
_PORTS = frozenset({80, 443})
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_SPECIAL = [
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",  # Azure's own services, seen from inside a virtual machine
        "192.0.0.0/24",  # protocol assignments, among them metadata services
        "192.88.99.0/24",  # 6to4 relays
        "2001::/23",  # protocol assignments, among them Teredo
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
]
"""Networks that `is_global` accepts in some versions of Python, although they may lead to internal addresses."""
_CLIENT: ContextVar[str] = ContextVar("client", default="")
"""For whom the present task makes a request. httpcore tells whoever connects nothing about the request."""


def is_public(address: str) -> bool:
    """Whether a literal IP address is public. For IPv6: global unicast, which excludes NAT64, IPv4-mapped,
    IPv4-compatible and site-local addresses."""
    ip = ipaddress.ip_address(address)
    if not ip.is_global or ip.is_multicast or (ip.version == 6 and ip not in _GLOBAL_UNICAST):
        return False
    return not any(ip in network for network in _SPECIAL)


def failure_of(error: BaseException) -> str:
    """Which of `FAILURES` it was, in words that are safe to show to clients."""
    return certificate_fault(error) or "the connection failed"


class Outbound:
    """HTTP client for the URLs in one field of requests. Connections are not reused. Use as an async context."""

    def __init__(self, settings: OutboundSettings, field: str, ca_file: Path | None = None) -> None:
        """`field` is named in error messages. The CAs in `ca_file` are trusted beside those of the system."""
        self._settings = settings
        self._field = field
        self._resolver = Resolver()
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=_context(ca_file),
            network_backend=_PinnedBackend(self._resolve),
            max_connections=None,
            max_keepalive_connections=0,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._pool.aclose()
        self._resolver.close()

    def refused(self, why: str) -> UrlRefused:
        """An error that names the field."""
        return UrlRefused(f"{self._field}: {why}")

    async def check(self, url: str, client: str = "") -> None:
        """Check a URL and the present addresses of its host, without connecting. `client` is whom limits count.

        Raises:
            UrlRefused: it is not allowed, or its host does not resolve. The message gives the reason.
        """
        host = str(self.check_form(url).hostname)
        if self._settings.url_allow_private:
            return
        _CLIENT.set(client)
        try:
            async with asyncio.timeout(self._settings.url_timeout_s):
                await self._resolve(host)
        except TimeoutError:
            raise self.refused("the host name does not resolve") from None

    def check_form(self, url: str) -> SplitResult:
        """Check the text of a URL, and split it into its parts.

        Raises:
            UrlRefused: it is not allowed. The message gives the reason.
        """
        if len(url) > MAX_URL_CHARS or not url.isascii() or not url.isprintable() or " " in url:
            raise self.refused(f"must be printable ASCII without spaces, at most {MAX_URL_CHARS} characters")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise self.refused("not a URL") from None
        schemes = ["http", "https"] if self._settings.url_allow_http else ["https"]
        if parts.scheme not in schemes:
            sent = f", not {parts.scheme[:20]}:" if parts.scheme else ""
            raise self.refused(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}{sent}")
        if "@" in parts.netloc:
            raise self.refused("must not contain a user name or password")
        if not _is_host(parts):
            raise self.refused("must name a host, or an address in its usual form")
        if port not in (None, *_PORTS) and not self._settings.url_allow_private:
            raise self.refused("only ports 80 and 443 are allowed")
        return parts

    @asynccontextmanager
    async def request(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes = b"", client: str = ""
    ) -> AsyncIterator[httpcore2.Response]:
        """Make one request to a URL that passes `check_form`. Redirects are not followed. The caller may read the
        body of the response. `client` is whom limits count.

        Raises:
            UrlRefused: it is not allowed, or its host has an address that is not public.
            FAILURES: see the constant.
        """
        parts = self.check_form(url)
        sent = {"Host": parts.netloc, "User-Agent": self._settings.user_agent, **headers}
        if content:
            sent["Content-Length"] = str(len(content))
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        _CLIENT.set(client)
        where = httpcore2.URL(scheme=parts.scheme, host=str(parts.hostname), port=parts.port, target=target)
        budget = HeaderBudget()
        HEADER_BUDGET.set(budget)
        async with self._pool.stream(method, where, headers=list(sent.items()), content=content or None) as response:
            budget.left_bytes = None
            yield response

    async def _resolve(self, host: str) -> list[str]:
        """All addresses of a host.

        Raises:
            UrlRefused: there is none, or one of them is not public and must be.
        """
        try:
            addresses = await self._resolver.addresses(host, _CLIENT.get())
        except (OSError, UnicodeError):
            raise self.refused("the host name does not resolve") from None
        if self._settings.url_allow_private:
            return addresses
        addresses = list(dict.fromkeys(address.partition("%")[0] for address in addresses))
        if not addresses or not all(is_public(address) for address in addresses):
            raise self.refused("the host is not on the public Internet")
        return addresses


def _context(ca_file: Path | None) -> ssl.SSLContext | None:
    """None is httpcore's own, which it makes when it first needs one."""
    if ca_file is None:
        return None
    context = httpcore2.default_ssl_context()
    context.load_verify_locations(ca_file)
    return context


def _is_host(parts: SplitResult) -> bool:
    """Whether a URL has a host name, or an address in its usual form: not `127.1`, `0x7f.1` or `2130706433`."""
    host = parts.hostname or ""
    is_bracketed = "[" in parts.netloc
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        is_name = not is_bracketed and _HOST.fullmatch(host) is not None
        return is_name and _NUMBER.fullmatch(host.rpartition(".")[2]) is None
    return is_bracketed == (ip.version == 6) and "%" not in host


class _PinnedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to checked addresses, never to names."""

    def __init__(self, resolve: Callable[[str], Awaitable[list[str]]]) -> None:
        self._resolve = resolve
        self._backend = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  the interface is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        stream = await self._connect(await self._resolve(host), port, timeout, local_address, socket_options)
        return BoundedStream(stream, HEADER_BUDGET.get())

    async def _connect(self, addresses: list[str], *options: Any) -> httpcore2.AsyncNetworkStream:
        *others, last = addresses
        for address in others:
            try:
                return await self._backend.connect_tcp(address, *options)
            except httpcore2.NetworkError:
                continue  # for example, IPv6 on a host without it
        return await self._backend.connect_tcp(last, *options)
