"""The services under Docker Compose: start, stop, crash, and cut them off from the network."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests.e2e.compose.shell import run, wait_until

_PROJECT = "maskq"
"""Compose takes it from the name of the folder."""
_READY_S = 300.0
_STOP_S = 120.0
COMPOSE_FILE = "docker-compose.yml:docker-compose.trial.yml"
WITH_SENTINELS = f"{COMPOSE_FILE}:docker-compose.sentinel.yml"
_SETTINGS = {
    "COMPOSE_FILE": COMPOSE_FILE,
    "TORCH_INDEX_URL": "",  # the base image brings its own
    "OMP_NUM_THREADS": "1",  # several workers share few cores
    "MASKQ_URL_ALLOW_HTTP": "true",  # the receiver of webhooks is on this host
    "MASKQ_URL_ALLOW_PRIVATE": "true",
    "MASKQ_WEBHOOK_RETRIES_S": "1," * 100,
    "REDIS_OPTIONS": '"--auto-aof-rewrite-percentage 0"',  # so that the log keeps every write
}
ROOT = Path(__file__).parents[3]
SERVICES = {"api": 1, "proxy": 1, "redis": 1, "webhooks": 1, "worker": 3}
"""The services that run normally, with the number of containers of each."""


@dataclass(frozen=True)
class Stack:
    """A copy of the project in a folder called maskq, used as an operator does, on the engine that `docker` uses."""

    folder: Path
    port: int
    commands: list[str] = field(default_factory=list)
    """Commands of the documentation that were run."""

    @classmethod
    def in_copy(cls, parent: Path, port: int) -> Stack:
        """Copy the files that git does not ignore to `parent`/maskq. The file .env has the trials' settings only."""
        stack = cls(parent / _PROJECT, port)
        shutil.rmtree(stack.folder, ignore_errors=True)
        for name in run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"]).splitlines():
            if (ROOT / name).is_file():
                (stack.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, stack.folder / name)
        shutil.copy(Path(__file__).with_name("docker-compose.trial.yml"), stack.folder)
        stack.configure()
        return stack

    def configure(self, **settings: str) -> None:
        """Write .env: these settings and those of the trials."""
        values = {**_SETTINGS, "PORT": str(self.port), **settings}
        (self.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()), "utf-8")

    @property
    def url(self) -> str:
        """URL of the proxy."""
        return f"http://127.0.0.1:{self.port}"

    def compose(self, *words: str) -> str:
        """Run `docker compose` on the project. Raises: TrialFailed, as `run`."""
        return run(["docker", "compose", *words], folder=self.folder)

    def documented(self, command: str, **words: str) -> str:
        """Run a command as a page shows it, with other words for some of its own. Returns its output.

        Raises:
            TrialFailed: as `run`.
        """
        self.commands.append(command)
        for word, value in words.items():
            command = command.replace(word, value)
        return run(["bash", "-c", command], folder=self.folder)

    @contextmanager
    def in_foreground(self, command: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command of a page that does not end by itself; Ctrl-C at the end of the context."""
        self.commands.append(command)
        with (self.folder.parent / "foreground.log").open("ab") as log:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(_STOP_S)

    def up(self, workers: int) -> None:
        """Start all services, or change the number of workers."""
        self.compose("up", "--detach", "--no-build", "--scale", f"worker={workers}")

    def down(self) -> None:
        """Stop and remove everything, with its data."""
        self.configure(COMPOSE_FILE=WITH_SENTINELS)
        self.compose("down", "--volumes", "--timeout", "40")
        self.configure()

    def remove_images(self) -> None:
        """Remove the project's own images; the engine keeps what it needs to build them again quickly."""
        subprocess.run(["docker", "image", "rm", "maskq-api", "maskq-worker"], capture_output=True, check=False)

    def wait_until_ready(self, workers: int) -> float:
        """Wait until the front end reports exactly this number of workers. Returns the seconds that this took."""
        return wait_until(lambda: self.live_workers() == workers, f"{workers} live workers", _READY_S)

    def live_workers(self) -> int:
        """Number of live workers that the front end reports; -1 if it does not respond."""
        try:
            answer = httpx2.get(f"{self.url}/readyz", timeout=5)
        except httpx2.HTTPError:
            return -1
        return sum(answer.json()["live_workers"].values()) if answer.status_code == 200 else -1

    def containers(self, service: str) -> list[str]:
        """Ids of the running containers of a service."""
        return self.compose("ps", "--quiet", service).split()

    def process_id(self, container: str) -> int:
        """Process id, on this host, of the first process of a container."""
        return int(self.inspect(container)["State"]["Pid"])

    def crash(self, container: str) -> None:
        """Kill a container's process. The engine must restart it."""
        os.kill(self.process_id(container), signal.SIGKILL)

    def cut_off(self, container: str) -> None:
        """Disconnect a container from the network of Redis."""
        run(["docker", "network", "disconnect", f"{_PROJECT}_store", container])

    def reconnect(self, container: str) -> None:
        run(["docker", "network", "connect", f"{_PROJECT}_store", container])

    def inspect(self, container: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(run(["docker", "inspect", container]))[0]
        return found

    def image_bytes(self, image: str) -> int:
        """Size of an image in bytes, all its layers."""
        return int(json.loads(run(["docker", "image", "inspect", image]))[0]["Size"])

    def versions(self) -> dict[str, str]:
        """Versions of the engine and of Compose."""
        engine = run(["docker", "version", "--format", "{{.Server.Version}}"]).strip()
        return {"engine": engine, "compose": self.compose("version", "--short").strip()}

    def gateway(self, network: str) -> str:
        """Address of this host in a network of the project."""
        found = json.loads(run(["docker", "network", "inspect", f"{_PROJECT}_{network}"]))[0]
        return str(found["IPAM"]["Config"][0]["Gateway"])

    def is_healthy(self, container: str) -> bool:
        """Whether the container's own health check succeeds."""
        return bool(self.inspect(container)["State"]["Health"]["Status"] == "healthy")

    def volume(self, name: str) -> Path:
        """Path of a volume of the project on this host."""
        return Path(json.loads(run(["docker", "volume", "inspect", f"{_PROJECT}_{name}"]))[0]["Mountpoint"])

    def python(self, container: str, program: str) -> str:
        """Run a Python program in a container. Returns its output."""
        return self.execute(container, "python", "-c", program)

    def execute(self, container: str, *words: str) -> str:
        """Run a command in a container. Returns its output."""
        return run(["docker", "exec", container, *words])
