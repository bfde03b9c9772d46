"""The check of a worker's container: a worker that waits for Redis is healthy, one that could not start is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.broker import free_port
from shared.process.identity import unique_process_name
from shared.settings import Settings
from worker.process_locks import ProcessLocks


def _status(url: str, cache: Path) -> int:
    env = {**os.environ, "REDIS_URL": url, "MASKQ_CACHE_DIR": str(cache)}
    return subprocess.run([sys.executable, "-m", "worker.healthcheck"], env=env, check=False).returncode


@pytest.mark.slow
def test_a_worker_that_has_started_is_healthy_while_redis_is_away(tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    assert _status(url, tmp_path) == 1
    locks = ProcessLocks.of(Settings.of(redis_url=url, cache_dir=tmp_path))
    locks.hold(unique_process_name(), "demo")
    assert _status(url, tmp_path) == 0
    locks.close()
    assert _status(url, tmp_path) == 1
