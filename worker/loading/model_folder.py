"""Checks a folder before a model is loaded from it, and says what to do if it is not a PaliGemma 2 that loads.

Only small files and the headers of large ones are read, so the advice comes at once and without PyTorch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared.errors import CheckpointError
from worker.loading.weights import INDEX, WEIGHTS, StoredTensor, read_weights

CONFIG, ADAPTER_CONFIG = "config.json", "adapter_config.json"
_FLOATS = {"F64", "F32", "F16", "BF16"}
_SAVE = "model.save_pretrained(FOLDER, safe_serialization=True)"
_EMBEDDINGS = "embed_tokens.weight"
_HEAD = "lm_head.weight"


def check_folder(folder: Path) -> None:
    """Check that the folder exists, can be read and contains a model or an adapter.

    Raises:
        CheckpointError: it does not. The message says what to do.
    """
    if not folder.exists():
        raise CheckpointError(
            f"{folder.absolute()} does not exist on this machine: check the path; in a container, the folder must be "
            "mounted"
        )
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is a file: name the folder that contains it, {folder.absolute().parent}")
    names = {path.name for path in folder.iterdir()}
    if not names:
        raise CheckpointError(
            f"{folder} is empty: copy the model there; in a container, check that the right folder is mounted"
        )
    if not names & {CONFIG, ADAPTER_CONFIG}:
        raise CheckpointError(_without_config(folder, names))


def check_model(folder: Path) -> dict[str, StoredTensor]:
    """Check that a folder contains the configuration and all weights of a PaliGemma 2. Returns its tensors by name.

    Raises:
        CheckpointError: it does not. The message says what to do.
    """
    config = read_json(folder / CONFIG)
    _check_architecture(folder, config)
    if not (folder / WEIGHTS).exists() and not (folder / INDEX).exists():
        raise CheckpointError(_without_weights(folder))
    tensors = read_weights(folder)
    if odd := {tensor.dtype for tensor in tensors.values()} - _FLOATS:
        raise CheckpointError(_quantized(folder, f"of type {', '.join(sorted(odd))}"))
    rows = next((tensor.shape[0] for name, tensor in tensors.items() if name.endswith(_EMBEDDINGS)), None)
    expected = config["text_config"].get("vocab_size", rows)
    if rows not in (None, expected):
        raise CheckpointError(
            f"the embeddings in {folder} have {rows} rows, and {CONFIG} says vocab_size {expected} in text_config: "
            "save the model and its configuration together, with model.save_pretrained"
        )
    return tensors


def in_memory(folder: Path, tensors: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
    """The tensors that take memory. A head that is tied to the embeddings takes none, even if the file has it."""
    is_tied = read_json(folder / CONFIG).get("tie_word_embeddings", True)
    return {name: each for name, each in tensors.items() if not (is_tied and name.endswith(_HEAD))}


def memory_elements(folder: Path, tensors: dict[str, StoredTensor]) -> int:
    """Number of elements in memory."""
    return sum(each.elements for each in in_memory(folder, tensors).values())


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        CheckpointError: the file is missing, or is not a JSON object.
        OSError: it cannot be read.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} has no {path.name}: save it with model.save_pretrained") from None
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be read as JSON ({one_line(error)}): copy it again") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is not a JSON object: copy it again")
    return value


def one_line(error: Exception) -> str:
    """What an error says, without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def explained_access(folder: Path) -> Iterator[None]:
    """Turn a missing permission into a `CheckpointError` that says what to do."""
    try:
        yield
    except PermissionError as error:
        raise CheckpointError(
            f"user {os.geteuid()}, who runs this process, may not read {error.filename or folder}: run "
            f"`chmod -R a+rX {folder}`"
        ) from None


