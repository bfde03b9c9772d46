"""The job processes of a worker: starts them, gives them jobs, and replaces those that end."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from redis.exceptions import RedisError

from shared.errors import StoreUnavailable
from shared.settings import Settings
from shared.store.leases import LeaseStore
from worker.claims import Claim
from worker.job_end import EndKind, JobEnd
from worker.job_processes.connection import Connection, RunningJob, own_command
from worker.job_processes.messages import Ask, DecodeMasks, Drop, Ended, Message, Ping, Pong, Ready, SetUp
from worker.job_processes.pixel_memory import needed_slots
from worker.job_processes.served_model import ServedModel, StartedModel
from worker.jobs import Ended as EndedCallback
from worker.jobs import RunsJobs
from worker.pipeline import MAX_TILED_JOBS
from worker.stages.calibration import Calibration

JOB_PROCESS = own_command("worker.job_processes")
_MAX_CHECK_S = 1.0
"""Longest period in which each process is asked whether it is frozen."""
_START_S = 120.0
"""How long a process may take until it is ready."""
_MAX_FAILED_STARTS = 3
"""In a row. Then the worker ends as well, so that a supervisor and the jobs of others see that something is wrong."""
_RESTART_S = 1.0
"""Pause before a process is started in place of one that was never ready."""
_STOP_S = 2.0
_RETRY_S = 0.5

T = TypeVar("T")

logger = logging.getLogger(__name__)


class JobProcesses:
    """`Jobs` of a worker. Thread-safe. One thread, with an event loop, has all sockets and all state."""

    def __init__(
        self, store: LeaseStore, model: StartedModel, settings: Settings, set_up: SetUp, command: Sequence[str]
    ) -> None:
        """Start the processes, each with `command`. They are ready later, and keep their jobs until then."""
        self._count = settings.worker.job_processes
        self._ready = threading.Semaphore(0)
        """Released once for each process that became ready."""
        self._store = store
        self._model = model
        self._set_up = set_up
        self._command = command
        self._lease_s = settings.liveness.lease_s
        self._numbers = itertools.count()
        self._processes: list[Connection] = []
        self._waiting: deque[RunningJob] = deque()
        """Jobs for which there is no process now."""
        self._failed_starts = 0
        self._is_closing = False
        self._loop = asyncio.new_event_loop()
        self._served = ServedModel(model, self._call_soon)
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="ended jobs")
        """For what blocks: requests to the store, notifications."""
        self._thread = threading.Thread(target=self._loop.run_forever, name="job processes", daemon=True)
        self._thread.start()
        for _ in range(self._count):
            self._call(self._start_process())
        self._call_soon(self._check, min(_MAX_CHECK_S, self._lease_s / 4))

    def wait_until_ready(self) -> None:
        """As `Jobs.wait_until_ready`."""
        for _ in range(self._count):
            self._ready.acquire()

    def start(self, claim: Claim, ended: EndedCallback) -> None:
        """As `Jobs.start`."""
        self._call_soon(self._give, RunningJob(claim, ended))

    def close(self) -> None:
        """As `Jobs.close`. Closes the model as well."""
        self._model.close()
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._aside.shutdown()

    # --- On other threads ---

    def _call_soon(self, act: Callable[..., object], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed, and no one waits any more
            self._loop.call_soon_threadsafe(act, *arguments)

    def _call(self, act: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(act, self._loop).result()

    # --- On the event loop ---

    async def _start_process(self) -> None:
        process = await Connection.start(self._command, self._set_up, self._receive, self._lose)
        if self._is_closing:
            process.kill()
        if not process.is_open:  # it has ended by now, and another one will start
            return
        self._processes.append(process)
        self._loop.call_later(_START_S, self._require_ready, process)
        while self._waiting:
            self._give(self._waiting.popleft())

    def _give(self, job: RunningJob) -> None:
        """Give a job to the process that has the fewest; rather to one that is ready."""
        if not self._processes:
            self._waiting.append(job)
            return
        process = min(self._processes, key=lambda each: (not each.is_ready, len(each.running)))
        number = next(self._numbers)
        process.run(number, job)
        job.claim.when_dropped(lambda: self._call_soon(self._drop, process, number))

    def _drop(self, process: Connection, number: int) -> None:
        if number in process.running:
            process.send(Drop(number))

    def _receive(self, process: Connection, message: Message) -> None:
        match message:
            case Ask():
                self._served.ask(process, message)
            case DecodeMasks():
                self._served.decode_masks(process, message)
            case Ended():
                self._end(process.running.pop(message.number), message.end)
            case Pong():
                process.silent_checks = 0
            case Ready():
                process.is_ready = True
                process.silent_checks = 0
                self._ready.release()
                self._failed_starts = 0
            case _:
                raise TypeError(f"no message for a worker: {type(message).__name__}")

    def _end(self, job: RunningJob, end: JobEnd) -> None:
        if job.claim.lease.job.webhook:  # its notification takes milliseconds
            self._aside.submit(job.ended, job.claim, end)
        else:
            job.ended(job.claim, end)

    def _check(self, period_s: float) -> None:
        """Kill the processes that have not answered for too long. Checks are counted, and not the time, which goes on
        while the whole service is frozen."""
        for process in self._processes:
            if process.is_ready and process.silent_checks * period_s > self._lease_s:
                logger.critical("a job process has not answered for %.0f s: ending it", self._lease_s)
                process.kill()
            process.silent_checks += 1
            process.send(Ping())
        self._loop.call_later(period_s, self._check, period_s)

    def _require_ready(self, process: Connection) -> None:
        if not process.is_ready:
            process.kill()

    def _lose(self, process: Connection) -> None:
        """A process has ended, or closed its socket: its jobs have crashed, and another one takes its place."""
        if self._is_closing:  # `_close` waits for its end
            return
        process.kill()
        if process in self._processes:
            self._processes.remove(process)
        jobs = list(process.running.values())
        for job in jobs:
            job.claim.drop()
        self._aside.submit(self._end_lost, process.process, jobs, process.is_ready)
        if process.is_ready:
            self._replace()
        else:
            self._replace_later()

    def _replace(self) -> None:
        if not self._is_closing:
            self._loop.create_task(self._start_another())

    async def _start_another(self) -> None:
        try:
            await self._start_process()
        except OSError as error:  # no memory, or no descriptors, for now
            logger.critical("a job process could not start: %s", error)
            self._replace_later()

    def _replace_later(self) -> None:
        """A process has never become ready: start another one after a pause."""
        self._failed_starts += 1
        if self._failed_starts == _MAX_FAILED_STARTS:
            logger.critical("no job process can start: ending the process")
            os._exit(os.EX_SOFTWARE)
        self._loop.call_later(_RESTART_S, self._replace)

    async def _close(self) -> None:
        self._is_closing = True
        processes = [each.process for each in self._processes]
        for process in list(self._processes):
            process.close()
        await asyncio.to_thread(_wait, processes)

    # --- On the thread aside ---

    def _end_lost(self, process: subprocess.Popen[bytes], jobs: Sequence[RunningJob], was_ready: bool) -> None:
        """Make the jobs of a process available at once that has ended. One that was not ready has begun none. If the
        store is away until their leases have ended, the reaper does it."""
        status = process.wait()
        leases_end = time.monotonic() + self._lease_s
        logger.error("a job process has ended with status %d: %d jobs were in it", status, len(jobs))
        for job in jobs:
            while not self._is_closing and time.monotonic() < leases_end:
                try:
                    if was_ready:
                        self._store.reap_claims(job.claim.lease.job.request.model_id, [job.claim.lease])
                    else:
                        self._store.release(job.claim.lease)
                    break
                except (RedisError, StoreUnavailable) as error:
                    logger.warning("the jobs of a process that has ended wait: %s", type(error).__name__)
                    time.sleep(_RETRY_S)
            job.ended(job.claim, JobEnd(EndKind.CRASHED))


def in_processes(
    model: StartedModel,
    settings: Settings,
    calibration: Calibration | None = None,
    command: Sequence[str] = JOB_PROCESS,
) -> RunsJobs:
    """Run jobs in processes, which ask this model. `command` runs one."""
    slots = needed_slots(settings.worker.worker_threads, MAX_TILED_JOBS)

    def make(store: LeaseStore) -> JobProcesses:
        set_up = SetUp(settings, store.worker_id, model.side, slots, calibration)
        return JobProcesses(store, model, settings, set_up, command)

    return make


def _wait(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait for the end of processes that were told to end."""
    deadline = time.monotonic() + _STOP_S
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
