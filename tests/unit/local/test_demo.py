"""The demo sends the sample of the model that it serves."""

from pathlib import Path

import pytest

from local.demo import sample_folder
from shared.settings import ModelSettings


@pytest.mark.parametrize(
    ("model", "folder"), [("demo", "demo"), ("emoji", "emoji"), ("google/paligemma2-3b-mix-224", "demo")]
)
def test_the_sample_is_that_of_the_served_model(model: str, folder: str, root: Path) -> None:
    found = sample_folder(ModelSettings(model_id=model, models_dir=root / "models"))
    assert (root / found).resolve() == root / "models" / folder


def test_a_folder_without_a_sample_gets_that_of_the_demo(tmp_path: Path, root: Path) -> None:
    found = sample_folder(ModelSettings(model_id=str(tmp_path), models_dir=root / "models"))
    assert (root / found).resolve() == root / "models" / "demo"
