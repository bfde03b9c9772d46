"""How much one host carries, and how that grows with workers. The engine sleeps, so that two cores do for four of it.

    python -m benchmarks.load [--seconds 20] [--plot docs/images/load.png] [--save NAME]
    python -m benchmarks.load --soak 600 [--save NAME]

- Scaling: 1 to 4 worker processes, each with 4 jobs at a time that take 400 ms, under more clients than that (closed
  loop): jobs per second, and how many times one worker's.
- Latency: 4 workers under random arrivals at a share of what they can do (open loop): percentiles from the moment a job
  should have been sent to its result.
- The front end: 2 workers whose jobs take no time, under 32 clients: the most jobs per second that one front end, its
  broker and these clients get through this machine together.
- Soak: memory of every process at a quarter of what 4 workers can do, over time. Nothing else is measured then.

All goes over loopback to processes that are started here.
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
from testing.load_clients import Clients
from testing.pictures import photo_sized_png

_SLOTS = 4
_WORK_MS = 400
_WORKERS = (1, 2, 3, 4)
_SHARES = (0.3, 0.5, 0.7, 0.9)
_SAMPLES = 60
_WARM_UP_S = 3.0


def load(workers: int, work_ms: float, ask: Callable[[Clients, Fleet], Awaitable[Any]]) -> Any:
    """Bring up a service in which a job takes `work_ms`, and let `ask` load it."""

    async def run(fleet: Fleet) -> Any:
        clients = Clients(fleet.url, photo_sized_png())
        try:
            await clients.closed_loop(2 * workers, _WARM_UP_S)
            return await ask(clients, fleet)
        finally:
            await clients.close()

    env = {
        "SCRIPTED_MS": str(work_ms),
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

        async def ask(clients: Clients, fleet: Fleet) -> dict[str, Any]:
            return (await clients.closed_loop(2 * _SLOTS * len(fleet.workers), seconds)).stats()

        ideal = {"ideal_jobs_per_s": workers * _SLOTS * 1000 / _WORK_MS}
        rates[workers] = load(workers, _WORK_MS, ask) | ideal
        rates[workers]["times_one_worker"] = rates[workers]["jobs_per_s"] / rates[1]["jobs_per_s"]
    return {f"{workers}_workers": figures for workers, figures in rates.items()}


def latency(seconds: float) -> dict[str, Any]:
    """Percentiles at growing shares of what four workers can do."""
    most = _WORKERS[-1] * _SLOTS * 1000 / _WORK_MS

    async def ask(clients: Clients, fleet: Fleet) -> dict[str, Any]:
        return {
            f"at_{share:.0%}": {"offered_jobs_per_s": share * most}
            | (await clients.open_loop(share * most, seconds)).stats()
            for share in _SHARES
        }

    figures: dict[str, Any] = load(_WORKERS[-1], _WORK_MS, ask)
    return figures


def front_end(seconds: float) -> dict[str, Any]:
    """The most that passes when jobs take no time, and what each process spends on a job."""

    async def ask(clients: Clients, fleet: Fleet) -> dict[str, Any]:
        before = _cpu_s(fleet)
        figures = (await clients.closed_loop(32, seconds)).stats()
        spent = {name: after - before[name] for name, after in _cpu_s(fleet).items()}
        return figures | {"cpu_ms_a_job": {name: 1e3 * each / figures["jobs"] for name, each in spent.items()}}

    figures: dict[str, Any] = load(2, 0, ask)
    return figures


def soak(seconds: float) -> dict[str, Any]:
    """Memory of every process at a quarter of what four workers can do."""

    async def ask(clients: Clients, fleet: Fleet) -> dict[str, Any]:
        samples: list[dict[str, float]] = []

        async def watch() -> None:
            for _ in range(_SAMPLES):
                await asyncio.sleep(seconds / _SAMPLES)
                samples.append(_memory_mb(fleet))

        rate = _WORKERS[-1] * _SLOTS * 1000 / _WORK_MS / 4
        asked, _ = await asyncio.gather(clients.open_loop(rate, seconds), watch())
        return asked.stats() | {"memory_mb": {name: _course([s[name] for s in samples]) for name in samples[0]}}

    figures: dict[str, Any] = load(_WORKERS[-1], _WORK_MS, ask)
    return figures


def _course(values: list[float]) -> dict[str, float]:
    """Means of the second and the last sixth, so that neither the start nor a moment decides."""
    sixth = len(values) // 6
    early, late = values[sixth : 2 * sixth], values[-sixth:]
    return {"early": sum(early) / sixth, "late": sum(late) / sixth, "most": max(values)}


def _processes(fleet: Fleet) -> dict[str, psutil.Process]:
    return {each.name: psutil.Process(each.process.pid) for each in fleet.processes if each.process}


def _cpu_s(fleet: Fleet) -> dict[str, float]:
    return {name: sum(each.cpu_times()[:2]) for name, each in _processes(fleet).items()}


def _memory_mb(fleet: Fleet) -> dict[str, float]:
    return {name: each.memory_info().rss / 1e6 for name, each in _processes(fleet).items()}


def plot(figures: dict[str, Any], path: Path) -> None:
    """Throughput by workers, and latency by load."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    rates = [figures["scaling"][f"{workers}_workers"] for workers in _WORKERS]
    left.plot(_WORKERS, [each["ideal_jobs_per_s"] for each in rates], ":", color="gray", label="ideal")
    left.plot(_WORKERS, [each["jobs_per_s"] for each in rates], "o-", label="measured")
    left.set(xlabel="worker processes", ylabel="jobs/s", xticks=_WORKERS, ylim=0)
    asked = list(figures["latency"].values())
    for percentile in (50, 95, 99):
        times = [each[f"result_ms_p{percentile}"] for each in asked]
        right.plot([each["offered_jobs_per_s"] for each in asked], times, "o-", label=f"p{percentile}")
    right.axhline(_WORK_MS, ls=":", color="gray", label="the engine itself")
    right.set(xlabel="jobs/s offered to 4 workers", ylabel="ms from submit to result", ylim=0)
    for axes in (left, right):
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def table(figures: dict[str, Any]) -> str:
    """The same as Markdown, for docs/capacity.md."""
    rows = ["| workers | jobs/s | times one worker |", "|---|---|---|"]
    for name, each in figures["scaling"].items():
        rows.append(f"| {name.partition('_')[0]} | {each['jobs_per_s']:.1f} | {each['times_one_worker']:.2f} |")
    rows += ["", "| jobs/s offered | p50 | p95 | p99 | submit p50 | submit p99 |", "|---|---|---|---|---|---|"]
    for each in figures["latency"].values():
        names = ("result_ms_p50", "result_ms_p95", "result_ms_p99", "submit_ms_p50", "submit_ms_p99")
        rows.append(f"| {each['offered_jobs_per_s']:.0f} | {' | '.join(f'{each[name]:.0f} ms' for name in names)} |")
    return "\n".join(rows)


def main() -> None:
    """Measure, and print the figures as JSON and as tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--soak", type=float, default=0.0, help="seconds of the soak, which is then all")
    parser.add_argument("--plot", type=Path, help="where to put the plot")
    parser.add_argument("--save", help="keep the figures in benchmarks/results/NAME.json")
    options = parser.parse_args()
    if options.soak:
        report("benchmarks.load", soak(options.soak), options.save)
        return
    figures = {
        "scaling": scaling(options.seconds),
        "latency": latency(options.seconds),
        "front_end": front_end(options.seconds),
    }
    report("benchmarks.load", figures, options.save)
    print(table(figures))
    if options.plot:
        plot(figures, options.plot)


if __name__ == "__main__":
    main()
