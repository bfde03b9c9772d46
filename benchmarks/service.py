"""The cost of the service around the model: time to start, memory, and time from submit to result without the model.

    python -m benchmarks.service [--jobs 100] [--in-flight 32] [--apart] [--save NAME]

First, one job at a time: no job waits for a batch, so all time outside the model is overhead. Then many jobs in flight,
and the same jobs with an engine alone in this process, as many in flight: there the engine has the cores that front
end, broker, worker and this client share in the first case. With `--apart` the engine has one core for itself in both
cases, as if it were a GPU, and everything else has another core: then the difference is the time that the engine waits.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2
import psutil
from PIL import Image

from benchmarks.cores import busiest_thread, set_apart
from benchmarks.engine import closed_loop
from benchmarks.processes import cpu_s, cpu_s_since, memory_mb, processes
from benchmarks.report import report
from evaluation.datasets.scenes import scene_examples
from local.broker import free_port
from local.up import local_service
from shared.domain.prompt import normalize_prompt
from shared.registry import served_model
from shared.settings import Settings
from worker.build import limit_threads, set_up_libraries, start_engine
from worker.fitting import fitted
from worker.loading.checkpoint import load_checkpoint
from worker.stages.preprocess import Preprocessor


def main() -> None:
    """Measure, and print the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--apart", action="store_true", help="give the engine a core for itself")
    parser.add_argument("--save", help="save the results in benchmarks/results/NAME.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("wb") as log:
        begin = time.perf_counter()
        with local_service("127.0.0.1", free_port(), [None], Path(folder), log) as service:
            service.wait_until_ready()
            results: dict[str, Any] = {
                "start_s": time.perf_counter() - begin,
                "memory_idle_mb": memory_mb(),
                **_latency(service.url, options.jobs),
                **_loaded(service.url, options.jobs * 4, options.in_flight, options.apart),
                "memory_after_mb": memory_mb(),
            }
    results |= _bare_engine(options.jobs * 4, options.in_flight, options.apart)
    results["service_over_bare_engine"] = results["service_jobs_per_s"] / results["bare_engine_jobs_per_s"]
    report("benchmarks.service", results, options.save)


def _loaded(url: str, jobs: int, in_flight: int, apart: bool) -> dict[str, Any]:
    """Throughput with many jobs in flight, and the CPU time of each part per job."""
    examples = _examples(jobs)
    worker = next(process for kind, process in processes() if kind == "worker")
    engine = busiest_thread(worker, lambda: asyncio.run(_throughput(url, examples[:in_flight], in_flight)))
    if apart:
        set_apart(engine)
    before, computed_s, begin = cpu_s(), engine.cpu_s(), time.perf_counter()
    jobs_per_s = asyncio.run(_throughput(url, examples, in_flight))
    busy = (engine.cpu_s() - computed_s) / (time.perf_counter() - begin)
    cpu_ms = {kind: spent * 1e3 / jobs for kind, spent in cpu_s_since(before).items()}
    return {"service_jobs_per_s": jobs_per_s, "cpu_ms_per_job": cpu_ms, "engine_thread_busy": busy}


def _latency(url: str, jobs: int) -> dict[str, Any]:
    """Milliseconds per job over `jobs` held-out examples, after 10 to warm up."""
    examples = _examples(jobs + 10, first=5_000)
    with httpx2.Client(base_url=url, timeout=60) as client:
        measured = [_one(client, prompt, image) for prompt, image in examples][10:]
    columns = {name: [each[name] for each in measured] for name in measured[0]}
    return {f"{name}_p50": statistics.median(values) for name, values in columns.items()} | {
        "overhead_ms_p90": statistics.quantiles(columns["overhead_ms"], n=10)[-1],
        "jobs": len(measured),
    }


def _one(client: httpx2.Client, prompt: str, image: bytes) -> dict[str, float]:
    begin = time.perf_counter()
    response = client.post("/segment/", data={"prompt": prompt}, files={"image_file": ("scene.png", image)})
    submitted = time.perf_counter()
    job = response.raise_for_status().json()
    while job["status"] in ("queued", "processing"):
        job = client.get(job["urls"]["self"], params={"wait": 30}).json()
    total_ms = (time.perf_counter() - begin) * 1e3
    model_ms = job["metrics"]["model_s"] * 1e3
    return {
        "submit_ms": (submitted - begin) * 1e3,
        "model_ms": model_ms,
        "total_ms": total_ms,
        "overhead_ms": total_ms - model_ms,
    }


def _examples(jobs: int, first: int = 7_000) -> list[tuple[str, bytes]]:
    """Prompts and images, drawn before the measurement starts."""
    return [(each.prompt, each.read_image()) for each in scene_examples(jobs, first)]


async def _throughput(url: str, examples: Sequence[tuple[str, bytes]], in_flight: int) -> float:
    """Jobs per second in a closed loop, from the first submit to the last result."""
    remaining = iter(examples)
    async with httpx2.AsyncClient(base_url=url, timeout=60) as client:

        async def submit_remaining() -> None:
            for prompt, image in remaining:
                files = {"image_file": ("scene.png", image)}
                response = await client.post("/segment/", data={"prompt": prompt}, files=files)
                job = response.raise_for_status().json()
                while job["status"] in ("queued", "processing"):
                    job = (await client.get(job["urls"]["self"], params={"wait": 30})).json()

        begin = time.perf_counter()
        await asyncio.gather(*(submit_remaining() for _ in range(in_flight)))
        return len(examples) / (time.perf_counter() - begin)


def _bare_engine(jobs: int, in_flight: int, apart: bool) -> dict[str, float]:
    """The engine alone: images are prepared before, and masks are not rendered."""
    set_up_libraries()
    settings = Settings.of(feature_cache_bytes=0)
    checkpoint = load_checkpoint(served_model(settings.model), settings.checkpoint, settings.model)
    limit_threads(checkpoint.model)
    preprocessor = Preprocessor(checkpoint.processor, settings.engine.max_prompt_tokens)
    inputs = [
        preprocessor.prepare(Image.open(io.BytesIO(image)).convert("RGB"), normalize_prompt(prompt))
        for prompt, image in _examples(jobs)
    ]
    engine = start_engine(checkpoint.model, checkpoint.processor.tokenizer, fitted(settings, checkpoint.model).engine)
    try:
        thread = busiest_thread(psutil.Process(), lambda: closed_loop(engine, inputs[:in_flight], in_flight))
        if apart:
            set_apart(thread)
        begin, cpu_begin = time.perf_counter(), time.process_time()
        closed_loop(engine, inputs, in_flight)
        return {
            "bare_engine_jobs_per_s": jobs / (time.perf_counter() - begin),
            "bare_engine_cpu_ms_per_job": (time.process_time() - cpu_begin) * 1e3 / jobs,
        }
    finally:
        engine.close()


if __name__ == "__main__":
    main()
