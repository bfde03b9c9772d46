"""Writes a trained model as a checkpoint folder that ``from_pretrained`` reads."""

import shutil
import tempfile
from pathlib import Path

import torch
from transformers import GenerationConfig, PaliGemmaConfig, PaliGemmaForConditionalGeneration, PaliGemmaProcessor
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from scenes.vocabulary import Vocabulary
from training.model import IMAGE_SIZE, IMAGE_TOKENS, MAX_ANSWER_TOKENS
from training.tokenizer import build_tokenizer
from worker.stages.calibration import CALIBRATION_FILE


def export_checkpoint(
    model: PaliGemmaForConditionalGeneration, vocabulary: Vocabulary, vae: Path, folder: Path
) -> None:
    """Write weights in bfloat16, processor and VQ-VAE (the file ``vae``) to ``folder``, each file atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".export-") as name:
        fresh = Path(name)
        copy = PaliGemmaForConditionalGeneration(model.config)
        copy.load_state_dict(model.state_dict())
        copy.to(torch.bfloat16)
        copy.generation_config = _generation_config(model.config)
        copy.save_pretrained(fresh)
        _processor(vocabulary).save_pretrained(fresh)
        shutil.copy(vae, fresh / "vae.npz")
        for file in sorted(fresh.iterdir()):
            file.chmod(0o644)  # safetensors writes files that only the owner can read
            file.replace(folder / file.name)
    (folder / CALIBRATION_FILE).unlink(missing_ok=True)  # that of the weights before


def _generation_config(config: PaliGemmaConfig) -> GenerationConfig:
    text = config.text_config
    return GenerationConfig(
        bos_token_id=text.bos_token_id,
        eos_token_id=text.eos_token_id,
        pad_token_id=text.pad_token_id,
        do_sample=False,
        max_new_tokens=MAX_ANSWER_TOKENS,
    )


def _processor(vocabulary: Vocabulary) -> PaliGemmaProcessor:
    """The processor for these words: resize to 224 x 224, scale to -1..1, put image tokens before the prompt."""
    images = SiglipImageProcessorPil(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}, image_seq_length=IMAGE_TOKENS, do_convert_rgb=True
    )
    return PaliGemmaProcessor(images, build_tokenizer(vocabulary))
