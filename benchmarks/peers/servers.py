"""Starts maskq and its peers, each with models of its own, until the context ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from local.broker import free_port
from local.up import local_service
from testing.servers import embedded_broker

_READY_S = 240.0


@dataclass(frozen=True)
class Server:
    """Where a server takes a prompt and an image, as a multipart form."""

    url: str
    path: str
    group: int = 0
    """Process group of a server that computes also while nobody asks it anything; else 0."""

    @contextmanager
    def awake(self) -> Iterator[None]:
        """It runs in this context, and is stopped after it: LitServe's idle workers take 6 % of a core each."""
        self._signal(signal.SIGCONT)
        yield
        self._signal(signal.SIGSTOP)

    def _signal(self, number: int) -> None:
        if self.group:
            os.killpg(self.group, number)


@contextmanager
def maskq(folder: Path, workers: int) -> Iterator[Server]:
    """The whole service."""
    folder.mkdir(parents=True)
    with (
        (folder / "log").open("wb") as log,
        local_service("127.0.0.1", free_port(), [None] * workers, folder, log) as service,
    ):
        service.wait_until_ready()
        yield Server(service.url, "/segment/")


@contextmanager
def litserve(folder: Path, workers: int, python: str) -> Iterator[Server]:
    """LitServe, with the interpreter of its environment. All other packages are ours."""
    environment = {"PYTHONPATH": f".{os.pathsep}{sysconfig.get_paths()['purelib']}"}
    with _app(folder, "litserve_app", str(workers), python=python, **environment) as server:
        yield server


@contextmanager
def plain_celery(folder: Path, workers: int) -> Iterator[Server]:
    """Plain Celery with a process for each worker, and a front end."""
    with embedded_broker(folder / "broker") as url, ExitStack() as stack:
        command = [sys.executable, "-m", "celery", "-A", "benchmarks.peers.celery_app", "worker", "--loglevel", "ERROR"]
        lean = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--prefetch-multiplier", "1"]
        stack.enter_context(_process(folder, [*command, *lean, "-c", str(workers)], PEERS_REDIS_URL=url))
        yield stack.enter_context(_app(folder, "celery_app", PEERS_REDIS_URL=url))


@contextmanager
def sync_app(folder: Path) -> Iterator[Server]:
    """A synchronous FastAPI app."""
    with _app(folder, "sync_app") as server:
        yield server


@contextmanager
def _app(
    folder: Path, module: str, *arguments: str, python: str = sys.executable, **environment: str
) -> Iterator[Server]:
    port = free_port()
    command = [python, "-m", f"benchmarks.peers.{module}", str(port), *arguments]
    with _process(folder, command, **environment) as process:
        url = f"http://127.0.0.1:{port}"
        _wait_until_serving(url, process)
        yield Server(url, "/predict", process.pid)


@contextmanager
def _process(folder: Path, command: Sequence[str], **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process with one CPU thread for the model, as ours have. What it prints is in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    env: Mapping[str, str] = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    with (
        (folder / "log").open("ab") as log,
        subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True) as process,
    ):
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """With all that it has started: LitServe does not end its own workers in time."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGCONT)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _wait_until_serving(url: str, process: subprocess.Popen[bytes]) -> None:
    """Return when the server answers anything.

    Raises:
        RuntimeError: it ended, or does not answer in time.
    """
    until = time.monotonic() + _READY_S
    while time.monotonic() < until and process.poll() is None:
        try:
            httpx2.get(url, timeout=5)
        except httpx2.TransportError:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"{process.args!r} does not serve")
