from pathlib import Path

import pytest

from shared.errors import ConfigurationError
from shared.registry import RegistryEntry, find_base, find_model, offered_models, read_registry, served_model
from shared.settings import ModelSettings, Settings

_OFFICIAL = [
    (size, kind, resolution)
    for size in ("3b", "10b", "28b")
    for kind, resolutions in (("mix", (224, 448)), ("pt", (224, 448, 896)))
    for resolution in resolutions
]


@pytest.fixture
def registry(root: Path) -> dict[str, RegistryEntry]:
    return read_registry(ModelSettings(models_dir=root / "models"))


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


def test_the_registry_holds_small_checkpoints_of_this_project_and_the_official_ones(
    registry: dict[str, RegistryEntry],
) -> None:
    assert [name for name in registry if not name.startswith("google/")] == ["demo", "emoji"]
    assert len(registry) == len(_OFFICIAL) + 2


def test_memory_is_computed_from_the_number_of_parameters(registry: dict[str, RegistryEntry]) -> None:
    entry = registry["google/paligemma2-3b-mix-224"]
    assert entry.weights_bytes("float32") == 2 * (entry.weights_bytes("bfloat16") or 0) == 4 * 3_032_242_416


def test_the_name_of_a_local_folder_is_the_last_part_of_its_path(root: Path, tmp_path: Path) -> None:
    (tmp_path / "my-model").mkdir()
    served = served_model(Settings.of(models_dir=root / "models", model_id=str(tmp_path / "my-model")).model)
    assert (served.name, served.folder) == ("my-model", tmp_path / "my-model")
    assert served.entry.weights_bytes("float32") is served.entry.image_tokens is None


@pytest.mark.parametrize(
    ("text", "name", "folder"),
    [
        ("/models/my-finetune", "my-finetune", "/models/my-finetune"),
        ("/models/my-finetune/", "my-finetune", "/models/my-finetune"),
        ("cats=/models/my-finetune", "cats", "/models/my-finetune"),
        (" cats = /models/my-finetune ", "cats", "/models/my-finetune"),
        ("cats=/models/a=b", "cats", "/models/a=b"),
        ("/models/a=b/cats", "cats", "/models/a=b/cats"),
        ("cats=runs/output", "cats", "runs/output"),
        ("./runs/cats", "cats", "runs/cats"),
        ("../cats", "cats", "../cats"),
        ("~/runs/cats", "cats", "/home/me/runs/cats"),
        ("cats=~/output_dir/checkpoint-500", "cats", "/home/me/output_dir/checkpoint-500"),
        ("/output_dir/checkpoint-500", "checkpoint-500", "/output_dir/checkpoint-500"),
        ("~nobody-has-this-name/cats", "cats", "~nobody-has-this-name/cats"),
    ],
)
def test_a_folder_needs_not_exist_and_its_name_can_be_chosen(
    root: Path, text: str, name: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    served = find_model(text, ModelSettings(models_dir=root / "models"))
    assert (served.name, served.folder) == (name, Path(folder))


@pytest.mark.parametrize("relative", [False, True])
def test_the_folder_of_an_entry_is_served_as_that_entry(
    root: Path, relative: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    text = "models/demo/" if relative else str(root / "models" / "demo")
    served = find_model(text, ModelSettings(models_dir=root / "models"))
    assert (served.name, served.entry.resolution) == ("demo", 224)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("/data/demo", "/data/demo would be called demo, .* choose another name, for example my-demo=/data/demo"),
        ("demo=/data/x", "demo=/data/x would be called demo, .* for example my-demo=/data/x"),
        ("/data/my cats", "would be called 'my cats', which cannot be .* choose one with NAME=/data/my cats"),
        ("/data/a=b", "would be called 'a=b', which cannot be .* choose one with NAME=/data/a=b"),
        ("/", "would be called '', which cannot be"),
        (".", "would be called '', which cannot be"),
        ("~", "would be called '~', which cannot be"),
        ("=/data/x", "would be called '', .* choose one with NAME=/data/x"),
        ("a/b=/data/x", "would be called 'a/b', which cannot be"),
        ("{cats}=/data/x", "which cannot be the name of a model"),
        ("c" * 65 + "=/data/x", "at most 64 of the characters"),
        ("cats=", "cats= names no folder: write cats=/FOLDER"),
        (
            "cats=demo",
            "cats=demo names no folder: write cats=/FOLDER. Models of the registry are",
        ),
        ("demo,cats=/data/x", "names several models: name one, and all in MASKQ_MODELS"),
        ("me/my-finetune", "me/my-finetune is not a model .* Write a folder as /FOLDER .* MASKQ_REGISTRY"),
    ],
)
def test_a_text_that_names_no_model_is_refused_with_advice(root: Path, text: str, line: str) -> None:
    with pytest.raises(ConfigurationError, match=line) as refused:
        find_model(text, ModelSettings(models_dir=root / "models"))
    assert "\n" not in refused.value.detail


