"""Notices that a client has disconnected, so that nothing goes on for a client that is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from shared.errors import MaskqError

_Result = TypeVar("_Result")


async def until_disconnect(receive: Receive) -> None:
    """Return when the client disconnects. What it still sends is dropped."""
    with suppress(MaskqError):  # the body is too long or too slow, which counts as well
        while (await receive())["type"] != "http.disconnect":
            pass


async def while_connected(work: Coroutine[Any, Any, _Result], receive: Receive) -> _Result:
    """The result of `work`, which is canceled when the client behind `receive` disconnects.

    Raises:
        ClientDisconnect: it did.
    """
    working = asyncio.create_task(work)
    listening = asyncio.create_task(until_disconnect(receive))
    try:
        await asyncio.wait((working, listening), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        listening.cancel()
