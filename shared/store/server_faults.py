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
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.errors import ConfigurationError, StoreUnconfirmed
from shared.settings import RedisSettings
from shared.settings.redis_url import RedisAddress
from shared.store.protocol_probe import speaks_plain, speaks_tls
from shared.store.sentinel_faults import FailedServer, no_primary, sentinel_fault
from shared.tls import causes, certificate_fault

_STATES: dict[type[RedisError], str] = {
    BusyLoadingError: "it is loading its data",
    ReadOnlyError: "it is a replica, which takes no writes (READONLY)",
    OutOfMemoryError: "its memory is full (OOM)",
    MasterDownError: "it is a replica without a primary (MASTERDOWN)",
    NoPermissionError: "its user lacks a right (NOPERM)",
}
_STATES_BY_CODE = {
    "MISCONF": "it cannot write to its disk (MISCONF)",
    "NOREPLICAS": "it has too few replicas to take writes (NOREPLICAS)",
    "BUSY": "it is busy with a script (BUSY)",
    "UNKILLABLE": "it is busy with a script (UNKILLABLE)",
    "CLUSTERDOWN": "its cluster is down (CLUSTERDOWN)",
}
_TOO_MANY_CLIENTS = "max number of clients"


def require_healing(error: RedisError, settings: RedisSettings) -> None:
    """Check that the error may end by itself: the server is away, starts, or has no room for now.

    Raises:
        ConfigurationError: it cannot end, because REDIS_URL is wrong or its user lacks rights. The message has no part
            of the password.
    """
    failed = FailedServer.of(error, settings)
    fault = sentinel_fault(failed.error) if failed.is_sentinel else ""
    if fault := fault or _lasting_fault(failed.error) or _wrong_protocol(failed, settings):
        raise ConfigurationError(f"REDIS_URL: {failed} {fault}") from None


def public_reason_of(error: RedisError) -> str:
    """The same as `reason_of` for clients: without addresses, and without words of the server that maskq does not
    know."""
    if failed := no_primary(error):
        cause = failed.__cause__
        return public_reason_of(cause) if isinstance(cause, RedisError) else "there is no primary"
    reason = reason_of(error)
    is_known = not isinstance(error, ResponseError) or reason != _one_line(error)
    code = reason.partition(" ")[0]
    return reason if is_known else f"it answers with an error{f' ({code})' if code.isupper() else ''}"


def reason_of(error: Exception) -> str:
    """Why the server cannot be used now, in a few words for a log."""
    if isinstance(error, StoreUnconfirmed):
        return "too few replicas confirm what it stores"
    if failed := no_primary(error):
        cause = failed.__cause__
        why = sentinel_fault(cause) or reason_of(cause) if isinstance(cause, RedisError) else ""
        return f"{failed}: {why}" if why else str(failed)
    for kind, state in _STATES.items():
        if any(isinstance(cause, kind) for cause in causes(error)):
            return state
    if refused := certificate_fault(error):
        return refused
    for cause in causes(error):
        if isinstance(cause, socket.gaierror):
            return "no address is known for this name"
        if isinstance(cause, OSError) and cause.errno and not isinstance(cause, ssl.SSLError):
            return os.strerror(cause.errno)
    if _TOO_MANY_CLIENTS in str(error):
        return "it has too many clients"
    if isinstance(error, AuthenticationError | AuthorizationError):
        return _refused_login(str(error))
    if isinstance(error, RedisTimeoutError) or any(isinstance(cause, TimeoutError) for cause in causes(error)):
        return "no answer in time"
    return _response(error) if isinstance(error, ResponseError) else "it closed the connection"


def _response(error: ResponseError) -> str:
    text = _one_line(error)
    return _STATES_BY_CODE.get(text.partition(" ")[0], text)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _lasting_fault(error: RedisError) -> str:
    """What only the operator can change; empty if there is nothing."""
    text = str(error)
    if isinstance(error, NoPermissionError):
        return f"does not let this user do what maskq does: {text}. See deploy/redis/users for the rights"
    if isinstance(error, AuthenticationError | AuthorizationError):
        return _refused_login(text)
    if "DB index" in text or "SELECT is not allowed" in text:
        return "does not have the database whose number is at the end of the URL; most servers have 0 to 15"
    if "unknown command" in text.lower():
        return "does not know the commands of Redis: begin the URL of a sentinel with sentinel://"
    if refused := certificate_fault(error):
        return f"cannot be trusted, {refused}. Trust a private CA with MASKQ_CA_FILE"
    return ""


def _wrong_protocol(failed: FailedServer, settings: RedisSettings) -> str:
    """Whether TLS is spoken on one side only, or something else than Redis answers."""
    address, error = RedisAddress.parse(settings.redis_url), failed.error
    no_tls = f"does not speak TLS: begin the URL with {address.scheme(is_tls=False)}"
    is_unclear = isinstance(error, InvalidResponse | RedisConnectionError | RedisTimeoutError)
    if address.is_tls and any(
        isinstance(cause, ssl.SSLError) and "WRONG_VERSION" in str(cause) for cause in causes(error)
    ):
        return no_tls
    if failed.endpoint and is_unclear and not isinstance(error, BusyLoadingError):
        if address.is_tls and speaks_plain(failed.endpoint, settings.redis_timeout_s):
            return no_tls
        if not address.is_tls and speaks_tls(failed.endpoint, settings.redis_timeout_s):
            return f"speaks TLS only: begin the URL with {address.scheme(is_tls=True)}"
    is_other = isinstance(error, InvalidResponse) or "Protocol Error" in str(error)
    return "does not answer as Redis does" if is_other else ""


def _refused_login(text: str) -> str:
    if "without any password configured" in text:
        return "needs no password: leave it out"
    if text.startswith("NOAUTH") or "Authentication required" in text:
        return "needs a password: the form is redis://USER:PASSWORD@HOST:PORT/DATABASE"
    return "does not accept this user and password (WRONGPASS)"
