"""Runs the whole service on one machine: broker (unless REDIS_URL names one), front end, webhooks and workers."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

from local.broker import EmbeddedBroker, FolderInUseError
from local.gpus import ABOUT_GPUS, chosen_gpus, is_none, share_gpus
from local.output import CopiedOutput
from local.readiness import LiveWorkers, front_end_answers
from local.supervisor import MisconfiguredProcess, SupervisedProcess, Supervisor, ending_with_parent
from shared.errors import ConfigurationError
from shared.process import entry_point
from shared.process.command_line import PORT, CommandLine, require_address, whole_number
from shared.process.environment import load_settings
from shared.store.durability import require_durable_server
from worker.devices.driver import VISIBLE, Gpu

_READY_S = 600.0
"""Long enough to read an official checkpoint from a slow disk."""
_CHECK_S = 0.1
_WORKER = "worker-"
"""How the names of worker processes begin."""


class StopRequested(Exception):
    """A signal asked us to stop."""


class _Signals:
    """Which signals came."""

    has_stopped = False
    """Whether one asked us to stop. Python ignores what a handler raises if it runs within a destructor."""


class StartFailed(Exception):
    """The service cannot be started. The message says why."""


@dataclass(frozen=True)
class LocalService:
    """A running service."""

    url: str
    supervisor: Supervisor
    redis_url: str

    def wait_until_ready(self) -> None:
        """Return once the front end answers and each worker takes jobs.

        Raises:
            StartFailed: this takes longer than ten minutes.
            MisconfiguredProcess: a process cannot start with these settings.
        """
        deadline = time.monotonic() + _READY_S
        with LiveWorkers(self.redis_url) as live:
            while time.monotonic() < deadline:
                self.supervisor.check()
                if front_end_answers(self.url) and self._has_all(live):
                    return
                _pause()
        raise StartFailed(f"not ready within {_READY_S:g} s")

    def stay_up(self) -> NoReturn:
        """Restart what ends, until a signal raises `StopRequested`.

        Raises:
            MisconfiguredProcess: a process cannot start with these settings.
        """
        while True:
            self.supervisor.check()
            _pause()

    def _has_all(self, live: LiveWorkers) -> bool:
        workers = [each.process for each in self.supervisor.processes if each.name.startswith(_WORKER)]
        running = [process.pid for process in workers if process is not None]
        return len(running) == len(workers) and live.include(running)


@contextmanager
def local_service(
    host: str, port: int, gpus: Sequence[Gpu | None], data: Path, output: IO[bytes] | None = None
) -> Iterator[LocalService]:
    """Run broker, front end, webhooks and a worker for each of `gpus` for as long as the context lasts. A worker for
    which there is None takes the device that its settings name.

    `output` takes what they print, instead of standard error.

    Raises:
        ConfigurationError: the port is in use, or the data folder cannot be used.
    """
    require_address(host, port)
    try:
        broker = None if os.environ.get("REDIS_URL") else EmbeddedBroker.prepare((data / "broker").absolute())
    except FolderInUseError as error:
        raise ConfigurationError(f"{error}; choose another folder with --data") from None
    target = output or sys.stderr.buffer
    try:
        redis_url = broker.url if broker else os.environ["REDIS_URL"]
        with Supervisor(_processes(broker, redis_url, host, port, gpus, target), report=say) as supervisor:
            yield LocalService(f"http://{host}:{port}", supervisor, redis_url)
    finally:
        if broker:
            broker.lock.close()


def _processes(
    broker: EmbeddedBroker | None,
    redis_url: str,
    host: str,
    port: int,
    gpus: Sequence[Gpu | None],
    target: IO[bytes],
) -> Iterator[SupervisedProcess]:
    """What to run, in the order of starting."""
    env = {"REDIS_URL": redis_url, "PYTHONUNBUFFERED": "1"}

    def ours(name: str, *words: str, **more: str) -> SupervisedProcess:
        command = ending_with_parent([sys.executable, "-m", *words])
        return SupervisedProcess(name, command, CopiedOutput(target), {**env, **more})

    if broker:
        yield SupervisedProcess(
            "broker",
            ending_with_parent(broker.command),
            CopiedOutput(target),
            keep_open=(broker.lock.fileno(),),
            wait_until_ready=broker.wait,
        )
    yield ours("api", "api", "--host", host, "--port", str(port))
    yield ours("webhooks", "webhooks")
    for number, gpu in enumerate(gpus, 1):
        name = f"{_WORKER}{number}"
        yield ours(name, "worker", "--hostname", f"{name}@%h", **_worker_environment(number, gpu, len(gpus)))


def _worker_environment(number: int, gpu: Gpu | None, workers: int) -> dict[str, str]:
    """What a worker gets that the others do not: a GPU, a port for its metrics, and its part of the cores."""
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // workers))
    own = {"OMP_NUM_THREADS": threads}
    if gpu is not None:
        own[VISIBLE] = gpu.id
    if (port := os.environ.get("MASKQ_METRICS_PORT", "")).isdigit() and int(port):
        own["MASKQ_METRICS_PORT"] = str(int(port) + number - 1)
    return own


def say(line: str) -> None:
    """Print a line about the service itself, beside what its processes print."""
    print(f"maskq: {line}", file=sys.stderr, flush=True)


def _pause() -> None:
    """Wait a moment.

    Raises:
        StopRequested: a signal came, also if it was ignored when it came.
    """
    time.sleep(_CHECK_S)
    if _Signals.has_stopped:
        raise StopRequested


def _stop_on_signals() -> None:
    """Make the first SIGINT or SIGTERM raise `StopRequested`. More of them are ignored while the processes stop."""

    def stop(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _Signals.has_stopped = True
        raise StopRequested

    _Signals.has_stopped = False
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


def add_arguments(parser: CommandLine) -> None:
    """Add the options that `up` and `demo` share."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=PORT, default=8000, help="port of the front end (default: 8000)")
    parser.add_argument("--workers", type=whole_number(1), help="worker processes (default: one per GPU, else 1)")
    parser.add_argument("--gpus", help=ABOUT_GPUS)
    parser.add_argument(
        "--data", type=Path, default=Path(".data"), help="folder of the embedded broker (default: .data)"
    )


