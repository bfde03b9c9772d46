"""Keeps the pages of other sites out of a service without API keys, which would trust everyone who can connect.

A browser on this machine can connect, and any page may make it send requests. Two rules end that. A page that was
loaded from a name of its own which then leads here (DNS rebinding) names that name as the host. A page of another site
is named by `Sec-Fetch-Site` or `Origin`, which pages cannot change. Programs other than browsers send neither.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.cross_origin import AllowedOrigins
from api.http.problems import problem_response
from api.http.public_address import host_name, named_hosts
from shared.errors import CrossSiteRequest, MalformedRequest, MaskqError, MisdirectedRequest

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""They change nothing, and browsers do not show their answers to other sites."""


class KnownHosts:
    """The hosts by which clients may address this service."""

    def __init__(self, public_url: str, more: str, *, is_local: bool) -> None:
        """`more`: as MASKQ_ALLOWED_HOSTS. `is_local`: only this machine can connect."""
        public = urlsplit(public_url).hostname
        names = {each.strip().lower() for each in more.split(",")} | {"localhost"} | ({public} if public else set())
        self._names = names - {""}
        self._is_local = is_local

    def __contains__(self, host: str) -> bool:
        """Whether `HOST` or `HOST:PORT` is known. The port does not matter."""
        name = host_name(host)
        return "*" in self._names or name in self._names or self._is_known_address(name)

    def _is_known_address(self, name: str) -> bool:
        """Whether it is an IP address that can lead here. No name server can make it lead elsewhere."""
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self._is_local


class SameOrigin:
    """ASGI middleware. Refuses requests to unknown hosts, and changes that pages of other sites ask for."""

    def __init__(self, app: ASGIApp, hosts: KnownHosts, public_url: str, allowed: AllowedOrigins) -> None:
        self._app = app
        self._hosts = hosts
        self._allowed = allowed
        self._public = [_without_default_port(urlsplit(public_url).netloc)] if public_url else []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (error := self._error(scope)):
            await problem_response(Request(scope), error)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _error(self, scope: Scope) -> MaskqError | None:
        headers, named = Headers(scope=scope), named_hosts(scope)
        if len(headers.getlist("host")) > 1:
            return MalformedRequest("a request has one Host")
        if not all(host in self._hosts for host in named):
            return MisdirectedRequest("this host is not known here; the operator can add it to MASKQ_ALLOWED_HOSTS")
        if headers.getlist("origin") and self._allowed.issuperset(headers.getlist("origin")):
            return None
        own = {*self._public, *map(_without_default_port, named)}
        if scope["method"] not in _SAFE_METHODS and _is_cross_site(headers, own):
            return CrossSiteRequest("without API keys, pages of other sites may change nothing here")
        return None


def _is_cross_site(headers: Headers, own: set[str]) -> bool:
    """Whether a page sent this that does not come from one of `own`, by the algorithm of Go's
    `http.CrossOriginProtection`."""
    sites = headers.getlist("sec-fetch-site")
    if sites and all(site == "same-origin" for site in sites):
        return False
    if any(site != "none" for site in sites):
        return True
    origins = [origin.partition("://")[2] for origin in headers.getlist("origin")]  # `null` has no host
    return any(not origin or _without_default_port(origin) not in own for origin in origins)


def _without_default_port(netloc: str) -> str:
    """Host and port in lower case. The scheme that clients use may be unknown here, so both default ports go."""
    return netloc.lower().removesuffix(":80").removesuffix(":443")
