"""Signals that end the service."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from local.supervisor import Supervisor
from local.up import LocalService, StopRequested, _stop_on_signals

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def stopping_on_signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    _stop_on_signals()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class _Signaled:
    """Gets a signal when it is deleted."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self._number)


class _Impatient(Supervisor):
    """Fails after some seconds."""

    _checks = 0

    def check(self) -> None:
        self._checks += 1
        assert self._checks < 20, "the service goes on"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("stopping_on_signals")
@pytest.mark.parametrize("number", _SIGNALS)
def test_a_signal_that_comes_within_a_destructor_ends_the_service_too(number: int) -> None:
    signaled = _Signaled(number)
    del signaled  # Python ignores what the handler raises now
    with pytest.raises(StopRequested):
        LocalService("http://127.0.0.1:1", _Impatient([]), "").stay_up()
