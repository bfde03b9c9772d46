"""The first day with official weights: fetch them from the hub, load them, serve them and get masks over HTTP.

The weights are random and the layers small. File names, names of weights, configuration, vocabulary and the form of the
tokenizer are those of the published checkpoint (docs/models.md says how far they are known).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, PaliGemmaConfig, PaliGemmaForConditionalGeneration

from benchmarks.engine import closed_loop
from scenes.scene import draw_scene
from shared.registry import read_registry, served_model
from shared.settings import Settings
from testing.fleet import DEMO_WORKER, Fleet
from testing.official_checkpoint import Shape, config_json, weight_shapes, write_checkpoint
from testing.pictures import encoded
from tests.hub import COMMIT, Hub, running_hub
from tests.model.reference import answer_of_transformers
from worker.build import start_engine
from worker.engine.grammar import SpecialTokenIds
from worker.engine.model_input import ModelInput
from worker.engine.pixel_values import to_pixel_values
from worker.loading.checkpoint import Checkpoint, load_checkpoint
from worker.stages.preprocess import Preprocessor

_MIX, _PT = "google/paligemma2-3b-mix-224", "google/paligemma2-3b-pt-224"
_SMALL = Shape(
    hidden=64, intermediate=128, layers=3, vision_hidden=128, vision_intermediate=192, vision_layers=2,
    deviation=0.5, embedding_deviation=0.05, likely_locations=1.35, likely_end=4.0,
)  # fmt: skip
_MAX_TOKENS = 40
_PROMPTS = ["segment red circle", "segment blue square ; cat", "segment Straße 猫"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in the process of a worker with a small model."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in several files of weights."""
    folder = tmp_path_factory.mktemp("published") / "files"
    write_checkpoint(folder, _SMALL, shard_bytes=10_000_000)
    return folder


# --- What transformers makes of the same files ------------------------------------------------------------------------


def _stock_model(folder: Path, *, softcap: bool) -> Any:
    """The model as transformers loads it, in float32. Without soft-capping for mix checkpoints (decision 20)."""
    config = PaliGemmaConfig.from_pretrained(folder)
    if not softcap:
        config.text_config.attn_logit_softcapping = config.text_config.final_logit_softcapping = None
    return PaliGemmaForConditionalGeneration.from_pretrained(folder, config=config, dtype=torch.float32).eval()


def _stock_inputs(processor: Any) -> list[ModelInput]:
    """The inputs that transformers' own processor makes of drawn scenes, which have the size of the model's images."""
    inputs = []
    for seed, prompt in enumerate(_PROMPTS):
        made = processor(images=Image.fromarray(draw_scene(seed).image), text=f"<image>{prompt}", return_tensors="np")
        values = made["pixel_values"]
        pixels = np.rint((values[0].transpose(1, 2, 0) + 1) * 127.5).astype(np.uint8)  # it scales them before
        np.testing.assert_allclose(to_pixel_values(torch.from_numpy(pixels)[None]).numpy(), values, rtol=0, atol=1e-6)
        inputs.append(ModelInput(pixels, made["input_ids"][0].tolist(), bytes([seed])))
    return inputs


# --- Files ------------------------------------------------------------------------------------------------------------


def test_the_files_have_the_published_names(published: Path) -> None:
    index = json.loads((published / "model.safetensors.index.json").read_text())
    names = set(index["weight_map"])
    assert names >= {
        "language_model.model.embed_tokens.weight",
        "language_model.model.layers.0.self_attn.q_proj.weight",
        "language_model.model.layers.2.post_feedforward_layernorm.weight",
        "language_model.model.norm.weight",
        "multi_modal_projector.linear.bias",
        "multi_modal_projector.linear.weight",
        "vision_tower.vision_model.embeddings.patch_embedding.weight",
        "vision_tower.vision_model.embeddings.position_embedding.weight",
        "vision_tower.vision_model.encoder.layers.1.self_attn.out_proj.bias",
        "vision_tower.vision_model.post_layernorm.weight",
    }
    assert not any(name.startswith("model.") or "lm_head" in name for name in names)
    assert sorted(set(index["weight_map"].values())) == sorted(each.name for each in published.glob("*.safetensors"))
    assert len(set(index["weight_map"].values())) > 1


