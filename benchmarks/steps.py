"""Where the time of the model goes: one prefill and one decode step, kernel by kernel, against what the device can do.

    python -m benchmarks.steps [--model demo|100m|3b|10b] [--side 224] [--batch 64] [--save NAME]

What the device can do is measured first: the rate of a large matrix product, and the rate at which memory is read and
written. A prefill is compared with the product, for the operations that PyTorch counts in it. A decode step is compared
with the memory, for the bytes of the language model's weights and of the cache that it reads.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.engine import MODELS, Subject, subject_of
from benchmarks.report import report
from shared.settings import Settings
from worker.build import set_up_libraries
from worker.engine.gemma import GemmaLayers
from worker.engine.grammar import SpecialTokenIds
from worker.engine.runner import Runner, RunnerLimits
from worker.engine.sequence import Sequence

_REPEATS = 5
_KERNELS = 15
"""Number of kernels in the result: those that take longest."""
_DECODED = 24
"""Decode steps before the one that is profiled: long enough for every graph to be captured."""


def median_s(run: Callable[[], object], device: torch.device) -> float:
    """Median time of a few runs, in seconds, until the device has ended each."""
    times = []
    for _ in range(_REPEATS):
        _synchronize(device)
        begin = time.perf_counter()
        run()
        _synchronize(device)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def ceilings(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """What the device does at most: operations in TFLOP/s, and memory traffic in GB/s."""
    side, length = (8_192, 1 << 30) if device.type != "cpu" else (1_024, 1 << 26)
    matrix = torch.randn(side, side, device=device, dtype=dtype)
    source = torch.zeros(length, device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    torch.mm(matrix, matrix)
    product_s = median_s(lambda: torch.mm(matrix, matrix), device)
    copy_s = median_s(lambda: target.copy_(source), device)
    return {"tflop_per_s": 2 * side**3 / product_s / 1e12, "gb_per_s": 2 * length / copy_s / 1e9}


class Steps:
    """One batch of sequences in a runner."""

    def __init__(self, subject: Subject, settings: Settings, batch: int) -> None:
        model, tokenizer = subject.model, subject.tokenizer
        longest = max(len(each.token_ids) for each in subject.inputs)
        self._capacity = longest + settings.engine.max_answer_tokens
        self._slot_bytes = GemmaLayers.slot_bytes(model.config.text_config, self._capacity, model.dtype.itemsize)
        self._model = model
        self._runner = Runner(
            model,
            SpecialTokenIds.of(tokenizer.get_vocab(), tokenizer.eos_token_id),
            RunnerLimits(batch, self._capacity),
            force_format=settings.engine.force_format,
        )
        inputs = [subject.inputs[index % len(subject.inputs)] for index in range(batch)]
        self._sequences = [Sequence(each, Future(), slot=slot) for slot, each in enumerate(inputs)]

    def prefill(self) -> None:
        """Start all sequences again."""
        for each in self._sequences:
            each.steps_in_flight = 1
        self._runner.prefill(self._sequences).read()

    def decode(self) -> None:
        """One more token for all."""
        self._runner.decode(self._sequences).read()
        for each in self._sequences:
            each.steps_in_flight += 1

    @property
    def decode_bytes(self) -> int:
        """Read by a decode step at least: the weights of the language model, and the cache in use."""
        weights = self._model.model.language_model.parameters()
        used = max(each.length for each in self._sequences) / self._capacity
        cache = len(self._sequences) * self._slot_bytes * used
        return int(cache + sum(each.nbytes for each in weights))


def measure(subject: Subject, settings: Settings, batch: int) -> dict[str, Any]:
    """The results of both steps."""
    device, dtype = subject.model.device, subject.model.dtype
    able = ceilings(device, dtype)
    steps = Steps(subject, settings, batch)
    with FlopCounterMode(display=False) as counter:
        steps.prefill()
    tflop = counter.get_total_flops() / 1e12
    prefill_s = median_s(steps.prefill, device)
    for _ in range(_DECODED):
        steps.decode()
    decode_s = median_s(steps.decode, device)
    return {
        "device": torch.get_device_module(device).get_device_name(device) if device.type == "cuda" else device.type,
        "dtype": str(dtype).removeprefix("torch."),
        "batch": batch,
        "device_at_most": able,
        "prefill": {
            "ms": prefill_s * 1e3,
            "tflop": tflop,
            "of_device": tflop / prefill_s / able["tflop_per_s"],
            "kernels_ms": kernels_ms(steps.prefill, device),
        },
        "decode": {
            "ms": decode_s * 1e3,
            "gb": steps.decode_bytes / 1e9,
            "of_device": steps.decode_bytes / 1e9 / decode_s / able["gb_per_s"],
            "kernels_ms": kernels_ms(steps.decode, device),
        },
    }


def kernels_ms(run: Callable[[], object], device: torch.device) -> Mapping[str, float]:
    """Milliseconds in each of the kernels that take longest, by their names."""
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiled:
        run()
        _synchronize(device)
    spent = {each.key: each.self_device_time_total if on_gpu else each.self_cpu_time_total
             for each in profiled.key_averages()}  # fmt: skip
    longest = sorted(spent, key=lambda name: -spent[name])[:_KERNELS]
    return {name: spent[name] / 1e3 for name in longest if spent[name]}


def _synchronize(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize()


def main() -> None:
    """Measure, print, and save if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="demo")
    parser.add_argument("--side", type=int, default=224, help="side of a random model's images, in pixels")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--save", metavar="NAME")
    options = parser.parse_args()
    set_up_libraries()
    settings = Settings.of(
        models_dir=Path("models"),
        device=options.device,
        dtype=options.dtype,
        max_answer_tokens=64,
        max_prompt_tokens=64,
    )
    subject = subject_of(options.model, options.side, settings, min(options.batch, 16))
    report("benchmarks.steps", measure(subject, settings, options.batch), options.save)


if __name__ == "__main__":
    main()