def run_service(
    options: argparse.Namespace, then: Callable[[LocalService], None], output: IO[bytes] | None = None
) -> int:
    """Start everything, call `then` once the service is ready, and stop everything. Print why it could not run.

    Returns an exit status: 0 if `then` returns or a signal stops it, 1 if the service cannot start, and 78 if a process
    is misconfigured. The last line printed is the reason; of a process, the line with which it ended.

    Raises:
        ConfigurationError: the settings or the options are wrong. Nothing was started.
    """
    settings = load_settings()
    if os.environ.get("REDIS_URL"):
        require_durable_server(settings.redis)
    gpus = chosen_gpus(options.gpus)
    if is_none(options.gpus):
        os.environ["MASKQ_DEVICE"] = "cpu"
    _stop_on_signals()
    try:
        shared = share_gpus(gpus, options.workers or len(gpus) or 1, say)
        with local_service(options.host, options.port, shared, options.data, output) as service:
            service.wait_until_ready()
            then(service)
    except StopRequested:
        say("stopped")
    except (StartFailed, TimeoutError) as error:
        say(str(error))
        return 1
    except MisconfiguredProcess as error:
        say(f"{error.name} is misconfigured, so everything was stopped:")
        print(error.explanation, file=sys.stderr, flush=True)
        return entry_point.CONFIGURATION_STATUS
    return 0


def main(program: str = "scripts/up") -> int:
    """Run until a signal comes. `program` is the name in the help. Returns an exit status."""
    parser = CommandLine(prog=program, description=__doc__)
    add_arguments(parser)
    return run_service(parser.parse_args(), _serve)


def _serve(service: LocalService) -> None:
    say(f"ready on {service.url} - Ctrl-C stops it")
    service.stay_up()


if __name__ == "__main__":
    entry_point.run(main)