def test_the_whole_layout_has_as_many_parameters_as_the_registry_says(root: Path) -> None:
    shapes = weight_shapes(Shape()).values()
    entry = read_registry(Settings.of(models_dir=root / "models").model)[_MIX]
    assert sum(torch.Size(each).numel() for each in shapes) == entry.parameters


@pytest.mark.parametrize("missing", ["", "hidden_size", "_vocab_size", "num_hidden_layers", "hidden_act"])
def test_keys_that_may_not_be_in_the_published_configuration_decide_nothing(tmp_path: Path, missing: str) -> None:
    values = config_json(Shape())
    for part in (values, values["text_config"], values["vision_config"]):
        if missing == "hidden_act" or part is values:
            part.pop(missing, None)
    (tmp_path / "config.json").write_text(json.dumps(values))
    text = PaliGemmaConfig.from_pretrained(tmp_path).text_config
    assert (text.num_attention_heads, text.head_dim, text.hidden_size, text.num_hidden_layers) == (8, 256, 2_304, 26)
    assert (text.hidden_activation, text.vocab_size) == ("gelu_pytorch_tanh", 257_216)


def test_the_tokenizer_keeps_its_ids(published: Path) -> None:
    tokenizer = AutoProcessor.from_pretrained(published).tokenizer
    ids = tokenizer.get_vocab()
    names = ["<pad>", "<eos>", "<bos>", "<unk>", "<loc0000>", "<loc1023>", "<seg000>", "<seg127>", "<image>"]
    assert [ids[name] for name in names] == [0, 1, 2, 3, 256_000, 257_023, 257_024, 257_151, 257_152]
    assert len(ids) == 257_153
    pieces = tokenizer.convert_ids_to_tokens(tokenizer.encode("red circle é", add_special_tokens=False))
    assert pieces == ["red", "▁circle", "▁", "<0xC3>", "<0xA9>"]


# --- Every token ------------------------------------------------------------------------------------------------------


def _loaded(folder: Path, name: str, root: Path) -> Checkpoint:
    settings = Settings.of(model_id=name, models_dir=root / "models", device="cpu", dtype="float32")
    served = replace(served_model(settings.model), folder=folder)
    return load_checkpoint(served, settings.checkpoint, settings.model)


