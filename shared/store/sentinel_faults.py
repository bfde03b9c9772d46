"""Which server failed, if REDIS_URL names sentinels; and what only the operator can change about a sentinel."""

from __future__ import annotations

from dataclasses import dataclass

from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError, RedisError

from shared.settings import RedisSettings
from shared.settings.redis_url import Endpoint, RedisAddress
from shared.store.connection import primary_of
from shared.store.sentinels import NoPrimary, UnknownService
from shared.tls import causes


@dataclass(frozen=True)
class FailedServer:
    """The server behind an error, and the error with which it failed."""

    endpoint: Endpoint | None
    error: RedisError
    is_sentinel: bool

    @classmethod
    def of(cls, error: RedisError, settings: RedisSettings) -> FailedServer:
        """The one server of REDIS_URL; or the sentinel or the primary that failed."""
        address = RedisAddress.parse(settings.redis_url)
        if not address.sentinel:
            return cls(address.endpoints[0], error, is_sentinel=False)
        found = no_primary(error)
        if not found:
            return cls(primary_of(settings).named, error, is_sentinel=False)
        cause = found.__cause__
        return cls(found.endpoint, cause if isinstance(cause, RedisError) else found, found.is_sentinel)

    def __str__(self) -> str:
        return f"the {'sentinel' if self.is_sentinel else 'server'} at {self.endpoint}"


def no_primary(error: BaseException) -> NoPrimary | None:
    """The `NoPrimary` that led to an error, if one did."""
    return next((each for each in causes(error) if isinstance(each, NoPrimary)), None)


def sentinel_fault(error: RedisError) -> str:
    """What only the operator can change so that this sentinel answers; empty if there is nothing."""
    text = str(error)
    if isinstance(error, UnknownService):
        return "knows no service with this name: the URL has it after the sentinels, such as /mymaster/0"
    if isinstance(error, NoPermissionError):
        return "does not let this user ask for the primary: it needs the right to SENTINEL GET-MASTER-ADDR-BY-NAME"
    if isinstance(error, AuthenticationError | AuthorizationError):
        return _refused_login(text)
    if "unknown command" in text.lower():
        return "is no sentinel: begin the URL of a server with redis://; the port of most sentinels is 26379"
    return ""


def _refused_login(text: str) -> str:
    if "without any password configured" in text:
        return "needs no password: leave sentinel_password out"
    if text.startswith("NOAUTH") or "Authentication required" in text:
        return "needs a password of its own: end the URL with ?sentinel_password=PASSWORD"
    return "does not accept sentinel_username and sentinel_password (WRONGPASS)"
