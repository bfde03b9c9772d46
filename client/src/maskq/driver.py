"""Carries out operations with blocking calls."""

from __future__ import annotations

import time
from typing import TypeVar

import httpx2

from maskq.batch_operations import BatchOperations
from maskq.steps import Operation, Pause, Reply, Step
from maskq.transport import Service, answer_of, arguments_of, no_answer_of

T = TypeVar("T")


class Driver:
    """Sends the requests of one client."""

    def __init__(self, service: Service) -> None:
        self._http = httpx2.Client(**service.http_options)
        self.operations: BatchOperations = service.operations
        """What can be done."""
        self.url: str = service.configuration.url
        """The URL of the service, without a slash at its end."""

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def run(self, operation: Operation[T]) -> T:
        """Carry out an operation, and return its result."""
        reply: Reply = None
        while True:
            try:
                step = operation.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result
            reply = self._reply(step)

    def _reply(self, step: Step) -> Reply:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        try:
            return answer_of(self._http.request(**arguments_of(step.request)))
        except httpx2.RequestError as error:
            return no_answer_of(error)
