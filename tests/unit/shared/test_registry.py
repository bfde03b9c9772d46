from pathlib import Path

import pytest

from shared.errors import ConfigurationError
from shared.registry import RegistryEntry, offered_models, read_registry, served_model
from shared.settings import Settings

_OFFICIAL = [
    (size, kind, resolution)
    for size in ("3b", "10b", "28b")
    for kind, resolutions in (("mix", (224, 448)), ("pt", (224, 448, 896)))
    for resolution in resolutions
]


@pytest.fixture
def registry(root: Path) -> dict[str, RegistryEntry]:
    return read_registry(root / "models")


def test_the_demo_is_served_by_default(root: Path) -> None:
    served = served_model(Settings.of(models_dir=root / "models").model)
    assert (served.name, served.folder) == ("demo", root / "models" / "demo")


@pytest.mark.parametrize(("size", "kind", "resolution"), _OFFICIAL)
def test_every_official_checkpoint_is_known(root: Path, size: str, kind: str, resolution: int) -> None:
    name = f"google/paligemma2-{size}-{kind}-{resolution}"
    served = served_model(Settings.of(models_dir=root / "models", model_id=name).model)
    assert (served.folder, served.entry.resolution, served.entry.gated) == (None, resolution, True)
    assert served.entry.softcap is (kind == "pt")
    assert "2412.03555" in served.entry.softcap_source
    assert served.entry.image_tokens == {224: 256, 448: 1024, 896: 4096}[resolution]


def test_the_registry_holds_the_demo_and_the_official_checkpoints_only(registry: dict[str, RegistryEntry]) -> None:
    assert len(registry) == len(_OFFICIAL) + 1


def test_memory_is_computed_from_the_number_of_parameters(registry: dict[str, RegistryEntry]) -> None:
    entry = registry["google/paligemma2-3b-mix-224"]
    assert entry.weights_bytes("float32") == 2 * (entry.weights_bytes("bfloat16") or 0) == 4 * 3_032_242_416


def test_the_name_of_a_local_folder_is_the_last_part_of_its_path(root: Path, tmp_path: Path) -> None:
    (tmp_path / "my-model").mkdir()
    served = served_model(Settings.of(models_dir=root / "models", model_id=str(tmp_path / "my-model")).model)
    assert (served.name, served.folder) == ("my-model", tmp_path / "my-model")
    assert served.entry.weights_bytes("float32") is served.entry.image_tokens is None


def test_an_operator_can_add_an_entry_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "registry.toml").write_text(
        '[families.ours]\nsoftcap = true\n[models.mine]\nfamily = "ours"\nabout = "Mine."\nfolder = "/models/mine"\n'
    )
    served = served_model(Settings.of(models_dir=tmp_path, model_id="mine").model)
    assert (served.folder, served.entry.softcap) == (Path("/models/mine"), True)


def test_an_unknown_name_is_refused_with_the_known_names(root: Path) -> None:
    with pytest.raises(ConfigurationError, match="google/paligemma2-3b-mix-448"):
        served_model(Settings.of(models_dir=root / "models", model_id="evil/model").model)


def test_a_missing_registry_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="MASKQ_MODELS_DIR"):
        served_model(Settings.of(models_dir=tmp_path).model)


@pytest.mark.parametrize(
    "text", ["x =", "[models.x]\nabot = 1", '[models.x]\nfamily = "no such"\nabout = ""', "[families.x]"]
)
def test_a_wrong_registry_is_explained(tmp_path: Path, text: str) -> None:
    (tmp_path / "registry.toml").write_text(text)
    with pytest.raises(ConfigurationError, match="is not a registry"):
        served_model(Settings.of(models_dir=tmp_path).model)


def test_a_deployment_lists_its_default_model_first(root: Path) -> None:
    names = "google/paligemma2-3b-mix-448, demo,"
    offered = offered_models(Settings.of(models_dir=root / "models", models=names).model)
    assert list(offered) == ["demo", "google/paligemma2-3b-mix-448"]
    assert list(offered_models(Settings.of(models_dir=root / "models").model)) == ["demo"]
