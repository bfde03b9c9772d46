"""Clients that load a running service: a fixed number at a time (closed loop) or a fixed rate (open loop).

In a closed loop a slow service receives fewer requests, so it shows throughput and hides waiting. In an open loop jobs
arrive whether or not earlier ones have ended, as from independent users. There time counts from the moment at which a
job should have been sent, so that a late client hides nothing.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx2

_WAIT_S = 30
_TIMEOUT_S = 60.0


@dataclass
class Load:
    """What clients measured."""

    latencies_s: list[float] = field(default_factory=list)
    """From the moment at which a job was sent (open loop: should have been sent) to its result."""
    submits_s: list[float] = field(default_factory=list)
    """From the moment at which a job was sent to the 202."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Jobs that were not accepted or did not succeed, by status or error."""
    seconds: float = 0.0

    def stats(self) -> dict[str, Any]:
        """Latencies in milliseconds, and jobs per second."""
        return {
            "jobs": len(self.latencies_s),
            "refused_or_failed": self.refusals.total(),
            "jobs_per_s": len(self.latencies_s) / self.seconds,
            **{f"result_ms_p{q}": 1e3 * _quantile(self.latencies_s, q) for q in (50, 95, 99)},
            **{f"submit_ms_p{q}": 1e3 * _quantile(self.submits_s, q) for q in (50, 95, 99)},
        }


def _quantile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else 0.0


class LoadClients:
    """Clients that share a connection pool and one image."""

    def __init__(self, url: str, image: bytes) -> None:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=256)
        self._client = httpx2.AsyncClient(base_url=url, timeout=_TIMEOUT_S, limits=limits)
        self._image = image
        self._sent = 0

    async def closed_loop(self, clients: int, seconds: float) -> Load:
        """Run clients for `seconds`. Each sends its next job when it has the result of the last one."""
        load, begin = Load(), time.perf_counter()

        async def one() -> None:
            while time.perf_counter() - begin < seconds:
                await self._job(load, time.perf_counter())

        await asyncio.gather(*(one() for _ in range(clients)))
        load.seconds = time.perf_counter() - begin
        return load

    async def open_loop(self, jobs_per_s: float, seconds: float) -> Load:
        """Send jobs at random moments (a Poisson process) for `seconds`, and wait until all have ended."""
        load, begin, chance = Load(), time.perf_counter(), random.Random(0)
        async with asyncio.TaskGroup() as group:
            due = begin
            while (due := due + chance.expovariate(jobs_per_s)) < begin + seconds:
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                group.create_task(self._job(load, due))
        load.seconds = time.perf_counter() - begin
        return load

    async def close(self) -> None:
        await self._client.aclose()

    async def _job(self, load: Load, due: float) -> None:
        """Submit a job, wait for its end, and record the time it took."""
        self._sent += 1
        # Bytes after the end of a PNG are ignored, but make it another image.
        files = {"image_file": ("a.png", self._image + str(self._sent).encode())}
        try:
            sent = time.perf_counter()
            answer = await self._client.post("/segment/", data={"prompt": "cat"}, files=files)
            accepted = time.perf_counter()
            if answer.status_code != 202:
                load.refusals[str(answer.status_code)] += 1
                return
            job = answer.json()
            while job["status"] in ("queued", "processing"):
                job = (await self._client.get(f"/jobs/{job['id']}", params={"wait": _WAIT_S})).json()
        except httpx2.HTTPError as error:
            load.refusals[type(error).__name__] += 1
            return
        if job["status"] != "succeeded":
            load.refusals[job["status"]] += 1
            return
        load.submits_s.append(accepted - sent)
        load.latencies_s.append(time.perf_counter() - due)
