"""The whole service as processes that one may kill, freeze and starve: a broker, a front end, workers, deliverers.

Whatever ends is started again at once, as any supervisor would do, only without its patience.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import httpx2
from redis import Redis

from local.broker import EmbeddedBroker, free_port

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
"""Settings under which what takes half a minute in earnest takes seconds; all workers may be dead for a while."""
_CHECK_S = 0.05
_READY_S = 240.0
_STOP_S = 20.0


@dataclass
class Member:
    """One process of the fleet."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    log: Path
    keep_open: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    down_until: float = 0.0
    """It is not started again before this moment of the monotonic clock."""
    deaths: list[int] = field(default_factory=list)
    """How it ended each time: an exit status, or the signal, negative."""

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=dict(self.env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=self.keep_open,
            )

    def note_death(self) -> None:
        """Write down how it ended, if it has."""
        if self.process is not None and (status := self.process.poll()) is not None:
            self.deaths.append(status)
            self.process = None

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it runs."""
        if (process := self.process) is not None:
            process.send_signal(number)


class Fleet:
    """Use as a context: the service runs inside it."""

    def __init__(
        self,
        folder: Path,
        worker: Sequence[str] = SCRIPTED_WORKER,
        workers: int = 1,
        deliverers: int = 1,
        **env: str,
    ) -> None:
        """`folder` takes the broker's data and the logs; `env` is added to every process's environment."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._broker = EmbeddedBroker.prepare(folder / "broker")
        self.port = free_port()
        self._env = {**os.environ, **SHORT_LEASES, "PYTHONUNBUFFERED": "1", **env, "REDIS_URL": self._broker.url}
        # The log of every write is evidence: it must not be made shorter.
        server = [*self._broker.command, "--auto-aof-rewrite-percentage", "0"]
        self.broker = self._member("broker", server, (self._broker.lock.fileno(),))
        front = [sys.executable, "-m", "api", "--host", "127.0.0.1", "--port", str(self.port)]
        self.api = self._member("api", front)
        self.metrics_ports = [free_port() for _ in range(workers)]
        """Where each worker serves its figures."""
        self.workers = [self._worker(worker, *each) for each in enumerate(self.metrics_ports, start=1)]
        deliverer = [sys.executable, "-m", "webhooks"]
        numbers = range(1, deliverers + 1)
        self.deliverers = [self._member(f"webhooks-{number}", deliverer) for number in numbers]
        self.guests: list[Member] = []
        """What is no part of the service."""
        self._stopping = threading.Event()
        self._watch = threading.Thread(target=self._restart_what_ends, name="fleet", daemon=True)

    @property
    def url(self) -> str:
        """Of the front end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def broker_url(self) -> str:
        return self._broker.url

    @property
    def members(self) -> list[Member]:
        """In the order of starting."""
        return [self.broker, self.api, *self.deliverers, *self.workers, *self.guests]

    @property
    def deaths(self) -> dict[str, list[int]]:
        """How each member that ended did so."""
        return {member.name: member.deaths for member in self.members if member.deaths}

    def __enter__(self) -> Self:
        try:
            self.broker.start()
            self._broker.wait()
            for member in (self.api, *self.deliverers, *self.workers):
                member.start()
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
        for member in reversed(self.members):
            self._end(member)
        self._broker.lock.close()

    def invite(self, name: str, command: Sequence[str], **env: str) -> Member:
        """Start something that is no part of the service, and keep it running like the rest."""
        guest = self._member(name, command)
        guest.env = {**guest.env, **env}
        guest.start()
        self.guests.append(guest)
        return guest

    def redis(self) -> Redis:
        """A connection to the broker."""
        return Redis.from_url(self.broker_url, socket_timeout=5)

    def worker_logs(self) -> str:
        """What all workers have logged."""
        return "".join(member.log.read_text("utf-8", "replace") for member in self.workers)

    def kill(self, member: Member, down_s: float = 0.0) -> None:
        """End a member with SIGKILL; it is started again after `down_s` seconds."""
        member.down_until = time.monotonic() + down_s
        member.send(signal.SIGKILL)

    def wait_until_ready(self) -> None:
        """Return once the front end answers and sees all workers.

        Raises:
            TimeoutError: it does not, in four minutes.
        """
        self.wait_for(self._is_ready, "the fleet to be ready", _READY_S)

    def wait_for(self, happened: Callable[[], bool], what: str, max_s: float = 60.0) -> None:
        """Return once `happened` says so.

        Raises:
            TimeoutError: it does not, in `max_s` seconds.
        """
        deadline = time.monotonic() + max_s
        while not happened():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {max_s:g} s for {what}; logs are in {self.folder}")
            time.sleep(_CHECK_S)

    def _is_ready(self) -> bool:
        try:
            answer = httpx2.get(f"{self.url}/readyz", timeout=5)
        except httpx2.HTTPError:
            return False
        return answer.status_code == 200 and sum(answer.json()["live_workers"].values()) >= len(self.workers)

    def _worker(self, command: Sequence[str], number: int, metrics_port: int) -> Member:
        member = self._member(f"worker-{number}", [*command, "--hostname", f"worker-{number}@%h"])
        member.env = {**member.env, "MASKQ_METRICS_PORT": str(metrics_port)}
        return member

    def _member(self, name: str, command: Sequence[str], keep_open: tuple[int, ...] = ()) -> Member:
        return Member(name, command, self._env, self.folder / f"{name}.log", keep_open)

    def _restart_what_ends(self) -> None:
        while not self._stopping.wait(_CHECK_S):
            for member in self.members:
                member.note_death()
                if member.process is None and time.monotonic() >= member.down_until:
                    member.start()

    def _end(self, member: Member) -> None:
        if member.process is None:
            return
        member.send(signal.SIGTERM)
        member.send(signal.SIGCONT)  # it may be frozen
        try:
            member.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            member.process.kill()
            member.process.wait()
