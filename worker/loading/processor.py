"""Finds the files of a checkpoint's processor and loads them: its own, or those of the model it was fine-tuned from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PaliGemmaProcessor
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from shared.errors import CheckpointError
from worker.loading.model_folder import one_line, read_json

_TOKENIZER = "tokenizer.json", "tokenizer_config.json"
_IMAGES, _BOTH = "preprocessor_config.json", "processor_config.json"


def has_processor(folder: Path) -> bool:
    """Whether a folder has all files of a processor."""
    return _has_tokenizer(folder) and _has_images(folder)


def load_processor(folders: Sequence[Path], config: Any) -> Any:
    """The `PaliGemmaProcessor` of a model. Tokenizer and image processor are each taken from the first folder that has
    its files; the first of `folders` is that of the model.

    Raises:
        CheckpointError: no folder has the files, or they do not fit the model with this `config`.
    """
    tokenizer, images = _first(folders, _has_tokenizer), _first(folders, _has_images)
    if not tokenizer or not images:
        missing = " and ".join(_TOKENIZER) if not tokenizer else f"{_IMAGES} or {_BOTH}"
        raise CheckpointError(
            f"{folders[0]} has no {missing}: save them with processor.save_pretrained({str(folders[0])!r}), or set "
            "MASKQ_BASE_MODEL to the model it was fine-tuned from"
        )
    processor = _read_processor(tokenizer, images)
    _check_images(processor, config.vision_config, images)
    _check_tokenizer(processor.tokenizer, config, tokenizer)
    return processor


def _read_processor(tokenizer: Path, images: Path) -> Any:
    try:
        return PaliGemmaProcessor(
            image_processor=SiglipImageProcessorPil.from_pretrained(
                images, local_files_only=True, trust_remote_code=False
            ),
            tokenizer=AutoTokenizer.from_pretrained(tokenizer, local_files_only=True, trust_remote_code=False),
        )
    except PermissionError:
        raise
    except Exception as error:  # the libraries raise errors of all types for files that they do not expect
        raise CheckpointError(
            f"the files of the processor in {tokenizer} cannot be read ({one_line(error)}): save them again with "
            f"processor.save_pretrained({str(tokenizer)!r})"
        ) from error


def _has_tokenizer(folder: Path) -> bool:
    return all((folder / name).exists() for name in _TOKENIZER)


def _has_images(folder: Path) -> bool:
    if (folder / _IMAGES).exists():
        return True
    return (folder / _BOTH).exists() and "image_processor" in read_json(folder / _BOTH)


def _first(folders: Sequence[Path], has: Callable[[Path], bool]) -> Path | None:
    return next((folder for folder in folders if has(folder)), None)


def _check_images(processor: Any, vision: Any, folder: Path) -> None:
    side, tokens = processor.image_processor.size["height"], processor.image_seq_length
    expected = (vision.image_size // vision.patch_size) ** 2
    if side != vision.image_size or tokens != expected:
        raise CheckpointError(
            f"the processor in {folder} makes images of {side} px and {tokens} tokens, and the model takes "
            f"{vision.image_size} px and {expected} tokens: copy the processor of a model with the same resolution"
        )


def _check_tokenizer(tokenizer: Any, config: Any, folder: Path) -> None:
    ids = tokenizer.get_vocab()
    if tokenizer.eos_token_id is None or tokenizer.bos_token_id is None:
        raise CheckpointError(f"tokenizer_config.json in {folder} names no bos_token or eos_token: copy it again")
    if ids.get("<image>") != config.image_token_id:
        raise CheckpointError(
            f"the tokenizer in {folder} has <image> as token {ids.get('<image>')}, and the model expects "
            f"{config.image_token_id}: it belongs to another model; save the right one with processor.save_pretrained"
        )
    rows, largest = config.text_config.vocab_size, max(ids.values())
    if largest >= rows:
        raise CheckpointError(
            f"the tokenizer in {folder} has tokens up to id {largest}, and the model has embeddings for {rows}: save "
            "the tokenizer that the model was trained with, or resize the embeddings before training"
        )
