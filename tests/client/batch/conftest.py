"""Folders of pictures, and the command as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from maskq import Client

from testing.pictures import encoded, gradient
from tests.client.batch.processes import Command

_SOURCES = Path(__file__).parents[3] / "client" / "src"


@pytest.fixture
def start(service: str) -> Iterator[Command]:
    """`maskq batch` in a process; it is killed when the test ends."""
    started = []

    def start(*arguments: str | Path, url: str = service) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": str(_SOURCES), "MASKQ_URL": url}
        command = [sys.executable, "-m", "maskq", "batch", *map(str, arguments)]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def run(start: Command) -> Callable[..., tuple[int, str, str]]:
    """Run `maskq batch` to its end. Returns the exit status, standard output and standard error."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        process = start(*arguments)
        out, err = process.communicate(timeout=120)
        return process.returncode, out.decode(), err.decode()

    return run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """60 pictures, no two alike."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(60):
        (folder / f"{number:02}.png").write_bytes(encoded(gradient(64 + number, 48)))
    return folder


@pytest.fixture
def jobs(client: Client) -> Callable[[], int]:
    """How many jobs the service has."""
    return lambda: sum(1 for _ in client.jobs())
