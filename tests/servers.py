"""Real servers for tests: Valkey from the wheel, Redis from the system, and the front end in a thread."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from redis import Redis
from redis.exceptions import RedisError

from api.app import create_app
from scripts.broker import EmbeddedBroker, free_port
from shared.settings import Settings


@contextmanager
def embedded_broker(folder: Path) -> Iterator[str]:
    """The embedded broker on its own folder. Yields its URL."""
    broker = EmbeddedBroker.prepare(folder)
    with subprocess.Popen(broker.command, pass_fds=(broker.lock.fileno(),)) as process:
        broker.wait()
        yield broker.url
        process.terminate()
    broker.lock.close()


@contextmanager
def system_redis(folder: Path) -> Iterator[str]:
    """The system's redis-server. Skips where there is none; in CI that is a failure."""
    program = shutil.which("redis-server")
    if program is None:
        reason = "redis-server is not installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    port = free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--appendonly", "yes", "--save", ""]
    with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL) as process:
        url = f"redis://127.0.0.1:{port}/0"
        _wait_for(url)
        yield url
        process.terminate()


def _wait_for(url: str) -> None:
    with Redis.from_url(url) as redis:
        for _ in range(500):
            try:
                redis.ping()
            except RedisError:
                time.sleep(0.02)
            else:
                return
    raise TimeoutError(url)


@contextmanager
def front_end(settings: Settings) -> Iterator[str]:
    """The front end under uvicorn in a thread of this process. Yields its address."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