def test_two_folders_of_one_name_are_refused_with_advice(root: Path) -> None:
    settings = ModelSettings(models_dir=root / "models", model_id="/a/cats", models="/a/cats/,/b/cats")
    with pytest.raises(ConfigurationError, match=r"/a/cats and /b/cats would both .* for example cats-2=/b/cats"):
        offered_models(settings)
    named = ModelSettings(models_dir=root / "models", model_id="/a/cats", models="/a/cats/,cats-2=/b/cats, demo")
    assert list(offered_models(named)) == ["cats", "cats-2", "demo"]


def test_a_base_may_have_any_name(root: Path) -> None:
    settings = ModelSettings(models_dir=root / "models")
    found = {text: find_base(text, settings) for text in ("demo", "/data/my base", "me/other")}
    assert [base and base.folder for base in found.values()] == [root / "models/demo", Path("/data/my base"), None]


@pytest.fixture
def own_file(tmp_path: Path) -> Path:
    (tmp_path / "registry.toml").write_text(
        """
        [models."me/my-finetune"]
        about = "Cats."
        [models.dogs]
        family = "mix"
        about = "Dogs."
        folder = "dogs"
        [models."google/paligemma2-3b-mix-224"]
        family = "mix"
        about = "Weights that are here already."
        folder = "/weights/3b"
        """
    )
    return tmp_path / "registry.toml"


def test_a_file_of_the_operator_adds_hub_ids_and_folders(root: Path, own_file: Path) -> None:
    settings = ModelSettings(models_dir=root / "models", registry=own_file)
    hub, dogs = find_model("me/my-finetune", settings), find_model("dogs", settings)
    assert (hub.name, hub.folder, hub.entry.gated) == ("me/my-finetune", None, False)
    assert (dogs.folder, dogs.entry.softcap_source[:5]) == (own_file.parent / "dogs", "arXiv")
    assert find_model("google/paligemma2-3b-mix-224", settings).folder == Path("/weights/3b")
    assert find_model("demo", settings).folder == root / "models" / "demo"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (None, "MASKQ_REGISTRY=.*: there is no such file on this machine"),
        ('[models."a b"]\nabout = ""', "a name is written like `cats` or `me/cats`"),
        ('[models."me/cats"]\nabot = ""', r'\[models."me/cats"\]: about: Field required; abot: Extra inputs'),
        ('[models."me/cats"]\nfamily = "no"', "there is no family no; there are demo, mix, pt"),
        ("models = 3", "has no table"),
        ("models.x = 3", "is not a table"),
    ],
)
def test_a_wrong_file_of_the_operator_is_explained_in_one_line(
    root: Path, tmp_path: Path, text: str | None, line: str
) -> None:
    path = tmp_path / "own.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError, match=line) as refused:
        read_registry(ModelSettings(models_dir=root / "models", registry=path))
    assert "\n" not in refused.value.detail
    assert str(path) in refused.value.detail


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
