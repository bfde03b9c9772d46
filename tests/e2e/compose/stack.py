"""The service under docker-compose: up and down, and what may befall its containers."""

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
    "OMP_NUM_THREADS": "1",  # some workers on few cores would stand in each other's way
    "MASKQ_REQUIRE_KEYS": "false",  # who may ask is tried elsewhere
    "MASKQ_WEBHOOK_RETRIES_S": "1," * 100,
    "REDIS_OPTIONS": "--auto-aof-rewrite-percentage 0",  # so that its log tells of everything that was written
}
ROOT = Path(__file__).parents[3]
SERVICES = {"api": 1, "proxy": 1, "redis": 1, "webhooks": 1, "worker": 3}
"""What runs when all is well, and how many of each."""


@dataclass(frozen=True)
class Stack:
    """The project's compose file, and the trial's beside it, on the engine that `docker` speaks to."""

    port: int

    @property
    def url(self) -> str:
        """Of the proxy."""
        return f"http://127.0.0.1:{self.port}"

    def compose(self, *words: str) -> str:
        """Run docker-compose on the project. Raises: TrialFailed, as `run`."""
        command = ["docker-compose", "--project-name", _PROJECT, "--project-directory", str(ROOT)]
        for file in (ROOT / "docker-compose.yml", Path(__file__).parent / "docker-compose.trial.yml"):
            command += ["--file", str(file)]
        return run([*command, *words], env={**_SETTINGS, "PORT": str(self.port)})

    def build(self, name: str) -> None:
        """Build an image. On the host's network, since the engine has no way out of its own."""
        file = str(ROOT / f"Dockerfile.{name}")
        run(["docker", "build", "--network", "host", "--tag", f"maskq-{name}", "--file", file, ROOT])

    def up(self, workers: int) -> None:
        """Bring everything up, or change the number of workers."""
        self.compose("up", "--detach", "--no-build", "--scale", f"worker={workers}")

    def down(self) -> None:
        """Stop and remove everything, with its data."""
        self.compose("down", "--volumes", "--timeout", "40")

    def wait_until_ready(self, workers: int) -> float:
        """Return once the front end answers and sees exactly so many workers, and how many seconds that took."""
        return wait_until(lambda: self.live_workers() == workers, f"{workers} live workers", _READY_S)

    def live_workers(self) -> int:
        """-1 if the front end does not answer."""
        try:
            answer = httpx2.get(f"{self.url}/readyz", timeout=5)
        except httpx2.HTTPError:
            return -1
        return sum(answer.json()["live_workers"].values()) if answer.status_code == 200 else -1

    def containers(self, service: str) -> list[str]:
        """The ids of those of a service that run."""
        return self.compose("ps", "--quiet", service).split()

    def process_id(self, container: str) -> int:
        """Of a container's first process, as this host counts."""
        return int(self.inspect(container)["State"]["Pid"])

    def crash(self, container: str) -> None:
        """End a container's process as a crash would: the engine must start it again by itself."""
        os.kill(self.process_id(container), signal.SIGKILL)

    def cut_off(self, container: str) -> None:
        """Take the network on which Redis is away from a container."""
        run(["docker", "network", "disconnect", f"{_PROJECT}_store", container])

    def reconnect(self, container: str) -> None:
        run(["docker", "network", "connect", f"{_PROJECT}_store", container])

    def inspect(self, container: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(run(["docker", "inspect", container]))[0]
        return found

    def image_bytes(self, image: str) -> int:
        """Size of an image, all its layers."""
        return int(json.loads(run(["docker", "image", "inspect", image]))[0]["Size"])

    def gateway(self, network: str) -> str:
        """The address that this host has in a network of the project."""
        found = json.loads(run(["docker", "network", "inspect", f"{_PROJECT}_{network}"]))[0]
        return str(found["IPAM"]["Config"][0]["Gateway"])

    def is_healthy(self, container: str) -> bool:
        """What the container's own health check says."""
        return bool(self.inspect(container)["State"]["Health"]["Status"] == "healthy")

    def volume(self, name: str) -> Path:
        """Where a volume of the project is on this host."""
        return Path(json.loads(run(["docker", "volume", "inspect", f"{_PROJECT}_{name}"]))[0]["Mountpoint"])

    def with_data(self, folder: str, command: str) -> None:
        """Run a command with the data of Redis in /data and a folder of this host in /backup."""
        volumes = ["--volume", f"{_PROJECT}_redis-data:/data", "--volume", f"{folder}:/backup"]
        run(["docker", "run", "--rm", "--network", "none", *volumes, "redis:7", "sh", "-c", command])

    def python(self, container: str, program: str) -> str:
        """Run a Python program in a container and return what it prints."""
        return self.execute(container, "python", "-c", program)

    def execute(self, container: str, *words: str) -> str:
        """Run a command in a container and return what it prints."""
        return run(["docker", "exec", container, *words])
