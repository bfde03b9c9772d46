"""Processes that take longer than they may."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from shared.images.time_limit import TimeLimit


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


def test_a_process_that_takes_too_long_is_killed(process: subprocess.Popen[bytes]) -> None:
    with TimeLimit().limit(process, 0.1):
        assert process.wait(20) == -signal.SIGKILL


def test_a_process_that_was_quick_is_not_killed(process: subprocess.Popen[bytes]) -> None:
    limit = TimeLimit()
    with limit.limit(process, 0.3):
        pass
    time.sleep(0.8)
    assert process.poll() is None


def test_a_limit_holds_after_a_pause(process: subprocess.Popen[bytes]) -> None:
    limit = TimeLimit()
    with limit.limit(process, 10):
        pass
    while limit._is_needed.is_set():
        time.sleep(0.01)
    with limit.limit(process, 0.1):
        assert process.wait(20) == -signal.SIGKILL
