"""How long the answers of many requests take if a worker is killed while it runs some of them.

    python -m benchmarks.recovery [--jobs 96] [--rounds 3] [--save NAME]

The service is real, with the demo checkpoint and the leases that it has by default. All requests are sent at once. When
a quarter of the jobs has been claimed, a worker is killed with SIGKILL, and started again at once. Time counts from
that moment to the last answer: with another worker, and without. Every job must succeed. Each round is also run
without a kill, which shows how long the work itself takes.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.report import report
from shared.settings import LivenessSettings
from shared.store import key_names
from testing.fleet import DEMO_WORKER, Fleet
from testing.pictures import encoded, gradient

_MODEL = "demo"
_IMAGE = encoded(gradient(224, 224))
_WAIT_S = 30
_CHECK_S = 0.002
_LEASES = LivenessSettings()
_ENV = {
    "MASKQ_HEARTBEAT_S": str(_LEASES.heartbeat_s),
    "MASKQ_GIVE_UP_S": str(_LEASES.give_up_s),
    "MASKQ_LEASE_S": str(_LEASES.lease_s),
    "OMP_NUM_THREADS": "1",
}


class Rounds:
    """Runs the same requests again and again on one fleet."""

    def __init__(self, fleet: Fleet, jobs: int) -> None:
        self._fleet = fleet
        self._jobs = jobs
        self._sent = 0

    async def undisturbed(self) -> dict[str, float]:
        """Without a kill."""
        answers = asyncio.create_task(self._answers())
        begin = await asyncio.to_thread(self._a_quarter_is_claimed)
        await answers
        return {"undisturbed_s": time.monotonic() - begin}

    async def killed(self) -> dict[str, float]:
        """With a kill of the first worker."""
        answers = asyncio.create_task(self._answers())
        begin = await asyncio.to_thread(self._a_quarter_is_claimed)
        self._fleet.workers[0].kill()
        loading = asyncio.create_task(asyncio.to_thread(self._load_s, begin))
        found = await answers
        seconds = time.monotonic() - begin
        lost = sum(job["attempt"] > 1 for job in found)
        return {"last_answer_s": seconds, "load_s": await loading, "jobs_that_lost_their_worker": lost}

    async def _answers(self) -> list[dict[str, Any]]:
        """Send all requests at once, and wait for their jobs.

        Raises:
            RuntimeError: a job has not succeeded.
        """
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(base_url=self._fleet.url, timeout=4 * _WAIT_S, limits=limits) as client:
            jobs = await asyncio.gather(*(self._answer(client) for _ in range(self._jobs)))
        if any(job["status"] != "succeeded" for job in jobs):
            raise RuntimeError(f"not all succeeded; logs are in {self._fleet.folder}")
        return jobs

    async def _answer(self, client: httpx2.AsyncClient) -> dict[str, Any]:
        self._sent += 1
        # Bytes after the end of a PNG are ignored, but make it another image.
        files = {"image_file": ("a.png", _IMAGE + str(self._sent).encode())}
        job: dict[str, Any] = (await client.post("/segment/", data={"prompt": "circle"}, files=files)).json()
        while job["status"] in ("queued", "processing"):
            job = (await client.get(f"/jobs/{job['id']}", params={"wait": _WAIT_S})).json()
        return job

    def _a_quarter_is_claimed(self) -> float:
        """Wait until a quarter of the jobs has been claimed. Returns the moment."""
        with self._fleet.redis() as redis:

            def claimed() -> int:
                ended = redis.hget(key_names.counts(_MODEL), "succeeded")
                return int(ended or 0) + int(redis.zcard(key_names.running(_MODEL)))

            enough = int(redis.hget(key_names.counts(_MODEL), "succeeded") or 0) + self._jobs // 4
            while claimed() < enough:
                time.sleep(_CHECK_S)
        return time.monotonic()

    def _load_s(self, begin: float) -> float:
        """Seconds until the worker that was started again has loaded the model: it serves metrics then."""
        worker = self._fleet.workers[0]
        self._fleet.wait_for(lambda: bool(worker.exit_statuses), "the worker to end")
        self._fleet.wait_for(lambda: _serves(self._fleet.metrics_ports[0]), "the worker to be ready", 240.0)
        return time.monotonic() - begin


def _serves(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def measure(workers: int, jobs: int, rounds: int) -> dict[str, Any]:
    """Medians over some rounds, and each round."""
    found: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder, Fleet(Path(folder), DEMO_WORKER, workers, 0, **_ENV) as fleet:
        run = Rounds(fleet, jobs)
        for _ in range(rounds):
            found.append({**asyncio.run(run.undisturbed()), **asyncio.run(run.killed())})
            fleet.start_all()
    medians = {f"{name}_median": statistics.median(each[name] for each in found) for name in found[0]}
    return {**medians, "rounds": {str(number): each for number, each in enumerate(found)}}


def main() -> None:
    """Measure, and print the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=96, help="requests at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", help="keep the results in benchmarks/results/NAME.json")
    options = parser.parse_args()
    results = {
        "with_another_worker": measure(2, options.jobs, options.rounds),
        "alone": measure(1, options.jobs, options.rounds),
    }
    report("benchmarks.recovery", results, options.save)


if __name__ == "__main__":
    main()
