"""LoRA adapters are merged into their base as `peft` merges them, or refused."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from shared.errors import CheckpointError
from shared.registry import served_model
from shared.settings import Settings
from worker.loading.checkpoint import Checkpoint, load_checkpoint
from worker.loading.lora import merge_adapter

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft 0.21 asks for it

_TARGETS = r".*language_model.*\.(q_proj|v_proj|down_proj)|.*vision_tower.*\.fc1|.*multi_modal_projector\.linear"


def _trained(demo: Checkpoint, folder: Path, **options: Any) -> Any:
    """Write an adapter of random weights; returns the model as peft merges it."""
    config = LoraConfig(r=4, lora_alpha=12, target_modules=_TARGETS, **options)
    model = get_peft_model(copy.deepcopy(demo.model), config)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_" in name:
                value.normal_(std=0.1)
    model.peft_config["default"].base_model_name_or_path = "demo"
    model.save_pretrained(str(folder), save_embedding_layers=False)  # else it looks for the base on the hub
    return model.merge_and_unload()


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"use_rslora": True}], ids=["plain", "rank-stabilized"])
def test_an_adapter_gives_the_weights_that_peft_gives(
    demo: Checkpoint, demo_settings: Settings, tmp_path: Path, options: dict[str, bool]
) -> None:
    merged = _trained(demo, tmp_path / "mine", **options).state_dict()
    settings = demo_settings.replace(model_id=str(tmp_path / "mine"))
    served = served_model(settings.model)
    loaded = load_checkpoint(served, settings.checkpoint, settings.model).model.state_dict()
    assert served.name == "mine"
    changed = {name for name, value in demo.model.state_dict().items() if not torch.equal(value, loaded[name])}
    assert len(changed) == 5 * 3 + 5 + 1
    for name, value in merged.items():
        assert torch.allclose(value, loaded[name], atol=1e-6), name


def test_layer_names_of_before_transformers_4_52_are_accepted(demo: Checkpoint, tmp_path: Path) -> None:
    merged = _trained(demo, tmp_path).state_dict()
    file = tmp_path / "adapter_model.safetensors"
    old = {
        name.replace("model.model.language_model.", "model.language_model.model.")
        .replace("model.model.vision_tower.", "model.vision_tower.vision_model.")
        .replace("model.model.multi_modal_projector.", "model.multi_modal_projector."): value
        for name, value in load_file(file).items()
    }
    assert set(old).isdisjoint(load_file(file))
    save_file(old, file)
    model = copy.deepcopy(demo.model)
    merge_adapter(model, tmp_path)
    for name, value in model.state_dict().items():
        assert torch.allclose(value, merged[name], atol=1e-6), name


def _set(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps({**config, **values}))

    return change


def _rename_layers(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    save_file({name.replace("q_proj", "z_proj"): value for name, value in load_file(file).items()}, file)


def _drop_a_factor(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    save_file(dict(list(load_file(file).items())[1:]), file)


def _widen(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    save_file({name: torch.cat([value, value], dim=-1) for name, value in load_file(file).items()}, file)


def _add_embeddings(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    name = "base_model.model.model.language_model.embed_tokens.weight"
    save_file({**load_file(file), name: torch.zeros(4, 4)}, file)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_set(use_dora=True), "not plain LoRA"),
        (_set(bias="all"), "not plain LoRA"),
        (_set(peft_type="IA3"), "not plain LoRA"),
        (_set(modules_to_save=["lm_head"]), "not plain LoRA"),
        (_set(init_lora_weights="pissa_niter_4"), "not plain LoRA .init_lora_weights=pissa_niter_4."),
        (_set(init_lora_weights="loftq"), "not plain LoRA"),
        (_set(r=None), "has no r or no lora_alpha"),
        (
            _set(base_model_name_or_path="evil/model"),
            r"evil/model, the base of .*, is neither a folder on this machine nor a model of the registry: set "
            r"MASKQ_BASE_MODEL to its folder on this machine or to a name in the registry$",
        ),
        (_set(base_model_name_or_path=None), "names no base_model_name_or_path: set MASKQ_BASE_MODEL"),
        (
            _set(base_model_name_or_path="/home/other/base"),
            "^/home/other/base, the base of .*, does not exist on this machine: set MASKQ_BASE_MODEL to its folder",
        ),
        (
            _set(base_model_name_or_path="unsloth/paligemma2-3b-pt-224-bnb-4bit"),
            "which is quantized, .*: set MASKQ_BASE_MODEL to the same model without quantization",
        ),
        (
            _set(base_model_name_or_path="google/paligemma-3b-pt-224"),
            "a PaliGemma 1, and maskq serves PaliGemma 2: train it on a google/paligemma2 model instead",
        ),
        (
            _set(base_model_name_or_path="/x/hub/models--google--paligemma-3b-pt-224/snapshots/12"),
            "was trained on google/paligemma-3b-pt-224, a PaliGemma 1",
        ),
        (_rename_layers, "not a linear layer of its base"),
        (_drop_a_factor, "does not fit its base"),
        (_widen, "does not fit its base|does not contain a PaliGemma"),
        (_add_embeddings, "not a factor of plain LoRA: merge it with peft's merge_and_unload"),
        (
            lambda folder: os.truncate(folder / "adapter_model.safetensors", 10_000),
            r"adapter_model.safetensors is incomplete: it has 10000 bytes of \d+; copy it again",
        ),
        (
            lambda folder: (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin"),
            r"has only adapter_model.bin; pickled .*: save the adapter with model.save_pretrained\(FOLDER, safe_serial",
        ),
        (
            lambda folder: (folder / "adapter_config.json").unlink(),
            "has an adapter but no adapter_config.json: copy it from the training's output",
        ),
        (lambda folder: (folder / "adapter_config.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "adapter_model.safetensors").unlink(), "pickled weights are never read"),
    ],
)
def test_an_adapter_that_cannot_be_merged_is_refused(
    demo: Checkpoint, demo_settings: Settings, tmp_path: Path, change: Callable[[Path], object], reason: str
) -> None:
    _trained(demo, tmp_path)
    change(tmp_path)
    settings = demo_settings.replace(model_id=str(tmp_path))
    with pytest.raises(Exception, match=reason) as refused:
        load_checkpoint(served_model(settings.model), settings.checkpoint, settings.model)
    assert refused.type is CheckpointError
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("named", ["/home/other/base", "google/paligemma2-3b-pt-224", None])
@pytest.mark.parametrize("by_folder", [False, True])
def test_a_setting_says_where_the_base_is(
    demo: Checkpoint, demo_settings: Settings, tmp_path: Path, named: str | None, by_folder: bool
) -> None:
    _trained(demo, tmp_path / "mine")
    _set(base_model_name_or_path=named)(tmp_path / "mine")
    base = "demo"
    if by_folder:
        base = str(shutil.copytree(demo_settings.model.models_dir / "demo", tmp_path / "my base"))
    settings = demo_settings.replace(model_id=str(tmp_path / "mine"), base_model=base)
    load_checkpoint(served_model(settings.model), settings.checkpoint, settings.model)


def test_a_checkpoint_of_a_trainer_loads_and_may_have_a_mask_decoder(
    demo: Checkpoint, demo_settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "output_dir" / "checkpoint-500"
    _trained(demo, folder)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "training_args.bin"):
        (folder / name).write_bytes(b"{}")
    settings = demo_settings.replace(model_id=str(folder))
    load_checkpoint(served_model(settings.model), settings.checkpoint, settings.model)
    (folder / "vae.npz").write_bytes(b"not the base's")
    with pytest.raises(CheckpointError, match=r"checkpoint-500/vae.npz is not a NumPy archive"):
        load_checkpoint(served_model(settings.model), settings.checkpoint, settings.model)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda base: (base / "adapter_config.json").write_text("{}"),
            "the base of .*, is itself an adapter: merge it",
        ),
        (lambda base: (base / "model.safetensors").unlink(), "my-base has no model.safetensors: save the model there"),
        (
            lambda base: _merge_config(
                base, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}
            ),
            r"the weights in .*my-base are quantized \(by bitsandbytes, 4-bit\)",
        ),
        (lambda base: shutil.rmtree(base), "my-base, MASKQ_BASE_MODEL, does not exist on this machine"),
    ],
)
def test_a_base_that_does_not_load_is_explained(
    demo: Checkpoint, demo_settings: Settings, tmp_path: Path, change: Callable[[Path], object], line: str
) -> None:
    _trained(demo, tmp_path / "mine")
    base = Path(shutil.copytree(demo_settings.model.models_dir / "demo", tmp_path / "my-base"))
    change(base)
    settings = demo_settings.replace(model_id=str(tmp_path / "mine"), base_model=str(base))
    with pytest.raises(CheckpointError, match=line):
        load_checkpoint(served_model(settings.model), settings.checkpoint, settings.model)


def _merge_config(folder: Path, **values: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))
