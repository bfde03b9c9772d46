"""The model of a worker, as one of its job processes asks it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from worker.job_processes.messages import Ask, DecodeMasks, Message, Reply
from worker.job_processes.pixel_memory import FreeSlots, PixelMemory
from worker.model import Codes, Pixels, SoftMask, WrittenAnswer
from worker.stages.preprocess import digest

_RUN: ContextVar[int] = ContextVar("run")
"""Number of the run to which the present thread belongs."""


@contextmanager
def within_run(number: int) -> Iterator[None]:
    """What this thread asks within the block belongs to this run: it is dropped together with its job."""
    token = _RUN.set(number)
    try:
        yield
    finally:
        _RUN.reset(token)


class RemoteModel:
    """A `Model`. Its calls wait for replies of the worker."""

    def __init__(self, send: Callable[[Message], None], memory: PixelMemory, slots: int, side: int) -> None:
        """`slots` of `memory` are used. `send` sends a message to the worker, from any thread."""
        self.side = side
        self._send = send
        self._memory = memory
        self._free_slots = FreeSlots(slots)
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[Any]] = {}
        """A future for each call without a reply."""

    def ask(self, prompt: str, views: Sequence[Pixels], is_canceled: Callable[[], bool]) -> list[WrittenAnswer]:
        """As `Model.ask`. The worker knows whether the job is canceled: it drops it before the model's next step."""
        slots = self._free_slots.take(len(views))
        try:
            for slot, pixels in zip(slots, views, strict=True):
                self._memory.write(slot, pixels)
            digests = [digest(each) for each in views]
            answers: list[WrittenAnswer] = self._call(lambda call: Ask(call, _RUN.get(), prompt, slots, digests))
            return answers
        finally:
            self._free_slots.release(slots)

    def decode_masks(self, codes: Sequence[Codes]) -> list[SoftMask]:
        """As `Model.decode_masks`."""
        return list(self._call(lambda call: DecodeMasks(call, codes)))

    def close(self) -> None:
        """Nothing to close: the model is the worker's."""

    def receive(self, reply: Reply) -> None:
        """End the call that this reply is for."""
        future = self._waiting.pop(reply.call)
        if reply.error is not None:
            future.set_exception(reply.error)
        else:
            future.set_result(reply.value)

    def _call(self, message: Callable[[int], Message]) -> Any:
        call = next(self._numbers)
        future = self._waiting[call] = Future()
        self._send(message(call))
        return future.result()
