"""One process of each kind, each with a REDIS_URL of its own, and a client of the front end."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
from PIL import Image

from local.broker import free_port
from testing.fleet import SHORT_LEASES

_PATIENCE_S = 240.0
_ROOT = Path(__file__).parents[2]
PROGRAMS = {"api": ["-m", "api"], "worker": ["-m", "testing.scripted_worker"], "webhooks": ["-m", "webhooks"]}


@dataclass
class Processes:
    """The processes by their names, which are those of `PROGRAMS`, with a number behind a second one: `worker-2`."""

    folder: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    api_port: int = field(default_factory=free_port)

    def log(self, name: str) -> str:
        """What a process has printed."""
        return (self.folder / f"{name}.log").read_text("utf-8", "replace")

    def logs(self) -> str:
        """What all have printed."""
        return "".join(f"--- {name}\n{self.log(name)}" for name in self.running)

    def until(self, happened: Callable[[], bool]) -> None:
        """Return once it has happened. All processes must run until then."""
        deadline = time.monotonic() + _PATIENCE_S
        while not happened():
            self.require_running()
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.05)

    def require_running(self) -> None:
        """Check that no process has ended."""
        for name, process in self.running.items():
            assert process.poll() is None, f"{name} ended with {process.poll()}\n{self.log(name)}"

    def submit(self, idempotency_key: str = "", **fields: str) -> httpx2.Response:
        """Submit a picture, for the prompt `cat` unless another is given."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        image = io.BytesIO()
        Image.new("RGB", (8, 8)).save(image, "PNG")
        with self.client() as client:
            files = {"image_file": ("a.png", image.getvalue())}
            return client.post("/segment/", data={"prompt": "cat", **fields}, files=files, headers=headers)

    def has_succeeded(self, job_id: str) -> bool:
        """Whether a job has. The front end may not answer."""
        with self.client() as client:
            answer = client.get(f"/jobs/{job_id}")
        return answer.status_code == 200 and answer.json()["status"] == "succeeded"

    def is_ready(self) -> bool:
        """Whether the front end sees the workers."""
        try:
            with self.client() as client:
                answer = client.get("/readyz")
        except httpx2.TransportError:
            return False
        workers = sum(name.startswith("worker") for name in self.running)
        return answer.status_code == 200 and answer.json()["live_workers"] == {"demo": workers}

    def client(self) -> httpx2.Client:
        """A client of the front end."""
        return httpx2.Client(base_url=f"http://127.0.0.1:{self.api_port}", timeout=20, verify=False)


@contextmanager
def running_processes(folder: Path, urls: Mapping[str, str], **environment: str) -> Iterator[Processes]:
    """Run the processes of `urls`, each with its REDIS_URL, ready for jobs. They are killed at the end."""
    here = Processes(folder)
    with ExitStack() as stack:
        for name in urls:
            command = PROGRAMS[name.partition("-")[0]]
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            port = ["--port", str(here.api_port)] if name == "api" else []
            here.running[name] = subprocess.Popen(
                [sys.executable, *command, *port],
                cwd=_ROOT,
                env={**os.environ, **SHORT_LEASES, **environment, "REDIS_URL": urls[name]},
                stdout=log,
                stderr=log,
            )
            stack.callback(_end, here.running[name])
        here.until(here.is_ready)
        yield here


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
