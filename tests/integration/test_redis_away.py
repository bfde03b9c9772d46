"""A Redis that is away at the start of a process, comes back, or comes back in another state."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from local.broker import free_port, wait_for_server
from shared.store import key_names
from testing.required import require_program

pytestmark = pytest.mark.slow

_PROGRAMS = {"api": ["--port", "{port}"], "webhooks": [], "testing.scripted_worker": [], "worker": []}
_PATIENCE_S = 60.0


class Process:
    """A program, and what it has printed."""

    def __init__(self, root: Path, folder: Path, program: str, url: str, **environment: str) -> None:
        self.port = free_port()
        self._log = folder / f"{program}.log"
        arguments = [word.format(port=self.port) for word in _PROGRAMS[program]]
        command = [sys.executable, "-m", program, *arguments]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=root, env={**os.environ, **environment, "REDIS_URL": url}, stdout=log, stderr=log
            )

    @property
    def output(self) -> str:
        return self._log.read_text("utf-8", "replace")

    def until(self, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not happened():
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)

    def status_of(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
                status: int = answer.status
                return status
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return 0


@pytest.fixture
def start(root: Path, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(program: str, url: str, **environment: str) -> Process:
        started.append(Process(root, tmp_path, program, url, **environment))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()


@contextmanager
def _server(folder: Path, port: int, appendonly: str = "yes") -> Iterator[str]:
    """A redis-server with a password. Yields its URL."""
    options = [
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--dir",
        str(folder),
        "--save",
        "",
        "--requirepass",
        "secret",
    ]
    command = [require_program("redis-server"), *options, "--appendonly", appendonly]
    url = _url(port)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            wait_for_server(url)
            yield url
        finally:
            process.kill()


def _url(port: int) -> str:
    return f"redis://:secret@127.0.0.1:{port}/0"


@pytest.mark.parametrize("program", _PROGRAMS)
def test_a_process_waits_for_redis_and_says_so_once(
    start: Callable[..., Process], tmp_path: Path, program: str
) -> None:
    port = free_port()
    process = start(program, _url(port))
    waiting, there = f"waiting for Redis at 127.0.0.1:{port}", f"Redis at 127.0.0.1:{port} is there"
    process.until(lambda: waiting in process.output)
    if program == "api":
        process.until(lambda: process.status_of("/livez") == 200)
        assert process.status_of("/jobs") == 503
    time.sleep(3)
    assert there not in process.output
    with _server(tmp_path, port) as url:
        process.until(lambda: there in process.output)
        if program == "api":
            process.until(lambda: process.status_of("/jobs") == 200)
        else:
            with Redis.from_url(url) as redis:
                process.until(lambda: _is_live(redis))
        assert process.output.count(waiting) == process.output.count(there) == 1
        assert "Traceback" not in process.output
        assert "secret" not in process.output


def _is_live(redis: Redis) -> bool:
    """Whether a worker or deliverer has sent a heartbeat."""
    return any(redis.exists(name) for name in (key_names.workers("demo"), key_names.DELIVERERS))


@pytest.mark.parametrize("program", ["api", "webhooks", "testing.scripted_worker"])
def test_a_server_that_comes_back_without_aof_ends_the_process(
    start: Callable[..., Process], tmp_path: Path, program: str
) -> None:
    port = free_port()
    with _server(tmp_path, port) as url:
        process = start(program, url)
        with Redis.from_url(url) as redis:
            process.until(lambda: process.status_of("/jobs") == 200 if program == "api" else _is_live(redis))
    process.until(lambda: f"waiting for Redis at 127.0.0.1:{port}" in process.output)
    with _server(tmp_path, port, appendonly="no"):
        assert process.process.wait(_PATIENCE_S) == os.EX_CONFIG, process.output
    last = process.output.splitlines()[-1]
    assert last.startswith(f"maskq: Redis at 127.0.0.1:{port}: appendonly is no and must be yes")
    assert "Traceback" not in process.output
    assert "secret" not in process.output


def test_a_server_that_comes_back_as_it_was_is_used_again(start: Callable[..., Process], tmp_path: Path) -> None:
    port = free_port()
    with _server(tmp_path, port) as url:
        process = start("api", url)
        process.until(lambda: process.status_of("/jobs") == 200)
    process.until(lambda: process.status_of("/jobs") == 503)
    with _server(tmp_path, port):
        process.until(lambda: process.status_of("/jobs") == 200)
    assert "Traceback" not in process.output


def test_a_server_without_aof_is_used_if_data_may_be_lost(start: Callable[..., Process], tmp_path: Path) -> None:
    with _server(tmp_path, free_port(), appendonly="no") as url:
        process = start("api", url, MASKQ_ALLOW_DATA_LOSS="true")
        process.until(lambda: process.status_of("/jobs") == 200)
