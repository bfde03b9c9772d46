"""The measurements for a GPU run without one, each within its time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.gpu import PARTS, Part, run_parts


@pytest.fixture(autouse=True)
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(gpu, "_LOGS", tmp_path / "logs")
    return tmp_path / "logs"


def _part(name: str, program: str, *arguments: str, limit_s: float = 60.0) -> Part:
    return Part(name, program, arguments, arguments, limit_s)


def test_a_part_that_fails_or_takes_too_long_does_not_stop_the_others(logs: Path) -> None:
    parts = [
        _part("fails", "timeit", "-n", "1", "-r", "1", "raise ValueError"),
        _part("takes long", "timeit", "-n", "1", "import time; time.sleep(60)", limit_s=2.0),
        _part("works", "timeit", "-n", "1", "print('measured')"),
    ]
    ended = run_parts(parts, minutes=1.0, rehearse=True)
    assert ended == {"fails": "failed with status 1", "takes long": "took more than 2 s", "works": "done"}
    assert "measured" in (logs / "works.log").read_text()


def test_no_part_begins_when_the_time_is_over() -> None:
    ended = run_parts([_part("late", "timeit", "1")], minutes=0.0, rehearse=True)
    assert ended == {"late": "no time was left"}


def test_each_part_keeps_its_result_under_a_name_of_its_own() -> None:
    saved = [part.command(rehearse=False)[-1] for part in PARTS]
    assert len(set(saved)) == len(PARTS)
    assert not any("--save" in part.command(rehearse=True) for part in PARTS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["engine-3b-224-batch-64", "steps-3b-224"])
def test_programs_of_the_model_can_be_rehearsed(name: str, logs: Path) -> None:
    part = next(each for each in PARTS if each.name == name)
    assert run_parts([part], minutes=4.0, rehearse=True) == {name: "done"}
    log = (logs / f"{name}.log").read_text()
    assert json.loads(log[log.index("{") : log.rindex("}") + 1])["results"]


def test_without_a_gpu_the_command_says_how_to_rehearse() -> None:
    run = subprocess.run([sys.executable, "-m", "benchmarks.gpu"], capture_output=True, text=True, check=False)
    if "NVIDIA" not in run.stderr:
        pytest.skip("this machine has an NVIDIA GPU")
    assert run.returncode == 2
    assert "--rehearse" in run.stderr
