"""Connections that follow the primary of a service: each asks the sentinels where it is, and whether it is one.

redis-py has such connections too. Those ask a pool of theirs; and one that is lost between two commands connects to the
same server again (8.1, in tasks). These can be in any pool: in one that waits for a free connection, and in Celery's.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from redis import Connection, SSLConnection
from redis.asyncio import Connection as AsyncConnection
from redis.asyncio import SSLConnection as AsyncSSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MasterDownError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.settings.redis_url import Endpoint
from shared.store.records import text
from shared.store.sentinels import NoPrimary, Sentinels

_FAILED = (RedisConnectionError, RedisTimeoutError)
"""Errors of connections. Those that are neither of these two classes say more than that."""
_REPLICA = (ReadOnlyError, MasterDownError)
_REPLACED = ("NOREPLICAS", "UNBLOCKED")
"""How errors begin that a server gives which may have been replaced: the next command asks the sentinels."""
_ROLE = ("INFO", "replication")
"""Not `ROLE`, which is one of the dangerous commands."""


class Primary:
    """The primary of one service, and the connections of this process to it. Thread-safe.

    When the primary is at another place, all connections to the place before are cut. Many would not notice it by
    themselves: those that wait for messages hear nothing from a server that was lost without a word, and one that is
    cut off from its sentinels goes on to take writes, which are lost.
    """

    def __init__(self, sentinels: Sentinels) -> None:
        self.sentinels = sentinels
        self._lock = threading.Lock()
        self._connections: WeakSet[Any] = WeakSet()
        self._reached: Endpoint | None = None
        self.named: Endpoint | None = None
        """What a sentinel answered last."""

    def find(self) -> Endpoint:
        """As `Sentinels.find`."""
        self.named = self.sentinels.find()
        return self.named

    async def find_async(self) -> Endpoint:
        """As `Sentinels.find`."""
        self.named = await self.sentinels.find_async()
        return self.named

    def follow(self) -> None:
        """Cut all connections to a server that is the primary no longer, as most sentinels say."""
        if named := self.sentinels.most_named():
            self._cut_others(named)

    def joined(self, connection: Any) -> None:
        """Note that a connection has reached the primary."""
        endpoint = Endpoint(connection.host, connection.port)
        with self._lock:
            has_moved, self._reached = self._reached not in {None, endpoint}, endpoint
            self._connections.add(connection)
        if has_moved:
            self._cut_others(endpoint)

    def _cut_others(self, endpoint: Endpoint) -> None:
        with self._lock:
            others = [each for each in self._connections if (each.host, each.port) != endpoint]
        for each in others:
            _cut(each)


def _cut(connection: Any) -> None:
    """End a connection from any thread: whoever reads from it gets the end of the stream."""
    stream = getattr(connection, "_writer", None)
    sock = stream.get_extra_info("socket") if stream else getattr(connection, "_sock", None)
    if sock is not None:
        with suppress(OSError), socket.socket(fileno=os.dup(sock.fileno())) as copy:
            copy.shutdown(socket.SHUT_RDWR)


class ToPrimary(Connection):
    """A connection for threads."""

    def __init__(self, *, primary: Primary, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._primary = primary

    def connect_check_health(self, check_health: bool = True, retry_socket_connect: bool = True) -> None:
        if self.is_connected:
            return
        endpoint = self.host, self.port = self._primary.find()
        try:
            super().connect_check_health(check_health, retry_socket_connect)
        except _FAILED as error:
            raise _with_place(error, endpoint)  # noqa: B904 -- it has its cause
        self._primary.joined(self)

    def on_connect_check_health(self, check_health: bool = True) -> None:
        super().on_connect_check_health(check_health)
        self.send_command(*_ROLE, check_health=False)  # type: ignore[no-untyped-call]
        _require_primary(self.read_response(), Endpoint(self.host, self.port))

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().read_response(*arguments, **options)
        except ResponseError as error:
            if str(error).startswith(_REPLACED) or isinstance(error, _REPLICA):
                self.disconnect()  # type: ignore[no-untyped-call]
            if isinstance(error, _REPLICA):
                raise NoPrimary(f"{self.host}:{self.port} has become a replica") from error
            raise


class ToPrimaryTls(ToPrimary, SSLConnection):
    """As `ToPrimary`, with TLS."""


class AsyncToPrimary(AsyncConnection):
    """A connection for tasks, otherwise as `ToPrimary`."""

    def __init__(self, *, primary: Primary, **options: Any) -> None:
        super().__init__(**options)
        self._primary = primary

    async def connect_check_health(self, check_health: bool = True, retry_socket_connect: bool = True) -> None:
        if self.is_connected:
            return
        endpoint = self.host, self.port = await self._primary.find_async()
        try:
            await super().connect_check_health(check_health, retry_socket_connect)
        except _FAILED as error:
            raise _with_place(error, endpoint)  # noqa: B904 -- it has its cause
        self._primary.joined(self)

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        await super().on_connect_check_health(check_health)
        await self.send_command(*_ROLE, check_health=False)
        _require_primary(await self.read_response(), Endpoint(self.host, self.port))

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*arguments, **options)
        except ResponseError as error:
            if str(error).startswith(_REPLACED) or isinstance(error, _REPLICA):
                await self.disconnect()
            if isinstance(error, _REPLICA):
                raise NoPrimary(f"{self.host}:{self.port} has become a replica") from error
            raise


class AsyncToPrimaryTls(AsyncToPrimary, AsyncSSLConnection):
    """As `AsyncToPrimary`, with TLS."""


def _require_primary(info: Any, endpoint: Endpoint) -> None:
    if "role:master" not in text(info):
        raise NoPrimary(f"the sentinels name {endpoint}, which is a replica", endpoint)


def _with_place(error: RedisConnectionError | RedisTimeoutError, endpoint: Endpoint) -> RedisError:
    """The error itself if it says more than that a server is away; otherwise one that says which server is."""
    if type(error) not in _FAILED:
        return error
    away = NoPrimary(f"the primary at {endpoint}", endpoint)
    away.__cause__ = error
    return away
