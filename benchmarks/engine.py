"""Compares the engine with `generate` of transformers: same weights, dtype, softcaps, inputs and stop rule.

    python -m benchmarks.engine [--model demo|100m|3b|10b] [--side 224] [--batch 16] [--jobs 96] [--save NAME]

`demo` is the demo checkpoint with held-out scenes; its answers end by themselves. The others have the shape of their
name and random weights, and every answer has 24 tokens, an object and its label: speed does not depend on the values of
weights. All rows are from one run, in images per second:

- transformers, one image at a time, and in padded batches of `--batch`;
- our engine with one job in flight, and with `--batch` jobs in flight (when one ends, the next joins): with any tokens
  allowed; with the format forced, so that most steps compute only the rows of the head for location and mask tokens;
  and with two prompts per image, so that the second one uses cached features.

`same_tokens` is the share of answers that equal those of transformers with one image at a time.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration

from benchmarks.report import report
from scenes.scene import HELD_OUT_SEEDS, draw_scene
from shared.domain.paligemma import CODEBOOK_SIZE, LOCATIONS, OBJECT_TOKENS, location_token, mask_token, write_prompt
from shared.registry import served_model
from shared.settings import Settings
from worker.build import limit_threads, set_up_libraries, start_engine
from worker.devices.accelerators import choose_device
from worker.engine.engine import Engine
from worker.engine.model_input import ModelInput
from worker.engine.pixel_values import to_pixel_values
from worker.engine.sequence import Answer
from worker.loading.checkpoint import load_checkpoint
from worker.loading.dtype import choose_dtype
from worker.stages.preprocess import Preprocessor

_EOS = 1
RANDOM_ANSWER = OBJECT_TOKENS + 4
"""Tokens of an object and a label of four tokens."""
_VOCABULARY = 257_216
_FIRST_LOCATION = 256_000
_IMAGE_TOKEN = 257_152

_TEXT_SHAPES = {
    "100m": {"hidden_size": 256, "intermediate_size": 2_048, "num_hidden_layers": 6, "num_attention_heads": 4,
             "num_key_value_heads": 2, "head_dim": 64, "query_pre_attn_scalar": 64},
    "3b": {"hidden_size": 2_304, "intermediate_size": 9_216, "num_hidden_layers": 26, "num_attention_heads": 8,
           "num_key_value_heads": 4, "head_dim": 256, "query_pre_attn_scalar": 256},
    "10b": {"hidden_size": 3_584, "intermediate_size": 14_336, "num_hidden_layers": 42, "num_attention_heads": 16,
            "num_key_value_heads": 8, "head_dim": 256, "query_pre_attn_scalar": 256},
}  # fmt: skip
MODELS = ("demo", *_TEXT_SHAPES)
_SMALL_VISION = {"hidden_size": 384, "intermediate_size": 1_536, "num_hidden_layers": 12, "num_attention_heads": 6}
_SO400M = {"hidden_size": 1_152, "intermediate_size": 4_304, "num_hidden_layers": 27, "num_attention_heads": 16}


@dataclass(frozen=True)
class Subject:
    """A model and its inputs."""

    model: Any
    tokenizer: Any
    inputs: list[ModelInput]
    max_answer_tokens: int
    has_eos: bool
    """Whether answers end by themselves."""


def subject_of(name: str, side: int, settings: Settings, jobs: int) -> Subject:
    """One of `MODELS` with so many inputs. The side in pixels is that of a random model."""
    return demo_subject(settings, jobs) if name == "demo" else random_subject(name, side, settings, jobs)


class FixedVocabulary:
    """The tokenizer of an untrained model: only the tokens that the engine needs."""

    eos_token_id = _VOCABULARY + 1
    """Not a token of the model, so no answer ends by itself."""

    def get_vocab(self) -> dict[str, int]:
        tokens = [*map(location_token, range(LOCATIONS)), *map(mask_token, range(CODEBOOK_SIZE))]
        return {token: _FIRST_LOCATION + index for index, token in enumerate(tokens)}


def demo_subject(settings: Settings, jobs: int) -> Subject:
    """The demo checkpoint and held-out scenes, each with a prompt for an object in it."""
    checkpoint = load_checkpoint(served_model(settings.model), settings.checkpoint, settings.model)
    limit_threads(checkpoint.model)
    preprocessor = Preprocessor(checkpoint.processor, settings.engine.max_prompt_tokens)
    inputs = []
    for seed in HELD_OUT_SEEDS[:jobs]:
        scene = draw_scene(seed)
        wanted = scene.objects[0]
        prompt = write_prompt([f"{wanted.color} {wanted.kind}"])
        inputs.append(preprocessor.prepare(Image.fromarray(scene.image), prompt))
    return Subject(checkpoint.model, checkpoint.processor.tokenizer, inputs, 60, has_eos=True)


def random_subject(name: str, side: int, settings: Settings, jobs: int) -> Subject:
    """An untrained model of a given shape, and noise. Location tokens are made likely, so that answers start with
    one."""
    torch.manual_seed(0)
    device = choose_device(settings.checkpoint.device)
    vision = _SMALL_VISION if name == "100m" else _SO400M
    hidden = _TEXT_SHAPES[name]["hidden_size"]
    config = PaliGemmaConfig(
        text_config={**_TEXT_SHAPES[name], "model_type": "gemma2", "vocab_size": _VOCABULARY,
                     "attn_logit_softcapping": None, "final_logit_softcapping": None,
                     "use_bidirectional_attention": True},
        vision_config={**vision, "model_type": "siglip_vision_model", "image_size": side, "patch_size": 14,
                       "projection_dim": hidden, "vision_use_head": False},
        projection_dim=hidden, hidden_size=hidden, image_token_index=_IMAGE_TOKEN,
    )  # fmt: skip
    with torch.device("meta"):
        elements = PaliGemmaForConditionalGeneration(config).num_parameters()
    torch.set_default_dtype(getattr(torch, choose_dtype(settings.checkpoint.dtype, device.type, elements)))
    with torch.device(device):
        model = PaliGemmaForConditionalGeneration(config).eval()
    torch.set_default_dtype(torch.float32)
    with torch.no_grad():
        model.lm_head.weight[_FIRST_LOCATION : _FIRST_LOCATION + LOCATIONS] *= 4
    return Subject(model, FixedVocabulary(), random_inputs(side, jobs), RANDOM_ANSWER, has_eos=False)


def random_inputs(side: int, jobs: int) -> list[ModelInput]:
    """Images of noise, each with a prompt of random tokens."""
    random = np.random.default_rng(0)
    image = [_IMAGE_TOKEN] * (side // 14) ** 2
    return [
        ModelInput(
            random.integers(0, 256, (side, side, 3), np.uint8),
            [*image, *random.integers(10, 200_000, 4 + index % 5).tolist()],
            index.to_bytes(4, "big"),
        )
        for index in range(jobs)
    ]


# --- transformers -----------------------------------------------------------------------------------------------------


def generate(subject: Subject, jobs: Sequence[ModelInput]) -> list[list[int]]:
    """The answers of transformers to one batch of inputs, padded on the left as its processor does."""
    device = subject.model.device
    length = max(len(each.token_ids) for each in jobs)
    ids = torch.tensor([[0] * (length - len(each.token_ids)) + each.token_ids for each in jobs], device=device)
    mask = torch.tensor(
        [[0] * (length - len(each.token_ids)) + [1] * len(each.token_ids) for each in jobs], device=device
    )
    pixels = torch.from_numpy(np.stack([each.pixels for each in jobs])).to(device)
    ends = {"eos_token_id": _EOS} if subject.has_eos else {"eos_token_id": None}
    with torch.inference_mode():
        written = subject.model.generate(
            input_ids=ids,
            attention_mask=mask,
            token_type_ids=torch.zeros_like(ids),
            pixel_values=to_pixel_values(pixels).to(subject.model.dtype),
            do_sample=False,
            max_new_tokens=subject.max_answer_tokens,
            pad_token_id=0,
            **ends,
        )
    return [_until_eos(row) for row in written[:, length:].tolist()]


def _until_eos(tokens: list[int]) -> list[int]:
    return tokens[: tokens.index(_EOS)] if _EOS in tokens else tokens


def _batches(jobs: Sequence[ModelInput], size: int) -> Iterator[Sequence[ModelInput]]:
    for start in range(0, len(jobs), size):
        yield jobs[start : start + size]


# --- Our engine -------------------------------------------------------------------------------------------------------


def closed_loop(engine: Engine, jobs: Sequence[ModelInput], in_flight: int) -> list[Answer]:
    """Answer all jobs with this many in flight: when one ends, the next is submitted."""
    room = threading.Semaphore(in_flight)
    futures = []
    for job in jobs:
        room.acquire()
        future = engine.submit(job)
        future.add_done_callback(lambda _: room.release())
        futures.append(future)
    return [future.result() for future in futures]


# --- The table --------------------------------------------------------------------------------------------------------

Row = Callable[[], list[list[int]]]
"""Answers all inputs and returns the tokens of each answer."""


@dataclass(frozen=True)
class Timed:
    """Answers, and their rate."""

    tokens: list[list[int]]
    images_per_s: float


def best_of(rows: Mapping[str, Row], rounds: int) -> dict[str, Timed]:
    """Run all rows in turns, so that other load on the machine affects all of them, and keep the best round of each. A
    first round, not counted, compiles, captures graphs and fills caches."""
    best: dict[str, Timed] = {}
    for round_number in range(rounds + 1):
        for name, row in rows.items():
            begin = time.perf_counter()
            tokens = row()
            images_per_s = len(tokens) / (time.perf_counter() - begin)
            if round_number == 1 or (round_number > 1 and images_per_s > best[name].images_per_s):
                best[name] = Timed(tokens, images_per_s)
    return best


def measure(subject: Subject, settings: Settings, batch: int, rounds: int) -> dict[str, Any]:
    """The results of all rows, and the ratios between them."""
    jobs = subject.inputs
    twice = [job for job in jobs[: len(jobs) // 2] for _ in range(2)]
    plain = settings.replace(force_format=False, feature_cache_bytes=0)
    forced = settings.replace(feature_cache_bytes=0)
    with ExitStack() as engines:

        def ours(settings: Settings, jobs: Sequence[ModelInput], in_flight: int) -> Row:
            engine = start_engine(subject.model, subject.tokenizer, settings.engine)
            engines.callback(engine.close)
            return lambda: [each.token_ids for each in closed_loop(engine, jobs, in_flight)]

        rows: dict[str, Row] = {
            "hf_batch_1": lambda: [tokens for job in jobs for tokens in generate(subject, [job])],
            "hf_padded": lambda: [tokens for some in _batches(jobs, batch) for tokens in generate(subject, some)],
            "ours_batch_1": ours(forced, jobs, 1),
            "ours_free": ours(plain, jobs, batch),
            "ours_forced": ours(forced, jobs, batch),
            "ours_each_image_twice": ours(settings, twice, batch),
        }
        timed = best_of(rows, rounds)
    alone, mine = timed["hf_batch_1"], timed["ours_forced"]
    return {
        "parameters_m": sum(each.numel() for each in subject.model.parameters()) / 1e6,
        "tokens_per_answer": sum(map(len, alone.tokens)) / len(alone.tokens),
        "images_per_s": {name: row.images_per_s for name, row in timed.items()},
        "ours_over_hf_batch_1": mine.images_per_s / alone.images_per_s,
        "ours_over_hf_padded": mine.images_per_s / timed["hf_padded"].images_per_s,
        "same_tokens": {name: _agreement(timed[name], alone) for name in ("hf_padded", "ours_free", "ours_forced")},
    }


def _agreement(row: Timed, reference: Timed) -> float:
    return sum(a == b for a, b in zip(row.tokens, reference.tokens, strict=True)) / len(reference.tokens)


def main() -> None:
    """Measure, print, and save if requested."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=MODELS, default="demo")
    parser.add_argument("--side", type=int, default=224, help="side of a random model's images, in pixels")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--jobs", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16", "float16"], default="auto")
    parser.add_argument("--save", metavar="NAME")
    options = parser.parse_args()
    set_up_libraries()
    settings = Settings.of(
        models_dir=Path("models"),
        device=options.device,
        dtype=options.dtype,
        max_batch=options.batch,
        max_prompt_tokens=64,
        max_answer_tokens=60,
    )
    subject = subject_of(options.model, options.side, settings, options.jobs)
    if options.model != "demo":
        settings = settings.replace(max_answer_tokens=RANDOM_ANSWER)
    report("benchmarks.engine", measure(subject, settings, options.batch, options.rounds), options.save)


if __name__ == "__main__":
    main()
