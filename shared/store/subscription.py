"""Subscriptions to channels of Redis that notice when their server is no primary any longer.

Such a server accepts subscriptions and keeps connections open, and no message ever comes. So does one that is frozen,
or that the network has cut off. So a subscription that was silent for a while sends itself a message through the
primary: `ping.lua` publishes nothing on any other server.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.store.lua_script import AsyncScript, SyncScript
from shared.store.records import text

SILENCE_S = 2.0
"""How long a subscription may be silent before it is checked, and how long the check may take."""


class _Silence:
    """How long one subscription has been silent, and whether it was checked since."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._is_checked = False

    def end(self) -> None:
        """A message has come."""
        self._since, self._is_checked = time.monotonic(), False

    def needs_check(self) -> bool:
        """Whether to send a message now.

        Raises:
            RedisConnectionError: one was sent, and did not come.
        """
        if time.monotonic() - self._since < SILENCE_S:
            return False
        if self._is_checked:
            raise RedisConnectionError("a subscription does not get what the primary sends")
        self._since, self._is_checked = time.monotonic(), True
        return True


def _payload(message: dict[str, Any] | None) -> str | None:
    """What was published, empty if it was sent by a check; None if this is no message of the channel."""
    return text(message["data"]) if message is not None and message["type"] == "message" else None


async def messages(redis: AsyncRedis, channel: str) -> AsyncGenerator[str | None, None]:
    """The messages of a channel. The first item is None: it comes once the primary's messages arrive here, so that
    none can be missed any longer. It comes again when redis-py has replaced a lost connection, which it does by itself:
    messages may have been missed until then.

    Raises:
        redis.RedisError: the connection has ended, or there is no primary at its other end.
    """
    ping = AsyncScript(redis, "ping")
    async with redis.pubsub() as subscription:
        await subscription.subscribe(channel)
        silence, has_begun = _Silence(), False
        while True:
            message = await subscription.get_message(timeout=SILENCE_S)
            payload = _payload(message)
            if message is not None and message["type"] == "subscribe":
                has_begun = False
                await ping(channel=channel)
            elif payload is not None:
                silence.end()
                if not has_begun:
                    has_begun = True
                    yield None
                if payload:
                    yield payload
            elif silence.needs_check():
                await ping(channel=channel)


def sync_messages(redis: Redis, channel: str, is_stopped: Callable[[], bool], poll_s: float) -> Iterator[str]:
    """The same for threads, without the first item, until `is_stopped` returns true. It is called every `poll_s`."""
    ping = SyncScript(redis, "ping")
    with redis.pubsub() as subscription:  # type: ignore[no-untyped-call]
        subscription.subscribe(channel)
        silence = _Silence()
        while not is_stopped():
            payload = _payload(subscription.get_message(timeout=poll_s))
            if payload is not None:
                silence.end()
                if payload:
                    yield payload
            elif silence.needs_check():
                ping(channel=channel)