@pytest.fixture(scope="module")
def with_vae(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same checkpoint with the demo's mask decoder beside it: the official one has a publisher of its own."""
    folder = shutil.copytree(published, tmp_path_factory.mktemp("with-vae") / "files")
    shutil.copy(Path(__file__).parent.parent.parent / "models" / "demo" / "vae.npz", folder)
    return Path(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", [_MIX, _PT])
def test_every_token_is_that_of_transformers(with_vae: Path, root: Path, name: str) -> None:
    checkpoint, stock = _loaded(with_vae, name, root), _stock_model(with_vae, softcap=name == _PT)
    inputs = _stock_inputs(AutoProcessor.from_pretrained(with_vae))
    preprocessor = Preprocessor(checkpoint.processor, 64)
    ours = [preprocessor.prepare(Image.fromarray(draw_scene(n).image), text) for n, text in enumerate(_PROMPTS)]
    assert [each.token_ids for each in ours] == [each.token_ids for each in inputs]
    tokenizer = checkpoint.processor.tokenizer
    for forced in (None, SpecialTokenIds.of(tokenizer.get_vocab(), tokenizer.eos_token_id)):
        expected = [answer_of_transformers(stock, each, forced, _MAX_TOKENS) for each in inputs]
        assert _answers(checkpoint, ours, force_format=forced is not None) == expected
        assert len({token for answer in expected for token in answer}) > 10


def _answers(checkpoint: Checkpoint, inputs: Sequence[ModelInput], *, force_format: bool) -> list[tuple[int, ...]]:
    settings = Settings.of(
        max_prompt_tokens=64, max_answer_tokens=_MAX_TOKENS, max_batch=4, force_format=force_format
    ).engine
    engine = start_engine(checkpoint.model, checkpoint.processor.tokenizer, settings)
    try:
        answers = closed_loop(engine, inputs, len(inputs))
    finally:
        engine.close()
    return [tuple(each.token_ids) if each.truncated else (*each.token_ids, 1) for each in answers]


# --- The first day ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Deployment:
    """A machine on which the checkpoint was fetched with the command."""

    folder: Path
    """The fetched files."""
    env: dict[str, str]
    """Of a worker that serves them."""


@pytest.fixture(scope="module")
def deployment(published: Path, tmp_path_factory: pytest.TempPathFactory) -> _Deployment:
    """Fetched from a server in place of the hub, which is gone afterwards."""
    cache, root = tmp_path_factory.mktemp("cache"), Path(__file__).parent.parent.parent
    folder = cache / "hub" / f"models--{_MIX.replace('/', '--')}" / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    shutil.copy(root / "models" / "demo" / "vae.npz", folder)
    hub = Hub(_MIX, {each.name: each.read_bytes() for each in published.iterdir()} | {"README.md": b"not wanted"})
    env = {"MASKQ_CACHE_DIR": str(cache), "MASKQ_MODEL_ID": _MIX}
    with running_hub(hub) as url:
        command = [sys.executable, "-m", "local.models", "fetch", _MIX]
        subprocess.run(
            command,
            cwd=root,
            env={**os.environ, **env, "HF_ENDPOINT": url, "HF_TOKEN": "hf_x"},
            check=True,
            timeout=240,
        )
    offline = {"HF_HUB_OFFLINE": "1", "MASKQ_DEVICE": "cpu", "MASKQ_DTYPE": "float32"}
    return _Deployment(folder, {**env, **offline, "MASKQ_MAX_ANSWER_TOKENS": str(_MAX_TOKENS)})


@pytest.mark.slow
def test_every_file_but_the_readme_is_fetched_unchanged(published: Path, deployment: _Deployment) -> None:
    fetched = {each.name: each.read_bytes() for each in deployment.folder.iterdir() if each.name != "vae.npz"}
    assert fetched == {each.name: each.read_bytes() for each in published.iterdir()}


@pytest.mark.slow
def test_masks_come_over_http_with_the_tokens_of_transformers(deployment: _Deployment, tmp_path: Path) -> None:
    processor = AutoProcessor.from_pretrained(deployment.folder)
    stock, tokenizer = _stock_model(deployment.folder, softcap=False), processor.tokenizer
    forced = SpecialTokenIds.of(tokenizer.get_vocab(), tokenizer.eos_token_id)
    answers = [answer_of_transformers(stock, each, forced, _MAX_TOKENS) for each in _stock_inputs(processor)]
    with Fleet(tmp_path, DEMO_WORKER, 1, 1, **deployment.env) as fleet:
        results = list(_results(fleet.url))
    assert [each["raw_text"] for each in results] == [tokenizer.decode(_without_end(each)) for each in answers]
    masks = [found["mask"] for each in results for found in each["objects"]]
    assert masks
    assert all(mask["format"] == "png" and mask["data"] for mask in masks)


def _without_end(answer: tuple[int, ...]) -> list[int]:
    return list(answer[:-1] if answer[-1] == 1 else answer)


def _results(url: str) -> Iterator[dict[str, Any]]:
    with httpx2.Client(base_url=url, timeout=90) as client:
        for seed, prompt in enumerate(_PROMPTS):
            image = encoded(Image.fromarray(draw_scene(seed).image))
            sent = client.post(
                "/segment/", data={"prompt": prompt, "mask_format": "png"}, files={"image_file": ("a.png", image)}
            )
            assert sent.status_code == 202, sent.text
            job = sent.json()
            while job["status"] in ("queued", "processing"):
                job = client.get(job["urls"]["self"], params={"wait": 30}).json()
            assert job["status"] == "succeeded", job
            yield job["result"]
