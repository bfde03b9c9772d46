"""A runner without a model: each job writes its own number repeatedly. Tests can block steps, count them, and make them
fail."""

from __future__ import annotations

import threading
from collections.abc import Sequence as SequenceOf
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from worker.engine.model_input import ModelInput
from worker.engine.sequence import Answer, ChosenToken, Sequence

EOS = 0


def job(name: int, length: int = 1) -> ModelInput:
    """A job that writes `name` `length` times, then ends."""
    return ModelInput(np.zeros((2, 2, 3), np.uint8), [name, length], bytes([name % 256]))


def sequence(name: int = 1, length: int = 1, tokens: int = 2) -> Sequence:
    """A sequence whose image and prompt have this many tokens."""
    given = ModelInput(np.zeros((2, 2, 3), np.uint8), [name, length, *range(tokens - 2)], b"")
    future: Future[Answer] = Future()
    return Sequence(given, future)


@dataclass
class _Step:
    tokens: list[ChosenToken]
    error: Exception | None = None

    def read(self) -> list[ChosenToken]:
        if self.error:
            raise self.error
        return self.tokens


@dataclass
class ScriptedRunner:
    """Keeps the state of each slot, as the cache of a real runner does."""

    fails_late: bool = False
    """Raise errors when a step is read back, as on a GPU."""
    errors: dict[int, Exception] = field(default_factory=dict)
    """By number of a job: the error that every step with it raises."""
    max_prefill: int = 1 << 30
    """A prefill of more jobs raises `too_many`."""
    too_many: Exception = field(default_factory=RuntimeError)
    prefills: list[list[int]] = field(default_factory=list)
    decodes: list[list[int]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    running: threading.Event = field(default_factory=threading.Event)
    _left: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.gate.set()

    def prefill(self, sequences: SequenceOf[Sequence]) -> _Step:
        self.running.set()
        assert self.gate.wait(10)
        self.prefills.append(_names(sequences))
        if len(sequences) > self.max_prefill:
            return self._fail(self.too_many)
        self._left.update((each.slot, each.input.token_ids[1]) for each in sequences)
        return self._step(sequences)

    def decode(self, sequences: SequenceOf[Sequence]) -> _Step:
        assert self.gate.wait(10)
        self.decodes.append(_names(sequences))
        return self._step(sequences)

    def stats(self) -> dict[str, float]:
        return {"steps_scripted_total": len(self.prefills) + len(self.decodes)}

    def _step(self, sequences: SequenceOf[Sequence]) -> _Step:
        for name in _names(sequences):
            if error := self.errors.get(name):
                return self._fail(error)
        return _Step([self._write(each) for each in sequences])

    def _write(self, each: Sequence) -> ChosenToken:
        is_end = self._left[each.slot] <= 0
        self._left[each.slot] -= 1
        return ChosenToken(EOS if is_end else each.input.token_ids[0], -0.5, is_location=False, is_end=is_end)

    def _fail(self, error: Exception) -> _Step:
        error.__traceback__ = None  # or it grows each time the same error is raised, and so does what is logged of it
        if not self.fails_late:
            raise error
        return _Step([], error)


def _names(sequences: SequenceOf[Sequence]) -> list[int]:
    return [each.input.token_ids[0] for each in sequences]
