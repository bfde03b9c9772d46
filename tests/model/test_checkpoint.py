"""Loading checkpoints, and the errors that operators get if a checkpoint does not load."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from shared.errors import CheckpointError
from shared.registry import served_model
from shared.settings import Settings
from worker.devices.accelerators import choose_device
from worker.loading import memory
from worker.loading.checkpoint import load_checkpoint

_OFFICIAL = "google/paligemma2-3b-mix-224"


@pytest.fixture
def demo_folder(root: Path) -> Path:
    return root / "models" / "demo"


@pytest.fixture
def copy(demo_folder: Path, tmp_path: Path) -> Path:
    """A checkpoint that a test may damage."""
    return Path(shutil.copytree(demo_folder, tmp_path / "my-model"))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def _load(model_id: object, root: Path, **values: object) -> None:
    settings = Settings.of(**{"model_id": str(model_id), "models_dir": root / "models", "device": "cpu", **values})
    load_checkpoint(served_model(settings.model), settings.checkpoint, settings.model)


def test_a_local_folder_loads(copy: Path, root: Path) -> None:
    _load(copy, root)


def test_loading_leaves_the_process_s_number_of_threads_as_it_is(copy: Path, root: Path) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        _load(copy, root)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_an_official_checkpoint_in_the_cache_loads_without_token_and_network(
    demo_folder: Path, root: Path, tmp_path: Path, no_network: None
) -> None:
    cached = tmp_path / "hub" / f"models--{_OFFICIAL.replace('/', '--')}"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0123abcd")
    shutil.copytree(demo_folder, cached / "snapshots" / "0123abcd")
    _load(_OFFICIAL, root, cache_dir=tmp_path)


def test_without_a_token_the_error_names_the_licence(root: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"accept its licence .* HF_TOKEN"):
        _load(_OFFICIAL, root, cache_dir=tmp_path)


def test_without_a_network_the_error_says_so(root: Path, tmp_path: Path, no_network: None) -> None:
    with pytest.raises(CheckpointError, match="out of reach"):
        _load(_OFFICIAL, root, cache_dir=tmp_path, hf_token="hf_x")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_missing_file_is_an_error(copy: Path, root: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(CheckpointError, match="my-model"):
        _load(copy, root)


def test_a_missing_shard_is_an_error(copy: Path, root: Path) -> None:
    (copy / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"x": "model-00002-of-00002.safetensors"}})
    )
    with pytest.raises(CheckpointError, match="is incomplete"):
        _load(copy, root)


def test_damaged_weights_are_an_error(copy: Path, root: Path) -> None:
    (copy / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="my-model"):
        _load(copy, root)


def test_weights_of_another_shape_are_an_error(copy: Path, root: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["text_config"]["hidden_size"] *= 2
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="my-model"):
        _load(copy, root)


def test_another_architecture_is_an_error(copy: Path, root: Path) -> None:
    (copy / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(CheckpointError, match="my-model"):
        _load(copy, root)


def test_too_little_memory_is_an_error_before_loading(copy: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_ram", lambda: 1_000)
    with pytest.raises(CheckpointError, match="serve a smaller checkpoint"):
        _load(copy, root)


def test_pickled_weights_are_never_read(copy: Path, root: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin.* never read"):
        _load(copy, root)


def test_the_device_fits_the_machine() -> None:
    has_cuda = torch.cuda.is_available()
    assert choose_device("auto").type == ("cuda" if has_cuda else "cpu")
    with pytest.raises(CheckpointError, match="CUDA devices"):
        choose_device("cuda:99")


@pytest.mark.parametrize(("softcap", "caps"), [("true", (50.0, 30.0)), ("false", (None, None))])
def test_soft_capping_follows_the_registry(
    copy: Path, root: Path, tmp_path: Path, softcap: str, caps: tuple[float | None, float | None]
) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["text_config"] |= {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}
    (copy / "config.json").write_text(json.dumps(config))
    (tmp_path / "registry.toml").write_text(f'[models.mine]\nabout = ""\nfolder = "{copy}"\nsoftcap = {softcap}\n')
    settings = Settings.of(model_id="mine", models_dir=tmp_path, device="cpu")
    text = load_checkpoint(served_model(settings.model), settings.checkpoint, settings.model).model.config.text_config
    assert (text.attn_logit_softcapping, text.final_logit_softcapping) == caps
