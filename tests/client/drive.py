"""Drives operations of the client without a service and without waiting: time passes only in pauses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from maskq.steps import Answer, NoAnswer, Operation, Pause, Reply, Request

T = TypeVar("T")


class VirtualTime:
    """A clock, and a driver that moves it."""

    def __init__(self, reply: Callable[[Request], Answer | NoAnswer]) -> None:
        """`reply`: what the service does."""
        self.now = 1_000.0
        self.sent: list[tuple[float, Request]] = []
        self._reply = reply

    def clock(self) -> float:
        """The time, in seconds."""
        return self.now

    def run(self, operation: Operation[T]) -> T:
        """Carry out an operation."""
        reply: Reply = None
        while True:
            try:
                step = operation.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(step, Pause):
                self.now += step.seconds
                reply = None
            else:
                self.sent.append((self.now, step.request))
                reply = self._reply(step.request)
