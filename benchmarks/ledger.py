"""What the ledger costs, beside plain Celery on the same server in the same run.

    python -m benchmarks.ledger [--jobs 4000] [--queued 1000000] [--save NAME]

- Jobs per second through submit, claim and finish: one process submits, one worker process does nothing with each job
  and finishes it. Beside that, plain Celery's round trips per second: one process sends, one worker whose task does
  nothing, results in the same server. Both with as many worker threads; Celery also with its pool of processes.
- What a queued job takes of the server's memory, without its image.
- Submit and claim with an empty queue and, in turns with that, with a million jobs of a thousand owners queued.
  `ms_p50` is what the caller waits, the disk included; `us_in_server` what the server works.

The servers are embedded brokers: every write is on disk before it is acknowledged.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from redis import Redis

from benchmarks.plain_celery import THREADS, round_trips_per_s
from benchmarks.report import report
from local.broker import EmbeddedBroker
from shared.domain.job import JobRequest
from shared.settings import Settings
from shared.store import key_names
from shared.store.leases import LeaseStore
from shared.store.lua_script import Argument, LuaScript
from shared.store.new_job import NewJob
from shared.store.store_memory import MemorySample
from shared.store.submissions import SubmissionStore
from testing.factories import new_job, segmentation_result
from testing.scripted_worker import IdleEngine
from worker.jobs import in_threads
from worker.pipeline_result import PipelineResult
from worker.service import WorkerService

_MODEL = "demo"
_SUBMITTED_AT_ONCE = 16
_FILLED_AT_ONCE = 2_000
_OWNERS = 1_000
_TIMED = 500
_WARM_UP = 50


# --- Throughput -------------------------------------------------------------------------------------------------------


class IdlePipeline:
    """Has the answer at once."""

    def close(self) -> None:
        """Nothing runs."""

    def run(
        self, request: JobRequest, image_bytes: bytes, is_canceled: Callable[[], bool], client: str = ""
    ) -> PipelineResult:
        return PipelineResult(segmentation_result(), model_s=0.0, batch_size=1)


def work_forever(redis_url: str) -> None:
    """A worker's service and its threads, without Celery and without a model; ends when its process is ended."""
    settings = Settings.of(redis_url=redis_url, worker_threads=THREADS)
    service = WorkerService.connect(
        settings, _MODEL, in_threads(IdlePipeline(), THREADS), IdleEngine(), lambda: None, lambda _: None
    )
    service.start()

    while True:
        service.notified()


def ledger_jobs_per_s(url: str, jobs: int) -> float:
    """From the first submit until the last job has ended."""
    worker = multiprocessing.get_context("spawn").Process(target=work_forever, args=(url,))
    worker.start()
    try:
        return asyncio.run(_submit_and_wait(url, jobs))
    finally:
        worker.kill()
        worker.join()


async def _submit_and_wait(url: str, jobs: int) -> float:
    async with _front(url) as front:
        while not await front.live_workers(_MODEL):  # noqa: ASYNC110  another process's doing
            await asyncio.sleep(0.05)
        begin = time.perf_counter()
        await _submit_many(front, jobs)
        with Redis.from_url(url) as redis:
            while redis.zcard(key_names.ready(_MODEL)) or redis.zcard(key_names.running(_MODEL)):  # noqa: ASYNC110  likewise
                await asyncio.sleep(0.005)
        return jobs / (time.perf_counter() - begin)


# --- Size -------------------------------------------------------------------------------------------------------------


def memory_per_job(url: str, jobs: int) -> float:
    """Bytes of the server's memory for each queued job whose image is empty."""

    async def submit() -> None:
        async with _front(url) as front:
            await _submit_many(front, jobs)

    with Redis.from_url(url) as redis:
        before = redis.info("memory")["used_memory"]
        asyncio.run(submit())
        return float((redis.info("memory")["used_memory"] - before) / jobs)


def submit_ms(urls: Mapping[str, str]) -> dict[str, float]:
    """Milliseconds of one submit, one at a time: the median for each server. They take turns, so that whatever else the
    machine does hits all alike."""
    return asyncio.run(_submit_in_turns(urls))


async def _submit_in_turns(urls: Mapping[str, str]) -> dict[str, float]:
    async with AsyncExitStack() as stack:
        fronts = {name: await stack.enter_async_context(_front(url)) for name, url in urls.items()}
        measured: dict[str, list[float]] = {name: [] for name in urls}
        for _ in range(_TIMED + _WARM_UP):
            for name, front in fronts.items():
                new = _new_job()
                begin = time.perf_counter()
                await front.submit(new)
                measured[name].append((time.perf_counter() - begin) * 1e3)
    return _medians(measured)


def claim_ms(urls: Mapping[str, str]) -> dict[str, float]:
    """As `submit_ms`, of one claim. Takes as many jobs as that submits."""
    stores = {name: LeaseStore.connect(Settings.of(redis_url=url)) for name, url in urls.items()}
    measured: dict[str, list[float]] = {name: [] for name in urls}
    for _ in range(_TIMED + _WARM_UP):
        for name, store in stores.items():
            begin = time.perf_counter()
            store.claim(_MODEL, is_idle=False)
            measured[name].append((time.perf_counter() - begin) * 1e3)
    for store in stores.values():
        store.close()
    return _medians(measured)


