"""Whether the service is as fast as a GPU.

    python -m benchmarks.pace [--seconds 8] [--only CASE ...] [--save NAME]

A real worker on a real ledger decodes images, prepares them, decodes masks and renders them. Only the device is
replaced, by one that sleeps as long as an H200 would take for the model of 3 B parameters (`benchmarks.pace.device`),
with 64 slots and 96 threads. This process submits jobs as a front end does, without HTTP, and keeps as many in flight.
For each case:

- `device_jobs_per_s`: the engine on that device with prepared inputs, and nothing around it;
- `jobs_per_s` of the whole, and `of_device`, their ratio;
- `cpu_ms_per_job` of each kind of process; `client` is this one;
- `beside_device`: the share of one core that the process with the device uses, all its threads together.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer

from benchmarks.engine import closed_loop
from benchmarks.ledger import broker_server
from benchmarks.pace.device import SLOTS, slept_engine
from benchmarks.pace.feeder import Feeder
from benchmarks.pace.images import images
from benchmarks.pace.worker_process import worker
from benchmarks.processes import cpu_s, cpu_s_since
from benchmarks.report import report
from shared.settings import Settings
from worker.engine.model_input import ModelInput

_WARM_UP_S = 2.5


@dataclass(frozen=True)
class Case:
    """Images of one kind, for a model whose images have so many pixels a side."""

    side: int
    image: str
    in_flight: int

    @property
    def name(self) -> str:
        return f"3b_{self.side}_{self.image}"


CASES = (
    Case(224, "jpeg_224", 128),
    Case(224, "png_640x480", 128),
    Case(224, "jpeg_12_mp", 32),
    Case(448, "png_640x480", 128),
)


def device_jobs_per_s(side: int, jobs: int = 800) -> float:
    """Of the engine alone."""
    engine = slept_engine(side, AutoTokenizer.from_pretrained("models/demo", trust_remote_code=False))
    job = ModelInput(np.zeros((1, 1, 3), np.uint8), [1] * 264, b"")
    try:
        begin = time.perf_counter()
        closed_loop(engine, [job] * jobs, 2 * SLOTS)
        return jobs / (time.perf_counter() - begin)
    finally:
        engine.close()


async def measured(case: Case, files: list[bytes], url: str, seconds: float) -> dict[str, Any]:
    """Jobs per second of this case, and what they cost."""
    kept = {"retention_s": 60, "image_retention_s": 5, "result_cache_s": 0, "max_queued_jobs": 10_000}
    feeder = Feeder(Settings.of(redis_url=url, **kept), files, case.in_flight)
    try:
        await feeder.wait_for_worker()
        await feeder.feed(_WARM_UP_S)
        ended, before, begin = await feeder.ended(), cpu_s(), time.perf_counter()
        await feeder.feed(seconds)
        took_s, jobs, spent_s = time.perf_counter() - begin, await feeder.ended(), cpu_s_since(before)
        await feeder.drain()
    finally:
        await feeder.close()
    done = jobs["succeeded"] - ended.get("succeeded", 0)
    if jobs.get("failed"):
        raise RuntimeError(f"{jobs['failed']} jobs failed")
    return _figures(done, took_s, spent_s)


def _figures(done: int, took_s: float, spent_s: Mapping[str, float]) -> dict[str, Any]:
    return {
        "jobs_per_s": done / took_s,
        "cpu_ms_per_job": {kind: spent * 1e3 / done for kind, spent in spent_s.items()},
        "beside_device": spent_s["worker"] / took_s,
    }


def measure(cases: Sequence[Case], seconds: float, folder: Path) -> dict[str, Any]:
    """The results of all cases, by their names. A worker serves all cases of one side, one after the other."""
    files, results = images(), {}
    with ExitStack() as stack:
        url = stack.enter_context(broker_server(folder / "broker"))
        for side in dict.fromkeys(case.side for case in cases):
            alone = device_jobs_per_s(side)
            with worker(url, side, SLOTS, folder / "worker.log"):
                for case in cases:
                    if case.side == side:
                        figures = asyncio.run(measured(case, files[case.image], url, seconds))
                        ratio = figures["jobs_per_s"] / alone
                        results[case.name] = {"device_jobs_per_s": alone, **figures, "of_device": ratio}
    return results


def main() -> None:
    """Measure, and print the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each measurement")
    parser.add_argument("--only", nargs="+", choices=[case.name for case in CASES], help="measure only these")
    parser.add_argument("--save", help="keep the results in benchmarks/results/NAME.json")
    options = parser.parse_args()
    cases = [case for case in CASES if not options.only or case.name in options.only]
    with tempfile.TemporaryDirectory() as folder:
        report("benchmarks.pace", measure(cases, options.seconds, Path(folder)), options.save)


if __name__ == "__main__":
    main()
