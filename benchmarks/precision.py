"""The same model in each dtype, and with quantized weights: memory, images per second, and answers equal to float32's.

    python -m benchmarks.precision [--model demo|100m] [--jobs 96] [--batch 16] [--rounds 3] [--save NAME]

All rows are in memory at once and take turns, so that other load on the machine affects all of them. `int8` needs
torchao, whose warnings at its import can be ignored; it may be in a folder of its own, which PYTHONPATH names. How good
masks are says `scripts/evaluate`, which reads the same settings.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from benchmarks.engine import MODELS, Subject, closed_loop, subject_of
from benchmarks.report import report
from shared.settings import Settings
from worker.build import set_up_libraries, start_engine
from worker.engine.engine import Engine
from worker.engine.gemma import is_quantized
from worker.loading.quantize import quantize

_ROWS = (
    ("float32", "none"),
    ("bfloat16", "none"),
    ("float16", "none"),
    ("float32", "int8"),
    ("bfloat16", "int8"),
)
"""Dtype and quantization. The first is what the others are compared with."""


def stored_bytes(model: torch.nn.Module) -> int:
    """Memory of all weights."""
    return sum(_bytes(each) for each in model.parameters())


def _bytes(weight: torch.Tensor) -> int:
    if not is_quantized(weight):
        return weight.nbytes
    parts: Sequence[str] = weight.tensor_data_names  # type: ignore[attr-defined]
    return sum(getattr(weight, name).nbytes for name in parts)


def _subject(name: str, dtype: str, quantization: str, settings: Settings, jobs: int) -> Subject:
    """With the weights of all other rows."""
    subject = subject_of(name, 224, settings.replace(dtype=dtype), jobs)
    quantize(subject.model, quantization, subject.model.device)  # type: ignore[arg-type]
    return subject


def measure(name: str, rows: Sequence[tuple[str, str]], settings: Settings, jobs: int, rounds: int) -> dict[str, Any]:
    """The results of all rows, by their names."""
    batch = settings.engine.max_batch
    with ExitStack() as stack:
        engines: dict[str, tuple[Subject, Engine]] = {}
        for dtype, quantization in rows:
            subject = _subject(name, dtype, quantization, settings, jobs)
            engine = start_engine(subject.model, subject.tokenizer, settings.engine)
            stack.callback(engine.close)
            engines[_name(dtype, quantization)] = subject, engine
        answers, best_s = {}, dict.fromkeys(engines, float("inf"))
        for _ in range(rounds):
            for row, (subject, engine) in engines.items():
                begin = time.perf_counter()
                answers[row] = [each.token_ids for each in closed_loop(engine, subject.inputs, batch)]
                best_s[row] = min(best_s[row], time.perf_counter() - begin)
        weights = {row: stored_bytes(subject.model) for row, (subject, _) in engines.items()}
    return {
        row: {
            "weights_mb": weights[row] / 1e6,
            "images_per_s": jobs / best_s[row],
            "same_answers": _same(answers, row, _name(*rows[0])),
        }
        for row in engines
    }


def _name(dtype: str, quantization: str) -> str:
    return dtype if quantization == "none" else f"{quantization}_{dtype}"


def _same(answers: Mapping[str, Sequence[list[int]]], row: str, reference: str) -> float:
    """Share of answers that equal the reference's in every token."""
    return sum(a == b for a, b in zip(answers[row], answers[reference], strict=True)) / len(answers[row])


def main() -> None:
    """Measure, print, and save if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="demo")
    parser.add_argument("--jobs", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", metavar="NAME")
    options = parser.parse_args()
    set_up_libraries()
    settings = Settings.of(
        models_dir=Path("models"),
        max_batch=options.batch,
        max_prompt_tokens=64,
        max_answer_tokens=60 if options.model == "demo" else 24,
    )
    rows = [row for row in _ROWS if row[1] == "none" or find_spec("torchao")]
    report("benchmarks.precision", measure(options.model, rows, settings, options.jobs, options.rounds), options.save)


if __name__ == "__main__":
    main()
