"""A worker's service with real job processes, which are killed, frozen and told to stop. Their pipeline is a script."""

from __future__ import annotations

import asyncio
import gc
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from redis import Redis

from local.broker import free_port
from shared.domain.job import Job, JobStatus
from shared.settings import Settings
from shared.store.leases import Lease, LeaseStore
from testing.factories import job_request, new_job, stored_job
from testing.pictures import small_png
from testing.running import running_children
from testing.scripted_pipeline import ENDLESS, POISON, SLOW
from testing.scripted_worker import IdleEngine, UnaskedModel
from tests.integration.front_end import FrontEnd
from worker.claims import Claim
from worker.job_end import EndKind, JobEnd
from worker.job_processes.connection import Connection, own_command
from worker.job_processes.messages import SetUp
from worker.job_processes.processes import in_processes
from worker.service import WorkerService

pytestmark = pytest.mark.slow

_PROGRAM = "testing.scripted_job_process"
_COMMAND = own_command(_PROGRAM)
_PATIENCE_S = 60.0


class Deployment:
    """A service, and what a test does to its processes."""

    def __init__(self, service: WorkerService, settings: Settings, notified: list[str]) -> None:
        self.service = service
        self.notified = notified
        """Jobs whose webhooks the deliverers were told of."""
        self._front = FrontEnd(settings)

    def submit(self, prompt: str = "cat") -> str:
        new = new_job(request=job_request(prompt=f"segment {prompt}"), image=small_png())
        return self._front.submit_new(new)

    def job(self, job_id: str) -> Job:
        return self._front.job(job_id)

    def ended(self, job_id: str) -> Job:
        until(lambda: self.job(job_id).status.is_terminal)
        return self.job(job_id)

    def cancel(self, job_id: str) -> None:
        self._front.cancel(job_id)

    def wait_until_processing(self, *job_ids: str) -> None:
        until(lambda: all(self.job(each).status is JobStatus.PROCESSING for each in job_ids))

    @contextmanager
    def running(self) -> Iterator[None]:
        """The service is awake in the block."""
        thread = threading.Thread(target=self.service.notified)
        thread.start()
        try:
            yield
        finally:
            self.service.drain()
            thread.join(_PATIENCE_S)
            assert not thread.is_alive()


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def job_processes() -> list[psutil.Process]:
    """Those of this process, in the order in which they were started."""
    return running_children(_PROGRAM)


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("SCRIPTED_MS", "100")  # a slow job takes 2 s
    quick = {"heartbeat_s": 0.5, "give_up_s": 5.0, "lease_s": 600.0, "drain_s": 0.5, "restart_grace_s": 600.0}
    return settings.replace(**quick, job_processes=2)


@contextmanager
def _deployed(settings: Settings, command: Sequence[str] = _COMMAND) -> Iterator[Deployment]:
    notified: list[str] = []
    jobs = in_processes(UnaskedModel(), settings, command=command)
    service = WorkerService.connect(settings, "demo", jobs, IdleEngine(), lambda: None, notified.append)
    service.start()
    yield Deployment(service, settings, notified)
    service.stop()


@pytest.fixture
def deployment(settings: Settings) -> Iterator[Deployment]:
    """Two job processes. No lease ends while a test runs, and nothing else reaps."""
    with _deployed(settings) as deployment:
        yield deployment


def test_jobs_run_in_processes_and_end_with_the_service(settings: Settings) -> None:
    with _deployed(settings) as deployment:
        ids = [deployment.submit(f"thing {number}") for number in range(20)]
        with deployment.running():
            assert {deployment.ended(each).status for each in ids} == {JobStatus.SUCCEEDED}
        assert len(job_processes()) == 2
    assert job_processes() == []


def test_a_process_that_is_killed_loses_its_own_jobs_only_and_another_takes_its_place(deployment: Deployment) -> None:
    ids = [deployment.submit(f"{SLOW} {number}") for number in range(4)]
    with deployment.running():
        deployment.wait_until_processing(*ids)
        killed, other = job_processes()
        killed.kill()
        jobs = [deployment.ended(each) for each in ids]
        assert {job.status for job in jobs} == {JobStatus.SUCCEEDED}
        assert sorted(job.attempt for job in jobs) == [1, 1, 2, 2]
        until(lambda: len(job_processes()) == 2)
        assert job_processes()[0].pid == other.pid


def test_a_job_that_kills_its_process_fails_alone_and_the_others_succeed(deployment: Deployment) -> None:
    others = [deployment.submit(f"{SLOW} {number}") for number in range(2)]
    poison = deployment.submit(POISON)
    others += [deployment.submit(f"thing {number}") for number in range(2)]
    with deployment.running():
        failed = deployment.ended(poison)
        assert failed.error is not None
        assert (failed.status, failed.error.type, failed.attempt) == (JobStatus.FAILED, "worker_lost", 4)
        assert {deployment.ended(each).status for each in others} == {JobStatus.SUCCEEDED}


