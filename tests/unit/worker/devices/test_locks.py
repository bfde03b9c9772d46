"""Locks of real processes on a real file system."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from worker.devices.locks import DeviceLocks

_TAKE = """
import sys, time
from pathlib import Path
from worker.devices.locks import DeviceLocks

taken = DeviceLocks(Path(sys.argv[1])).take(sys.argv[2].split(","))
print(sys.argv[2].split(",")[taken.index], taken.others, flush=True)
time.sleep(60)
"""

Started = tuple["subprocess.Popen[str]", str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "devices"


@pytest.fixture
def start(root: Path, folder: Path) -> Iterator[Callable[[int, str], list[Started]]]:
    """Starts processes at once that take one of these devices each. All are killed after the test."""
    running: list[subprocess.Popen[str]] = []

    def start(number: int, names: str) -> list[Started]:
        command = [sys.executable, "-c", _TAKE, str(folder), names]
        ours = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(number)]
        running.extend(ours)
        return [(each, each.stdout.readline().strip()) for each in ours if each.stdout]

    yield start
    for process in running:
        process.kill()
        process.communicate()


Start = Callable[[int, str], list[Started]]


def test_processes_that_start_at_once_take_different_devices_and_share_evenly(start: Start) -> None:
    taken = [text for _, text in start(7, "a,b,c")]
    assert sorted(taken) == ["a 0", "a 1", "a 2", "b 0", "b 1", "c 0", "c 1"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_device_is_free_when_its_process_has_ended(start: Start, how: signal.Signals) -> None:
    (first, _), _ = start(2, "a,b")
    ((_, again),) = _again(start, first, how)
    assert again in ("a 0", "b 0")


def _again(start: Start, ending: subprocess.Popen[str], how: signal.Signals) -> list[Started]:
    ending.send_signal(how)
    ending.wait()
    return start(1, "a,b")


def test_a_frozen_process_keeps_its_device(start: Start) -> None:
    ((frozen, _),) = start(1, "a")
    frozen.send_signal(signal.SIGSTOP)
    assert [text for _, text in start(1, "a,b")] == ["b 0"]


def test_children_do_not_keep_a_device(folder: Path) -> None:
    taken = DeviceLocks(folder).take(["a"])
    with subprocess.Popen(["sleep", "60"]) as child:
        taken.release()
        assert DeviceLocks(folder).take(["a"]).others == 0
        child.kill()


def test_a_name_cannot_leave_the_folder(folder: Path) -> None:
    DeviceLocks(folder).take(["../../a"])
    assert [path.name for path in folder.iterdir()] == ["______a.0"]


def test_without_a_folder_the_first_is_taken_and_a_warning_says_what_is_lacking(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    taken = DeviceLocks(tmp_path / "file" / "devices").take(["a", "b"])
    assert (taken.index, taken.others) == (0, 0)
    assert "other workers may use the same GPU" in caplog.text
    taken.release()
