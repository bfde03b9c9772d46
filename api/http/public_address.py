"""Which URL this service has for its clients, also behind a proxy with TLS or a path. All links begin with it.

`PublicAddress` writes the URL into the scope of every request: scheme, host and `root_path`. So Starlette's redirects,
FastAPI's OpenAPI document and `base_url` agree. Nothing else reads the host of a request; `named_hosts` is what it was.
"""

from __future__ import annotations

import re
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

_HOST = re.compile(r"([\w.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?", re.IGNORECASE | re.ASCII)
_PREFIX = re.compile(r"(/(?!\.+(/|$))[\w.~-]+)+/?", re.ASCII)
_FORWARDED = b"x-forwarded-"
_BY_PROXIES = (_FORWARDED, b"forwarded")


class _Address(NamedTuple):
    """What of a request's URL a proxy changes. `None`: the request has it right."""

    scheme: str | None
    host: str | None
    prefix: str
    """Path of the service, "" or like `/maskq`."""


def base_url(request: Request) -> str:
    """The URL of this service for the client of a request, with a slash at its end."""
    return str(request.base_url)


def named_hosts(scope: Scope) -> list[str]:
    """The hosts that a request named, before they were replaced: in `Host`, and in the headers of a trusted proxy."""
    return cast(list[str], scope["state"]["named_hosts"])


def host_name(host: str) -> str:
    """The name in `NAME` or `NAME:PORT`, in lower case and without a dot at its end; "" if it has another form."""
    match = _HOST.fullmatch(host)
    return match[1].lower().strip("[]").removesuffix(".") if match else ""


def prefix(request: Request) -> str:
    """The path of that URL, without a slash at its end: "" or like `/maskq`."""
    return cast(str, request.scope.get("root_path", ""))


def came_through_a_proxy(request: Request) -> bool:
    """Whether a proxy passed this request on, trusted or not. Clients can only pretend that one did."""
    return getattr(request.state, "came_through_a_proxy", False)


class PublicAddress:
    """ASGI middleware around the whole application.

    With a public URL, that is the address of every request. Without one, the address is that of the request, and
    `X-Forwarded-Proto`, `-Host` and `-Prefix` of trusted proxies change it. Their `X-Forwarded-For` sets the client's
    address. A path counts as it is and with the prefix in front of it: some proxies remove the prefix, others do not.
    """

    def __init__(self, app: ASGIApp, public_url: str, trusted_proxies: str) -> None:
        """`public_url`: "", or as MASKQ_PUBLIC_URL. `trusted_proxies`: as FORWARDED_ALLOW_IPS."""
        self._app = app
        url = urlsplit(public_url)
        self._public = _Address(url.scheme, url.netloc, url.path) if public_url else None
        self._proxied = ProxyHeadersMiddleware(self._call, trusted_proxies)  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            by_proxy = any(name.startswith(_BY_PROXIES) for name, _ in scope["headers"])
            scope.setdefault("state", {})["came_through_a_proxy"] = by_proxy
        if scope["type"] == "http" and not self._is_trusted(scope):
            scope["headers"] = [each for each in scope["headers"] if not each[0].startswith(_FORWARDED)]
        await self._proxied(scope, receive, send)  # type: ignore[arg-type]

    def is_proxy(self, address: str) -> bool:
        """Whether a trusted proxy has this address."""
        return address in self._proxied.trusted_hosts

    def _is_trusted(self, scope: Scope) -> bool:
        client = scope.get("client")
        return self.is_proxy(client[0] if client else "")

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            forwarded = _forwarded(headers)
            hosts = [*headers.getlist("host"), *([forwarded.host] if forwarded.host else [])]
            scope.setdefault("state", {})["named_hosts"] = hosts
            _rewrite(scope, self._public or forwarded)
        await self._app(scope, receive, send)


def _forwarded(headers: Headers) -> _Address:
    """The address in the headers of a trusted proxy. uvicorn has read the scheme. A value that is no host or no path is
    ignored; of several, the last one counts, because the nearest proxy wrote it."""
    host = _last(headers, "x-forwarded-host")
    path = _last(headers, "x-forwarded-prefix")
    return _Address(
        scheme=None,
        host=host if _HOST.fullmatch(host) else None,
        prefix=path.rstrip("/") if _PREFIX.fullmatch(path) else "",
    )


def _last(headers: Headers, name: str) -> str:
    return ",".join(headers.getlist(name)).rpartition(",")[2].strip()


def _rewrite(scope: Scope, address: _Address) -> None:
    if address.scheme:
        scope["scheme"] = address.scheme
    if address.host:
        MutableHeaders(scope=scope)["host"] = address.host
    path: str = scope["path"]
    is_whole = path == address.prefix or path.startswith(f"{address.prefix}/")
    scope["root_path"] = address.prefix
    scope["path"] = path if is_whole else address.prefix + path
