"""LoRA adapters are merged into their base as `peft` merges them, or refused."""

from __future__ import annotations

import copy
import json
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


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_set(use_dora=True), "not plain LoRA"),
        (_set(bias="all"), "not plain LoRA"),
        (_set(peft_type="IA3"), "not plain LoRA"),
        (_set(modules_to_save=["lm_head"]), "not plain LoRA"),
        (_set(base_model_name_or_path="evil/model"), "neither a local folder nor a model of the registry"),
        (_set(base_model_name_or_path=None), "names no base"),
        (_rename_layers, "not a linear layer of its base"),
        (_drop_a_factor, "does not fit its base"),
        (_widen, "does not fit its base|does not contain a PaliGemma"),
        (lambda folder: (folder / "adapter_config.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "adapter_model.safetensors").unlink(), "pickled weights are never read"),
    ],
)
def test_an_adapter_that_cannot_be_merged_is_refused(
    demo: Checkpoint, demo_settings: Settings, tmp_path: Path, change: Callable[[Path], None], reason: str
) -> None:
    _trained(demo, tmp_path)
    change(tmp_path)
    settings = demo_settings.replace(model_id=str(tmp_path))
    with pytest.raises(Exception, match=reason) as refused:
        load_checkpoint(served_model(settings.model), settings.checkpoint, settings.model)
    assert refused.type.__name__ in (CheckpointError.__name__, "ConfigurationError")
