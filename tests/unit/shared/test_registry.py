from pathlib import Path

import pytest

from shared.errors import ConfigurationError
from shared.registry import served_model
from shared.settings import Settings


def test_the_demo_is_served_by_default(root: Path) -> None:
    served = served_model(Settings(models_dir=root / "models"))
    assert (served.name, served.folder) == ("demo", root / "models" / "demo")


@pytest.mark.parametrize("size", ["3b", "10b", "28b"])
@pytest.mark.parametrize("resolution", [224, 448])
def test_every_official_mix_checkpoint_is_known(root: Path, size: str, resolution: int) -> None:
    name = f"google/paligemma2-{size}-mix-{resolution}"
    served = served_model(Settings(models_dir=root / "models", model_id=name))
    assert (served.folder, served.entry.resolution, served.entry.gated) == (None, resolution, True)
    assert not served.entry.softcap


def test_a_local_folder_is_called_by_its_last_name(root: Path, tmp_path: Path) -> None:
    (tmp_path / "my-model").mkdir()
    served = served_model(Settings(models_dir=root / "models", model_id=str(tmp_path / "my-model")))
    assert (served.name, served.folder) == ("my-model", tmp_path / "my-model")


def test_an_unknown_name_is_refused_with_those_there_are(root: Path) -> None:
    with pytest.raises(ConfigurationError, match="google/paligemma2-3b-mix-448"):
        served_model(Settings(models_dir=root / "models", model_id="evil/model"))


def test_a_missing_registry_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="MODELS_DIR"):
        served_model(Settings(models_dir=tmp_path))
