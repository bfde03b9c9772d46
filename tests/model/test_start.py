"""How a worker starts: what it logs and shows, and when it counts as live."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.settings import Settings
from shared.store.leases import LeaseStore
from testing.running import running_children
from worker import build
from worker.engine.runner import Runner
from worker.engine.warm_up import warm_up
from worker.service import WorkerService
from worker.stages.mask_vqvae import MaskCodec

pytestmark = pytest.mark.slow


@pytest.fixture
def leases(settings: Settings) -> Iterator[LeaseStore]:
    store = LeaseStore.connect(settings)
    yield store
    store.close()


@pytest.fixture
def live_while_warming(leases: LeaseStore, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The live workers at the end of the warm-up."""
    seen: list[list[str]] = []

    def look(runner: Runner, **sizes: Any) -> None:
        warm_up(runner, **sizes)
        seen.append(leases.live_workers("demo"))

    monkeypatch.setattr(build, "warm_up", look)
    monkeypatch.setattr(MaskCodec, "warm_up", lambda _: None)  # takes seconds, and is the same before and after
    return seen


@pytest.fixture
def service(
    settings: Settings, live_while_warming: list[list[str]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> Iterator[WorkerService]:
    caplog.set_level("INFO")
    ours = settings.replace(models_dir=Path("models"), device="cpu", dtype="float32", cache_dir=tmp_path)
    service = build.start_service(ours, lambda: None, lambda _: None)
    yield service
    service.drain()
    service.stop()


def test_a_worker_is_live_when_it_is_warm_and_not_before(
    service: WorkerService, live_while_warming: list[list[str]], leases: LeaseStore
) -> None:
    assert live_while_warming == [[]]
    deadline = time.monotonic() + 30
    while not leases.live_workers("demo"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.usefixtures("service")
def test_the_log_says_what_takes_how_long_and_what_the_worker_runs_on(caplog: pytest.LogCaptureFixture) -> None:
    logged = [record.getMessage() for record in caplog.get_records("setup") if record.name == "worker.start_log"]
    shown = [re.sub(r"\d+\.\d s$", "N s", line) for line in logged]
    assert shown == [
        "loading demo on cpu ...",
        "loading demo on cpu took N s",
        "warming up ...",
        "warming up took N s",
        "ready: demo on cpu in float32, 32 jobs in a step (MASKQ_MAX_BATCH), 8192 tokens in a prefill, 48 jobs in "
        "flight",
    ]


def test_the_metrics_say_what_the_worker_runs_on(service: WorkerService) -> None:
    labels = {"model": "demo", "device": "cpu", "gpu": "", "dtype": "float32", "slots": "32"}
    assert service._metrics.registry.get_sample_value("maskq_worker_info", labels) == 1


@pytest.mark.usefixtures("service")
def test_each_job_process_has_decoded_a_picture_before_the_first_job() -> None:
    processes = running_children("worker.job_processes", recursive=True)
    assert processes
    for process in processes:
        assert running_children("shared.images.sandbox_child", process.pid)