def _medians(measured: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(values[_WARM_UP:]) for name, values in measured.items()}


def fill(url: str, jobs: int) -> None:
    """Queue jobs by the very script that submits them, many in a call."""
    submit = LuaScript.load("submit")
    source = f"""{submit.function}
        local args = {submit.arguments_table(3)} -- as the store submits it; id, owner and flow are each its own
        for number = tonumber(ARGV[1]), tonumber(ARGV[2]) do
            args.id = string.format('01900000-0000-7000-8000-%012d', number)
            args.owner = 'owner-' .. (number % {_OWNERS})
            args.flow = 'normal:' .. args.owner -- each owner is a client
            run(args)
        end
    """
    job = submit.argv(asyncio.run(_submit_arguments(url)))
    with Redis.from_url(url, socket_timeout=60) as redis:
        fill_some = redis.register_script(source)
        for first in range(0, jobs, _FILLED_AT_ONCE):
            last = min(jobs, first + _FILLED_AT_ONCE) - 1
            fill_some(args=[first, last, *job])
        waiting = redis.zcard(key_names.ready(_MODEL))
    if waiting < jobs:
        raise RuntimeError(f"{waiting} jobs wait, not {jobs}")


# --- The run ----------------------------------------------------------------------------------------------------------


@contextmanager
def broker_server(folder: Path) -> Iterator[str]:
    broker = EmbeddedBroker.prepare(folder)
    # The log is not rewritten meanwhile: that would slow down whichever measurement it falls into.
    command = [*broker.command, "--auto-aof-rewrite-percentage", "0", "--maxmemory", "0"]
    with subprocess.Popen(command, pass_fds=(broker.lock.fileno(),), stdout=subprocess.DEVNULL) as process:
        try:
            broker.wait()
            yield broker.url
        finally:
            process.kill()
            broker.lock.close()


@asynccontextmanager
async def _front(url: str) -> AsyncIterator[SubmissionStore]:
    front = SubmissionStore.connect(Settings.of(redis_url=url, max_queued_jobs=10**9))
    try:
        yield front
    finally:
        await front.close()


async def _submit_many(front: SubmissionStore, jobs: int) -> None:
    numbers = iter(range(jobs))

    async def client() -> None:
        for _ in numbers:
            await front.submit(_new_job())

    await asyncio.gather(*(client() for _ in range(_SUBMITTED_AT_ONCE)))


async def _submit_arguments(url: str) -> dict[str, Argument]:
    async with _front(url) as front:
        return front.submit_arguments(_new_job(), MemorySample())


def _new_job() -> NewJob:
    return new_job(image=b"")


def throughput(url: str, jobs: int) -> dict[str, float]:
    """The ledger and plain Celery, one after the other, each on an empty server."""
    contestants: dict[str, Callable[[], float]] = {
        "ledger_jobs_per_s": lambda: ledger_jobs_per_s(url, jobs),
        "celery_threads_round_trips_per_s": lambda: round_trips_per_s(url, jobs, "threads"),
        "celery_prefork_round_trips_per_s": lambda: round_trips_per_s(url, jobs, "prefork"),
    }
    figures = {}
    with Redis.from_url(url) as redis:
        for name, contest in contestants.items():
            redis.flushall()
            figures[name] = contest()
        redis.flushall()
    return figures


def size(urls: Mapping[str, str], queued: int) -> dict[str, float]:
    """`urls` names an `empty` server, and a `full` one, which is filled here."""
    figures = {"memory_per_queued_job_bytes": memory_per_job(urls["full"], 10_000)}
    with Redis.from_url(urls["full"], socket_timeout=60) as redis:
        redis.flushall()
        fill(urls["full"], queued)
        figures["memory_per_queued_job_bytes_when_full"] = redis.info("memory")["used_memory"] / queued
    for name, measure in {"submit": submit_ms, "claim": claim_ms}.items():
        for url in urls.values():
            _script_us(url)
        timed = {"ms_p50": measure(urls), "us_in_server": {server: _script_us(url) for server, url in urls.items()}}
        for unit, values in timed.items():
            figures |= {f"{name}_{unit}_{server}": value for server, value in values.items()}
            figures[f"{name}_{unit}_full_over_empty"] = values["full"] / values["empty"]
    return figures


def _script_us(url: str) -> float:
    """Microseconds that the server itself took for a script, on average since this was last asked for."""
    with Redis.from_url(url) as redis:
        called = redis.info("commandstats").get("cmdstat_evalsha", {})
        redis.config_resetstat()
    return float(called.get("usec_per_call", 0.0))


def main() -> None:
    """Measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=4_000)
    parser.add_argument("--queued", type=int, default=1_000_000)
    parser.add_argument("--save", help="keep the figures in benchmarks/results/NAME.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, broker_server(Path(folder) / "1") as empty:
        figures = throughput(empty, options.jobs)
        with broker_server(Path(folder) / "2") as full:
            figures |= size({"empty": empty, "full": full}, options.queued)
    figures["queued"] = options.queued
    report("benchmarks.ledger", figures, options.save)


if __name__ == "__main__":
    main()
