"""What it costs to wait for a replica: submits with and without, in turns, on a primary with a replica.

    python -m benchmarks.confirm [--jobs 400] [--rounds 5] [--save NAME]

Both servers are on loopback, with every write on disk before it is acknowledged. `alone` is one submit at a time,
`at_once` 16. The rounds take turns, so that whatever else the machine does hits both alike; the numbers are medians of
the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from benchmarks.report import report
from shared.settings import Settings
from shared.store.submissions import SubmissionStore
from testing.factories import new_job
from testing.replication import replicated
from testing.servers import embedded_broker

_CONFIRMED = (0, 1)
_CLIENTS = {"alone": 1, "at_once": 16}
_WARM_UP = 20
_IMAGE = b"\x00" * 10_000


async def _submit_many(front: SubmissionStore, jobs: int, clients: int) -> list[float]:
    """Submit, so many clients at once. Returns the seconds that each submit took."""
    numbers = iter(range(jobs))
    took: list[float] = []

    async def client() -> None:
        for _ in numbers:
            begin = time.perf_counter()
            await front.submit(new_job(image=_IMAGE))
            took.append(time.perf_counter() - begin)

    await asyncio.gather(*(client() for _ in range(clients)))
    return took


async def _measure(url: str, jobs: int, rounds: int) -> dict[str, float]:
    measured = defaultdict[str, list[float]](list)
    settings = Settings.of(redis_url=url, max_queued_jobs=10**9, redis_timeout_s=60)
    fronts = {
        confirmed: SubmissionStore.connect(settings.replace(confirm_replicas=confirmed)) for confirmed in _CONFIRMED
    }
    for front in fronts.values():
        await _submit_many(front, _WARM_UP, 1)
    for _ in range(rounds):
        for name, clients in _CLIENTS.items():
            for confirmed, front in fronts.items():
                begin = time.perf_counter()
                took = await _submit_many(front, jobs, clients)
                measured[f"{name}_submits_per_s_{confirmed}"].append(jobs / (time.perf_counter() - begin))
                measured[f"{name}_p50_ms_{confirmed}"].append(statistics.median(took) * 1e3)
                measured[f"{name}_p99_ms_{confirmed}"].append(statistics.quantiles(took, n=100)[-1] * 1e3)
    for front in fronts.values():
        await front.close()
    return {name: statistics.median(values) for name, values in measured.items()}


def main() -> None:
    """Measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=400, help="submits in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", help="keep the figures in benchmarks/results/NAME.json")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        replicated(embedded_broker, Path(folder), auto_aof_rewrite_percentage=0) as servers,
    ):
        figures = asyncio.run(_measure(servers.primary_url, options.jobs, options.rounds))
    report("benchmarks.confirm", figures, options.save)


if __name__ == "__main__":
    main()
