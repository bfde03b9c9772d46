"""Measures one front end process: submits and polls per second, and thousands of clients that wait.

    python -m benchmarks.api [--seconds 10] [--waiters 2000] [--save NAME]

Submits are compared with the thinnest endpoint in FastAPI: it reads the same upload, pushes it to the same server, and
does nothing else. Rounds of the two alternate, so that other load on the machine affects both; results in CPU time do
not depend on other load. No worker runs, so the queue is long and soon no notification is sent.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psutil
from PIL import Image
from redis import Redis

from benchmarks.report import report
from local.broker import free_port, running_broker
from shared.settings import Settings
from shared.store.leases import LeaseStore
from testing.factories import success
from testing.pictures import PHOTO_BYTES, photo_sized_png
from testing.raw_http import Connection, form_request, get_request

_CONNECTIONS = 16
_ROUNDS = 3
_PUSHES = 1_000

Server = tuple[int, psutil.Process]
"""The port and the process of a server."""


def main() -> None:
    """Measure, and print the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each measurement")
    parser.add_argument("--waiters", type=int, default=2_000)
    parser.add_argument("--save", help="keep the results in benchmarks/results/NAME.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_broker(Path(folder)) as redis_url:
        results = _throughput(redis_url, options.seconds) | _waiting(redis_url, options.waiters)
    report("benchmarks.api", {"connections": _CONNECTIONS, "image_bytes": PHOTO_BYTES, **results}, options.save)


# --- Submits and polls ------------------------------------------------------------------------------------------------


def _throughput(redis_url: str, seconds: float) -> dict[str, Any]:
    submit = form_request("/segment/", {"prompt": "cat"}, "image_file", photo_sized_png())
    with _server("api", redis_url) as ours, _server("benchmarks.thinnest", redis_url) as thinnest:
        rounds = [_round(redis_url, ours, thinnest, submit, seconds) for _ in range(_ROUNDS)]
    medians = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    return {
        **medians,
        "share_of_thinnest": medians["submits_per_s"] / medians["thinnest_submits_per_s"],
        "share_of_thinnest_by_cpu": medians["thinnest_submit_cpu_ms"] / medians["submit_cpu_ms"],
    }


def _round(redis_url: str, ours: Server, thinnest: Server, submit: bytes, seconds: float) -> dict[str, float]:
    results: dict[str, float] = {}
    for name, server in (("thinnest_submit", thinnest), ("submit", ours)):
        _forget_jobs(redis_url)
        results |= _load(name, server, submit, seconds)
    job = httpx2.get(f"http://127.0.0.1:{ours[0]}/jobs").json()["jobs"][0]
    return results | _load("poll", ours, get_request(f"/jobs/{job['id']}"), seconds)


def _load(name: str, server: Server, request: bytes, seconds: float) -> dict[str, float]:
    """Requests per second, and CPU milliseconds of the process per request."""
    port, process = server
    before = process.cpu_times()
    rate = asyncio.run(_rate(port, request, seconds))
    after = process.cpu_times()
    cpu_s = after.user + after.system - before.user - before.system
    return {f"{name}s_per_s": rate, f"{name}_cpu_ms": cpu_s / (rate * seconds) * 1e3}


async def _rate(port: int, request: bytes, seconds: float) -> float:
    """Requests per second over `_CONNECTIONS` connections. Each sends one request after the other."""
    deadline = time.perf_counter() + seconds
    begin = time.perf_counter()

    async def work() -> int:
        done = 0
        async with Connection.to(port) as connection:
            while time.perf_counter() < deadline:
                await connection.request(request)
                done += 1
        return done

    done = sum(await asyncio.gather(*(work() for _ in range(_CONNECTIONS))))
    return done / (time.perf_counter() - begin)


# --- Waiting ----------------------------------------------------------------------------------------------------------


def _waiting(redis_url: str, waiters: int) -> dict[str, Any]:
    results: dict[str, Any] = {"waiters": waiters}
    kinds: dict[str, Callable[[str], bytes]] = {
        "long_poll": lambda job_id: get_request(f"/jobs/{job_id}?wait=60"),
        "stream": lambda job_id: get_request(f"/jobs/{job_id}/events"),
    }
    for name, request in kinds.items():
        _forget_jobs(redis_url)
        with _server("api", redis_url) as (port, process):
            results[name] = asyncio.run(_pushes(port, process, redis_url, waiters, request))
    return results


async def _pushes(
    port: int, process: psutil.Process, redis_url: str, waiters: int, request: Callable[[str], bytes]
) -> dict[str, float]:
    """Let clients wait, each for its own job, end some of the jobs, and measure how soon their clients are told."""
    submit = form_request("/segment/", {"prompt": "cat"}, "image_file", _pixel())
    async with Connection.to(port) as connection:
        for _ in range(waiters):
            await connection.request(submit)
    job_ids = [job.decode() for job in await _ids(redis_url)]
    before = process.memory_info().rss
    known: dict[str, float] = {}
    tasks = [asyncio.create_task(_wait(port, request(job_id), job_id, known)) for job_id in job_ids]
    await asyncio.sleep(5 + waiters / 1_000)
    memory = process.memory_info().rss - before
    ended = await asyncio.to_thread(_end_jobs, redis_url, min(_PUSHES, waiters))
    await _until(lambda: all(job_id in known for job_id in ended))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    latencies = sorted((known[job_id] - at) * 1e3 for job_id, at in ended.items())
    return {
        "memory_kb_each": memory / waiters / 1e3,
        "push_ms_p50": statistics.median(latencies),
        "push_ms_p99": latencies[len(latencies) * 99 // 100],
        "push_ms_max": latencies[-1],
    }


async def _wait(port: int, request: bytes, job_id: str, known: dict[str, float]) -> None:
    async with Connection.to(port) as connection:
        await connection.send(request)
        await connection.until(b'"succeeded"')
        known[job_id] = time.perf_counter()


def _end_jobs(redis_url: str, count: int) -> dict[str, float]:
    """Claim and finish one job after the other, as a worker does. Returns the time at which each was finished."""
    store = LeaseStore.connect(Settings.of(redis_url=redis_url))
    ended: dict[str, float] = {}
    for _ in range(count):
        lease = store.claim("demo", is_idle=True)
        if lease is None:
            break
        ended[lease.job.id] = time.perf_counter()
        store.finish(lease, success())
        time.sleep(0.005)
    store.close()
    return ended


async def _until(happened: Callable[[], bool], max_s: float = 60.0) -> None:
    deadline = time.monotonic() + max_s
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError("not every client was told")
        await asyncio.sleep(0.05)


async def _ids(redis_url: str) -> list[bytes]:
    with Redis.from_url(redis_url) as redis:
        found: list[bytes] = redis.zrange("maskq:owned:anonymous", 0, -1)
        return found


# --- Processes --------------------------------------------------------------------------------------------------------


@contextmanager
def _server(module: str, redis_url: str) -> Iterator[Server]:
    """Run this module as a process that listens. Yields its port and the process."""
    port = free_port()
    env = {**os.environ, "REDIS_URL": redis_url, "MASKQ_MAX_QUEUED_JOBS": "1000000", "MASKQ_ACCEPT_UNSERVED": "true"}
    command = [sys.executable, "-m", module, "--port", str(port)]
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for_port(port)
            yield port, psutil.Process(process.pid)
        finally:
            process.terminate()


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            httpx2.get(f"http://127.0.0.1:{port}/livez", timeout=5)
        except httpx2.TransportError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"nothing answers on port {port}")


def _forget_jobs(redis_url: str) -> None:
    """Empty the store, so that its memory does not grow and all rounds have the same conditions."""
    with Redis.from_url(redis_url) as redis:
        redis.flushall()


def _pixel() -> bytes:
    path = Path(tempfile.mkstemp(suffix=".png")[1])
    Image.new("RGB", (1, 1)).save(path)
    try:
        return path.read_bytes()
    finally:
        path.unlink()


if __name__ == "__main__":
    main()
