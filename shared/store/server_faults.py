"""What is wrong with a server that does not do what it was asked: it is away for now, or REDIS_URL is wrong."""

from __future__ import annotations

import os
import socket
import ssl

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    InvalidResponse,
    NoPermissionError,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.errors import ConfigurationError
from shared.settings import RedisSettings
from shared.store.connection import address_of

_CHAIN = 5
"""How many causes of an error are looked at."""


def require_healing(error: RedisError, settings: RedisSettings) -> None:
    """Check that the error may end by itself: the server is away, starts, or has no room for now.

    Raises:
        ConfigurationError: it cannot end, because REDIS_URL is wrong or its user lacks rights. The message has no part
            of the password.
    """
    if fault := _lasting_fault(error):
        raise ConfigurationError(f"REDIS_URL: the server at {address_of(settings)} {fault}") from None


def reason_of(error: RedisError) -> str:
    """Why the server is away, in a few words for a log."""
    if isinstance(error, BusyLoadingError):
        return "it is loading its data"
    for cause in _causes(error):
        if isinstance(cause, socket.gaierror):
            return "no address is known for this name"
        if "handshake" in str(cause):
            return "no answer to TLS; if this server has none, begin REDIS_URL with redis://"
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
    if isinstance(error, RedisTimeoutError):
        return "no answer in time"
    return " ".join(str(error).split()) if isinstance(error, ResponseError) else "it closed the connection"


def _lasting_fault(error: RedisError) -> str:
    """What only the operator can change; empty if there is nothing."""
    text = str(error)
    if isinstance(error, NoPermissionError):
        return f"does not let this user do what maskq does: {text}. See deploy/redis/users for the rights"
    if isinstance(error, AuthenticationError | AuthorizationError):
        return _refused_login(text)
    if "DB index" in text or "SELECT is not allowed" in text:
        return "does not have the database whose number is at the end of the URL; most servers have 0 to 15"
    causes = list(_causes(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return "has a TLS certificate that is not trusted here"
    if any(isinstance(cause, ssl.SSLError) and "WRONG_VERSION" in str(cause) for cause in causes):
        return "does not speak TLS: begin the URL with redis://"
    return "does not answer as Redis does" if isinstance(error, InvalidResponse) or "Protocol Error" in text else ""


def _refused_login(text: str) -> str:
    if "without any password configured" in text:
        return "needs no password: leave it out"
    if text.startswith("NOAUTH") or "Authentication required" in text:
        return "needs a password: the form is redis://USER:PASSWORD@HOST:PORT/DATABASE"
    return "does not accept this user and password (WRONGPASS)"


def _causes(error: BaseException) -> list[BaseException]:
    """The error, and the errors that it was raised for."""
    causes = [error]
    while len(causes) < _CHAIN and (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    return causes
