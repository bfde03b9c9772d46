"""What a worker chooses where the settings say nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from shared.settings import Settings
from worker import fitting
from worker.fitting import fitted, slot_bytes

_GB = 10**9
_GEMMA_2B = {"num_hidden_layers": 26, "num_key_value_heads": 4, "head_dim": 256}


def _model(device: str, dtype: torch.dtype = torch.bfloat16, parameters: int = 3_000_000_000) -> Any:
    """The sizes of `paligemma2-3b-mix-224`."""
    config = SimpleNamespace(
        text_config=SimpleNamespace(**_GEMMA_2B), vision_config=SimpleNamespace(image_size=224, patch_size=14)
    )
    return SimpleNamespace(config=config, device=torch.device(device), dtype=dtype, num_parameters=lambda: parameters)


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Free memory by the kind of device, in bytes."""
    bytes_by_kind = dict.fromkeys(("cuda", "xpu", "mps", "cpu"), 20 * _GB)
    on_device = dict.fromkeys(("cuda", "xpu", "mps"), bytes_by_kind.get)
    monkeypatch.setattr(fitting, "free_bytes", lambda device: on_device.get(device.type, lambda _: None)(device.type))
    monkeypatch.setattr(fitting, "free_ram", lambda: bytes_by_kind["cpu"])
    return bytes_by_kind


@pytest.mark.parametrize(
    ("device", "free_gb", "slots"),
    [
        ("cuda", 133, 128),  # an H200
        ("cuda", 74, 128),
        ("cuda", 17, 64),  # 24 GB
        ("cuda", 9, 32),
        ("cuda", 1.6, 4),  # 8 GB
        ("cuda", 0.01, 1),  # reported when the cache is made
        ("xpu", 133, 64),
        ("mps", 133, 16),
        ("cpu", 133, 16),
        ("cpu", 1.6, 4),
    ],
)
def test_the_device_chooses_the_number_of_slots(free: dict[str, int], device: str, free_gb: float, slots: int) -> None:
    free[device] = int(free_gb * _GB)
    chosen = fitted(Settings.of(), _model(device))
    assert chosen.engine.max_batch == slots
    assert chosen.worker.worker_threads == (3 * slots + 1) // 2
    one = slot_bytes(_model(device), chosen.engine)
    assert slots * one <= max(free[device] / 2, one)


@pytest.mark.parametrize(("free_gb", "slots"), [(133, 32), (0.8, 1)])
def test_a_small_model_on_a_cpu_runs_more_jobs_in_a_step(free: dict[str, int], free_gb: float, slots: int) -> None:
    free["cpu"] = int(free_gb * _GB)
    assert fitted(Settings.of(), _model("cpu", torch.float32, parameters=5_000_000)).engine.max_batch == slots


def test_what_is_set_stays(free: dict[str, int]) -> None:
    chosen = fitted(Settings.of(max_batch=7, prefill_tokens=99), _model("cuda"))
    assert (chosen.engine.max_batch, chosen.engine.prefill_tokens, chosen.worker.worker_threads) == (7, 99, 11)
    slow = fitted(Settings.of(max_batch=16, prefill_tokens=8_192), _model("cpu"))
    assert (slow.engine.max_batch, slow.engine.prefill_tokens) == (16, 8_192)


def test_jobs_in_flight_that_are_set_limit_the_slots(free: dict[str, int]) -> None:
    chosen = fitted(Settings.of(worker_threads=20), _model("cuda"))
    assert (chosen.engine.max_batch, chosen.worker.worker_threads) == (20, 20)


@pytest.mark.parametrize(
    ("device", "parameters", "tokens"),
    [("cpu", 3_000_000_000, 1_024), ("cpu", 4_000_000, 8_192), ("cuda", 3_000_000_000, 8_192)],
)
def test_a_large_model_on_a_cpu_starts_few_images_at_once(
    free: dict[str, int], device: str, parameters: int, tokens: int
) -> None:
    assert fitted(Settings.of(), _model(device, parameters=parameters)).engine.prefill_tokens == tokens


def test_the_demo_on_a_cpu_has_the_documented_sizes(free: dict[str, int]) -> None:
    assert fitted(Settings.of(), _model("cpu", torch.float32, 4_000_000)).engine == Settings.of(max_batch=32).engine
