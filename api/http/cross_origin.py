"""CORS: lets the pages of the origins in MASKQ_CORS_ORIGINS send requests and read the answers."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

EXPOSED_HEADERS = (
    *("Allow", "Content-Disposition", "ETag", "Link", "Location", "Preference-Applied", "RateLimit"),
    *("RateLimit-Policy", "Retry-After", "WWW-Authenticate", "X-Request-ID"),
)
"""Headers of answers that clients read. Browsers show pages only these and the few that are always shown."""
_MAX_AGE_S = 600
"""How long a browser need not ask again. Changes of the setting take effect after that."""


class AllowedOrigins(frozenset[str]):
    """The origins that are allowed."""

    @classmethod
    def of(cls, setting: str) -> AllowedOrigins:
        """`setting`: as MASKQ_CORS_ORIGINS."""
        return cls(setting.split(",") if setting else ())

    def headers(self, origin: str | None) -> dict[str, str]:
        """What an answer without a middleware needs.

        Args:
            origin: of the request; None if its headers have not been read. Then a single allowed origin is assumed.
        """
        if not self:
            return {}
        allowed = origin if origin is not None or len(self) > 1 else next(iter(self))
        if allowed not in self:
            return {"Vary": "Origin"}
        exposed = ", ".join(EXPOSED_HEADERS)
        return {"Access-Control-Allow-Origin": str(allowed), "Access-Control-Expose-Headers": exposed, "Vary": "Origin"}


class CrossOrigin(CORSMiddleware):
    """ASGI middleware around the application, so that every error has the headers too: without them a page sees only
    that something failed.

    Requests without an allowed origin pass unchanged, preflights too: they end as any request with `OPTIONS` does.
    Credentials of the browser are not allowed: nothing here uses them, and API keys are headers that a page sets.
    """

    def __init__(self, app: ASGIApp, origins: AllowedOrigins) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=["*"],  # those that a route lacks get 405, which the page can read
            allow_headers=["*"],
            allow_private_network=True,
            expose_headers=EXPOSED_HEADERS,
            max_age=_MAX_AGE_S,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight, or add the headers to the answer of the application."""
        origins = Headers(scope=scope).getlist("origin") if scope["type"] == "http" else []
        if len(origins) == 1 and origins[0] in self.allow_origins:
            await super().__call__(scope, receive, send)
        else:
            await self._pass_on(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_vary(message: Message) -> None:
            if message["type"] == "http.response.start" and self.allow_origins:
                MutableHeaders(scope=message).add_vary_header("Origin")
            await send(message)

        await self.app(scope, receive, send_with_vary)
