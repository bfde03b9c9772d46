"""One request and its repetitions."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import cast

from maskq.errors import ConnectionFailed, RequestError
from maskq.pacer import Pacer, Turn
from maskq.rate_limit import retry_after_s
from maskq.steps import Answer, NoAnswer, Operation, Pause, Request, Send

_REPEATED = frozenset({408, 429, 502, 503, 504})
"""Statuses of answers that may be better next time."""
_TOO_MUCH = 429
_FIRST_PAUSE_S = 0.25
_MAX_PAUSE_S = 8.0
_CHANCE = random.Random()  # noqa: S311 - of its own: a program that has seeded `random` gets the numbers it expects
_UNKNOWN_SERVICE_S = 10.0
"""Longest time for which requests are repeated as long as the service has never answered: its URL may be wrong."""


class Exchange:
    """Sends requests until there is a final answer. Every request may be repeated: submissions carry a key by which the
    service recognizes them."""

    def __init__(self, retry_for_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`retry_for_s`: how long a request is repeated after its first failure."""
        self._retry_for_s = retry_for_s
        self._clock = clock
        self._pacer = Pacer(clock)
        self._has_answered = False

    def answer(self, request: Request) -> Operation[Answer]:
        """Send a request, again and again if that may help.

        Raises:
            RequestError: the service refused it.
            ConnectionFailed: the service did not answer.
        """
        give_up_at: float | None = None
        failures = 0
        while True:
            asked_at = self._clock()
            turn = yield from self._turn(request)
            give_up_at = give_up_at and give_up_at + self._clock() - asked_at  # to wait for its turn is no failure
            reply = cast("Answer | NoAnswer", (yield Send(request)))
            self._learn(request, turn, reply)
            if isinstance(reply, Answer) and reply.is_success:
                return reply
            give_up_at = give_up_at or self._clock() + self._budget_s
            pause_s = _pause_s(reply, failures)
            if pause_s is None or self._clock() + pause_s > give_up_at:
                raise _error(reply)
            failures += 1
            if isinstance(reply, Answer) and reply.status == _TOO_MUCH:
                self._pacer.pause(request.kind, pause_s)
            yield Pause(pause_s)

    @property
    def _budget_s(self) -> float:
        return self._retry_for_s if self._has_answered else min(self._retry_for_s, _UNKNOWN_SERVICE_S)

    def _turn(self, request: Request) -> Operation[Turn]:
        while (turn := self._pacer.turn(request.kind, request.cost)).wait_s:
            yield Pause(turn.wait_s)
        return turn

    def _learn(self, request: Request, turn: Turn, reply: Answer | NoAnswer) -> None:
        if isinstance(reply, Answer):
            self._has_answered = True
            if reply.status < 400 or "ratelimit" in reply.headers:
                self._pacer.learn(request.kind, turn, reply.headers)


def _pause_s(reply: Answer | NoAnswer, failures: int) -> float | None:
    """Seconds before the next try; None if that has no use. Random, so that clients do not come back all at once."""
    if isinstance(reply, NoAnswer):
        if reply.is_final:
            return None
    elif reply.status not in _REPEATED:
        return None
    asked_s = retry_after_s(reply.headers) if isinstance(reply, Answer) else None
    if asked_s is not None:
        return asked_s * _CHANCE.uniform(1.0, 1.1)
    return min(_MAX_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(failures, 16)) * _CHANCE.uniform(0.5, 1.0)


def _error(reply: Answer | NoAnswer) -> RequestError | ConnectionFailed:
    if isinstance(reply, Answer):
        return RequestError.of(reply.status, reply.headers, reply.body)
    return ConnectionFailed(f"the service does not answer: {reply.reason}")
