"""`scripts/up` and `scripts/demo` as a person uses them: start, crash, interrupt, kill, start again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from local.broker import free_port
from testing.running import running_children
from testing.servers import system_redis
from tests.gpus import MODEL, uuid, with_driver

pytestmark = pytest.mark.slow

_PATIENCE_S = 120.0


class Command:
    """A command of `scripts` in its own process, with its output in a file."""

    def __init__(self, root: Path, folder: Path, name: str, *options: str, **env: str) -> None:
        self.port = free_port()
        self._log = folder / f"{name}-{self.port}.log"
        command = [str(root / "scripts" / name), "--port", str(self.port), "--data", str(folder), *options]
        environment = {**{k: v for k, v in os.environ.items() if k != "REDIS_URL"}, **env}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=log)

    @property
    def output(self) -> str:
        return self._log.read_text("utf-8", "replace")

    def wait_for(self, text: str) -> None:
        """Return once the command has printed `text`."""
        self.until(lambda: text in self.output, text)

    def until(self, happened: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not happened():
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, f"no {what!r} in:\n{self.output}"
            time.sleep(0.1)

    def children(self, name: str = "") -> list[psutil.Process]:
        """The processes of the service whose command line contains `name`."""
        return running_children(name, self.process.pid)

    def get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            body: dict[str, Any] = json.load(answer)
            return body

    def interrupt(self) -> int:
        """What Ctrl-C does. Returns the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@pytest.fixture
def run(root: Path, tmp_path: Path) -> Iterator[Callable[..., Command]]:
    """Starts commands on one data folder. Those that still run at the end of the test are stopped."""
    started: list[Command] = []

    def start(name: str, *options: str, **env: str) -> Command:
        started.append(Command(root, tmp_path, name, *options, **env))
        return started[-1]

    yield start
    for command in started:
        if command.process.poll() is None:
            command.process.terminate()
            command.process.wait(60)


def _submit(command: Command) -> str:
    image = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    body = json.dumps({"prompt": "red circle", "image_base64": image}).encode()
    url = f"http://127.0.0.1:{command.port}/segment/"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        job_id: str = json.load(answer)["id"]
        return job_id


def test_the_demo_shows_a_mask_and_ends(run: Callable[..., Command], tmp_path: Path) -> None:
    demo = run("demo", "--once")
    assert demo.process.wait(_PATIENCE_S) == 0, demo.output
    shown = re.search(r"^\{\n.*?^\}", demo.output, re.DOTALL | re.MULTILINE)
    assert shown is not None
    job = json.loads(shown[0])
    assert (job["status"], job["error"]) == ("succeeded", None)
    assert job["result"]["objects"][0]["mask"]["format"] == "rle"
    overlay = tmp_path / "demo-overlay.png"
    assert str(overlay) in demo.output
    size = job["result"]["image"]
    with Image.open(overlay) as drawn:
        assert drawn.size == (size["width"], size["height"])


def test_ctrl_c_stops_everything_and_stored_jobs_survive(run: Callable[..., Command]) -> None:
    up = run("up", "--workers", "2")
    up.wait_for("ready on")
    assert up.get("/readyz")["live_workers"] == {"demo": 2}
    job_id = _submit(up)
    up.until(lambda: bool(up.get(f"/jobs/{job_id}")["status"] == "succeeded"), "success")
    processes = up.children()
    assert len(processes) == 5
    up.process.send_signal(signal.SIGINT)  # and once more below: an impatient person presses Ctrl-C twice
    assert up.interrupt() == 0
    assert psutil.wait_procs(processes, timeout=5)[1] == []
    assert "Traceback" not in up.output
    again = run("up")
    again.until(lambda: _answers(again), "answer")
    assert again.get(f"/jobs/{job_id}")["status"] == "succeeded"


def _answers(up: Command) -> bool:
    try:
        return bool(up.get("/livez"))
    except OSError:
        return False