def _without_config(folder: Path, names: set[str]) -> str:
    if models := _models_inside(folder):
        latest, *others = reversed(models)
        more = f" (also there: {', '.join(str(each.relative_to(folder)) for each in others[:5])})" if others else ""
        return (
            f"{folder} itself contains no model, but folders with models: name one of them, for example {latest}{more}"
        )
    if names & {WEIGHTS, INDEX}:
        return f"{folder} has weights but no {CONFIG}: copy it from the model, or save it with model.save_pretrained"
    if any(name.startswith("adapter_model") for name in names):
        return f"{folder} has an adapter but no {ADAPTER_CONFIG}: copy it from the training's output"
    return (
        f"{folder} contains neither a model ({CONFIG}, {WEIGHTS}) nor a LoRA adapter ({ADAPTER_CONFIG}): save the "
        f"model there with {_SAVE}"
    )


def _models_inside(folder: Path) -> list[Path]:
    """Folders in it that contain a model, in the order of their numbers: `checkpoint-1000` is after `checkpoint-500`.
    `snapshots` is where the cache of the Hugging Face hub has them."""
    inside = [*folder.glob("*/"), *folder.glob("snapshots/*/")]
    found = [each for each in inside if (each / CONFIG).exists() or (each / ADAPTER_CONFIG).exists()]
    return sorted(found, key=lambda each: (_number(each.name), each.name))


def _number(name: str) -> int:
    digits = name.rpartition("-")[2]
    return int(digits) if digits.isascii() and digits.isdigit() else -1


def _check_architecture(folder: Path, config: dict[str, Any]) -> None:
    kind = config.get("model_type")
    if kind != "paligemma":
        raise CheckpointError(f"{folder} contains a model of type {kind}: maskq serves PaliGemma 2 (paligemma) only")
    text = config.get("text_config")
    text_kind = text.get("model_type", "gemma") if isinstance(text, dict) else "gemma"
    if text_kind == "gemma":
        raise CheckpointError(
            f"{folder} contains a PaliGemma 1, and maskq serves PaliGemma 2: fine-tune a google/paligemma2 model "
            "instead"
        )
    if text_kind != "gemma2":
        raise CheckpointError(f"the language model in {folder} is a {text_kind}; that of PaliGemma 2 is a gemma2")
    if method := config.get("quantization_config"):
        raise CheckpointError(_quantized(folder, quantization(method)))


def quantization(config: object) -> str:
    """A quantization in words: `by bitsandbytes, 4-bit`."""
    values = config if isinstance(config, dict) else {}
    bits = 4 if values.get("load_in_4bit") else 8 if values.get("load_in_8bit") else values.get("bits")
    return f"by {values.get('quant_method', 'an unknown method')}" + (f", {bits}-bit" if bits else "")


def _quantized(folder: Path, how: str) -> str:
    return (
        f"the weights in {folder} are quantized ({how}), and maskq serves bfloat16 or float32: load the model, call "
        "model.dequantize() and save it again, or serve the adapter of the fine-tuning with its unquantized base"
    )


def _without_weights(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    if pickled := [name for name in names if name.startswith("pytorch_model") and name.endswith((".bin", ".pt"))]:
        return (
            f"{folder} has only pickled weights ({pickled[0]}), which can run code and are never read: load the model "
            f"where you trust it and save it with {_SAVE}"
        )
    if "zero_to_fp32.py" in names or any(name.startswith("global_step") for name in names):
        return (
            f"{folder} has the shards of DeepSpeed, not a model: run there `python zero_to_fp32.py . . "
            "--safe_serialization`"
        )
    if any(name.startswith("pytorch_model_fsdp") for name in names):
        return f"{folder} has the shards of FSDP, not a model: run `accelerate merge-weights` on pytorch_model_fsdp_0"
    if other := [name for name in names if name.endswith(".safetensors")]:
        return f"{folder} has {other[0]}, but no {WEIGHTS} and no {INDEX}: save the whole model with {_SAVE}"
    return f"{folder} has no {WEIGHTS}: save the model there with {_SAVE}"
