from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import CheckpointError
from worker.stages.calibration import CALIBRATION_FILE, Calibration, load_calibration


def test_the_identity_changes_nothing() -> None:
    curve = Calibration(about="", intercept=0, slope=1)
    assert [round(curve.probability(score), 6) for score in (0.01, 0.5, 0.99)] == [0.01, 0.5, 0.99]


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_probabilities_stay_within_0_and_1(score: float) -> None:
    assert 0 <= Calibration(about="", intercept=30, slope=40).probability(score) <= 1
    assert 0 <= Calibration(about="", intercept=-300, slope=40).probability(score) <= 1


def test_a_calibration_is_read_from_the_folder_of_its_checkpoint(tmp_path: Path) -> None:
    assert load_calibration(tmp_path) is None
    curve = Calibration(about="a test", intercept=0.5, slope=2)
    (tmp_path / CALIBRATION_FILE).write_text(curve.model_dump_json())
    assert load_calibration(tmp_path) == curve


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"about": "", "intercept": NaN, "slope": 1}', "\ufeff{"])
def test_another_file_is_refused_with_advice(tmp_path: Path, text: str) -> None:
    (tmp_path / CALIBRATION_FILE).write_text(text, "utf-8")
    with pytest.raises(CheckpointError, match="is not a calibration"):
        load_calibration(tmp_path)
