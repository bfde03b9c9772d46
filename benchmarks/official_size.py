"""Loads and runs a model of the size of the smallest official one, 3 B parameters, on this machine's CPU.

    python -m benchmarks.official_size [--sides 224 448] [--dtype auto|bfloat16|float32] [--jobs 4] [--save NAME]

It writes a checkpoint with random weights in the published layout to a temporary folder (6 GB), loads it as a worker
does, and deletes it. Speed and memory do not depend on the values of weights. Every answer has 24 tokens, an object and
its label. Each side is measured in a process of its own:

- memory in GB, as the kernel counts it: the peak while the model loads, what is resident after that (`own`: cannot be
  reclaimed; `file`: pages of the files, which the kernel drops if memory is short), and the peak of the whole process;
- seconds to load, with the files in the page cache if there is room for them;
- images per second: our engine with one and with four jobs in flight, and `generate` of transformers, one at a time.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.engine import RANDOM_ANSWER, FixedVocabulary, Subject, closed_loop, generate, random_inputs
from benchmarks.report import report
from shared.errors import CheckpointError
from shared.registry import served_model
from shared.settings import Settings
from testing.official_checkpoint import Shape, write_checkpoint
from worker.build import set_up_libraries, start_engine
from worker.loading.checkpoint import load_checkpoint

_FILES_BYTES = 6_200_000_000
_IN_FLIGHT = 4
_MEMORY = {"peak": "VmHWM", "own": "RssAnon", "file": "RssFile"}
"""Our names, and those in `/proc/self/status`."""


def memory_gb() -> dict[str, float]:
    """Memory of this process."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    numbers = {line.partition(":")[0]: line.split()[1] for line in lines if line.endswith(" kB")}
    return {name: int(numbers[field]) * 1_024 / 1e9 for name, field in _MEMORY.items()}


def measure(folder: Path, side: int, dtype: str, jobs: int) -> dict[str, Any]:
    """Load the model in `folder` and run it. For a process that has done nothing else."""
    set_up_libraries()
    settings = Settings.of(
        model_id=str(folder), models_dir=Path("models"), device="cpu", dtype=dtype, max_batch=_IN_FLIGHT,
        max_prompt_tokens=64, max_answer_tokens=RANDOM_ANSWER, feature_cache_bytes=0,
    )  # fmt: skip
    before = memory_gb()
    begin = time.perf_counter()
    model = load_checkpoint(served_model(settings.model), settings.checkpoint, settings.model).model
    load_s = time.perf_counter() - begin
    loaded = memory_gb()
    subject = Subject(model, FixedVocabulary(), random_inputs(side, jobs), RANDOM_ANSWER, has_eos=False)
    rates = _rates(subject, settings)
    return {
        "dtype": str(model.dtype),
        "parameters_m": sum(each.numel() for each in model.parameters()) / 1e6,
        "load_s": load_s,
        "memory_gb": {"before": before["peak"], "loaded": loaded, "end": memory_gb()},
        "images_per_s": rates,
    }


def _rates(subject: Subject, settings: Settings) -> dict[str, float]:
    engine = start_engine(subject.model, subject.tokenizer, settings.engine)
    first = subject.inputs[:1]
    try:
        closed_loop(engine, first, 1)  # the first one sets up the libraries of the CPU
        rates = {
            f"ours_batch_{_IN_FLIGHT}": _rate(subject, lambda: closed_loop(engine, subject.inputs, _IN_FLIGHT)),
            "ours_batch_1": _rate(subject, lambda: closed_loop(engine, subject.inputs, 1)),
        }
    finally:
        engine.close()
    generate(subject, first)
    return {**rates, "hf_batch_1": _rate(subject, lambda: [generate(subject, [each]) for each in subject.inputs])}


def _rate(subject: Subject, run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    return len(subject.inputs) / (time.perf_counter() - begin)


def in_new_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a function, called in a process that ends afterwards."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def measure_side(side: int, dtype: str, jobs: int) -> dict[str, Any]:
    """Write a model for images of this side, measure it, and delete it.

    Raises:
        CheckpointError: the disk has no room for it.
    """
    with tempfile.TemporaryDirectory(prefix="maskq-official-size-") as name:
        if shutil.disk_usage(name).free < _FILES_BYTES:
            raise CheckpointError(f"{name} has no room for {_FILES_BYTES / 1e9:.1f} GB: set TMPDIR to a larger disk")
        folder = Path(name) / "model"
        in_new_process(write_checkpoint, folder, Shape(side=side))
        shutil.copy("models/demo/vae.npz", folder)
        result: dict[str, Any] = in_new_process(measure, folder, side, dtype, jobs)
        return result


def main() -> None:
    """Measure, print, and save if requested."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.official_size", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--sides", type=int, nargs="+", default=[224, 448], help="sides of images, in pixels")
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--save", metavar="NAME")
    options = parser.parse_args()
    results = {f"{side} px": measure_side(side, options.dtype, options.jobs) for side in options.sides}
    report("benchmarks.official_size", results, options.save)


if __name__ == "__main__":
    main()
