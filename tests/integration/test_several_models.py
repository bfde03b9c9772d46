"""Two workers for two models: jobs go to the worker of their model, and clients learn if it has none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from shared.settings import Settings
from testing.pictures import encoded, gradient
from testing.servers import front_end

_TIMEOUT_S = 120.0


@pytest.fixture
def models_dir(root: Path, tmp_path: Path) -> Path:
    """A registry of two models, both of them copies of the demo."""
    for name in ("first", "second"):
        shutil.copytree(root / "models" / "demo", tmp_path / name)
    entries = [f'[models.{name}]\nabout = "The {name}."\nfolder = "{name}"\n' for name in ("first", "second")]
    (tmp_path / "registry.toml").write_text("\n".join(entries))
    return tmp_path


@pytest.fixture
def client(settings: Settings, models_dir: Path) -> Iterator[httpx2.Client]:
    ours = {"model_id": "first", "models": "second", "models_dir": models_dir, "accept_unserved": False}
    with (
        front_end(settings.replace(**ours)) as url,
        httpx2.Client(base_url=url, timeout=60) as client,
    ):
        yield client


@contextmanager
def _worker(settings: Settings, models_dir: Path, model_id: str) -> Iterator[None]:
    """A real worker of one model, for as long as the context lasts."""
    ours = {
        "REDIS_URL": settings.redis.redis_url,
        "MASKQ_MODELS_DIR": str(models_dir),
        "MASKQ_MODEL_ID": model_id,
        "MASKQ_DEVICE": "cpu",
    }
    command = [sys.executable, "-m", "worker", "--hostname", f"{model_id.partition('=')[0]}@%h"]
    with subprocess.Popen(command, env={**os.environ, **ours}, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def _until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _TIMEOUT_S
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _live(client: httpx2.Client) -> dict[str, int]:
    return {model["id"]: model["live_workers"] for model in client.get("/models").json()}


def _submit(client: httpx2.Client, **fields: str) -> httpx2.Response:
    files = {"image_file": ("a.png", encoded(gradient()))}
    return client.post("/segment/", data={"prompt": "red circle", **fields}, files=files)


def _finished(client: httpx2.Client, job_id: str) -> str:
    job = {"status": "queued"}
    while job["status"] in ("queued", "processing"):
        job = client.get(f"/jobs/{job_id}", params={"wait": 30}).json()
    return job["status"]


@pytest.mark.slow
def test_each_job_is_run_by_a_worker_of_its_model_and_waits_until_there_is_one(
    client: httpx2.Client, settings: Settings, models_dir: Path
) -> None:
    assert _live(client) == {"first": 0, "second": 0}
    refused = _submit(client)
    assert (refused.status_code, refused.json()["type"]) == (503, "model_unserved")
    assert "Retry-After" in refused.headers
    with _worker(settings, models_dir, "first"):
        _until(lambda: _live(client) == {"first": 1, "second": 0})
        waiting = _submit_unserved(settings, models_dir)
        done = [_submit(client).json() for _ in range(3)]
        assert {_finished(client, job["id"]) for job in done} == {"succeeded"}
        assert client.get(f"/jobs/{waiting}").json()["status"] == "queued"
        with _worker(settings, models_dir, "second"):
            assert _finished(client, waiting) == "succeeded"
            _until(lambda: _live(client) == {"first": 1, "second": 1})
            assert client.get("/readyz").json()["live_workers"] == {"first": 1, "second": 1}
            jobs = [_submit(client, **fields).json() for fields in ({}, {"model_id": "second"}) * 3]
            assert [job["model_id"] for job in jobs] == ["first", "second"] * 3
            assert {_finished(client, job["id"]) for job in jobs} == {"succeeded"}
        _until(lambda: _live(client) == {"first": 1, "second": 0})
        _until(lambda: _submit(client, model_id="second").status_code == 503)  # the front end checks once a second
        assert _finished(client, _submit(client, model_id="first").json()["id"]) == "succeeded"


def _submit_unserved(settings: Settings, models_dir: Path) -> str:
    """Submit a job of the second model, to a front end that accepts it although no worker serves that model."""
    ours = {"model_id": "first", "models": "second", "models_dir": models_dir}
    with front_end(settings.replace(**ours)) as url, httpx2.Client(base_url=url, timeout=60) as patient:
        return str(_submit(patient, model_id="second").json()["id"])


def test_a_model_of_another_deployment_is_a_wrong_field(client: httpx2.Client) -> None:
    refused = _submit(client, model_id="demo")
    assert refused.status_code == 422
    assert "first, second" in refused.json()["detail"]


@pytest.mark.slow
def test_a_front_end_without_the_folder_serves_jobs_for_it_under_the_chosen_name(
    settings: Settings, root: Path, tmp_path: Path
) -> None:
    """On the worker's machine the folder is at another path: only the name must be the same."""
    folder = shutil.copytree(root / "models" / "demo", tmp_path / "output_dir" / "checkpoint-500")
    ours = {"model_id": "cats=/not/on/this/machine", "models_dir": root / "models", "accept_unserved": False}
    with front_end(settings.replace(**ours)) as url, httpx2.Client(base_url=url, timeout=60) as client:
        assert _live(client) == {"cats": 0}
        with _worker(settings, root / "models", f"cats={folder}"):
            _until(lambda: _live(client) == {"cats": 1})
            job = _submit(client, model_id="cats").json()
            assert job["model_id"] == "cats"
            assert _finished(client, job["id"]) == "succeeded"


@pytest.mark.slow
def test_a_worker_without_the_folder_says_so_and_is_not_started_again(settings: Settings, root: Path) -> None:
    ours = {"REDIS_URL": settings.redis.redis_url, "MASKQ_MODEL_ID": "cats=/not/on/this/machine"}
    command = [sys.executable, "-m", "worker"]
    ended = subprocess.run(command, cwd=root, env={**os.environ, **ours}, capture_output=True, text=True, check=False)
    assert ended.returncode == 78
    advice = "/not/on/this/machine does not exist on this machine: check the path; in a container, the folder must be "
    assert advice in ended.stderr.splitlines()[-1]
