"""What job processes ask of the model, answered without waiting."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any, Protocol

import numpy as np

from shared.errors import InferenceFailed, MaskqError
from worker.engine.sequence import Answer
from worker.job_processes.connection import Connection
from worker.job_processes.messages import Ask, DecodeMasks, Reply
from worker.model import Codes, Pixels, SoftMask, WrittenAnswer

logger = logging.getLogger(__name__)


class StartedModel(Protocol):
    """A model that is asked without waiting. `worker.engine_model.EngineModel` is the real one."""

    side: int

    def start(
        self, prompt: str, views: Sequence[Pixels], digests: Sequence[bytes], is_canceled: Callable[[], bool]
    ) -> Future[list[Answer]]:
        """As `EngineModel.start`."""

    def start_masks(self, codes: Sequence[Codes]) -> Future[list[SoftMask]]:
        """As `EngineModel.start_masks`."""

    def read(self, answer: Answer) -> WrittenAnswer:
        """As `EngineModel.read`."""

    def close(self) -> None:
        """As `Model.close`."""


class ServedModel:
    """Answers the calls of job processes."""

    def __init__(self, model: StartedModel, call_soon: Callable[..., None]) -> None:
        """`call_soon` calls a function with arguments on the event loop, from any thread."""
        self._model = model
        self._call_soon = call_soon

    def ask(self, process: Connection, ask: Ask) -> None:
        """Start to answer the views of a picture."""
        running = process.running.get(ask.number)
        views = [process.memory.read(slot) for slot in ask.slots]
        self._serve(
            process,
            ask.call,
            lambda: self._model.start(
                ask.prompt, views, ask.digests, lambda: running is None or running.claim.is_dropped
            ),
            lambda answers: [self._model.read(each) for each in answers],
        )

    def decode_masks(self, process: Connection, asked: DecodeMasks) -> None:
        """Start to decode masks."""
        self._serve(process, asked.call, lambda: self._model.start_masks(asked.codes), np.stack)

    def _serve(
        self, process: Connection, call: int, start: Callable[[], Future[Any]], finish: Callable[[Any], Any]
    ) -> None:
        try:
            future = start()
        except Exception as error:
            process.send(Reply(call, None, _known(error)))
        else:
            future.add_done_callback(lambda done: self._call_soon(self._reply, process, call, done, finish))

    def _reply(self, process: Connection, call: int, done: Future[Any], finish: Callable[[Any], Any]) -> None:
        try:
            reply = Reply(call, finish(done.result()))
        except Exception as error:
            reply = Reply(call, None, _known(error))
        process.send(reply)


def _known(error: Exception) -> Exception:
    """An error that a job process knows."""
    if isinstance(error, MaskqError | CancelledError):
        return error
    logger.error("a call of a job process failed", exc_info=error)
    return InferenceFailed("an unforeseen error; it was logged by the worker")