def test_a_frozen_process_is_ended_and_its_job_runs_elsewhere(settings: Settings) -> None:
    with _deployed(settings.replace(give_up_s=5.0, lease_s=5.5)) as deployment:
        first, second = deployment.submit(SLOW), deployment.submit(f"{SLOW} too")
        with deployment.running():
            deployment.wait_until_processing(first, second)
            frozen = job_processes()[0]
            frozen.suspend()
            attempts = sorted(deployment.ended(each).attempt for each in (first, second))
        assert attempts == [1, 2]
        assert not frozen.is_running()


def test_a_canceled_job_is_dropped_in_its_process(deployment: Deployment) -> None:
    job_id = deployment.submit(ENDLESS)
    with deployment.running():
        deployment.wait_until_processing(job_id)
        deployment.cancel(job_id)
        until(lambda: len(deployment.service) == 0)
    assert deployment.job(job_id).status is JobStatus.CANCELED


def test_a_planned_stop_lets_jobs_end_and_releases_the_rest(deployment: Deployment) -> None:
    endless, quick = deployment.submit(ENDLESS), deployment.submit("cat")
    with deployment.running():
        deployment.wait_until_processing(endless)
        for process in job_processes():  # as a supervisor does that tells all processes of a service to stop
            process.send_signal(signal.SIGTERM)
        deployment.ended(quick)
    job = deployment.job(endless)
    assert (job.status, job.attempt, job.quarantined) == (JobStatus.QUEUED, 0, False)


def test_a_process_that_dies_while_the_store_is_away_loses_its_jobs_later(
    deployment: Deployment, settings: Settings
) -> None:
    job_id = deployment.submit(SLOW)
    with deployment.running(), Redis.from_url(settings.redis.redis_url) as redis:
        deployment.wait_until_processing(job_id)
        redis.client_pause(3_000)
        for process in job_processes():
            process.kill()
        assert deployment.ended(job_id).attempt == 2


def test_a_process_that_cannot_start_for_a_moment_is_started_later(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    program.chmod(0o700)
    with _deployed(settings.replace(job_processes=1), (str(program), *_COMMAND[1:])) as deployment:
        program.chmod(0o600)
        (only,) = job_processes()
        only.kill()
        until(lambda: "a job process could not start" in caplog.text)
        program.chmod(0o700)
        job_id = deployment.submit()
        with deployment.running():
            assert deployment.ended(job_id).status is JobStatus.SUCCEEDED


def test_a_failed_start_leaves_no_descriptors_open() -> None:
    set_up = SetUp(Settings.of(), "worker", 1, 1, None)
    gc.collect()
    before = psutil.Process().num_fds()
    for _ in range(5):
        with pytest.raises(FileNotFoundError):
            asyncio.run(Connection.start(("/no/such/program",), set_up, lambda *_: None, lambda _: None))
    gc.collect()  # the memory of each lives as long as its error
    assert psutil.Process().num_fds() == before


def test_jobs_of_a_lost_process_are_given_up_when_their_leases_have_ended(settings: Settings) -> None:
    """Otherwise a worker could not stop while the store is away."""
    away = settings.replace(redis_url=f"redis://127.0.0.1:{free_port()}/0", heartbeat_s=0.1, give_up_s=0.5, lease_s=1.0)
    ends: list[JobEnd] = []
    jobs = in_processes(UnaskedModel(), away, command=_COMMAND)(LeaseStore.connect(away, "worker"))
    jobs.wait_until_ready()
    lease = Lease(stored_job(request=job_request(prompt=f"segment {POISON}")), small_png())
    jobs.start(Claim(lease, renewed_at=0.0), lambda _, end: ends.append(end))
    until(lambda: bool(ends))
    jobs.close()
    assert [each.kind for each in ends] == [EndKind.CRASHED]


_KILLED = f"""
import os, signal, sys, time
from shared.settings import Settings
from testing.scripted_worker import IdleEngine, UnaskedModel
from worker.job_processes.connection import own_command
from worker.job_processes.processes import in_processes
from worker.service import WorkerService

settings = Settings.of(redis_url=sys.argv[1], job_processes=2)
jobs = in_processes(UnaskedModel(), settings, command=own_command({_PROGRAM!r}))
service = WorkerService.connect(settings, "demo", jobs, IdleEngine(), lambda: None, lambda _: None)
service.start()
print("started", flush=True)
service.notified()
"""


def test_the_processes_of_a_killed_worker_end_with_it(settings: Settings, root: Path, front: FrontEnd) -> None:
    command = [sys.executable, "-c", _KILLED, settings.redis.redis_url]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"started\n"
        job_id = front.submit_new(new_job(request=job_request(prompt=f"segment {ENDLESS}"), image=small_png()))
        until(lambda: front.job(job_id).status is JobStatus.PROCESSING)
        processes = psutil.Process(worker.pid).children(recursive=True)
        assert len(processes) == 2
        worker.kill()
    until(lambda: not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes))


@pytest.fixture
def front(settings: Settings) -> FrontEnd:
    return FrontEnd(settings)


def test_a_worker_whose_processes_cannot_start_ends(settings: Settings, root: Path) -> None:
    program = _KILLED.replace(f"own_command({_PROGRAM!r})", "('false',)")
    command = [sys.executable, "-c", program, settings.redis.redis_url]
    done = subprocess.run(command, cwd=root, capture_output=True, timeout=60, check=False)
    assert done.returncode == os.EX_SOFTWARE
    assert b"no job process can start" in done.stderr
