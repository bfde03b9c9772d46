"""Folders that do not load: each gets one line that says what is wrong and what to do. All are made from the demo."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from shared.errors import CheckpointError
from shared.registry import served_model
from shared.settings import Settings
from worker.loading import memory
from worker.loading.checkpoint import Checkpoint, load_checkpoint

Change = Callable[[Path], object]
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_PROCESSOR = "tokenizer.json", "tokenizer_config.json", "processor_config.json"
_EMBEDDINGS = "language_model.model.embed_tokens.weight"


@pytest.fixture
def model(root: Path, tmp_path: Path) -> Path:
    """A copy of the demo that a test may break."""
    return Path(shutil.copytree(root / "models" / "demo", tmp_path / "mine"))


def _load(folder: Path, root: Path, **values: object) -> Checkpoint:
    settings = Settings.of(**{"model_id": f"mine={folder}", "models_dir": root / "models", "device": "cpu", **values})
    return load_checkpoint(served_model(settings.model), settings.checkpoint, settings.model)


def _advice(folder: Path, root: Path, **values: object) -> str:
    with pytest.raises(CheckpointError) as refused:
        _load(folder, root, **values)
    return refused.value.detail.replace(str(folder), "FOLDER")


def _remove(*names: str) -> Change:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def _edit(name: str, **values: Any) -> Change:
    def change(folder: Path) -> None:
        _merge(json.loads((folder / name).read_text()), values, folder / name)

    return change


def _merge(old: dict[str, Any], new: dict[str, Any], path: Path) -> None:
    inner = {key: {**old[key], **value} for key, value in new.items() if isinstance(value, dict) and key in old}
    path.write_text(json.dumps({**old, **new, **inner}))


def _tensors(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Change:
    return lambda folder: save_file(change(load_file(folder / _WEIGHTS)), folder / _WEIGHTS, {"format": "pt"})


def _rename(old: str, new: str) -> Change:
    return lambda folder: (folder / old).rename(folder / new)


def _write(name: str, data: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(data)


def _cut(name: str, size: int) -> Change:
    return lambda folder: os.truncate(folder / name, size)


def _shard(folder: Path) -> None:
    """Write the weights as two shards with an index, as `save_pretrained` does for a large model."""
    tensors = load_file(folder / _WEIGHTS)
    names = sorted(tensors)
    places = {name: f"model-0000{1 + (number % 2)}-of-00002.safetensors" for number, name in enumerate(names)}
    for file in set(places.values()):
        part = {name: tensors[name] for name in names if places[name] == file}
        save_file(part, folder / file, {"format": "pt"})
    (folder / _INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    (folder / _WEIGHTS).unlink()


def _only(*names: str) -> Change:
    """Remove all files, and write empty ones with these names."""

    def change(folder: Path) -> None:
        for path in folder.iterdir():
            path.unlink()
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("{}")

    return change


def _both(*changes: Change) -> Change:
    return lambda folder: [change(folder) for change in changes]


_BROKEN: dict[str, tuple[Change, str]] = {
    "empty": (
        _only(),
        "FOLDER is empty: copy the model there; in a container, check that the right folder is mounted",
    ),
    "nothing of a model": (
        _only("notes.txt"),
        "FOLDER contains neither a model (config.json, model.safetensors) nor a LoRA adapter "
        "(adapter_config.json): save the model there with model.save_pretrained(FOLDER, safe_serialization=True)",
    ),
    "output_dir of a Trainer": (
        _only("checkpoint-500/config.json", "checkpoint-1000/config.json", "runs/events"),
        "FOLDER itself contains no model, but folders with models: name one of them, for example "
        "FOLDER/checkpoint-1000 (also there: checkpoint-500)",
    ),
    "output_dir with adapters": (
        _only("checkpoint-9/adapter_config.json"),
        "FOLDER itself contains no model, but folders with models: name one of them, for example FOLDER/checkpoint-9",
    ),
    "no config": (
        _remove("config.json"),
        "FOLDER has weights but no config.json: copy it from the model, or save it with model.save_pretrained",
    ),
    "config is cut": (_cut("config.json", 20), "FOLDER/config.json cannot be read as JSON (*): copy it again"),
    "config is a list": (_write("config.json", b"[]"), "FOLDER/config.json is not a JSON object: copy it again"),
    "another architecture": (
        _write("config.json", b'{"model_type": "qwen2_vl"}'),
        "FOLDER contains a model of type qwen2_vl: maskq serves PaliGemma 2 (paligemma) only",
    ),
    "PaliGemma 1": (
        _edit("config.json", text_config={"model_type": "gemma"}),
        "FOLDER contains a PaliGemma 1, and maskq serves PaliGemma 2: fine-tune a google/paligemma2 model instead",
    ),
    "another language model": (
        _edit("config.json", text_config={"model_type": "gemma3_text"}),
        "the language model in FOLDER is a gemma3_text; that of PaliGemma 2 is a gemma2",
    ),
    "bitsandbytes": (
        _edit("config.json", quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}),
        "the weights in FOLDER are quantized (by bitsandbytes, 4-bit), and maskq serves bfloat16 or float32: load the "
        "model, call model.dequantize() and save it again, or serve the adapter of the fine-tuning with its "
        "unquantized base",
    ),
    "GPTQ": (
        _edit("config.json", quantization_config={"quant_method": "gptq", "bits": 4}),
        "the weights in FOLDER are quantized (by gptq, 4-bit), *",
    ),
    "8-bit weights without a word in the config": (
        _tensors(lambda tensors: {**tensors, _EMBEDDINGS: tensors[_EMBEDDINGS].to(torch.int8)}),
        "the weights in FOLDER are quantized (of type I8), *",
    ),
    "pickled weights": (
        _rename(_WEIGHTS, "pytorch_model.bin"),
        "FOLDER has only pickled weights (pytorch_model.bin), which can run code and are never read: load the "
        "model where you trust it and save it with model.save_pretrained(FOLDER, safe_serialization=True)",
    ),
    "pickled shards": (
        _rename(_WEIGHTS, "pytorch_model-00001-of-00002.bin"),
        "FOLDER has only pickled weights (pytorch_model-00001-of-00002.bin), *",
    ),
    "DeepSpeed": (
        _both(_remove(_WEIGHTS), _write("zero_to_fp32.py", b"")),
        "FOLDER has the shards of DeepSpeed, not a model: run there `python zero_to_fp32.py . . --safe_serialization`",
    ),
    "FSDP": (
        _both(_remove(_WEIGHTS), lambda folder: (folder / "pytorch_model_fsdp_0").mkdir()),
        "FOLDER has the shards of FSDP, not a model: run `accelerate merge-weights` on pytorch_model_fsdp_0",
    ),
    "weights of another name": (
        _rename(_WEIGHTS, "weights.safetensors"),
        "FOLDER has weights.safetensors, but no model.safetensors and no model.safetensors.index.json: save the whole "
        "model with model.save_pretrained(FOLDER, safe_serialization=True)",
    ),
    "no weights": (
        _remove(_WEIGHTS),
        "FOLDER has no model.safetensors: save the model there with model.save_pretrained(FOLDER, "
        "safe_serialization=True)",
    ),
    "weights are cut": (
        _cut(_WEIGHTS, 5_000_000),
        "FOLDER/model.safetensors is incomplete: it has 5000000 bytes of 10181680; copy it again",
    ),
    "header is cut": (
        _cut(_WEIGHTS, 100),
        "FOLDER/model.safetensors is not a safetensors file, or only a part of one: copy it again, or save the model "
        "again",
    ),
    "no bytes": (_write(_WEIGHTS, b""), "FOLDER/model.safetensors is not a safetensors file, or only a part of one: *"),
    "Git LFS": (
        _write(_WEIGHTS, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 10181680\n"),
        "FOLDER/model.safetensors is a pointer of Git LFS, not the file: run `git lfs pull` in FOLDER",
    ),
    "a shard is missing": (
        _both(_shard, _remove("model-00002-of-00002.safetensors")),
        "FOLDER is incomplete: model.safetensors.index.json names model-00002-of-00002.safetensors, which is not "
        "there; copy the missing files, or save the model again",
    ),
    "a shard is cut": (
        _both(_shard, _cut("model-00002-of-00002.safetensors", 100_000)),
        "FOLDER/model-00002-of-00002.safetensors is incomplete: it has 100000 bytes of *; copy it again",
    ),
    "the index is no index": (
        _both(_shard, _write(_INDEX, b"{}")),
        "FOLDER/model.safetensors.index.json is not an index of weights: copy it again, or save the model again",
    ),
    "weights twice": (
        _both(lambda folder: shutil.copy(folder / _WEIGHTS, folder / "w"), _shard, _rename("w", _WEIGHTS)),
        "FOLDER has model.safetensors as well as model.safetensors.index.json, so it has the weights of two models: "
        "delete one of them",
    ),
    "a weight is missing": (
        _tensors(lambda tensors: {name: tensors[name] for name in sorted(tensors)[:-1]}),
        "FOLDER lacks 1 weights of its model, for example model.*: save the whole model with "
        "model.save_pretrained; an adapter must be saved as an adapter, or merged first",
    ),
    "the model inside a wrapper": (
        _tensors(lambda tensors: {f"base_model.model.{name}": tensor for name, tensor in tensors.items()}),
        "FOLDER lacks * weights of its model, *",
    ),
    "other sizes": (
        _edit("config.json", text_config={"intermediate_size": 1024}),
        "model.language_model.layers.0.mlp.down_proj.weight in FOLDER is [192, 512], and config.json makes it "
        "[192, 1024] (15 such weights): save the model and its configuration together, with model.save_pretrained",
    ),
    "resized embeddings": (
        _tensors(lambda tensors: {**tensors, _EMBEDDINGS: torch.cat([tensors[_EMBEDDINGS]] * 2)}),
        "the embeddings in FOLDER have 3384 rows, and config.json says vocab_size 1692 in text_config: save the "
        "model and its configuration together, with model.save_pretrained",
    ),
    "embeddings are too few for the tokenizer": (
        _both(
            _tensors(lambda tensors: {**tensors, _EMBEDDINGS: tensors[_EMBEDDINGS][:1600].clone()}),
            _edit("config.json", text_config={"vocab_size": 1600}),
        ),
        "the tokenizer in FOLDER has tokens up to id 1691, and the model has embeddings for 1600: save the "
        "tokenizer that the model was trained with, or resize the embeddings before training",
    ),
    "no processor": (
        _remove(*_PROCESSOR),
        "FOLDER has no tokenizer.json and tokenizer_config.json: save them with "
        "processor.save_pretrained('FOLDER'), or set MASKQ_BASE_MODEL to the model it was fine-tuned from",
    ),
    "no image processor": (
        _remove("processor_config.json"),
        "FOLDER has no preprocessor_config.json or processor_config.json: save them with "
        "processor.save_pretrained('FOLDER'), or set MASKQ_BASE_MODEL to the model it was fine-tuned from",
    ),
    "the tokenizer is cut": (
        _cut("tokenizer.json", 1_000),
        "the files of the processor in FOLDER cannot be read (*): save them again with "
        "processor.save_pretrained('FOLDER')",
    ),
    "another resolution": (
        _edit("processor_config.json", image_processor={"size": {"height": 448, "width": 448}}),
        "the processor in FOLDER makes images of 448 px and 64 tokens, and the model takes 224 px and 64 tokens: "
        "copy the processor of a model with the same resolution",
    ),
    "another image token": (
        _edit("config.json", image_token_index=1000),
        "the tokenizer in FOLDER has <image> as token 538, and the model expects 1000: it belongs to another "
        "model; save the right one with processor.save_pretrained",
    ),
    "the mask decoder is no archive": (
        _write("vae.npz", b"PK\x03\x04 and no more"),
        "FOLDER/vae.npz is not a NumPy archive of plain arrays: delete it, and the official one is used",
    ),
    "another mask decoder": (
        lambda folder: np.savez(folder / "vae.npz", embedding=np.zeros((64, 512), np.float32)),
        "FOLDER/vae.npz does not have the arrays of vae-oid.npz, so it is another VQ-VAE: delete it, and the "
        "official one is used",
    ),
    "a base that is nowhere": (
        _both(_remove(*_PROCESSOR), _edit("config.json", _name_or_path="/home/other/base")),
        "FOLDER has no tokenizer.json and tokenizer_config.json: *",
    ),
}


@pytest.mark.parametrize("name", _BROKEN)
def test_a_folder_that_does_not_load_gets_advice(model: Path, root: Path, name: str) -> None:
    change, expected = _BROKEN[name]
    change(model)
    line = _advice(model, root)
    assert "\n" not in line
    assert re.fullmatch(".*".join(map(re.escape, expected.split("*"))), line), line


def test_a_folder_that_is_not_there_or_is_a_file_gets_advice(model: Path, root: Path) -> None:
    assert _advice(model / "no", root) == (
        "FOLDER does not exist on this machine: check the path; in a container, the folder must be mounted"
    )
    assert _advice(model / _WEIGHTS, root) == f"FOLDER is a file: name the folder that contains it, {model}"


@contextmanager
def _without_rights(path: Path) -> Iterator[None]:
    """The process is nobody, who may not read `path`."""
    was_root = os.geteuid() == 0
    for parent in [path.parent, *path.parents]:
        if was_root and parent.is_relative_to(Path("/tmp")) and parent != Path("/tmp"):
            parent.chmod(0o755)
    path.chmod(0)
    if was_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if was_root:
            os.seteuid(0)
        path.chmod(0o755)


@pytest.mark.parametrize("name", [".", "config.json", _WEIGHTS])
def test_files_that_may_not_be_read_get_advice(model: Path, root: Path, name: str) -> None:
    with _without_rights(model / name):
        line = _advice(model, root)
        user = os.geteuid()
    path = "FOLDER" if name == "." else f"FOLDER/{name}"
    assert line == f"user {user}, who runs this process, may not read {path}: run `chmod -R a+rX FOLDER`"


@pytest.mark.parametrize("names", [_PROCESSOR, _PROCESSOR[:2], _PROCESSOR[2:]], ids=["all", "tokenizer", "images"])
@pytest.mark.parametrize("how", ["setting", "folder in the setting", "config"])
def test_a_missing_processor_is_that_of_the_base(model: Path, root: Path, names: tuple[str, ...], how: str) -> None:
    _remove(*names)(model)
    if how == "config":
        _edit("config.json", _name_or_path="demo")(model)
    base = {"setting": "demo", "folder in the setting": str(root / "models" / "demo"), "config": ""}[how]
    assert _load(model, root, base_model=base).processor.image_seq_length == 64


def test_a_wrong_setting_for_the_base_gets_advice(model: Path, root: Path) -> None:
    _remove(*_PROCESSOR)(model)
    assert _advice(model, root, base_model="me/base") == (
        "MASKQ_BASE_MODEL=me/base is neither a folder on this machine nor a model of the registry: write a folder as "
        "/FOLDER; docs/models.md explains how to add a hub id of your own"
    )


def test_a_processor_on_the_hub_that_cannot_be_fetched_gets_advice(model: Path, root: Path, tmp_path: Path) -> None:
    _both(_remove(*_PROCESSOR), _edit("config.json", _name_or_path="google/paligemma2-3b-pt-224"))(model)
    assert _advice(model, root, cache_dir=tmp_path / "cache") == (
        "FOLDER has no processor, and that of its base is not here: google/paligemma2-3b-pt-224 is gated: accept its "
        "licence on its Hugging Face page, then set HF_TOKEN. Or save it with processor.save_pretrained('FOLDER')"
    )


def test_a_checkpoint_of_a_trainer_loads(model: Path, root: Path, tmp_path: Path) -> None:
    """`output_dir/checkpoint-500` has the model and the state of the training; the processor only if it was given."""
    checkpoint = tmp_path / "output_dir" / "checkpoint-500"
    shutil.copytree(model, checkpoint, ignore=shutil.ignore_patterns("tokenizer*", "processor*", "vae.npz"))
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "training_args.bin"):
        (checkpoint / name).write_bytes(b"{}")
    shutil.copy(model / "vae.npz", checkpoint)
    _load(checkpoint, root, base_model="demo")


def test_shards_load(model: Path, root: Path, demo: Checkpoint) -> None:
    _shard(model)
    loaded = _load(model, root, dtype="float32").model.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in demo.model.state_dict().items())


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("wanted", "element_bytes"), [("float32", 4), ("bfloat16", 2)])
@pytest.mark.parametrize("shards", [False, True])
def test_memory_is_computed_from_the_wanted_dtype_whatever_the_files_have(
    model: Path,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    stored: torch.dtype,
    wanted: str,
    element_bytes: int,
    shards: bool,
) -> None:
    _tensors(lambda tensors: {name: value.to(stored) for name, value in tensors.items()})(model)
    # a head that is tied to the embeddings takes no memory of its own, even if the file has it
    _tensors(lambda tensors: {**tensors, "lm_head.weight": tensors[_EMBEDDINGS].clone()})(model)
    if shards:
        _shard(model)
    needed = 5_082_240 * element_bytes
    monkeypatch.setattr(memory, "free_ram", lambda: needed)
    _load(model, root, dtype=wanted)
    monkeypatch.setattr(memory, "free_ram", lambda: needed - 1)
    advice = "set MASKQ_DTYPE=bfloat16, or" if wanted == "float32" else "or"
    assert _advice(model, root, dtype=wanted).endswith(f"serve a smaller checkpoint, {advice} use a larger device")


@pytest.mark.slow
def test_the_command_and_a_worker_give_the_same_advice(
    model: Path, root: Path, tmp_path: Path, valkey_url: str
) -> None:
    own = {"MASKQ_CACHE_DIR": str(tmp_path), "MASKQ_DEVICE": "cpu", "MASKQ_MODEL_ID": f"cats={model}"}
    env = {**os.environ, **own, "REDIS_URL": valkey_url}  # a worker waits for Redis before it loads

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        arguments = [sys.executable, "-m", *command]
        return subprocess.run(arguments, cwd=root, env=env, capture_output=True, text=True, check=False, timeout=120)

    good = run("local.models", "check", str(model))
    assert (good.returncode, good.stdout.split()[:3]) == (0, ["mine", "loads", "from"]), good
    listed = next(line for line in run("local.models", "list").stdout.splitlines() if line.startswith("cats "))
    assert listed.split()[1:6] == ["yes", "224", "64", "0.02", "0.01"]
    _remove("tokenizer.json")(model)
    advice = _advice(model, root).replace("FOLDER", str(model))
    bad = run("local.models", "check", f"cats={model}")
    assert (bad.returncode, bad.stdout) == (1, f"cats  {advice}\n")
    worker = run("worker")
    assert (worker.returncode, advice in worker.stderr.splitlines()[-1]) == (78, True), worker
