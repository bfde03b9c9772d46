"""Which worker of one command gets which GPU. The driver is a stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.gpus import chosen_gpus, is_none, share_gpus
from shared.errors import ConfigurationError
from tests.gpus import MODEL, same_environment, uuid, with_driver, without_driver

_MIG = "MIG-11111111-2222-3333-4444-555555555555"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    without_driver(monkeypatch, tmp_path / "empty")
    monkeypatch.delenv("MASKQ_DEVICE", raising=False)
    monkeypatch.setattr("local.gpus._DRIVERS", (tmp_path / "none",))
    with same_environment():
        yield


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", with_driver(tmp_path / "driver", 3))


def _numbers(text: str | None) -> str:
    return "".join(gpu.number or gpu.id for gpu in chosen_gpus(text))


@pytest.mark.usefixtures("three_gpus")
@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        (None, "012"),
        ("all", "012"),
        ("2", "01"),
        ("0", ""),
        ("0,2", "02"),
        ("2, 0", "20"),
        ("2,", "2"),
        (f"{uuid(1)},", "1"),
        (uuid(1), "1"),
        (f"{_MIG},", _MIG),
    ],
)
def test_the_option_is_a_number_or_a_list(text: str | None, numbers: str) -> None:
    assert _numbers(text) == numbers


@pytest.mark.usefixtures("three_gpus")
@pytest.mark.parametrize("text", ["4", "0,3", "3,", "none", "-1", "1.5", "", ",", "0,0", "GPU-9", "\u0663"])
def test_what_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--gpus"):
        chosen_gpus(text)


@pytest.mark.usefixtures("three_gpus")
def test_the_variable_of_cuda_limits_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"2,{uuid(0)}")
    assert (_numbers(None), _numbers("1"), _numbers("0,")) == ("20", "2", "0")
    with pytest.raises(ConfigurationError, match="2 GPU"):
        chosen_gpus("1,")


def test_without_gpus_workers_run_on_the_cpu_unless_gpus_are_asked_for() -> None:
    assert chosen_gpus(None) == chosen_gpus("0") == []
    with pytest.raises(ConfigurationError, match="0 GPU"):
        chosen_gpus("all")


@pytest.mark.usefixtures("three_gpus")
@pytest.mark.parametrize("device", ["cpu", "xpu", "cuda:1"])
def test_another_device_takes_no_gpus_and_contradicts_the_option(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setenv("MASKQ_DEVICE", device)
    assert chosen_gpus(None) == chosen_gpus("0") == []
    with pytest.raises(ConfigurationError, match=f"contradicts MASKQ_DEVICE={device}"):
        chosen_gpus("2")


@pytest.mark.usefixtures("three_gpus")
def test_workers_take_turns_and_are_told_apart() -> None:
    said: list[str] = []
    assert [gpu.number for gpu in share_gpus(chosen_gpus(None), 3, said.append) if gpu] == ["0", "1", "2"]
    assert said == [f"worker-{number + 1} uses GPU {number} ({MODEL}, {uuid(number)})" for number in range(3)]
    said.clear()
    shared = share_gpus(chosen_gpus("2"), 5, said.append)
    assert [gpu.number for gpu in shared if gpu] == ["0", "1", "0", "1", "0"]
    assert "5 workers share 2 GPU(s)" in said[0]
    assert "memory" in said[0]


def test_without_gpus_there_is_nothing_to_share() -> None:
    said: list[str] = []
    assert share_gpus([], 2, said.append) == [None, None]
    assert said == []


@pytest.mark.parametrize(("text", "expected"), [("0", True), ("00", True), ("1", False), ("0,1", False), ("", False)])
def test_zero_means_no_gpu_however_it_is_written(text: str, *, expected: bool) -> None:
    assert is_none(text) is expected
    assert not is_none(None)


def test_no_gpus_contradicts_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKQ_DEVICE", "cpu")
    assert chosen_gpus("00") == []
