"""`scripts/up` is ready when its own workers are, whoever else uses the same Redis."""

from __future__ import annotations

import os
import socket

from local.broker import free_port
from local.readiness import LiveWorkers, front_end_answers
from shared.process.identity import pids_here, unique_process_name
from shared.settings import Settings
from shared.store.leases import LeaseStore
from testing.servers import front_end


def test_only_own_workers_count(settings: Settings, leases: LeaseStore) -> None:
    with LiveWorkers(settings.redis.redis_url) as live:
        assert not live.include([os.getpid()])
        leases.heartbeat("demo", f"another-host:{os.getpid()}:1")
        leases.heartbeat("demo", f"{socket.gethostname()}:1:1")
        assert not live.include([os.getpid()])
        leases.heartbeat("demo", unique_process_name())
        assert live.include([os.getpid()])
        assert not live.include([os.getpid(), 2])


def test_names_of_another_form_are_of_nobody_here() -> None:
    here = socket.gethostname()
    assert pids_here([f"{here}:7:abc", here, f"{here}:", f"{here}:x:y", "", "elsewhere:8:abc"]) == {7}


def test_without_redis_no_worker_is_live() -> None:
    with LiveWorkers(f"redis://127.0.0.1:{free_port()}/0") as live:
        assert not live.include([os.getpid()])


def test_a_front_end_answers_although_it_accepts_no_jobs(settings: Settings) -> None:
    with front_end(settings.replace(accept_unserved=False)) as url:
        assert front_end_answers(url)
    assert not front_end_answers(f"http://127.0.0.1:{free_port()}")
