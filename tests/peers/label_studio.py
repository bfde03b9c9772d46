"""A real Label Studio as a process, with an SQLite database that is new, and its HTTP API."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from local.broker import free_port

VARIABLE = "LABEL_STUDIO_PYTHON"
"""The Python of an environment of its own, made with `pip install label-studio==1.23.2`."""
_USER, _PASSWORD = "admin@example.com", "only-for-tests-1"
_START_S = 400.0
"""It creates its database first, which takes a minute or more."""


class LabelStudio:
    """The API as one user uses it."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token
        self._http = httpx2.Client(base_url=url, headers={"Authorization": f"Token {token}"}, timeout=120)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """The answer of the API."""
        answer = self._http.request(method, path, **options)
        assert answer.is_success, answer.text[:2_000]
        return answer.json() if answer.content else None

    def is_up(self) -> bool:
        try:
            return self._http.get("/health").is_success
        except httpx2.HTTPError:
            return False

    def personal_token(self) -> str:
        """A new personal access token."""
        return str(self.ask("POST", "/api/token/")["token"])

    def project(self, label_config: str, images: dict[str, bytes]) -> int:
        """A new project with one task for each image. Returns its id."""
        number = self.ask("POST", "/api/projects", json={"title": "test", "label_config": label_config})["id"]
        for name, content in images.items():
            self.ask("POST", f"/api/projects/{number}/import", files={"file": (name, content, "image/png")})
        return int(number)

    def connect(self, project: int, backend: str) -> int:
        """Connect a backend for predictions of both kinds. Returns its id."""
        body = {"project": project, "url": backend, "title": "maskq", "is_interactive": True}
        return int(self.ask("POST", "/api/ml/", json=body)["id"])

    def tasks(self, project: int) -> list[Any]:
        """The tasks with their predictions."""
        params = {"project": project, "fields": "all"}
        tasks: list[Any] = self.ask("GET", "/api/tasks", params=params)["tasks"]
        return tasks

    def retrieve_predictions(self, project: int) -> None:
        """What the button in the data manager does, for all tasks."""
        params = {"id": "retrieve_tasks_predictions", "project": project}
        self.ask("POST", "/api/dm/actions", params=params, json={"selectedItems": {"all": True, "excluded": []}})


@contextmanager
def label_studio(python: str, folder: Path) -> Iterator[LabelStudio]:
    """A Label Studio that runs inside the context. `folder` gets its database and its log."""
    port, token = free_port(), secrets.token_hex(20)
    command = [str(Path(python).with_name("label-studio")), "start", "--no-browser", "--data-dir", str(folder)]
    command += ["--internal-host", "127.0.0.1", "--port", str(port), "--enable-legacy-api-token"]
    command += ["--username", _USER, "--password", _PASSWORD, "--user-token", token]
    # It connects backends with public addresses only, and makes a webhook for each, unless it is told otherwise.
    allowed = {"ML_BLOCK_LOCAL_IP": "false", "SSRF_PROTECTION_ENABLED": "false"}
    settings = {**allowed, "COLLECT_ANALYTICS": "false", "SENTRY_DSN": "", "HOME": str(folder)}
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, env={**os.environ, **settings}, stdout=log, stderr=log, cwd=folder) as process,
    ):
        running = LabelStudio(f"http://127.0.0.1:{port}", token)
        try:
            _wait(running, process, folder / "log")
            yield running
        finally:
            running.close()
            process.kill()


def _wait(running: LabelStudio, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while not running.is_up():
        assert process.poll() is None, log.read_text("utf-8", "replace")[-3_000:]
        assert time.monotonic() < deadline, log.read_text("utf-8", "replace")[-3_000:]
        time.sleep(0.5)
