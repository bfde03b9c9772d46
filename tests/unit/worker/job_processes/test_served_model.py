"""What job processes get for their calls."""

from __future__ import annotations

import logging
from concurrent.futures import CancelledError, Future
from typing import Any, cast

import pytest

from shared.errors import InferenceFailed, MaskqError, PromptTooLong
from worker.job_processes.connection import Connection
from worker.job_processes.messages import DecodeMasks, Message, Reply
from worker.job_processes.served_model import ServedModel, StartedModel

_CALL = DecodeMasks(7, [(0,) * 16])


class _Failing:
    """A model whose masks fail."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def start_masks(self, _: Any) -> Future[Any]:
        future = Future[Any]()
        future.set_exception(self._error)
        return future


class _Process:
    """Keeps what is sent to it."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    def send(self, message: Message) -> None:
        self.sent.append(message)


def _reply(error: Exception) -> Reply:
    process = _Process()
    served = ServedModel(cast(StartedModel, _Failing(error)), lambda act, *arguments: act(*arguments))
    served.decode_masks(cast(Connection, process), _CALL)
    (reply,) = process.sent
    assert isinstance(reply, Reply)
    return reply


def test_a_call_of_a_canceled_job_is_canceled_and_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert type(_reply(CancelledError()).error) is CancelledError
    assert not caplog.records


@pytest.mark.parametrize("error", [InferenceFailed("the forward pass failed"), PromptTooLong("600 tokens")])
def test_an_error_for_clients_reaches_the_job_process(error: MaskqError) -> None:
    assert _reply(error).error is error


def test_an_unforeseen_error_is_logged_and_becomes_one_that_is_safe_to_show(caplog: pytest.LogCaptureFixture) -> None:
    failure = _reply(KeyError("secret")).error
    assert isinstance(failure, InferenceFailed)
    assert "secret" not in failure.detail
    assert [each.levelname for each in caplog.records] == ["ERROR"]
