"""Which device a worker takes. GPUs are stand-ins, the locks are real."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import CheckpointError
from tests.gpus import MODEL, pretend, same_environment, uuid, with_driver
from worker.devices.claim import claim_device
from worker.devices.locks import DeviceLocks

_CLAIM = """
import os, sys
from pathlib import Path
import pytest
from tests.gpus import pretend
from worker.devices.claim import claim_device
from worker.devices.locks import DeviceLocks

pretend(pytest.MonkeyPatch(), cuda=3)
claimed = claim_device(sys.argv[2], DeviceLocks(Path(sys.argv[1])))
print(claimed.setting, os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def locks(tmp_path: Path) -> DeviceLocks:
    return DeviceLocks(tmp_path / "devices")


def _claim(setting: str, locks: DeviceLocks) -> str:
    """The device, in an environment of its own."""
    with same_environment():
        claimed = claim_device(setting, locks)
        return f"{claimed.setting} {os.environ.get('CUDA_VISIBLE_DEVICES', '')}".strip()


def test_workers_take_one_gpu_each_and_then_share(monkeypatch: pytest.MonkeyPatch, locks: DeviceLocks) -> None:
    pretend(monkeypatch, cuda=3)
    assert [_claim("auto", locks) for _ in range(4)] == ["cuda 0", "cuda 1", "cuda 2", "cuda 0"]


@pytest.mark.slow
def test_processes_that_start_at_once_see_one_gpu_each(root: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": with_driver(tmp_path / "driver", 3), "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", _CLAIM, str(tmp_path / "devices"), "auto"]
    running = [
        subprocess.Popen(command, cwd=root, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    taken = {each.stdout.readline().strip() for each in running if each.stdout}
    for each in running:
        each.communicate()
    assert taken == {f"cuda {uuid(number)}" for number in range(3)}


def test_a_shared_gpu_is_a_warning_about_its_memory(
    monkeypatch: pytest.MonkeyPatch, locks: DeviceLocks, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    pretend(monkeypatch, cuda=1)
    monkeypatch.setenv("PATH", with_driver(tmp_path / "driver", 1))
    _claim("auto", locks)
    assert caplog.text == ""
    _claim("auto", locks)
    assert f"GPU 0 ({MODEL}, {uuid(0)}) has 1 more worker(s) of this machine" in caplog.text
    assert "MASKQ_MAX_BATCH" in caplog.text


def test_a_gpu_with_a_number_is_that_one_and_others_leave_it(
    monkeypatch: pytest.MonkeyPatch, locks: DeviceLocks
) -> None:
    pretend(monkeypatch, cuda=3)
    assert [_claim(each, locks) for each in ("cuda:0", "auto", "cuda")] == ["cuda 0", "cuda 1", "cuda 2"]


def test_a_number_counts_among_the_visible_gpus(monkeypatch: pytest.MonkeyPatch, locks: DeviceLocks) -> None:
    pretend(monkeypatch, cuda=4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    assert _claim("cuda:1", locks) == "cuda 1"
    assert _claim("cuda", locks) == "cuda 3"
    with pytest.raises(CheckpointError, match="MASKQ_DEVICE=cuda:2, but PyTorch sees 2 CUDA devices"):
        _claim("cuda:2", locks)


def test_if_cuda_has_started_already_the_number_says_which_gpu_it_is(
    monkeypatch: pytest.MonkeyPatch, locks: DeviceLocks
) -> None:
    pretend(monkeypatch, cuda=2)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert [_claim("auto", locks) for _ in range(2)] == ["cuda:0 0", "cuda:1 1"]


@pytest.mark.parametrize("visible", ["", "-1"])
def test_hidden_gpus_are_not_used(monkeypatch: pytest.MonkeyPatch, locks: DeviceLocks, visible: str) -> None:
    pretend(monkeypatch, cuda=0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert claim_device("auto", locks).setting == "cpu"


def test_a_gpu_that_pytorch_cannot_use_is_a_warning_and_no_gpu(
    monkeypatch: pytest.MonkeyPatch, locks: DeviceLocks, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    pretend(monkeypatch)
    monkeypatch.setenv("PATH", with_driver(tmp_path / "driver", 2))
    assert _claim("auto", locks) == "cpu"
    assert "PyTorch cannot use the GPU of this machine" in caplog.text
    with pytest.raises(CheckpointError, match="PyTorch sees 0 CUDA devices"):
        _claim("cuda", locks)
    pretend(monkeypatch, cuda=2)
    assert _claim("auto", locks) == f"cuda {uuid(0)}"  # nobody keeps it


def test_gpus_of_intel_are_taken_by_number(monkeypatch: pytest.MonkeyPatch, locks: DeviceLocks) -> None:
    pretend(monkeypatch, xpu=2)
    assert [_claim(each, locks) for each in ("xpu:1", "auto", "xpu")] == ["xpu:1", "xpu:0", "xpu:0"]


def test_a_cpu_and_a_gpu_of_apple_need_no_lock(monkeypatch: pytest.MonkeyPatch, locks: DeviceLocks) -> None:
    pretend(monkeypatch, mps=1)
    assert [_claim(each, locks) for each in ("auto", "mps", "cpu")] == ["mps", "mps", "cpu"]
    assert not locks.folder.exists()


def test_an_id_without_uuid_counts_for_this_machine_only(monkeypatch: pytest.MonkeyPatch, locks: DeviceLocks) -> None:
    pretend(monkeypatch, cuda=1)
    monkeypatch.setattr("worker.devices.claim.boot_id", lambda: "another-machine")
    _claim("auto", locks)
    assert [path.name for path in locks.folder.iterdir()] == ["another-machine-0.0"]
