"""Confirmation: whoever made a change is told of it only once so many replicas have it.

The commands that wait for replicas go with the change in one request, on the same connection. They are outside of
MULTI, where they would not wait.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.commands.core import AsyncScript, Script
from redis.exceptions import NoScriptError, ResponseError

from shared.errors import StoreUnconfirmed
from shared.settings import RedisSettings
from shared.store.connection import async_redis
from shared.store.key_names import CONFIRMED

Command: TypeAlias = tuple[str | bytes | float, ...]

_WAIT_SHARE = 0.5
"""Of `redis_timeout_s`: for so long the server waits. It must answer before the connection gives up."""
_MEMORY_SHARE = 0.25
"""The same, of the wait for memory that comes before the one for disks."""
_LACKING = ("unknown command", "cannot be used when numlocal is set but appendonly is disabled")
"""How a server says that it does not have WAITAOF (before Redis 7.2), or has no AOF."""


class Confirmation:
    """Which commands wait for replicas, and what their replies say. Thread-safe."""

    def __init__(self, settings: RedisSettings) -> None:
        self.replicas = settings.confirm_replicas
        """How many must have a change. 0: nobody waits."""
        self._timeout_ms = settings.redis_timeout_s * 1000
        self._counts_disks = True

    @property
    def commands(self) -> list[Command]:
        """What to send after a change. A write comes first, because a server waits for the latest one of the
        connection: a repeated request finds its change made, by another connection.

        WAIT comes before WAITAOF, because a server asks replicas once for each wait how far they are. One that is asked
        before it has written to its disk says so a second later.
        """
        write: Command = ("SET", CONFIRMED, "")
        wait_ms = round(self._timeout_ms * _WAIT_SHARE)
        if not self._counts_disks:
            return [write, ("WAIT", self.replicas, wait_ms)]
        in_memory: Command = ("WAIT", self.replicas, round(self._timeout_ms * _MEMORY_SHARE))
        return [write, in_memory, ("WAITAOF", 1, self.replicas, wait_ms)]

    def present(self, replication: Mapping[str, Any]) -> int:
        """How many replicas could confirm a change, by the server's reply to INFO: each says once a second that it
        follows."""
        replicas = [each for name, each in replication.items() if re.fullmatch(r"slave\d+", name)]
        last_s = self._timeout_ms / 1000
        return sum(each.get("state") == "online" and each.get("lag", 0) <= last_s for each in replicas)

    def is_given(self, replies: list[Any]) -> bool:
        """Whether enough replicas have the change, by the replies to it and to `commands`. False: the server does not
        have the command, and `commands` has another one from now on.

        Raises:
            RedisError: one of the replies is an error.
            StoreUnconfirmed: too few replicas had the change in time.
        """
        *made, waited = replies
        for reply in made:
            _raise_error(reply)
        if isinstance(waited, ResponseError) and "WAITAOF" in str(waited) and _is_lacking(waited):
            self._counts_disks = False
            return False
        _raise_error(waited)
        disks, replicas = waited if isinstance(waited, list) else (1, waited)
        if disks < 1 or replicas < self.replicas:
            raise StoreUnconfirmed(
                f"{replicas} of {self.replicas} replicas have the latest changes; repeat the request until they "
                "do, a submission with the same Idempotency-Key"
            )
        return True


class SyncConfirmer:
    """Makes changes and waits for replicas, for threads.

    Raises, from every method:
        redis.RedisError: the server does not answer, or refuses.
        StoreUnconfirmed: the change is made, and too few replicas had it in time.
    """

    def __init__(self, redis: Redis, settings: RedisSettings) -> None:
        self._redis = redis
        self._confirmation = Confirmation(settings)

    def run(self, script: Script, argv: list[Any]) -> Any:
        """Run a script. Returns its reply."""
        if not self._confirmation.replicas:
            return script(args=argv)
        command = ("EVALSHA", script.sha, 0, *argv)
        try:
            return self._send(command)[0]
        except NoScriptError:
            self._redis.script_load(script.script)
            return self._send(command)[0]

    def _send(self, *commands: Command) -> list[Any]:
        with self._redis.pipeline(transaction=False) as pipeline:
            for command in (*commands, *self._confirmation.commands):
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
            replies = pipeline.execute(raise_on_error=False)
        if not self._confirmation.is_given(replies):
            self._send()
        return replies


class AsyncConfirmer:
    """As `SyncConfirmer`, for tasks. It has a pool of connections of its own, because a wait takes a connection: while
    replicas are away, whoever changes nothing still has connections."""

    def __init__(self, redis: AsyncRedis, settings: RedisSettings) -> None:
        """`redis` stays open."""
        self._confirmation = Confirmation(settings)
        self._redis = async_redis(settings) if self._confirmation.replicas else redis
        self._is_own = self._redis is not redis
        self._running: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    async def close(self) -> None:
        if self._is_own:
            await self._redis.aclose()

    async def run(self, script: AsyncScript, argv: list[Any]) -> Any:
        """Run a script. Returns its reply."""
        if not self._confirmation.replicas:
            return await script(args=argv)
        command = ("EVALSHA", script.sha, 0, *argv)
        try:
            return (await self._send(command))[0]
        except NoScriptError:
            await self._redis.script_load(script.script)
            return (await self._send(command))[0]

    @property
    def is_needed(self) -> bool:
        """Whether any replica has to confirm."""
        return self._confirmation.replicas > 0

    async def confirm(self) -> None:
        """Return once enough replicas have all changes so far. All who ask while others wait share the next request."""
        if not self.is_needed:
            return
        if self._next is None:
            self._next = asyncio.create_task(self._confirm_after(self._running))
            self._next.add_done_callback(_retrieve)
        await asyncio.shield(self._next)

    async def _confirm_after(self, running: asyncio.Task[None] | None) -> None:
        if running:
            await asyncio.wait([running])
        self._running, self._next = self._next, None  # who asks from here on may have seen a later change
        await self._send()

    async def require_replicas(self) -> None:
        """Return at once if enough replicas keep up. Nothing is written.

        Raises:
            StoreUnconfirmed: too few do, so that no change would be confirmed.
        """
        if not self._confirmation.replicas:
            return
        present = self._confirmation.present(await self._redis.info("replication"))
        if present < self._confirmation.replicas:
            raise StoreUnconfirmed(f"{present} of {self._confirmation.replicas} replicas keep up")

    async def _send(self, *commands: Command) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for command in (*commands, *self._confirmation.commands):
                pipeline.execute_command(*command)
            replies = await pipeline.execute(raise_on_error=False)
        if not self._confirmation.is_given(replies):
            await self._send()
        return replies


def wait_command(redis: Redis) -> str:
    """The command with which this server waits for replicas: WAITAOF, for their disks, or WAIT, for their memory.
    Empty if it has neither.

    Raises:
        redis.RedisError: the server does not answer, is a replica, or does not let this user.
    """
    for command in (("WAITAOF", 1, 0, 1), ("WAIT", 0, 1)):
        try:
            redis.execute_command(*command)  # type: ignore[no-untyped-call]
        except ResponseError as error:
            if not _is_lacking(error):
                raise
        else:
            return str(command[0])
    return ""


def _retrieve(done: asyncio.Task[None]) -> None:
    """All who wait for a task may have gone: then nobody else learns its error."""
    if not done.cancelled():
        done.exception()


def _is_lacking(error: ResponseError) -> bool:
    return any(words in str(error) for words in _LACKING)


def _raise_error(reply: Any) -> None:
    if isinstance(reply, Exception):
        raise reply
