"""Which GPUs the driver lists, and which of them CUDA_VISIBLE_DEVICES chooses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gpus import MODEL, uuid, with_driver
from worker.devices.driver import Gpu, listed_gpus, visible_gpus

_MIG = "MIG-11111111-2222-3333-4444-555555555555"


def _never() -> int:
    raise AssertionError("the driver has said it")


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", with_driver(tmp_path / "driver", 4))


@pytest.mark.usefixtures("four_gpus")
def test_the_driver_lists_number_uuid_and_model() -> None:
    assert listed_gpus()[2] == Gpu(uuid(2), "2", MODEL)
    assert str(listed_gpus()[2]) == f"GPU 2 ({MODEL}, {uuid(2)})"
    assert visible_gpus(_never) == listed_gpus()


@pytest.mark.usefixtures("four_gpus")
@pytest.mark.parametrize(
    ("chosen", "numbers"),
    [
        ("0", "0"),
        ("2,0", "20"),
        (" 3 , 1", "31"),
        (uuid(1), "1"),
        (f"{uuid(3)},0", "30"),
        ("GPU-1", "1"),
        ("", ""),
        ("-1", ""),
        ("NoDevFiles", ""),
        ("1,-1,2", "1"),
        ("1,9,2", "1"),
        ("GPU-", ""),
        ("GPU-9", ""),
        ("1,1", "1"),
        ("²", ""),
    ],
)
def test_the_variable_of_cuda_chooses(monkeypatch: pytest.MonkeyPatch, chosen: str, numbers: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert "".join(gpu.number for gpu in visible_gpus(_never)) == numbers


@pytest.mark.usefixtures("four_gpus")
def test_parts_of_a_gpu_are_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"{_MIG},{uuid(0)}")
    assert [gpu.id for gpu in visible_gpus(_never)] == [_MIG, uuid(0)]


def test_without_the_driver_s_program_pytorch_says_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert visible_gpus(lambda: 2) == [Gpu("0", "0"), Gpu("1", "1")]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert visible_gpus(lambda: 2) == [Gpu("3", "3"), Gpu("5", "5")]
    assert visible_gpus(lambda: 0) == []


@pytest.mark.parametrize("script", ["exit 9", "echo No devices were found", "echo '0, GPU-0'", "kill -9 $$"])
def test_a_broken_driver_has_no_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> None:
    path = with_driver(tmp_path / "broken", 1)
    (tmp_path / "broken" / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    monkeypatch.setenv("PATH", path)
    assert listed_gpus() == []
