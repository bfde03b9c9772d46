"""Runs the whole service on one machine: broker (unless REDIS_URL names one), front end, webhooks, workers."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from local.broker import EmbeddedBroker, FolderInUseError
from local.supervisor import Part, Supervisor
from shared.process import entry_point
from shared.process.environment import load_settings

_READY_S = 600.0
"""Long enough for an official checkpoint to be read from a slow disk."""


class StopRequested(Exception):
    """A signal asked us to end."""


class StartFailed(Exception):
    """The service cannot be started. The message says why; `status` is the exit status for it."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class LocalService:
    """A running service."""

    url: str
    supervisor: Supervisor

    def wait_until_ready(self, workers: int) -> None:
        """Return once all workers have loaded the model.

        Raises:
            StartFailed: a part is set up wrongly, or it takes too long.
        """
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            status = self.supervisor.check()
            if status is not None:
                raise StartFailed("the service could not start", status)
            if self._live_workers() >= workers:
                return
            time.sleep(0.1)
        raise StartFailed(f"not ready within {_READY_S:g} s")

    def _live_workers(self) -> int:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:  # noqa: S310  our own address
                return sum(json.load(answer)["live_workers"].values())
        except (urllib.error.URLError, OSError):
            return 0


@contextmanager
def local_service(
    host: str, port: int, workers: int, data: Path, output: IO[bytes] | None = None
) -> Iterator[LocalService]:
    """Run broker, front end, webhooks and workers for as long as the context lasts. `output` takes what they print.

    Raises:
        StartFailed: the port is taken or another maskq uses the data folder.
    """
    _check_port(host, port)
    try:
        broker = None if os.environ.get("REDIS_URL") else EmbeddedBroker.prepare((data / "broker").absolute())
    except FolderInUseError as error:
        raise StartFailed(str(error)) from None
    try:
        with Supervisor(_parts(broker, host, port, workers), say, output) as supervisor:
            yield LocalService(f"http://{host}:{port}", supervisor)
    finally:
        if broker:
            broker.lock.close()


def _parts(broker: EmbeddedBroker | None, host: str, port: int, workers: int) -> list[Part]:
    """What to run, in the order of starting."""
    env = {"REDIS_URL": broker.url if broker else os.environ["REDIS_URL"], "PYTHONUNBUFFERED": "1"}
    parts = []
    if broker:
        parts.append(Part("broker", broker.command, keep_open=(broker.lock.fileno(),), on_start=broker.wait))
    api = [sys.executable, "-m", "api", "--host", host, "--port", str(port)]
    parts.append(Part("api", api, env))
    parts.append(Part("webhooks", [sys.executable, "-m", "webhooks"], env))
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // workers))
    for number in range(1, workers + 1):
        command = [sys.executable, "-m", "worker", "--hostname", f"worker-{number}@%h"]
        parts.append(Part(f"worker-{number}", command, {"OMP_NUM_THREADS": threads, **env}))
    return parts


def _check_port(host: str, port: int) -> None:
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise StartFailed(
            f"port {port} on {host} cannot be used ({error.strerror}); choose another with --port"
        ) from None


def say(line: str) -> None:
    """A line about the service itself, beside what its parts print."""
    print(f"maskq: {line}", file=sys.stderr, flush=True)


def _stop_on_signals() -> None:
    """Make the first Ctrl-C or SIGTERM raise `StopRequested`; while the parts are ended, more of them are ignored."""

    def stop(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise StopRequested

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options `up` and `demo` share."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=8000, help="port of the front end (default: 8000)")
    parser.add_argument("--workers", type=int, default=1, help="worker processes (default: 1)")
    parser.add_argument(
        "--data", type=Path, default=Path(".data"), help="folder of the embedded broker (default: .data)"
    )


def run_service(
    options: argparse.Namespace, then: Callable[[LocalService], int], output: IO[bytes] | None = None
) -> int:
    """Start everything, go on with `then` once it is ready, and end everything. Whatever stops this is said.

    Returns an exit status: that of `then`, or 0 after a signal, or that of what did not start.

    Raises:
        ConfigurationError: the settings are wrong. Nothing was started.
    """
    load_settings()
    _stop_on_signals()
    try:
        with local_service(options.host, options.port, options.workers, options.data, output) as service:
            service.wait_until_ready(options.workers)
            return then(service)
    except StopRequested:
        say("stopped")
        return 0
    except StartFailed as error:
        say(str(error))
        return error.status


def stay_up(service: LocalService) -> int:
    """Watch over the parts until a signal comes. Returns an exit status."""
    while True:
        status = service.supervisor.check()
        if status is not None:
            return status
        time.sleep(0.2)


def main() -> int:
    """Run until told to stop."""
    parser = argparse.ArgumentParser(prog="scripts/up", description=__doc__)
    add_arguments(parser)
    return run_service(parser.parse_args(), _serve)


def _serve(service: LocalService) -> int:
    say(f"ready on {service.url} - Ctrl-C ends it")
    return stay_up(service)


if __name__ == "__main__":
    entry_point.run(main)
