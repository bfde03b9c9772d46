"""The exit status of a process tells whether it was told to stop or ended because of an error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from shared.settings import Settings
from shared.store import key_names
from testing.servers import system_redis

pytestmark = pytest.mark.slow

_PATIENCE_S = 60.0
_FAILING_LOOP = """
import celery.worker.consumer.consumer as consumer

def fail(*_):
    raise RuntimeError("a fault of Celery")

consumer.loops.asynloop = fail
"""
_WORKER = """
from shared.process import entry_point
from testing.scripted_worker import start_scripted
from worker.app import run_worker
entry_point.run(lambda: run_worker(start_scripted))
"""


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    return {**os.environ, "REDIS_URL": settings.redis.redis_url}


def test_a_worker_that_an_error_ends_does_not_end_with_status_0(root: Path, environment: dict[str, str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _FAILING_LOOP + _WORKER],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_S,
    )
    assert "a fault of Celery" in ended.stderr
    assert ended.returncode == 1, ended.stderr


@pytest.fixture(params=["testing.scripted_worker", "webhooks"])
def process(
    request: pytest.FixtureRequest, root: Path, environment: dict[str, str], settings: Settings
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker or a deliverer that works."""
    running = subprocess.Popen([sys.executable, "-m", request.param], cwd=root, env=environment)
    deadline = time.monotonic() + _PATIENCE_S
    with Redis.from_url(settings.redis.redis_url) as redis:
        while not any(redis.exists(name) for name in (key_names.workers("demo"), key_names.DELIVERERS)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        while not any(client["cmd"] == "brpop" for client in redis.client_list()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    yield running
    running.kill()
    running.wait()


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_told_to_stop_ends_with_status_0(process: subprocess.Popen[bytes], told: int) -> None:
    process.send_signal(told)
    assert process.wait(_PATIENCE_S) == 0


@pytest.mark.parametrize("program", ["testing.scripted_worker", "webhooks"])
def test_a_process_that_is_told_to_stop_while_redis_is_away_stops(
    root: Path, program: str, environment: dict[str, str], tmp_path: Path
) -> None:
    with system_redis(tmp_path) as url, Redis.from_url(url) as redis:
        running = subprocess.Popen([sys.executable, "-m", program], cwd=root, env={**environment, "REDIS_URL": url})
        deadline = time.monotonic() + _PATIENCE_S
        while not any(client["cmd"] == "brpop" for client in redis.client_list()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    time.sleep(1.5)  # long enough to lose the connection and to wait for another
    running.terminate()
    try:
        assert running.wait(_PATIENCE_S) == 0
    finally:
        running.kill()
