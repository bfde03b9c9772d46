"""Measures how many jobs one host carries, and how that grows with workers. The engine only sleeps, so that two cores
are enough for four workers.

    python -m benchmarks.load [--seconds 20] [--plot docs/images/load.png] [--save NAME]
    python -m benchmarks.load --soak 600 [--save NAME]

- Scaling: 1 to 4 worker processes, each with 4 jobs of 400 ms at a time, under more clients than that (closed loop):
  jobs per second, and their ratio to those of one worker.
- Latency: 4 workers under random arrivals at a share of their capacity (open loop): percentiles of the time from the
  moment at which a job should have been sent to its result.
- The front end: 2 workers whose jobs take no time, under 32 clients: the maximum of jobs per second that one front end,
  its broker and these clients reach together on this machine.
- Soak: memory of every process over time, at a quarter of the capacity of 4 workers. Nothing else is measured then.

All processes are started here, and all requests go over loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil

from benchmarks.report import report
from testing.fleet import SCRIPTED_WORKER, Fleet
from testing.load_clients import LoadClients
from testing.pictures import photo_sized_png

_SLOTS = 4
_WORK_MS = 400
_WORKERS = (1, 2, 3, 4)
_SHARES = (0.3, 0.5, 0.7, 0.9)
_SAMPLES = 60
_WARM_UP_S = 3.0


def load(workers: int, work_ms: float, measure: Callable[[LoadClients, Fleet], Awaitable[Any]]) -> Any:
    """Start a service in which a job takes `work_ms`, warm it up, and return what `measure` returns."""

    async def run(fleet: Fleet) -> Any:
        clients = LoadClients(fleet.url, photo_sized_png())
        try:
            await clients.closed_loop(2 * workers, _WARM_UP_S)
            return await measure(clients, fleet)
        finally:
            await clients.close()

    env = {
        "SCRIPTED_MS": str(work_ms),
        "MASKQ_MAX_BATCH": str(_SLOTS),
        "MASKQ_WORKER_THREADS": str(_SLOTS),
        "MASKQ_RETENTION_S": "60",
        "MASKQ_IMAGE_RETENTION_S": "20",
    }
    with tempfile.TemporaryDirectory() as folder, Fleet(Path(folder), SCRIPTED_WORKER, workers, 0, **env) as fleet:
        return asyncio.run(run(fleet))


def scaling(seconds: float) -> dict[str, Any]:
    """Jobs per second of 1 to 4 workers."""
    rates: dict[int, dict[str, Any]] = {}
    for workers in _WORKERS:

        async def measure(clients: LoadClients, fleet: Fleet) -> dict[str, Any]:
            return (await clients.closed_loop(2 * _SLOTS * len(fleet.workers), seconds)).stats()

        ideal = {"ideal_jobs_per_s": workers * _SLOTS * 1000 / _WORK_MS}
        rates[workers] = load(workers, _WORK_MS, measure) | ideal
        rates[workers]["times_one_worker"] = rates[workers]["jobs_per_s"] / rates[1]["jobs_per_s"]
    return {f"{workers}_workers": results for workers, results in rates.items()}


def latency(seconds: float) -> dict[str, Any]:
    """Latency percentiles at growing shares of the capacity of four workers."""
    capacity = _WORKERS[-1] * _SLOTS * 1000 / _WORK_MS

    async def measure(clients: LoadClients, fleet: Fleet) -> dict[str, Any]:
        return {
            f"at_{share:.0%}": {"offered_jobs_per_s": share * capacity}
            | (await clients.open_loop(share * capacity, seconds)).stats()
            for share in _SHARES
        }

    results: dict[str, Any] = load(_WORKERS[-1], _WORK_MS, measure)
    return results


def front_end(seconds: float) -> dict[str, Any]:
    """Maximum throughput when jobs take no time, and CPU milliseconds of each process per job."""

    async def measure(clients: LoadClients, fleet: Fleet) -> dict[str, Any]:
        before = _cpu_s(fleet)
        results = (await clients.closed_loop(32, seconds)).stats()
        spent = {name: after - before[name] for name, after in _cpu_s(fleet).items()}
        return results | {"cpu_ms_a_job": {name: 1e3 * each / results["jobs"] for name, each in spent.items()}}

    results: dict[str, Any] = load(2, 0, measure)
    return results


def soak(seconds: float) -> dict[str, Any]:
    """Memory of every process, in MB, at a quarter of the capacity of four workers."""

    async def measure(clients: LoadClients, fleet: Fleet) -> dict[str, Any]:
        samples: list[dict[str, float]] = []

        async def watch() -> None:
            for _ in range(_SAMPLES):
                await asyncio.sleep(seconds / _SAMPLES)
                samples.append(_memory_mb(fleet))

        rate = _WORKERS[-1] * _SLOTS * 1000 / _WORK_MS / 4
        measured, _ = await asyncio.gather(clients.open_loop(rate, seconds), watch())
        return measured.stats() | {"memory_mb": {name: _course([s[name] for s in samples]) for name in samples[0]}}

    results: dict[str, Any] = load(_WORKERS[-1], _WORK_MS, measure)
    return results


def _course(values: list[float]) -> dict[str, float]:
    """Means of the second and the last sixth, so that neither the start nor a single sample decides."""
    sixth = len(values) // 6
    early, late = values[sixth : 2 * sixth], values[-sixth:]
    return {"early": sum(early) / sixth, "late": sum(late) / sixth, "max": max(values)}


def _processes(fleet: Fleet) -> dict[str, psutil.Process]:
    return {each.name: psutil.Process(each.process.pid) for each in fleet.processes if each.process}


def _cpu_s(fleet: Fleet) -> dict[str, float]:
    return {name: sum(each.cpu_times()[:2]) for name, each in _processes(fleet).items()}


def _memory_mb(fleet: Fleet) -> dict[str, float]:
    return {name: each.memory_info().rss / 1e6 for name, each in _processes(fleet).items()}


def plot(results: dict[str, Any], path: Path) -> None:
    """Plot throughput by workers, and latency by load."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    rates = [results["scaling"][f"{workers}_workers"] for workers in _WORKERS]
    left.plot(_WORKERS, [each["ideal_jobs_per_s"] for each in rates], ":", color="gray", label="ideal")
    left.plot(_WORKERS, [each["jobs_per_s"] for each in rates], "o-", label="measured")
    left.set(xlabel="worker processes", ylabel="jobs/s", xticks=_WORKERS, ylim=0)
    loads = list(results["latency"].values())
    for percentile in (50, 95, 99):
        times = [each[f"result_ms_p{percentile}"] for each in loads]
        right.plot([each["offered_jobs_per_s"] for each in loads], times, "o-", label=f"p{percentile}")
    right.axhline(_WORK_MS, ls=":", color="gray", label="the engine itself")
    right.set(xlabel="jobs/s offered to 4 workers", ylabel="ms from submit to result", ylim=0)
    for axes in (left, right):
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def table(results: dict[str, Any]) -> str:
    """The results as Markdown tables, for docs/capacity.md."""
    rows = ["| workers | jobs/s | times one worker |", "|---|---|---|"]
    for name, each in results["scaling"].items():
        rows.append(f"| {name.partition('_')[0]} | {each['jobs_per_s']:.1f} | {each['times_one_worker']:.2f} |")
    rows += ["", "| jobs/s offered | p50 | p95 | p99 | submit p50 | submit p99 |", "|---|---|---|---|---|---|"]
    for each in results["latency"].values():
        names = ("result_ms_p50", "result_ms_p95", "result_ms_p99", "submit_ms_p50", "submit_ms_p99")
        rows.append(f"| {each['offered_jobs_per_s']:.0f} | {' | '.join(f'{each[name]:.0f} ms' for name in names)} |")
    return "\n".join(rows)


def main() -> None:
    """Measure, and print the results as JSON and as tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each measurement")
    parser.add_argument("--soak", type=float, default=0.0, help="run only the soak, for so many seconds")
    parser.add_argument("--plot", type=Path, help="file of the plot")
    parser.add_argument("--save", help="keep the results in benchmarks/results/NAME.json")
    options = parser.parse_args()
    if options.soak:
        report("benchmarks.load", soak(options.soak), options.save)
        return
    results = {
        "scaling": scaling(options.seconds),
        "latency": latency(options.seconds),
        "front_end": front_end(options.seconds),
    }
    report("benchmarks.load", results, options.save)
    print(table(results))
    if options.plot:
        plot(results, options.plot)


if __name__ == "__main__":
    main()