def test_each_worker_has_a_gpu_of_its_own(run: Callable[..., Command], tmp_path: Path) -> None:
    up = run("up", PATH=with_driver(tmp_path / "driver", 2), MASKQ_METRICS_PORT="9301")
    up.until(lambda: len(up.children("-m worker")) == 2, "two workers")
    given = [worker.environ() for worker in up.children("-m worker")]
    assert [each["CUDA_VISIBLE_DEVICES"] for each in given] == [uuid(0), uuid(1)]
    assert [each["MASKQ_METRICS_PORT"] for each in given] == ["9301", "9302"]
    assert f"worker-2 uses GPU 1 ({MODEL}, {uuid(1)})" in up.output
    assert up.interrupt() == 0


def test_a_gpu_that_does_not_exist_is_refused_at_once(run: Callable[..., Command], tmp_path: Path) -> None:
    up = run("up", "--gpus", "0,7", PATH=with_driver(tmp_path / "driver", 2))
    assert up.process.wait(60) == os.EX_CONFIG
    assert "--gpus 0,7: must be" in up.output.splitlines()[-1]


def test_the_processes_end_when_scripts_up_is_killed(run: Callable[..., Command]) -> None:
    up = run("up")
    up.until(lambda: len(up.children()) == 4 and _answers(up), "answer")
    processes = up.children()
    up.process.kill()
    assert psutil.wait_procs(processes, timeout=60)[1] == []


def test_a_process_that_crashes_is_reported_and_started_again(run: Callable[..., Command]) -> None:
    up = run("up")
    up.wait_for("ready on")
    for name, command in (
        ("worker-1", "worker"),
        ("api", "-m api"),
        ("webhooks", "-m webhooks"),
        ("broker", "valkey-server"),
    ):
        (part,) = up.children(command)
        part.kill()
        up.wait_for(f"{name} ended with signal 9; starting it again")
        up.until(partial(_is_replaced, up, part), f"another {name}")
    up.until(lambda: _is_ready(up), "readiness")
    job_id = _submit(up)
    up.until(lambda: bool(up.get(f"/jobs/{job_id}")["status"] == "succeeded"), "success")


def _is_replaced(up: Command, part: psutil.Process) -> bool:
    return part not in up.children() and len(up.children()) == 4


def _is_ready(up: Command) -> bool:
    try:
        return up.get("/readyz")["live_workers"] == {"demo": 1}
    except OSError:
        return False


def test_a_server_named_by_redis_url_is_used_instead(run: Callable[..., Command], tmp_path: Path) -> None:
    with system_redis(tmp_path) as url:
        up = run("up", REDIS_URL=url)
        up.wait_for("ready on")
        assert up.children("valkey-server") == []
        job_id = _submit(up)
        up.until(lambda: bool(up.get(f"/jobs/{job_id}")["status"] == "succeeded"), "success")
        assert up.interrupt() == 0


def test_a_folder_or_port_in_use_ends_the_command_with_the_reason(
    run: Callable[..., Command], service_url: str, service_folder: Path
) -> None:
    same_folder = run("up", "--data", str(service_folder))
    same_port = run("up", "--port", service_url.rpartition(":")[2])
    assert same_folder.process.wait(60) == os.EX_CONFIG
    assert "another maskq is running" in same_folder.output.splitlines()[-1]
    assert same_port.process.wait(60) == os.EX_CONFIG
    assert "cannot be used" in same_port.output.splitlines()[-1]


def test_a_misconfigured_worker_ends_the_service_and_its_reason_is_the_last_line(
    run: Callable[..., Command], tmp_path: Path
) -> None:
    up = run("up", MASKQ_MODEL_ID="google/paligemma2-3b-mix-224", MASKQ_CACHE_DIR=str(tmp_path / "cache"), HF_TOKEN="")
    assert up.process.wait(_PATIENCE_S) == os.EX_CONFIG
    assert "accept its licence" in up.output.splitlines()[-1]
    assert "Traceback" not in up.output
