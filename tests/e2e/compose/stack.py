"""The services under docker-compose: start, stop, crash, and cut them off from the network."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from tests.e2e.compose.shell import run, wait_until

_PROJECT = "maskq-trial"
_READY_S = 300.0
_SETTINGS = {
    "OMP_NUM_THREADS": "1",  # several workers share few cores
    "MASKQ_REQUIRE_KEYS": "false",  # other tests check the API keys
    "MASKQ_WEBHOOK_RETRIES_S": "1," * 100,
    "REDIS_OPTIONS": "--auto-aof-rewrite-percentage 0",  # so that the log keeps every write
}
ROOT = Path(__file__).parents[3]
SERVICES = {"api": 1, "proxy": 1, "redis": 1, "webhooks": 1, "worker": 3}
"""The services that run normally, with the number of containers of each."""


@dataclass(frozen=True)
class Stack:
    """The project's compose file together with that of the trials, on the engine that `docker` uses."""

    port: int

    @property
    def url(self) -> str:
        """URL of the proxy."""
        return f"http://127.0.0.1:{self.port}"

    def compose(self, *words: str) -> str:
        """Run docker-compose on the project. Raises: TrialFailed, as `run`."""
        command = ["docker-compose", "--project-name", _PROJECT, "--project-directory", str(ROOT)]
        for file in (ROOT / "docker-compose.yml", Path(__file__).parent / "docker-compose.trial.yml"):
            command += ["--file", str(file)]
        return run([*command, *words], env={**_SETTINGS, "PORT": str(self.port)})

    def build(self, name: str) -> None:
        """Build an image, on the host's network: the engine has no other access to the outside."""
        file = str(ROOT / f"Dockerfile.{name}")
        run(["docker", "build", "--network", "host", "--tag", f"maskq-{name}", "--file", file, ROOT])

    def up(self, workers: int) -> None:
        """Start all services, or change the number of workers."""
        self.compose("up", "--detach", "--no-build", "--scale", f"worker={workers}")

    def down(self) -> None:
        """Stop and remove everything, with its data."""
        self.compose("down", "--volumes", "--timeout", "40")

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

    def with_data(self, folder: str, command: str) -> None:
        """Run a command with the data of Redis in /data and a folder of this host in /backup."""
        volumes = ["--volume", f"{_PROJECT}_redis-data:/data", "--volume", f"{folder}:/backup"]
        run(["docker", "run", "--rm", "--network", "none", *volumes, "redis:7", "sh", "-c", command])

    def python(self, container: str, program: str) -> str:
        """Run a Python program in a container. Returns its output."""
        return self.execute(container, "python", "-c", program)

    def execute(self, container: str, *words: str) -> str:
        """Run a command in a container. Returns its output."""
        return run(["docker", "exec", container, *words])
