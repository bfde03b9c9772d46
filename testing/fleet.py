"""The whole service as processes that can be killed, frozen and held down: broker, front end, workers, deliverers.

A process that ends is started again at once.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import httpx2
from redis import Redis

from local.broker import EmbeddedBroker, free_port
from local.output import LogFile
from local.supervisor import AT_ONCE, MisconfiguredProcess, SupervisedProcess, Supervisor
from shared.settings import Settings
from shared.store.connection import sync_redis

SCRIPTED_WORKER = (sys.executable, "-m", "testing.scripted_worker")
DEMO_WORKER = (sys.executable, "-m", "worker")
SHORT_LEASES = {
    "MASKQ_HEARTBEAT_S": "0.5",
    "MASKQ_GIVE_UP_S": "2",
    "MASKQ_LEASE_S": "3",
    "MASKQ_RESTART_GRACE_S": "2",
    "MASKQ_REDIS_TIMEOUT_S": "2",
    "MASKQ_ACCEPT_UNSERVED": "true",
}
"""Settings under which recovery takes seconds instead of half a minute, and all workers may be down for a while."""
_BROKER = "broker"
_CHECK_S = 0.05
_READY_S = 240.0


class Fleet:
    """Use as a context: the service runs inside it."""

    def __init__(
        self,
        folder: Path,
        worker: Sequence[str] = SCRIPTED_WORKER,
        workers: int = 1,
        deliverers: int = 1,
        redis_url: str = "",
        **env: str,
    ) -> None:
        """`folder` takes the broker's data and the logs; `env` is added to every process's environment. `redis_url` is
        of servers that run already; without it the fleet has a broker of its own."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._own_broker = None if redis_url else EmbeddedBroker.prepare(folder / "broker")
        self.broker_url = self._own_broker.url if self._own_broker else redis_url
        """The URL of the broker."""
        self.port = free_port()
        self._env = {**SHORT_LEASES, "PYTHONUNBUFFERED": "1", **env, "REDIS_URL": self.broker_url}
        brokers = [self._broker_process(self._own_broker)] if self._own_broker else []
        front_end = [sys.executable, "-m", "api", "--host", "127.0.0.1", "--port", str(self.port)]
        self.api = self._process("api", front_end)
        self.deliverers = [
            self._process(f"webhooks-{number}", [sys.executable, "-m", "webhooks"])
            for number in range(1, deliverers + 1)
        ]
        self.metrics_ports = [free_port() for _ in range(workers)]
        """Where each worker serves its metrics."""
        self.workers = [self._worker(worker, *each) for each in enumerate(self.metrics_ports, start=1)]
        self._supervisor = Supervisor([*brokers, self.api, *self.deliverers, *self.workers], AT_ONCE)
        self._misconfigured: MisconfiguredProcess | None = None
        # All is plain HTTP, and loading the certificates takes as long as many requests.
        self._client = httpx2.Client(base_url=self.url, timeout=5, verify=False)
        self._stopping = threading.Event()
        self._watch = threading.Thread(target=self._restart_what_ends, name="fleet", daemon=True)

    @property
    def url(self) -> str:
        """The address of the front end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def broker(self) -> SupervisedProcess:
        """The broker, which is the fleet's own."""
        return next(process for process in self.processes if process.name == _BROKER)

    @property
    def processes(self) -> list[SupervisedProcess]:
        """All processes, in the order in which they were started."""
        return self._supervisor.processes

    @property
    def exit_statuses(self) -> dict[str, list[int]]:
        """How each process that ended did so, by its name."""
        return {process.name: process.exit_statuses for process in self.processes if process.exit_statuses}

    def exit_counts(self) -> dict[str, int]:
        """How often each process ended, and was started again."""
        return {name: len(statuses) for name, statuses in self.exit_statuses.items()}

    def __enter__(self) -> Self:
        try:
            self._supervisor.start()
            self._watch.start()
            self.wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopping.set()
        if self._watch.is_alive():
            self._watch.join()
        self._supervisor.stop()
        self._client.close()
        if self._own_broker:
            self._own_broker.lock.close()

    def start(self, name: str, command: Sequence[str], **env: str) -> SupervisedProcess:
        """Start a process that is no part of the service, and keep it running like the rest."""
        process = self._process(name, command, **env)
        self._supervisor.add(process)
        return process

    def log(self, process: SupervisedProcess) -> Path:
        """The file with everything that a process has printed."""
        return self.folder / f"{process.name}.log"

    def worker_logs(self) -> str:
        """What all workers have logged."""
        return "".join(self.log(worker).read_text("utf-8", "replace") for worker in self.workers)

    def redis(self) -> Redis:
        """A connection to the broker."""
        return sync_redis(Settings.of(redis_url=self.broker_url).redis)

    def start_all(self) -> None:
        """Wait until every process runs and the service is ready; none is held down, and no exit is remembered."""
        for process in self.processes:
            process.hold_down(0)
        self.wait_for(lambda: all(each.process for each in self.processes), "all processes to run")
        self.wait_until_ready()
        self.forget_exits()

    def forget_exits(self) -> None:
        """Forget how processes ended so far."""
        for process in self.processes:
            process.exit_statuses.clear()

    def wait_until_ready(self) -> None:
        """Return once the front end answers and sees all workers.

        Raises:
            TimeoutError: it does not within four minutes.
            MisconfiguredProcess: a process cannot start with these settings.
        """
        self.wait_for(self._is_ready, "the fleet to be ready", _READY_S)

    def wait_for(self, has_happened: Callable[[], bool], what: str, max_s: float = 60.0) -> None:
        """Return once `has_happened` returns True. It is called again and again.

        Raises:
            TimeoutError: it does not within `max_s` seconds.
            MisconfiguredProcess: a process cannot start with these settings.
        """
        deadline = time.monotonic() + max_s
        while not has_happened():
            if self._misconfigured:
                raise self._misconfigured
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {max_s:g} s for {what}; logs are in {self.folder}")
            time.sleep(_CHECK_S)

    def _is_ready(self) -> bool:
        try:
            answer = self._client.get("/readyz")
        except httpx2.HTTPError:
            return False
        return answer.status_code == 200 and sum(answer.json()["live_workers"].values()) >= len(self.workers)

    def _broker_process(self, broker: EmbeddedBroker) -> SupervisedProcess:
        # The audit reads the log of every write, so the log is never rewritten.
        process = self._process(_BROKER, [*broker.command, "--auto-aof-rewrite-percentage", "0"])
        process.keep_open = (broker.lock.fileno(),)
        process.wait_until_ready = broker.wait
        return process

    def _worker(self, command: Sequence[str], number: int, metrics_port: int) -> SupervisedProcess:
        hostname = ["--hostname", f"worker-{number}@%h"]
        return self._process(f"worker-{number}", [*command, *hostname], MASKQ_METRICS_PORT=str(metrics_port))

    def _process(self, name: str, command: Sequence[str], **env: str) -> SupervisedProcess:
        return SupervisedProcess(name, command, LogFile(self.folder / f"{name}.log"), {**self._env, **env})

    def _restart_what_ends(self) -> None:
        while not self._stopping.wait(_CHECK_S):
            try:
                self._supervisor.check()
            except MisconfiguredProcess as error:
                self._misconfigured = error
                return
