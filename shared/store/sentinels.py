"""Sentinels: each knows which server of a service is its primary now. They are asked before every connection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from shared.settings.redis_url import Endpoint
from shared.store.records import text

_QUESTION = "SENTINEL GET-MASTER-ADDR-BY-NAME"
"""Valkey knows it under this name as well. No other command is sent, so that a sentinel's user may need no other."""
_ONCE, _ONCE_ASYNC = Retry(NoBackoff(), retries=0), AsyncRetry(NoBackoff(), retries=0)
"""Another sentinel is asked instead."""


class NoPrimary(RedisConnectionError):
    """There is no primary to connect to: no sentinel names one, or the one that they name cannot be used. Its cause is
    the error of that server, if there was one."""

    def __init__(self, message: str, endpoint: Endpoint | None = None, *, is_sentinel: bool = False) -> None:
        """`endpoint` is the server that failed; `is_sentinel`: it is a sentinel."""
        super().__init__(message)
        self.endpoint = endpoint
        self.is_sentinel = is_sentinel


class UnknownService(ResponseError):
    """A sentinel does not watch a service with this name."""


class Sentinels:
    """Those of one service. Thread-safe, and for any event loop."""

    def __init__(self, service: str, endpoints: tuple[Endpoint, ...], options: Mapping[str, Any]) -> None:
        """`options` are arguments of `redis.Redis`."""
        self._service = service
        self._endpoints = endpoints
        self._options = options
        self._clients = {each: Redis(**self._at(each), retry=_ONCE) for each in endpoints}
        self._last = endpoints[0]
        """The one that answered last is asked first: one that is down takes its whole timeout."""

    def find(self) -> Endpoint:
        """The primary.

        Raises:
            NoPrimary: no sentinel names one.
        """
        failures: dict[Endpoint, RedisError] = {}
        for each in self._in_order():
            with _noting(failures, each):
                found = self._ask(each)
                self._last = each
                return found
        raise _no_primary(failures)

    async def find_async(self) -> Endpoint:
        """As `find`."""
        failures: dict[Endpoint, RedisError] = {}
        for each in self._in_order():
            with _noting(failures, each):
                async with AsyncRedis(**self._at(each), retry=_ONCE_ASYNC) as sentinel:
                    reply = await sentinel.execute_command(_QUESTION, self._service)  # type: ignore[no-untyped-call]
                    found = _named(reply)
                self._last = each
                return found
        raise _no_primary(failures)

    def answers(self) -> Iterator[tuple[Endpoint, Endpoint | RedisError]]:
        """What each sentinel says: the primary, or why it does not name one."""
        for each in self._endpoints:
            try:
                yield each, self._ask(each)
            except RedisError as error:
                yield each, error

    def most_named(self) -> Endpoint | None:
        """The server that more than half of the sentinels name; None if there is none. One of these is asked next."""
        named = {sentinel: answer for sentinel, answer in self.answers() if isinstance(answer, Endpoint)}
        for server, count in Counter(named.values()).items():
            if 2 * count > len(self._endpoints):
                self._last = next(sentinel for sentinel, answer in named.items() if answer == server)
                return server
        return None

    def _in_order(self) -> list[Endpoint]:
        return [self._last, *(each for each in self._endpoints if each != self._last)]

    def _at(self, sentinel: Endpoint) -> dict[str, Any]:
        return {**self._options, "host": sentinel.host, "port": sentinel.port, "protocol": 2}

    def _ask(self, sentinel: Endpoint) -> Endpoint:
        reply = self._clients[sentinel].execute_command(_QUESTION, self._service)  # type: ignore[no-untyped-call]
        return _named(reply)


def _named(reply: Any) -> Endpoint:
    if not reply:
        raise UnknownService("it knows no service with this name")
    return Endpoint(text(reply[0]), int(reply[1]))


@contextmanager
def _noting(failures: dict[Endpoint, RedisError], sentinel: Endpoint) -> Iterator[None]:
    """Note the error with which the block ends."""
    try:
        yield
    except RedisError as error:
        failures[sentinel] = error


def _no_primary(failures: Mapping[Endpoint, RedisError]) -> NoPrimary:
    """The error for what all sentinels said. One that refused says more than one that did not answer."""
    endpoint, cause = max(failures.items(), key=lambda failure: _is_answer(failure[1]))
    error = NoPrimary("no sentinel names the primary", endpoint, is_sentinel=True)
    error.__cause__ = cause
    return error


def _is_answer(error: RedisError) -> bool:
    return type(error) not in {RedisConnectionError, RedisTimeoutError}
