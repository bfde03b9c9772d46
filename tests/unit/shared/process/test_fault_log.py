"""Faults are logged once while they last."""

from __future__ import annotations

import logging

import pytest
from redis.exceptions import BusyLoadingError, ReadOnlyError

from shared.process.fault_log import FaultLog


def test_a_fault_is_logged_when_it_begins_and_when_its_reason_changes(caplog: pytest.LogCaptureFixture) -> None:
    faults = FaultLog(logging.getLogger("test"), "no heartbeat")
    for error in (ReadOnlyError("READONLY"), ReadOnlyError("READONLY"), BusyLoadingError("LOADING")):
        faults.failed(error)
    faults.succeeded()
    faults.failed(BusyLoadingError("LOADING"))
    reasons = [message.removeprefix("no heartbeat, the store does not answer: ") for message in caplog.messages]
    loading = "it is loading its data"
    assert reasons == ["it is a replica, which takes no writes (READONLY)", loading, loading]
