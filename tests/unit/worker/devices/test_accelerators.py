"""What is chosen on machines with other devices. They are stand-ins: no machine with one was at hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from shared.errors import CheckpointError
from tests.gpus import pretend
from worker.devices.accelerators import choose_device, free_bytes, made_current, memory_of_devices


@pytest.mark.parametrize(
    ("counts", "chosen"),
    [
        ({}, "cpu"),
        ({"mps": 1}, "mps"),
        ({"xpu": 1, "mps": 1}, "xpu"),
        ({"cuda": 2, "xpu": 1, "mps": 1}, "cuda"),
    ],
)
def test_auto_prefers_nvidia_then_intel_then_apple(
    monkeypatch: pytest.MonkeyPatch, counts: dict[str, int], chosen: str
) -> None:
    pretend(monkeypatch, **counts)
    assert choose_device("auto") == torch.device(chosen)


@pytest.mark.parametrize(
    ("setting", "text"),
    [("cuda", "0 CUDA"), ("cuda:1", "0 CUDA"), ("xpu:1", "1 XPU"), ("mps", "0 MPS")],
)
def test_a_device_that_does_not_exist_is_an_error(monkeypatch: pytest.MonkeyPatch, setting: str, text: str) -> None:
    pretend(monkeypatch, xpu=1)
    with pytest.raises(CheckpointError, match=f"MASKQ_DEVICE={setting}, but PyTorch sees {text} devices"):
        choose_device(setting)


def test_free_memory_is_that_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (7, 10))
    monkeypatch.setattr(torch.xpu, "mem_get_info", lambda device: (5, 10))
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 10)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 4)
    found = [free_bytes(torch.device(kind)) for kind in ("cuda", "xpu:1", "mps", "cpu")]
    assert found == [7, 5, 6, None]


def test_the_memory_of_each_visible_gpu_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, xpu=2)
    for name, value in (("mem_get_info", (7, 10)), ("memory_allocated", 2), ("memory_reserved", 3)):
        monkeypatch.setattr(torch.xpu, name, lambda device, value=value: value)
    kinds = {"total": 10, "free": 7, "allocated": 2, "reserved": 3}
    assert list(memory_of_devices()) == [(0, kinds), (1, kinds)]
    pretend(monkeypatch, mps=1)
    assert list(memory_of_devices()) == []


def test_a_gpu_with_a_number_is_made_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "device_index", lambda index: SimpleNamespace(index=index))
    assert vars(made_current(torch.device("cuda:1"))) == {"index": 1}
    with made_current(torch.device("cuda")), made_current(torch.device("cpu")):
        pass
